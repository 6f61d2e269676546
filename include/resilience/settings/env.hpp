// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/settings/fields.hpp>

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Looks up a variable: its value, or null if it is not set. What std::getenv is.
using variable_getter = std::function<const char*(const char*)>;

namespace detail {

/// The variables of one config: reads them one after the other, and knows which were set.
class env_variables {
public:
    env_variables(std::string_view prefix, std::string_view policy, const variable_getter& get) : get_(get) {
        if (!prefix.empty()) start_.append(prefix).append("_");
        start_.append(policy).append("_");
    }
    /// Leaves the field alone, and says false, if its variable is not set. Form: how it is written, if not as a T.
    template <class Form = void, class T>
    bool field(std::string_view name, T& value) {
        return with(name, form_of<Form, T>::accepted, {},
                    [&](std::string_view text) { return read_text<Form>(text, value); });
    }
    /// `off` unsets the field.
    template <class Form = void, class T>
    bool field(std::string_view name, std::optional<T>& value) {
        return with(name, form_of<Form, T>::accepted, ", or off", [&](std::string_view text) {
            T read{};
            if (text == "off") value.reset();
            else if (read_text<Form>(text, read)) value = std::move(read);
            else return false;
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
    template <class Assign>
    bool with(std::string_view name, std::string_view accepted, std::string_view or_else,
              Assign&& assign_text) {
        std::string variable = start_;
        for (const char c : name) variable += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
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

/// The config of that policy with the variables applied.
template <class Config>
Config read_variables(std::string_view prefix, std::string_view policy, Config c,
                      const variable_getter& get) {
    env_variables variables(prefix, policy, get);
    visit_fields(c, variables);
    variables.require(validate(c));
    return c;
}

} // namespace detail

/// The config with those fields replaced whose variables are set: PREFIX_RETRY_MAX_ATTEMPTS=5,
/// PREFIX_RETRY_BASE_DELAY=250ms, ... for each field but the name (which is an identity, not a setting),
/// the callables and the budget; a variable is the field's name in capitals. Durations need a unit,
/// shares are 0.5 or 50%, enums go by their names, `off` unsets an optional field; no blanks.
/// Throws std::invalid_argument that names the variable, its value and what is accepted, also if the
/// config as a whole is not valid. An empty prefix: RETRY_MAX_ATTEMPTS.
inline retry_config from_env(std::string_view prefix, retry_config c, const variable_getter& get) {
    return detail::read_variables(prefix, "RETRY", std::move(c), get);
}

/// The same: PREFIX_CIRCUIT_FAILURE_THRESHOLD=5, PREFIX_CIRCUIT_RECOVERY_TIMEOUT=45s,
/// PREFIX_CIRCUIT_WINDOW=100 (calls) or 60s, ... and PREFIX_CIRCUIT_RECOVERY_BACKOFF_MULTIPLIER, _CAP and
/// _JITTER, any of which turns recovery_backoff on, or off.
inline circuit_breaker_config from_env(std::string_view prefix, circuit_breaker_config c,
                                       const variable_getter& get) {
    return detail::read_variables(prefix, "CIRCUIT", std::move(c), get);
}

/// The same: PREFIX_TIMEOUT_LIMIT=2s, PREFIX_TIMEOUT_KEEP_LATE=true.
inline timeout_config from_env(std::string_view prefix, timeout_config c, const variable_getter& get) {
    return detail::read_variables(prefix, "TIMEOUT", std::move(c), get);
}

/// The same: PREFIX_ABANDONING_TIMEOUT_LIMIT=5s, PREFIX_ABANDONING_TIMEOUT_MAX_ABANDONED=16.
inline abandoning_timeout_config from_env(std::string_view prefix, abandoning_timeout_config c,
                                          const variable_getter& get) {
    return detail::read_variables(prefix, "ABANDONING_TIMEOUT", std::move(c), get);
}

/// From the environment of the process. Not while another thread changes that (setenv): call it early.
template <class Config>
Config from_env(std::string_view prefix, Config config) {
    return from_env(prefix, std::move(config), variable_getter([](const char* name) -> const char* {
                        return std::getenv(name); // NOLINT(concurrency-mt-unsafe): said above
                    }));
}

}} // namespace resilience::RESILIENCE_ABI
