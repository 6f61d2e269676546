// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/quote.hpp>
#include <resilience/event.hpp>
#include <resilience/stats.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI {

/// How bad it is, in words that error trackers share.
enum class alert_level { info, warning, error };

constexpr std::string_view to_string(alert_level level) noexcept {
    switch (level) {
    case alert_level::info: return "info";
    case alert_level::warning: return "warning";
    case alert_level::error: return "error";
    }
    return "error";
}

/// Where alerts come from; what is empty is left out of the bodies.
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

/// One message to people: an event, and how many more like it this one stands for.
struct alert {
    /// The newest of them, its error text redacted and clipped.
    event what;
    alert_level level = alert_level::error;
    /// Others that were held back since the last one that went out: of the same kind, or, for a change of a
    /// circuit's state, other changes of that circuit.
    std::uint64_t held_back = 0;
    /// When the oldest and the newest of all these happened.
    wall_time first_seen{};
    wall_time last_seen{};
    /// Equal for alerts of the same kind, across processes and restarts: what trackers group by.
    std::string fingerprint{};
    /// Of this message alone: a random UUID without dashes, 32 hexadecimal digits.
    std::string id{};
    alert_labels labels{};
};

namespace detail {

/// An open circuit stays open: by the reasons that a breaker gives, since an operator may open a half-open one.
inline bool is_failed_probe(const event& e) noexcept {
    return e.from == circuit_state::half_open && e.to == circuit_state::open &&
           (e.reason == "probe failed" || e.reason == "probe_lease");
}

} // namespace detail

/// What somebody on call wants to hear of: circuits that open or close, or are set by hand; calls whose retries
/// ran out; retries that the budget refused; calls that run on abandoned. Not a probe that failed, which says
/// that an open circuit is still open, nor a command that leaves a circuit in its state, nor single attempts,
/// time-outs and rejections, of which there are many.
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

/// Circuits that open and exhausted retries are errors, recovery informs, all else warns.
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

/// What makes two events the same alert: kind, policy, the state it changed to, and the error's type.
inline std::string alert_fingerprint(const event& e) {
    std::string all(to_string(e.kind));
    all.append("|").append(e.policy_kind).append("|").append(e.policy).append("|");
    if (e.kind == event_kind::state_changed) all.append(to_string(e.to));
    return all.append("|").append(e.error_type);
}

/// One line for people: `Circuit 'jira_api' opened`, `All 3 attempts failed in retry 'jira_api'`. Whatever in a name
/// could end or disguise the line is escaped; where quotes or < mean something, escape it for there.
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

/// One line with the title, the error's text and the number held back: `Circuit 'jira_api' opened: HTTP 503 (and 3
/// more)`. Line ends and the like in the text, which may be a remote's, are escaped, as in the title.
inline std::string alert_message(const alert& a) {
    std::string text = alert_title(a.what);
    if (!a.what.error.empty()) {
        // Not between quotes, so no quote is escaped: only the backslash, besides what breaks lines.
        detail::append_escaped(text.append(": "), a.what.error, '\\', detail::escaping::line);
    }
    if (a.held_back > 0) text.append(" (and ").append(std::to_string(a.held_back)).append(" more)");
    return text;
}

}} // namespace resilience::RESILIENCE_ABI
