// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/rejection.hpp>

#include <concepts>
#include <type_traits>

// How a driver tells policies of different nature apart. Users' policies are none of these.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

class environment;

/// Policies that replace an outcome by one of its own type (fallback). Their per-call object is made by
/// `begin(ctx, slot)` and finds the outcome in the slot. It may have a `never_began(result, ctx)`, for calls that end
/// before any policy is asked.
template <class P>
concept replaces_outcome = requires { typename P::given_type; };

/// Policies that hold other policies, known at run time only (any_pipeline). `begin(ctx, slot)` makes the per-call
/// objects of all of them.
template <class P>
concept holds_policies = requires { P::most_policies; };

/// Policies that run what is inside of them on another thread, and may leave before it has ended (abandoning timeout).
/// `around(out, ctx, make)` leaves the outcome in `out`. For each attempt that it starts, make() gives a copy of all
/// that is inside, which is called once with (outcome, context) that live as long, on any thread. Blocking calls only.
template <class P>
concept may_outlive_call = requires { requires P::outlives_call; };

template <class P>
concept special_policy = replaces_outcome<P> || holds_policies<P> || may_outlive_call<P>;

/// Policies that run attempts again: calls inside of them can be told how often.
template <class P>
concept retries_attempts = requires { requires P::retries; };
template <class... P>
inline constexpr unsigned retries_in = (0U + ... + (retries_attempts<P> ? 1U : 0U));

/// Policies with a fast path that looks at no context.
template <class P>
concept begins_without_context = requires(const P& p) { p.try_begin(); };
/// Policies with a fast path that changes what the callable sees: a deadline. Before anything succeeds they also say
/// whether the call is `in_time(permit)`.
template <class P>
concept sets_deadline = requires(const P& p, const typename P::fast_permit& t, call_context& ctx) {
    { p.try_begin(ctx) } noexcept -> std::same_as<typename P::fast_permit>;
    { p.in_time(t) } noexcept -> std::same_as<bool>;
};
/// Policies that can pass a first attempt that succeeds without a per-call object. `try_begin` gives a permit without
/// a destructor, which is false where the full path must be taken. After a successful attempt `succeed(permit)` ends
/// the call. After any other, `resume(permit, ctx)` makes the same per-call object that begin() would. A call that
/// ends in neither way is told by `abandon(permit)`.
template <class P>
concept has_fast_path = (begins_without_context<P> || sets_deadline<P>) &&
                        requires(const P& p, const typename P::fast_permit& t, call_context& ctx) {
                            requires std::is_trivially_copyable_v<typename P::fast_permit>;
                            static_cast<bool>(t);
                            { p.succeed(t) } noexcept;
                            { p.abandon(t) } noexcept;
                            { p.resume(t, ctx) } -> std::same_as<decltype(p.begin(ctx))>;
                        };

/// Policies that can refuse without any per-call object.
template <class P>
concept can_reject_fast = requires(const P& p, rejection& why) {
    { p.try_reject(why) } noexcept -> std::same_as<bool>;
};

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
