// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/striped_counters.hpp>
#include <resilience/detail/sync.hpp>

#include <algorithm>
#include <array>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Attempts that ran on past their limit. They are seen when they end, or by a reader of the statistics; each
/// is counted once.
class overruns {
public:
    /// The longest time by which an attempt has outrun its limit so far.
    duration longest() const noexcept { return duration{longest_.load(std::memory_order_relaxed)}; }
    /// Attempts that ran for more than twice their limit.
    std::uint64_t total() const noexcept { return total_.load(std::memory_order_relaxed); }

    /// Records that an attempt is past its limit by so much.
    void note(duration past) noexcept;
    /// Counts an attempt that is past twice its limit. False if it was counted before. An attempt that left a
    /// mark is known by it and its stripe; `stripe` is exclusive_stripes if it left none.
    bool count(std::uint32_t stripe, std::uint64_t mark) noexcept;

private:
    // These only grow. Relaxed: they order nothing.
    atomic<std::uint64_t> total_{0};
    atomic<duration::rep> longest_{0};
    mutex mutex_;
    std::array<std::uint64_t, exclusive_stripes> counted_{}; // the last mark counted; guarded by mutex_
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION void overruns::note(duration past) noexcept {
    duration::rep seen = longest_.load(std::memory_order_relaxed);
    while (seen < past.count() &&
           !longest_.compare_exchange_weak(seen, past.count(), std::memory_order_relaxed)) {}
}
RESILIENCE_COLD RESILIENCE_FUNCTION bool overruns::count(std::uint32_t stripe, std::uint64_t mark) noexcept {
    if (stripe < exclusive_stripes) {
        const lock_guard lock(mutex_);
        if (counted_[stripe] == mark) return false;
        counted_[stripe] = mark;
    }
    total_.fetch_add(1, std::memory_order_relaxed);
    return true;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
