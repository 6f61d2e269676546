// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/config.hpp>

#if RESILIENCE_BODIES
#include <resilience/detail/immortal.hpp>
#include <resilience/detail/per_process.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/detail/timer_queue.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <utility>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// The time of the machine, one object per process, usable from the first to the last moment of the
/// program, destructors of static objects included. now() is std::chrono::steady_clock.
RESILIENCE_VISIBLE time_source& system_time() noexcept;

#if RESILIENCE_BODIES
namespace detail {

/// The clocks of the machine, and one timer thread. The first call_at() with a moment that can come starts
/// the thread. It is never joined and ends with the process. A forked child starts its own. The parent's
/// timers do not fire in the child, since they belong to threads that the child does not have.
class RESILIENCE_VISIBLE system_time_source final : public time_source {
public:
    // Two ticks: the kernel advances the coarse time in whole ticks, so at an update it may already lag by
    // almost one, and the time since the update comes on top (7.2ms behind was measured with a tick of 4ms).
    system_time_source() noexcept : coarse_resolution_(2 * coarse_clock_tick()) {}

    /// std::chrono::steady_clock.
    time_point now() const noexcept override { return steady_now(); }

    /// The kernel's time of the last tick, or now() on systems that have none. While a machine stalls (a
    /// virtual one that is not scheduled), this can lag by more than coarse_resolution().
    time_point coarse_now() const noexcept override {
        return coarse_resolution_ != duration{0} ? time_point{read_coarse_clock()} : now();
    }

    duration coarse_resolution() const noexcept override { return coarse_resolution_; }

    std::chrono::system_clock::time_point wall_now() const noexcept override {
        return std::chrono::system_clock::now();
    }

    bool sleep_until(time_point until, std::stop_token stop) override {
        if (stop.stop_requested()) return false;
        if (stop.stop_possible()) return sleep_stoppable(until, stop);
        while (now() < until) sleep_once(until.time_since_epoch());
        return true;
    }

    /// `f` runs on the timer thread, so a slow one delays all others; a child forked inside `f` must not
    /// return from it. Throws std::system_error if the thread can't be started.
    timer call_at(time_point at, std::function<void()> f) override {
        if (at == time_point::max()) return {};
        const auto ticket = timers().add(at, std::move(f));
        return timer([ticket] { timers().cancel(ticket); });
    }

    bool is_steady_clock() const noexcept override { return true; }

private:
    static time_point steady_now() noexcept { return time_point{read_steady_clock()}; }

    RESILIENCE_COLD bool sleep_stoppable(time_point until, const std::stop_token& stop) const {
        waitable_mutex gate;
        condition_variable woken;
        bool stopped = false; // guarded by gate
        // Declared before the lock: its destructor may have to wait for the callback, which takes the gate.
        const std::stop_callback on_stop(stop, [&] {
            {
                const lock_guard lock(gate);
                stopped = true;
            }
            woken.notify_one();
        });
        unique_lock lock(gate);
        while (!stopped) {
            if (until == time_point::max()) {
                woken.wait(lock);
            } else if (now() < until) {
                woken.wait_until(lock, until);
            } else {
                return true;
            }
        }
        return false;
    }

    static timer_queue& timers() {
        // A timer of the parent's that ends in a child must be none of the child's.
        return timers_.get([] { return timer_queue(&start_runner, std::uint64_t{process_number()} << 40U); });
    }

    RESILIENCE_COLD static void start_runner(timer_queue& queue) {
        const signals_blocked inherited_by_the_thread;
        thread([&queue] {
            name_this_thread("resilience");
            queue.run(&steady_now);
        }).detach();
    }

    const duration coarse_resolution_;
    static inline constinit per_process<timer_queue> timers_;
};

} // namespace detail

RESILIENCE_VISIBLE RESILIENCE_FUNCTION time_source& system_time() noexcept {
    static constinit detail::immortal<detail::system_time_source> source;
    return source.get();
}
#endif

}} // namespace resilience::RESILIENCE_ABI
