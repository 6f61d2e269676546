// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "schedules/explore.hpp"

#include <resilience/call/time.hpp>
#include <resilience/detail/sync.hpp>

#include <chrono>
#include <functional>
#include <stop_token>
#include <vector>

namespace schedules {

namespace rs = resilience;
using namespace std::chrono_literals;

/// Its sleepers are threads of the scheduler. Time passes when a scenario says so, all of it at once.
class sleeping_clock final : public rs::time_source {
public:
    rs::time_point now() const noexcept override {
        return rs::time_point{std::chrono::seconds{1'000'000}} + (struck_.load() ? 1h : 0h);
    }
    std::chrono::system_clock::time_point wall_now() const noexcept override { return {}; }
    bool sleep_until(rs::time_point until, std::stop_token stop) override {
        sleeper me;
        {
            const rs::detail::lock_guard lock(mutex_);
            asleep_.push_back(&me);
        }
        const bool is_stopped = me.sleep([&] { return now() >= until; }, stop);
        const rs::detail::lock_guard lock(mutex_);
        std::erase(asleep_, &me);
        return !is_stopped;
    }
    rs::timer call_at(rs::time_point, std::function<void()>) override { return {}; }
    void pass_all_time() {
        struck_.store(true);
        const rs::detail::lock_guard lock(mutex_);
        for (sleeper* each : asleep_) each->look();
    }

private:
    /// Each has a mutex of its own: a stop callback that waits for that of others could not be waited for.
    struct sleeper {
        template <class Over>
        bool sleep(const Over& is_over, const std::stop_token& stop) {
            bool is_stopped = false; // guarded by the mutex
            const std::stop_callback on_stop(stop, [&] {
                const schedules::undivided at_once;
                {
                    const rs::detail::lock_guard lock(mutex);
                    is_stopped = true;
                }
                woken.notify_all();
            });
            rs::detail::unique_lock lock(mutex);
            woken.wait(lock, [&] { return is_stopped || is_over(); });
            return is_stopped;
        }
        void look() {
            { const rs::detail::lock_guard lock(mutex); }
            woken.notify_all();
        }

        rs::detail::waitable_mutex mutex;
        rs::detail::condition_variable woken;
    };

    rs::detail::atomic<bool> struck_{false};
    rs::detail::waitable_mutex mutex_;
    std::vector<sleeper*> asleep_; // guarded by mutex_
};

} // namespace schedules
