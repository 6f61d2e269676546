// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <system_error>

#if RESILIENCE_BODIES
#include <string_view>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The portable meaning of a code of any category. Standalone Asio's category of system errors holds errno's
/// numbers but maps most of them to no condition, so they are looked up in the system's own category.
std::error_condition condition_of(const std::error_code& code) noexcept;
/// True for ECANCELED. For the two common categories this needs no virtual call.
bool is_cancellation(const std::error_code& code) noexcept;

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION std::error_condition condition_of(const std::error_code& code) noexcept {
    const auto condition = code.default_error_condition();
    const bool unmapped = condition.category() == code.category();
    return unmapped && std::string_view(code.category().name()) == "asio.system"
               ? std::system_category().default_error_condition(code.value())
               : condition;
}
RESILIENCE_FUNCTION bool is_cancellation(const std::error_code& code) noexcept {
    if (code.category() == std::generic_category() || code.category() == std::system_category())
        return code.value() == static_cast<int>(std::errc::operation_canceled);
    return condition_of(code) == std::errc::operation_canceled;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
