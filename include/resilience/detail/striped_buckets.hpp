// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/striped_counters.hpp>
#include <resilience/detail/sync.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Counts the successes of a time window. Each thread with a stripe of its own has its own set of buckets;
/// all other threads share eight sets. A bucket's number and count share one word, so that a reader never
/// sees one without the other. Counts saturate.
template <std::size_t Buckets>
class striped_buckets {
public:
    /// Counts a success at `now` of an attempt admitted in `generation`. False if the caller must first call
    /// enter() for the bucket.
    RESILIENCE_INLINE bool add(std::int64_t now, std::uint64_t generation) noexcept {
        const thread_stripe mine = this_threads_stripe;
        if (mine.owner != owners_) [[unlikely]]
            return add_shared(shared_[mine.index % shared_stripes], now, generation);
        stripe& s = stripes_[mine.index];
        if (now >= s.end || s.era != era_.load(std::memory_order_relaxed)) return false;
        bump(s);
        return true;
    }
    /// Makes this thread, and all that share its stripe, count in bucket `epoch`, which lasts until `end`,
    /// and counts a success there. Called under the owner's lock, in that generation.
    void enter(std::uint32_t epoch, std::int64_t end, std::uint64_t generation) noexcept {
        const thread_stripe mine = this_threads_stripe;
        if (mine.owner != owners_)
            return enter_shared(shared_[mine.index % shared_stripes], epoch, end, generation);
        stripe& s = stripes_[mine.index];
        s.era = era_.load(std::memory_order_relaxed);
        s.epoch = epoch;
        s.end = end;
        bump(s);
    }
    /// Makes every thread call enter() again before it counts. Called under the owner's lock.
    void renumber() noexcept {
        era_.store(era_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        for (shared_stripe& s : shared_) s.end.store(INT64_MIN, std::memory_order_relaxed);
    }

    /// The successes in the last `Buckets` buckets up to `epoch`, without those before `first`. Epochs may
    /// wrap.
    std::uint64_t sum(std::uint32_t first, std::uint32_t epoch) const noexcept {
        std::uint64_t total = 0;
        const auto add_up = [&](const buckets& of_one) {
            for (const auto& bucket : of_one) {
                const std::uint64_t word = bucket.load(std::memory_order_relaxed);
                const std::uint32_t number = upper(word);
                if (epoch - number < Buckets && epoch - number <= epoch - first) total += word & count_mask;
            }
        };
        for (const auto& s : stripes_) add_up(s.counts);
        for (const auto& s : shared_) add_up(s.counts);
        return total;
    }

private:
    static constexpr std::size_t kept =
        std::bit_ceil(Buckets); // a power of two, so that the order of buckets survives the wrap of epochs
    static constexpr std::uint64_t count_mask = 0xFFFF'FFFF;

    // Invariant: the number is in the upper half, the count in the lower. Relaxed: no other data depends on a
    // word.
    using buckets = std::array<atomic<std::uint64_t>, kept>;

    struct alignas(64) stripe {
        // The first three are used by the owning thread only, counts are written by it only.
        std::int64_t end = INT64_MIN; // of the bucket that the thread counts in
        std::uint64_t era = 0;
        std::uint32_t epoch = 0;
        buckets counts{};
    };
    struct alignas(64) shared_stripe {
        // Invariant: the lower half of the generation, above the bucket of the last enter(). They share one
        // word, so a late success cannot count in a newer generation's bucket. Written under the owner's
        // lock, before `end`.
        atomic<std::uint64_t> current{0};
        // Invariant: the end of that bucket, or INT64_MIN if there is none. Written under the owner's lock,
        // with release: a thread that reads the end of a bucket reads that bucket or a later one from
        // `current`.
        atomic<std::int64_t> end{INT64_MIN};
        buckets counts{};
    };

    static constexpr std::uint32_t upper(std::uint64_t word) noexcept {
        return static_cast<std::uint32_t>(word >> 32U);
    }
    /// True if the word holds a bucket later than `epoch`. A number far ahead is from before the wrap and not
    /// later. A word of 0 was never used.
    static constexpr bool is_newer(std::uint64_t word, std::uint32_t epoch) noexcept {
        return word != 0 && upper(word) - epoch - 1U < (1U << 16U);
    }
    /// The word of a bucket after another success in `epoch`.
    static constexpr std::uint64_t counted(std::uint64_t word, std::uint32_t epoch) noexcept {
        if (upper(word) != epoch) return (std::uint64_t{epoch} << 32U) | 1U;
        return word + ((word & count_mask) != count_mask ? 1 : 0);
    }

    static void bump(stripe& s) noexcept {
        auto& bucket = s.counts[s.epoch % kept];
        bucket.store(counted(bucket.load(std::memory_order_relaxed), s.epoch), std::memory_order_relaxed);
    }
    static void bump_shared(shared_stripe& s, std::uint32_t epoch) noexcept {
        auto& bucket = s.counts[epoch % kept];
        std::uint64_t word = bucket.load(std::memory_order_relaxed);
        // Stops at a newer bucket: this thread was delayed for longer than the window, so its success is dropped.
        while (!is_newer(word, epoch) &&
               !bucket.compare_exchange_weak(word, counted(word, epoch), std::memory_order_relaxed)) {}
    }
    RESILIENCE_COLD static bool add_shared(shared_stripe& s, std::int64_t now,
                                           std::uint64_t generation) noexcept {
        if (now >= s.end.load(std::memory_order_acquire)) return false;
        const std::uint64_t current = s.current.load(std::memory_order_relaxed);
        if (upper(current) != static_cast<std::uint32_t>(generation)) return false;
        bump_shared(s, static_cast<std::uint32_t>(current));
        return true;
    }
    static void enter_shared(shared_stripe& s, std::uint32_t epoch, std::int64_t end,
                             std::uint64_t generation) noexcept {
        s.current.store((generation << 32U) | epoch, std::memory_order_relaxed);
        s.end.store(end, std::memory_order_release);
        bump_shared(s, epoch);
    }

    std::array<stripe, exclusive_stripes> stripes_{};
    std::array<shared_stripe, shared_stripes> shared_{};
    const void* owners_ = &stripe_owners::instance();
    // Grows under the owner's lock; a thread that reads an old value calls enter() once more.
    atomic<std::uint64_t> era_{1};
};

}}} // namespace resilience::RESILIENCE_ABI::detail
