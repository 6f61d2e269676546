// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/path/call_check.hpp>
#include <resilience/path/driver.hpp>
#include <resilience/path/fast_permits.hpp>
#include <resilience/path/thrown_end.hpp>

#include <cstddef>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

// The fast path is for a call whose policies all give a fast permit and whose first attempt succeeds: each
// policy only counts the success. Every other call takes the full path (driver.hpp), also a call that fails
// its first attempt on the fast path, from there on.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <class R>
RESILIENCE_INLINE bool succeeded(const outcome<R>& out) noexcept {
    if constexpr (!can_be_failing<R>) return out.has_value();
    else return out.has_value() && out.standing() == standing::success;
}

/// While it lives, calls on this thread run inside of `Retries` more retries.
template <unsigned Retries>
class inside_retries {
public:
    RESILIENCE_INLINE inside_retries() noexcept {
        if constexpr (Retries > 0) this_threads_calls.retry_depth += Retries;
    }
    inside_retries(const inside_retries&) = delete;
    inside_retries& operator=(const inside_retries&) = delete;
    RESILIENCE_INLINE ~inside_retries() {
        if constexpr (Retries > 0) this_threads_calls.retry_depth -= Retries;
    }
};

/// True if a call around this one limits it, or is cancelled. Also forgets the repeats of attempts that have ended.
RESILIENCE_NOINLINE inline bool limits_calls_inside() noexcept {
    thread_calls& here = this_threads_calls;
    if (here.repeated() > 0 && here.retry_depth == 0) [[unlikely]]
        here.set_repeats(0);
    const call_context* around = here.current();
    return around != nullptr && (around->is_limited() || around->stop_requested());
}
/// True if nothing limits a call, so that it cannot be over before it begins, and may take the fast path.
RESILIENCE_INLINE bool is_unlimited(const call_request& request) noexcept {
    if (request.options != nullptr || request.parent != nullptr) return false;
    return this_threads_calls.around == 0 || !limits_calls_inside();
}

/// Continues on the full path after a first attempt that left a failure, an `ignored` value, or a late success.
template <class Slot, class Permits, class... P>
RESILIENCE_NOINLINE void resume_walk(Slot& slot, function_ref<void(call_context&)> attempt, call_context& ctx,
                                     Permits permits, const P&... policies) {
    settle_limit(slot, ctx);
    walk_through<Slot, P...> calls(permits, ctx, policies...);
    drive(calls.walk, calls.walk.settle(slot, ctx), slot, attempt, ctx);
}

/// The fast and the full path of a call through policies P, the policies of the handle `Derived`. Functions
/// here that are not inlined do not know the callable, so they are compiled once for each result type.
template <class Derived, class... P>
struct path_through : call_check<P...> {
    using call_check<P...>::copies;
    using call_check<P...>::copies_once;
    static constexpr bool has_fast_path = have_fast_path<P...>;
    static constexpr bool needs_context = (sets_deadline<P> || ...);
    /// True if the fast path is inlined where the call is written. With a context it is not: beside a look at
    /// the clock, an indirect call costs little. Pointers to members are not inlined either: g++ 12 takes the
    /// virtual call that they might stand for as one of the object at hand, and warns of its bounds.
    template <class F, class... A>
    static constexpr bool is_inlined =
        has_fast_path && !needs_context &&
        called_directly<std::remove_reference_t<F>, std::remove_reference_t<A>...>;
    template <class R>
    using body = body_for<R, copies>;

    template <class F>
    RESILIENCE_INLINE static decltype(auto) with(const Derived& handle, const F& f) {
        if constexpr (std::is_same_v<std::tuple<Derived>, std::tuple<P...>>) return f(handle);
        else return handle.with_policies(f);
    }

    /// The object that the body of the call points to: the callable alone, or the callable with its
    /// arguments.
    template <class F, class... A>
    RESILIENCE_INLINE static auto bind(std::remove_reference_t<F>& f,
                                       std::remove_reference_t<A>&... args) noexcept {
        if constexpr (sizeof...(A) == 0 && is_object_call<std::remove_reference_t<F>> && copies == 0)
            return std::addressof(f);
        else return bound_call<std::remove_reference_t<F>, std::remove_reference_t<A>...>{f, {args...}};
    }
    template <class R, class F, class... A, class Bound>
    RESILIENCE_INLINE static body<R> body_of(Bound& bound) noexcept {
        if constexpr (std::is_pointer_v<Bound>) return detail::body_of<R>(*bound);
        else
            return body_to_copy<R, copies, std::conditional_t<copies_once, copied_once, copied_again>, F,
                                A...>(bound);
    }

    RESILIENCE_INLINE static auto begin(const Derived& handle) noexcept {
        return with(handle,
                    [](const P&... p) RESILIENCE_INLINE_LAMBDA { return fast_permits<P...>(nullptr, p...); });
    }
    /// Makes the first attempt.
    template <class Permits, class R, class F, class... A>
    RESILIENCE_INLINE static void attempt(const Derived& handle, const Permits& permits, outcome<R>& out,
                                          F& f, A&... args) {
        const inside_retries<retries_in<P...>> here;
        abandon_guard<Permits> unwound{&handle, &permits};
        out.run_and_store(f, args...);
        unwound.handle = nullptr;
    }
    /// The first attempt has succeeded, and with it the call.
    template <class Permits>
    RESILIENCE_INLINE static void succeed(const Derived& handle, Permits permits) noexcept {
        with(handle, [&](const P&... p) RESILIENCE_INLINE_LAMBDA { permits.succeed(p...); });
    }

    /// fill(), then true if the outcome is a value to be returned; else the call ends with `thrown`.
    template <class R>
    RESILIENCE_NOINLINE static bool fill_to_value(const Derived& handle, outcome<R>& out, body<R> call,
                                                  const call_request& request, thrown_end& thrown) {
        fill(handle, out, call, request);
        if (thrown.take_from(out)) [[unlikely]]
            return false;
        out.become_value();
        return true;
    }
    template <class R>
    RESILIENCE_NOINLINE static void fill(const Derived& handle, outcome<R>& out, body<R> call,
                                         const call_request& request) {
        with(handle, [&](const P&... p) {
            if (is_unlimited(request)) {
                if (reject_fast(out, request.operation, p...)) return;
                if constexpr (has_fast_path) {
                    if (pass_fast(handle, out, call, request, p...)) return;
                }
            }
            const environment& env = environment_around(p...);
            call_context ctx(env.clock(), &env);
            prepare(ctx, request);
            blocking_slot<R> slot(out);
            const std::tuple<const P&...> policies(p...);
            if (over_before_it_began(slot, ctx)) walk_never<0>(slot, ctx, policies);
            else walk_from<0>(slot, ctx, call, policies);
        });
    }
    /// resume(), then true if the outcome is a value to be returned; else the call ends with `thrown`.
    template <class R, class Permits>
    RESILIENCE_NOINLINE static bool resume_to_value(const Derived& handle, outcome<R>& out, body<R> call,
                                                    const call_request& request, Permits permits,
                                                    thrown_end& thrown) {
        resume(handle, out, call, request, permits);
        if (thrown.take_from(out)) return false;
        out.become_value();
        return true;
    }
    /// Continues a call on the full path after its first attempt ran on the fast path, without a context, and
    /// did not succeed.
    template <class R, class Permits>
    RESILIENCE_NOINLINE static void resume(const Derived& handle, outcome<R>& out, body<R> call,
                                           const call_request& request, Permits permits) {
        if constexpr (sizeof...(P) == 1 && (settles_alone<P> && ...)) {
            const attempt_result result = out.result();
            with(handle, [&](const P&... p) { (p.settle_alone(permits.template get<0>(), result), ...); });
        } else {
            with(handle, [&](const P&... p) {
                const environment& env = environment_around(p...);
                call_context ctx(env.clock(), &env);
                prepare(ctx, request);
                if (!ctx.shares_repeats()) ctx.take_repeats(this_threads_calls);
                blocking_slot<R> slot(out);
                resume_walk<slot_for<typed_slot<R>, P...>>(
                    slot, [&](call_context& c) { call.run(out, c); }, ctx, permits, p...);
            });
        }
    }

private:
    /// Settles the permits of a call that is unwound: of a thread that ends inside of it.
    template <class Permits>
    struct abandon_guard {
        const Derived* handle; // null once the attempt has ended
        const Permits* permits;

        RESILIENCE_INLINE ~abandon_guard() {
            if (handle != nullptr) abandon(*handle, *permits);
        }
        RESILIENCE_COLD static void abandon(const Derived& handle, Permits permits) noexcept {
            with(handle, [&](const P&... p) { permits.abandon(p...); });
        }
    };

    /// Takes the fast path with a context. False if a policy gave no permit; then the callable did not run.
    template <class R>
    static bool pass_fast(const Derived& handle, outcome<R>& out, const body<R>& call,
                          const call_request& request, const P&... policies) {
        const environment& env = environment_around(policies...);
        call_context ctx(env.clock(), &env);
        prepare(ctx, request);
        const fast_permits<P...> permits(&ctx, policies...);
        if (!permits.all_given()) [[unlikely]]
            return false;
        permits.start(policies...);
        const unsigned depth = ctx.retry_depth();
        ctx.set_retry_depth(depth + retries_in<P...>);
        {
            const enclosing_call here(ctx);
            abandon_guard<fast_permits<P...>> unwound{&handle, &permits};
            call.run(out, ctx);
            unwound.handle = nullptr;
        }
        ctx.set_retry_depth(depth);
        if (succeeded(out) && permits.in_time(policies...)) [[likely]] {
            permits.succeed(policies...);
        } else {
            blocking_slot<R> slot(out);
            resume_walk<slot_for<typed_slot<R>, P...>>(
                slot, [&](call_context& c) { call.run(out, c); }, ctx, permits, policies...);
        }
        return true;
    }
    template <class R, class First, class... More>
    static bool reject_fast(outcome<R>& out, std::string_view operation, const First& first,
                            const More&...) noexcept {
        if constexpr (can_reject_fast<First>) {
            rejection why{.code = errc{}};
            if (!first.try_reject(why, operation)) return false;
            out.fail(why);
            return true;
        } else {
            return false;
        }
    }
};

/// The path through a handle's policies: the handle itself, or the policies of a pipeline.
template <class Handle>
struct path_of : path_through<Handle, Handle> {};

}}} // namespace resilience::RESILIENCE_ABI::detail
