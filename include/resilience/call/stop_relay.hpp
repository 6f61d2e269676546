// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>

#include <stop_token>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// By which a race asks whoever watches the stop token of its attempt. Thread-safe.
class stop_relay {
public:
    stop_relay() = default;
    stop_relay(const stop_relay&) = delete;
    stop_relay& operator=(const stop_relay&) = delete;

    /// At once if the request has come already.
    void pass_on_to(const std::stop_source& source) {
        {
            const lock_guard lock(mutex_);
            source_ = source;
            if (!requested_) return;
        }
        request();
    }
    void request() noexcept {
        std::stop_source to(std::nostopstate); // what the request resumes may destroy this
        {
            const lock_guard lock(mutex_);
            requested_ = true;
            to = source_;
        }
        to.request_stop();
    }

private:
    mutex mutex_;
    std::stop_source source_{std::nostopstate}; // guarded by mutex_
    bool requested_ = false;                    // guarded by mutex_
};

}}} // namespace resilience::RESILIENCE_ABI::detail
