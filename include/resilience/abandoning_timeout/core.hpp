// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/abandoning_timeout/config.hpp>
#include <resilience/call/call_context.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/environment/policy_core.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// The shared state of an abandoning timeout: its counts and events.
class abandoning_timeout_core final : public policy_core<abandoning_timeout_core, abandoning_timeout_config> {
public:
    abandoning_timeout_core(abandoning_timeout_config config, const registry& where);

    abandoning_timeout_stats stats() const;
    /// Publishes an event that happened `at`, a little before the waiting thread learned of it.
    void publish_as_of(time_point at, event_kind what, const failure& why, duration limit,
                       const call_context& ctx) const;

    // These only grow. Relaxed: a count orders nothing. Stripes would bring nothing, since an attempt costs
    // two thread switches.
    atomic<std::uint64_t> calls{0};
    atomic<std::uint64_t> timed_out{0};
    atomic<std::uint64_t> cancelled{0};
    atomic<std::uint64_t> rejected{0};
    atomic<std::uint64_t> late_results{0};
    atomic<std::uint64_t> overrun{0};
    atomic<duration::rep> longest_overrun{0};
    // The attempts whose work runs. Relaxed, as the counts.
    atomic<std::uint64_t> in_flight{0};
    // Invariant: the number of abandoned attempts that still run; an attempt is added before its worker can
    // see that it was abandoned. The release at an attempt's end pairs with the acquire in stats(): a thread
    // that sees it gone sees all that its worker did.
    atomic<std::uint32_t> abandoned{0};
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION abandoning_timeout_core::abandoning_timeout_core(abandoning_timeout_config config,
                                                                     const registry& where)
    : policy_core(std::move(config), where) {}
RESILIENCE_FUNCTION abandoning_timeout_stats abandoning_timeout_core::stats() const {
    const auto read = [](const auto& count) { return count.load(std::memory_order_relaxed); };
    // Read first: a thread that sees an attempt gone also counts its late result.
    const std::uint64_t running = abandoned.load(std::memory_order_acquire);
    return {name(),          read(calls),
            read(timed_out), read(cancelled),
            read(rejected),  read(late_results),
            running,         read(in_flight),
            read(overrun),   duration{read(longest_overrun)}};
}
RESILIENCE_FUNCTION void abandoning_timeout_core::publish_as_of(time_point at, event_kind what,
                                                                const failure& why, duration limit,
                                                                const call_context& ctx) const {
    publish(what, ctx, &why, [&](event& e) {
        e.retry_depth = ctx.retry_depth();
        e.delay = limit;
        e.at = at;
        using wall = std::chrono::system_clock::duration;
        e.wall = clock().wall_now() - std::chrono::duration_cast<wall>(elapsed_between(at, clock().now()));
    });
}
#endif

}
RESILIENCE_INSTANTIATE(class policy_core<detail::abandoning_timeout_core, abandoning_timeout_config>)
RESILIENCE_INSTANTIATE(
    std::shared_ptr<detail::abandoning_timeout_core> enrolled<detail::abandoning_timeout_core>(
        registry&, const abandoning_timeout_config&))
}} // namespace resilience::RESILIENCE_ABI
