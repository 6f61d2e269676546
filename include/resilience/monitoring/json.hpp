// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/quote.hpp>
#include <resilience/environment/labels.hpp>
#include <resilience/event.hpp>
#include <resilience/stats.hpp>

#include <chrono>
#include <cmath>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

// Statistics as compact JSON (RFC 8259). The bodies of the first four are fixed: keys, order and form are
// what the monitoring API promises. Texts may be anything: bytes that are no UTF-8 become U+FFFD. Times are
// ISO 8601 in UTC with microseconds; null stands for what has not happened, is not known, or is no number.

namespace resilience { inline namespace RESILIENCE_ABI {

/// 2024-01-08T20:00:00.000000Z; rounded down.
inline std::string iso_8601(wall_time at) {
    using namespace std::chrono;
    auto since = duration_cast<microseconds>(at.time_since_epoch()); // towards zero
    if (at.time_since_epoch() % microseconds{1} < system_clock::duration{0}) since -= microseconds{1};
    const auto day = floor<days>(since);
    const year_month_day date{sys_days{day}};
    const hh_mm_ss time{since - day};
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                       time.hours().count(), time.minutes().count(), time.seconds().count(),
                       time.subseconds().count());
}

namespace detail {

/// As 0.1.0.
inline std::string library_version() {
    return std::to_string(RESILIENCE_VERSION_MAJOR) + "." + std::to_string(RESILIENCE_VERSION_MINOR) + "." +
           std::to_string(RESILIENCE_VERSION_PATCH);
}

/// Writes JSON from left to right; puts the commas.
class json_writer {
public:
    template <class Members>
    json_writer& object(Members&& members) {
        return nested('{', '}', members);
    }
    template <class Elements>
    json_writer& array(Elements&& elements) {
        return nested('[', ']', elements);
    }
    json_writer& key(std::string_view name) {
        value(name);
        out_ += ':';
        first_ = true; // no comma before its value
        return *this;
    }
    json_writer& value(std::string_view text) {
        separate();
        out_ += '"';
        append_escaped(out_, text, '"', escaping::json);
        out_ += '"';
        return *this;
    }
    json_writer& value(std::unsigned_integral auto number) { // or a bool, which is one to the language
        separate();
        if constexpr (std::same_as<decltype(number), bool>) {
            out_ += number ? "true" : "false";
        } else {
            const fmt::format_int digits(number);
            out_.append(digits.data(), digits.size());
        }
        return *this;
    }
    /// Shortest form that reads back the same; with a point or an exponent, so that it stays a fraction.
    json_writer& value(double number) {
        if (!std::isfinite(number)) return null();
        separate();
        const std::string text = fmt::format("{}", number);
        out_ += text;
        if (text.find_first_of(".e") == std::string::npos) out_ += ".0";
        return *this;
    }
    json_writer& value(std::monostate) { return null(); }
    json_writer& value(wall_time at) { return value(iso_8601(at)); }
    json_writer& value(circuit_state state) { return value(to_string(state)); }
    template <class T>
    json_writer& value(const std::optional<T>& maybe) {
        return maybe ? value(*maybe) : null();
    }
    json_writer& value_or_null(std::string_view text) { return text.empty() ? null() : value(text); }
    json_writer& null() {
        separate();
        out_ += "null";
        return *this;
    }
    template <class T>
    json_writer& member(std::string_view name, const T& what) {
        return key(name).value(what);
    }
    std::string take() { return std::move(out_); }

private:
    template <class Inside>
    json_writer& nested(char open, char close, Inside&& inside) {
        separate();
        out_ += open;
        first_ = true;
        inside();
        out_ += close;
        first_ = false;
        return *this;
    }
    void separate() {
        if (!first_) out_ += ',';
        first_ = false;
    }

    std::string out_;
    bool first_ = true;
};

inline void write(json_writer& json, const circuit_summary& c) {
    json.object([&] {
        json.member("name", c.name).member("state", c.state);
        json.member("failure_count", c.failure_count).member("failure_threshold", c.failure_threshold);
        json.member("success_count", c.success_count).member("success_threshold", c.success_threshold);
        json.member("health_percentage", c.health_percentage);
    });
}
/// The members that a policy's statistics are.
inline void write_statistics(json_writer& json, const policy_snapshot& p) {
    for (const statistic& s : p.statistics) {
        if (s.name.empty()) continue; // a metric alone
        json.key(s.name);
        // A share or an amount that is negative stands for: not known.
        if (const auto* share = std::get_if<double>(&s.value); share != nullptr && *share < 0) json.null();
        else std::visit([&](const auto& what) { json.value(what); }, s.value);
    }
}
/// The member `labels`, if there are any.
inline void write_labels(json_writer& json, const shared_labels& labels) {
    if (labels.empty()) return;
    json.key("labels").object([&] {
        for (const auto& [name, value] : labels) json.member(name, value);
    });
}
inline void write(json_writer& json, const policy_snapshot& p) {
    json.object([&] {
        json.member("kind", p.kind).member("name", p.name);
        write_labels(json, p.labels);
        json.key("statistics").object([&] { write_statistics(json, p); });
    });
}
inline void write_members(json_writer& json, const health_report& h) {
    json.member("status", h.status)
        .member("timestamp", h.timestamp)
        .member("total_circuits", h.total_circuits);
    json.key("circuits_by_state").object([&] {
        json.member("closed", h.closed).member("open", h.open).member("half_open", h.half_open);
    });
    json.key("open_circuits").array([&] {
        for (const auto& name : h.open_circuits) json.value(name);
    });
}
inline std::optional<double> seconds_of(const std::optional<duration>& d) {
    if (!d) return std::nullopt;
    return std::chrono::duration<double>(*d).count();
}
inline void write_members(json_writer& json, const event& e) {
    const auto state = [&](circuit_state s) {
        const bool has_state = e.policy_kind == "circuit_breaker" && e.kind != event_kind::policy_updated;
        return has_state ? std::optional(s) : std::nullopt;
    };
    json.member("kind", to_string(e.kind));
    json.key("policy_kind").value_or_null(e.policy_kind);
    json.key("policy").value_or_null(e.policy);
    json.key("operation").value_or_null(e.operation);
    if (!e.correlation.empty()) json.member("correlation", e.correlation);
    json.member("attempt", e.attempt)
        .member("max_attempts", e.max_attempts)
        .member("retry_depth", e.retry_depth);
    json.member("delay", seconds_of(e.delay)).member("from", state(e.from)).member("to", state(e.to));
    json.member("failure_count", e.failure_count).member("success_count", e.success_count);
    json.key("error_type").value_or_null(e.error_type);
    json.key("error").value_or_null(e.error);
    if (!e.first_error_type.empty()) json.member("first_error_type", e.first_error_type);
    if (!e.first_error.empty()) json.member("first_error", e.first_error);
    json.key("reason").value_or_null(e.reason);
    json.member("timestamp", e.wall).member("generation", e.generation);
    write_labels(json, e.labels);
}
inline void write(json_writer& json, const event& e) {
    json.object([&] { write_members(json, e); });
}
template <class T>
std::string array_json(const std::vector<T>& all) {
    json_writer json;
    json.array([&] {
        for (const T& each : all) write(json, each);
    });
    return json.take();
}

} // namespace detail

/// {"jira_api":{state, failure_count, failure_threshold, success_count, opened_at, last_failure_time},...}
inline std::string to_json(const std::vector<circuit_breaker_stats>& circuits) {
    detail::json_writer json;
    json.object([&] {
        for (const auto& c : circuits) {
            json.key(c.name).object([&] {
                json.member("state", c.state);
                json.member("failure_count", c.failure_count)
                    .member("failure_threshold", c.failure_threshold);
                json.member("success_count", c.success_count);
                json.member("opened_at", c.opened_at).member("last_failure_time", c.last_failure_time);
            });
        }
    });
    return json.take();
}

/// {state, failure_count, failure_threshold, success_count, success_threshold, opened_at, last_failure_time}
inline std::string to_json(const circuit_breaker_stats& c) {
    detail::json_writer json;
    json.object([&] {
        json.member("state", c.state);
        json.member("failure_count", c.failure_count).member("failure_threshold", c.failure_threshold);
        json.member("success_count", c.success_count).member("success_threshold", c.success_threshold);
        json.member("opened_at", c.opened_at).member("last_failure_time", c.last_failure_time);
    });
    return json.take();
}

/// {status, timestamp, total_circuits, circuits_by_state {closed, open, half_open}, open_circuits [names]}
inline std::string to_json(const health_report& h) {
    detail::json_writer json;
    json.object([&] { detail::write_members(json, h); });
    return json.take();
}

/// {name, state, failure_count, failure_threshold, success_count, success_threshold, health_percentage}
inline std::string to_json(const circuit_summary& c) {
    detail::json_writer json;
    detail::write(json, c);
    return json.take();
}
inline std::string to_json(const std::vector<circuit_summary>& circuits) {
    return detail::array_json(circuits);
}

/// {kind, name, labels {if it has any}, statistics {what the policy counts}}
inline std::string to_json(const policy_snapshot& p) {
    detail::json_writer json;
    detail::write(json, p);
    return json.take();
}
inline std::string to_json(const std::vector<policy_snapshot>& policies) {
    return detail::array_json(policies);
}

/// {kind, policy_kind, policy, operation, attempt, max_attempts, retry_depth, delay, from, to, failure_count,
/// success_count, error_type, error, reason, timestamp, generation, and first_error_type, first_error (after error) and labels if there are any}: delay in seconds; null for texts that
/// are empty, and for from and to unless the event tells a circuit's state. The monotonic time says nothing
/// outside.
inline std::string to_json(const event& e) {
    detail::json_writer json;
    detail::write(json, e);
    return json.take();
}

/// A text as JSON: in double quotes, escaped. For bodies that are put together by hand.
inline std::string json_text(std::string_view text) {
    return "\"" + detail::escaped(text, '"', detail::escaping::json) + "\"";
}

/// {"error":{code, message}}: what the monitoring API answers instead of a body. The code is a word for
/// programs, such as not_found.
inline std::string error_json(std::string_view code, std::string_view message) {
    detail::json_writer json;
    json.object(
        [&] { json.key("error").object([&] { json.member("code", code).member("message", message); }); });
    return json.take();
}

}} // namespace resilience::RESILIENCE_ABI
