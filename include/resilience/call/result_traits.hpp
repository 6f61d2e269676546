// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>
#include <resilience/call/sent.hpp>
#include <resilience/call/value_concepts.hpp>
#include <resilience/call/verdict.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The rules for the types that the library knows: base of specialisations that change some of the members
/// of result_traits only.
template <class R>
struct default_result_traits {
    /// True if a value of the type can stand for a failure. If false, the library never calls judge().
    static constexpr bool can_fail = detail::expected_like<R> || detail::status_like<R> ||
                                     detail::http_like<R> || detail::says_if_stale<R> ||
                                     std::same_as<R, std::error_code> || std::same_as<R, std::errc>;

    /// The verdict on a value. A value judged `failure` is a failing value, any other is an accepted one.
    static verdict judge(const R& r) {
        const auto when = [](bool good) { return good ? verdict::success : verdict::failure; };
        if constexpr (detail::says_if_stale<R>) {
            using detail::was_stale; // of a result whose error tells
            if (was_stale(r)) return verdict::failure;
        }
        if constexpr (detail::http_like<R>) return when(!detail::fails_by_status(detail::status_in(r), r));
        else if constexpr (detail::expected_like<R>) return when(r.has_value());
        else if constexpr (detail::status_like<R>) return when(r.ok());
        else if constexpr (std::same_as<R, std::error_code>) return when(!r);
        else if constexpr (std::same_as<R, std::errc>) return when(r == std::errc{});
        else return verdict::success;
    }
    /// The code of a failing value; empty if it has none.
    static std::error_code code(const R& r) noexcept {
        if constexpr (detail::expected_like<R>)
            return r.has_value() ? std::error_code{} : detail::code_in(r.error());
        else if constexpr (detail::http_like<R>) return {};
        else if constexpr (std::same_as<R, std::errc>) return std::make_error_code(r);
        else return detail::code_in(r);
    }
    /// The text of a failing value, for people.
    static std::string message(const R& r) {
        if constexpr (detail::expected_like<R> && (!detail::http_like<R> || detail::error_has_text<R>)) {
            return r.has_value() ? "no failure" : detail::text_in(r.error());
        } else if constexpr (detail::http_like<R>) {
            const std::optional<int> status = detail::status_in(r);
            return status ? "HTTP " + std::to_string(*status) : "no HTTP answer";
        } else if constexpr (std::same_as<R, std::errc>) {
            return std::make_error_code(r).message();
        } else {
            return detail::text_in(r);
        }
    }
};

/// Tells the library what a returned value means. Specialise it for a type of yours with all members of
/// default_result_traits, or derive from that and change some; or use a way that needs less:
/// has_value()/error(), enable_status_like, http_status_of. With any of these, retry_after_of, forbids_retry,
/// was_not_sent and idempotency_of tell retries more about a failing value, and was_stale tells every policy.
template <class R>
struct result_traits : default_result_traits<R> {
    static constexpr bool is_ours = true;
};

namespace detail {

/// True if a call that returns R gives an object to look at, itself or by reference.
template <class R>
inline constexpr bool shows_object =
    std::is_object_v<std::remove_reference_t<R>> && !std::is_volatile_v<std::remove_reference_t<R>> &&
    !std::is_unbounded_array_v<std::remove_reference_t<R>>;
template <class R>
concept has_result_traits = requires(const R& r) {
    requires truth<decltype(result_traits<R>::can_fail)>;
    typename std::bool_constant<static_cast<bool>(result_traits<R>::can_fail)>;
    { result_traits<R>::judge(r) } -> std::same_as<verdict>;
    { result_traits<R>::code(r) } -> std::convertible_to<std::error_code>;
    { result_traits<R>::message(r) } -> std::convertible_to<std::string>;
};
/// True if a specialisation derives from default_result_traits and has a `judge` of its own: then can_fail, which it
/// may have from there, says nothing.
template <class R>
inline constexpr bool changes_judge = false;
template <class R>
    requires(std::derived_from<result_traits<R>, default_result_traits<R>> &&
             !requires { result_traits<R>::is_ours; })
inline constexpr bool changes_judge<R> = [] {
    using judge_of = verdict (*)(const R&);
    if constexpr (!requires(judge_of own) { own = &result_traits<R>::judge; }) return true;
    else return judge_of(&result_traits<R>::judge) != judge_of(&default_result_traits<R>::judge);
}();
template <class R>
consteval bool can_fail() {
    if constexpr (!has_result_traits<R>) return false; // the call refuses to compile: see checked_result
    else return result_traits<R>::can_fail || says_if_stale<R> || changes_judge<R>;
}
/// True if a result of type R can stand for a failure. A reference is judged by the object that it refers to.
template <class R>
inline constexpr bool can_be_failing = false;
template <class R>
    requires shows_object<R>
inline constexpr bool can_be_failing<R> = can_fail<std::remove_cvref_t<R>>();

/// A type whose failing values hold a whole failure that describes them, as an outcome does. `failure_in(r)`
/// gives that failure, null for an accepted value. `failing(why)` makes a value of a rejection.
template <class R>
concept holds_failure = std::is_object_v<R> && requires(const R& r, const failure& why) {
    { result_traits<R>::failure_in(r) } -> std::same_as<const failure*>;
    { result_traits<R>::failing(why) } -> std::same_as<R>;
};

/// True if a specialisation of result_traits has a `judge` of its own.
template <class R>
inline constexpr bool has_own_judge = !holds_failure<R>;
template <class R>
    requires(!holds_failure<R> &&
             requires {
                 { &result_traits<R>::judge } -> std::same_as<verdict (*)(const R&)>;
             })
inline constexpr bool has_own_judge<R> =
    // NOLINTNEXTLINE(misc-redundant-expression): for types without a specialisation both are one function
    &result_traits<R>::judge != &default_result_traits<R>::judge;

/// The meaning of a returned value, as far as its type tells.
enum class standing : std::uint8_t {
    success,
    refused, ///< an answer of a server that works, and a failure to predicates: HTTP 4xx
    ignored,
    failure,
};
constexpr standing standing_of(verdict v) noexcept {
    if (v == verdict::success) return standing::success;
    return v == verdict::failure ? standing::failure : standing::ignored;
}
constexpr verdict verdict_of(standing s) noexcept {
    if (s == standing::failure) return verdict::failure;
    return s == standing::ignored ? verdict::ignored : verdict::success;
}
template <class R>
RESILIENCE_INLINE standing standing_of_value(const R& r) {
    if constexpr (holds_failure<R>) {
        return result_traits<R>::standing_of(r);
    } else if constexpr (http_like<R> && !has_own_judge<R>) {
        if constexpr (says_if_stale<R>) {
            if (was_stale(r)) return standing::failure;
        }
        const std::optional<int> status = status_in(r);
        if (status && *status < 400) [[likely]]
            return standing::success;
        return fails_by_status(status, r) ? standing::failure : standing::refused;
    } else {
        if constexpr (says_if_stale<R>) {
            if (was_stale(r)) return standing::failure;
        }
        return standing_of(result_traits<R>::judge(r));
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
constexpr auto forbids_retry_op() noexcept -> bool (*)(const void*) noexcept {
    if constexpr (says_if_retry_is_forbidden<R>) {
        return
            [](const void* value) noexcept -> bool { return forbids_retry(*static_cast<const R*>(value)); };
    } else {
        return nullptr;
    }
}
template <class R>
constexpr auto idempotency_op() noexcept -> std::optional<idempotency> (*)(const void*) noexcept {
    if constexpr (says_if_idempotent<R>) {
        return [](const void* value) noexcept -> std::optional<idempotency> {
            return idempotency_of(*static_cast<const R*>(value));
        };
    } else {
        return nullptr;
    }
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
    if constexpr (!has_result_traits<R>) return {};
    else return text_or_type([&] { return result_traits<R>::message(r); }, typeid(R));
}

template <class R>
inline constexpr value_ops ops_of{
    .type = &typeid(R),
    .message = [](const void* v) { return message_of(*static_cast<const R*>(v)); },
    .describe = [](const void* v) { return describe(*static_cast<const R*>(v)); },
    .not_sent = not_sent_op<R>(),
    .inner = inner_op<R>(),
    .text_is_of_code = text_is_of_code<R>(),
    .stale = stale_op<R>(),
    .forbids_retry = forbids_retry_op<R>(),
    .idempotency_of = idempotency_op<R>(),
    .has_own_judge = has_own_judge<R>,
    .says_more = holds_failure<R> || error_is_exception<R> || has_own_judge<R> || http_like<R> ||
                 hint_like<R> || says_if_sent<R> || says_if_stale<R> || says_if_retry_is_forbidden<R> ||
                 says_if_idempotent<R>};

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
    if constexpr (http_like<R>) return status_in(r).value_or(0);
    else return 0;
}

template <class R>
failure describe(const R& r) {
    if constexpr (!has_result_traits<R>) {
        return {}; // can_fail() has said what is missing
    } else {
        failure why(std::addressof(r), ops_of<R>, result_traits<R>::code(r), status_of(r), hint_of(r));
        if constexpr (error_is_exception<R> && !has_own_judge<R>) {
            if (!r.has_value() && r.error() != nullptr) why.hold(r.error());
        }
        return why;
    }
}

} // namespace detail

}} // namespace resilience::RESILIENCE_ABI
