// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>
#include <resilience/detail/worker_pool.hpp>

#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The number of abandoned attempts that still run in this process. A forked child has none of its parent's
/// threads, so it begins at 0.
class abandoned_gauge {
public:
    void add() noexcept { change(1); }
    void remove() noexcept { change(-1); }
    // Acquire: a thread that sees an attempt gone sees all that its worker did before.
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

    // Invariant: the high half is the number of a process, the low half its count; in another process the
    // count is 0. Never below 0: an attempt is added before its worker can see that it was abandoned.
    atomic<std::uint64_t> word_{0};
};

}}} // namespace resilience::RESILIENCE_ABI::detail
