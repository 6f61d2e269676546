// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/error.hpp>
#include <resilience/call/outside_of_calls.hpp>
#include <resilience/call/time.hpp>
#include <resilience/config.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/detail/text.hpp>
#include <resilience/detail/timer_queue.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI { namespace testing {

/// The effect of a sleep on a virtual_clock.
enum class sleepers {
    advance_time, ///< moves the time to the end of the sleep and returns: for tests with one thread
    wait,         ///< blocks until another thread advances the time
};

/// The one that made a thread sleep.
enum class asked_by {
    policy, ///< as for the delay before a retry
    code,   ///< a callable, such as a script's `after`, or the test
};

/// A clock that moves only when told to. Timers fire on the thread that moves the time, in order, each at its
/// own moment, with no lock held. Any thread may use it. It must outlive its timers.
///
/// A timer that is overdue when it is added fires with the next movement (`advance(0s)` suffices). A forked
/// child may use the clock if no other thread used it at the fork.
class virtual_clock : public time_source {
public:
    /// The time at which every clock starts: far enough from zero to subtract from.
    static constexpr time_point start_time{std::chrono::seconds{1'000'000}};
    /// The wall time at the start: 2024-01-08T20:00:00Z.
    static constexpr std::chrono::system_clock::time_point start_wall_time{
        std::chrono::seconds{1'704'744'000}};

    explicit virtual_clock(sleepers mode = sleepers::advance_time) : mode_(mode) {}

    time_point now() const noexcept override {
        const detail::lock_guard lock(mutex_);
        ++exact_reads_;
        return now_;
    }

    time_point coarse_now() const noexcept override {
        const detail::lock_guard lock(mutex_);
        ++coarse_reads_;
        return last_tick();
    }

    duration coarse_resolution() const noexcept override {
        const detail::lock_guard lock(mutex_);
        return coarse_resolution_;
    }

    std::chrono::system_clock::time_point wall_now() const noexcept override {
        const detail::lock_guard lock(mutex_);
        using wall = std::chrono::system_clock;
        const auto since = std::chrono::duration_cast<wall::duration>(saturating_sub(now_, wall_set_at_));
        return wall_ + std::min(since, wall::time_point::max() - wall_);
    }

    /// If a timer requests the stop, this returns false, and the clock stays at that timer's moment. Other
    /// threads are not waited for. A sleep that nothing can end (until time_point::max(), with no stop
    /// possible) throws std::logic_error, so that the test does not hang.
    bool sleep_until(time_point until, std::stop_token stop) override {
        if (stop.stop_requested()) return false;
        until = note_sleep(until);
        if (mode_ == sleepers::wait) return wait_until(until, stop);
        while (run_next_timer(until)) {
            if (stop.stop_requested()) return false;
        }
        if (until == time_point::max()) return wait_until(until, stop);
        arrive_at(until);
        return true;
    }

    timer call_at(time_point at, std::function<void()> f) override {
        // Everything that may throw comes before add(): a function that was added and could not be cancelled
        // would outlive the objects that it refers to.
        const auto ticket = std::make_shared<detail::timer_queue::ticket>();
        timer added([this, ticket] { timers_.cancel(*ticket); });
        *ticket = timers_.add(at, std::move(f));
        return added;
    }

    /// Moves the time forward. Timers that fire may add others, which fire too if they are due by then.
    /// Throws std::invalid_argument for a negative duration: see set_back().
    void advance(duration by) {
        if (by < duration{0}) refuse("advance", by);
        const time_point target = saturating_add(time_now(), by);
        while (run_next_timer(target)) {}
        arrive_at(target);
    }

    /// Makes the clock go backwards, which a monotonic clock must not, to test code that tolerates it.
    void set_back(duration by) {
        if (by < duration{0}) refuse("set_back", by);
        const detail::lock_guard lock(mutex_);
        now_ = saturating_add(now_, -by);
    }

    /// Sets the wall time, which then moves with the clock.
    void set_wall(std::chrono::system_clock::time_point now) {
        const detail::lock_guard lock(mutex_);
        wall_ = now;
        wall_set_at_ = now_;
    }

    /// Makes coarse_now() the time of the last tick. Ticks come every `resolution`, at `phase` after a
    /// multiple of it. A resolution of 0, the default, makes it exact.
    void set_coarse_resolution(duration resolution, duration phase = duration{0}) {
        if (resolution < duration{0}) refuse("set_coarse_resolution", resolution);
        const detail::lock_guard lock(mutex_);
        coarse_resolution_ = resolution;
        coarse_phase_ = phase;
    }

    /// The requested durations of all sleeps so far, in order, even if they ended early. A moment that had
    /// passed counts as 0. A sleep refused because of an earlier stop request does not count.
    std::vector<duration> slept() const {
        const detail::lock_guard lock(mutex_);
        std::vector<duration> lengths;
        lengths.reserve(slept_.size());
        for (const sleep& each : slept_) lengths.push_back(each.length);
        return lengths;
    }

    /// A sleep, and whose it was.
    struct sleep {
        duration length;
        testing::asked_by asked_by;
        /// Of the call that waits, or, if code sleeps inside of a call with limits, of that call: the name given
        /// with `named`, and the number of the attempt (the one before the delay of a retry). Else empty and 0.
        std::string operation;
        unsigned attempt;
    };
    /// The sleeps of slept(), and whose they were.
    std::vector<sleep> sleeps() const {
        const detail::lock_guard lock(mutex_);
        return slept_;
    }

    /// The number of calls of now() and coarse_now().
    std::size_t now_reads() const {
        const detail::lock_guard lock(mutex_);
        return exact_reads_ + coarse_reads_;
    }
    /// The number of calls of coarse_now().
    std::size_t coarse_reads() const {
        const detail::lock_guard lock(mutex_);
        return coarse_reads_;
    }

    /// Timers that have neither fired nor been cancelled.
    std::size_t pending_timers() const { return timers_.size(); }
    /// The moment of the earliest pending timer; time_point::max() if there is none.
    time_point next_timer() const { return timers_.next(); }

    /// The number of threads blocked in sleep_until(). Threads that an advance has woken do not count, even
    /// if they have not run yet.
    std::size_t sleeping() const {
        const detail::lock_guard lock(mutex_);
        return asleep_.size();
    }

    /// Blocks, in real time and without limit, until at least `count` threads sleep at once.
    void wait_for_sleepers(std::size_t count) const {
        detail::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return asleep_.size() >= count; });
    }

private:
    /// A sleeping thread's record, on its stack. All members are guarded by mutex_.
    struct sleeper {
        time_point until;
        bool woken = false;
        bool stopped = false;
    };

    [[noreturn]] static void refuse(const char* function, duration by) {
        detail::raise(std::invalid_argument(std::string("virtual_clock: ") + function + "(" +
                                            detail::duration_text(by) + ") must not be negative"));
    }

    time_point time_now() const {
        const detail::lock_guard lock(mutex_);
        return now_;
    }

    /// The caller holds mutex_.
    time_point last_tick() const {
        if (coarse_resolution_ == duration{0}) return now_;
        const duration since_tick = (now_.time_since_epoch() - coarse_phase_) % coarse_resolution_;
        return now_ - (since_tick < duration{0} ? since_tick + coarse_resolution_ : since_tick);
    }

    /// The moment at which the sleep ends: a moment that has passed is now.
    time_point note_sleep(time_point until) {
        const call_context* const waiting = detail::this_threads_calls.waiting;
        const call_context* const whose = waiting != nullptr ? waiting : call_context::current();
        sleep made{duration{0}, waiting != nullptr ? asked_by::policy : asked_by::code,
                   std::string(whose != nullptr ? whose->operation() : std::string_view{}),
                   whose != nullptr ? whose->attempt() : 0};
        const detail::lock_guard lock(mutex_);
        until = std::max(until, now_);
        made.length = until == time_point::max() ? duration::max() : saturating_sub(until, now_);
        slept_.push_back(std::move(made));
        return until;
    }

    /// Threads that sleep until a timer's moment stay asleep while it fires, so that the timers of that
    /// moment can still stop them, as in sleep_until() without threads.
    bool run_next_timer(time_point latest) {
        const time_point at = timers_.next();
        if (at > latest || at == time_point::max()) return false;
        move_to(at, [&](const sleeper& s) { return s.until < at; });
        const outside_of_calls timers; // the thread that moves the time may be inside of any call
        timers_.run_due(at);
        return true;
    }

    void arrive_at(time_point at) {
        move_to(at, [&](const sleeper& s) { return s.until <= at && s.until != time_point::max(); });
    }

    template <class Ended>
    void move_to(time_point at, Ended ended) {
        {
            const detail::lock_guard lock(mutex_);
            now_ = std::max(now_, at); // another thread may be further already
            std::erase_if(asleep_, [&](sleeper* s) { return s->woken = ended(*s); });
        }
        changed_.notify_all();
    }

    bool wait_until(time_point until, const std::stop_token& stop) {
        if (until == time_point::max() && !stop.stop_possible()) {
            detail::raise(
                std::logic_error("virtual_clock: nothing can end a sleep for ever without a stop token"));
        }
        sleeper me{until};
        // Made before the sleep is recorded, so that no stop is missed, and before the lock, since its
        // destructor may have to wait for the callback, which takes the lock.
        const std::stop_callback on_stop(stop, [&] {
            {
                const detail::lock_guard lock(mutex_);
                if (!me.woken) me.stopped = me.woken = true;
                std::erase(asleep_, &me);
            }
            changed_.notify_all();
        });
        detail::unique_lock lock(mutex_);
        if (!me.woken) {
            if (until <= now_ && until != time_point::max()) return true;
            asleep_.push_back(&me);
            changed_.notify_all();
        }
        changed_.wait(lock, [&] { return me.woken; });
        return !me.stopped;
    }

    const sleepers mode_;
    detail::timer_queue timers_;           // has a lock of its own, never taken together with mutex_
    mutable detail::waitable_mutex mutex_; // guards all below
    mutable detail::condition_variable changed_;
    time_point now_ = start_time;
    std::chrono::system_clock::time_point wall_ = start_wall_time;
    time_point wall_set_at_ = start_time;
    duration coarse_resolution_{0};
    duration coarse_phase_{0};
    std::vector<sleep> slept_;
    std::vector<sleeper*> asleep_;
    mutable std::size_t exact_reads_ = 0;
    mutable std::size_t coarse_reads_ = 0;
};

}}} // namespace resilience::RESILIENCE_ABI::testing
