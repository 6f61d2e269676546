// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/sync.hpp>

#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A T for static storage that each process makes at first use and never destroys. A forked child makes its own: threads
/// that it does not have may have been using the parent's.
template <class T>
class RESILIENCE_VISIBLE per_process {
public:
    constexpr per_process() noexcept = default;
    per_process(const per_process&) = delete;
    per_process& operator=(const per_process&) = delete;

    /// `make()` gives the T. Of threads that come first together each makes one, and one wins: no thread ever waits for
    /// another, which a child would not have.
    template <class Make>
    T& get(Make make) {
        // Acquire: sees the object as the thread that published it made it.
        made* known = made_.load(std::memory_order_acquire);
        if (known != nullptr && known->process == process_number()) return known->object;
        auto* const fresh = new made{make(), process_number(), known};
        while (!made_.compare_exchange_strong(known, fresh, std::memory_order_acq_rel,
                                              std::memory_order_acquire)) {
            if (known->process == process_number()) {
                delete fresh;
                return known->object;
            }
            fresh->parents = known;
        }
        return fresh->object;
    }

private:
    struct made {
        T object;
        const std::uint32_t process;
        const made* parents; // keeps it reachable for leak checkers
    };

    atomic<made*> made_{nullptr};
};

}}} // namespace resilience::RESILIENCE_ABI::detail
