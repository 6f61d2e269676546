// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/call/result_traits.hpp>

#include <concepts>
#include <system_error>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <class R>
concept carries_unexpected = expected_like<R> && requires { typename R::unexpected_type; } &&
                             (std::is_constructible_v<typename error_of<R>::type, std::error_code> ||
                              std::is_constructible_v<typename error_of<R>::type, const error&>);
template <class R>
concept carries_code =
    expected_like<R> && !carries_unexpected<R> && std::is_convertible_v<std::error_code, R>;

/// True if a rejection can be returned as an R instead of being thrown.
template <class R>
inline constexpr bool carries_errors =
    !std::is_reference_v<R> && (carries_unexpected<R> || carries_code<R> || holds_failure<R> ||
                                std::same_as<R, std::error_code> || std::same_as<R, std::errc>);

/// Makes an R of a rejection. Only for an R with carries_errors<R>.
template <class R>
R carry(const failure& f) {
    if constexpr (holds_failure<R>) {
        return result_traits<R>::failing(f);
    } else if constexpr (carries_unexpected<R>) {
        using E = typename error_of<R>::type;
        using unexpected = typename R::unexpected_type;
        if constexpr (std::is_constructible_v<E, std::error_code>) {
            return R(unexpected(E(f.code())));
        } else {
            return R(unexpected(
                E(error(static_cast<errc>(f.code().value()), f.policy(), f.message(), f.retry_after()))));
        }
    } else if constexpr (std::same_as<R, std::errc>) {
        const auto condition = f.code().default_error_condition();
        return condition.category() == std::generic_category() ? static_cast<std::errc>(condition.value())
                                                               : std::errc::io_error;
    } else {
        return f.code();
    }
}

}}} // namespace resilience::RESILIENCE_ABI::detail
