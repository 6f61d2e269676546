// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/environment/labels.hpp>
#include <resilience/environment/statistics.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/detail/complaint.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// The call that gets the next place, of those of one priority that wait.
enum class queue_order : std::uint8_t {
    fifo,     ///< the first that came
    lifo,     ///< the last that came: the others may have been given up by whoever asked
    adaptive, ///< fifo; lifo with short waits while the queue stands (CoDel, RFC 8289)
};
constexpr std::array<std::pair<std::string_view, queue_order>, 3> words_of(queue_order) {
    return {{{"fifo", queue_order::fifo}, {"lifo", queue_order::lifo}, {"adaptive", queue_order::adaptive}}};
}

/// Configures a bulkhead.
struct bulkhead_config {
    static constexpr std::string_view policy_kind = "bulkhead";

    /// Names the policy in its registry, in events and in errors; empty: private and unlisted.
    std::string name{};
    /// Attempts that run at once; 0 refuses all. 25 by default, as resilience4j has it.
    unsigned max_concurrent = 25;
    /// Calls that wait for a place. 0 by default: a queue adds to the latency of what is slow already.
    unsigned max_queue = 0;
    /// How long a call waits at most. The call's deadline and its stop token end the wait, too.
    duration max_wait = std::chrono::seconds{1};
    /// Within a priority.
    queue_order order = queue_order::fifo;
    /// Of `adaptive`: a queue whose shortest wait of an interval was longer than this stands. More than 0. The figures are
    /// those of CoDel.
    duration codel_target = std::chrono::milliseconds{5};
    /// Of `adaptive`. More than 0.
    duration codel_interval = std::chrono::milliseconds{100};
    /// Shown on metrics, events and snapshots; at most 8, constant.
    labels_type labels{};
    /// True: it decides, counts and tells what it would have refused, and lets all calls pass at once.
    bool dry_run = false;
};

void fields(bulkhead_config& c, auto&& visit) {
    visit("max_concurrent", c.max_concurrent);
    visit("max_queue", c.max_queue);
    visit("max_wait", c.max_wait);
    visit("order", c.order);
    visit("codel_target", c.codel_target);
    visit("codel_interval", c.codel_interval);
    visit("dry_run", c.dry_run);
}

/// A complaint that names field, value and range; empty if the config is valid.
std::string validate(const bulkhead_config& c);

/// A bulkhead now, and its totals since its creation.
struct bulkhead_stats {
    std::string name;
    std::uint64_t max_concurrent = 0;
    /// Attempts that have a place, and permits.
    std::uint64_t running = 0;
    /// Of these: those that an abandoning_timeout further out has given up, and which still run.
    std::uint64_t zombies = 0;
    std::uint64_t queued = 0;
    /// Places that are free.
    std::uint64_t available = 0;
    std::uint64_t admitted = 0;
    /// Attempts that were refused, for any cause but their caller's stop request.
    std::uint64_t rejected = 0;
    /// Of these: those that found all places taken, and none in the queue.
    std::uint64_t rejected_full = 0;
    /// Of these: those that could not have a place before their deadline, and did not wait for it.
    std::uint64_t rejected_late = 0;
    /// Of these: those that gave their place in the queue to a call of higher priority.
    std::uint64_t evicted = 0;
    /// Of these: those that waited for too long, or until their deadline.
    std::uint64_t expired = 0;
    /// Attempts that did not run since their call was stopped, or destroyed while it waited.
    std::uint64_t cancelled = 0;
    /// The most that ran at once.
    std::uint64_t max_running = 0;
    /// Of all that were admitted.
    duration total_wait{0};
};

void statistics(const bulkhead_stats& s, auto&& visit) {
    visit("max_concurrent", s.max_concurrent,
          gauge{"Attempts that may run at once.", "bulkhead_max_allowed_concurrent_calls"});
    visit("running", s.running, gauge{"Attempts that run now."});
    visit("zombies", s.zombies, gauge{"Attempts that were given up and still have their place."});
    visit("queued", s.queued, gauge{"Calls that wait for a place."});
    visit("available", s.available, gauge{"Places that are free.", "bulkhead_available_concurrent_calls"});
    visit("admitted", s.admitted, counter{"Attempts that got a place."});
    visit("rejected", s.rejected, counter{"Attempts that were refused."});
    visit("rejected_full", s.rejected_full, counter{"Attempts that found no place, and none in the queue."});
    visit("rejected_late", s.rejected_late,
          counter{"Attempts that could not have a place before their deadline."});
    visit("evicted", s.evicted, counter{"Waiting calls that made way for a call of higher priority."});
    visit("expired", s.expired, counter{"Calls that waited for too long."});
    visit("cancelled", s.cancelled,
          counter{"Attempts whose call was stopped, or destroyed while it waited."});
    visit("max_running", s.max_running, gauge{"The most attempts that ran at once."});
    visit("total_wait", s.total_wait, counter{"The time that admitted calls have waited."});
}

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::string validate(const bulkhead_config& c) {
    if (c.max_wait < duration{0})
        return detail::complaint("bulkhead_config.max_wait", c.max_wait, "0 or more");
    if (c.order > queue_order::adaptive)
        return detail::complaint("bulkhead_config.order", static_cast<unsigned>(c.order),
                                 "one of fifo, lifo, adaptive");
    if (c.codel_target <= duration{0})
        return detail::complaint("bulkhead_config.codel_target", c.codel_target, "more than 0");
    if (c.codel_interval <= duration{0})
        return detail::complaint("bulkhead_config.codel_interval", c.codel_interval, "more than 0");
    return detail::validate_labels("bulkhead_config", c.labels);
}
#endif

}} // namespace resilience::RESILIENCE_ABI
