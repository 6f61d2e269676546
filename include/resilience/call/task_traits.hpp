// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/sync.hpp>

#include <cstdint>
#include <optional>
#include <stop_token>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// How the library works with a task: what a coroutine returns and somebody awaits once. Specialised for
/// a task type, `p(f)` is a coroutine of that type wherever f returns one. docs/coroutines.md shows one in
/// thirty lines; `asio.hpp` and `boost_asio.hpp` bring those of their libraries. What it must have:
///
///     using value_type = T;                      // what awaiting the task gives
///     template <class U> using rebind = ...;     // the same kind of task, giving U; a coroutine's return type
///
///     // To be awaited in such a coroutine; returns at that moment of the clock, and sooner once a stop is
///     // requested or the awaiting coroutine is cancelled (then it may throw as well).
///     static auto sleep_until(time_source&, time_point, std::stop_token);
///     // To be awaited for the task's value. When the limit strikes (limit.strike(...) is true) the task is
///     // asked to end; it is awaited in any case, so that nothing of it is left behind.
///     static auto race(Task, task_limit&);
///
/// and what it may have:
///
///     // To be awaited for what tells is_cancelled() whether the awaiting coroutine's end was asked for from
///     // outside. Awaiting it must not throw.
///     static auto cancellation();
///     static bool is_cancelled(const State&);
///     // The code inside an exception of that library's own, where it is no std::system_error.
///     static std::error_code code_of(const std::exception&);
template <class Task>
struct task_traits;

/// A type that task_traits knows.
template <class T>
concept task = requires { typename task_traits<T>::value_type; };

/// What may end an attempt that is a task before it ends by itself, and which of them came first.
/// Thread-safe.
class task_limit {
public:
    enum class end : std::uint8_t { none, finished, deadline, stopped };

    task_limit(time_source& clock, time_point deadline, std::stop_token stop) noexcept
        : clock_(&clock), deadline_(deadline), stop_(std::move(stop)) {}
    task_limit(const task_limit&) = delete;
    task_limit& operator=(const task_limit&) = delete;
    /// Destroyed before it has ended, with the coroutine around it: whoever watches the attempt's stop token is told.
    ~task_limit() {
        if (how() == end::none) attempts_stop_.request();
    }

    time_source& clock() const noexcept { return *clock_; }
    /// time_point::max() if there is none.
    time_point deadline() const noexcept { return deadline_; }
    const std::stop_token& stop_token() const noexcept { return stop_; }

    /// The deadline has come, or a stop is requested. True if the task had not finished before: it is to
    /// be asked to end. The attempt's own ctx.stop_token() is requested here; what that resumes may end the
    /// race, and this.
    bool strike(end how) noexcept {
        if (!claim(how)) return false;
        attempts_stop_.request();
        return true;
    }
    /// The task has finished. False if the limit struck before.
    bool finish() noexcept { return claim(end::finished); }
    /// The coroutine that awaits the task is cancelled, and the task is asked to end for that. What strikes
    /// from now on asks it once more, and has not come first. For the stop token the same as above.
    void cancel() noexcept {
        // By a race around this one, whose deadline is the same.
        if (deadline_ != time_point::max() && clock_->now() >= deadline_) return void(strike(end::deadline));
        end none = end::none;
        if (how_.compare_exchange_strong(none, cancelled, std::memory_order_acq_rel,
                                         std::memory_order_acquire))
            attempts_stop_.request();
    }
    /// Before anything struck, and before the task had finished.
    bool cancelled_first() const noexcept { return (bits_of(seen()) & bits_of(cancelled)) != 0; }
    end how() const noexcept { return without_cancelled(seen()); }

    // What follows is for drivers.

    detail::stop_relay& attempts_stop() noexcept { return attempts_stop_; }

private:
    static constexpr end cancelled{4}; // a bit beside one of the ends
    static constexpr std::uint8_t bits_of(end how) noexcept { return static_cast<std::uint8_t>(how); }
    static constexpr end without_cancelled(end how) noexcept {
        return end(bits_of(how) & ~bits_of(cancelled));
    }
    end seen() const noexcept { return how_.load(std::memory_order_acquire); }
    bool claim(end how) noexcept {
        end before = seen();
        while (without_cancelled(before) == end::none) {
            const end after = end(bits_of(before) | bits_of(how));
            // Release: whoever sees who came first sees what that one did before.
            if (how_.compare_exchange_weak(before, after, std::memory_order_acq_rel,
                                           std::memory_order_acquire))
                return true;
        }
        return false;
    }

    time_source* clock_;
    time_point deadline_;
    std::stop_token stop_;
    detail::stop_relay attempts_stop_;
    detail::atomic<end> how_{end::none}; // none or cancelled, then one of the ends beside it for ever
};

/// A limit as a stop token, for tasks that end by one. Requested on whatever thread the limit strikes, and
/// when `cancelled` is: the token of the coroutine that runs the race, if it has one.
class stop_at_limit {
public:
    explicit stop_at_limit(task_limit& limit, const std::stop_token& cancelled = {})
        : on_cancel_(cancelled, cancel{&limit, source_}),
          on_stop_(limit.stop_token(), strike{&limit, task_limit::end::stopped, source_}) {
        if (limit.deadline() == time_point::max()) return;
        strike at_deadline{&limit, task_limit::end::deadline, source_};
        if (limit.clock().now() >= limit.deadline())
            at_deadline(); // at once, not with the clock's next timer
        else at_deadline_ = limit.clock().call_at(limit.deadline(), std::move(at_deadline));
    }
    stop_at_limit(const stop_at_limit&) = delete;
    stop_at_limit& operator=(const stop_at_limit&) = delete;

    std::stop_token get_token() const noexcept { return source_.get_token(); }

private:
    struct strike {
        task_limit* limit;
        task_limit::end how;
        std::stop_source source;
        void operator()() {
            call_context::stop_request ask{source}; // kept: a strike may end the race
            if (limit->strike(how)) ask();
        }
    };

    struct cancel {
        task_limit* limit;
        std::stop_source source;
        void operator()() {
            call_context::stop_request ask{source};
            limit->cancel();
            ask();
        }
    };

    std::stop_source source_;
    std::stop_callback<cancel> on_cancel_;
    std::stop_callback<strike> on_stop_;
    timer at_deadline_;
};

}} // namespace resilience::RESILIENCE_ABI
