// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/abandoning_timeout.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/monitoring/event_stream.hpp>
#include <resilience/monitoring/json.hpp>
#include <resilience/registry.hpp>
#include <resilience/retry.hpp>
#include <resilience/settings/fields.hpp>
#include <resilience/timeout.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// What /policies shows of each policy and lets change in it. A new kind of policy is one line in with_policy().

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// f(handle) for the policy of that kind and name; false if there is none, or it is of a user's own kind.
template <class F>
bool with_policy(const registry& where, std::string_view kind, std::string_view name, F&& f) {
    const auto as = [&]<class Policy>(std::optional<Policy> found) {
        if (!found) return false;
        f(*found);
        return true;
    };
    if (kind == circuit_breaker::kind) return as(where.find<circuit_breaker>(name));
    if (kind == retry::kind) return as(where.find<retry>(name));
    if (kind == timeout::kind) return as(where.find<timeout>(name));
    if (kind == abandoning_timeout::kind) return as(where.find<abandoning_timeout>(name));
    return false;
}

inline std::vector<setting> settings_of_policy(const registry& where, std::string_view kind,
                                               std::string_view name) {
    std::vector<setting> settings;
    with_policy(where, kind, name, [&](const auto& policy) { settings = settings_of(policy.config()); });
    return settings;
}

/// What a circuit shows beyond its numbers.
inline void write_circuit_statistics(json_writer& json, const circuit_breaker_stats& c,
                                     const shown_errors& errors) {
    json.member("state_since", c.state_since);
    json.member("opened_at", c.opened_at).member("last_failure_time", c.last_failure_time);
    json.member("retry_after", seconds_of(c.retry_after));
    json.key("window");
    if (c.window) {
        json.object([&] {
            json.member("calls", c.window->calls).member("failures", c.window->failures);
            json.member("slow", c.window->slow).member("size", c.window->size);
        });
    } else json.null();
    json.key("reason").value_or_null(c.reason);
    json.key("last_error_type").value_or_null(c.last_error ? c.last_error->type : std::string());
    json.key("last_error").value_or_null(c.last_error ? errors(c.last_error->message) : std::string());
}

/// {kind, name, config {field: value}, statistics {...}}
inline void write_policy(json_writer& json, const registry& where, const policy_snapshot& p,
                         const shown_errors& errors) {
    json.object([&] {
        json.member("kind", p.kind).member("name", p.name);
        json.key("config").object([&] {
            for (const setting& s : settings_of_policy(where, p.kind, p.name)) {
                json.key(s.name);
                std::visit([&](const auto& value) { json.value(value); }, s.value);
            }
        });
        json.key("statistics").object([&] {
            write_statistics(json, p);
            if (p.circuit) write_circuit_statistics(json, *p.circuit, errors);
        });
    });
}

/// Which policies are wanted; what is empty does not matter.
struct policy_filter {
    std::string kind{};
    std::string name{};
};

/// An array of them, or empty if none matches.
inline std::string policies_json(const registry& where, const policy_filter& filter,
                                 const shown_errors& errors) {
    json_writer json;
    bool any = false;
    json.array([&] {
        for (const policy_snapshot& p : where.policies(filter.kind, filter.name)) {
            any = true;
            write_policy(json, where, p, errors);
        }
    });
    return any ? json.take() : std::string();
}

}}} // namespace resilience::RESILIENCE_ABI::detail
