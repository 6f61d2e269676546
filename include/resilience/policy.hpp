// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/attempt_result.hpp>
#include <resilience/call/call_context.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/call/waiter.hpp>
#include <resilience/path/policy_traits.hpp>

#include <concepts>
#include <cstdint>
#include <optional>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// A policy's answer to: may this attempt run?
class [[nodiscard]] admission {
public:
    enum class kind : std::uint8_t { go, wait, park, reject, stand };

    static admission go() noexcept { return admission(kind::go); }
    /// Ask again after `delay`. The wait may end early if a stop is requested.
    static admission wait(duration delay) noexcept {
        admission a(kind::wait);
        a.delay_ = delay;
        return a;
    }
    /// Ask again when `w` is woken, and at `until` at the latest. The park also ends at the call's deadline and by a stop
    /// request: the policy is asked again in any case, and finds out why. `w` lies in the per-call object, and is armed:
    /// the policy has put it in its queue, under the lock of which it is woken (see waiter). A call that is over does not
    /// wait: the policy is asked once more, and if it parks the call again, that ends as cancelled or timed out.
    static admission park(waiter& w, time_point until) noexcept {
        admission a(kind::park);
        a.waiter_ = &w;
        a.until_ = until;
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
    /// As above, and the outcome's failure tells of the call's first.
    static admission stand(failure first) noexcept {
        admission a(kind::stand);
        a.why_.emplace(std::move(first));
        return a;
    }

    kind what() const noexcept { return kind_; }
    duration delay() const noexcept { return delay_; }
    /// Of a park.
    waiter& parked() const noexcept { return *waiter_; }
    time_point until() const noexcept { return until_; }
    failure& why() noexcept { return *why_; }
    bool has_why() const noexcept { return why_.has_value(); }

private:
    explicit admission(kind k) noexcept : kind_(k) {}

    kind kind_;
    duration delay_{0};
    waiter* waiter_ = nullptr;
    time_point until_{};
    std::optional<failure> why_;
};

/// A policy's answer to the outcome of an attempt that it admitted.
class [[nodiscard]] settlement {
public:
    enum class kind : std::uint8_t { finish, time_out, retry, replace };

    /// The outcome stands.
    static settlement finish() noexcept { return settlement(kind::finish); }
    /// As above, and the outcome's failure tells of the call's first.
    static settlement finish(failure first) noexcept {
        settlement s(kind::finish);
        s.why_.emplace(std::move(first));
        return s;
    }
    /// The outcome stands. No attempt can be admitted before `moment`, which the policies further out are
    /// told.
    static settlement finish_until(time_point moment) noexcept {
        settlement s(kind::finish);
        s.not_before_ = moment;
        return s;
    }
    /// The outcome stands, and this policy has reported it as timed out, so that those further out do not.
    static settlement time_out() noexcept { return settlement(kind::time_out); }
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

    kind what() const noexcept { return kind_; }
    duration delay() const noexcept { return delay_; }
    time_point not_before() const noexcept { return not_before_; }
    failure& why() noexcept { return *why_; }
    bool has_why() const noexcept { return why_.has_value(); }

private:
    explicit settlement(kind k) noexcept : kind_(k) {}

    kind kind_;
    duration delay_{0};
    time_point not_before_ = time_point::min();
    std::optional<failure> why_;
};

/// The object that a policy hands out for one call. It is used by one thread at a time. If an attempt was
/// admitted and never settled, its destructor settles it as `ignored`: a call may be cancelled, abandoned, or
/// unwound.
template <class S>
concept policy_call = requires(S& call, const attempt_result& result, call_context& ctx) {
    { call.admit(ctx) } -> std::same_as<admission>;
    { call.settle(result, ctx) } -> std::same_as<settlement>;
};

namespace detail {

/// A policy that makes a per-call object.
template <class P>
concept step_policy = requires(const P& p, call_context& ctx) {
    { p.begin(ctx) } -> policy_call;
};

} // namespace detail

/// A handle to a rule for calls: cheap to copy, and safe for any number of threads at once through const. To
/// write your own, give it a `begin(ctx)` that makes the per-call object (see policy_call). It needs no base
/// class. It joins others in `pipeline{mine}`, or by `|` with one of the library's policies.
template <class P>
concept policy = std::copy_constructible<P> && (detail::step_policy<P> || detail::special_policy<P>);

}} // namespace resilience::RESILIENCE_ABI
