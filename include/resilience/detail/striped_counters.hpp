// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The number of stripes that belong to one thread at a time, and of those that all later threads share.
inline constexpr std::uint32_t exclusive_stripes = 24;
inline constexpr std::uint32_t shared_stripes = 8;

/// The stripe that a thread writes. If `owner` is not the counter's own, the thread must use a shared stripe.
/// That covers threads that have no stripe yet, threads beyond the exclusive stripes, threads whose
/// thread_locals are destroyed, and shared objects with a set of stripes of their own.
struct thread_stripe {
    const void* owner = nullptr;
    std::uint32_t index = 0;
};
RESILIENCE_VISIBLE inline constinit thread_local thread_stripe this_threads_stripe{};

/// Hands exclusive stripes to threads and takes them back when a thread ends. The new owner sees the old
/// owner's stores, since both lock the mutex in between. The instance is leaked, because threads may outlive
/// statics.
class RESILIENCE_VISIBLE stripe_owners {
public:
    static stripe_owners& instance() noexcept;

    /// Gives this thread a stripe, once.
    void enlist() noexcept;

private:
    stripe_owners() noexcept {
        for (std::uint32_t i = 0; i < exclusive_stripes; ++i) free_[i] = exclusive_stripes - 1 - i;
    }

    struct leaver {
        std::uint32_t index = exclusive_stripes;
        ~leaver();
    };
    static constexpr char nobody_ = 0;

    detail::mutex mutex_;
    std::array<std::uint32_t, exclusive_stripes> free_{}; // guarded by mutex_, a stack
    std::uint32_t free_count_ = exclusive_stripes;        // guarded by mutex_
    std::uint32_t next_shared_ = 0;                       // guarded by mutex_
};

/// Tells if a beginning has left a mark in its thread's stripe.
enum class left_mark : std::uint8_t { no, yes };

/// N counters, each thread with a copy of its own. An addition is a plain load and store to a cache line that
/// no other thread writes, so threads that count together do not slow each other down. A sum is exact after
/// the counting threads have ended or been joined; before that it may miss additions in progress.
template <std::size_t N>
class striped_counters {
    static_assert(N <= 8, "one stripe is one cache line");

public:
    striped_counters() noexcept : owners_(&stripe_owners::instance()) {}

    /// Adds 1 to each given counter.
    template <std::convertible_to<std::size_t>... C>
    RESILIENCE_INLINE void add(C... counters) noexcept {
        const thread_stripe mine = this_threads_stripe;
        if (mine.owner == owners_) [[likely]] {
            auto& cells = stripes_[mine.index].cells;
            (increment(cells[static_cast<std::size_t>(counters)]), ...);
        } else {
            (add_shared(static_cast<std::size_t>(counters)), ...);
        }
    }

    /// Adds 1 to `counter`. Leaves `mark`, which is not 0, in the cell `place` of this thread, unless a mark
    /// stands there. Threads that share a stripe leave none. end() must be told what this returns.
    RESILIENCE_INLINE left_mark begin(std::size_t counter, std::size_t place, std::uint64_t mark) noexcept {
        const thread_stripe mine = this_threads_stripe;
        if (mine.owner != owners_) [[unlikely]]
            return begin_shared(counter, place, mark);
        auto& cells = stripes_[mine.index].cells;
        increment(cells[counter]);
        auto& cell = cells[place];
        if (cell.load(std::memory_order_relaxed) != 0) return left_mark::no; // that of a call around this one
        cell.store(mark, std::memory_order_relaxed);
        return left_mark::yes;
    }
    /// Adds 1 to `counter`, and takes away the mark that begin() left. On the thread that began, if it left one.
    RESILIENCE_INLINE void end(std::size_t counter, std::size_t place, left_mark began) noexcept {
        const thread_stripe mine = this_threads_stripe;
        if (mine.owner != owners_) [[unlikely]]
            return add_shared(counter);
        auto& cells = stripes_[mine.index].cells;
        increment(cells[counter]);
        if (began == left_mark::yes) cells[place].store(0, std::memory_order_relaxed);
    }
    /// Calls f(stripe, mark) for each mark that stands.
    template <class F>
    void each_mark(std::size_t place, F&& f) const {
        for (std::uint32_t i = 0; i < exclusive_stripes; ++i) {
            const std::uint64_t mark = stripes_[i].cells[place].load(std::memory_order_relaxed);
            if (mark != 0) f(i, mark);
        }
    }
    /// The stripe where this thread leaves its marks; exclusive_stripes if it leaves none.
    std::uint32_t marked_stripe() const noexcept {
        const thread_stripe mine = this_threads_stripe;
        return mine.owner == owners_ ? mine.index : exclusive_stripes;
    }

    std::uint64_t sum(std::size_t counter) const noexcept {
        std::uint64_t total = 0;
        for (const auto& s : stripes_) total += s.cells[counter].load(std::memory_order_relaxed);
        return total;
    }

private:
    struct alignas(64) stripe {
        std::array<atomic<std::uint64_t>, 8> cells{};
    };

    /// Invariant: only the owning thread writes an exclusive cell, so load and store need not be one atomic
    /// step. Relaxed: no other data depends on a count.
    RESILIENCE_INLINE static void increment(atomic<std::uint64_t>& cell) noexcept {
        cell.store(cell.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    RESILIENCE_COLD void add_shared(std::size_t counter) noexcept {
        if (this_threads_stripe.owner == nullptr) {
            stripe_owners::instance().enlist();
            if (this_threads_stripe.owner == owners_) return add(counter);
        }
        // Many threads write this cell, hence fetch_add. Relaxed: no other data depends on a count.
        stripes_[exclusive_stripes + this_threads_stripe.index % shared_stripes].cells[counter].fetch_add(
            1, std::memory_order_relaxed);
    }

    RESILIENCE_COLD left_mark begin_shared(std::size_t counter, std::size_t place,
                                           std::uint64_t mark) noexcept {
        if (this_threads_stripe.owner == nullptr) {
            stripe_owners::instance().enlist();
            if (this_threads_stripe.owner == owners_) return begin(counter, place, mark);
        }
        add_shared(counter);
        return left_mark::no;
    }

    std::array<stripe, exclusive_stripes + shared_stripes> stripes_{};
    const void* owners_;
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION stripe_owners::leaver::~leaver() {
    if (index == exclusive_stripes) return;
    auto& owners = instance();
    const lock_guard lock(owners.mutex_);
    owners.free_[owners.free_count_++] = index;
    this_threads_stripe = {&nobody_, index % shared_stripes}; // for later thread_local destructors
}
RESILIENCE_COLD RESILIENCE_FUNCTION void stripe_owners::enlist() noexcept {
    thread_stripe& mine = this_threads_stripe;
    const lock_guard lock(mutex_);
    mine.index = next_shared_++ % shared_stripes;
    if (free_count_ == 0) {
        mine.owner = &nobody_;
        return;
    }
    static thread_local leaver at_thread_exit;
    at_thread_exit.index = free_[--free_count_];
    mine = {this, at_thread_exit.index};
}
RESILIENCE_FUNCTION stripe_owners& stripe_owners::instance() noexcept {
    static auto& owners = *new stripe_owners;
    return owners;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
