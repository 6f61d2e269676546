// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/environment/registered_policy.hpp>
#include <resilience/monitoring/event_stream.hpp>
#include <resilience/monitoring/json.hpp>
#include <resilience/registry.hpp>
#include <resilience/settings/fields.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// The text of /policies: all policies of a registry, the library's and the user's alike.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The members of a circuit that are no plain numbers.
inline void write_circuit_statistics(json_writer& json, const circuit_breaker_stats& c,
                                     const shown_errors& errors) {
    json.member("state_since", c.state_since);
    json.member("opened_at", c.opened_at).member("last_failure_time", c.last_failure_time);
    json.member("retry_after", seconds_of(c.retry_after)).member("due_for_probe", c.is_due_for_probe());
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

/// The units of members that are no plain numbers: shares from 0 to 1, times in seconds, ...
inline void write_units(json_writer& json, const policy_snapshot& p, const field_list& fields) {
    std::vector<std::pair<std::string_view, std::string_view>> units;
    for (const field& f : fields) {
        if (f.type == field_type::share) units.emplace_back(f.name, "ratio");
    }
    for (const statistic& s : p.statistics) {
        if (!s.unit.empty() && !s.name.empty()) units.emplace_back(s.name, s.unit);
    }
    if (p.circuit) units.emplace_back("retry_after", "seconds");
    if (units.empty()) return;
    json.key("units").object([&] {
        for (const auto& [member, unit] : units) json.member(member, unit);
    });
}

/// {kind, name, labels {if any}, config {field: value}, units {if any}, statistics {...}}
inline void write_policy(json_writer& json, const registered_policy& policy, const shown_errors& errors) {
    const policy_snapshot p = policy.snapshot();
    field_list fields; // point into the config in force, which lives as long as the policy
    policy.list_fields(fields);
    json.object([&] {
        json.member("kind", p.kind).member("name", p.name);
        write_labels(json, p.labels);
        json.key("config").object([&] {
            for (const setting& s : settings_in(fields)) {
                json.key(s.name);
                std::visit([&](const auto& value) { json.value(value); }, s.value);
            }
        });
        write_units(json, p, fields);
        json.key("statistics").object([&] {
            write_statistics(json, p);
            if (p.circuit) write_circuit_statistics(json, *p.circuit, errors);
        });
    });
}

/// Selects policies; an empty member selects all.
struct policy_filter {
    std::string kind{};
    std::string name{};
};

/// An array of the policies that match; an empty text if none does.
inline std::string policies_json(const registry& where, const policy_filter& filter,
                                 const shown_errors& errors) {
    json_writer json;
    bool any = false;
    json.array([&] {
        for (const auto& policy : where.listed(filter.kind, filter.name)) {
            any = true;
            write_policy(json, *policy, errors);
        }
    });
    return any ? json.take() : std::string();
}

}}} // namespace resilience::RESILIENCE_ABI::detail
