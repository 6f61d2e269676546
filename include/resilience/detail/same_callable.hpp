// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <cstring>
#include <functional>
#include <typeinfo>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// False if two callables are known to differ: only one is set, their types differ, or they are two functions.
/// Objects of one type may hold different values, which nobody can compare. Types go by their names: shared
/// objects may each have a std::type_info of their own.
template <class R, class... A>
RESILIENCE_COLD bool may_be_same(const std::function<R(A...)>& a, const std::function<R(A...)>& b) noexcept {
    if (!a || !b) return !a && !b;
    if (std::strcmp(a.target_type().name(), b.target_type().name()) != 0) return false;
    using function = R (*)(A...);
    const auto* const x = a.template target<function>();
    const auto* const y = b.template target<function>();
    return x == nullptr || y == nullptr || *x == *y;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
