// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>
#include <resilience/detail/returned.hpp>

#include <exception>
#include <functional>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Gives a rejection the exception that a config's `make_exception` makes of it. It stays as it is if that is not set,
/// throws or gives null.
void customise(failure& why, const std::function<std::exception_ptr(const failure&)>& make_exception);

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION void customise(
    failure& why, const std::function<std::exception_ptr(const failure&)>& make_exception) {
    if (!make_exception) return;
    std::exception_ptr made;
    returned([&] { made = make_exception(why); });
    why.set_exception(std::move(made));
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
