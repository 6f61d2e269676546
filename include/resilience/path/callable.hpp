// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/result_traits.hpp>
#include <resilience/call/task_traits.hpp>

#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A type like std::future: its value comes later and must be waited for.
template <class T>
concept future_like = requires(T& t) {
    t.valid();
    t.wait();
    t.get();
};

template <class F, class... A>
concept called_directly = requires(F& f, A&... a) { f(a...); };
template <class F, class... A>
concept plain_callable = called_directly<F, A...> ||
                         (std::is_member_pointer_v<std::remove_cvref_t<F>> && std::is_invocable_v<F&, A&...>);
template <class F, class... A>
concept context_callable = !plain_callable<F, A...> && plain_callable<F, call_context, A...>;
template <class F, class... A>
concept callable_as_lvalue = plain_callable<F, A...> || context_callable<F, A...>;

template <class F, class... A>
auto plain_result(F& f, A&... a) {
    if constexpr (called_directly<F, A...>) return std::type_identity<decltype(f(a...))>{};
    else return std::type_identity<std::invoke_result_t<F&, A&...>>{};
}
template <class F, class... A>
auto result_type() {
    static_assert(
        callable_as_lvalue<F, A...>,
        "resilience: the callable cannot be called with these arguments as lvalues, with or without a "
        "call_context& first. Every attempt gets the same arguments, so none can be consumed: take them by "
        "const reference, or capture them.");
    if constexpr (plain_callable<F, A...>)
        return decltype(plain_result(std::declval<F&>(), std::declval<A&>()...)){};
    else if constexpr (context_callable<F, A...>)
        return decltype(plain_result(std::declval<F&>(), std::declval<call_context&>(),
                                     std::declval<A&>()...)){};
    else return std::type_identity<void>{};
}
/// True if the result_traits of a callable's result, or of its task's, have all members. A variable, since
/// compilers explain at length why a concept is not satisfied.
template <class R>
inline constexpr bool has_whole_traits = !shows_object<R> || has_result_traits<std::remove_cvref_t<R>>;
template <task R>
inline constexpr bool has_whole_traits<R> = has_whole_traits<typename task_traits<R>::value_type>;
template <class R>
consteval bool
require_whole_traits() { // not in the class: clang would then find no function to call, and say so too
    static_assert(
        has_whole_traits<R>,
        "resilience: a specialisation of result_traits<R> needs `static constexpr bool can_fail` and the "
        "static functions `verdict judge(const R&)`, `std::error_code code(const R&)` and `std::string "
        "message(const R&)`; derive it from resilience::default_result_traits<R> to write only some");
    return true;
}
template <class R>
struct checked_result {
    static_assert(task<R> || !std::is_object_v<R> || !future_like<R>,
                  "resilience: a callable that returns a std::future cannot be retried or timed: its failure "
                  "comes after "
                  "the call. Call get() inside the callable, or return a coroutine task.");
    static_assert(
        !std::is_rvalue_reference_v<R>,
        "resilience: a callable that returns an rvalue reference would leave it dangling; return by value.");
    static_assert(require_whole_traits<R>());
    using type = std::conditional_t<std::is_reference_v<R>, R, std::remove_cv_t<R>>;
};
template <class F, class... A>
using call_result = typename checked_result<typename decltype(result_type<F, A...>())::type>::type;

/// A callable with its arguments.
template <class F, class... A>
struct bound_call {
    F& f;
    std::tuple<A&...> args;
};

/// A callable that is an object, so that a void* can point to it.
template <class F>
concept is_object_call = std::is_class_v<F>;

}}} // namespace resilience::RESILIENCE_ABI::detail
