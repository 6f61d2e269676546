// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/abandoning_timeout/core.hpp>
#include <resilience/call/call_context.hpp>
#include <resilience/call/lease_relay.hpp>
#include <resilience/call/outside_of_calls.hpp>
#include <resilience/call/silence.hpp>
#include <resilience/call/system_time.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/detail/worker_pool.hpp>
#include <resilience/path/composable.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// An attempt on a worker, with all that the worker touches: it co-owns the policy and the environment. It
/// ends once: as finished, at its limit, or by the caller's stop. The first of the three counts.
class abandonable_run : public worker_pool::job, public std::enable_shared_from_this<abandonable_run> {
public:
    enum class end : std::uint8_t { none, finished, limit, stopped };

    /// `watch` is over the silence of the work, and may be null.
    abandonable_run(std::shared_ptr<abandoning_timeout_core> core, const call_context& caller,
                    time_point until, std::shared_ptr<silence_watch> watch);

    /// Leaves the work running and lets another worker request its stop, since stop callbacks may wait for
    /// locks that the work holds. Only if the system refuses a worker, they run here. False, and nothing is
    /// done, if the run has ended already.
    bool abandon(end how) noexcept;
    /// As abandon(), for timers: returns once the work's token says stop, since the thread that moves a
    /// virtual clock may look at the token next.
    bool abandon_and_wait(end how);
    /// The leases of the caller, as the worker holds them.
    lease_relay& leases() noexcept { return leases_; }
    /// Blocks until the run has ended, which it does by `until` (on std::chrono::steady_clock).
    end wait(time_point until);
    /// Called when the work has ended, or will not begin. Drops the outcome of abandoned work.
    void work_ended() noexcept;
    RESILIENCE_FUNCTION void run() final;
    /// Wakes the caller after the worker is back in the pool, so that the caller's next call reuses it.
    RESILIENCE_FUNCTION void tell() noexcept final;
    /// Tells the context of the caller what the finished work counted and told.
    void report_to(call_context& caller) const noexcept {
        caller.count_transparent_repeats(repeats_.load(std::memory_order_relaxed) - repeats_before_);
        caller.set_told(was_told_);
    }

protected:
    virtual void work(call_context& ctx) = 0;
    virtual void drop_work() noexcept = 0;
    /// False if there was no outcome.
    virtual bool drop_outcome() noexcept = 0;
    /// Called by the caller of a finished run. If this was the policy's last owner, the policy must end on
    /// the caller's thread, not on a worker that counts as idle.
    void release_policy() noexcept { core_.reset(); }

private:
    class stop_request_job;

    /// An abandoned run is over when its work and its stop request are.
    void close_part() noexcept;
    /// True for the first caller, whose end counts.
    bool end_as(end how) noexcept;

    std::shared_ptr<abandoning_timeout_core>
        core_; // the worker's until the run has finished, then the caller's
    // Names the attempt for events. Once it is given up, readers of the statistics find it in the core's list.
    abandoned_work work_seen_;
    const unsigned repeats_before_; // in the caller's call
    atomic<unsigned> repeats_;      // starts with those; relaxed: the end of the run orders it
    const bool is_in_attempt_;
    const bool is_told_by_retry_;
    bool was_told_ = false; // the worker's until the run has finished, then the caller's
    const time_point until_;
    const duration limit_; // its length
    const std::shared_ptr<silence_watch> watch_;
    lease_relay leases_;
    std::stop_source stop_;
    call_options options_;
    const call_request request_; // the two above, as the work's context sees them
    stop_at_deadline at_limit_;  // requests stop_
    waitable_mutex mutex_;
    condition_variable ended_;
    condition_variable look_again_; // never notified
    end end_ = end::none;           // guarded by mutex_
    bool reported_ = false;         // guarded by mutex_; true: the worker is back in the pool
    // Invariant: of an abandoned run, the parts (work, stop request) that have not ended. Acquire and
    // release: the last to end sees the counts of the other.
    atomic<unsigned> open_parts_{2};
};

#if RESILIENCE_BODIES
class abandonable_run::stop_request_job final : public worker_pool::job {
public:
    explicit stop_request_job(std::shared_ptr<abandonable_run> asked) noexcept : of_(std::move(asked)) {}
    void run() override { of_->stop_.request_stop(); }
    void tell() noexcept override { of_->close_part(); }

private:
    std::shared_ptr<abandonable_run> of_;
};

RESILIENCE_FUNCTION abandonable_run::abandonable_run(std::shared_ptr<abandoning_timeout_core> core,
                                                     const call_context& caller, time_point until,
                                                     std::shared_ptr<silence_watch> watch)
    : core_(std::move(core)), work_seen_{std::string(caller.operation()), caller.attempt(),
                                         caller.retry_depth(), std::string(caller.correlation())},
      repeats_before_(caller.transparent_repeats()), repeats_(repeats_before_),
      is_in_attempt_(caller.is_in_attempt()), is_told_by_retry_(caller.is_told_by_retry()), until_(until),
      limit_(until == time_point::max() ? duration::max() : saturating_sub(until, caller.clock().now())),
      watch_(std::move(watch)), request_{work_seen_.operation, &options_} {
    options_.stop_token = stop_.get_token();
    options_.idempotency = caller.stated_idempotency();
    options_.priority = caller.priority();
    options_.cost = caller.cost();
    options_.correlation = caller.correlation();
}
RESILIENCE_FUNCTION bool abandonable_run::abandon(end how) noexcept {
    if (!end_as(how)) return false;
    ended_.notify_one();
    if (!returned(
            [&] { worker_pool::instance().start(std::make_shared<stop_request_job>(shared_from_this())); })) {
        const outside_of_calls callbacks; // this thread may be inside of a call that has requested the stop
        stop_.request_stop();
        close_part();
    }
    return true;
}
RESILIENCE_FUNCTION bool abandonable_run::abandon_and_wait(end how) {
    const bool first = abandon(how);
    unique_lock lock(mutex_);
    while (end_ != end::finished && !stop_.stop_requested()) {
        // Polls: stop callbacks run in any order, so none could notify this thread in time.
        look_again_.wait_until(lock, saturating_add(system_time().now(), std::chrono::microseconds{20}));
    }
    return first;
}
RESILIENCE_FUNCTION abandonable_run::end abandonable_run::wait(time_point until) {
    unique_lock lock(mutex_);
    while (end_ == end::none || (end_ == end::finished && !reported_)) {
        if (until == time_point::max() || end_ == end::finished) {
            ended_.wait(lock);
        } else if (ended_.wait_until(lock, until) == cv_status::timeout) {
            lock.unlock();
            abandon(end::limit);
            lock.lock();
        }
    }
    return end_;
}
RESILIENCE_FUNCTION void abandonable_run::work_ended() noexcept {
    drop_work();
    if (end_as(end::finished)) return;
    core_->ends(work_seen_);
    if (drop_outcome()) core_->late_results.fetch_add(1, std::memory_order_relaxed);
    close_part();
}
RESILIENCE_FUNCTION void abandonable_run::run() {
    struct end_guard {
        abandonable_run& run;
        bool returned = false;
        ~end_guard() {
            run.core_->in_flight.fetch_sub(1, std::memory_order_relaxed);
            run.work_ended();
            if (!returned) run.tell(); // the callable ended this thread, so the pool will not tell
        }
    } at_the_end{*this};
    core_->in_flight.fetch_add(1, std::memory_order_relaxed);
    {
        const lock_guard lock(mutex_);
        at_the_end.returned = end_ != end::none;
        if (at_the_end.returned) return; // abandoned before it began
    }
    call_context ctx(core_->env()->clock(), core_->env().get());
    ctx.set_request(request_);
    ctx.set_attempt(work_seen_.attempt);
    ctx.set_retry_depth(work_seen_.retry_depth);
    if (is_in_attempt_) ctx.count_repeats_in(repeats_);
    ctx.set_told_by_retry(is_told_by_retry_);
    ctx.narrow(until_, limit_, watch_.get());
    ctx.apply(options_);
    ctx.stop_token_covers_deadline(at_limit_);
    struct lease_guard {
        lease_relay& held;
        ~lease_guard() { held.let_go(); }
    } const until_ctx_ends{leases_};
    if (leases_.is_needed()) ctx.leases().hold(leases_);
    const enclosing_call here(ctx);
    work(ctx);
    was_told_ = ctx.was_told();
    at_the_end.returned = true;
}
RESILIENCE_FUNCTION void abandonable_run::tell() noexcept {
    {
        const lock_guard lock(mutex_);
        reported_ = true;
    }
    ended_.notify_one();
}
RESILIENCE_FUNCTION void abandonable_run::close_part() noexcept {
    if (open_parts_.fetch_sub(1, std::memory_order_acq_rel) == 1)
        core_->abandoned.fetch_sub(1, std::memory_order_release);
}
RESILIENCE_FUNCTION bool abandonable_run::end_as(end how) noexcept {
    const lock_guard lock(mutex_);
    if (end_ != end::none) return false;
    if (how != end::finished) {
        core_->abandoned.fetch_add(1, std::memory_order_relaxed);
        const bool by_silence = watch_ != nullptr && watch_->first().until() < until_;
        work_seen_.until = by_silence ? watch_->first().until() : until_;
        work_seen_.limit = by_silence ? watch_->first().idle() : limit_;
        core_->begins(work_seen_);
        at_limit_.abandoned.store(true, std::memory_order_relaxed);
    }
    if (how == end::limit) at_limit_.struck.store(true, std::memory_order_release);
    end_ = how;
    return true;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
