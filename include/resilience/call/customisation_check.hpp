// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/sent.hpp>
#include <resilience/call/value_concepts.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

// A function of a customisation's name that is found for a type is meant for us. If it does not fit, the call does not
// compile: the concepts alone would take it for none.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

enum class customisation : std::uint8_t {
    none,
    http_status_of,
    retry_after_of,
    forbids_retry,
    idempotency_of,
    was_not_sent,
    was_stale,
    enable_status_like,
};
/// A customisation of R that gives a Given and does not fit.
template <customisation Which, class R, class Given>
struct misfit {
    static constexpr customisation which = Which;
};
using all_fit = misfit<customisation::none, void, void>;
/// A variable, which compilers do not explain.
template <class Misfit, customisation C>
inline constexpr bool fits = Misfit::which != C;

// A non-const lvalue is asked for the name, so that a function that wants one is found too.
template <class R>
consteval auto own_misfit() {
    if constexpr (std::is_fundamental_v<R>) return all_fit{};
    else if constexpr (!http_like<R> && requires(R& r) { http_status_of(r); })
        return misfit<customisation::http_status_of, R, decltype(http_status_of(std::declval<R&>()))>{};
    else if constexpr (!hint_like<R> && requires(R& r) { retry_after_of(r); })
        return misfit<customisation::retry_after_of, R, decltype(retry_after_of(std::declval<R&>()))>{};
    else if constexpr (!says_if_retry_is_forbidden<R> && requires(R& r) { forbids_retry(r); })
        return misfit<customisation::forbids_retry, R, decltype(forbids_retry(std::declval<R&>()))>{};
    else if constexpr (!says_if_idempotent<R> && requires(R& r) { idempotency_of(r); })
        return misfit<customisation::idempotency_of, R, decltype(idempotency_of(std::declval<R&>()))>{};
    else if constexpr (!says_if_sent<R> && requires(R& r) { was_not_sent(r); })
        return misfit<customisation::was_not_sent, R, decltype(was_not_sent(std::declval<R&>()))>{};
    else if constexpr (!says_if_stale<R> && requires(R& r) { was_stale(r); })
        return misfit<customisation::was_stale, R, decltype(was_stale(std::declval<R&>()))>{};
    else if constexpr (enable_status_like<R> && !status_like<R>)
        return misfit<customisation::enable_status_like, R, void>{};
    else return all_fit{};
}
/// The first misfit of a result, or of the error in it.
template <class R>
consteval auto first_misfit() {
    if constexpr (expected_like<R> && std::is_same_v<decltype(own_misfit<R>()), all_fit>)
        return own_misfit<typename error_of<R>::type>();
    else return own_misfit<R>();
}

}}} // namespace resilience::RESILIENCE_ABI::detail
