// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/owned_call.hpp>
#include <resilience/driver.hpp>

#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience::inline RESILIENCE_ABI {
namespace detail {

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
    static_assert(callable_as_lvalue<F, A...>,
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
                  "resilience: a callable that returns a std::future cannot be retried or timed: its failure comes after "
                  "the call. Call get() inside the callable, or return a coroutine task.");
    static_assert(!std::is_rvalue_reference_v<R>,
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

/// What a view adds to a call.
struct call_request {
    std::string_view operation{};
    const call_options* options = nullptr;
    const call_context* parent = nullptr;
};

/// Where a call happens: the registry of its policies; the global one if none of them has one.
template <class... P>
RESILIENCE_INLINE const environment& environment_around(const P&... policies) {
    const environment* env = nullptr;
    ((env = env != nullptr ? env : environment_of(policies)), ...);
    return env != nullptr ? *env : *registry::global().env();
}

RESILIENCE_INLINE void prepare(call_context& ctx, const call_request& request) {
    ctx.set_operation(request.operation);
    const thread_calls& around = this_threads_calls;
    ctx.set_retry_depth(around.retry_depth);
    if (request.parent != nullptr) [[unlikely]] ctx.inherit(*request.parent);
    if (around.current != nullptr) [[unlikely]] ctx.inherit(*around.current);
    if (request.options != nullptr) ctx.apply(*request.options);
}

template <class P, class R>
void replace_outcome([[maybe_unused]] const P& policy, [[maybe_unused]] outcome<R>& out, [[maybe_unused]] call_context& ctx) {
    if constexpr (requires { policy.replace(out, ctx); }) policy.replace(out, ctx);
}

template <class R, class Call, class... P>
__attribute__((noinline)) void run_long(outcome<R>& out, Call& call, const call_request& request, const P&... policies) {
    const environment& env = environment_around(policies...);
    call_context ctx(env.clock(), &env);
    prepare(ctx, request);
    call_leaf<R, Call> leaf{call};
    typed_attempt<R, call_leaf<R, Call>> whole(out, leaf);
    if (over_before_it_began(whole, ctx)) {
        (replace_outcome(policies, out, ctx), ...); // a fallback is for this failure too
        return;
    }
    run_nested<0>(out, ctx, leaf, std::tuple<const P&...>(policies...));
}

/// The first attempt has run the quick way and left a failure, a value of doubful health, or a late one.
template <class R, class Call, class... P>
__attribute__((noinline)) void run_rest(outcome<R>& out, Call& call, call_context& ctx, tickets_of<P...> tickets,
                              const P&... policies) {
    call_leaf<R, Call> leaf{call};
    typed_attempt<R, call_leaf<R, Call>> attempt(out, leaf);
    run_on(attempt, ctx, tickets, policies...);
}
template <class R, class Call, class... P>
__attribute__((noinline)) void run_rest(outcome<R>& out, Call& call, const call_request& request,
                              tickets_of<P...> tickets, const P&... policies) {
    const environment& env = environment_around(policies...);
    call_context ctx(env.clock(), &env);
    prepare(ctx, request);
    run_rest(out, call, ctx, tickets, policies...);
}

template <class R>
bool healthy(const outcome<R>& out) {
    if constexpr (std::is_void_v<R> || std::is_reference_v<R>) return out.has_value();
    else if constexpr (!result_traits<R>::can_fail) return out.has_value();
    else return out.has_value() && out.result().judged() == verdict::success;
}

/// A policy that repeats at once, if it is the only one, needs no per-call object for that either. True if
/// a later attempt succeeded; otherwise `out` and the ticket are as after the first.
template <class R, class Call, class P>
__attribute__((noinline)) bool repeat_at_once(outcome<R>& out, Call& call, const P& policy, typename P::ticket& t) {
    while (out.has_failure() && policy.again(t, out.error())) {
        out.clear();
#if RESILIENCE_EXCEPTIONS
        try {
            out.capture([&]() -> R { return call(); });
        } catch (...) { // only a forced unwind comes through
            policy.abandon(t);
            throw;
        }
#else
        out.capture([&]() -> R { return call(); });
#endif
        if (healthy(out)) {
            policy.succeed_again(t);
            return true;
        }
    }
    return false;
}
template <class P>
concept repeating = requires(const P& p, typename P::ticket& t, const failure& why) { p.again(t, why); };

template <class P>
RESILIENCE_INLINE typename P::ticket begin_quickly(const P& policy, [[maybe_unused]] call_context* ctx) noexcept {
    if constexpr (narrowing<P>) return policy.try_begin(*ctx);
    else return policy.try_begin();
}
/// The attempt has not run, since another policy's ticket is false.
template <class P>
RESILIENCE_INLINE void forget(const P& policy, const typename P::ticket& t) noexcept {
    if constexpr (requires { policy.forget(t); }) policy.forget(t);
    else policy.abandon(t);
}
template <class P>
RESILIENCE_INLINE bool in_time(const P& policy, const typename P::ticket& t) noexcept {
    if constexpr (narrowing<P>) return policy.in_time(t);
    else return true;
}

/// The quick way: a first attempt that succeeds passes policies that are all at ease, leaving nothing
/// but counts. False if the long way must be taken, from the start. `where` is the context of the call
/// if it has one, else what is needed to make one.
template <class R, class Call, class Where, class... P>
RESILIENCE_INLINE bool run_quick(outcome<R>& out, Call& call, Where& where, const P&... policies) {
    constexpr bool has_context = std::is_same_v<Where, call_context>;
    call_context* ctx = nullptr;
    if constexpr (has_context) ctx = &where;
    const tickets_of<P...> tickets{{begin_quickly(policies, ctx)}...};
    return [&]<std::size_t... I>(std::index_sequence<I...>) RESILIENCE_INLINE_LAMBDA {
        if (!(static_cast<bool>(ticket<I>(tickets)) && ...)) [[unlikely]] {
            ((ticket<I>(tickets) ? forget(policies, ticket<I>(tickets)) : void()), ...);
            return false;
        }
        const auto attempt = [&]() RESILIENCE_INLINE_LAMBDA {
            if constexpr (has_context) {
                ctx->set_retry_depth(this_threads_calls.retry_depth); // the retries among us included
                const enclosing_call here(*ctx);
                out.capture([&]() -> R { return call(*ctx); });
            } else {
                out.capture([&]() -> R { return call(); });
            }
        };
#if RESILIENCE_EXCEPTIONS
        try {
            attempt();
        } catch (...) { // only a forced unwind comes through
            (policies.abandon(ticket<I>(tickets)), ...);
            throw;
        }
#else
        attempt();
#endif
        if (healthy(out) && (in_time(policies, ticket<I>(tickets)) && ...)) [[likely]] {
            (policies.succeed(ticket<I>(tickets)), ...);
        } else {
            if constexpr (sizeof...(P) == 1 && (repeating<P> && ...) && !has_context) {
                auto more = tickets;
                if ((repeat_at_once(out, call, policies, static_cast<kept_call<I, typename P::ticket>&>(more).call) && ...)) return true;
                run_rest(out, call, where, more, policies...);
            } else {
                run_rest(out, call, where, tickets, policies...);
            }
        }
        return true;
    }(std::index_sequence_for<P...>{});
}

/// Whether no enclosing call on this thread limits this one: then nothing can be over before it begins.
RESILIENCE_INLINE bool is_unlimited_around() noexcept {
    const call_context* around = this_threads_calls.current;
    return around == nullptr || !around->is_limited();
}

template <class R, class First>
__attribute__((noinline)) bool reject_quickly(outcome<R>& out, const First& first) {
    rejection why{.code = errc{}};
    if (!first.try_reject(why)) return false;
    out.fail(why);
    return true;
}

template <class R, class Call, class First, class... P>
RESILIENCE_INLINE void run_into(outcome<R>& out, Call& call, const call_request& request, const First& first,
                                const P&... policies) {
    if constexpr (quick<First> && (quick<P> && ...)) {
        if (request.options == nullptr && request.parent == nullptr && is_unlimited_around()) [[likely]] {
            if constexpr (Call::takes_context || narrowing<First> || (narrowing<P> || ...)) {
                const environment& env = environment_around(first, policies...);
                call_context ctx(env.clock(), &env);
                prepare(ctx, request);
                if (ctx.deadline() == time_point::max() && !ctx.stop_requested()) [[likely]] {
                    if (run_quick(out, call, ctx, first, policies...)) [[likely]] return;
                }
            } else {
                if (run_quick(out, call, request, first, policies...)) [[likely]] return;
                if constexpr (quick_to_reject<First>) {
                    if (reject_quickly(out, first)) return;
                }
            }
        }
    }
    run_long(out, call, request, first, policies...);
}

/// Whether p(f) has to throw a rejection, which then is in `why`.
template <class R>
RESILIENCE_INLINE bool is_thrown_rejection(const outcome<R>& out, rejection& why) noexcept {
    if (!out.has_failure() || carries_errors<R>) [[likely]] return false;
    const rejection* plain = out.error().plain_rejection();
    if (plain != nullptr) why = *plain;
    return plain != nullptr;
}

/// A view of a policy for one call: a name, a deadline, a stop token. Borrows; callable as a temporary only.
template <class Policy>
class call_view;
template <class Policy, class F>
class wrapped;

} // namespace detail

/// The call forms that every policy and pipeline has. `with_policies(f)` of the derived class calls f
/// with its policies, outermost first.
template <class Derived>
class composable {
public:
    /// Runs f(args...) or f(call_context&, args...) under the policy. The arguments are passed as
    /// lvalues to every attempt. Throws the user's exception unchanged, or our error; a result type that
    /// can carry an error gets ours without a throw.
    template <class F, class... A>
    RESILIENCE_INLINE detail::call_result<F, A...> operator()(F&& f, A&&... args) const {
        return run<F, A...>({}, f, args...);
    }
    template <class F, class... A>
    RESILIENCE_INLINE detail::call_result<F, A...> call(F&& f, A&&... args) const {
        return run<F, A...>({}, f, args...);
    }
    /// The same, never throwing for a failure or a rejection.
    template <class F, class... A>
    RESILIENCE_INLINE outcome<detail::call_result<F, A...>> try_call(F&& f, A&&... args) const {
        return try_run<F, A...>({}, f, args...);
    }
    /// A callable with f's call syntax that owns a copy of f and a handle of this policy.
    template <class F>
    detail::wrapped<Derived, std::decay_t<F>> wrap(F&& f) const {
        return {self(), std::forward<F>(f), {}, std::nullopt};
    }
    /// This policy for a call with a name, which events, logs and the context show.
    detail::call_view<Derived> named(std::string_view operation) const noexcept {
        return detail::call_view<Derived>(self(), operation);
    }
    /// This policy for a call with a deadline, a stop token, an idempotency.
    detail::call_view<Derived> with(call_options options) const {
        return detail::call_view<Derived>(self(), {}).with(std::move(options));
    }
    /// This policy for a call inside of another: it inherits deadline, stop token and retry depth.
    detail::call_view<Derived> with(const call_context& outer) const {
        return detail::call_view<Derived>(self(), {}).with(outer);
    }

private:
    template <class>
    friend class detail::call_view;
    template <class, class>
    friend class detail::wrapped;

    const Derived& self() const noexcept { return static_cast<const Derived&>(*this); }

    // F and A are given, not deduced: they tell lvalues from rvalues.
    template <class F, class... A>
    RESILIENCE_INLINE auto run(const detail::call_request& request, std::type_identity_t<F>& f,
                               std::type_identity_t<A>&... args) const -> detail::call_result<F, A...> {
        using R = detail::call_result<F, A...>;
        static_assert(std::is_void_v<R> || std::is_reference_v<R> || std::is_move_constructible_v<R>,
                      "resilience: a result that cannot move is available through try_call only");
        detail::bound_call<F, A...> bound{f, {args...}};
        rejection refused{.code = errc{}};
        {
            outcome<R> out;
            self().with_policies([&](const auto&... p) RESILIENCE_INLINE_LAMBDA { detail::run_into(out, bound, request, p...); });
            if (!detail::is_thrown_rejection(out, refused)) [[likely]] return out.take();
        }
        detail::raise_rejection(refused); // out of the outcome's scope: less to unwind
    }
    template <class F, class... A>
    RESILIENCE_INLINE auto try_run(const detail::call_request& request, std::type_identity_t<F>& f,
                                   std::type_identity_t<A>&... args) const
        -> outcome<detail::call_result<F, A...>> {
        using R = detail::call_result<F, A...>;
        detail::bound_call<F, A...> bound{f, {args...}};
        return outcome<R>(detail::fill, [&](outcome<R>& out) RESILIENCE_INLINE_LAMBDA {
            self().with_policies([&](const auto&... p) RESILIENCE_INLINE_LAMBDA { detail::run_into(out, bound, request, p...); });
        });
    }
};

namespace detail {

template <class Policy>
class [[nodiscard]] call_view {
public:
    call_view(const Policy& policy, std::string_view operation) noexcept : policy_(&policy), operation_(operation) {}

    call_view named(std::string_view operation) && {
        operation_ = operation;
        return std::move(*this);
    }
    call_view with(call_options options) && {
        options_ = std::move(options);
        return std::move(*this);
    }
    call_view with(const call_context& outer) && {
        parent_ = &outer;
        return std::move(*this);
    }

    template <class F, class... A>
    RESILIENCE_INLINE call_result<F, A...> operator()(F&& f, A&&... args) && {
        return policy_->composable<Policy>::template run<F, A...>(request(), f, args...);
    }
    template <class F, class... A>
    RESILIENCE_INLINE call_result<F, A...> call(F&& f, A&&... args) && {
        return policy_->composable<Policy>::template run<F, A...>(request(), f, args...);
    }
    template <class F, class... A>
    RESILIENCE_INLINE outcome<call_result<F, A...>> try_call(F&& f, A&&... args) && {
        return policy_->composable<Policy>::template try_run<F, A...>(request(), f, args...);
    }
    template <class F>
    wrapped<Policy, std::decay_t<F>> wrap(F&& f) && {
        return {*policy_, std::forward<F>(f), std::string(operation_), std::move(options_)};
    }

private:
    call_request request() const noexcept { return {operation_, options_ ? &*options_ : nullptr, parent_}; }

    const Policy* policy_;
    std::string_view operation_;
    std::optional<call_options> options_;
    const call_context* parent_ = nullptr;
};

template <class Policy, class F>
class wrapped {
public:
    template <class G>
    wrapped(Policy policy, G&& f, std::string operation, std::optional<call_options> options)
        : policy_(std::move(policy)), f_(std::forward<G>(f)), operation_(std::move(operation)), options_(std::move(options)) {}

    template <class... A>
        requires callable_as_lvalue<const F, A...>
    call_result<const F, A...> operator()(A&&... args) const {
        return policy_.composable<Policy>::template run<const F&, A...>(request(), f_, args...);
    }
    template <class... A>
        requires(!callable_as_lvalue<const F, A...>)
    call_result<F, A...> operator()(A&&... args) {
        return policy_.composable<Policy>::template run<F&, A...>(request(), f_, args...);
    }

private:
    call_request request() const noexcept { return {operation_, options_ ? &*options_ : nullptr, nullptr}; }

    Policy policy_;
    F f_;
    std::string operation_;
    std::optional<call_options> options_;
};

} // namespace detail
} // namespace resilience::inline RESILIENCE_ABI
