// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <cstddef>
#include <new>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// An object that is never destroyed, for local statics that static destructors may use. It is stored in
/// place rather than on the heap, so that its first use does not allocate.
template <class T>
class RESILIENCE_VISIBLE immortal {
public:
    immortal() { ::new (static_cast<void*>(place_)) T; }
    const T& get() const noexcept { return *std::launder(reinterpret_cast<const T*>(place_)); }

private:
    alignas(T) std::byte place_[sizeof(T)];
};

}}} // namespace resilience::RESILIENCE_ABI::detail
