// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/abandoning_timeout/config.hpp>
#include <resilience/call/call_context.hpp>
#include <resilience/detail/raise_to.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/environment/policy_core.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/detail/returned.hpp>
#include <resilience/detail/text.hpp>

#include <vector>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// Work that was given up and still runs, as a reader of the statistics sees it. Guarded by the core's mutex.
struct abandoned_work {
    std::string operation;
    unsigned attempt;
    unsigned retry_depth;
    std::string correlation;
    time_point until{};        // the end of its limit, or of its silence
    duration limit{};          // its length
    std::uint32_t process = 0; // the one that runs it: a forked child does not
    bool is_told = false;      // that it is past twice its limit
    abandoned_work* next = nullptr;
};

/// The shared state of an abandoning timeout: its counts and events.
class abandoning_timeout_core final : public policy_core<abandoning_timeout_core, abandoning_timeout_config> {
public:
    abandoning_timeout_core(abandoning_timeout_config config, const registry& where);

    /// Tells listeners of abandoned work that is past twice its limit.
    abandoning_timeout_stats stats() const;
    /// Publishes an event that happened `at`, a little before the waiting thread learned of it.
    void publish_as_of(time_point at, event_kind what, const failure& why, duration limit,
                       call_context& ctx) const;
    /// Shows work to readers of the statistics, until ends() tells that it has ended.
    void begins(abandoned_work& work) noexcept;
    void ends(abandoned_work& work) noexcept;

    // These only grow. Relaxed: a count orders nothing. Stripes would bring nothing, since an attempt costs
    // two thread switches.
    atomic<std::uint64_t> calls{0};
    atomic<std::uint64_t> timed_out{0};
    atomic<std::uint64_t> cancelled{0};
    atomic<std::uint64_t> rejected{0};
    atomic<std::uint64_t> late_results{0};
    mutable atomic<std::uint64_t> overrun{0}; // a reader may be the first to see one
    mutable atomic<duration::rep> longest_overrun{0};
    // The attempts whose work runs. Relaxed, as the counts.
    atomic<std::uint64_t> in_flight{0};
    // Invariant: the number of abandoned attempts that still run; an attempt is added before its worker can
    // see that it was abandoned. The release at an attempt's end pairs with the acquire in stats(): a thread
    // that sees it gone sees all that its worker did.
    atomic<std::uint32_t> abandoned{0};

private:
    /// True if the work is past twice its limit, and that was not told before.
    bool is_news_locked(const abandoned_work& work, time_point now) const noexcept;
    /// Keeps the core alive if listeners were told: they may destroy the last handle.
    std::shared_ptr<const abandoning_timeout_core> look_at_abandoned() const;
    void tell(const abandoned_work& work, const char* how, duration past) const;

    abandoned_work* first_ = nullptr; // guarded by mutex_
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION abandoning_timeout_core::abandoning_timeout_core(abandoning_timeout_config config,
                                                                     const registry& where)
    : policy_core(std::move(config), where) {}
RESILIENCE_FUNCTION void abandoning_timeout_core::begins(abandoned_work& work) noexcept {
    work.process = process_number();
    const lock_guard lock(mutex_);
    work.next = std::exchange(first_, &work);
}
RESILIENCE_FUNCTION void abandoning_timeout_core::ends(abandoned_work& work) noexcept {
    const time_point now = clock().now();
    bool is_news = false;
    {
        const lock_guard lock(mutex_);
        abandoned_work** place = &first_;
        while (*place != &work) place = &(*place)->next;
        *place = work.next;
        is_news = is_news_locked(work, now);
    }
    if (!is_news) return;
    overrun.fetch_add(1, std::memory_order_relaxed);
    returned([&] { tell(work, "ran for ", elapsed_between(work.until, now)); });
}
RESILIENCE_FUNCTION bool abandoning_timeout_core::is_news_locked(const abandoned_work& work,
                                                                 time_point now) const noexcept {
    const duration past = elapsed_between(work.until, now);
    raise_to(longest_overrun, past.count());
    return past > work.limit && !work.is_told;
}
RESILIENCE_FUNCTION std::shared_ptr<const abandoning_timeout_core>
abandoning_timeout_core::look_at_abandoned() const {
    if (abandoned.load(std::memory_order_relaxed) == 0) return nullptr;
    const time_point now = clock().now();
    std::vector<abandoned_work> news;
    {
        const lock_guard lock(mutex_);
        for (abandoned_work* work = first_; work != nullptr; work = work->next) {
            if (work->process != process_number() || !is_news_locked(*work, now)) continue;
            if (!returned([&] { news.push_back(*work); }))
                break; // without memory it is left to the next reader
            work->is_told = true;
            overrun.fetch_add(1, std::memory_order_relaxed);
        }
    }
    if (news.empty()) return nullptr;
    auto alive = shared_from_this();
    for (const auto& work : news)
        returned([&] { tell(work, "has been running for ", elapsed_between(work.until, now)); });
    return alive;
}
RESILIENCE_FUNCTION void abandoning_timeout_core::tell(const abandoned_work& work, const char* how,
                                                       duration past) const {
    env_->tell([&] {
        event e = event_of(event_kind::overran);
        e.operation = work.operation;
        e.correlation = work.correlation;
        e.attempt = work.attempt;
        e.retry_depth = work.retry_depth;
        e.delay = work.limit;
        e.reason = how + duration_text(work.limit + past);
        return e;
    });
}
RESILIENCE_FUNCTION abandoning_timeout_stats abandoning_timeout_core::stats() const {
    const auto alive = look_at_abandoned();
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
                                                                call_context& ctx) const {
    publish(what, ctx, &why, [&](event& e) {
        e.is_told_again = what == event_kind::timed_out && ctx.tells_again();
        e.retry_depth = ctx.retry_depth();
        e.delay = limit;
        e.at = at;
        e.wall = wall_at(at, clock().now(), clock().wall_now());
    });
}
#endif

}
RESILIENCE_INSTANTIATE(class policy_core<detail::abandoning_timeout_core, abandoning_timeout_config>)
RESILIENCE_INSTANTIATE(
    std::shared_ptr<detail::abandoning_timeout_core> enrolled<detail::abandoning_timeout_core>(
        registry&, const abandoning_timeout_config&))
}} // namespace resilience::RESILIENCE_ABI
