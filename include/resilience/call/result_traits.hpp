// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>
#include <resilience/call/sent.hpp>
#include <resilience/call/verdict.hpp>
#include <resilience/detail/function_ref.hpp>
#include <resilience/detail/returned.hpp>

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Set this to true for a type whose `bool ok() const` tells success from failure:
/// `template <> inline constexpr bool resilience::enable_status_like<my_status> = true;`
template <class R>
inline constexpr bool enable_status_like = false;

namespace detail {

template <class R>
concept expected_like = requires(const R& r) {
    { r.has_value() } -> std::convertible_to<bool>;
    r.error();
};
template <class R>
concept status_like = enable_status_like<R> && requires(const R& r) {
    { r.ok() } -> std::convertible_to<bool>;
};
/// A value for which the free function `http_status_of(v)` answers an int or std::optional<int>
/// (nullopt: no answer came), found by argument-dependent lookup.
template <class R>
concept http_like = requires(const R& r) {
    { http_status_of(r) } -> std::convertible_to<std::optional<int>>;
};
/// A value for which the free function `retry_after_of(v)`, found by argument-dependent lookup, gives the
/// server's hint.
template <class R>
concept hint_like = requires(const R& r) {
    { retry_after_of(r) } -> std::convertible_to<std::optional<duration>>;
};
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

/// Tells the library what a returned value means. Specialise it for a type of yours with the members shown
/// here, or use a way that needs less: has_value()/error(), enable_status_like, http_status_of. With any of
/// these, retry_after_of and was_not_sent tell retries more about a failing value, and was_stale tells every policy.
template <class R>
struct result_traits {
    /// True if a value of the type can stand for a failure. If false, the library never calls judge().
    static constexpr bool is_ours = true;
    static constexpr bool can_fail = detail::expected_like<R> || detail::status_like<R> ||
                                     detail::http_like<R> || detail::says_if_stale<R> ||
                                     std::same_as<R, std::error_code> || std::same_as<R, std::errc>;

    /// The verdict on a value. A value judged `failure` is a failing value, any other is an accepted one.
    static verdict judge(const R& r) {
        const auto when = [](bool good) { return good ? verdict::success : verdict::failure; };
        if constexpr (detail::says_if_stale<R>) {
            if (was_stale(r)) return verdict::failure;
        }
        if constexpr (detail::http_like<R>) return http_verdict(http_status_of(r));
        else if constexpr (detail::expected_like<R>) return when(r.has_value());
        else if constexpr (detail::status_like<R>) return when(r.ok());
        else if constexpr (std::same_as<R, std::error_code>) return when(!r);
        else if constexpr (std::same_as<R, std::errc>) return when(r == std::errc{});
        else return verdict::success;
    }
    static std::error_code code(const R& r) noexcept {
        if constexpr (detail::http_like<R>) return {};
        else if constexpr (detail::expected_like<R>)
            return r.has_value() ? std::error_code{} : detail::code_in(r.error());
        else if constexpr (std::same_as<R, std::errc>) return std::make_error_code(r);
        else return detail::code_in(r);
    }
    static std::string message(const R& r) {
        if constexpr (detail::http_like<R>) {
            const std::optional<int> status = http_status_of(r);
            return status ? "HTTP " + std::to_string(*status) : "no HTTP answer";
        } else if constexpr (detail::expected_like<R>) {
            return r.has_value() ? "no failure" : detail::text_in(r.error());
        } else if constexpr (std::same_as<R, std::errc>) {
            return std::make_error_code(r).message();
        } else {
            return detail::text_in(r);
        }
    }
};

namespace detail {

/// True if a call that returns R gives an object to look at, itself or by reference.
template <class R>
inline constexpr bool shows_object =
    std::is_object_v<std::remove_reference_t<R>> && !std::is_volatile_v<std::remove_reference_t<R>> &&
    !std::is_unbounded_array_v<std::remove_reference_t<R>>;
/// True if a result of type R can stand for a failure. A reference is judged by the object that it refers to.
template <class R>
inline constexpr bool can_be_failing = false;
template <class R>
    requires shows_object<R>
inline constexpr bool can_be_failing<R> = result_traits<std::remove_cvref_t<R>>::can_fail;

/// A type whose failing values hold a whole failure that describes them, as an outcome does. `failure_in(r)`
/// gives that failure, null for an accepted value. `failing(why)` makes a value of a rejection.
template <class R>
concept holds_failure = std::is_object_v<R> && requires(const R& r, const failure& why) {
    { result_traits<R>::failure_in(r) } -> std::same_as<const failure*>;
    { result_traits<R>::failing(why) } -> std::same_as<R>;
};

template <class R>
struct error_of {};
template <expected_like R>
struct error_of<R> {
    using type = std::remove_cvref_t<decltype(std::declval<const R&>().error())>;
};

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

template <class R>
failure describe(const R& r);

/// True if message() is the text of code(), in which case the code is enough to keep a failing value.
template <class R>
constexpr bool text_is_of_code() noexcept {
    if constexpr (!requires { result_traits<R>::is_ours; } || http_like<R> || says_if_stale<R>) return false;
    else if constexpr (expected_like<R>) return std::same_as<typename error_of<R>::type, std::error_code>;
    else return std::same_as<R, std::error_code> || std::same_as<R, std::errc>;
}

template <class R>
constexpr auto inner_op() noexcept -> const failure* (*)(const void*) noexcept {
    if constexpr (holds_failure<R>) {
        return [](const void* value) noexcept -> const failure* {
            return result_traits<R>::failure_in(*static_cast<const R*>(value));
        };
    } else {
        return nullptr;
    }
}

/// The text of a failing value. The user's function may throw; that must end neither the call nor the
/// program.
template <class R>
std::string message_of(const R& r) {
    return text_or_type([&] { return result_traits<R>::message(r); }, typeid(R));
}

template <class R>
inline constexpr failure::value_ops ops_of{
    &typeid(R),
    [](const void* value) { return message_of(*static_cast<const R*>(value)); },
    [](const void* value) { return describe(*static_cast<const R*>(value)); },
    not_sent_op<R>(),
    inner_op<R>(),
    text_is_of_code<R>(),
    stale_op<R>()};

template <class R>
duration hint_of(const R& r) {
    if constexpr (hint_like<R>) {
        const std::optional<duration> hint = retry_after_of(r);
        return hint && *hint >= duration{0} ? *hint : duration{-1};
    } else {
        return duration{-1};
    }
}
template <class R>
int status_of(const R& r) {
    if constexpr (http_like<R>) return std::optional<int>(http_status_of(r)).value_or(0);
    else return 0;
}

template <class R>
failure describe(const R& r) {
    return failure(std::addressof(r), ops_of<R>, result_traits<R>::code(r), status_of(r), hint_of(r));
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
