// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/sync.hpp>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A T for static storage that is made at first use and never destroyed: static destructors may use it. Of threads that
/// come first together each makes one, and one wins. No thread ever waits for another: a child that is forked meanwhile
/// would not have that one, and would wait at the guard of a static variable for ever.
template <class T>
class RESILIENCE_VISIBLE immortal {
public:
    constexpr immortal() noexcept = default;
    immortal(const immortal&) = delete;
    immortal& operator=(const immortal&) = delete;

    RESILIENCE_INLINE T& get() {
        void* const known = made_.load(std::memory_order_acquire);
        return known != nullptr ? *static_cast<T*>(known) : first();
    }

private:
    RESILIENCE_COLD T& first() {
        void* winner = nullptr;
        T* const mine = new T();
        if (made_.compare_exchange_strong(winner, mine, std::memory_order_acq_rel, std::memory_order_acquire))
            return *mine;
        delete mine;
        return *static_cast<T*>(winner);
    }

    // Invariant: null, then one T for ever. Release and acquire: who finds the object sees it whole. A void*: each other
    // atomic is one more that a program's compiler chews.
    remembered<void*> made_{nullptr};
};

}}} // namespace resilience::RESILIENCE_ABI::detail
