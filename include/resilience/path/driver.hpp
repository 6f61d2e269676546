// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/outside_of_calls.hpp>
#include <resilience/call/time_out.hpp>
#include <resilience/detail/function_ref.hpp>
#include <resilience/path/call_body.hpp>
#include <resilience/path/call_slot.hpp>
#include <resilience/path/call_walk.hpp>
#include <resilience/registry.hpp>

#include <cstddef>
#include <memory>
#include <tuple>
#include <utility>

// The full path of a blocking call. It sees the callable through a call_body, so this code is compiled once
// for each result type and pipeline, and most of it only once in all.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The environment of a call: that of the first policy that has a registry, else that of the global registry.
template <class... P>
RESILIENCE_INLINE const environment& environment_around(const P&... policies) {
    const environment* env = nullptr;
    ((env = env != nullptr ? env : environment_of(policies)), ...);
    return env != nullptr ? *env : *registry::global().env();
}

/// Fills a context with the caller's options and the limits of the calls around it on this thread.
void prepare(call_context& ctx, const call_request& request);
/// Its part for the calls around on this thread.
void inherit_on_thread(call_context& ctx, const thread_calls& around, resilience::inherit which);

/// Before the policies learn of an attempt: if it ended at its limit without a value, it has timed out.
void settle_limit(call_slot& slot, const call_context& ctx) noexcept;

/// While it lives, a clock can tell that this thread sleeps for a policy of the call.
class waiting_call {
public:
    explicit waiting_call(const call_context& ctx) noexcept : outer_(this_threads_calls.waiting) {
        this_threads_calls.waiting = &ctx;
    }
    waiting_call(const waiting_call&) = delete;
    waiting_call& operator=(const waiting_call&) = delete;
    ~waiting_call() { this_threads_calls.waiting = outer_; }

private:
    const call_context* outer_;
};

/// The blocking driver: does each step that the walk asks for until the call is done. `next` is the first
/// step.
void drive(call_walk& walk, step next, call_slot& slot, function_ref<void(call_context&)> attempt,
           call_context& ctx);

/// Ends a call that may not begin, because a stop was requested or its deadline has passed. True if it did so
/// and filled the slot.
bool over_before_it_began(call_slot& slot, call_context& ctx);

/// Walks the policies around `attempt`. If `attempt` is null, the call ended before it began, and the slot says why.
template <class Slot, class... P>
RESILIENCE_NOINLINE void walk_around(Slot& slot, call_context& ctx,
                                     const function_ref<void(call_context&)>* attempt, const P&... policies) {
    walk_through<Slot, P...> calls(ctx, slot, policies...);
    if (attempt != nullptr) drive(calls.walk, calls.walk.begin(slot, ctx), slot, *attempt, ctx);
    else calls.walk.never_began(slot, ctx);
}

template <std::size_t I, class... P>
consteval std::size_t next_that_may_outlive() {
    if constexpr (I >= sizeof...(P)) return sizeof...(P);
    else if constexpr (may_outlive_call<std::tuple_element_t<I, std::tuple<P...>>>) return I;
    else return next_that_may_outlive<I + 1, P...>();
}
template <std::size_t From, std::size_t To, class F, class... P>
decltype(auto) with_some(F&& f, const std::tuple<const P&...>& policies) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) -> decltype(auto) {
        return f(std::get<From + I>(policies)...);
    }(std::make_index_sequence<To - From>{});
}

/// Tells the policies from I on, from the inside outwards, that the call ended before it began.
template <std::size_t I, class R, class... P>
void walk_never(blocking_slot<R>& slot, call_context& ctx, const std::tuple<const P&...>& policies) {
    constexpr std::size_t parting = next_that_may_outlive<I, P...>();
    if constexpr (parting < sizeof...(P)) walk_never<parting + 1>(slot, ctx, policies);
    with_some<I, parting>(
        [&]<class... Q>(const Q&... p) {
            walk_around<slot_for<typed_slot<R>, Q...>>(slot, ctx, nullptr, p...);
        },
        policies);
}

template <std::size_t I, class R, class Body, class... P>
void walk_from(blocking_slot<R>& slot, call_context& ctx, const Body& body,
               const std::tuple<const P&...>& policies);

/// A copy of everything inside of a policy that may outlive the call: the callable, its arguments, the inner
/// policies.
template <class R, class... P>
class owned_rest {
    static constexpr unsigned copies = (0U + ... + (may_outlive_call<P> ? 1U : 0U));

public:
    explicit owned_rest(const copyable_body<R, copies + 1>& body, const P&... policies)
        : body_(body.copy(body.call)), policies_(policies...) {}

    void operator()(outcome<R>& out, call_context& ctx) const {
        blocking_slot<R> slot(out);
        std::apply([&](const auto&... p) { walk_from<0>(slot, ctx, body_->body(), std::tie(p...)); },
                   policies_);
    }

private:
    std::unique_ptr<owned_body<R, copies>> body_;
    std::tuple<P...> policies_;
};

/// Runs the policies from I on around the body. A policy that may outlive the call splits them: the policies
/// outside of it walk around an attempt that it runs on a thread of its own, and the policies inside of it
/// are part of the copy that the thread runs.
template <std::size_t I, class R, class Body, class... P>
void walk_from(blocking_slot<R>& slot, call_context& ctx, const Body& body,
               const std::tuple<const P&...>& policies) {
    constexpr std::size_t parting = next_that_may_outlive<I, P...>();
    const auto walk = [&](const function_ref<void(call_context&)>& attempt) {
        with_some<I, parting>(
            [&]<class... Q>(const Q&... p) {
                walk_around<slot_for<typed_slot<R>, Q...>>(slot, ctx, &attempt, p...);
            },
            policies);
    };
    if constexpr (parting == sizeof...(P)) {
        walk([&](call_context& c) { body.run(slot.out(), c); });
    } else {
        const auto copy = [&] {
            return with_some<parting + 1, sizeof...(P)>(
                [&](const auto&... p) {
                    return owned_rest<R, std::remove_cvref_t<decltype(p)>...>(body, p...);
                },
                policies);
        };
        walk([&](call_context& c) { std::get<parting>(policies).around(slot.out(), c, copy); });
    }
}

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION void inherit_on_thread(call_context& ctx, const thread_calls& around,
                                                           resilience::inherit which) {
    if (const call_context* outer = around.current()) {
        ctx.inherit(*outer, which);
        ctx.extends_leases_of(*outer);
        ctx.share_repeats(*outer); // like the depth, whatever else is inherited
    }
    if (around.retry_depth > 0 && !ctx.shares_repeats()) ctx.take_repeats(around);
}
RESILIENCE_FUNCTION void prepare(call_context& ctx, const call_request& request) {
    ctx.set_request(request);
    const thread_calls& around = this_threads_calls;
    ctx.set_retry_depth(around.retry_depth);
    if (request.parent != nullptr) [[unlikely]]
        ctx.inherit(*request.parent, inherited_with(request.options));
    if ((around.around | around.retry_depth) != 0) [[unlikely]]
        inherit_on_thread(ctx, around, inherited_with(request.options));
    if (request.options != nullptr) ctx.apply(*request.options);
}
RESILIENCE_FUNCTION void settle_limit(call_slot& slot, const call_context& ctx) noexcept {
    if (ctx.deadline() == time_point::max()) return;
    const failure* why = slot.why();
    if (why == nullptr || !has_timed_out(*why, ctx)) return;
    slot.time_out(ctx, ctx.stopped_by_deadline() ? asked_to_end::yes : asked_to_end::no);
}
RESILIENCE_FUNCTION void drive(call_walk& walk, step next, call_slot& slot,
                               function_ref<void(call_context&)> attempt, call_context& ctx) {
    for (;;) {
        switch (next) {
        case step::attempt: {
            slot.begin_attempt();
            {
                const enclosing_call here(ctx);
                attempt(ctx);
            }
            settle_limit(slot, ctx);
            next = walk.settle(slot, ctx);
            break;
        }
        case step::wait:
            // The sleep may end early. The waiting policy is asked again in any case, and looks at the stop
            // token itself.
            if (walk.has_to_wait()) {
                const outside_of_calls others; // a clock may run jobs of theirs while it sleeps
                const waiting_call here(ctx);
                ctx.clock().sleep_until(walk.ends_at(ctx), walk.ends_by(ctx));
            }
            next = walk.resume(slot, ctx);
            break;
        case step::answer: // never happens here: only tasks have answers
        case step::done: return;
        }
    }
}
RESILIENCE_FUNCTION bool over_before_it_began(call_slot& slot, call_context& ctx) {
    if (ctx.stop_requested()) {
        slot.fail(rejection{.code = errc::cancelled});
        return true;
    }
    if (ctx.deadline() == time_point::max()) return false;
    const time_point now = ctx.clock().now();
    if (ctx.fixed_deadline() != time_point::max())
        ctx.set_allowance(elapsed_between(now, ctx.fixed_deadline()));
    if (now < ctx.deadline()) return false;
    slot.fail(rejection{.code = errc::timed_out,
                        .reason = ctx.owner() == limit_owner::caller
                                      ? "the caller's deadline passed before the call began"
                                      : "the enclosing call's deadline passed before the call began"});
    return true;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
