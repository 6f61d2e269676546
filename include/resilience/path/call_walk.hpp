// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/path/call_slot.hpp>
#include <resilience/policy.hpp>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <std::size_t I, class Call>
struct kept_call {
    Call kept;
};

template <class Indices, class... T>
struct ticket_list;
/// A tuple of tickets: an aggregate, so that they are made in place and never copied.
template <std::size_t... I, class... T>
struct ticket_list<std::index_sequence<I...>, T...> : kept_call<I, T>... {};
template <class... P>
using tickets_of = ticket_list<std::index_sequence_for<P...>, typename P::ticket...>;
template <std::size_t I, class T>
RESILIENCE_INLINE const T& ticket(const kept_call<I, T>& list) noexcept {
    return list.kept;
}
/// Settles the tickets of an attempt that succeeded. Where a thread ends inside a listener that is told of it, those
/// that follow are forgotten.
template <class... P>
RESILIENCE_INLINE void succeed_all(const tickets_of<P...>& tickets, const P&... policies) {
    [&]<std::size_t... I>(std::index_sequence<I...>) RESILIENCE_INLINE_LAMBDA {
#if RESILIENCE_EXCEPTIONS
        if constexpr (sizeof...(P) > 1 && !(noexcept(policies.succeed(ticket<I>(tickets))) && ...)) {
            std::size_t settled = 0; // or being settled
            try {
                ((++settled, policies.succeed(ticket<I>(tickets))), ...);
            } catch (...) {
                ((I < settled ? void() : policies.abandon(ticket<I>(tickets))), ...);
                throw;
            }
            return;
        }
#endif
        (policies.succeed(ticket<I>(tickets)), ...);
    }(std::index_sequence_for<P...>{});
}

/// The per-call object of a policy, in the way that the policy makes it.
template <class P, class Slot>
auto begin_call(const P& policy, call_context& ctx, Slot& slot) {
    if constexpr (answering<P>) return policy.begin(ctx, slot);
    else return policy.begin(ctx);
}
template <class P, class Slot>
using call_of =
    decltype(begin_call(std::declval<const P&>(), std::declval<call_context&>(), std::declval<Slot&>()));

template <class Indices, class... Call>
class call_list;
/// The per-call objects of policies that are known at compile time. Made in place, so that they need not
/// be movable.
template <std::size_t... I, class... Call>
class call_list<std::index_sequence<I...>, Call...> : kept_call<I, Call>... {
public:
    template <class... Make>
    explicit call_list(Make&&... make) : kept_call<I, Call>{make()}... {}

    static constexpr std::size_t size() noexcept { return sizeof...(Call); }
    admission admit(std::size_t i, call_context& ctx) {
        return visit<0>(i, [&](auto& call) { return call.admit(ctx); });
    }
    settlement settle(std::size_t i, const attempt_result& result, call_context& ctx) {
        return visit<0>(i, [&](auto& call) { return call.settle(result, ctx); });
    }
    settlement never_began(std::size_t i, const attempt_result& result, call_context& ctx) {
        return visit<0>(i, [&](auto& call) { return call_never_began(call, result, ctx); });
    }

private:
    template <std::size_t At, class F>
    auto visit(std::size_t i, const F& f) {
        using mine = std::tuple_element_t<At, std::tuple<Call...>>;
        if constexpr (At + 1 < sizeof...(Call)) {
            if (i != At) return visit<At + 1>(i, f);
        }
        return f(static_cast<kept_call<At, mine>&>(*this).kept);
    }
};
template <class... Call>
using calls_of = call_list<std::index_sequence_for<Call...>, Call...>;

/// What a driver has to do next.
enum class step : std::uint8_t {
    attempt, ///< run the callable
    wait,    ///< for delay(), then resume
    answer,  ///< await the task that a policy left in the slot, in the callable's place
    done,
};

/// The walk through the per-call objects of a pipeline: asked inwards, settled outwards. It decides what
/// comes next and never waits: how to wait is the driver's, so that one walk serves every driver, and both
/// pipelines that are known at compile time and those that are put together at run time.
template <class Calls>
class call_steps {
public:
    template <class... Make>
    explicit call_steps(Make&&... make) : calls_(std::forward<Make>(make)...) {}

    step begin(call_slot& slot, call_context& ctx) { return admit_from(0, slot, ctx); }
    /// The call may not begin, and says so in the slot: those who would answer it are told, nobody else.
    step never_began(call_slot& slot, call_context& ctx) {
        began_ = false;
        return settle_from(calls_.size(), slot, ctx);
    }
    /// After the attempt has run.
    step settle(call_slot& slot, call_context& ctx) { return settle_from(calls_.size(), slot, ctx); }
    /// After the wait: whoever asked for it is asked again.
    step resume(call_slot& slot, call_context& ctx) { return admit_from(waiting_, slot, ctx); }
    /// After the answer has come: whoever gave it is told what became of it.
    step answered(call_slot& slot, call_context& ctx) { return settle_from(waiting_ + 1, slot, ctx); }

    duration delay() const noexcept { return delay_; }
    /// Once done: no attempt will be admitted before this moment.
    time_point not_before() const noexcept { return not_before_; }

private:
    step admit_from(std::size_t i, call_slot& slot, call_context& ctx) {
        for (; i < calls_.size(); ++i) {
            admission a = calls_.admit(i, ctx);
            switch (a.what()) {
            case admission::kind::go: continue;
            case admission::kind::wait: return wait_at(i, a.delay());
            case admission::kind::reject: slot.refuse(std::move(a.why())); break;
            case admission::kind::stand: slot.stand(); break;
            case admission::kind::answer: return answer_at(i);
            }
            return settle_from(i, slot, ctx);
        }
        return step::attempt;
    }
    /// Settles the calls before `end`, from the inside outwards.
    step settle_from(std::size_t end, call_slot& slot, call_context& ctx) {
        attempt_result result = slot.result();
        for (std::size_t i = end; i-- > 0;) {
            settlement s = began_ ? calls_.settle(i, result, ctx) : calls_.never_began(i, result, ctx);
            switch (s.what()) {
            case settlement::kind::finish: break;
            case settlement::kind::retry: return wait_at(i, s.delay());
            case settlement::kind::answer: return answer_at(i);
            case settlement::kind::replace: slot.fail(std::move(s.why())); [[fallthrough]];
            case settlement::kind::revise: {
                const time_point not_before = result.not_before();
                result = slot.result();
                result.postpone(not_before);
            }
            }
            result.postpone(s.not_before());
        }
        not_before_ = result.not_before();
        return step::done;
    }
    step wait_at(std::size_t i, duration delay) noexcept {
        delay_ = delay; // none: asked again all the same, from the driver's loop, so that no stack grows
        waiting_ = i;
        return step::wait;
    }

    step answer_at(std::size_t i) noexcept {
        waiting_ = i;
        return step::answer;
    }

    Calls calls_;
    duration delay_{0};
    time_point not_before_ = time_point::min();
    std::size_t waiting_ = 0;
    bool began_ = true;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
