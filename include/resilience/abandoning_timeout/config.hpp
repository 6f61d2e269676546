// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/config_field.hpp>
#include <resilience/environment/labels.hpp>
#include <resilience/environment/statistics.hpp>

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#if RESILIENCE_BODIES
#include <resilience/detail/complaint.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// Configures an abandoning timeout.
struct abandoning_timeout_config {
    static constexpr std::string_view policy_kind = "abandoning_timeout";

    /// Names the policy in its registry, in events and in errors; empty: private and unlisted.
    std::string name{};
    /// How long the caller waits for an attempt. More than 0; there is no default. It may be left out where `idle`
    /// is set.
    duration limit{};
    /// While this many abandoned attempts still run, further attempts are rejected with
    /// errc::workers_exhausted: each keeps a thread, its stack and its resources. At least 1. Only beginning
    /// attempts are checked, so that attempts which time out together can exceed it by their number.
    std::uint32_t max_abandoned = 64;
    /// Makes the exception that is thrown instead of timeout_error. If it is null or throws, that one is.
    detail::config_field<std::function<std::exception_ptr(const failure&)>> make_exception{};
    /// How long an attempt may be silent: from its beginning, and from each ctx.progress() on. More than 0. Unset:
    /// silence is not bounded.
    detail::config_field<std::optional<duration>> idle{};
    /// Shown on metrics, events and snapshots; at most 8, constant.
    labels_type labels{};
};

void fields(abandoning_timeout_config& c, auto&& visit) {
    visit("limit", c.limit);
    visit("max_abandoned", c.max_abandoned);
    visit("make_exception", c.make_exception);
    visit("idle", c.idle);
}

/// A complaint that names field, value and range; empty if the config is valid.
std::string validate(const abandoning_timeout_config& c);

/// Totals of an abandoning timeout since its creation.
struct abandoning_timeout_stats {
    std::string name;
    /// Attempts that were not rejected.
    std::uint64_t calls = 0;
    /// Given up at the limit, or at an earlier deadline of the call; and failures of the work's own there.
    std::uint64_t timed_out = 0;
    /// Given up at the caller's stop request.
    std::uint64_t cancelled = 0;
    /// Refused: too many abandoned attempts still ran, or the system had no thread left.
    std::uint64_t rejected = 0;
    /// Outcomes of abandoned attempts, which nobody gets.
    std::uint64_t late_results = 0;
    /// Abandoned attempts that run now, in this process.
    std::uint64_t abandoned_running = 0;
    /// Attempts whose work runs now, abandoned or not.
    std::uint64_t in_flight = 0;
    /// Abandoned attempts whose work ended past twice its limit.
    std::uint64_t overrun_total = 0;
    /// The longest time by which abandoned work that has ended outran its limit.
    duration longest_overrun{0};
};

RESILIENCE_COLD void statistics(const abandoning_timeout_stats& s, auto&& visit) {
    visit("calls", s.calls, counter{"Attempts that were not rejected."});
    visit("timed_out", s.timed_out, counter{"Attempts given up at the limit or the deadline."});
    visit("cancelled", s.cancelled, counter{"Attempts given up by a stop request."});
    visit("rejected", s.rejected, counter{"Attempts that were refused."});
    visit("late_results", s.late_results, counter{"Outcomes of abandoned attempts."});
    visit("abandoned_running", s.abandoned_running,
          gauge{"Workers that run abandoned attempts now.", "abandoning_timeout_abandoned_workers"});
    visit("in_flight", s.in_flight, gauge{"Attempts whose work runs now, abandoned or not."});
    visit("overrun_total", s.overrun_total,
          counter{"Attempts whose work ended past twice its limit.", "abandoning_timeout_overrun_total"});
    visit("longest_overrun", s.longest_overrun,
          gauge{"The longest time by which work outran its limit.",
                "abandoning_timeout_longest_overrun_seconds"});
}

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION std::string validate(const abandoning_timeout_config& c) {
    if (c.idle && *c.idle <= duration{0})
        return detail::complaint("abandoning_timeout_config.idle", *c.idle, "more than 0");
    if (c.limit < duration{0} || (c.limit == duration{0} && !c.idle))
        return detail::complaint("abandoning_timeout_config.limit", c.limit, "more than 0");
    if (c.max_abandoned == 0)
        return detail::complaint("abandoning_timeout_config.max_abandoned", c.max_abandoned, "at least 1");
    return detail::validate_labels("abandoning_timeout_config", c.labels);
}
#endif

}} // namespace resilience::RESILIENCE_ABI
