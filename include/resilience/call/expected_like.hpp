// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/call/value_ops.hpp>

#include <concepts>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The answer to a question. A pointer, such as a text, is always true.
template <class T>
concept truth = std::convertible_to<T, bool> && !std::is_pointer_v<std::decay_t<T>>;
/// A number of HTTP, or none.
template <class T>
concept status_number =
    std::convertible_to<T, std::optional<int>> && !std::same_as<std::remove_cvref_t<T>, bool>;

/// A result that holds a value or an error.
template <class R>
concept expected_like = requires(const R& r) {
    { r.has_value() } -> std::convertible_to<bool>;
    r.error();
};
template <class R>
struct error_of {};
template <expected_like R>
struct error_of<R> {
    using type = std::remove_cvref_t<decltype(std::declval<const R&>().error())>;
};
template <expected_like R>
using error_in = const typename error_of<R>::type&;

/// True for a result whose error is an exception that was caught.
template <class R>
inline constexpr bool error_is_exception = false;
template <expected_like R>
inline constexpr bool error_is_exception<R> = std::same_as<typename error_of<R>::type, std::exception_ptr>;

// The functions by which a type tells of itself are found by argument-dependent lookup. If the error of a result has one, these
// answer for the result.

/// A result without a value is a failure, whatever success its error's status means.
template <expected_like R>
    requires requires(error_in<R> e) {
        { http_status_of(e) } -> status_number;
    }
std::optional<int> http_status_of(const R& r) {
    if (r.has_value()) return 200;
    const std::optional<int> status = http_status_of(r.error());
    return status && *status >= 400 ? status : std::nullopt;
}
template <expected_like R>
    requires requires(error_in<R> e) {
        { retry_after_of(e) } -> std::convertible_to<std::optional<duration>>;
    }
std::optional<duration> retry_after_of(const R& r) {
    if (r.has_value()) return std::nullopt;
    return retry_after_of(r.error());
}
template <expected_like R>
    requires requires(error_in<R> e) {
        { forbids_retry(e) } noexcept -> truth;
    }
bool forbids_retry(const R& r) noexcept {
    return !r.has_value() && forbids_retry(r.error());
}
template <expected_like R>
    requires requires(error_in<R> e) {
        { idempotency_of(e) } noexcept -> std::convertible_to<std::optional<idempotency>>;
    }
std::optional<idempotency> idempotency_of(const R& r) noexcept {
    if (r.has_value()) return std::nullopt;
    return idempotency_of(r.error());
}
template <expected_like R>
    requires requires(error_in<R> e) {
        { was_not_sent(e) } noexcept -> truth;
    }
bool was_not_sent(const R& r) noexcept {
    return !r.has_value() && was_not_sent(r.error());
}
template <expected_like R>
    requires requires(error_in<R> e) {
        { was_stale(e) } noexcept -> truth;
    }
bool was_stale(const R& r) noexcept {
    return !r.has_value() && was_stale(r.error());
}

}}} // namespace resilience::RESILIENCE_ABI::detail
