// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/platform.hpp>

#include <chrono>
#include <functional>
#include <stop_token>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Every duration of the library. Signed; the maximum means "without end".
using duration = std::chrono::nanoseconds;
/// Every moment of the library, on the monotonic clock. The maximum means "never".
using time_point = std::chrono::time_point<std::chrono::steady_clock, duration>;

/// `at + by`, held at the ends of the range instead of wrapping into the past.
constexpr time_point saturating_add(time_point at, duration by) noexcept {
    duration::rep sum = 0;
    if (detail::add_overflows(at.time_since_epoch().count(), by.count(), sum)) {
        return by > duration{0} ? time_point::max() : time_point::min();
    }
    return time_point{duration{sum}};
}

/// `to - from`, held at the ends of the range.
constexpr duration saturating_sub(time_point to, time_point from) noexcept {
    duration::rep difference = 0;
    if (detail::subtract_overflows(to.time_since_epoch().count(), from.time_since_epoch().count(),
                                   difference)) {
        return to > from ? duration::max() : duration::min();
    }
    return duration{difference};
}

/// The time from `from` to `to`; zero if the clock went backwards.
constexpr duration elapsed_between(time_point from, time_point to) noexcept {
    return to > from ? saturating_sub(to, from) : duration{0};
}

/// A call that a time_source will make later. The destructor cancels it: after the destructor has returned,
/// the function is not running and will not run. Inside the function itself the destructor returns at once.
class [[nodiscard]] timer {
public:
    timer() noexcept = default;
    /// For implementers of time_source: `cancel` is called once, by the destructor.
    explicit timer(std::function<void()> cancel) : cancel_(std::move(cancel)) {}
    timer(timer&& other) noexcept : cancel_(std::exchange(other.cancel_, nullptr)) {}
    timer& operator=(timer&& other) noexcept {
        timer(std::move(other)).swap(*this);
        return *this;
    }
    ~timer() {
        if (cancel_) cancel_();
    }

    void swap(timer& other) noexcept { cancel_.swap(other.cancel_); }

private:
    std::function<void()> cancel_;
};

/// The clock that policies read and sleep on. Implement it to inject time. Any thread may call any function
/// at any time. The library has two: `testing::virtual_clock` and `system_time()`.
class time_source {
public:
    time_source() = default;
    time_source(const time_source&) = delete;
    time_source& operator=(const time_source&) = delete;
    virtual ~time_source() = default;

    virtual time_point now() const noexcept = 0;
    /// A cheaper now(), behind it by at most coarse_resolution() and never ahead.
    virtual time_point coarse_now() const noexcept { return now(); }
    virtual duration coarse_resolution() const noexcept { return duration{0}; }
    /// For display only; no decision is ever made on it.
    virtual std::chrono::system_clock::time_point wall_now() const noexcept = 0;
    /// Blocks the calling thread until the moment has come (true) or a stop is requested (false).
    /// A moment that has passed returns true at once, unless a stop was requested before.
    virtual bool sleep_until(time_point until, std::stop_token stop) = 0;
    /// Calls `f` once, at that moment or soon after, on any thread, with no lock held.
    /// `f` must be quick and must not throw.
    virtual timer call_at(time_point at, std::function<void()> f) = 0;
    /// True if now() is std::chrono::steady_clock's, so that a condition variable can wait until one of its
    /// moments. Otherwise call_at() ends such waits, which costs one more hand-over between threads.
    virtual bool is_steady_clock() const noexcept { return false; }
};

namespace detail {

/// The time on the wall at the moment `at`, which has passed, by both clocks' time of now.
inline std::chrono::system_clock::time_point wall_at(
    time_point at, time_point now, std::chrono::system_clock::time_point wall_now) noexcept {
    return wall_now -
           std::chrono::duration_cast<std::chrono::system_clock::duration>(elapsed_between(at, now));
}

} // namespace detail

}} // namespace resilience::RESILIENCE_ABI
