// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/abandoning_timeout/config.hpp>
#include <resilience/circuit_breaker/config.hpp>
#include <resilience/detail/quote.hpp>
#include <resilience/retry/config.hpp>
#include <resilience/settings/text.hpp>
#include <resilience/timeout.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

// The fields of each config that can be written as text: all but the name (an identity, not a setting), the
// callables and a retry's budget. One list, for variables, for views and for updates.

namespace resilience { inline namespace RESILIENCE_ABI {

/// A field of a config and its value.
struct setting {
    std::string_view name;
    setting_value value;
};

namespace detail {

/// Visits the fields one after the other: visit.field(name, where), or visit.template field<Form>(name, where)
/// where the text has a form of its own. A visitor may write to them; it returns whether it did.
template <class Visitor>
void visit_fields(retry_config& c, Visitor&& visit) {
    visit.field("max_attempts", c.max_attempts);
    visit.field("base_delay", c.base_delay);
    visit.field("max_delay", c.max_delay);
    visit.field("strategy", c.strategy);
    visit.field("multiplier", c.multiplier);
    visit.field("jitter", c.jitter);
    visit.template field<share>("jitter_ratio", c.jitter_ratio);
    visit.field("max_elapsed", c.max_elapsed);
    visit.field("respect_retry_after", c.respect_retry_after);
    visit.field("max_retry_after", c.max_retry_after);
    visit.field("nested", c.nested);
    visit.field("wrap_exhausted", c.wrap_exhausted);
}
template <class Visitor>
void visit_fields(circuit_breaker_config& c, Visitor&& visit) {
    visit.field("failure_threshold", c.failure_threshold);
    visit.field("success_threshold", c.success_threshold);
    visit.field("recovery_timeout", c.recovery_timeout);
    visit.field("failure_window", c.failure_window);
    visit.field("half_open_max_calls", c.half_open_max_calls);
    visit.field("probe_lease", c.probe_lease);
    visit.field("consecutive_failures", c.consecutive_failures);
    visit.template field<share>("failure_rate_threshold", c.failure_rate_threshold);
    visit.field("slow_call_duration", c.slow_call_duration);
    visit.template field<share>("slow_call_rate_threshold", c.slow_call_rate_threshold);
    visit.field("window", c.window);
    visit.field("minimum_calls", c.minimum_calls);

    // One optional of three parts: to set a part turns it on, to unset one turns it off.
    recovery_backoff grown = c.recovery_backoff.value_or(recovery_backoff{});
    bool written = false;
    bool off = false;
    const auto part = [&](std::string_view name, auto& whole) {
        std::optional<std::remove_reference_t<decltype(whole)>> now;
        if (c.recovery_backoff) now = whole;
        if (!visit.field(name, now)) return;
        written = true;
        if (now) whole = *now;
        else off = true;
    };
    part("recovery_backoff_multiplier", grown.multiplier);
    part("recovery_backoff_cap", grown.cap);
    part("recovery_backoff_jitter", grown.jitter);
    if (off) c.recovery_backoff.reset();
    else if (written) c.recovery_backoff = grown;
}
template <class Visitor>
void visit_fields(timeout_config& c, Visitor&& visit) {
    visit.field("limit", c.limit);
    visit.field("keep_late", c.keep_late);
}
template <class Visitor>
void visit_fields(abandoning_timeout_config& c, Visitor&& visit) {
    visit.field("limit", c.limit);
    visit.field("max_abandoned", c.max_abandoned);
}

/// The form in which a field of type T is written.
template <class Form, class T>
using form_of = text_form<std::conditional_t<std::is_void_v<Form>, T, Form>>;

/// Reads a text into a field; false if it is not in the form.
template <class Form, class T>
bool read_text(std::string_view text, T& field) {
    if constexpr (std::is_void_v<Form>) {
        T value{};
        if (!text_form<T>::parse(text, value)) return false;
        field = std::move(value);
    } else {
        Form value{};
        if (!text_form<Form>::parse(text, value)) return false;
        field = value.value;
    }
    return true;
}

/// Collects what the fields are.
class settings_collector {
public:
    template <class Form = void, class T>
    bool field(std::string_view name, const T& value) {
        all.push_back({name, form_of<Form, T>::show(value)});
        return false;
    }
    template <class Form = void, class T>
    bool field(std::string_view name, const std::optional<T>& value) {
        all.push_back({name, value ? form_of<Form, T>::show(*value) : setting_value{}});
        return false;
    }

    std::vector<setting> all;
};

} // namespace detail

/// The fields of a config that can be written as text, in their order.
template <class Config>
std::vector<setting> settings_of(Config config) {
    detail::settings_collector collector;
    detail::visit_fields(config, collector);
    return std::move(collector.all);
}

/// What a field is to be set to, as text; without one, an optional field becomes unset.
struct change {
    std::string name;
    std::optional<std::string> text;
};

namespace detail {

/// Writes changes to the fields that they name.
class changes_applier {
public:
    explicit changes_applier(const std::vector<change>& changes)
        : changes_(&changes), known_(changes.size()) {}

    template <class Form = void, class T>
    bool field(std::string_view name, T& value) {
        return with(name, [&](const change& c) {
            if (!c.text) refuse(c, form_of<Form, T>::accepted, "");
            if (!read_text<Form>(*c.text, value)) refuse(c, form_of<Form, T>::accepted, "");
        });
    }
    template <class Form = void, class T>
    bool field(std::string_view name, std::optional<T>& value) {
        return with(name, [&](const change& c) {
            T read{};
            if (!c.text) value.reset();
            else if (read_text<Form>(*c.text, read)) value = std::move(read);
            else refuse(c, form_of<Form, T>::accepted, ", or null");
        });
    }
    /// Throws if a change named a field that there is not.
    void finish() const {
        for (std::size_t i = 0; i < known_.size(); ++i) {
            if (!known_[i])
                raise(std::invalid_argument("there is no field '" + shown((*changes_)[i].name) +
                                            "' that can be changed"));
        }
    }

private:
    static std::string shown(std::string_view text) {
        constexpr std::size_t most = 64; // of what may be anything
        return std::string(clipped(text, most));
    }
    [[noreturn]] static void refuse(const change& c, std::string_view accepted, std::string_view or_else) {
        raise(std::invalid_argument(c.name + " is " + (c.text ? "'" + shown(*c.text) + "'" : "null") +
                                    "; it must be " + std::string(accepted) + std::string(or_else)));
    }
    template <class Write>
    bool with(std::string_view name, Write&& write) {
        for (std::size_t i = 0; i < known_.size(); ++i) {
            if ((*changes_)[i].name != name) continue;
            known_[i] = true;
            write((*changes_)[i]);
            return true;
        }
        return false;
    }

    const std::vector<change>* changes_;
    std::vector<bool> known_; // which changes named a field
};

} // namespace detail

/// The config with the changes made. Throws std::invalid_argument that names the field, its value and what is
/// accepted, also if the config as a whole is not valid then.
template <class Config>
Config with_changes(Config config, const std::vector<change>& changes) {
    detail::changes_applier applier(changes);
    detail::visit_fields(config, applier);
    applier.finish();
    detail::require_valid(validate(config));
    return config;
}

}} // namespace resilience::RESILIENCE_ABI
