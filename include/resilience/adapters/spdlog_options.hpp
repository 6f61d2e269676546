// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/config_field.hpp>
#include <resilience/detail/text.hpp>
#include <resilience/event.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <spdlog/common.h>

namespace resilience { inline namespace RESILIENCE_ABI {

enum class log_format {
    key_value, ///< a sentence, then key=value fields: for people and grep
    json,      ///< one JSON object, the sentence as its `message`: for programs
};

/// Limits the lines of each kind of event while there are many.
struct log_sampling {
    /// The number of lines that are always written in each period; from 1.
    std::uint32_t first = 100;
    /// After these every n-th line is written; 0: none until the period ends.
    std::uint32_t then_every = 0;
    /// The length of a period. Periods are those of the registry's clock, not of the first event.
    duration period = std::chrono::seconds{1};
};

/// Options of log_events.
struct log_options {
    /// Gets the text of every error first and returns the text that may be written. If it throws, the text is
    /// left out and the line says so. The threads that cause events call it, several at once.
    detail::config_field<std::function<std::string(std::string_view)>> redact{};
    /// The most bytes of each text that are written, after redaction. Errors may hold whole pages of HTML.
    std::size_t longest_text = 512;
    /// The format of a line. Key=value by default, since people read lines first.
    log_format format = log_format::key_value;
    /// Names of fields that are not written, for instance {"generation", "policy"}; the sentence always is.
    std::vector<std::string> leave_out{};
    /// The level of an event's line; spdlog::level::off: no line. It is not asked about an event that is told again by
    /// another (event::is_told_again), and has no line: the last attempt of a call whose attempts or budget ran out, a
    /// time-out inside of a retry. Empty: default_log_level. Called like redact; if it throws, the line is lost and the
    /// registry counts it.
    detail::config_field<std::function<spdlog::level::level_enum(const event&)>> level_of{};
    /// Limits the lines of each kind of event separately. Unset: every line is written. The next line of a
    /// kind shows in its field `suppressed` how many were left out before it. Changes of a circuit's state
    /// are always written: they are few, and each of them matters.
    detail::config_field<std::optional<log_sampling>> sample{};
};

namespace detail {

/// Every field that a line may have, but `message` and `suppressed`, which are not left out.
inline constexpr std::array<std::string_view, 23> log_fields{
    "timed_out",        "function",    "error_type",   "retry_delay",
    "policy",           "retry_depth", "circuit_name", "failure_count",
    "success_count",    "last_error",  "from",         "to",
    "recovery_timeout", "reason",      "generation",   "policy_kind",
    "retry_after",      "limit",       "error",        "labels",
    "first_error_type", "first_error", "correlation"};

} // namespace detail

/// A complaint about options that names field, value and range; empty if they are valid.
inline std::string validate(const log_options& o) {
    for (const auto& name : o.leave_out) {
        if (std::find(detail::log_fields.begin(), detail::log_fields.end(), name) == detail::log_fields.end())
            return "log_options.leave_out has '" + name + "'; it must be names of fields";
    }
    if (!o.sample) return {};
    if (o.sample->first < 1) return "log_options.sample.first is 0; it must be 1 or more";
    if (o.sample->period <= duration{0}) {
        return "log_options.sample.period is " + detail::duration_text(o.sample->period) +
               "; it must be more than 0";
    }
    return {};
}

/// The default level: trips and failed attempts are warnings, recovery is information, exhausted retries are
/// errors.
inline spdlog::level::level_enum default_log_level(const event& e) noexcept {
    namespace level = spdlog::level;
    switch (e.kind) {
    case event_kind::retries_exhausted: return level::err;
    case event_kind::attempt_failed:
    case event_kind::budget_exhausted:
    case event_kind::probe_succeeded_late:
    case event_kind::would_have_tripped:
    case event_kind::timed_out:
    case event_kind::overran:
    case event_kind::call_abandoned: return level::warn;
    case event_kind::state_changed:
        return e.to == circuit_state::open || e.to == circuit_state::forced_open ? level::warn : level::info;
    case event_kind::call_succeeded_after_retry:
    case event_kind::fallback_used:
    case event_kind::policy_updated: return level::info;
    case event_kind::retry_scheduled:                    // attempt_failed has told its delay
    case event_kind::repeated_transparently:             // nothing was lost but a connection
    case event_kind::would_have_rejected:                // likewise
    case event_kind::call_rejected: return level::debug; // one per call while a circuit is open: many
    }
    return level::info;
}

}} // namespace resilience::RESILIENCE_ABI
