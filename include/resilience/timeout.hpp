// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/customise.hpp>
#include <resilience/call/silence.hpp>
#include <resilience/call/time_out.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/path/composable.hpp>
#include <resilience/timeout/attempts.hpp>
#include <resilience/timeout/config.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/detail/text.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

class timeout_core final : public policy_core<timeout_core, timeout_config> {
public:
    using counter = timed_attempts::counter;

    timeout_core(timeout_config config, const registry& where);

    /// Tells listeners of attempts that are past twice their limit.
    timeout_stats stats() const;
    /// duration::max() if there is none.
    static constexpr duration limit_of(const timeout_config& c) noexcept {
        return c.limit > duration{0} ? c.limit : duration::max();
    }
    timed_attempts& attempts() noexcept { return attempts_; }
    /// Called when an attempt ends after `deadline`: looks whether it is past twice its `limit`. `mark` is the
    /// deadline that it left for readers of the statistics.
    void look_at(duration limit, time_point deadline, std::optional<time_point> mark,
                 const call_context& ctx) noexcept;

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
    // A reader may be the first to see an overrun.
    RESILIENCE_NO_UNIQUE_ADDRESS mutable timed_attempts attempts_{mutex_};
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
/// Deadlines nest: the inner is never later than the outer. A value that comes exactly at the limit is in
/// time. An attempt that ends at its limit without a value has timed out for statistics, events and the
/// policies around it; the client's own error goes out unchanged. Only where our stop request ended it is
/// timeout_error thrown. Thread-safe.
class timeout : public composable<timeout>, public policy_handle<detail::timeout_core> {
public:
    using policy_handle::policy_handle;
    template <std::convertible_to<duration> D = duration>
    explicit timeout(D limit) : timeout(timeout_config{.limit = limit}) {}
    timeout(duration limit, registry& where) : timeout(timeout_config{.limit = limit}, where) {}
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    explicit timeout(...) = delete; // resilience: this is no timeout_config: a field is misspelt or of another type; timeout(timeout_config{...}) makes the compiler name it
    // clang-format on

    // For drivers.

    struct fast_permit {
        const timeout_config*
            config; // in force when the call began; null: it bounds silence, which takes a watch
        time_point deadline;
        time_point outer;
        duration outer_cap;
        mutable detail::left_mark mark = detail::left_mark::no; // set by start()
        explicit operator bool() const noexcept { return config != nullptr; }
    };

    class attempt_state {
    public:
        explicit attempt_state(detail::timeout_core& core) noexcept : core_(&core), config_(&core.config()) {}
        attempt_state(detail::timeout_core& core, const fast_permit& permit) noexcept
            : core_(&core), config_(permit.config), deadline_(permit.deadline),
              outer_{permit.outer, permit.outer_cap, nullptr, {}}, runs_(true), mark_(permit.mark) {}
        attempt_state(const attempt_state&) = delete;
        attempt_state& operator=(const attempt_state&) = delete;
        ~attempt_state() {
            if (runs_) core_->attempts().end(detail::timed_attempts::abandoned, mark_);
        }

        admission admit(call_context& ctx);
        settlement settle(const attempt_result& result, call_context& ctx);

    private:
        detail::timeout_core* core_;
        const timeout_config* config_;
        time_point deadline_{};
        std::shared_ptr<detail::silence_watch> silence_;
        RESILIENCE_NO_UNIQUE_ADDRESS call_context::scope outer_{}; // the next two lie in its padding
        bool runs_ = false; // an attempt was admitted and is not settled
        detail::left_mark mark_ = detail::left_mark::no;
    };
    attempt_state begin(call_context&) const noexcept { return attempt_state(*core_); }

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
    RESILIENCE_INLINE void start(const fast_permit& permit) const noexcept {
        permit.mark = core_->attempts().begin_here(permit.deadline);
    }
    RESILIENCE_INLINE void succeed(const fast_permit& permit) const noexcept {
        core_->attempts().end(detail::timed_attempts::in_time, permit.mark);
    }
    void abandon(const fast_permit& permit) const noexcept {
        core_->attempts().end(detail::timed_attempts::abandoned, permit.mark);
    }
    attempt_state resume(const fast_permit& permit, call_context&) const noexcept { return {*core_, permit}; }
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION detail::timeout_core::timeout_core(timeout_config config,
                                                                       const registry& where)
    : policy_core(std::move(config), where), tick_(clock().coarse_resolution()), coarse_from_(tick_ * 100) {}
RESILIENCE_COLD RESILIENCE_FUNCTION timeout_stats detail::timeout_core::stats() const {
    const duration limit = limit_of(config());
    attempts_.look(clock().now(), limit, [&](duration past) {
        const auto alive = shared_from_this(); // a listener may destroy the last handle
        env_->tell([&] {
            event e = event_of(event_kind::overran);
            e.correlation.clear(); // the reader's
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
RESILIENCE_FUNCTION std::shared_ptr<detail::silence_watch> detail::timeout_core::watch(
    const timeout_config& config, const call_context& ctx) const {
    if (!config.idle) return nullptr;
    return std::make_shared<silence_watch>(ctx.clock().now(), *config.idle, ctx.watch());
}
RESILIENCE_COLD RESILIENCE_FUNCTION void detail::timeout_core::look_at(duration limit, time_point deadline,
                                                                       std::optional<time_point> mark,
                                                                       const call_context& ctx) noexcept {
    const duration past = elapsed_between(deadline, clock().now());
    if (!attempts_.ends_past(past, limit, mark)) return;
    publish(event_kind::overran, ctx, nullptr, [&](event& e) {
        e.delay = limit;
        e.reason = "ran for " + duration_text(limit + past);
    });
}
RESILIENCE_FUNCTION admission timeout::attempt_state::admit(call_context& ctx) {
    const duration limit = core_->limit_of(*config_);
    deadline_ = core_->deadline(limit);
    silence_ = core_->watch(*config_, ctx);
    outer_ = ctx.narrow(deadline_, limit, silence_.get());
    if (ctx.stays_on_thread()) mark_ = core_->attempts().begin_here(deadline_);
    else core_->attempts().begin_anywhere();
    runs_ = true;
    return admission::go();
}
RESILIENCE_FUNCTION settlement timeout::attempt_state::settle(const attempt_result& result,
                                                              call_context& ctx) {
    using how = detail::timed_attempts::counter;
    // A deadline of the caller's or of an enclosing call is this policy's business if it is the earlier one.
    const bool is_own = outer_.owner == limit_owner::policy || outer_.deadline >= deadline_;
    time_point deadline = is_own ? deadline_ : outer_.deadline;
    duration limit = is_own ? core_->limit_of(*config_) : outer_.remaining_cap;
    limit_owner whose = is_own ? limit_owner::policy : outer_.owner;
    if (silence_ != nullptr && silence_->until() < deadline) {
        deadline = silence_->until();
        limit = silence_->idle();
        whose = limit_owner::silence;
    }
    const auto missed = result.missed(deadline); // the winner of a race is in time by any clock
    const failure* why = result.error();
    // Only the clock knows of a failure that a policy further in has put in the attempt's place.
    const bool failed_late = missed.value_or(why != nullptr && result.is_unjudged() && why->is_real() &&
                                             detail::has_timed_out(*why, ctx));
    ctx.restore(std::move(outer_));
    runs_ = false;
    if (core_->is_late(config_->limit, deadline))
        core_->look_at(limit, deadline,
                       mark_ == detail::left_mark::yes ? std::optional(deadline_) : std::nullopt, ctx);

    if (why == nullptr) {
        if (!(missed ? *missed : core_->is_late(config_->limit, deadline))) {
            core_->attempts().end(how::in_time, mark_);
            return settlement::finish();
        }
        if (config_->keep_late) {
            core_->attempts().end(how::kept_late, mark_);
            return settlement::finish();
        }
    } else if (!failed_late) {
        core_->attempts().end(how::failed, mark_);
        return settlement::finish();
    }
    core_->attempts().end(how::timed_out, mark_);
    if (why == nullptr) ctx.set_told(false); // a policy further in may have told of the value that is dropped
    const auto tell = [&](const failure& told) {
        core_->publish(event_kind::timed_out, ctx, &told, [&](event& e) {
            e.delay = limit;
            e.is_told_again = ctx.tells_again();
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
