// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/expected_like.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/call/verdict.hpp>
#include <resilience/detail/function_ref.hpp>
#include <resilience/detail/returned.hpp>

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <typeinfo>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Set this to true for a type whose `bool ok() const` tells success from failure:
/// `template <> inline constexpr bool resilience::enable_status_like<my_status> = true;`
template <class R>
inline constexpr bool enable_status_like = false;

namespace detail {

template <class R>
concept status_like = enable_status_like<R> && requires(const R& r) {
    { r.ok() } -> truth;
};
/// A value for which the free function `http_status_of(v)` answers an int or std::optional<int>
/// (nullopt: no answer came), found by argument-dependent lookup.
template <class R>
concept http_like = requires(const R& r) {
    { http_status_of(r) } -> status_number;
};
/// A value for which the free function `retry_after_of(v)`, found by argument-dependent lookup, gives the
/// server's hint.
template <class R>
concept hint_like = requires(const R& r) {
    { retry_after_of(r) } -> std::convertible_to<std::optional<duration>>;
};
/// A value for which the free function `forbids_retry(v)`, found by argument-dependent lookup, tells whether
/// the other side asks for no other attempt. It must be noexcept.
template <class R>
concept says_if_retry_is_forbidden = requires(const R& r) {
    { forbids_retry(r) } noexcept -> truth;
};
/// A value for which the free function `idempotency_of(v)`, found by argument-dependent lookup, gives a
/// std::optional<idempotency> of the operation that returned it. It must be noexcept.
template <class R>
concept says_if_idempotent = requires(const R& r) {
    { idempotency_of(r) } noexcept -> std::convertible_to<std::optional<idempotency>>;
};

/// The status of a value; empty if no answer came, for which some clients have 0 or less.
template <class R>
constexpr std::optional<int> status_in(const R& r) {
    const std::optional<int> status = http_status_of(r);
    return status && *status > 0 ? status : std::nullopt;
}
/// True if a value with that status is a failing value.
template <class R>
constexpr bool fails_by_status(std::optional<int> status, const R& r) {
    if (!status || *status >= 500) return true;
    std::optional<duration> hint;
    if constexpr (hint_like<R>) {
        if (*status == 403 || *status == 409 || *status == 413) hint = retry_after_of(r);
    }
    return is_retried_status(status, hint);
}

template <class E>
std::error_code code_in(const E& e) noexcept {
    if constexpr (std::is_convertible_v<const E&, std::error_code>) return e;
    else if constexpr (requires {
                           { e.code() } -> std::convertible_to<std::error_code>;
                       })
        return e.code();
    else return {};
}
/// The text of a failing value that has none.
std::string unknown_failing_value(const std::type_info& type);
/// The result of `text`; if it throws, a text that says so.
std::string text_or_type(function_ref<std::string()> text, const std::type_info& type);

template <class E>
concept has_text = std::is_convertible_v<const E&, std::string_view> || requires(const E& e) {
    { e.what() } -> std::convertible_to<std::string>;
} || requires(const E& e) {
    { e.message() } -> std::convertible_to<std::string>;
};
/// True for a result whose error has a text of its own.
template <class R>
inline constexpr bool error_has_text = false;
template <expected_like R>
inline constexpr bool error_has_text<R> = has_text<typename error_of<R>::type>;
template <class E>
std::string text_in(const E& e) {
    if constexpr (std::is_convertible_v<const E&, std::string_view>) return std::string(std::string_view(e));
    else if constexpr (requires {
                           { e.what() } -> std::convertible_to<std::string>;
                       })
        return e.what();
    else if constexpr (requires {
                           { e.message() } -> std::convertible_to<std::string>;
                       })
        return e.message();
    else if (const auto code = code_in(e)) return code.message();
    else return unknown_failing_value(typeid(E));
}

} // namespace detail

#if RESILIENCE_BODIES
namespace detail {

RESILIENCE_COLD RESILIENCE_FUNCTION std::string unknown_failing_value(const std::type_info& type) {
    return "failing value of type " + type_name(type);
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string text_or_type(function_ref<std::string()> text,
                                                             const std::type_info& type) {
    std::string found;
    if (!returned([&] { found = text(); })) found = unknown_failing_value(type) + ", whose text threw";
    return found;
}

} // namespace detail
#endif

}} // namespace resilience::RESILIENCE_ABI
