// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/abandoning_timeout/config.hpp>
#include <resilience/call/system_time.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/detail/worker_pool.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/path/composable.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

class abandoning_timeout_core final : public policy_core<abandoning_timeout_core, abandoning_timeout_config> {
public:
    using policy_core::policy_core;

    abandoning_timeout_stats stats() const {
        const auto read = [](const auto& count) { return count.load(std::memory_order_relaxed); };
        // First, and acquired: whoever sees a call gone counts its late result too.
        const std::uint64_t running = abandoned.load(std::memory_order_acquire);
        return {name(),         read(calls),        read(timed_out), read(cancelled),
                read(rejected), read(late_results), running};
    }
    /// `at`: when it happened, which a waiting thread learns a little later.
    void tell(event_kind what, const failure& why, duration limit, time_point at,
              const call_context& ctx) const {
        publish(what, ctx, &why, [&](event& e) {
            e.retry_depth = ctx.retry_depth();
            e.delay = limit;
            e.at = at;
            using wall = std::chrono::system_clock::duration;
            e.wall =
                clock().wall_now() - std::chrono::duration_cast<wall>(elapsed_between(at, clock().now()));
        });
    }

    // Only ever added to; relaxed: a count orders nothing. A call of this kind costs two thread switches,
    // so that stripes would not be noticed.
    atomic<std::uint64_t> calls{0};
    atomic<std::uint64_t> timed_out{0};
    atomic<std::uint64_t> cancelled{0};
    atomic<std::uint64_t> rejected{0};
    atomic<std::uint64_t> late_results{0};
    /// Abandoned calls that still run. Release where one has ended: a thread that sees it gone sees all that its
    /// worker did.
    atomic<std::uint32_t> abandoned{0};
};

/// One attempt on a worker, with all that the worker touches: it co-owns the policy, and through it the
/// environment. The caller waits for it to end, in one of three ways, of which the first to come counts.
class abandonable_run : public worker_pool::job, public std::enable_shared_from_this<abandonable_run> {
public:
    enum class end : std::uint8_t { none, finished, limit, stopped };

    abandonable_run(std::shared_ptr<abandoning_timeout_core> core, const call_context& caller,
                    time_point until)
        : core_(std::move(core)), operation_(caller.operation()), attempt_(caller.attempt()),
          retry_depth_(caller.retry_depth()) {
        options_.deadline = until;
        options_.stop_token = stop_.get_token();
        options_.idempotency = caller.idempotency();
    }

    /// Leaves the work running and has another worker ask it to stop: its stop callbacks may wait for what it holds. They
    /// run here only where no worker is to be had. False, and nothing is done, if it has ended already.
    bool give_up(end how) noexcept {
        if (!claim(how)) return false;
        ended_.notify_one();
        if (!returned([&] { worker_pool::instance().start(std::make_shared<asking>(shared_from_this())); })) {
            stop_.request_stop();
            leave();
        }
        return true;
    }
    /// The same for timers: when this returns, the token of abandoned work says that it is to stop. In virtual time the
    /// thread that moved the clock may look at it next.
    bool abandon_as(end how) {
        const bool first = give_up(how);
        unique_lock lock(mutex_);
        while (end_ != end::finished && !stop_.stop_requested()) {
            // Nobody could notify this one: stop callbacks come in any order.
            look_again_.wait_until(lock, saturating_add(system_time().now(), std::chrono::microseconds{20}));
        }
        return first;
    }
    /// Blocks until it has ended, which it does at `until` (on std::chrono::steady_clock) at the latest.
    end wait(time_point until) {
        unique_lock lock(mutex_);
        while (end_ == end::none || (end_ == end::finished && !told_)) {
            if (until == time_point::max() || end_ == end::finished) {
                ended_.wait(lock);
            } else if (ended_.wait_until(lock, until) == cv_status::timeout) {
                lock.unlock();
                give_up(end::limit);
                lock.lock();
            }
        }
        return end_;
    }
    /// The work has ended, or was never begun. Nobody waits for an abandoned one: its outcome goes here.
    void over() noexcept {
        drop_work();
        if (claim(end::finished)) return;
        if (drop_outcome()) core_->late_results.fetch_add(1, std::memory_order_relaxed);
        leave();
    }
    void run() final {
        struct at_the_end {
            abandonable_run& run;
            bool returned = false;
            ~at_the_end() {
                run.over();
                if (!returned) run.tell(); // the thread is ended inside the callable: nobody else will
            }
        } at_the_end{*this};
        {
            const lock_guard lock(mutex_);
            at_the_end.returned = end_ != end::none;
            if (at_the_end.returned) return; // nobody waits any more: not begun
        }
        call_context ctx(core_->env()->clock(), core_->env().get());
        ctx.set_operation(operation_);
        ctx.set_attempt(attempt_);
        ctx.set_retry_depth(retry_depth_);
        ctx.apply(options_);
        ctx.deadline_stops();
        const enclosing_call here(ctx);
        work(ctx);
        at_the_end.returned = true;
    }
    /// The caller finds the worker idle when it wakes: its next call needs no second one.
    void tell() noexcept final {
        {
            const lock_guard lock(mutex_);
            told_ = true;
        }
        ended_.notify_one();
    }

protected:
    virtual void work(call_context& ctx) = 0;
    virtual void drop_work() noexcept = 0;
    /// False if there was none.
    virtual bool drop_outcome() noexcept = 0;
    /// For the caller, once it has finished: if this was the last of the policy, it goes on the caller's
    /// thread, not on a worker that counts as idle.
    void let_go_of_policy() noexcept { core_.reset(); }

private:
    struct asking final : worker_pool::job {
        explicit asking(std::shared_ptr<abandonable_run> run) noexcept : which(std::move(run)) {}
        void run() override { which->stop_.request_stop(); }
        void tell() noexcept override { which->leave(); }
        std::shared_ptr<abandonable_run> which;
    };

    /// An abandoned call is one until its work has ended and its stop callbacks have.
    void leave() noexcept {
        if (inside_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            core_->abandoned.fetch_sub(1, std::memory_order_release);
    }
    /// The one claim: true for whoever comes first.
    bool claim(end how) noexcept {
        const lock_guard lock(mutex_);
        if (end_ != end::none) return false;
        if (how != end::finished) core_->abandoned.fetch_add(1, std::memory_order_relaxed);
        end_ = how;
        return true;
    }

    std::shared_ptr<abandoning_timeout_core> core_; // the worker's until it has finished, then the caller's
    const std::string operation_;
    const unsigned attempt_;
    const unsigned retry_depth_;
    std::stop_source stop_;
    call_options options_;
    waitable_mutex mutex_;
    condition_variable ended_;
    condition_variable look_again_;
    end end_ = end::none; // guarded by mutex_
    bool told_ = false;   // guarded by mutex_; that it has finished
    // Of an abandoned call: the work, and the asking. Acquire and release: the last sees what the other has counted.
    atomic<unsigned> inside_{2};
};

/// `Make` gives the work, made in place: what cannot be moved twice need not be.
template <class R, class Make>
class typed_run final : public abandonable_run {
public:
    typed_run(std::shared_ptr<abandoning_timeout_core> core, const call_context& caller, time_point until,
              const Make& make)
        : abandonable_run(std::move(core), caller, until), work_(std::in_place, made{make}) {}

    /// For the caller, once it has finished.
    void take(outcome<R>& out) {
        if (out_.is_empty())
            out_.fail(rejection{.code = errc::cancelled, .reason = "the callable ended its thread"});
        out = std::move(out_);
        out_.clear();
        let_go_of_policy();
    }

private:
    using owned = std::invoke_result_t<const Make&>;
    struct made {
        const Make& make;
        operator owned() const {
            return make();
        } // NOLINT(google-explicit-constructor): stands for what it makes
    };

    void work(call_context& ctx) override {
#if RESILIENCE_EXCEPTIONS
        try {
            (*work_)(out_, ctx);
        } catch (forced_unwind&) {
            throw;
        } catch (...) { // of a policy, not of the callable
            out_.fail(failure(std::current_exception()));
        }
#else
        (*work_)(out_, ctx);
#endif
    }
    void drop_work() noexcept override { work_.reset(); }
    bool drop_outcome() noexcept override {
        const bool any = out_.has_value() || out_.has_failure();
        out_.clear();
        return any;
    }

    std::optional<owned> work_;
    outcome<R> out_; // the worker's until the run has ended as finished, the caller's from then on
};

}}} // namespace resilience::RESILIENCE_ABI::detail
