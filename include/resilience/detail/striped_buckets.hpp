// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/striped_counters.hpp>
#include <resilience/detail/sync.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace resilience::inline RESILIENCE_ABI::detail {

/// Successes of a time window, one set of buckets per thread that has a stripe of its own. A bucket is
/// one word, its number and its count, so that a reader never sees one without the other. Threads
/// without a stripe count under the lock of whoever owns this.
template <std::size_t Buckets>
class striped_buckets {
public:
    /// Counts one success at `now`; false if the caller has to find out the bucket first (see enter).
    RESILIENCE_INLINE bool add(std::int64_t now) noexcept {
        const thread_stripe mine = this_threads_stripe;
        if (mine.owner != owners_) return false;
        stripe& s = stripes_[mine.index];
        if (now >= s.end || s.era != era_.load(std::memory_order_relaxed)) return false;
        bump(s);
        return true;
    }
    bool is_mine() const noexcept { return this_threads_stripe.owner == owners_; }
    /// This thread counts in bucket `epoch`, which lasts until `end`, from now on; and one success.
    /// Under the owner's lock. Precondition: is_mine().
    void enter(std::uint32_t epoch, std::int64_t end) noexcept {
        stripe& s = stripes_[this_threads_stripe.index];
        s.era = era_.load(std::memory_order_relaxed);
        s.epoch = epoch;
        s.end = end;
        bump(s);
    }
    /// All threads ask for their bucket again. Under the owner's lock.
    void renumber() noexcept {
        era_.store(era_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    /// Successes in the Buckets buckets that end with `epoch`, none of before `first`. Epochs may wrap.
    std::uint64_t sum(std::uint32_t first, std::uint32_t epoch) const noexcept {
        std::uint64_t total = 0;
        for (const auto& s : stripes_) {
            for (const auto& bucket : s.buckets) {
                const std::uint64_t word = bucket.load(std::memory_order_relaxed);
                const auto number = static_cast<std::uint32_t>(word >> 32U);
                if (epoch - number < Buckets && epoch - number <= epoch - first) total += word & 0xFFFF'FFFFU;
            }
        }
        return total;
    }

private:
    static constexpr std::size_t kept =
        std::bit_ceil(Buckets); // so that they go on in order when epochs wrap

    struct alignas(64) stripe {
        std::int64_t end = INT64_MIN; // of the bucket that the owning thread counts in; its own
        std::uint64_t era = 0;        // its own
        std::uint32_t epoch = 0;      // its own
        // Invariant: written by the owning thread only; number in the upper half, count in the lower.
        // Relaxed: a count orders nothing, and each word is whole by itself.
        std::array<atomic<std::uint64_t>, kept> buckets{};
    };

    static void bump(stripe& s) noexcept {
        auto& bucket = s.buckets[s.epoch % kept];
        const std::uint64_t word = bucket.load(std::memory_order_relaxed);
        const std::uint64_t fresh = static_cast<std::uint64_t>(s.epoch) << 32U;
        bucket.store((word >> 32U) == s.epoch ? word + 1 : fresh + 1, std::memory_order_relaxed);
    }

    std::array<stripe, exclusive_stripes> stripes_{};
    const void* owners_ = &stripe_owners::instance();
    atomic<std::uint64_t> era_{1}; // grows under the owner's lock; a stale one costs a visit to that lock
};

} // namespace resilience::inline RESILIENCE_ABI::detail
