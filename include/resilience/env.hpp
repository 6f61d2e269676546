// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/abandoning_timeout_config.hpp>
#include <resilience/circuit_breaker_config.hpp>
#include <resilience/detail/decimal.hpp>
#include <resilience/error.hpp>
#include <resilience/retry_config.hpp>
#include <resilience/timeout.hpp>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace resilience::inline RESILIENCE_ABI {

/// Looks up a variable: its value, or null if it is not set. What std::getenv is.
using variable_getter = std::function<const char*(const char*)>;

namespace detail {

/// How a value of type T is written in a variable: parse() and, for the complaint, what is accepted.
template <class T>
struct env_form;

/// A share in [0, 1], as 0.5 or 50%.
struct env_share {
    double value = 0;
};

template <>
struct env_form<unsigned> {
    static constexpr std::string_view accepted = "a whole number from 0 to 4294967295";
    static bool parse(std::string_view text, unsigned& value) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        return error == std::errc{} && end == text.data() + text.size();
    }
};
template <>
struct env_form<double> {
    static constexpr std::string_view accepted = "a number such as 2 or 1.5";
    static bool parse(std::string_view text, double& value) { return parse_decimal(text, 0, value); }
};
template <>
struct env_form<env_share> {
    static constexpr std::string_view accepted = "a share such as 0.5 or 50%";
    static bool parse(std::string_view text, env_share& share) {
        const bool percent = text.ends_with('%');
        if (percent) text.remove_suffix(1);
        return parse_decimal(text, percent ? 2 : 0, share.value);
    }
};
template <>
struct env_form<duration> {
    static constexpr std::string_view accepted =
        "a number with a unit (ns, us, ms, s, m or h) such as 500ms or 1.5s";
    static bool parse(std::string_view text, duration& value) { return parse_duration(text, value); }
};
template <class T, std::size_t N>
bool parse_word(std::string_view text, const std::array<std::pair<std::string_view, T>, N>& words, T& value) {
    for (const auto& [word, meaning] : words) {
        if (text != word) continue;
        value = meaning;
        return true;
    }
    return false;
}
template <>
struct env_form<bool> {
    static constexpr std::string_view accepted = "true, false, 1 or 0";
    static bool parse(std::string_view text, bool& value) {
        constexpr std::array<std::pair<std::string_view, bool>, 4> words{
            {{"true", true}, {"false", false}, {"1", true}, {"0", false}}};
        return parse_word(text, words, value);
    }
};
template <>
struct env_form<backoff> {
    static constexpr std::string_view accepted = "constant, linear, exponential or decorrelated";
    static bool parse(std::string_view text, backoff& value) {
        constexpr std::array<std::pair<std::string_view, backoff>, 4> words{
            {{"constant", backoff::constant},
             {"linear", backoff::linear},
             {"exponential", backoff::exponential},
             {"decorrelated", backoff::decorrelated}}};
        return parse_word(text, words, value);
    }
};
template <>
struct env_form<jitter> { // where it used to be a boolean, true is full
    static constexpr std::string_view accepted =
        "none, full, equal or proportional (true: full, false: none)";
    static bool parse(std::string_view text, jitter& value) {
        constexpr std::array<std::pair<std::string_view, jitter>, 6> words{
            {{"none", jitter::none},
             {"full", jitter::full},
             {"equal", jitter::equal},
             {"proportional", jitter::proportional},
             {"true", jitter::full},
             {"false", jitter::none}}};
        return parse_word(text, words, value);
    }
};
template <>
struct env_form<nested_retry> {
    static constexpr std::string_view accepted = "multiply or outermost_only";
    static bool parse(std::string_view text, nested_retry& value) {
        constexpr std::array<std::pair<std::string_view, nested_retry>, 2> words{
            {{"multiply", nested_retry::multiply}, {"outermost_only", nested_retry::outermost_only}}};
        return parse_word(text, words, value);
    }
};
template <>
struct env_form<std::variant<count_window, time_window>> {
    static constexpr std::string_view accepted = "a number of calls such as 100, or a time such as 60s";
    static bool parse(std::string_view text, std::variant<count_window, time_window>& value) {
        if (unsigned calls = 0; env_form<unsigned>::parse(text, calls)) {
            value = count_window{calls};
            return true;
        }
        duration length{};
        if (!parse_duration(text, length)) return false;
        value = time_window{length};
        return true;
    }
};

/// The variables of one config: reads them one after the other, and knows which were set.
class env_variables {
public:
    env_variables(std::string_view prefix, std::string_view policy, const variable_getter& get) : get_(get) {
        if (!prefix.empty()) start_.append(prefix).append("_");
        start_.append(policy).append("_");
    }
    /// Leaves `field` alone if its variable is not set. Form: how it is written, if not as a T.
    template <class Form = void, class T>
    bool read(std::string_view name, T& field) {
        using form = env_form<std::conditional_t<std::is_void_v<Form>, T, Form>>;
        return with(name, form::accepted, {},
                    [&](std::string_view text) { return assign<Form>(text, field); });
    }
    /// `off` unsets the field.
    template <class Form = void, class T>
    bool read(std::string_view name, std::optional<T>& field) {
        using form = env_form<std::conditional_t<std::is_void_v<Form>, T, Form>>;
        return with(name, form::accepted, ", or off", [&](std::string_view text) {
            if (text == "off") {
                field.reset();
                return true;
            }
            T value{};
            if (!assign<Form>(text, value)) return false;
            field = value;
            return true;
        });
    }
    /// What validate() says of the whole becomes an exception that tells what came from the environment.
    void require(std::string complaint) const {
        if (!complaint.empty() && !seen_.empty())
            complaint.append(" (from the environment: ").append(seen_).append(")");
        require_valid(complaint);
    }

private:
    template <class Form, class T>
    static bool assign(std::string_view text, T& field) {
        if constexpr (std::is_void_v<Form>) {
            T value{};
            if (!env_form<T>::parse(text, value)) return false;
            field = value;
        } else {
            Form value{};
            if (!env_form<Form>::parse(text, value)) return false;
            field = value.value;
        }
        return true;
    }
    template <class Assign>
    bool with(std::string_view name, std::string_view accepted, std::string_view or_else,
              Assign&& assign_text) {
        const std::string variable = start_ + std::string(name);
        const char* text = get_(variable.c_str());
        if (text == nullptr) return false;
        constexpr std::size_t shown = 64; // of a value that may be anything
        const std::string assignment =
            variable + "='" + std::string(std::string_view(text).substr(0, shown)) + "'";
        if (!assign_text(std::string_view(text))) {
            raise(std::invalid_argument(assignment + ": it must be " + std::string(accepted) +
                                        std::string(or_else)));
        }
        seen_.append(seen_.empty() ? "" : ", ").append(assignment);
        return true;
    }

    const variable_getter& get_;
    std::string start_;
    std::string seen_;
};

} // namespace detail

/// The config with those fields replaced whose variables are set: PREFIX_RETRY_MAX_ATTEMPTS=5,
/// PREFIX_RETRY_BASE_DELAY=250ms, ... for each field but the name (which is an identity, not a setting),
/// the callables and the budget; a variable is the field's name in capitals. Durations need a unit,
/// shares are 0.5 or 50%, enums go by their names, `off` unsets an optional field; no blanks.
/// Throws std::invalid_argument that names the variable, its value and what is accepted, also if the
/// config as a whole is not valid. An empty prefix: RETRY_MAX_ATTEMPTS.
inline retry_config from_env(std::string_view prefix, retry_config c, const variable_getter& get) {
    detail::env_variables env(prefix, "RETRY", get);
    env.read("MAX_ATTEMPTS", c.max_attempts);
    env.read("BASE_DELAY", c.base_delay);
    env.read("MAX_DELAY", c.max_delay);
    env.read("STRATEGY", c.strategy);
    env.read("MULTIPLIER", c.multiplier);
    env.read("JITTER", c.jitter);
    env.read<detail::env_share>("JITTER_RATIO", c.jitter_ratio);
    env.read("MAX_ELAPSED", c.max_elapsed);
    env.read("RESPECT_RETRY_AFTER", c.respect_retry_after);
    env.read("MAX_RETRY_AFTER", c.max_retry_after);
    env.read("NESTED", c.nested);
    env.read("WRAP_EXHAUSTED", c.wrap_exhausted);
    env.require(validate(c));
    return c;
}

/// The same: PREFIX_CIRCUIT_FAILURE_THRESHOLD=5, PREFIX_CIRCUIT_RECOVERY_TIMEOUT=45s,
/// PREFIX_CIRCUIT_WINDOW=100 (calls) or 60s, ... and PREFIX_CIRCUIT_RECOVERY_BACKOFF_MULTIPLIER, _CAP and
/// _JITTER, any of which turns recovery_backoff on.
inline circuit_breaker_config from_env(std::string_view prefix, circuit_breaker_config c,
                                       const variable_getter& get) {
    detail::env_variables env(prefix, "CIRCUIT", get);
    env.read("FAILURE_THRESHOLD", c.failure_threshold);
    env.read("SUCCESS_THRESHOLD", c.success_threshold);
    env.read("RECOVERY_TIMEOUT", c.recovery_timeout);
    env.read("FAILURE_WINDOW", c.failure_window);
    env.read("HALF_OPEN_MAX_CALLS", c.half_open_max_calls);
    env.read("PROBE_LEASE", c.probe_lease);
    env.read("CONSECUTIVE_FAILURES", c.consecutive_failures);
    env.read<detail::env_share>("FAILURE_RATE_THRESHOLD", c.failure_rate_threshold);
    env.read("SLOW_CALL_DURATION", c.slow_call_duration);
    env.read<detail::env_share>("SLOW_CALL_RATE_THRESHOLD", c.slow_call_rate_threshold);
    env.read("WINDOW", c.window);
    env.read("MINIMUM_CALLS", c.minimum_calls);
    resilience::recovery_backoff grown = c.recovery_backoff.value_or(resilience::recovery_backoff{});
    bool grows = env.read("RECOVERY_BACKOFF_MULTIPLIER", grown.multiplier);
    grows = env.read("RECOVERY_BACKOFF_CAP", grown.cap) || grows;
    grows = env.read("RECOVERY_BACKOFF_JITTER", grown.jitter) || grows;
    if (grows) c.recovery_backoff = grown;
    env.require(validate(c));
    return c;
}

/// The same: PREFIX_TIMEOUT_LIMIT=2s, PREFIX_TIMEOUT_KEEP_LATE=true.
inline timeout_config from_env(std::string_view prefix, timeout_config c, const variable_getter& get) {
    detail::env_variables env(prefix, "TIMEOUT", get);
    env.read("LIMIT", c.limit);
    env.read("KEEP_LATE", c.keep_late);
    env.require(validate(c));
    return c;
}

/// The same: PREFIX_ABANDONING_TIMEOUT_LIMIT=5s, PREFIX_ABANDONING_TIMEOUT_MAX_ABANDONED=16.
inline abandoning_timeout_config from_env(std::string_view prefix, abandoning_timeout_config c,
                                          const variable_getter& get) {
    detail::env_variables env(prefix, "ABANDONING_TIMEOUT", get);
    env.read("LIMIT", c.limit);
    env.read("MAX_ABANDONED", c.max_abandoned);
    env.require(validate(c));
    return c;
}

/// From the environment of the process. Not while another thread changes that (setenv): call it early.
template <class Config>
Config from_env(std::string_view prefix, Config config) {
    return from_env(prefix, std::move(config), variable_getter([](const char* name) -> const char* {
                        return std::getenv(name); // NOLINT(concurrency-mt-unsafe): said above
                    }));
}

} // namespace resilience::inline RESILIENCE_ABI
