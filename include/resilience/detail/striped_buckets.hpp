// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/striped.hpp>
#include <resilience/detail/sync.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Successes of a time window: a set of buckets for each thread that has a stripe of its own, and a set that all
/// others share. A bucket is one word, its number and its count, so that a reader never sees one
/// without the other. Counts saturate.
template <std::size_t Buckets>
class striped_buckets {
public:
    /// Counts one success at `now` of an attempt admitted in `generation`; false if the caller has to find
    /// out the bucket first (see enter).
    RESILIENCE_INLINE bool add(std::int64_t now, std::uint64_t generation) noexcept {
        stripe* const mine = stripes_.mine();
        if (mine == nullptr) [[unlikely]]
            return add_shared(shared_, now, generation);
        if (now >= mine->end || mine->numbering != numbering_.load(std::memory_order_relaxed)) return false;
        bump(*mine);
        return true;
    }
    /// From now on this thread, or all threads that share its stripe, count in bucket `number`, which lasts
    /// until `end`. Counts one success there. Under the owner's lock, in that generation.
    void enter(std::uint32_t number, std::int64_t end, std::uint64_t generation) noexcept {
        stripe* const mine = stripes_.mine();
        if (mine == nullptr) return enter_shared(shared_, number, end, generation);
        mine->numbering = numbering_.load(std::memory_order_relaxed);
        mine->number = number;
        mine->end = end;
        bump(*mine);
    }
    /// Buckets are numbered anew: every thread has to enter one again. Under the owner's lock.
    void renumber() noexcept {
        numbering_.store(numbering_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        shared_.end.store(INT64_MIN, std::memory_order_relaxed);
    }

    /// Successes in the Buckets buckets that end with `last`, none of before `first`. Numbers may wrap.
    std::uint64_t sum(std::uint32_t first, std::uint32_t last) const noexcept {
        std::uint64_t total = 0;
        const auto add_up = [&](const buckets& of_one) {
            for (const auto& bucket : of_one) {
                const std::uint64_t word = bucket.load(std::memory_order_relaxed);
                const std::uint32_t number = upper(word);
                if (last - number < Buckets && last - number <= last - first) total += word & count_mask;
            }
        };
        add_up(shared_.counts);
        stripes_.each([&](const stripe& s, std::uint32_t) { add_up(s.counts); });
        return total;
    }

private:
    static constexpr std::size_t kept =
        std::bit_ceil(Buckets); // so that they go on in order when numbers wrap
    static constexpr std::uint64_t count_mask = 0xFFFF'FFFF;

    // Invariant: number in the upper half, count in the lower. Relaxed: a count orders nothing, and each word
    // is whole by itself.
    using buckets = std::array<atomic<std::uint64_t>, kept>;

    struct alignas(64) stripe {
        std::int64_t end = INT64_MIN; // of the bucket that the owning thread counts in; its own
        std::uint64_t numbering = 0;  // its own; of `number`
        std::uint32_t number = 0;     // its own; of the bucket
        buckets counts{};             // written by the owning thread only
    };
    struct alignas(64) shared_stripe {
        // Invariant: the circuit's generation (its lower half) and the number of the bucket that was entered
        // last. They share one word, so that a late success cannot count in a newer generation's bucket.
        // Written under the owner's lock, before `end`.
        atomic<std::uint64_t> current{0};
        // Invariant: where that bucket ends, or INT64_MIN if there is none. Written under the owner's lock,
        // with release: a thread that reads the end of a bucket reads its number, or a later bucket's.
        atomic<std::int64_t> end{INT64_MIN};
        buckets counts{};
    };

    static constexpr std::uint32_t upper(std::uint64_t word) noexcept {
        return static_cast<std::uint32_t>(word >> 32U);
    }
    /// True if the word holds a later bucket than `number`. A number far ahead is one from before the numbers
    /// wrapped; a word of 0 was never used.
    static constexpr bool is_newer(std::uint64_t word, std::uint32_t number) noexcept {
        return word != 0 && upper(word) - number - 1U < (1U << 16U);
    }
    /// The word of a bucket after one more success in `number`.
    static constexpr std::uint64_t counted(std::uint64_t word, std::uint32_t number) noexcept {
        if (upper(word) != number) return (std::uint64_t{number} << 32U) | 1U;
        return word + ((word & count_mask) != count_mask ? 1 : 0);
    }

    static void bump(stripe& s) noexcept {
        auto& bucket = s.counts[s.number % kept];
        bucket.store(counted(bucket.load(std::memory_order_relaxed), s.number), std::memory_order_relaxed);
    }
    static void bump_shared(shared_stripe& s, std::uint32_t number) noexcept {
        auto& bucket = s.counts[number % kept];
        std::uint64_t word = bucket.load(std::memory_order_relaxed);
        while (!is_newer(word, number) && // else this thread slept for longer than the window
               !bucket.compare_exchange_weak(word, counted(word, number), std::memory_order_relaxed)) {}
    }
    RESILIENCE_COLD static bool add_shared(shared_stripe& s, std::int64_t now,
                                           std::uint64_t generation) noexcept {
        if (now >= s.end.load(std::memory_order_acquire)) return false;
        const std::uint64_t current = s.current.load(std::memory_order_relaxed);
        if (upper(current) != static_cast<std::uint32_t>(generation)) return false;
        bump_shared(s, static_cast<std::uint32_t>(current));
        return true;
    }
    static void enter_shared(shared_stripe& s, std::uint32_t number, std::int64_t end,
                             std::uint64_t generation) noexcept {
        s.current.store((generation << 32U) | number, std::memory_order_relaxed);
        s.end.store(end, std::memory_order_release);
        bump_shared(s, number);
    }

    // Each failure reads them all, under the owner's lock.
    striped<stripe, 6> stripes_;
    shared_stripe shared_{};
    // Invariant: grows, under the owner's lock only. Relaxed: a thread that reads an old value finds out
    // under that lock.
    atomic<std::uint64_t> numbering_{1};
};

}}} // namespace resilience::RESILIENCE_ABI::detail
