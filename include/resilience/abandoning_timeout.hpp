// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/abandoning_timeout/config.hpp>
#include <resilience/abandoning_timeout/core.hpp>
#include <resilience/abandoning_timeout/run.hpp>
#include <resilience/abandoning_timeout/typed_run.hpp>
#include <resilience/call/customise.hpp>
#include <resilience/call/outside_of_calls.hpp>
#include <resilience/call/silence.hpp>
#include <resilience/call/time_out.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/path/composable.hpp>

#include <algorithm>
#include <concepts>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Gives up waiting at the limit, for callables that cannot be asked to stop. The callable and every policy
/// further in run on a worker thread, so the caller is back in time whatever they do.
///
/// The worker may go on when the caller is gone. It therefore works on copies, fresh ones for every attempt:
/// of the callable, of the arguments (by value; arrays whole, references as std::ref) and of the policy
/// handles. If this is the outermost policy, a callable and arguments passed as rvalues are moved; else, and
/// always with `wrap`, they must be copyable. Until the work ends, the user must keep alive the objects
/// behind captured references, std::ref, pointers, std::string_view, and a result that is a reference (which
/// must not refer to one of the copies), the policies further in, and the registry's clock. The callable sees
/// the worker's thread_locals, and does not hold the caller's locks.
///
/// The first of these ends the attempt: the work's outcome (exceptions included), the limit (timed_out), the
/// call's deadline (timed_out), or the caller's stop request (cancelled). All but the first request the
/// callable's stop_token(); a result that it still produces is dropped and counted, and the caller's frame is
/// not touched any more. Stop callbacks run on another worker, so that they may wait for locks that the work
/// holds. Only if the system refuses a thread, they run on the thread that gives the call up.
///
/// An idle worker, else a new one, takes each attempt at once, at two thread switches. No worker is ever joined. Thread-safe.
class abandoning_timeout : public composable<abandoning_timeout>,
                           public policy_handle<detail::abandoning_timeout_core> {
public:
    static constexpr bool outlives_call = true;

    using policy_handle::policy_handle;
    template <std::convertible_to<duration> D = duration>
    explicit abandoning_timeout(D limit) : abandoning_timeout(abandoning_timeout_config{.limit = limit}) {}
    abandoning_timeout(duration limit, registry& where)
        : abandoning_timeout(abandoning_timeout_config{.limit = limit}, where) {}
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    explicit abandoning_timeout(...) = delete; // resilience: this is no abandoning_timeout_config: a field is misspelt or of another type; abandoning_timeout(abandoning_timeout_config{...}) makes the compiler name it
    // clang-format on

    // For drivers.

    template <class R>
    static constexpr bool takes_result = detail::is_returnable<R>;
    template <class R>
    static consteval void check_result() {
        static_assert(
            takes_result<R>,
            "resilience: an abandoning timeout needs a result that can move: it comes from another thread");
    }

    template <class R, class Copy>
    void around(outcome<R>& out, call_context& ctx, const Copy& copy) const {
        const auto policy = core_;        // the callable may destroy this handle
        const outside_of_calls listeners; // their calls do not inherit the limits around this one
        const auto begun = ctx.clock().now();
        attempt_limits limits(policy->config(), begun, ctx);

        if (auto why = refusal(*policy, limits, begun, ctx)) return out.fail(std::move(*why));
        std::shared_ptr<detail::typed_run<R, Copy>> run;
        silence_guard silence;
        outcome<void> made;
        made.run_and_store([&] {
            silence.begin(*limits.config, begun, ctx);
            run =
                std::make_shared<detail::typed_run<R, Copy>>(policy, ctx, limits.until, copy, silence.watch);
        });
        if (made.has_failure()) return out.fail(made.error()); // copying threw
        const detail::lease_relay::waiting worker_extends(run->leases(), ctx);
        const end how = run_until(run, limits.until, silence.stop.get(), ctx);
        limits.see(silence.watch.get());
        switch (how) {
        case end::finished:
            run->take(out);
            run->report_to(ctx);
            if (out.has_failure()) settle(out.storage(), *policy, limits, ctx);
            break;
        case end::none: out.fail(no_worker(*policy, limits, ctx)); break;
        case end::limit: out.fail(timed_out(*policy, limits, ctx)); break;
        case end::stopped: out.fail(stopped(*policy, limits, ctx)); break;
        }
    }

private:
    using core = detail::abandoning_timeout_core;
    using end = detail::abandonable_run::end;

    /// The end of an attempt: its limit, or the deadline of the call if that is earlier.
    struct attempt_limits {
        attempt_limits(const abandoning_timeout_config& c, time_point begun,
                       const call_context& ctx) noexcept;

        bool is_deadline() const noexcept { return length < config_limit(); }
        duration config_limit() const noexcept {
            return config->limit > duration{0} ? config->limit : duration::max();
        }
        /// Takes the end of the silence for the limit, if that came first.
        void see(const detail::silence_watch* watch) noexcept;
        /// The length of the limit in messages: a deadline's is that of the whole call.
        duration told() const noexcept;

        const abandoning_timeout_config* config; // kept by the policy
        time_point until;
        duration length;
        duration allowance; // of the call
        limit_owner whose;
    };

    /// The watch over the silence of an attempt, and what ends it. Both are null if silence is not bounded. The
    /// work co-owns the watch, since it may tell of progress when nobody waits for it any more.
    struct silence_guard {
        void begin(const abandoning_timeout_config& c, time_point begun, const call_context& ctx);

        std::shared_ptr<detail::silence_watch> watch;
        std::unique_ptr<detail::silence_stop> stop;
    };

    static std::optional<failure> refusal(core& policy, const attempt_limits& limits, time_point begun,
                                          call_context& ctx);
    /// `none` if the system has no thread, or no memory, to run it.
    static end run_until(const std::shared_ptr<detail::abandonable_run>& run, time_point until,
                         const detail::silence_stop* silence, call_context& ctx);

    /// The work ended by itself without a value: it timed out if it came to its limit.
    static void settle(detail::outcome_storage& out, core& policy, const attempt_limits& limits,
                       call_context& ctx);
    static failure timed_out(core& policy, const attempt_limits& limits, call_context& ctx);
    /// The call's deadline has passed before the attempt: no work is begun, none is abandoned.
    static failure timed_out_before(core& policy, const attempt_limits& limits, call_context& ctx);
    static failure late(core& policy, const attempt_limits& limits, const char* reason);
    static failure stopped(core& policy, const attempt_limits& limits, call_context& ctx);
    static failure rejected(core& policy, const attempt_limits& limits, call_context& ctx,
                            const char* reason);
    static failure no_worker(core& policy, const attempt_limits& limits, call_context& ctx);
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION abandoning_timeout::attempt_limits::attempt_limits(const abandoning_timeout_config& c,
                                                                       time_point begun,
                                                                       const call_context& ctx) noexcept
    : config(&c), until(std::min(saturating_add(begun, config_limit()), ctx.fixed_deadline())),
      length(until == time_point::max() ? duration::max() : saturating_sub(until, begun)),
      allowance(ctx.fixed_cap()), whose(is_deadline() ? ctx.fixed_owner() : limit_owner::policy) {}
RESILIENCE_FUNCTION duration abandoning_timeout::attempt_limits::told() const noexcept {
    if (whose == limit_owner::silence) return length;
    if (!is_deadline()) return config_limit();
    return whose == limit_owner::policy ? length : allowance;
}
RESILIENCE_FUNCTION void abandoning_timeout::attempt_limits::see(
    const detail::silence_watch* watch) noexcept {
    if (watch == nullptr || watch->first().until() >= until) return;
    until = watch->first().until();
    length = watch->first().idle();
    whose = limit_owner::silence;
}
RESILIENCE_FUNCTION void abandoning_timeout::silence_guard::begin(const abandoning_timeout_config& c,
                                                                  time_point begun, const call_context& ctx) {
    if (c.idle) watch = std::make_shared<detail::silence_watch>(begun, *c.idle, ctx.watch());
    else if (ctx.watch() != nullptr) watch = ctx.watch()->shared_from_this();
    if (watch != nullptr)
        stop = std::make_unique<detail::silence_stop>(ctx.clock(), *watch, ctx.callers_stop_token());
}
RESILIENCE_FUNCTION std::optional<failure> abandoning_timeout::refusal(core& policy,
                                                                       const attempt_limits& limits,
                                                                       time_point begun, call_context& ctx) {
    if (policy.abandoned.load(std::memory_order_acquire) >= limits.config->max_abandoned) {
        return rejected(policy, limits, ctx, nullptr);
    }
    policy.calls.fetch_add(1, std::memory_order_relaxed);
    if (std::min(limits.until, ctx.deadline()) <= begun) return timed_out_before(policy, limits, ctx);
    if (ctx.stop_requested()) {
        policy.cancelled.fetch_add(1, std::memory_order_relaxed);
        return failure(rejection{.code = errc::cancelled, .policy = policy.label()});
    }
    return std::nullopt;
}
RESILIENCE_FUNCTION abandoning_timeout::end abandoning_timeout::run_until(
    const std::shared_ptr<detail::abandonable_run>& run, time_point until,
    const detail::silence_stop* silence, call_context& ctx) {
    detail::abandonable_run& r = *run;
    struct exit_guard {
        detail::abandonable_run& r;
        bool started = false;
        ~exit_guard() {
            if (!started) r.work_ended();
            else r.abandon(end::stopped); // changes nothing unless this thread was ended while it waited
        }
    } at_exit{r};
    const bool steady = ctx.clock().is_steady_clock();
    const auto stop = [&r, silence, steady] {
        if (silence == nullptr || !silence->struck()) r.abandon(end::stopped);
        else if (steady) r.abandon(end::limit);
        else r.abandon_and_wait(end::limit);
    };
    // Armed before the work begins, since the work may move a virtual clock.
    const std::stop_callback on_stop(silence != nullptr ? silence->get_token() : ctx.callers_stop_token(),
                                     stop);
    timer at_limit;
    at_exit.started = detail::returned([&] {
        if (!steady && until != time_point::max()) {
            at_limit = ctx.clock().call_at(until, [&r] { r.abandon_and_wait(end::limit); });
            if (ctx.clock().now() >= until) r.abandon_and_wait(end::limit); // no timer fires for the past
        }
        detail::worker_pool::instance().start(run);
    });
    if (!at_exit.started) return end::none;
    return r.wait(steady ? until : time_point::max());
}
RESILIENCE_COLD RESILIENCE_FUNCTION failure abandoning_timeout::timed_out(core& policy,
                                                                          const attempt_limits& limits,
                                                                          call_context& ctx) {
    failure f = late(policy, limits, nullptr);
    (void)ctx.tells_again(); // the second event says more
    policy.publish_as_of(limits.until, event_kind::timed_out, f, limits.length, ctx);
    policy.publish_as_of(limits.until, event_kind::call_abandoned, f, limits.length, ctx);
    detail::customise(f, limits.config->make_exception);
    return f;
}
RESILIENCE_COLD RESILIENCE_FUNCTION failure abandoning_timeout::timed_out_before(core& policy,
                                                                                 const attempt_limits& limits,
                                                                                 call_context& ctx) {
    failure f = late(policy, limits, "the call's deadline passed before the attempt began");
    policy.publish_as_of(ctx.clock().now(), event_kind::timed_out, f, limits.length, ctx);
    detail::customise(f, limits.config->make_exception);
    return f;
}
RESILIENCE_FUNCTION failure abandoning_timeout::late(core& policy, const attempt_limits& limits,
                                                     const char* reason) {
    policy.timed_out.fetch_add(1, std::memory_order_relaxed);
    return failure(rejection{.code = errc::timed_out,
                             .whose = limits.whose,
                             .policy = policy.label(),
                             .amount = limits.told().count(),
                             .reason = reason});
}
RESILIENCE_COLD RESILIENCE_FUNCTION void abandoning_timeout::settle(detail::outcome_storage& out,
                                                                    core& policy,
                                                                    const attempt_limits& limits,
                                                                    call_context& ctx) {
    const bool is_timeouts = ctx.owner() == limit_owner::policy || ctx.owner() == limit_owner::silence;
    if (limits.until == ctx.deadline() && is_timeouts) return; // an outer timeout's
    const duration grace = detail::grace_of(limits.length, ctx.clock().coarse_resolution());
    if (!detail::has_timed_out(out.why(), ctx, saturating_add(limits.until, -grace))) return;
    out.mark_timed_out();
    policy.timed_out.fetch_add(1, std::memory_order_relaxed);
    policy.publish(event_kind::timed_out, ctx, &out.why(), [&](event& e) {
        e.is_told_again = ctx.tells_again();
        e.retry_depth = ctx.retry_depth();
        e.delay = limits.length;
        e.reason = detail::no_result_within(limits.told(), limits.whose);
    });
}
RESILIENCE_COLD RESILIENCE_FUNCTION failure abandoning_timeout::stopped(core& policy,
                                                                        const attempt_limits& limits,
                                                                        call_context& ctx) {
    policy.cancelled.fetch_add(1, std::memory_order_relaxed);
    failure f(rejection{.code = errc::cancelled, .policy = policy.label()});
    policy.publish_as_of(ctx.clock().now(), event_kind::call_abandoned, f, limits.length, ctx);
    return f;
}
RESILIENCE_COLD RESILIENCE_FUNCTION failure abandoning_timeout::rejected(core& policy,
                                                                         const attempt_limits& limits,
                                                                         call_context& ctx,
                                                                         const char* reason) {
    policy.rejected.fetch_add(1, std::memory_order_relaxed);
    failure f(rejection{.code = errc::workers_exhausted,
                        .policy = policy.label(),
                        .amount = limits.config->max_abandoned,
                        .reason = reason});
    policy.publish_as_of(ctx.clock().now(), event_kind::call_rejected, f, limits.length, ctx);
    return f;
}
RESILIENCE_COLD RESILIENCE_FUNCTION failure abandoning_timeout::no_worker(core& policy,
                                                                          const attempt_limits& limits,
                                                                          call_context& ctx) {
    policy.calls.fetch_sub(1, std::memory_order_relaxed);
    return rejected(policy, limits, ctx, "has no thread to run on: the system refuses another");
}
#endif

}} // namespace resilience::RESILIENCE_ABI
