// SPDX-License-Identifier: Apache-2.0
#pragma once

// A task type of our own, as small as it can be: it begins when it is awaited, ends by a stop token that
// it inherits from whoever awaits it, and sleeps on the clock's timers, so that moving a virtual clock
// runs it. Nothing here knows of the library but the task_traits at the end.

#include <resilience/call/task_traits.hpp>

#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <utility>

namespace support {

struct lazy_stopped : std::system_error {
    lazy_stopped() : std::system_error(std::make_error_code(std::errc::operation_canceled)) {}
};

struct lazy_promise_base {
    std::coroutine_handle<> awaiting; // set once this has been suspended while being awaited
    std::stop_token stop;
    std::exception_ptr failure;

    std::suspend_always initial_suspend() noexcept { return {}; }
    struct at_the_end {
        bool await_ready() noexcept { return false; }
        template <class P>
        void await_suspend(std::coroutine_handle<P> self) noexcept {
            if (auto next = self.promise().awaiting) next.resume();
        }
        void await_resume() noexcept {}
    };
    at_the_end final_suspend() noexcept { return {}; }
    void unhandled_exception() { failure = std::current_exception(); }
};
template <class T>
struct lazy_promise : lazy_promise_base {
    std::optional<T> value;
    void return_value(T v) { value.emplace(std::move(v)); }
    T take() { return std::move(*value); }
};
template <class T>
struct lazy_promise<T&> : lazy_promise_base {
    T* value = nullptr;
    void return_value(T& v) { value = &v; }
    T& take() { return *value; }
};
template <>
struct lazy_promise<void> : lazy_promise_base {
    void return_void() {}
    void take() {}
};

template <class T>
class [[nodiscard]] lazy {
public:
    struct promise_type : lazy_promise<T> {
        lazy get_return_object() { return lazy(std::coroutine_handle<promise_type>::from_promise(*this)); }
    };

    lazy(lazy&& other) noexcept : coroutine_(std::exchange(other.coroutine_, {})) {}
    lazy& operator=(lazy&& other) noexcept {
        std::swap(coroutine_, other.coroutine_);
        return *this;
    }
    ~lazy() {
        if (coroutine_) coroutine_.destroy();
    }
    void stop_by(std::stop_token token) { coroutine_.promise().stop = std::move(token); }

    /// For the outermost one, which nobody awaits.
    lazy& start() & {
        coroutine_.resume();
        return *this;
    }
    bool done() const { return coroutine_.done(); }
    T result() {
        if (!done()) throw std::logic_error("not done yet");
        if (coroutine_.promise().failure) std::rethrow_exception(coroutine_.promise().failure);
        return coroutine_.promise().take();
    }

    class awaiter {
    public:
        explicit awaiter(lazy& task) : task_(&task) {}
        bool await_ready() noexcept { return false; }
        template <class P>
        bool await_suspend(std::coroutine_handle<P> parent) {
            auto& mine = task_->coroutine_.promise();
            if (!mine.stop.stop_possible()) mine.stop = parent.promise().stop;
            task_->coroutine_.resume();
            if (task_->coroutine_.done()) return false; // no stack grows, however often that happens
            mine.awaiting = parent;
            return true;
        }
        T await_resume() { return task_->result(); }

    private:
        lazy* task_;
    };
    awaiter operator co_await() && noexcept { return awaiter(*this); }

private:
    explicit lazy(std::coroutine_handle<promise_type> coroutine) : coroutine_(coroutine) {}
    std::coroutine_handle<promise_type> coroutine_;
};

/// The stop token of the coroutine that awaits this.
struct own_stop_token {
    std::stop_token token;
    bool await_ready() noexcept { return false; }
    template <class P>
    bool await_suspend(std::coroutine_handle<P> self) noexcept {
        token = self.promise().stop;
        return false;
    }
    std::stop_token await_resume() noexcept { return std::move(token); }
};

/// Wakes at that moment, or once one of the two stops is requested.
class lazy_sleep {
public:
    lazy_sleep(resilience::time_source& clock, resilience::time_point until, std::stop_token stop)
        : clock_(&clock), until_(until), stop_(std::move(stop)) {}
    lazy_sleep(lazy_sleep&&) = default; // before it is awaited

    bool await_ready() const noexcept { return clock_->now() >= until_ || stop_.stop_requested(); }
    template <class P>
    bool await_suspend(std::coroutine_handle<P> self) {
        if (self.promise().stop.stop_requested()) return false;
        const auto wake = [this, self] {
            if (!std::exchange(woken_, true)) self.resume();
        };
        timer_ = clock_->call_at(until_, wake);
        on_stop_.emplace(stop_, wake);
        on_own_stop_.emplace(self.promise().stop, wake);
        return true;
    }
    void await_resume() noexcept {}

private:
    resilience::time_source* clock_;
    resilience::time_point until_;
    std::stop_token stop_;
    bool woken_ = false;
    resilience::timer timer_;
    struct callback { // std::stop_callback cannot move
        std::optional<std::stop_callback<std::function<void()>>> link;
        callback() = default;
        callback(callback&&) noexcept {}
        void emplace(const std::stop_token& t, std::function<void()> f) { link.emplace(t, std::move(f)); }
    };
    callback on_stop_;
    callback on_own_stop_;
};

/// What tests' operations do: as long as that, unless they are stopped.
inline lazy<void> pause(resilience::time_source& clock, resilience::duration length) {
    lazy_sleep sleep(clock, clock.now() + length, {});
    co_await std::move(sleep);
    own_stop_token own{};
    const std::stop_token stop = co_await own;
    if (stop.stop_requested()) throw lazy_stopped();
}

} // namespace support

template <class T>
struct resilience::task_traits<support::lazy<T>> {
    using value_type = T;
    template <class U>
    using rebind = support::lazy<U>;

    static support::lazy_sleep sleep_until(time_source& clock, time_point until, std::stop_token stop) {
        return {clock, until, std::move(stop)};
    }
    static support::lazy<T> race(support::lazy<T> task, task_limit& limit) {
        support::own_stop_token own{};
        const stop_at_limit stop(limit, co_await own);
        task.stop_by(stop.get_token());
        co_return co_await std::move(task);
    }
    static support::own_stop_token cancellation() { return {}; }
    static bool is_cancelled(const std::stop_token& stop) { return stop.stop_requested(); }
};
