// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/customise.hpp>
#include <resilience/call/silence.hpp>
#include <resilience/detail/striped_counters.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/path/composable.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/detail/complaint.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// Configures a timeout.
struct timeout_config {
    static constexpr std::string_view policy_kind = "timeout";

    /// Names the policy in its registry, in events and in errors; empty: private and unlisted.
    std::string name{};
    /// How long an attempt may take. More than 0; there is no default. It may be left out where `idle` is set:
    /// then an attempt may go on for as long as it makes progress.
    duration limit{};
    /// True: a value that came late is let through, instead of reporting timed_out.
    bool keep_late = false;
    /// Makes the exception that is thrown instead of timeout_error. If it is null or throws, that one is.
    std::function<std::exception_ptr(const failure&)> make_exception{};
    /// How long an attempt may be silent: from its beginning, and from each ctx.progress() on. More than 0. Unset:
    /// silence is not bounded, since only callables that tell of progress can be told from those that hang.
    std::optional<duration> idle{};
    /// Shown on metrics, events and snapshots; at most 8, constant.
    labels_type labels{};
};

void fields(timeout_config& c, auto&& visit) {
    visit("limit", c.limit);
    visit("keep_late", c.keep_late);
    visit("make_exception", c.make_exception);
    visit("idle", c.idle);
}

/// A complaint that names field, value and range; empty if the config is valid.
std::string validate(const timeout_config& c);

/// Totals of a timeout since its creation.
struct timeout_stats {
    std::string name;
    std::uint64_t calls = 0;
    std::uint64_t in_time = 0;
    std::uint64_t timed_out = 0;
    /// Late values that keep_late let through.
    std::uint64_t kept_late = 0;
    /// Failures of the callable and of policies further in. They go out unchanged, late or not.
    std::uint64_t failed = 0;
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
}

namespace detail {

class timeout_core final : public policy_core<timeout_core, timeout_config> {
public:
    enum counter : std::size_t { in_time, timed_out, kept_late, failed };

    timeout_core(timeout_config config, const registry& where);

    timeout_stats stats() const;
    /// duration::max() if there is none.
    static constexpr duration limit_of(const timeout_config& c) noexcept {
        return c.limit > duration{0} ? c.limit : duration::max();
    }
    void count(counter c) noexcept { counts_.add(c); }

    /// A watch over the silence of an attempt that begins now; null if its silence is not bounded.
    std::shared_ptr<silence_watch> watch(const timeout_config& config, const call_context& ctx) const;

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
    const duration coarse_from_; // the least limit of which a tick is at most 1 %
    striped_counters<4> counts_;
};

} // namespace detail

/// Gives an attempt a deadline. The callable must look at it: as ctx.remaining() for its socket, as
/// ctx.deadline(), or as ctx.stop_token(). Nested calls inherit it. A value that comes later is dropped and
/// reported as timed_out. A callable that ignores its context is judged late, never cut short; see
/// abandoning_timeout for callables that cannot be asked.
///
/// With `idle` it also bounds the attempt's silence: a live stream goes on for as long as the callable calls
/// ctx.progress() often enough, and a connection that hangs is noticed long before a limit for the whole.
///
/// Deadlines nest: the inner is never later than the outer. A late failure stays as it is, unless it reports
/// cancellation after the deadline requested ctx.stop_token(): then it is timed_out. A value that comes
/// exactly at the limit is in time. Thread-safe.
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
            : core_(&core), config_(&config), deadline_(deadline), outer_{outer, outer_cap, nullptr, {}} {}
        attempt_state(const attempt_state&) = delete;
        attempt_state& operator=(const attempt_state&) = delete;

        admission admit(call_context& ctx);
        settlement settle(const attempt_result& result, call_context& ctx);

    private:
        detail::timeout_core* core_;
        const timeout_config* config_;
        time_point deadline_{};
        std::shared_ptr<detail::silence_watch> silence_;
        call_context::scope outer_{};
    };
    attempt_state begin(call_context&) const noexcept { return attempt_state(*core_); }

    struct fast_permit {
        const timeout_config*
            config; // in force when the call began; null: it bounds silence, which takes a watch
        time_point deadline;
        time_point outer;
        duration outer_cap;
        explicit operator bool() const noexcept { return config != nullptr; }
    };
    RESILIENCE_INLINE fast_permit try_begin(call_context& ctx) const noexcept {
        const timeout_config& config = core_->config();
        if (config.idle) [[unlikely]]
            return {};
        const time_point outer = ctx.fixed_deadline();
        const time_point deadline = core_->deadline(config.limit);
        const duration outer_cap = ctx.fixed_cap();
        ctx.tighten(deadline, config.limit);
        return {&config, deadline, outer, outer_cap};
    }
    RESILIENCE_INLINE bool in_time(const fast_permit& permit) const noexcept {
        return !core_->is_late(permit.config->limit, permit.deadline);
    }
    RESILIENCE_INLINE void succeed(const fast_permit&) const noexcept {
        core_->count(detail::timeout_core::in_time);
    }
    void abandon(const fast_permit&) const noexcept {}
    attempt_state resume(const fast_permit& permit, call_context&) const noexcept {
        return {*core_, *permit.config, permit.deadline, permit.outer, permit.outer_cap};
    }
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION std::string validate(const timeout_config& c) {
    if (c.idle && *c.idle <= duration{0})
        return detail::complaint("timeout_config.idle", *c.idle, "more than 0");
    if (c.limit < duration{0} || (c.limit == duration{0} && !c.idle))
        return detail::complaint("timeout_config.limit", c.limit, "more than 0");
    return detail::validate_labels("timeout_config", c.labels);
}
RESILIENCE_FUNCTION detail::timeout_core::timeout_core(timeout_config config, const registry& where)
    : policy_core(std::move(config), where), tick_(clock().coarse_resolution()), coarse_from_(tick_ * 100) {}
RESILIENCE_FUNCTION timeout_stats detail::timeout_core::stats() const {
    timeout_stats s{
        name(), 0, counts_.sum(in_time), counts_.sum(timed_out), counts_.sum(kept_late), counts_.sum(failed)};
    s.calls = s.in_time + s.timed_out + s.kept_late + s.failed;
    return s;
}
RESILIENCE_FUNCTION std::shared_ptr<detail::silence_watch> detail::timeout_core::watch(
    const timeout_config& config, const call_context& ctx) const {
    if (!config.idle) return nullptr;
    return std::make_shared<silence_watch>(ctx.clock().now(), *config.idle, ctx.watch());
}
RESILIENCE_FUNCTION admission timeout::attempt_state::admit(call_context& ctx) {
    const duration limit = core_->limit_of(*config_);
    deadline_ = core_->deadline(limit);
    silence_ = core_->watch(*config_, ctx);
    outer_ = ctx.narrow(deadline_, limit, silence_.get());
    return admission::go();
}
RESILIENCE_FUNCTION settlement timeout::attempt_state::settle(const attempt_result& result,
                                                              call_context& ctx) {
    using core = detail::timeout_core;
    // A deadline of the caller's or of an enclosing call is this policy's business if it is the earlier one.
    const bool is_own = outer_.owner == limit_owner::policy || outer_.deadline >= deadline_;
    time_point deadline = is_own ? deadline_ : outer_.deadline;
    duration limit = is_own ? core::limit_of(*config_) : outer_.remaining_cap;
    limit_owner whose = is_own ? limit_owner::policy : outer_.owner;
    if (silence_ != nullptr && silence_->until() < deadline) {
        deadline = silence_->until();
        limit = silence_->idle();
        whose = limit_owner::silence;
    }
    ctx.restore(std::move(outer_));

    const auto missed = result.missed(deadline); // the winner of a race is in time by any clock
    const failure* why = result.error();
    if (why == nullptr) {
        if (!(missed ? *missed : core_->is_late(config_->limit, deadline))) {
            core_->count(core::in_time);
            return settlement::finish();
        }
        if (config_->keep_late) {
            core_->count(core::kept_late);
            return settlement::finish();
        }
    } else if (!missed.value_or(false)) {
        core_->count(core::failed);
        return settlement::finish();
    }
    core_->count(core::timed_out);
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
