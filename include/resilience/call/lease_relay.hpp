// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/time.hpp>
#include <resilience/call/work_lease.hpp>
#include <resilience/detail/sync.hpp>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The leases of a call whose work runs on another thread, as that thread holds them. It may extend them for as long as
/// the call waits for it. Thread-safe. A forked child has none of its parent's workers, and uses no relay.
class lease_relay final : public work_lease {
public:
    /// While it lives, the relay extends the leases of a call: on the stack of the thread that waits.
    class waiting {
    public:
        waiting(lease_relay& relay, const call_context& caller) noexcept : relay_(relay) {
            relay.set(caller.has_leases() ? &caller : nullptr);
        }
        waiting(const waiting&) = delete;
        waiting& operator=(const waiting&) = delete;
        ~waiting() { relay_.set(nullptr); }

    private:
        lease_relay& relay_;
    };

    bool is_needed() noexcept {
        const unique_lock lock(mutex_);
        return caller_ != nullptr;
    }
    void extend(time_point from, time_point until) noexcept override {
        const call_context* caller = nullptr;
        {
            const unique_lock lock(mutex_);
            caller = caller_;
            is_extending_ = caller != nullptr;
        }
        if (caller == nullptr) return;
        caller->extend_leases(from, until); // without the lock: it reads the clock
        {
            const unique_lock lock(mutex_);
            is_extending_ = false;
        }
        extended_.notify_one();
    }

private:
    void set(const call_context* caller) noexcept {
        unique_lock lock(mutex_);
        while (is_extending_) extended_.wait(lock);
        caller_ = caller;
    }

    waitable_mutex mutex_;
    condition_variable extended_;
    const call_context* caller_ = nullptr; // guarded by mutex_, like the next
    bool is_extending_ = false;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
