// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/quote.hpp>
#include <resilience/event.hpp>
#include <resilience/stats.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The severity, in words that error trackers share.
enum class alert_level { info, warning, error };

constexpr std::string_view to_string(alert_level level) noexcept {
    switch (level) {
    case alert_level::info: return "info";
    case alert_level::warning: return "warning";
    case alert_level::error: return "error";
    }
    return "error";
}

/// The origin of alerts. Labels that are empty are left out of the bodies.
struct alert_labels {
    /// The program, for instance "tickets".
    std::string service{};
    /// For instance "production".
    std::string environment{};
    /// The program's version, as the error tracker knows it.
    std::string release{};
    /// The machine or pod.
    std::string host{};
};

/// A message to people: an event, and the number of events like it that the message stands for.
struct alert {
    /// The newest of these events, its error texts redacted and clipped.
    event what;
    alert_level level = alert_level::error;
    /// The number of other alerts held back since the last that went out: alerts of the same kind or, for a
    /// change of a circuit's state, other changes of that circuit.
    std::uint64_t held_back = 0;
    /// The times of the oldest and the newest of all these.
    wall_time first_seen{};
    wall_time last_seen{};
    /// The key by which trackers group. Equal for alerts of the same kind, across processes and restarts.
    std::string fingerprint{};
    /// Unique to this message: a random UUID without dashes, 32 hexadecimal digits.
    std::string id{};
    alert_labels labels{};
};

namespace detail {

/// True if a probe was bad, so that an open circuit stays open. Judged by the breaker's reasons, since an
/// operator may open a half-open circuit too.
inline bool is_failed_probe(const event& e) noexcept {
    return e.from == circuit_state::half_open && e.to == circuit_state::open &&
           (e.reason == "probe failed" || e.reason == "slow probe" || e.reason == "probe_lease");
}

} // namespace detail

/// Selects the events that people on call need: circuits that open or close or are set by hand, calls whose
/// retries ran out, retries that the budget refused, abandoned calls that still run. A failed probe is no
/// alert, since the circuit was open already. Neither is a command that leaves a circuit in its state. Single
/// attempts, time-outs and rejections are too many.
inline bool is_alert(const event& e) noexcept {
    switch (e.kind) {
    case event_kind::state_changed:
        return e.to != circuit_state::half_open && e.from != e.to && !detail::is_failed_probe(e);
    case event_kind::retries_exhausted:
    case event_kind::budget_exhausted:
    case event_kind::call_abandoned: return true;
    default: return false;
    }
}

/// The default level. Opened circuits and exhausted retries are errors, recovery is information, all else is
/// a warning.
inline alert_level alert_level_of(const event& e) noexcept {
    switch (e.kind) {
    case event_kind::retries_exhausted: return alert_level::error;
    case event_kind::state_changed:
        if (e.to == circuit_state::open) return alert_level::error;
        return e.to == circuit_state::closed ? alert_level::info : alert_level::warning;
    case event_kind::call_succeeded_after_retry:
    case event_kind::policy_updated: return alert_level::info;
    default: return alert_level::warning;
    }
}

/// Two events with the same fingerprint are the same alert. It has the kind, the policy, the state that a
/// circuit changed to, and the error's type.
inline std::string alert_fingerprint(const event& e) {
    std::string all(to_string(e.kind));
    all.append("|").append(e.policy_kind).append("|").append(e.policy).append("|");
    if (e.kind == event_kind::state_changed) all.append(to_string(e.to));
    return all.append("|").append(e.error_type);
}

/// A line for people: `Circuit 'jira_api' opened`, `All 3 attempts failed in retry 'jira_api'`. Characters of
/// a name that could end or disguise the line are escaped. For HTML and other formats in which quotes or <
/// mean something, escape the line again.
inline std::string alert_title(const event& e) {
    const auto what = [&](const char* word) {
        const auto name = detail::escaped(e.policy, '\'', detail::escaping::line);
        return std::string(word) + (name.empty() ? std::string() : " '" + name + "'");
    };
    const auto other = [&](std::string_view happened) {
        return std::string(happened) + " in " + what(std::string(e.policy_kind).c_str());
    };
    switch (e.kind) {
    case event_kind::state_changed:
        switch (e.to) {
        case circuit_state::closed: return what("Circuit") + " closed";
        case circuit_state::open: return what("Circuit") + " opened";
        case circuit_state::half_open: return what("Circuit") + " half-opened";
        case circuit_state::disabled: return what("Circuit") + " was disabled";
        case circuit_state::forced_open: return what("Circuit") + " was forced open";
        case circuit_state::metrics_only: return what("Circuit") + " was set to metrics only";
        }
        return what("Circuit") + " changed";
    case event_kind::retries_exhausted: return other("All " + std::to_string(e.attempt) + " attempts failed");
    case event_kind::budget_exhausted: return other("The retry budget is exhausted");
    case event_kind::call_abandoned: return other("A call was abandoned and is still running");
    default: return other(to_string(e.kind));
    }
}

/// A line with the title, the error's text, the text of the call's first failure if it was another, and the
/// number held back: `Circuit 'jira_api' opened: HTTP 503 (and 3 more)`. The text may come from a remote service; it is escaped as in the title.
inline std::string alert_message(const alert& a) {
    std::string text = alert_title(a.what);
    if (!a.what.error.empty()) {
        // The text is not between quotes, so no quote is escaped: only the backslash, besides characters that
        // break lines.
        detail::append_escaped(text.append(": "), a.what.error, '\\', detail::escaping::line);
    }
    if (!a.what.first_error.empty()) {
        detail::append_escaped(text.append(" (first: "), a.what.first_error, '\\', detail::escaping::line);
        text.append(")");
    }
    if (a.held_back > 0) text.append(" (and ").append(std::to_string(a.held_back)).append(" more)");
    return text;
}

}} // namespace resilience::RESILIENCE_ABI
