// SPDX-License-Identifier: Apache-2.0
// A policy of your own that makes calls wait for each other: the driver sleeps, the policy has a queue and hands over.
#include <resilience/resilience.hpp>

#include <chrono>
#include <iostream>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;

/// One call at a time: those that come meanwhile wait for a second at most, in their order.
class one_at_a_time {
    struct shared {
        std::mutex mutex; // guards all below, and `has_turn_` of the calls
        bool is_taken = false;
        rs::waiter_queue queue;
    };

public:
    class attempt : rs::waiter { // a node of the queue
    public:
        explicit attempt(std::shared_ptr<shared> all) : all_(std::move(all)) {}
        attempt(const attempt&) = delete;
        attempt& operator=(const attempt&) = delete;
        ~attempt() { leave(); }

        rs::admission admit(rs::call_context& ctx) {
            const rs::time_point now = ctx.clock().now();
            const bool is_over = ctx.stop_requested() || ctx.remaining() == rs::duration{0};
            const std::lock_guard lock(all_->mutex);
            if (!has_turn_ && !is_queued() && !std::exchange(all_->is_taken, true)) has_turn_ = true;
            if (has_turn_) return rs::admission::go(); // at once, or handed over
            if (!is_queued()) {
                until_ = now + 1s;
                all_->queue.push_back(*this);
            } else if (is_over || now >= until_) {
                all_->queue.remove(*this);
                return rs::admission::reject(rs::rejection{.code = rs::errc::bulkhead_full});
            } else {
                arm(); // woken for nothing: it may be woken again
            }
            return rs::admission::park(*this, until_);
        }
        rs::settlement settle(const rs::attempt_result&, rs::call_context&) {
            leave();
            return rs::settlement::finish();
        }

    private:
        void leave() {
            rs::wake_up next; // done after the unlocking
            const std::lock_guard lock(all_->mutex);
            all_->queue.remove(*this);
            if (!std::exchange(has_turn_, false)) return;
            rs::waiter* const first = all_->queue.pop_front();
            if (first == nullptr) {
                all_->is_taken = false;
            } else {
                static_cast<attempt*>(first)->has_turn_ = true;
                next = first->wake();
            }
        }

        std::shared_ptr<shared> all_;
        bool has_turn_ = false;
        rs::time_point until_{};
    };
    attempt begin(rs::call_context&) const { return attempt(all_); }

private:
    std::shared_ptr<shared> all_ = std::make_shared<shared>();
};
static_assert(rs::policy<one_at_a_time>);

int main() {
    const auto guard = rs::retry({.max_attempts = 1}) | one_at_a_time{};
    int done = 0; // no mutex of its own
    {
        std::vector<std::jthread> threads;
        threads.reserve(10);
        for (int i = 0; i < 10; ++i)
            threads.emplace_back([&] {
                guard([&] {
                    std::this_thread::sleep_for(1ms);
                    ++done;
                });
            });
    }
    std::cout << done << " calls, one after the other\n";
}
