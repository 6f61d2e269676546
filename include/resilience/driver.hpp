// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/policy.hpp>
#include <resilience/registry.hpp>

#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience::inline RESILIENCE_ABI::detail {

/// One run of the callable and its outcome, whatever their types: what a driver works on.
class attempt_slot {
public:
    /// Drops the outcome before and runs the callable; exceptions become the outcome.
    virtual void run(call_context& ctx) = 0;
    virtual attempt_result result() const = 0;
    virtual void fail(failure why) noexcept = 0;
    /// The next attempt was refused: the failure of the one before, if there was one, is the cause.
    virtual void refuse(failure why) noexcept = 0;

protected:
    ~attempt_slot() = default;
};

/// `Run` is called with (outcome<R>&, call_context&).
template <class R, class Run>
class typed_attempt final : public attempt_slot {
public:
    typed_attempt(outcome<R>& out, Run& run) noexcept : out_(&out), run_(&run) {}

    void run(call_context& ctx) override {
        out_->clear(); // a failing value that owns something is gone before the next attempt begins
        (*run_)(*out_, ctx);
    }
    attempt_result result() const override { return out_->result(); }
    void fail(failure why) noexcept override { out_->fail(std::move(why)); }
    void refuse(failure why) noexcept override {
        if (out_->has_failure()) why.follow(out_->error());
        out_->fail(std::move(why));
    }

private:
    outcome<R>* out_;
    Run* run_;
};

template <std::size_t I, class Call>
struct kept_call {
    Call call;
};
template <class Indices, class... Call>
struct call_list;
/// A tuple whose elements are made in place, so that a per-call object need not be movable.
template <std::size_t... I, class... Call>
struct call_list<std::index_sequence<I...>, Call...> : kept_call<I, Call>... {
    template <class... Make>
    explicit call_list(Make&... make) : kept_call<I, Call>{make()}... {}
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
    return list.call;
}

/// What a driver has to do next.
enum class step : std::uint8_t { attempt, wait, done };

/// The per-call objects of a pipeline, asked inwards and settled outwards. It decides what comes next
/// and never waits: how to wait is the driver's, so that one set of policies serves every driver.
template <class... Call>
class call_steps {
public:
    template <class... Make>
    explicit call_steps(Make&&... make) : calls_(make...) {}

    step begin(attempt_slot& attempt, call_context& ctx) { return admit_from<0>(attempt, ctx); }
    /// After the attempt has run.
    step settle(attempt_slot& attempt, call_context& ctx) {
        return settle_from<count>(attempt.result(), attempt, ctx);
    }
    /// After the wait: whoever asked for it is asked again.
    step resume(attempt_slot& attempt, call_context& ctx) { return resume_at<0>(attempt, ctx); }
    duration delay() const noexcept { return delay_; }

private:
    static constexpr std::size_t count = sizeof...(Call);

    template <std::size_t I>
    auto& at() noexcept {
        using call = std::tuple_element_t<I, std::tuple<Call...>>;
        return static_cast<kept_call<I, call>&>(calls_).call;
    }

    template <std::size_t I>
    step admit_from(attempt_slot& attempt, call_context& ctx) {
        if constexpr (I == count) {
            return step::attempt;
        } else {
            admission a = at<I>().admit(ctx);
            switch (a.what()) {
            case admission::kind::go: return admit_from<I + 1>(attempt, ctx);
            case admission::kind::wait: return wait_at<I>(a.delay());
            case admission::kind::reject: attempt.refuse(std::move(a.why())); break;
            case admission::kind::stand: break;
            }
            return settle_from<I>(attempt.result(), attempt, ctx);
        }
    }
    /// Settles the calls before I, from the inside outwards.
    template <std::size_t I>
    step settle_from(attempt_result result, attempt_slot& attempt, call_context& ctx) {
        if constexpr (I == 0) {
            return step::done;
        } else {
            settlement s = at<I - 1>().settle(result, ctx);
            switch (s.what()) {
            case settlement::kind::finish: result.postpone(s.not_before()); break;
            case settlement::kind::retry: return wait_at<I - 1>(s.delay());
            case settlement::kind::replace: {
                const time_point not_before = result.not_before();
                attempt.fail(std::move(s.why()));
                result = attempt.result();
                result.postpone(not_before);
                break;
            }
            }
            return settle_from<I - 1>(result, attempt, ctx);
        }
    }
    template <std::size_t I>
    step wait_at(duration delay) noexcept {
        delay_ = delay; // none: asked again all the same, from the driver's loop, so that no stack grows
        waiting_ = I;
        return step::wait;
    }
    template <std::size_t I>
    step resume_at(attempt_slot& attempt, call_context& ctx) {
        if constexpr (I == count) return step::done;
        else return waiting_ == I ? admit_from<I>(attempt, ctx) : resume_at<I + 1>(attempt, ctx);
    }

    call_list<std::index_sequence_for<Call...>, Call...> calls_;
    duration delay_{0};
    std::size_t waiting_ = 0;
};

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
template <class Steps>
void drive(Steps& steps, step next, attempt_slot& attempt, call_context& ctx) {
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
        case step::done: return;
        }
    }
}

/// A call that may not begin: its end was asked for, or its time is up. True if `out` was filled.
inline bool over_before_it_began(attempt_slot& attempt, const call_context& ctx) {
    if (ctx.stop_requested()) {
        attempt.fail(rejection{.code = errc::cancelled});
        return true;
    }
    if (ctx.deadline() != time_point::max() && ctx.remaining() == duration{0}) {
        attempt.fail(rejection{.code = errc::timed_out, .reason = "deadline passed before the call began"});
        return true;
    }
    return false;
}

/// The long way for policies that step.
template <class... P>
__attribute__((noinline)) void run_steps(attempt_slot& attempt, call_context& ctx, const P&... policies) {
    call_steps<decltype(policies.begin(ctx))...> steps([&] { return policies.begin(ctx); }...);
    drive(steps, steps.begin(attempt, ctx), attempt, ctx);
}
/// The same for a call whose first attempt has run already, the quick way, and not succeeded.
template <class... P>
__attribute__((noinline)) void run_on(attempt_slot& attempt, call_context& ctx, tickets_of<P...> tickets,
                                      const P&... policies) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
        call_steps<decltype(policies.resume(ticket<I>(tickets), ctx))...> steps(
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
void run_nested(outcome<R>& out, call_context& ctx, Leaf& leaf, const std::tuple<const P&...>& policies);

/// A maker of copies of what is inside of an abandoning policy, for a thread that may go on when the caller
/// is gone: the callable, its arguments and the handles of the policies from `From` on. `Once`: it is used
/// for one attempt of the call only.
template <bool Once, std::size_t From, class R, class Call, class... P>
auto copier(const call_leaf<R, Call>& leaf, const std::tuple<const P&...>& policies) {
    return [&leaf, &policies] {
        const auto copy = [&](const auto&... p) {
            return [call = typename Call::template owned<Once>(leaf.call.f, leaf.call.args),
                    inner = std::tuple<std::remove_cvref_t<decltype(p)>...>(p...)](outcome<R>& out, call_context& ctx) mutable {
                typename Call::repeatable own{call.callable(), call.arguments()};
                call_leaf<R, typename Call::repeatable> own_leaf{own};
                std::apply([&](const auto&... own_p) { run_nested<0>(out, ctx, own_leaf, std::tie(own_p...)); }, inner);
            };
        };
        return with_policies<From, sizeof...(P)>(copy, policies);
    };
}

/// Runs the policies from I on around `leaf(out, ctx)`: stepping ones together, surrounding ones as
/// frames of their own.
template <std::size_t I, class R, class Leaf, class... P>
void run_nested(outcome<R>& out, call_context& ctx, Leaf& leaf, const std::tuple<const P&...>& policies) {
    constexpr std::size_t frame = next_surrounding<I, P...>();
    auto inside = [&](outcome<R>& o, call_context& c) {
        if constexpr (frame == sizeof...(P)) {
            leaf(o, c);
        } else if constexpr (abandoning<std::tuple_element_t<frame, std::tuple<P...>>>) {
            std::get<frame>(policies).around(o, c, copier<frame == 0, frame + 1, R>(leaf, policies));
        } else {
            auto rest = [&](outcome<R>& oo, call_context& cc) { run_nested<frame + 1>(oo, cc, leaf, policies); };
            std::get<frame>(policies).around(o, c, rest);
        }
    };
    if constexpr (frame == I) {
        inside(out, ctx);
    } else {
        typed_attempt<R, decltype(inside)> attempt(out, inside);
        with_policies<I, frame>([&](const auto&... p) { run_steps(attempt, ctx, p...); }, policies);
    }
}

} // namespace resilience::inline RESILIENCE_ABI::detail
