// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/customisation_check.hpp>
#include <resilience/call/result_traits.hpp>
#include <resilience/call/task_traits.hpp>

#include <concepts>
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

/// True for a callable whose operator() would refuse the call by a static_assert.
template <class F, class... A>
inline constexpr bool is_refused_callable = false;
template <class F, class... A>
concept called_directly =
    !is_refused_callable<std::remove_reference_t<F>, A...> && requires(F& f, A&... a) { f(a...); };
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
    if constexpr (plain_callable<F, A...>)
        return decltype(plain_result(std::declval<F&>(), std::declval<A&>()...)){};
    else if constexpr (context_callable<F, A...>)
        return decltype(plain_result(std::declval<F&>(), std::declval<call_context&>(),
                                     std::declval<A&>()...)){};
    else return std::type_identity<void>{};
}
/// The type that judges a callable's result, or its task's; void for none.
template <class R>
struct judge_of {
    using type = std::conditional_t<shows_object<R>, std::remove_cvref_t<R>, void>;
};
template <task R>
struct judge_of<R> : judge_of<typename task_traits<R>::value_type> {};
// Variables, since compilers explain at length why a concept is not satisfied.
template <class J>
inline constexpr bool has_whole_traits = std::is_void_v<J> || has_result_traits<J>;
template <class J>
inline constexpr bool is_judged = has_whole_traits<J> && std::is_same_v<decltype(first_misfit<J>()), all_fit>;

/// Stands for the result of what a static_assert has refused. Every use of it compiles, so that the message is the
/// only one.
struct refused_call {
    template <class T>
    operator T() const; // none of these is ever defined
    template <class... T>
    refused_call operator()(T&&...) const;
    template <class T>
    refused_call operator|(const T&) const;
};
template <class R>
constexpr bool is_refused = std::is_same_v<R, refused_call>;
/// Stands for what such a call would return. Never defined.
template <class R>
R result_of_refused_call();

// Values, not concepts: a compiler explains at length why a concept does not hold.
template <class F, class... A>
constexpr bool is_callable_again = callable_as_lvalue<F, A...>;
template <class R>
constexpr bool comes_later = false;
template <class R>
    requires(std::is_object_v<R> && !task<R>)
constexpr bool comes_later<R> = future_like<R>;
template <class R>
constexpr bool is_returnable = std::is_void_v<R> || std::is_reference_v<R> || std::is_move_constructible_v<R>;

template <class F, class... A>
struct attempt_result_type {
    using R = typename decltype(result_type<F, A...>())::type;
    /// A call that is refused for another reason has its type, so that what is done with its result compiles.
    static constexpr bool is_known = is_callable_again<F, A...> && !std::is_rvalue_reference_v<R>;
    static constexpr bool is_good = is_known && !comes_later<R> && is_judged<typename judge_of<R>::type>;
    using type = std::conditional_t<!is_known, refused_call,
                                    std::conditional_t<std::is_reference_v<R>, R, std::remove_cv_t<R>>>;
};
template <class F, class... A>
constexpr bool has_good_types = attempt_result_type<F, A...>::is_good;
/// The result of the callable, without a complaint: call forms call check_types(), which complains.
template <class F, class... A>
using attempt_type = typename attempt_result_type<F, A...>::type;
/// The return type of a call that throws its failures.
template <class F, class... A>
using call_result =
    std::conditional_t<is_returnable<attempt_type<F, A...>>, attempt_type<F, A...>, refused_call>;

/// Apart from check_types(), so that all calls with that result give one message. It shows the misfit.
template <class J, class Misfit = decltype(first_misfit<J>())>
consteval void check_judge() {
    static_assert(
        has_whole_traits<J>,
        "resilience: a specialisation of result_traits<R> needs `static constexpr bool can_fail` and the "
        "static functions `verdict judge(const R&)`, `std::error_code code(const R&)` and `std::string "
        "message(const R&)`; derive it from resilience::default_result_traits<R> to write only some");
    static_assert(fits<Misfit, customisation::http_status_of>,
                  "resilience: http_status_of(const R&) must give an int or a std::optional<int>");
    static_assert(fits<Misfit, customisation::retry_after_of>,
                  "resilience: retry_after_of(const R&) must give a resilience::duration, another "
                  "std::chrono::duration that becomes one without loss, or a std::optional of it; a bare "
                  "number has no unit");
    static_assert(fits<Misfit, customisation::forbids_retry>,
                  "resilience: forbids_retry(const R&) must be noexcept and give a bool");
    static_assert(fits<Misfit, customisation::idempotency_of>,
                  "resilience: idempotency_of(const R&) must be noexcept and give a resilience::idempotency, "
                  "or a std::optional of it");
    static_assert(fits<Misfit, customisation::was_not_sent>,
                  "resilience: was_not_sent(const R&) must be noexcept and give a bool");
    static_assert(fits<Misfit, customisation::was_stale>,
                  "resilience: was_stale(const R&) must be noexcept and give a bool");
    static_assert(fits<Misfit, customisation::enable_status_like>,
                  "resilience: a type with enable_status_like needs a function `bool ok() const`");
}

/// How a call gives its result.
enum class call_form { returns, tries };

/// The place where the types of a call are checked, called by the call form itself: messages are short there.
template <call_form Form, class F, class... A>
consteval void check_types() {
    using R = typename attempt_result_type<F, A...>::R;
    static_assert(
        is_callable_again<F, A...>,
        "resilience: the callable cannot be called with these arguments as lvalues, with or without a "
        "call_context& first. Every attempt gets the same arguments, so none can be consumed: take them by "
        "const reference, or capture them.");
    static_assert(
        !comes_later<R>,
        "resilience: a callable that returns a std::future cannot be retried or timed: its failure comes "
        "after the call. Call get() inside the callable, or return a coroutine task.");
    static_assert(
        !std::is_rvalue_reference_v<R>,
        "resilience: a callable that returns an rvalue reference would leave it dangling; return by value.");
    check_judge<typename judge_of<R>::type>();
    static_assert(Form == call_form::tries || is_returnable<R>,
                  "resilience: a result that cannot move is available through try_call only");
}

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

namespace resilience { inline namespace RESILIENCE_ABI {
template <class P>
class composable;

namespace detail {

/// A | between these is ours. One side is a policy or pipeline of the library, so that no other operator| is affected.
template <class A, class B>
concept beside_a_policy =
    (std::derived_from<A, composable<A>> || std::derived_from<B, composable<B>>) && !is_refused<A>;

} // namespace detail

// clang-format off: compilers show the line with its remark
/// Refuses all that the operator| of pipeline.hpp, which asks more of its operands, does not take.
template <class A, class B>
    requires detail::beside_a_policy<A, B>
detail::refused_call operator|(const A&, const B&) RESILIENCE_REFUSED("resilience: both sides of this | must be policies, as in retry() | timeout(2s); <resilience/pipeline.hpp> has the | for them");
// clang-format on

}} // namespace resilience::RESILIENCE_ABI
