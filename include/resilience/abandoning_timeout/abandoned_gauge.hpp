// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>
#include <resilience/detail/worker_pool.hpp>

#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// How many abandoned calls still run in this process. A forked child has none of its parent's threads, so
/// that it begins at 0 again.
class abandoned_gauge {
public:
    void add() noexcept { change(1); }
    void remove() noexcept { change(-1); }
    // Acquire: whoever sees a call gone sees all that its worker did before.
    std::uint32_t value() const noexcept { return count_in(word_.load(std::memory_order_acquire)); }

private:
    static std::uint64_t process() noexcept { return std::uint64_t{worker_pool::process()} << 32U; }
    static std::uint32_t count_in(std::uint64_t word) noexcept {
        return (word >> 32U) << 32U == process() ? static_cast<std::uint32_t>(word) : 0;
    }
    void change(int by) noexcept {
        std::uint64_t before = word_.load(std::memory_order_relaxed);
        std::uint64_t after = 0;
        do {
            after = process() | static_cast<std::uint32_t>(static_cast<int>(count_in(before)) + by);
            // Release: pairs with value().
        } while (!word_.compare_exchange_weak(before, after, std::memory_order_acq_rel,
                                              std::memory_order_relaxed));
    }

    // Invariant: the number of the process in the high half, the count in the low one; a count of another
    // process is 0. Never below 0: a call is added before its worker can see that it was abandoned.
    atomic<std::uint64_t> word_{0};
};

}}} // namespace resilience::RESILIENCE_ABI::detail
