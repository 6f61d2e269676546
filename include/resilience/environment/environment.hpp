// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>
#include <resilience/call/random.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/event.hpp>
#include <resilience/stats.hpp>

#include <cstdint>
#include <string_view>

#if RESILIENCE_BODIES
#include <resilience/call/call_context.hpp>
#include <resilience/detail/quote.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Sets the texts of a failure in an event.
void describe(event& e, const failure& why);
/// The part of a call's correlation that its events show: it may be a text of a client's.
std::string_view shown_correlation(const call_context& of) noexcept;

/// Counts of fallbacks. They only grow. Relaxed: a count orders nothing.
struct fallback_counts {
    atomic<std::uint64_t> used{0};
    atomic<std::uint64_t> failed{0};
    atomic<std::uint64_t> predicate_errors{0};

    fallback_stats read() const noexcept {
        const auto value = [](const auto& a) { return a.load(std::memory_order_relaxed); };
        return {value(used), value(failed), value(predicate_errors)};
    }
};

/// The time, randomness and listeners that a registry lends to its policies. The registry and every policy's
/// shared state own it together, so that a handle can outlive the registry.
class RESILIENCE_VISIBLE environment {
public:
    environment(time_source& clock, random_source& random) noexcept : clock_(&clock), random_(&random) {}

    time_source& clock() const noexcept { return *clock_; }
    random_source& random() const noexcept { return *random_; }

    /// Ask this before making an event: events then cost nothing else while nobody listens.
    bool has_listeners() const noexcept { return hub.has_subscribers(); }
    /// Publishes the event that `make()` returns, if anybody listens. If memory runs out, the event is lost
    /// and counted.
    template <class Make>
    void tell(Make&& make) const {
        if (has_listeners() && !returned([&] {
                event made = make();
                deliver(made);
            }))
            hub.count_error();
    }
    void publish(event e) const { deliver(e); }
    /// Delivers on this thread. No lock of ours may be held. Sets the event's times if they are not set.
    void deliver(event& e) const {
        if (e.at == time_point{}) {
            e.at = clock_->now();
            e.wall = clock_->wall_now();
        }
        hub.deliver(e);
    }

    mutable event_hub hub; // delivery changes nothing that policies depend on
    /// A single count for all fallbacks in calls of this environment's policies: fallbacks have no names.
    mutable fallback_counts fallbacks;

private:
    time_source* clock_;
    random_source* random_;
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::string_view shown_correlation(const call_context& of) noexcept {
    return clipped(of.correlation(), 256);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void describe(event& e, const failure& why) {
    e.error_type = why.type_name();
    e.error = why.message();
    e.timed_out = why.has_timed_out();
    if (const failure* first = why.first()) {
        e.first_error_type = first->type_name();
        e.first_error = first->message();
    }
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
