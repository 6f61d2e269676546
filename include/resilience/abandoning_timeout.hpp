// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/abandoning_timeout/config.hpp>
#include <resilience/abandoning_timeout/run.hpp>
#include <resilience/call/customise.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/path/composable.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Gives up waiting at the limit, for callables that cannot be asked to stop: the callable, and every
/// policy further in, runs on a worker thread, and whatever it does then, the caller is back in time.
///
/// The worker may go on when the caller is gone, so it works on copies: of the callable, of the arguments
/// (by value; arrays whole, references as std::ref) and of the policy handles, fresh ones for every attempt.
/// Where this is the outermost policy, a callable and arguments passed as rvalues are moved; else, and
/// always with `wrap`, they must be copyable. What a lambda captures by reference, what a std::ref, a
/// pointer or a std::string_view refers to is yours to keep alive until the work ends, and so is what a
/// result that is a reference refers to, which must not be one of the copies. A policy further in, and the
/// registry's clock, are used until then too. The callable does not run on the caller's thread: it sees
/// other thread_locals, and locks that the caller holds are not its own.
///
/// Whatever comes first counts, once: the work's outcome (exceptions included), the limit (timed_out), the
/// call's deadline (timed_out), or the caller's stop request (cancelled). In the latter three the callable's
/// stop_token() is requested, and what it still returns or throws is dropped and counted. The caller's
/// own frame is not touched afterwards. Stop callbacks run on another worker, so that they may wait for what the
/// work holds; only where the system refuses a thread they run on the one that gives the call up.
///
/// An idle worker, else a new one, takes each attempt at once; an attempt costs two thread switches. Workers
/// are shared by the process, never joined, and the process ends with them. Thread-safe.
class abandoning_timeout : public composable<abandoning_timeout>,
                           public policy_handle<detail::abandoning_timeout_core> {
public:
    static constexpr bool outlives_call = true;

    using policy_handle::policy_handle;
    explicit abandoning_timeout(duration limit)
        : abandoning_timeout(abandoning_timeout_config{.limit = limit}) {}
    abandoning_timeout(duration limit, registry& where)
        : abandoning_timeout(abandoning_timeout_config{.limit = limit}, where) {}

    // What follows is for drivers.

    template <class R, class Copy>
    void around(outcome<R>& out, call_context& ctx, const Copy& copy) const {
        static_assert(
            std::is_void_v<R> || std::is_reference_v<R> || std::is_move_constructible_v<R>,
            "resilience: an abandoning timeout needs a result that can move: it comes from another thread");
        const auto policy = core_;                       // the callable may let go of this handle
        const detail::enclosing_call listeners(nullptr); // those told of a time-out have time of their own
        const auto begun = ctx.clock().now();
        const attempt_limits limits(policy->config(), begun, ctx.deadline());

        if (auto why = refusal(*policy, limits, begun, ctx)) {
            out.fail(std::move(*why));
            return;
        }
        std::shared_ptr<detail::typed_run<R, Copy>> run;
        outcome<void> made;
        const auto make = [&] {
            run = std::make_shared<detail::typed_run<R, Copy>>(policy, ctx, limits.until, copy);
        };
        made.run_and_store(make);
        if (made.has_failure()) return out.fail(made.error()); // a copy could not be made
        switch (run_until(run, limits.until, ctx)) {
        case end::finished: run->take(out); break;
        case end::none: out.fail(no_worker(*policy, limits, ctx)); break;
        case end::limit: out.fail(late(*policy, limits, ctx, true)); break;
        case end::stopped: out.fail(stopped(*policy, limits, ctx)); break;
        }
    }

private:
    using core = detail::abandoning_timeout_core;
    using end = detail::abandonable_run::end;

    /// How long this attempt may take, and why no longer.
    struct attempt_limits {
        attempt_limits(const abandoning_timeout_config& c, time_point begun, time_point deadline) noexcept
            : config(&c), until(std::min(saturating_add(begun, c.limit), deadline)),
              length(until == time_point::max() ? duration::max() : saturating_sub(until, begun)) {}

        bool is_of_the_call() const noexcept { return length < config->limit; }

        const abandoning_timeout_config* config; // kept by the policy
        time_point until;
        duration length;
    };

    static std::optional<failure> refusal(core& policy, const attempt_limits& limits, time_point begun,
                                          const call_context& ctx) {
        if (policy.abandoned.load(std::memory_order_acquire) >= limits.config->max_abandoned) {
            return rejected(policy, limits, ctx, nullptr);
        }
        policy.calls.fetch_add(1, std::memory_order_relaxed);
        if (limits.until <= begun) return late(policy, limits, ctx, false);
        if (ctx.stop_requested()) {
            policy.cancelled.fetch_add(1, std::memory_order_relaxed);
            return failure(rejection{.code = errc::cancelled, .policy = policy.label()});
        }
        return std::nullopt;
    }
    /// `none` if there is no thread to run it on, or no memory for one.
    static end run_until(const std::shared_ptr<detail::abandonable_run>& run, time_point until,
                         call_context& ctx) {
        detail::abandonable_run& r = *run;
        struct leaving {
            detail::abandonable_run& r;
            bool started = false;
            ~leaving() {
                if (!started) r.over();
                else r.give_up(end::stopped); // only where this thread is ended while it waits
            }
        } leaving{r};
        const auto stop = [&r] { r.give_up(end::stopped); };
        const bool steady = ctx.clock().is_steady_clock();
        // Before the work begins, which may move a virtual clock. Once they are destroyed they do not run any more.
        const std::stop_callback on_stop(ctx.outer_stop(), stop);
        timer at_limit;
        leaving.started = detail::returned([&] {
            if (!steady && until != time_point::max()) {
                at_limit = ctx.clock().call_at(until, [&r] { r.abandon_as(end::limit); });
                if (ctx.clock().now() >= until)
                    r.abandon_as(end::limit); // it came in between: no timer fires for the past
            }
            detail::worker_pool::instance().start(run);
        });
        if (!leaving.started) return end::none;
        return r.wait(steady ? until : time_point::max());
    }

    RESILIENCE_COLD static failure late(core& policy, const attempt_limits& limits, const call_context& ctx,
                                        bool begun) {
        policy.timed_out.fetch_add(1, std::memory_order_relaxed);
        rejection why{
            .code = errc::timed_out, .policy = policy.label(), .amount = limits.config->limit.count()};
        if (!begun) why.reason = "the call's deadline passed before the attempt began";
        else if (limits.is_of_the_call()) why.reason = "no result before the call's deadline";
        failure f(why);
        const auto at = begun ? limits.until : ctx.clock().now();
        policy.tell(event_kind::timed_out, f, limits.length, at, ctx);
        if (begun) policy.tell(event_kind::call_abandoned, f, limits.length, at, ctx);
        detail::customise(f, limits.config->make_exception);
        return f;
    }
    RESILIENCE_COLD static failure stopped(core& policy, const attempt_limits& limits,
                                           const call_context& ctx) {
        policy.cancelled.fetch_add(1, std::memory_order_relaxed);
        failure f(rejection{.code = errc::cancelled, .policy = policy.label()});
        policy.tell(event_kind::call_abandoned, f, limits.length, ctx.clock().now(), ctx);
        return f;
    }
    RESILIENCE_COLD static failure rejected(core& policy, const attempt_limits& limits,
                                            const call_context& ctx, const char* reason) {
        policy.rejected.fetch_add(1, std::memory_order_relaxed);
        failure f(rejection{.code = errc::workers_exhausted,
                            .policy = policy.label(),
                            .amount = limits.config->max_abandoned,
                            .reason = reason});
        policy.tell(event_kind::call_rejected, f, limits.length, ctx.clock().now(), ctx);
        return f;
    }
    RESILIENCE_COLD static failure no_worker(core& policy, const attempt_limits& limits,
                                             const call_context& ctx) {
        policy.calls.fetch_sub(1, std::memory_order_relaxed);
        return rejected(policy, limits, ctx, "has no thread to run on: the system refuses another");
    }
};

}} // namespace resilience::RESILIENCE_ABI
