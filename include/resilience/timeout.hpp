// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/customise.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/path/composable.hpp>
#include <resilience/timeout/attempts.hpp>

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/detail/complaint.hpp>
#include <resilience/detail/text.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// Configures a timeout.
struct timeout_config {
    static constexpr std::string_view policy_kind = "timeout";

    /// Names the policy in its registry, in events and in errors; empty: private and unlisted.
    std::string name{};
    /// How long an attempt may take. More than 0; there is no default.
    duration limit{};
    /// True: a value that came late is let through, instead of reporting timed_out.
    bool keep_late = false;
    /// Makes the exception that is thrown instead of timeout_error. If it is null or throws, that one is.
    std::function<std::exception_ptr(const failure&)> make_exception{};
    /// Shown on metrics, events and snapshots; at most 8, constant.
    labels_type labels{};
};

void fields(timeout_config& c, auto&& visit) {
    visit("limit", c.limit);
    visit("keep_late", c.keep_late);
    visit("make_exception", c.make_exception);
}

/// A complaint that names field, value and range; empty if the config is valid.
std::string validate(const timeout_config& c);

/// Totals of a timeout since its creation, and its attempts that run now.
struct timeout_stats {
    std::string name;
    std::uint64_t calls = 0;
    std::uint64_t in_time = 0;
    /// Attempts that came to their limit without a value, or whose value came later.
    std::uint64_t timed_out = 0;
    /// Late values that keep_late let through.
    std::uint64_t kept_late = 0;
    /// Other failures, of the callable and of policies further in. They go out unchanged.
    std::uint64_t failed = 0;
    /// Attempts that run now. A forked child goes on from its parent's number.
    std::uint64_t in_flight = 0;
    /// Attempts that ran, or have been running, for more than twice their limit.
    std::uint64_t overrun_total = 0;
    /// The longest time by which an attempt outran its limit.
    duration longest_overrun{0};
};

void statistics(const timeout_stats& s, auto&& visit) {
    const auto ended = [](std::string_view how) {
        return counter{"Attempts under a timeout that ended, by how.", "timelimiter_calls_total", how};
    };
    visit("calls", s.calls, counter{"Attempts that ended.", no_metric});
    visit("in_time", s.in_time, ended("successful"));
    visit("kept_late", s.kept_late, ended("successful"));
    visit("failed", s.failed, ended("failed"));
    visit("timed_out", s.timed_out, ended("timeout"));
    visit("in_flight", s.in_flight, gauge{"Attempts that run now."});
    visit("overrun_total", s.overrun_total,
          counter{"Attempts that ran for more than twice their limit.", "timeout_overrun_total"});
    visit("longest_overrun", s.longest_overrun,
          gauge{"The longest time by which an attempt outran its limit.", "timeout_longest_overrun_seconds"});
}

namespace detail {

class timeout_core final : public policy_core<timeout_core, timeout_config> {
public:
    using counter = timed_attempts::counter;

    timeout_core(timeout_config config, const registry& where);

    /// Tells listeners of attempts that are past twice their limit.
    timeout_stats stats() const;
    timed_attempts& attempts() noexcept { return attempts_; }
    /// Called when an attempt ends after `deadline`: looks whether it is past twice its `limit`. `own` is the
    /// deadline with which it began.
    void look_at(duration limit, time_point deadline, time_point own, const call_context& ctx) noexcept;

    /// The deadline of an attempt that begins now. The coarse clock is behind by up to a tick, so a tick is
    /// added: no deadline is early. It is read only if a tick is at most 1 % of the limit.
    RESILIENCE_INLINE time_point deadline(duration limit) const noexcept {
        const time_source& clock = env_->clock();
        if (coarse_from_ > limit) return saturating_add(clock.now(), limit);
        return saturating_add(saturating_add(clock.coarse_now(), tick_), limit);
    }
    /// True if an attempt is late by now. The exact clock is read only if the coarse one cannot tell.
    RESILIENCE_INLINE bool is_late(duration limit, time_point deadline) const noexcept {
        const time_source& clock = env_->clock();
        if (coarse_from_ <= limit && saturating_add(clock.coarse_now(), tick_) <= deadline) [[likely]]
            return false;
        return clock.now() > deadline;
    }

private:
    const duration tick_;
    const duration coarse_from_;      // the least limit of which a tick is at most 1 %
    mutable timed_attempts attempts_; // a reader may be the first to see an overrun
};

} // namespace detail

/// Gives an attempt a deadline. The callable must look at it: as ctx.remaining() for its socket, as
/// ctx.deadline(), or as ctx.stop_token(). Nested calls inherit it. A value that comes later is dropped and
/// reported as timed_out. A callable that ignores its context is judged late, never cut short; see
/// abandoning_timeout for callables that cannot be asked.
///
/// Deadlines nest: the inner is never later than the outer. A value that comes exactly at the limit is in
/// time. An attempt that ends at its limit without a value has timed out for statistics, events and the
/// policies around it; the client's own error goes out unchanged. Only where our stop request ended it is
/// timeout_error thrown. Thread-safe.
class timeout : public composable<timeout>, public policy_handle<detail::timeout_core> {
public:
    using policy_handle::policy_handle;
    explicit timeout(duration limit) : timeout(timeout_config{.limit = limit}) {}
    timeout(duration limit, registry& where) : timeout(timeout_config{.limit = limit}, where) {}

    // For drivers.

    class attempt_state {
    public:
        explicit attempt_state(detail::timeout_core& core) noexcept : core_(&core), config_(&core.config()) {}
        attempt_state(detail::timeout_core& core, const timeout_config& config, time_point deadline,
                      time_point outer, duration outer_cap) noexcept
            : core_(&core), config_(&config), deadline_(deadline), outer_{outer, outer_cap, nullptr, {}},
              runs_(true) {}
        attempt_state(const attempt_state&) = delete;
        attempt_state& operator=(const attempt_state&) = delete;
        ~attempt_state() {
            if (runs_) core_->attempts().end(detail::timed_attempts::abandoned, deadline_);
        }

        admission admit(call_context& ctx);
        settlement settle(const attempt_result& result, call_context& ctx);

    private:
        detail::timeout_core* core_;
        const timeout_config* config_;
        time_point deadline_{};
        call_context::scope outer_{};
        bool runs_ = false; // an attempt was admitted and is not settled
    };
    attempt_state begin(call_context&) const noexcept { return attempt_state(*core_); }

    struct fast_permit {
        const timeout_config* config; // in force when the call began
        time_point deadline;
        time_point outer;
        duration outer_cap;
        explicit operator bool() const noexcept { return true; }
    };
    RESILIENCE_INLINE fast_permit try_begin(call_context& ctx) const noexcept {
        const timeout_config& config = core_->config();
        const time_point outer = ctx.deadline();
        const time_point deadline = core_->deadline(config.limit);
        const duration outer_cap = ctx.remaining_cap();
        ctx.tighten(deadline, config.limit);
        return {&config, deadline, outer, outer_cap};
    }
    RESILIENCE_INLINE bool in_time(const fast_permit& permit) const noexcept {
        return !core_->is_late(permit.config->limit, permit.deadline);
    }
    RESILIENCE_INLINE void start(const fast_permit& permit) const noexcept {
        core_->attempts().begin_here(permit.deadline);
    }
    RESILIENCE_INLINE void succeed(const fast_permit& permit) const noexcept {
        core_->attempts().end(detail::timed_attempts::in_time, permit.deadline);
    }
    void abandon(const fast_permit& permit) const noexcept {
        core_->attempts().end(detail::timed_attempts::abandoned, permit.deadline);
    }
    attempt_state resume(const fast_permit& permit, call_context&) const noexcept {
        return {*core_, *permit.config, permit.deadline, permit.outer, permit.outer_cap};
    }
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION std::string validate(const timeout_config& c) {
    if (c.limit > duration{0}) return detail::validate_labels("timeout_config", c.labels);
    return detail::complaint("timeout_config.limit", c.limit, "more than 0");
}
RESILIENCE_FUNCTION detail::timeout_core::timeout_core(timeout_config config, const registry& where)
    : policy_core(std::move(config), where), tick_(clock().coarse_resolution()), coarse_from_(tick_ * 100) {}
RESILIENCE_FUNCTION timeout_stats detail::timeout_core::stats() const {
    const duration limit = config().limit;
    attempts_.look(clock().now(), limit, [&](duration past) {
        const auto alive = shared_from_this(); // a listener may destroy the last handle
        env_->tell([&] {
            event e = event_of(event_kind::overran);
            e.delay = limit;
            e.reason = "has been running for " + duration_text(limit + past);
            return e;
        });
    });
    const timed_attempts& a = attempts_;
    timeout_stats s{name(),
                    0,
                    a.sum(counter::in_time),
                    a.sum(counter::timed_out),
                    a.sum(counter::kept_late),
                    a.sum(counter::failed),
                    a.in_flight(),
                    a.overrun(),
                    a.longest()};
    s.calls = s.in_time + s.timed_out + s.kept_late + s.failed;
    return s;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void detail::timeout_core::look_at(duration limit, time_point deadline,
                                                                       time_point own,
                                                                       const call_context& ctx) noexcept {
    const duration past = elapsed_between(deadline, clock().now());
    const std::uint32_t stripe = ctx.stays_on_thread() ? attempts_.here() : timed_attempts::nowhere;
    if (!attempts_.ends_past(past, limit, own, stripe)) return;
    publish(event_kind::overran, ctx, nullptr, [&](event& e) {
        e.delay = limit;
        e.reason = "ran for " + duration_text(limit + past);
    });
}
RESILIENCE_FUNCTION admission timeout::attempt_state::admit(call_context& ctx) {
    deadline_ = core_->deadline(config_->limit);
    outer_ = ctx.narrow(deadline_, config_->limit);
    if (ctx.stays_on_thread()) core_->attempts().begin_here(deadline_);
    else core_->attempts().begin_anywhere();
    runs_ = true;
    return admission::go();
}
RESILIENCE_FUNCTION settlement timeout::attempt_state::settle(const attempt_result& result,
                                                              call_context& ctx) {
    using how = detail::timed_attempts::counter;
    // A deadline of the caller's or of an enclosing call is this policy's business if it is the earlier one.
    const bool is_own = outer_.owner == limit_owner::policy || outer_.deadline >= deadline_;
    const time_point deadline = is_own ? deadline_ : outer_.deadline;
    const duration limit = is_own ? config_->limit : outer_.remaining_cap;
    const limit_owner whose = is_own ? limit_owner::policy : outer_.owner;
    ctx.restore(std::move(outer_));
    runs_ = false;
    if (core_->is_late(config_->limit, deadline)) core_->look_at(limit, deadline, deadline_, ctx);

    const auto missed = result.missed(deadline); // the winner of a race is in time by any clock
    const failure* why = result.error();
    if (why == nullptr) {
        if (!(missed ? *missed : core_->is_late(config_->limit, deadline))) {
            core_->attempts().end(how::in_time, deadline_);
            return settlement::finish();
        }
        if (config_->keep_late) {
            core_->attempts().end(how::kept_late, deadline_);
            return settlement::finish();
        }
    } else if (!missed.value_or(false)) {
        core_->attempts().end(how::failed, deadline_);
        return settlement::finish();
    }
    core_->attempts().end(how::timed_out, deadline_);
    const auto tell = [&](const failure& told) {
        core_->publish(event_kind::timed_out, ctx, &told, [&](event& e) {
            e.delay = limit;
            if (!told.is_rejection()) e.reason = detail::no_result_within(limit, whose);
        });
    };
    if (why != nullptr && !(why->is_rejection() && why->code() == errc::timed_out)) {
        tell(*why); // the client's own error
        return settlement::time_out();
    }
    failure late(rejection{
        .code = errc::timed_out, .whose = whose, .policy = core_->label(), .amount = limit.count()});
    if (why != nullptr) late.share_cause(*why);
    tell(late);
    detail::customise(late, config_->make_exception);
    return settlement::replace(std::move(late));
}
#endif

RESILIENCE_INSTANTIATE(class policy_core<detail::timeout_core, timeout_config>)
RESILIENCE_INSTANTIATE(
    std::shared_ptr<detail::timeout_core> enrolled<detail::timeout_core>(registry&, const timeout_config&))

}} // namespace resilience::RESILIENCE_ABI
