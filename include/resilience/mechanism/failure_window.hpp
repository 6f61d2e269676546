// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Keeps the newest failures, to tell when `threshold` of them lie within `window`: a failure at t counts at
/// `now` while now - t < window. Exact to the nanosecond. Memory is O(threshold) however many failures there
/// are, since failures beyond the threshold change no decision.
///
/// The times are kept sorted, so that threads may record in another order than they read the clock. Pure; not
/// thread-safe.
class failure_window {
public:
    /// `threshold` is from 1 (0 counts as 1). Allocates all memory here: 8 bytes for each failure.
    failure_window(unsigned threshold, duration window)
        : window_(window), most_(std::max(threshold, 1U)), times_(std::make_unique<time_point[]>(most_)) {}

    /// Records a failure and returns count(at), which includes it. O(1) for times in order.
    unsigned record(time_point at) noexcept {
        if (kept_ == most_) {
            if (at <= time(0)) return count(at); // older than all times of a full ring
            oldest_ = index(1);
            --kept_;
        }
        std::uint32_t place = kept_++;
        for (; place > 0 && time(place - 1) > at; --place) time(place) = time(place - 1);
        time(place) = at;
        return count(at);
    }

    /// The failures within the window that ends at `now`, at most the threshold. It follows the time without
    /// any call to record().
    unsigned count(time_point now) const noexcept {
        std::uint32_t gone = 0; // invariant: all before `gone` are too old, and none from `counted` on is
        std::uint32_t counted = kept_;
        while (gone < counted) {
            const std::uint32_t middle = gone + (counted - gone) / 2;
            if (saturating_sub(now, times_[index(middle)]) < window_) {
                counted = middle;
            } else {
                gone = middle + 1;
            }
        }
        return kept_ - counted;
    }

    void clear() noexcept { kept_ = 0; }

    /// With new limits. Keeps as many of the newest failures as have room.
    failure_window resized(unsigned threshold, duration window) const {
        failure_window other(threshold, window);
        for (std::uint32_t i = 0; i < kept_; ++i) other.record(times_[index(i)]);
        return other;
    }
    void resize(unsigned threshold, duration window) { *this = resized(threshold, window); }

private:
    std::uint32_t index(std::uint32_t place) const noexcept {
        const std::uint32_t to_end = most_ - oldest_;
        return place < to_end ? oldest_ + place : place - to_end;
    }
    time_point& time(std::uint32_t place) noexcept { return times_[index(place)]; }

    duration window_;
    std::uint32_t most_;
    std::uint32_t oldest_ = 0;
    std::uint32_t kept_ = 0;
    std::unique_ptr<time_point[]>
        times_; // a ring of most_: `kept_` times from `oldest_` on, in ascending order
};

}} // namespace resilience::RESILIENCE_ABI
