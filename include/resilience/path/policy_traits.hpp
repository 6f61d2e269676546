// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/attempt_result.hpp>
#include <resilience/call/call_context.hpp>
#include <resilience/call/rejection.hpp>

#include <concepts>
#include <string_view>
#include <type_traits>

// Concepts by which a driver tells kinds of policies apart. A user's policy models none of them.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

class environment;

/// Policies that replace an outcome by one of its own type (fallback). `begin(ctx, slot)` makes their
/// per-call object, which finds the outcome in the slot. It may have a `never_began(result, ctx)`, for calls
/// that end before any policy is asked.
template <class P>
concept replaces_outcome = requires { typename P::given_type; };

/// Policies that hold other policies, known at run time only (any_pipeline). `begin(ctx, slot)` makes the
/// per-call objects of all the policies that they hold.
template <class P>
concept holds_policies = requires { P::most_policies; };

/// The form in which the driver of coroutines keeps a policy: another than the policy itself if that names one.
template <class P>
struct kept_for_tasks {
    using type = P;
};
template <class P>
    requires requires { typename P::for_tasks; }
struct kept_for_tasks<P> {
    using type = typename P::for_tasks;
};

/// Policies that run the rest of the pipeline on another thread and may return before it has ended
/// (abandoning timeout). `around(out, ctx, make)` leaves the outcome in `out`. For each attempt that it
/// starts, it calls make() for a copy of everything inside of it. It calls that copy once, on any thread,
/// with an outcome and a context that live as long as the copy runs. For blocking calls only.
template <class P>
concept may_outlive_call = requires { requires P::outlives_call; };

template <class P>
concept special_policy = replaces_outcome<P> || holds_policies<P> || may_outlive_call<P>;

/// Policies that repeat attempts. They count into the retry depth that calls inside of them see.
template <class P>
concept retries_attempts = requires { requires P::retries; };
template <class... P>
inline constexpr unsigned retries_in = (0U + ... + (retries_attempts<P> ? 1U : 0U));

/// Policies with a fast path that looks at no context.
template <class P>
concept begins_without_context = requires(const P& p) {
    { p.try_begin() } noexcept -> std::same_as<typename P::fast_permit>;
};
/// Policies with a fast path that changes what the callable sees: a deadline. start(permit) is called just
/// before the attempt. Before the call succeeds, `in_time(permit)` must be true as well.
template <class P>
concept sets_deadline = requires(const P& p, const typename P::fast_permit& t, call_context& ctx) {
    { p.try_begin(ctx) } noexcept -> std::same_as<typename P::fast_permit>;
    { p.start(t) } noexcept;
    { p.in_time(t) } noexcept -> std::same_as<bool>;
};
/// Policies with a fast path: they need no per-call object if the first attempt succeeds. try_begin() returns
/// a permit, a trivially copyable type that is false if the call must take the full path. After a successful
/// attempt the driver calls succeed(permit), which ends the call. After any other attempt it calls
/// resume(permit, ctx), which makes the per-call object that begin() would make. If a task is destroyed
/// during that attempt, it calls abandon(permit). A permit reserves nothing: it may also be dropped without
/// any call, as it is if another policy gives none; but see reserves_by_permit.
template <class P>
concept has_fast_path = (begins_without_context<P> || sets_deadline<P>) &&
                        requires(const P& p, const typename P::fast_permit& t, call_context& ctx) {
                            requires std::is_trivially_copyable_v<typename P::fast_permit>;
                            static_cast<bool>(t);
                            { p.succeed(t) } noexcept;
                            { p.abandon(t) } noexcept;
                            { p.resume(t, ctx) } noexcept -> std::same_as<decltype(p.begin(ctx))>;
                        };

/// Policies with a fast path whose permit takes what has to be given back. A driver asks them last, and takes no fast path
/// through two of them: what one has taken would have to go back when the other gives none.
template <class P>
concept reserves_by_permit = requires { requires P::reserves; };

/// Policies with a fast path that end a call with its first attempt, whatever came of it. With no other policy in the call,
/// settle_alone(permit, result) does all that resume() and its per-call object would.
template <class P>
concept settles_alone = requires(const P& p, const typename P::fast_permit& t, const attempt_result& result) {
    p.settle_alone(t, result);
};

/// Policies that can reject a call, of the name `operation`, without a per-call object.
template <class P>
concept can_reject_fast = requires(const P& p, rejection& why, std::string_view operation) {
    { p.try_reject(why, operation) } noexcept -> std::same_as<bool>;
};

/// Policies that work with some types of results only. `takes_result<R>` tells which; for others check_result<R>()
/// has a static_assert that says why not.
template <class P, class R>
constexpr bool takes_result = true;
template <class P, class R>
    requires requires { P::template takes_result<R>; }
constexpr bool takes_result<P, R> = P::template takes_result<R>;

/// The registry's environment that a policy was made in; null for policies that belong to none.
template <class P>
const environment* environment_of(const P& p) noexcept {
    if constexpr (requires {
                      { p.env() } -> std::convertible_to<const environment*>;
                  })
        return p.env();
    else return nullptr;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
