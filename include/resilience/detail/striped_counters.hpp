// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/function_ref.hpp>
#include <resilience/detail/striped.hpp>
#include <resilience/detail/sync.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// Tells if a beginning has left a mark in its thread's stripe.
enum class left_mark : std::uint8_t { no, yes };

/// A thread's cells of a set of counters.
struct alignas(64) counter_stripe {
    std::array<atomic<std::uint64_t>, 8> cells{};
};

/// Eight counters, each thread with a copy of its own. An addition is a plain load and store to a cache line that
/// no other thread writes, so threads that count together do not slow each other down. A sum is exact after
/// the counting threads have ended or been joined; before that it may miss additions in progress.
///
/// A [[no_unique_address]] member of this type leaves 56 bytes of its last line to the members after it. Calls of the
/// first 127 threads do not look at that line.
class counters_of_threads {
public:
    /// Adds 1 to each given counter.
    template <std::convertible_to<std::size_t>... C>
    RESILIENCE_INLINE void add(C... counters) noexcept {
        if (counter_stripe* const mine = stripes_.mine()) [[likely]]
            (increment(mine->cells[static_cast<std::size_t>(counters)]), ...);
        else (add_shared(static_cast<std::size_t>(counters)), ...);
    }

    /// Adds 1 to `counter`. Leaves `mark`, which is not 0, in the cell `place` of this thread, unless a mark
    /// stands there. Threads that share a stripe leave none. end() must be told what this returns.
    RESILIENCE_INLINE left_mark begin(std::size_t counter, std::size_t place, std::uint64_t mark) noexcept {
        counter_stripe* const mine = stripes_.mine();
        if (mine == nullptr) [[unlikely]] {
            add_shared(counter);
            return left_mark::no;
        }
        increment(mine->cells[counter]);
        auto& cell = mine->cells[place];
        if (cell.load(std::memory_order_relaxed) != 0) return left_mark::no; // that of a call around this one
        cell.store(mark, std::memory_order_relaxed);
        return left_mark::yes;
    }
    /// Adds 1 to `counter`, and takes away the mark that begin() left. On the thread that began, if it left one.
    RESILIENCE_INLINE void end(std::size_t counter, std::size_t place, left_mark began) noexcept {
        counter_stripe* const mine = stripes_.mine();
        if (mine == nullptr) [[unlikely]]
            return add_shared(counter);
        increment(mine->cells[counter]);
        if (began == left_mark::yes) mine->cells[place].store(0, std::memory_order_relaxed);
    }
    /// Calls f(number of its thread, mark) for each mark that stands.
    void each_mark(std::size_t place, function_ref<void(std::uint32_t, std::uint64_t)> f) const;
    std::uint64_t sum(std::size_t counter) const noexcept;

    /// A cell of the owner's, who has seven counters at most. No line that calls only read is its line.
    atomic<std::uint64_t>& spare() noexcept { return shared_.cells.back(); }

private:
    /// Invariant: only the owning thread writes a cell of its stripe, so load and store need not be one atomic
    /// step. Relaxed: no other data depends on a count.
    RESILIENCE_INLINE static void increment(atomic<std::uint64_t>& cell) noexcept {
        cell.store(cell.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    void add_shared(std::size_t counter) noexcept;

    counter_stripe shared_{}; // of threads that have no stripe of their own
    RESILIENCE_NO_UNIQUE_ADDRESS striped<counter_stripe> stripes_;
};

/// The first N of them.
template <std::size_t N>
class striped_counters : public counters_of_threads {
    static_assert(N <= 8, "one stripe is one cache line");
};

#if RESILIENCE_BODIES
// Many threads write this cell, hence fetch_add. Relaxed: no other data depends on a count.
RESILIENCE_COLD RESILIENCE_FUNCTION void counters_of_threads::add_shared(std::size_t counter) noexcept {
    shared_.cells[counter].fetch_add(1, std::memory_order_relaxed);
}
RESILIENCE_FUNCTION void counters_of_threads::each_mark(
    std::size_t place, function_ref<void(std::uint32_t, std::uint64_t)> f) const {
    stripes_.each([&](const counter_stripe& s, std::uint32_t number) {
        const std::uint64_t mark = s.cells[place].load(std::memory_order_relaxed);
        if (mark != 0) f(number, mark);
    });
}
RESILIENCE_FUNCTION std::uint64_t counters_of_threads::sum(std::size_t counter) const noexcept {
    std::uint64_t total = shared_.cells[counter].load(std::memory_order_relaxed);
    stripes_.each([&](const counter_stripe& s, std::uint32_t) {
        total += s.cells[counter].load(std::memory_order_relaxed);
    });
    return total;
}
#endif

}
RESILIENCE_INSTANTIATE(class detail::striped<detail::counter_stripe>)
}} // namespace resilience::RESILIENCE_ABI::detail
