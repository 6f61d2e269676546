// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/striped_counters.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/mechanism/rate_window.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

#if RESILIENCE_BODIES
#include <resilience/detail/striped_buckets.hpp>
#include <resilience/mechanism/time_buckets.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Numbers the results for a count window. A success takes the next position without a lock, as long as its
/// generation is the current one and the window is not below minimum_calls.
class result_sequence {
public:
    /// The sequence whose state is kept there.
    explicit result_sequence(atomic<std::uint64_t>& kept) noexcept : next_(kept) {}

    /// Takes the next position. False if the sequence is closed for successes of that generation.
    bool take_if(std::uint64_t generation) noexcept {
        const std::uint64_t open = upper(generation, window_fill::enough_calls);
        std::uint64_t seen = next_.load(std::memory_order_relaxed);
        while ((seen & ~position_mask) == open) {
            if (next_.compare_exchange_weak(seen, seen + 1, std::memory_order_relaxed)) return true;
        }
        return false;
    }
    /// Takes the next position for a result that is settled under the owner's mutex.
    std::uint64_t take_locked() noexcept {
        return next_.fetch_add(1, std::memory_order_relaxed) & position_mask;
    }
    std::uint64_t next_locked() const noexcept {
        return next_.load(std::memory_order_relaxed) & position_mask;
    }
    /// From here on only successes of that generation take positions, and none below minimum_calls. Returns
    /// the first position after this change; all successes counted before it have lower positions.
    std::uint64_t close_locked(std::uint64_t generation, window_fill filled) noexcept {
        std::uint64_t seen = next_.load(std::memory_order_relaxed);
        while (!next_.compare_exchange_weak(seen, upper(generation, filled) | (seen & position_mask),
                                            std::memory_order_relaxed)) {}
        return seen & position_mask;
    }

private:
    static constexpr unsigned position_bits = 48;
    static constexpr std::uint64_t position_mask = (std::uint64_t{1} << position_bits) - 1;
    static constexpr std::uint64_t upper(std::uint64_t generation, window_fill filled) noexcept {
        return (generation << (position_bits + 1)) | (static_cast<std::uint64_t>(filled) << position_bits);
    }

    // Invariant: the upper bits are the generation and `below minimum`, the lower 48 the next result's
    // position. take_if() compares the upper bits in the step that takes the position, so close_locked() ends
    // a generation exactly. Relaxed: the window itself is read under the mutex.
    atomic<std::uint64_t>& next_;
};

/// Counts without a lock: a circuit's successes, in total and in the windows, its ignored results and its
/// rejections. Functions whose names end in _locked are called under the owner's mutex.
///
/// A judgement may miss a success that is counted without the lock meanwhile; the next result sees it.
class success_counts {
public:
    explicit success_counts(std::uint64_t generation) noexcept;
    ~success_counts();
    success_counts(const success_counts&) = delete;
    success_counts& operator=(const success_counts&) = delete;

    // Any thread may call these without a lock. `generation` is that of the call's admission, which was
    // current a moment ago.

    /// Counts a success that enters no window.
    RESILIENCE_INLINE void take(std::uint64_t generation) noexcept { counters_.add(counter_of(generation)); }
    /// Counts a success in the count window. False, and nothing is counted, if it must be settled under the
    /// mutex.
    bool take_position(std::uint64_t generation) noexcept {
        if (!sequence().take_if(generation)) return false;
        take(generation);
        return true;
    }
    /// Counts a success in the time window. False, and nothing is counted, if it must be settled under the
    /// mutex: the thread has no bucket, or the bucket has ended. Precondition: keep_time_locked() was called
    /// and published.
    bool take_bucket(std::uint64_t generation, time_point now) noexcept;
    void take_ignored() noexcept { counters_.add(ignored_results); }
    RESILIENCE_INLINE void take_rejected() noexcept { counters_.add(rejected_calls); }

    std::uint64_t ignored() const noexcept { return counters_.sum(ignored_results); }
    std::uint64_t rejected() const noexcept { return counters_.sum(rejected_calls); }
    std::uint64_t successes() const noexcept;

    // The owner's mutex must be held.

    /// Counts a success of an earlier generation in the total alone, so that it breaks no row of failures.
    void take_late_locked() noexcept { counters_.add(late_successes); }
    std::uint64_t take_position_locked() noexcept { return sequence().take_locked(); }
    std::uint64_t next_position_locked() noexcept { return sequence().next_locked(); }
    /// Counts a success; until `end`, this thread's successes go into bucket `number`.
    void enter_bucket_locked(std::uint32_t number, time_point end) noexcept;
    /// Successes of the current generation.
    std::uint64_t in_generation_locked() const noexcept {
        return counters_.sum(counter_of(generation_)) - before_generation_;
    }
    /// Successes in the buckets from `first` to `last`.
    std::uint64_t in_buckets_locked(std::uint32_t first, std::uint32_t last) const noexcept;

    /// Begins a generation. Successes of earlier ones enter no window from here on. Returns the new
    /// generation's first position.
    std::uint64_t begin_locked(std::uint64_t generation) noexcept {
        generation_ = generation;
        before_generation_ = counters_.sum(counter_of(generation));
        return clear_windows_locked();
    }
    /// Begins new windows and returns the first position of the new count window. A success with an earlier
    /// position belongs to the window that is cleared now.
    std::uint64_t clear_windows_locked() noexcept {
        fill_ = window_fill::enough_calls;
        renumber_locked();
        return sequence().close_locked(generation_, fill_);
    }
    /// While the window is below minimum_calls, every success must be settled under the mutex. True if the
    /// fill changed: successes counted before did not check the rules.
    bool set_fill_locked(window_fill filled) noexcept {
        if (filled == fill_) return false;
        fill_ = filled;
        sequence().close_locked(generation_, fill_);
        return true;
    }
    window_fill fill_locked() const noexcept { return fill_; }

    /// Makes the time window. Must be called before its flag is published.
    void keep_time_locked();
    /// Numbers the time buckets anew: every thread must enter one again.
    void renumber_locked() noexcept;

private:
    struct buckets;

    // A thread can check the generation, be delayed, and add its success after the circuit has moved on. Four
    // counters, indexed by generation % 4, keep such a late success out of the new generation's count, where
    // it would break a row of failures.
    static constexpr std::size_t success_counters = 4;
    enum counter : std::size_t {
        late_successes = success_counters,
        ignored_results,
        rejected_calls,
        counter_count
    };
    static constexpr std::size_t counter_of(std::uint64_t generation) noexcept {
        return generation % success_counters;
    }

    /// Every success in a count window writes the line where it is kept.
    result_sequence sequence() noexcept { return result_sequence(counters_.spare()); }
    static_assert(counter_count < 8);

    RESILIENCE_NO_UNIQUE_ADDRESS striped_counters<counter_count> counters_;
    // No success writes what follows.
    std::unique_ptr<buckets> buckets_;    // null until there is a time window, then kept
    std::uint64_t generation_;            // guarded by the owner's mutex, like the next two
    std::uint64_t before_generation_ = 0; // its counter's value when it began
    window_fill fill_ = window_fill::enough_calls;
};

#if RESILIENCE_BODIES
struct success_counts::buckets : striped_buckets<time_buckets::bucket_count> {};

RESILIENCE_FUNCTION success_counts::success_counts(std::uint64_t generation) noexcept
    : generation_(generation) {
    sequence().close_locked(generation, fill_);
}
RESILIENCE_FUNCTION success_counts::~success_counts() = default;
RESILIENCE_FUNCTION bool success_counts::take_bucket(std::uint64_t generation, time_point now) noexcept {
    if (!buckets_->add(now.time_since_epoch().count(), generation)) return false;
    take(generation);
    return true;
}
RESILIENCE_FUNCTION std::uint64_t success_counts::successes() const noexcept {
    std::uint64_t all = 0;
    for (std::size_t c = 0; c <= late_successes; ++c) all += counters_.sum(c);
    return all;
}
RESILIENCE_FUNCTION void success_counts::enter_bucket_locked(std::uint32_t number, time_point end) noexcept {
    buckets_->enter(number, end.time_since_epoch().count(), generation_);
    take(generation_);
}
RESILIENCE_FUNCTION std::uint64_t success_counts::in_buckets_locked(std::uint32_t first,
                                                                    std::uint32_t last) const noexcept {
    return buckets_->sum(first, last);
}
RESILIENCE_FUNCTION void success_counts::keep_time_locked() {
    if (!buckets_) buckets_ = std::make_unique<buckets>();
}
RESILIENCE_FUNCTION void success_counts::renumber_locked() noexcept {
    if (buckets_) buckets_->renumber();
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
