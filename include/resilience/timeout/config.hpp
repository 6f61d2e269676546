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

/// Configures a timeout.
struct timeout_config {
    static constexpr std::string_view policy_kind = "timeout";

    /// Names the policy in its registry, in events and in errors; empty: private and unlisted.
    std::string name{};
    /// How long an attempt may take. More than 0; there is no default. It may be left out where `idle` is set:
    /// then an attempt may go on for as long as it makes progress.
    duration limit{};
    /// True: a value that came late is let through, instead of reporting timed_out.
    bool keep_late = false;
    /// Makes the exception that is thrown instead of timeout_error. If it is null or throws, that one is.
    detail::config_field<std::function<std::exception_ptr(const failure&)>> make_exception{};
    /// How long an attempt may be silent: from its beginning, and from each ctx.progress() on. More than 0. Unset:
    /// silence is not bounded, since only callables that tell of progress can be told from those that hang.
    detail::config_field<std::optional<duration>> idle{};
    /// Shown on metrics, events and snapshots; at most 8, constant.
    labels_type labels{};
};

RESILIENCE_COLD void fields(timeout_config& c, auto&& visit) {
    visit("limit", c.limit);
    visit("keep_late", c.keep_late);
    visit("make_exception", c.make_exception);
    visit("idle", c.idle);
}

/// A complaint that names field, value and range; empty if the config is valid.
std::string validate(const timeout_config& c);

/// Totals of a timeout since its creation, and its attempts that run now.
struct timeout_stats {
    std::string name;
    std::uint64_t calls = 0;
    std::uint64_t in_time = 0;
    /// Attempts that came to their limit without a value, or whose value came later.
    std::uint64_t timed_out = 0;
    /// Late values that keep_late let through.
    std::uint64_t kept_late = 0;
    /// Other failures, of the callable and of policies further in. They go out unchanged.
    std::uint64_t failed = 0;
    /// Attempts that run now. A forked child goes on from its parent's number.
    std::uint64_t in_flight = 0;
    /// Attempts that ran, or have been running, for more than twice their limit.
    std::uint64_t overrun_total = 0;
    /// The longest time by which an attempt outran its limit.
    duration longest_overrun{0};
};

RESILIENCE_COLD void statistics(const timeout_stats& s, auto&& visit) {
    const auto ended = [](std::string_view how) {
        return counter{"Attempts under a timeout that ended, by how.", "timelimiter_calls_total", how};
    };
    visit("calls", s.calls, counter{"Attempts that ended.", no_metric});
    visit("in_time", s.in_time, ended("successful"));
    visit("kept_late", s.kept_late, ended("successful"));
    visit("failed", s.failed, ended("failed"));
    visit("timed_out", s.timed_out, ended("timeout"));
    visit("in_flight", s.in_flight, gauge{"Attempts that run now."});
    visit("overrun_total", s.overrun_total,
          counter{"Attempts that ran for more than twice their limit.", "timeout_overrun_total"});
    visit("longest_overrun", s.longest_overrun,
          gauge{"The longest time by which an attempt outran its limit.", "timeout_longest_overrun_seconds"});
}

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::string validate(const timeout_config& c) {
    if (c.idle && *c.idle <= duration{0})
        return detail::complaint("timeout_config.idle", *c.idle, "more than 0");
    if (c.limit < duration{0} || (c.limit == duration{0} && !c.idle))
        return detail::complaint("timeout_config.limit", c.limit, "more than 0");
    return detail::validate_labels("timeout_config", c.labels);
}
#endif

}} // namespace resilience::RESILIENCE_ABI
