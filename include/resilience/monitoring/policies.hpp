// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/environment/registered_policy.hpp>
#include <resilience/monitoring/event_stream.hpp>
#include <resilience/monitoring/json.hpp>
#include <resilience/monitoring/response.hpp>
#include <resilience/registry.hpp>
#include <resilience/settings/fields.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
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

/// An array of policies.
inline std::string policies_json(const policy_page& page, const shown_errors& errors) {
    json_writer json;
    json.array([&] {
        for (const auto& policy : page.policies) write_policy(json, *policy, errors);
    });
    return json.take();
}

/// Writes the array in pieces, so that the text of ten thousand policies is never held as a whole.
inline void write_policies(const policy_page& page, const shown_errors& errors, const piece_sink& sink) {
    std::string piece = "[";
    for (const auto& policy : page.policies) {
        json_writer json;
        write_policy(json, *policy, errors);
        if (policy != page.policies.front()) piece += ',';
        piece += json.take();
        if (piece.size() < piece_size) continue;
        if (!sink(piece)) return;
        piece.clear();
    }
    sink(piece += ']');
}

/// The arguments of /policies and /metrics. All but the first are for lists: for one policy the path has the name.
inline constexpr std::array<std::string_view, 4> page_arguments{"kind", "name", "after", "limit"};

/// Reads the arguments that select policies and a page of them. Returns a complaint; empty if they are valid.
inline std::string read_query(const request_target& target, policy_query& into) {
    constexpr std::uint64_t most = 100'000;
    into.kind = target.argument("kind");
    into.name = target.argument("name");
    std::optional<std::uint64_t> limit;
    if (!read_number(target.argument("limit"), limit) || (limit && (*limit < 1 || *limit > most)))
        return "limit must be in 1.." + std::to_string(most);
    if (limit) into.limit = static_cast<std::size_t>(*limit);
    const std::string after = target.argument("after");
    if (after.empty()) return {};
    const auto slash = after.find('/'); // no kind has one, a name may
    const bool has_kind =
        slash != std::string::npos && (into.kind.empty() || after.substr(0, slash) == into.kind);
    if (!has_kind && into.kind.empty()) return "after must be {kind}/{name}, or a name where `kind` is given";
    into.after_kind = has_kind ? after.substr(0, slash) : into.kind;
    into.after_name = has_kind ? after.substr(slash + 1) : after;
    return {};
}

/// RFC 8288: where the next page is, relative to this one.
inline std::string link_to_next(const policy_query& asked, const policy_page& page) {
    std::string link = "<?after=" + percent_encoded(page.last_kind + '/' + page.last_name);
    link.append("&limit=").append(std::to_string(asked.limit));
    if (!asked.kind.empty()) link.append("&kind=").append(percent_encoded(asked.kind));
    if (!asked.name.empty()) link.append("&name=").append(percent_encoded(asked.name));
    return link.append(">; rel=\"next\"");
}

}}} // namespace resilience::RESILIENCE_ABI::detail
