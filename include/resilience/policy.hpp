// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/outcome.hpp>
#include <resilience/environment/environment.hpp>

#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// A policy's answer to: may this attempt run?
class [[nodiscard]] admission {
public:
    enum class kind : std::uint8_t { go, wait, reject, stand, answer };

    static admission go() noexcept { return admission(kind::go); }
    /// Ask again after this long. The wait may end early if a stop is requested.
    static admission wait(duration delay) noexcept {
        admission a(kind::wait);
        a.delay_ = delay;
        return a;
    }
    /// The attempt does not run; the call goes on outwards with this failure.
    static admission reject(failure why) noexcept {
        admission a(kind::reject);
        a.why_.emplace(std::move(why));
        return a;
    }
    /// The attempt does not run; the call keeps the outcome of the attempt before.
    static admission stand() noexcept { return admission(kind::stand); }
    /// For policies that are given the call's slot (detail::answering): the attempt does not run, a task in
    /// the slot gives the outcome, with which this policy is settled then.
    static admission answer() noexcept { return admission(kind::answer); }

    kind what() const noexcept { return kind_; }
    duration delay() const noexcept { return delay_; }
    failure& why() noexcept { return *why_; }

private:
    explicit admission(kind k) noexcept : kind_(k) {}

    kind kind_;
    duration delay_{0};
    std::optional<failure> why_;
};

/// What a policy does with the outcome of what it admitted.
class [[nodiscard]] settlement {
public:
    enum class kind : std::uint8_t { finish, retry, replace, revise, answer };

    /// The outcome stands.
    static settlement finish() noexcept { return settlement(kind::finish); }
    /// The outcome stands, and no attempt can be admitted before `moment`: those outside should know.
    static settlement finish_until(time_point moment) noexcept {
        settlement s(kind::finish);
        s.not_before_ = moment;
        return s;
    }
    /// Admit and run another attempt after this delay.
    static settlement retry_after(duration delay) noexcept {
        settlement s(kind::retry);
        s.delay_ = delay;
        return s;
    }
    /// This failure takes the outcome's place.
    static settlement replace(failure why) noexcept {
        settlement s(kind::replace);
        s.why_.emplace(std::move(why));
        return s;
    }

    // What follows is for policies that are given the call's slot (detail::answering).

    /// The policy has changed the outcome in the slot.
    static settlement revise() noexcept { return settlement(kind::revise); }
    static settlement revise_until(time_point moment) noexcept {
        settlement s(kind::revise);
        s.not_before_ = moment;
        return s;
    }
    /// A task in the slot gives the outcome; then the policy is settled once more, with that.
    static settlement answer() noexcept { return settlement(kind::answer); }

    kind what() const noexcept { return kind_; }
    duration delay() const noexcept { return delay_; }
    time_point not_before() const noexcept { return not_before_; }
    failure& why() noexcept { return *why_; }

private:
    explicit settlement(kind k) noexcept : kind_(k) {}

    kind kind_;
    duration delay_{0};
    time_point not_before_ = time_point::min();
    std::optional<failure> why_;
};

/// What a policy hands out for one call. The destructor settles what was admitted and never settled as
/// `ignored`: a call may be cancelled, abandoned, or unwound.
template <class S>
concept policy_call = requires(S& call, const attempt_result& result, call_context& ctx) {
    { call.admit(ctx) } -> std::same_as<admission>;
    { call.settle(result, ctx) } -> std::same_as<settlement>;
};

namespace detail {

/// Policies that give another answer (fallback), or hold other policies (any_pipeline): their per-call
/// object is made by `begin(ctx, slot)` and finds the outcome in the slot. It may have a
/// `never_began(result, ctx)`, for calls that end before any policy is asked.
template <class P>
concept answering = requires { requires P::answers; };

/// For a call that ended before it began: nothing was admitted, nothing is to be settled.
template <class Call>
settlement call_never_began(Call& call, const attempt_result& result, call_context& ctx) {
    if constexpr (requires { call.never_began(result, ctx); }) return call.never_began(result, ctx);
    else return settlement::finish();
}

/// Policies that must enclose what is inside of them, since they run it in their own way (abandoning
/// timeout): `around(out, ctx, rest)` is to leave the outcome in `out`, by calling rest(out, ctx) at most
/// once or by other means. Blocking calls only.
template <class P>
concept surrounding = requires { requires P::surrounds; };

/// Surrounding policies that may leave before what is inside of them has ended. Instead of `rest` they get
/// a maker of copies: `around(out, ctx, copy)` may call copy() for each attempt that it starts; what that
/// gives is called once with (out, ctx) that live as long, on any thread.
template <class P>
concept abandoning = surrounding<P> && requires { requires P::abandons; };

template <class P>
concept stepping = requires(const P& p, call_context& ctx) {
    { p.begin(ctx) } -> policy_call;
};

/// Policies that change what the callable sees: they need a context, even for the quick way.
template <class P>
concept narrowing = requires { requires P::narrows; };

/// Policies that run attempts again: those inside of them can be told how often.
template <class P>
concept repeating = requires { requires P::repeats; };

/// Policies that can pass a first attempt that succeeds without a per-call object. `try_begin` gives a
/// trivial ticket that is false where the long way must be taken; then `succeed` ends the call, `resume`
/// makes the per-call object of a call whose first attempt has run, or `abandon` forgets it. A narrowing
/// one takes the context to begin with and says, before anything succeeds, whether the call is `in_time`.
/// `succeed` lets nothing through but the unwinding of a thread that ends in it; the ticket is settled then.
template <class P>
concept quick = stepping<P> && requires(const P& p, typename P::ticket t, call_context& ctx) {
    requires std::is_trivially_copyable_v<typename P::ticket>;
    { static_cast<bool>(t) };
    { p.succeed(t) };
    { p.abandon(t) } noexcept;
    { p.resume(t, ctx) } -> policy_call;
};

/// Policies that can refuse without any per-call object.
template <class P>
concept quick_to_reject = requires(const P& p, rejection& why) {
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

} // namespace detail

/// A handle to a rule for calls: cheap to copy, callable from any thread at once through const. One of
/// ours, or yours: `begin(ctx)` gives the per-call object (see policy_call). No base class is needed;
/// a policy of yours joins with `pipeline{mine}` or on either side of `|` beside one of ours.
template <class P>
concept policy =
    std::copy_constructible<P> && (detail::stepping<P> || detail::answering<P> || detail::surrounding<P>);

}} // namespace resilience::RESILIENCE_ABI
