// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/rejection.hpp>
#include <resilience/call/waiter.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/policy.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

namespace support {

/// The smallest policy that parks calls: so many places, and a queue where they are first come, first served.
class turnstile {
    struct shared;

public:
    explicit turnstile(unsigned places, resilience::duration max_wait = std::chrono::seconds{1})
        : shared_(std::make_shared<shared>(places, max_wait)) {}

    class call : resilience::waiter {
    public:
        explicit call(std::shared_ptr<shared> where) : shared_(std::move(where)) {}
        call(const call&) = delete;
        call& operator=(const call&) = delete;
        ~call() { leave(); }

        resilience::admission admit(resilience::call_context& ctx) {
            const auto now = ctx.clock().now();
            const bool is_over = ctx.stop_requested() || ctx.remaining() == resilience::duration{0};
            shared& s = *shared_;
            const resilience::detail::lock_guard lock(s.mutex);
            ++s.asked;
            if (has_place_) return resilience::admission::go();
            if (!is_queued()) {
                if (s.free > 0) {
                    --s.free;
                    has_place_ = true;
                    return resilience::admission::go();
                }
                until_ = resilience::saturating_add(now, s.max_wait);
                s.queue.push_back(*this);
            } else if (is_over || now >= until_) {
                s.queue.remove(*this);
                return resilience::admission::reject(
                    resilience::rejection{.code = resilience::errc::bulkhead_full});
            } else {
                arm();
            }
            return resilience::admission::park(*this, until_);
        }
        resilience::settlement settle(const resilience::attempt_result&, resilience::call_context&) {
            leave();
            return resilience::settlement::finish();
        }

    private:
        friend class turnstile;

        /// Leaves the queue, and hands a place on.
        void leave() {
            resilience::wake_up next;
            const resilience::detail::lock_guard lock(shared_->mutex);
            shared_->queue.remove(*this);
            if (std::exchange(has_place_, false)) next = shared_->give_locked();
        }

        std::shared_ptr<shared> shared_;
        bool has_place_ = false;         // guarded by the mutex
        resilience::time_point until_{}; // of the park
    };
    call begin(resilience::call_context&) const { return call(shared_); }

    /// Takes a place for the test. False if there is none.
    bool take() const {
        const resilience::detail::lock_guard lock(shared_->mutex);
        if (shared_->free == 0) return false;
        --shared_->free;
        return true;
    }
    /// Gives one back. The wake-up is done when the result is destroyed.
    resilience::wake_up give() const {
        const resilience::detail::lock_guard lock(shared_->mutex);
        return shared_->give_locked();
    }
    /// Wakes all without a place for them.
    void disturb() const {
        for (resilience::waiter* w = shared_->queue.front(); w != nullptr; w = shared_->queue.after(*w))
            w->wake().now();
    }
    unsigned free() const {
        const resilience::detail::lock_guard lock(shared_->mutex);
        return shared_->free;
    }
    bool has_waiters() const {
        const resilience::detail::lock_guard lock(shared_->mutex);
        return !shared_->queue.empty();
    }
    /// The number of times that a call of it was asked for admission.
    unsigned asked() const {
        const resilience::detail::lock_guard lock(shared_->mutex);
        return shared_->asked;
    }

private:
    struct shared {
        shared(unsigned places, resilience::duration wait) : max_wait(wait), free(places) {}

        resilience::wake_up give_locked() {
            resilience::waiter* const next = queue.pop_front();
            if (next == nullptr) {
                ++free;
                return {};
            }
            static_cast<call*>(next)->has_place_ = true;
            return next->wake();
        }

        const resilience::duration max_wait;
        resilience::detail::mutex mutex; // guards all below
        unsigned free;
        unsigned asked = 0;
        resilience::waiter_queue queue;
    };

    std::shared_ptr<shared> shared_;
};

} // namespace support
