// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_breaker.hpp>
#include <resilience/detail/timer_queue.hpp>
#include <resilience/registry.hpp>

#include <chrono>
#include <functional>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <utility>

namespace schedules {

namespace rs = resilience;

/// Virtual time whose reading is no scheduling point: it only moves where a scenario says so.
class still_clock final : public rs::time_source {
public:
    rs::time_point now() const noexcept override { return now_; }
    std::chrono::system_clock::time_point wall_now() const noexcept override {
        return std::chrono::system_clock::time_point{std::chrono::seconds{1'704'744'000}};
    }
    bool sleep_until(rs::time_point until, std::stop_token) override {
        now_ = std::max(now_, until);
        return true;
    }
    rs::timer call_at(rs::time_point at, std::function<void()> f) override {
        return rs::timer([this, ticket = timers_.add(at, std::move(f))] { timers_.cancel(ticket); });
    }
    bool is_steady_clock() const noexcept override { return steady; }
    /// Timers fire on this thread.
    void advance(rs::duration by) {
        now_ += by;
        while (timers_.run_due(now_)) {}
    }

    /// Those that wait for one of its moments do so on condition variables, whose time-outs come when they like.
    bool steady = false;

private:
    rs::time_point now_{std::chrono::seconds{1'000'000}};
    rs::detail::timer_queue timers_;
};

struct half : rs::random_source {
    double uniform() noexcept override { return 0.5; }
};

struct world {
    still_clock clock{};
    half random{};
    rs::registry reg{clock, random};
};

} // namespace schedules
