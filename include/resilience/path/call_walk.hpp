// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/path/call_slot.hpp>
#include <resilience/policy.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A policy's per-call object behind a table of functions.
class erased_call {
public:
    virtual admission admit(call_context& ctx) = 0;
    virtual settlement settle(const attempt_result& result, call_context& ctx) = 0;
    /// Called if the call ended before any policy was asked: no attempt was admitted, so there is nothing to
    /// settle.
    virtual settlement never_began(const attempt_result&, call_context&) { return settlement::finish(); }

    erased_call() noexcept = default;
    erased_call(const erased_call&) = delete;
    erased_call& operator=(const erased_call&) = delete;
    virtual ~erased_call() = default;
};

/// Holds a policy's per-call object, made in place, so that it need not be movable.
template <class Call>
class erased_call_of final : public erased_call {
public:
    template <class Make>
    explicit erased_call_of(const Make& make) : call_(make()) {}

    admission admit(call_context& ctx) override { return call_.admit(ctx); }
    settlement settle(const attempt_result& result, call_context& ctx) override {
        return call_.settle(result, ctx);
    }
    settlement never_began(const attempt_result& result, call_context& ctx) override {
        if constexpr (requires { call_.never_began(result, ctx); }) return call_.never_began(result, ctx);
        else return settlement::finish();
    }

private:
    Call call_;
};

/// The next thing that a driver has to do.
enum class step : std::uint8_t {
    attempt, ///< run the callable
    wait,    ///< if has_to_wait(), until ends_at() or until ends_by() is requested; then resume
    answer,  ///< await the task that a policy left in the slot, in the callable's place
    done,
};

/// Walks through the per-call objects of a pipeline: it asks them from the outermost inwards and settles them
/// from the innermost outwards. It decides the next step and never waits; the driver waits in its own way.
/// It serves both drivers, and pipelines made at compile time as well as at run time.
class call_walk {
public:
    /// `calls` lists the per-call objects, outermost first, and ends with null. The array and the objects must outlive
    /// the walk.
    explicit call_walk(erased_call* const* calls) noexcept : calls_(calls) {}

    /// Asks for the first attempt.
    step begin(call_slot& slot, call_context& ctx);
    /// The call may not begin, and the slot holds the failure that says so. Only policies that replace
    /// outcomes are told.
    step never_began(call_slot& slot, call_context& ctx);
    /// Continues after the attempt has run.
    step settle(call_slot& slot, call_context& ctx);
    /// Continues after a wait: the policy that asked for it is asked again.
    step resume(call_slot& slot, call_context& ctx);
    /// Continues after an answer: the policy that gave the task is told how it ended.
    step answered(call_slot& slot, call_context& ctx);

    bool has_to_wait() const noexcept { return parked_ != nullptr || delay_ > duration{0}; }
    /// The end of the wait, and the token that ends it before: the caller's, or that of the one who is parked, which a
    /// wake-up requests too. The second is asked for once.
    time_point ends_at(const call_context& ctx) const noexcept;
    std::stop_token ends_by(const call_context& ctx) const;

private:
    std::uint32_t count() const noexcept;
    static time_point narrowed(const call_context& ctx) noexcept;
    step admit_from(std::uint32_t i, call_slot& slot, call_context& ctx);
    /// Settles the calls before `end`, from the inside outwards.
    step settle_from(std::uint32_t end, call_slot& slot, call_context& ctx);
    /// Makes the driver wait and ask policy i again. A delay of zero takes the same way, through the driver's
    /// loop, so that repeated attempts do not nest on the stack.
    step wait_at(std::uint32_t i, duration delay, call_context& ctx) noexcept;
    step park_at(std::uint32_t i, const admission& a, call_slot& slot, call_context& ctx);

    erased_call* const* calls_;
    duration delay_{0};
    waiter* parked_ = nullptr; // of policy `waiting_`, until `until_`; null: it waits for `delay_`
    time_point until_{};
    std::uint32_t waiting_ = 0; // the policy that waits, gave the answer, or is asked for the last time
    bool began_ = true;
    bool asks_last_ = false; // since the call is over
};

/// The type by which some policies see the slot of a call. Most know nothing of the result's type, so that the walk
/// through them is compiled once for all results.
template <class P>
concept knows_no_result = step_policy<P> || holds_policies<P>;
template <class Slot, class... P>
using slot_for = std::conditional_t<(knows_no_result<P> && ...), call_slot, Slot>;

/// Makes the per-call object of a policy. Policies that replace outcomes or hold policies also get the slot.
template <class P, class Slot>
auto begin_call(const P& policy, call_context& ctx, [[maybe_unused]] Slot& slot) {
    if constexpr (step_policy<P>) return policy.begin(ctx);
    else return policy.begin(ctx, slot);
}

/// The place of the I-th policy's per-call object.
template <std::size_t I, class P, class Slot>
class call_at {
public:
    static constexpr std::size_t most = 1;

    template <class Make>
    call_at(std::integral_constant<std::size_t, I>, const Make& make) : call_(make) {}
    void list(erased_call** calls, std::size_t& count) noexcept { calls[count++] = &call_; }

private:
    erased_call_of<decltype(begin_call(std::declval<const P&>(), std::declval<call_context&>(),
                                       std::declval<Slot&>()))>
        call_;
};
/// The place of the per-call objects of a policy that holds policies.
template <std::size_t I, holds_policies P, class Slot>
class call_at<I, P, Slot> {
public:
    static constexpr std::size_t most = P::most_policies;

    template <class Make>
    call_at(std::integral_constant<std::size_t, I>, const Make& make) : calls_(make()) {}
    void list(erased_call** calls, std::size_t& count) noexcept {
        for (std::size_t i = 0; i < calls_.size(); ++i) calls[count++] = &calls_[i];
    }

private:
    typename P::calls calls_;
};

/// The per-call objects of some policies, and the walk through them. `Slot` is the type of the call's slot,
/// which policies that replace outcomes need.
template <class Indices, class Slot, class... P>
class calls_at;
template <std::size_t... I, class Slot, class... P>
class calls_at<std::index_sequence<I...>, Slot, P...> : call_at<I, P, Slot>... {
public:
    calls_at(call_context& ctx, Slot& slot, const P&... policies)
        : call_at<I, P, Slot>(std::integral_constant<std::size_t, I>{},
                              [&] { return begin_call(policies, ctx, slot); })...,
          walk(list_all()) {}
    /// Continues a call whose first attempt has already run on the fast path.
    template <class Permits>
    calls_at(const Permits& permits, call_context& ctx, const P&... policies)
        : call_at<I, P, Slot>(std::integral_constant<std::size_t, I>{},
                              [&] { return policies.resume(permits.template get<I>(), ctx); })...,
          walk(list_all()) {}

private:
    erased_call* const* list_all() noexcept {
        std::size_t count = 0;
        (call_at<I, P, Slot>::list(list_, count), ...);
        list_[count] = nullptr;
        return list_;
    }

    erased_call* list_[(std::size_t{1} + ... + call_at<I, P, Slot>::most)];

public:
    call_walk walk;
};
template <class Slot, class... P>
using walk_through = calls_at<std::index_sequence_for<P...>, Slot, P...>;

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION step call_walk::begin(call_slot& slot, call_context& ctx) {
    return admit_from(0, slot, ctx);
}
RESILIENCE_FUNCTION step call_walk::never_began(call_slot& slot, call_context& ctx) {
    began_ = false;
    return settle_from(count(), slot, ctx);
}
RESILIENCE_FUNCTION step call_walk::settle(call_slot& slot, call_context& ctx) {
    return settle_from(count(), slot, ctx);
}
RESILIENCE_FUNCTION step call_walk::resume(call_slot& slot, call_context& ctx) {
    if (parked_ != nullptr) [[unlikely]]
        std::exchange(parked_, nullptr)->unpark();
    return admit_from(waiting_, slot, ctx);
}
RESILIENCE_FUNCTION step call_walk::answered(call_slot& slot, call_context& ctx) {
    return settle_from(waiting_ + 1, slot, ctx);
}
RESILIENCE_FUNCTION std::uint32_t call_walk::count() const noexcept {
    std::uint32_t calls = 0;
    while (calls_[calls] != nullptr) ++calls;
    return calls;
}
/// The moment by which the policies admitted want the attempt to end; min() if none of them says.
RESILIENCE_FUNCTION time_point call_walk::narrowed(const call_context& ctx) noexcept {
    // A fixed limit is what they want in all; the end of a silence moves, and progress tells of it.
    const bool is_fixed = ctx.fixed_deadline() != time_point::max();
    const time_point at = is_fixed ? ctx.fixed_deadline() : ctx.deadline();
    return at == time_point::max() ? time_point::min() : at;
}
RESILIENCE_FUNCTION step call_walk::admit_from(std::uint32_t i, call_slot& slot, call_context& ctx) {
    ctx.set_told(false); // of the attempt to come
    for (; calls_[i] != nullptr; ++i) {
        admission a = calls_[i]->admit(ctx);
        switch (a.what()) {
        case admission::kind::go: continue;
        case admission::kind::wait: return wait_at(i, a.delay(), ctx);
        case admission::kind::park: return park_at(i, a, slot, ctx);
        case admission::kind::reject: slot.refuse(std::move(a.why())); break;
        case admission::kind::stand:
            slot.stand();
            if (a.has_why()) slot.tell_first(a.why());
            break;
        }
        return settle_from(i, slot, ctx);
    }
    if (!ctx.leases().empty()) [[unlikely]]
        ctx.leases().extend(time_point::min(), narrowed(ctx));
    return step::attempt;
}
RESILIENCE_FUNCTION step call_walk::settle_from(std::uint32_t end, call_slot& slot, call_context& ctx) {
    slot.take_replaced();
    attempt_result result = slot.result();
    if (result.succeeded()) ctx.set_told(false); // a failure to come is another
    for (std::uint32_t i = end; i-- > 0;) {
        settlement s = began_ ? calls_[i]->settle(result, ctx) : calls_[i]->never_began(result, ctx);
        if (slot.has_answer()) {
            waiting_ = i;
            return step::answer;
        }
        if (s.what() == settlement::kind::retry) return wait_at(i, s.delay(), ctx);
        if (s.what() == settlement::kind::time_out) slot.reported_time_out(), result.reported_time_out();
        const bool is_told = s.what() == settlement::kind::replace; // by the policy that gave the failure
        if (is_told) slot.fail(std::move(s.why()));
        else if (s.has_why()) slot.tell_first(s.why());
        if (slot.take_replaced()) {
            const time_point not_before = result.not_before();
            result = slot.result();
            if (!is_told) ctx.set_told(false); // a failure in its place is another
            result.postpone(not_before);
        }
        result.postpone(s.not_before());
    }
    return step::done;
}
RESILIENCE_FUNCTION step call_walk::wait_at(std::uint32_t i, duration delay, call_context& ctx) noexcept {
    delay_ = delay;
    waiting_ = i;
    if (!ctx.leases().empty()) [[unlikely]]
        ctx.leases().extend(saturating_add(ctx.clock().now(), delay), time_point::min());
    return step::wait;
}
RESILIENCE_COLD RESILIENCE_FUNCTION step call_walk::park_at(std::uint32_t i, const admission& a,
                                                            call_slot& slot, call_context& ctx) {
    const bool is_stopped = ctx.stop_requested();
    if (is_stopped || ctx.remaining() == duration{0}) {
        if (!asks_last_ || waiting_ != i) { // so that it leaves its queue
            asks_last_ = true;
            waiting_ = i;
            const step next = admit_from(i, slot, ctx);
            asks_last_ = false;
            return next;
        }
        // It would be asked again and again.
        slot.refuse(is_stopped ? rejection{.code = errc::cancelled}
                               : rejection{.code = errc::timed_out,
                                           .whose = ctx.owner(),
                                           .amount = ctx.remaining_cap().count()});
        return settle_from(i, slot, ctx);
    }
    parked_ = &a.parked();
    until_ = std::min(a.until(), ctx.deadline());
    waiting_ = i;
    if (!ctx.leases().empty()) ctx.leases().extend(until_, time_point::min());
    return step::wait;
}
RESILIENCE_FUNCTION time_point call_walk::ends_at(const call_context& ctx) const noexcept {
    return parked_ != nullptr ? until_ : saturating_add(ctx.clock().now(), delay_);
}
RESILIENCE_FUNCTION std::stop_token call_walk::ends_by(const call_context& ctx) const {
    return parked_ != nullptr ? parked_->park(ctx.callers_stop_token()) : ctx.callers_stop_token();
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
