// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Stores `value` if it is more than what is stored. Relaxed: it orders nothing.
template <class T>
void raise_to(atomic<T>& highest, T value) noexcept {
    T seen = highest.load(std::memory_order_relaxed);
    while (seen < value && !highest.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {}
}

}}} // namespace resilience::RESILIENCE_ABI::detail
