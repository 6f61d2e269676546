// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>

#include <cstdint>
#include <stop_token>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Passes the end of a race on to the stop token of its attempt. Thread-safe.
class stop_relay {
public:
    stop_relay() = default;
    stop_relay(const stop_relay&) = delete;
    stop_relay& operator=(const stop_relay&) = delete;

    /// Requests a stop on `source` when the race ends, or now if request() was called before. An attempt has one stop
    /// token: another source is not passed on to.
    void pass_on_to(const std::stop_source& source);
    void request() noexcept;

private:
    static constexpr std::uint8_t has_source = 1;
    static constexpr std::uint8_t is_requested = 2;

    std::stop_source source_{std::nostopstate}; // written before has_source is set, read after
    // Invariant: bits are only added. Acquire and release: the second of the two to come sees what the first did.
    atomic<std::uint8_t> seen_{0};
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION void stop_relay::pass_on_to(const std::stop_source& source) {
    if ((seen_.load(std::memory_order_relaxed) & has_source) != 0) return;
    source_ = source;
    // A copy: the request may destroy this relay, and the owner of `source`. Not const: libc++ asks none to stop.
    // NOLINTNEXTLINE(performance-unnecessary-copy-initialization,misc-const-correctness)
    std::stop_source to = source;
    if ((seen_.fetch_or(has_source, std::memory_order_acq_rel) & is_requested) != 0) to.request_stop();
}
RESILIENCE_FUNCTION void stop_relay::request() noexcept {
    if ((seen_.fetch_or(is_requested, std::memory_order_acq_rel) & has_source) == 0) return;
    std::stop_source to = source_; // NOLINT(misc-const-correctness): likewise
    to.request_stop();
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
