// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/path/call_walk.hpp>
#include <resilience/policy.hpp>
#include <resilience/registry.hpp>

#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Makes a call's context the one that calls inside of it inherit from, on this thread.
class enclosing_call {
public:
    explicit enclosing_call(const call_context& ctx) noexcept
        : outer_(this_threads_calls.current), outer_depth_(this_threads_calls.retry_depth) {
        this_threads_calls.current = &ctx;
        this_threads_calls.retry_depth = ctx.retry_depth();
    }
    enclosing_call(const enclosing_call&) = delete;
    enclosing_call& operator=(const enclosing_call&) = delete;
    ~enclosing_call() {
        this_threads_calls.current = outer_;
        this_threads_calls.retry_depth = outer_depth_;
    }

private:
    // Kept apart: one wide load just after two narrow stores would have to wait for them.
    const call_context* outer_;
    unsigned outer_depth_;
};

/// The blocking driver. `next` is what `steps` said last.
template <class Steps, class Attempt>
void drive(Steps& steps, step next, Attempt& attempt, call_context& ctx) {
    for (;;) {
        switch (next) {
        case step::attempt: {
            const enclosing_call here(ctx);
            attempt.run(ctx);
        }
            next = steps.settle(attempt, ctx);
            break;
        case step::wait: {
            // Early or not, whoever asked for the wait is asked again and looks at the stop token itself.
            if (steps.delay() > duration{0}) {
                time_source& clock = ctx.clock();
                clock.sleep_until(saturating_add(clock.now(), steps.delay()), ctx.outer_stop());
            }
            next = steps.resume(attempt, ctx);
            break;
        }
        case step::answer: // tasks only
        case step::done: return;
        }
    }
}

/// A call that may not begin: its end was asked for, or its time is up. True if the slot was filled.
inline bool over_before_it_began(call_slot& slot, const call_context& ctx) {
    if (ctx.stop_requested()) {
        slot.fail(rejection{.code = errc::cancelled});
        return true;
    }
    if (ctx.deadline() != time_point::max() && ctx.remaining() == duration{0}) {
        slot.fail(rejection{.code = errc::timed_out, .reason = "deadline passed before the call began"});
        return true;
    }
    return false;
}

template <class Slot, class... P>
using steps_of = call_steps<calls_of<call_of<P, Slot>...>>;

/// The long way for policies that step. `began` is false for a call that ended before.
template <class Attempt, class... P>
RESILIENCE_NOINLINE void run_steps(Attempt& attempt, call_context& ctx, bool began, const P&... policies) {
    steps_of<Attempt, P...> steps([&] { return begin_call(policies, ctx, attempt); }...);
    drive(steps, began ? steps.begin(attempt, ctx) : steps.never_began(attempt, ctx), attempt, ctx);
}
/// The same for a call whose first attempt has run already, the quick way, and not succeeded.
template <class Attempt, class... P>
RESILIENCE_NOINLINE void run_on(Attempt& attempt, call_context& ctx, tickets_of<P...> tickets,
                                const P&... policies) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
        call_steps<calls_of<decltype(policies.resume(ticket<I>(tickets), ctx))...>> steps(
            [&] { return policies.resume(ticket<I>(tickets), ctx); }...);
        drive(steps, steps.settle(attempt, ctx), attempt, ctx);
    }(std::index_sequence_for<P...>{});
}

/// Innermost: runs the callable and keeps what it returns or throws.
template <class R, class Call>
struct call_leaf {
    Call& call;
    void operator()(outcome<R>& out, call_context& ctx) const {
        out.capture([&]() -> R { return call(ctx); });
    }
};

template <std::size_t From, std::size_t To, class F, class... P>
decltype(auto) with_policies(F&& f, const std::tuple<const P&...>& policies) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) -> decltype(auto) {
        return f(std::get<From + I>(policies)...);
    }(std::make_index_sequence<To - From>{});
}

template <std::size_t I, class... P>
consteval std::size_t next_surrounding() {
    if constexpr (I >= sizeof...(P)) return sizeof...(P);
    else if constexpr (surrounding<std::tuple_element_t<I, std::tuple<P...>>>) return I;
    else return next_surrounding<I + 1, P...>();
}

template <std::size_t I, class R, class Leaf, class... P>
void run_nested(outcome<R>& out, call_context& ctx, bool began, Leaf& leaf,
                const std::tuple<const P&...>& policies);

/// A maker of copies of what is inside of an abandoning policy, for a thread that outlives the call: the
/// callable, its arguments, the policies from `From` on. `Once`: for a single attempt of the call.
template <bool Once, std::size_t From, class R, class Call, class... P>
auto copier(const call_leaf<R, Call>& leaf, const std::tuple<const P&...>& policies) {
    return [&leaf, &policies] {
        const auto copy = [&](const auto&... p) {
            return [call = typename Call::template owned<Once>(leaf.call.f, leaf.call.args),
                    inner = std::tuple<std::remove_cvref_t<decltype(p)>...>(p...)](
                       outcome<R>& out, call_context& ctx) mutable {
                typename Call::repeatable own{call.callable(), call.arguments()};
                call_leaf<R, typename Call::repeatable> own_leaf{own};
                std::apply(
                    [&](const auto&... own_p) {
                        run_nested<0>(out, ctx, true, own_leaf, std::tie(own_p...));
                    },
                    inner);
            };
        };
        return with_policies<From, sizeof...(P)>(copy, policies);
    };
}

/// Runs the policies from I on around `leaf(out, ctx)`: stepping ones together, surrounding ones as
/// frames of their own. `began` is false for a call that ended before.
template <std::size_t I, class R, class Leaf, class... P>
void run_nested(outcome<R>& out, call_context& ctx, bool began, Leaf& leaf,
                const std::tuple<const P&...>& policies) {
    constexpr std::size_t frame = next_surrounding<I, P...>();
    auto inside = [&](outcome<R>& o, call_context& c) {
        if constexpr (frame == sizeof...(P)) {
            leaf(o, c);
        } else if constexpr (abandoning<std::tuple_element_t<frame, std::tuple<P...>>>) {
            std::get<frame>(policies).around(o, c, copier < frame == 0, frame + 1, R > (leaf, policies));
        } else {
            auto rest = [&](outcome<R>& oo, call_context& cc) {
                run_nested<frame + 1>(oo, cc, true, leaf, policies);
            };
            std::get<frame>(policies).around(o, c, rest);
        }
    };
    if constexpr (frame < sizeof...(P)) {
        if (!began) run_nested<frame + 1>(out, ctx, false, leaf, policies);
    }
    if constexpr (frame == I) {
        if (began) inside(out, ctx);
    } else {
        typed_attempt<R, decltype(inside)> attempt(out, inside);
        with_policies<I, frame>([&](const auto&... p) { run_steps(attempt, ctx, began, p...); }, policies);
    }
}

}}} // namespace resilience::RESILIENCE_ABI::detail
