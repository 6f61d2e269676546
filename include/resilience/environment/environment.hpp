// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/random.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/event.hpp>
#include <resilience/stats.hpp>

#include <cstdint>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// What fallbacks did. Only ever added to; relaxed: a count orders nothing.
struct fallback_counts {
    atomic<std::uint64_t> used{0};
    atomic<std::uint64_t> failed{0};
    atomic<std::uint64_t> predicate_errors{0};

    fallback_stats read() const noexcept {
        const auto value = [](const auto& a) { return a.load(std::memory_order_relaxed); };
        return {value(used), value(failed), value(predicate_errors)};
    }
};

/// What a registry lends to its policies: time, randomness and listeners. Owned by the registry and by
/// every policy's shared state, so that a handle outlives the registry's table of names.
class RESILIENCE_VISIBLE environment {
public:
    environment(time_source& clock, random_source& random) noexcept : clock_(&clock), random_(&random) {}

    time_source& clock() const noexcept { return *clock_; }
    random_source& random() const noexcept { return *random_; }

    /// Ask before making an event: it is all that events cost while nobody listens.
    bool has_listeners() const noexcept { return hub.has_subscribers(); }
    /// Publishes what `make()` gives, if anybody listens. Without memory for it the event is lost and counted; what
    /// it tells of has happened all the same.
    template <class Make>
    void tell(Make&& make) const {
        if (has_listeners() && !returned([&] { publish(make()); })) hub.count_error();
    }
    /// Delivers on this thread; no lock of ours may be held. Stamps the event if its maker did not.
    void publish(event e) const {
        if (e.at == time_point{}) {
            e.at = clock_->now();
            e.wall = clock_->wall_now();
        }
        hub.deliver(e);
    }

    mutable event_hub hub; // telling changes nothing that policies go by
    /// Of all fallbacks in calls of this environment's policies: fallbacks have no names of their own.
    mutable fallback_counts fallbacks;

private:
    time_source* clock_;
    random_source* random_;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
