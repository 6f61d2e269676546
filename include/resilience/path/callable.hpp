// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/path/owned_call.hpp>

#include <functional>
#include <future>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <class T>
inline constexpr bool is_future = false;
template <class T>
inline constexpr bool is_future<std::future<T>> = true;
template <class T>
inline constexpr bool is_future<std::shared_future<T>> = true;

template <class F, class... A>
concept plain_callable = std::is_invocable_v<F&, A&...>;
template <class F, class... A>
concept context_callable = !plain_callable<F, A...> && std::is_invocable_v<F&, call_context&, A&...>;
template <class F, class... A>
concept callable_as_lvalue = plain_callable<F, A...> || context_callable<F, A...>;

template <class F, class... A>
auto result_type() {
    static_assert(
        callable_as_lvalue<F, A...>,
        "resilience: the callable cannot be called with these arguments as lvalues, with or without a "
        "call_context& first. Every attempt gets the same arguments, so none can be consumed: take them by "
        "const reference, or capture them.");
    if constexpr (plain_callable<F, A...>) return std::type_identity<std::invoke_result_t<F&, A&...>>{};
    else if constexpr (context_callable<F, A...>)
        return std::type_identity<std::invoke_result_t<F&, call_context&, A&...>>{};
    else return std::type_identity<void>{};
}
template <class R>
struct checked_result {
    static_assert(!is_future<R>,
                  "resilience: a callable that returns a std::future cannot be retried or timed: its failure "
                  "comes after "
                  "the call. Call get() inside the callable, or return a coroutine task.");
    static_assert(
        !std::is_rvalue_reference_v<R>,
        "resilience: a callable that returns an rvalue reference would leave it dangling; return by value.");
    using type = std::conditional_t<std::is_reference_v<R>, R, std::remove_cv_t<R>>;
};
template <class F, class... A>
using call_result = typename checked_result<typename decltype(result_type<F, A...>())::type>::type;

/// A callable with its arguments, called as lvalues on every attempt. The types are as a forwarding
/// reference deduces them: they tell what was passed as an rvalue, for those that keep the call.
template <class F, class... A>
struct bound_call {
    template <bool Once>
    using owned = owned_call<Once, F, A...>;
    using repeatable = bound_call<std::remove_reference_t<F>&, std::remove_reference_t<A>&...>;
    static constexpr bool takes_context = context_callable<F, A...>;
    using result = call_result<F, A...>;

    F& f;
    std::tuple<A&...> args;

    RESILIENCE_INLINE result operator()() const
        requires(!takes_context)
    {
        return std::apply([&](A&... a) -> result { return static_cast<result>(std::invoke(f, a...)); }, args);
    }
    RESILIENCE_INLINE result operator()(call_context& ctx) const {
        return std::apply(
            [&](A&... a) -> result {
                if constexpr (takes_context) return static_cast<result>(std::invoke(f, ctx, a...));
                else return static_cast<result>(std::invoke(f, a...));
            },
            args);
    }
};

}}} // namespace resilience::RESILIENCE_ABI::detail
