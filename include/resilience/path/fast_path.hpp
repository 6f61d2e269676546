// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/path/callable.hpp>
#include <resilience/path/driver.hpp>

#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

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
    if (request.parent != nullptr) [[unlikely]]
        ctx.inherit(*request.parent);
    if (around.current != nullptr) [[unlikely]]
        ctx.inherit(*around.current);
    if (request.options != nullptr) ctx.apply(*request.options);
}

template <class R, class Call, class... P>
RESILIENCE_NOINLINE void run_long(outcome<R>& out, Call& call, const call_request& request,
                                  const P&... policies) {
    const environment& env = environment_around(policies...);
    call_context ctx(env.clock(), &env);
    prepare(ctx, request);
    call_leaf<R, Call> leaf{call};
    typed_attempt<R, call_leaf<R, Call>> slot(out, leaf);
    const bool begins = !over_before_it_began(slot, ctx);
    run_nested<0>(out, ctx, begins, leaf, std::tuple<const P&...>(policies...));
}

/// The first attempt has run the quick way and left a failure, a value of doubful health, or a late one.
template <class R, class Call, class... P>
RESILIENCE_NOINLINE void run_rest(outcome<R>& out, Call& call, call_context& ctx, tickets_of<P...> tickets,
                                  const P&... policies) {
    out.capture_failure_of([&] { out.describe(); });
    call_leaf<R, Call> leaf{call};
    typed_attempt<R, call_leaf<R, Call>> attempt(out, leaf);
    attempt.has_run(ctx);
    run_on(attempt, ctx, tickets, policies...);
}
template <class R, class Call, class... P>
RESILIENCE_NOINLINE void run_rest(outcome<R>& out, Call& call, const call_request& request,
                                  tickets_of<P...> tickets, const P&... policies) {
    const environment& env = environment_around(policies...);
    call_context ctx(env.clock(), &env);
    prepare(ctx, request);
    run_rest(out, call, ctx, tickets, policies...);
}

template <class R>
bool healthy(const outcome<R>& out) {
    if constexpr (!can_be_failing<R>) return out.has_value();
    else return out.has_value() && out.judged() == verdict::success;
}

/// Calls made on this thread meanwhile run inside of so many retries more.
template <unsigned Retries>
class deeper_calls {
public:
    RESILIENCE_INLINE deeper_calls() noexcept {
        if constexpr (Retries > 0) this_threads_calls.retry_depth += Retries;
    }
    deeper_calls(const deeper_calls&) = delete;
    deeper_calls& operator=(const deeper_calls&) = delete;
    RESILIENCE_INLINE ~deeper_calls() {
        if constexpr (Retries > 0) this_threads_calls.retry_depth -= Retries;
    }
};

/// Whether the policy repeats the attempt at once. A failing value need not be described for that.
template <class R, class P>
RESILIENCE_INLINE bool is_due_again(outcome<R>& out, const P& policy, typename P::ticket& t) {
    bool again = false;
    if constexpr (can_be_failing<R>) {
        if (out.is_undescribed()) {
            out.capture_failure_of([&]() RESILIENCE_INLINE_LAMBDA {
                again = policy.again(t, [&]() RESILIENCE_INLINE_LAMBDA { return in_short(*out); });
            });
            if (again || !out.has_failure()) return again;
        }
    }
    return out.has_failure() &&
           policy.again(t, [&]() RESILIENCE_INLINE_LAMBDA { return in_short(out.error()); });
}

/// A policy that repeats at once, if it is the only one, needs no per-call object for that either. True if
/// a later attempt succeeded; otherwise `out` and the ticket are as after the first.
template <class R, class Call, class P>
RESILIENCE_NOINLINE bool repeat_at_once(outcome<R>& out, Call& call, const P& policy, typename P::ticket& t) {
    if (this_threads_calls.retry_depth > 0) return false; // a nested one has more to tell
    const deeper_calls<1> here;
    while (is_due_again(out, policy, t)) {
        out.clear();
        out.capture_undescribed([&]() -> R { return call(); });
        if (healthy(out)) {
            policy.succeed_again(t);
            return true;
        }
    }
    return false;
}

template <class P>
concept repeating_at_once =
    requires(const P& p, typename P::ticket& t, failure_in_short (*judge)()) { p.again(t, judge); };

template <class P>
RESILIENCE_INLINE typename P::ticket begin_quickly(const P& policy,
                                                   [[maybe_unused]] call_context* ctx) noexcept {
    if constexpr (narrowing<P>) return policy.try_begin(*ctx);
    else return policy.try_begin();
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
        if (!(static_cast<bool>(ticket<I>(tickets)) && ...)) [[unlikely]]
            return false;
        const auto attempt = [&]() RESILIENCE_INLINE_LAMBDA {
            constexpr unsigned retries = (0U + ... + (repeating<P> ? 1U : 0U));
            if constexpr (has_context) {
                const unsigned outer = ctx->retry_depth();
                ctx->set_retry_depth(outer + retries);
                const enclosing_call here(*ctx);
                out.capture_undescribed([&]() -> R { return call(*ctx); });
                ctx->set_retry_depth(outer);
            } else {
                const deeper_calls<retries> here;
                out.capture_undescribed([&]() -> R { return call(); });
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
            succeed_all<P...>(tickets, policies...);
        } else {
            if constexpr (sizeof...(P) == 1 && (repeating_at_once<P> && ...) && !has_context) {
                auto more = tickets;
                if ((repeat_at_once(out, call, policies,
                                    static_cast<kept_call<I, typename P::ticket>&>(more).kept) &&
                     ...))
                    return true;
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
RESILIENCE_NOINLINE bool reject_quickly(outcome<R>& out, const First& first) {
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
                    if (run_quick(out, call, ctx, first, policies...)) [[likely]]
                        return;
                }
            } else {
                if (run_quick(out, call, request, first, policies...)) [[likely]]
                    return;
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
    if (!out.has_failure() || carries_errors<R>) [[likely]]
        return false;
    const rejection* plain = out.error().plain_rejection();
    if (plain != nullptr) why = *plain;
    return plain != nullptr;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
