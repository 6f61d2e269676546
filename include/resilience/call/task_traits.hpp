// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/silence.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/sync.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Tells the library how to work with a task, the return type of a coroutine that is awaited once. If it is
/// specialised for the type that f returns, `p(f)` is a coroutine of that type. docs/coroutines.md shows a
/// specialisation in thirty lines; `asio.hpp` and `boost_asio.hpp` bring those of their libraries. Required
/// members:
///
///     using value_type = T;                      // the type that awaiting the task gives
///     template <class U> using rebind = ...;     // the same kind of task, giving U; a coroutine's return type
///
///     // Awaited in a coroutine of that type. Returns at that moment of the clock, or sooner if a stop is
///     // requested or the awaiting coroutine is cancelled (then it may throw as well).
///     static auto sleep_until(time_source&, time_point, std::stop_token);
///     // Awaited for the task's value. When the limit strikes (limit.strike(...) is true) the task is
///     // asked to end. It is awaited in any case, so that nothing of it is left running.
///     static auto race(Task, task_limit&);
///
/// Optional members:
///
///     // Awaited for a State from which is_cancelled() tells whether the awaiting coroutine was cancelled from
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

/// The race of an attempt that is a task against its deadline and its stop token. It records which came
/// first. Thread-safe.
class task_limit {
public:
    enum class end : std::uint8_t { none, finished, deadline, stopped };

    /// `watch` is over the task's silence, and may be null.
    task_limit(time_source& clock, time_point deadline, std::stop_token stop,
               const detail::silence_watch* watch = nullptr)
        : clock_(&clock), deadline_(deadline),
          silence_(watch != nullptr ? std::make_unique<detail::silence_stop>(clock, *watch, stop) : nullptr),
          stop_(silence_ != nullptr ? silence_->get_token() : std::move(stop)) {}
    task_limit(const task_limit&) = delete;
    task_limit& operator=(const task_limit&) = delete;
    /// If the coroutine around the race is destroyed before the race has ended, the attempt's stop token is
    /// requested.
    ~task_limit() {
        if (how() == end::none) attempts_stop_.request();
    }

    time_source& clock() const noexcept { return *clock_; }
    /// time_point::max() if there is none.
    time_point deadline() const noexcept { return deadline_; }
    /// Also requested when the task was silent for too long (timeout_config::idle): a race needs no timer for that.
    const std::stop_token& stop_token() const noexcept { return stop_; }

    /// Reports that the deadline has come or a stop is requested. True if the task had not finished
    /// before; it must then be asked to end. The attempt's own ctx.stop_token() is requested here. That may
    /// resume a coroutine that ends the race and destroys this object.
    bool strike(end how) noexcept {
        // A moving deadline comes as a stop request.
        const bool is_silence = how == end::stopped && silence_ != nullptr && silence_->struck();
        if (!claim(is_silence ? end::deadline : how)) return false;
        attempts_stop_.request();
        return true;
    }
    /// Reports that the task has finished. Returns false if the limit struck before.
    bool finish() noexcept { return claim(end::finished); }
    /// Reports that the coroutine that awaits the task is cancelled, and that the task is asked to end for
    /// that. A later deadline or stop still asks the task to end, but no longer decides the outcome. The
    /// attempt's stop token is requested here as in strike().
    void cancel() noexcept {
        // The cancellation may come from a race around this one that has the same deadline.
        const bool is_over = (deadline_ != time_point::max() && clock_->now() >= deadline_) ||
                             (silence_ != nullptr && silence_->is_due());
        if (is_over) return void(strike(end::deadline));
        end none = end::none;
        if (how_.compare_exchange_strong(none, cancelled, std::memory_order_acq_rel,
                                         std::memory_order_acquire))
            attempts_stop_.request();
    }
    /// True if the coroutine was cancelled before the limit struck and before the task finished.
    bool cancelled_first() const noexcept { return (bits_of(seen()) & bits_of(cancelled)) != 0; }
    end how() const noexcept { return without_cancelled(seen()); }

    // For drivers.

    detail::stop_relay& attempts_stop() noexcept { return attempts_stop_; }

private:
    static constexpr end cancelled{4}; // a bit of its own, stored together with one of the ends
    static constexpr std::uint8_t bits_of(end how) noexcept { return static_cast<std::uint8_t>(how); }
    static constexpr end without_cancelled(end how) noexcept {
        return end(bits_of(how) & ~bits_of(cancelled));
    }
    end seen() const noexcept { return how_.load(std::memory_order_acquire); }
    bool claim(end how) noexcept {
        end before = seen();
        while (without_cancelled(before) == end::none) {
            const end after = end(bits_of(before) | bits_of(how));
            // Release: a thread that reads the winner also sees what the winner did before.
            if (how_.compare_exchange_weak(before, after, std::memory_order_acq_rel,
                                           std::memory_order_acquire))
                return true;
        }
        return false;
    }

    time_source* clock_;
    time_point deadline_;
    std::unique_ptr<detail::silence_stop> silence_;
    std::stop_token stop_;
    RESILIENCE_NO_UNIQUE_ADDRESS detail::stop_relay attempts_stop_; // the next lies in its padding
    detail::atomic<end> how_{end::none}; // none or cancelled, then one of the ends beside it for ever
};

/// Turns a limit into a stop token, for tasks that end by one. The token is requested on the thread where the
/// limit strikes. It is also requested when `cancelled` is, the stop token of the coroutine that runs the
/// race.
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
            call_context::stop_request ask{source}; // a copy: a strike may end the race
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
