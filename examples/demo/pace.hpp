// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "scenario.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>

namespace demo {

/// For how long calls are made before the outage, to see how many of them this machine can make now.
inline constexpr std::chrono::milliseconds trial_time{600};
inline constexpr std::chrono::milliseconds warm_up{200}; // of these

/// The numbers of the trial: its servers answer at once.
constexpr scenario numbers_of_trial(scenario usual) noexcept {
    usual.quickest = usual.slowest = std::chrono::milliseconds{0};
    return usual;
}

/// Counts the calls that are answered in the trial once it is warm. It may end late on a busy machine.
class trial_count {
public:
    bool goes_on() const noexcept { return std::chrono::steady_clock::now() < end_; }
    void add_one() noexcept {
        if (std::chrono::steady_clock::now() >= warm_) count_.fetch_add(1, std::memory_order_relaxed);
    }
    double per_second() const noexcept {
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - warm_;
        return static_cast<double>(count_.load(std::memory_order_relaxed)) / took.count();
    }

private:
    const std::chrono::steady_clock::time_point warm_ = std::chrono::steady_clock::now() + warm_up;
    const std::chrono::steady_clock::time_point end_ = warm_ - warm_up + trial_time;
    std::atomic<std::size_t> count_{0}; // relaxed: a count orders nothing
};

/// The scenario with the load that a machine bears which answered so many calls a second. Each planned call is made
/// on both sides, and one of them tries again while servers are flaky: some two and a half requests. The machine
/// shall have some time left: for bursts, and for the page.
constexpr scenario at_the_pace_of(double answered_per_second, const scenario& usual) noexcept {
    scenario paced = usual;
    const int most = static_cast<int>(answered_per_second / 3.5) / 10 * 10;
    paced.arrival_rate = std::clamp(most, usual.least_rate, usual.arrival_rate);
    // As many requests at once as the load makes, and as large a part of them is too many.
    const auto scaled = [&](std::size_t n) {
        return n * static_cast<std::size_t>(paced.arrival_rate) /
               static_cast<std::size_t>(usual.arrival_rate);
    };
    if (usual.shows_in_flight) paced.capacity = scaled(usual.capacity);
    return paced;
}

} // namespace demo
