// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>

#include <stop_token>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Passes the end of a race on to the stop token of its attempt. Thread-safe.
class stop_relay {
public:
    stop_relay() = default;
    stop_relay(const stop_relay&) = delete;
    stop_relay& operator=(const stop_relay&) = delete;

    /// Requests a stop on `source` when the race ends, or now if request() was called before.
    void pass_on_to(const std::stop_source& source);
    void request() noexcept;

private:
    mutex mutex_;
    std::stop_source source_{std::nostopstate}; // guarded by mutex_
    bool requested_ = false;                    // guarded by mutex_
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION void stop_relay::pass_on_to(const std::stop_source& source) {
    {
        const lock_guard lock(mutex_);
        source_ = source;
        if (!requested_) return;
    }
    request();
}
RESILIENCE_FUNCTION void stop_relay::request() noexcept {
    // A local copy, since the request may resume a coroutine that destroys this relay.
    std::stop_source to(std::nostopstate);
    {
        const lock_guard lock(mutex_);
        requested_ = true;
        to = source_;
    }
    to.request_stop();
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
