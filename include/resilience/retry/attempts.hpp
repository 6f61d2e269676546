// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/not_sent.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/policy.hpp>
#include <resilience/retry/core.hpp>
#include <resilience/retry/first_failure.hpp>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The per-call object of a retry: decides after each attempt if and when there is another.
class retry_attempts {
public:
    /// `attempts_made`: 1 if the first attempt has run already.
    retry_attempts(retry_core& core, const retry_rules& rules, call_context& ctx,
                   unsigned attempts_made) noexcept
        : core_(std::shared_ptr<retry_core>(), &core), rules_(&rules), depth_(0), is_repeating_(0),
          is_inside_(0), attempt_(attempts_made) {
        if (attempts_made != 0) begin_round(ctx), enter(ctx);
    }
    retry_attempts(const retry_attempts&) = delete;
    retry_attempts& operator=(const retry_attempts&) = delete;

    admission admit(call_context& ctx);

    settlement settle(const attempt_result& result, call_context& ctx);

private:
    struct decision {
        bool retry;
        const char* reason = nullptr; // why not
    };
    static constexpr const char* out_of_attempts = "max_attempts";
    static constexpr const char* out_of_budget = "budget";
    static constexpr const char* cancelled = "cancelled";

    /// True if the failed attempt met a stale connection, is repeated without being counted, and that is recorded.
    bool repeats_transparently(const attempt_result& result, call_context& ctx) noexcept;

    static constexpr unsigned all_depths = 0x3fff'ffff; // the bits of depth_

    bool listened() const noexcept;
    unsigned most() const noexcept;

    decision wants_retry(const attempt_result& result);

    /// Null if another attempt is due after `delay`, which this sets; else the reason against it.
    const char* why_not(const failure& why, const attempt_result& result, call_context& ctx, duration& delay);

    /// The delay before the n-th retry that delay_override gives.
    std::optional<duration> chosen_delay(unsigned retry, const failure& why);
    duration delay_by_strategy(unsigned retry) const;

    /// Marks the call as ended by its caller, unless the deadline has also passed.
    static void mark_ended_by_caller(call_context& ctx) noexcept;

    /// Notes what is around.
    void begin_round(const call_context& ctx) noexcept {
        depth_ = ctx.retry_depth() & all_depths;
        is_inside_ = ctx.is_told_by_retry() ? 1 : 0;
    }
    /// Tells the policies further in of this one.
    void enter(call_context& ctx) const noexcept {
        ctx.set_retry_depth(depth_ + 1);
        ctx.set_told_by_retry(true);
    }
    /// Settles the call. A policy further out may run it again; that run begins with the first attempt.
    void end_round(call_context& ctx, retry_core::counter as) noexcept;

    retry_core::counter failure_counter() const noexcept;
    settlement give_up(const failure& why, const attempt_result& result, call_context& ctx, const char* stop);

    /// `reason`: why no attempt follows; null if one does.
    void publish(std::initializer_list<event_kind> kinds, const failure* why, const call_context& ctx,
                 std::optional<duration> delay, const char* reason = nullptr, bool is_told_again = false);

    std::shared_ptr<retry_core> core_; // owns nothing until publish()
    const retry_rules* rules_;
    unsigned depth_ : 30;       // retries around this call
    unsigned is_repeating_ : 1; // the next attempt has the number of the last
    unsigned is_inside_ : 1;    // a retry further out in this call tells of its failures
    unsigned attempt_;          // the number of the last attempt; 0 before the first
    duration previous_{0};      // the delay before the last attempt
    time_point started_{};      // set only with max_elapsed
    first_failure first_;       // of this round, once another attempt follows it
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION admission retry_attempts::admit(call_context& ctx) {
    if (attempt_ == 0) {
        begin_round(ctx);
        if (rules_->config.max_elapsed) started_ = ctx.clock().now();
    } else if (ctx.stop_requested() || ctx.remaining() == duration{0}) { // during the wait
        auto stands = first_.is_kept() ? admission::stand(first_.get()) : admission::stand();
        end_round(ctx, failure_counter());
        mark_ended_by_caller(ctx);
        return stands;
    }
    enter(ctx);
    if (is_repeating_ != 0) {
        is_repeating_ = 0;
        ctx.set_attempt(attempt_);
        return admission::go();
    }
    if (attempt_ > 0) {
        core_->count(retry_core::retries);
        if (depth_ > 0) core_->nested_retries.fetch_add(1, std::memory_order_relaxed);
    }
    ctx.set_attempt(++attempt_);
    return admission::go();
}
RESILIENCE_FUNCTION settlement retry_attempts::settle(const attempt_result& result, call_context& ctx) {
    if (!result.succeeded() && repeats_transparently(result, ctx))
        return settlement::retry_after(duration{0});
    const auto wanted = wants_retry(result);
    if (result.succeeded() && !wanted.retry) {
        const bool retried = attempt_ > 1;
        if (retried && listened()) publish({event_kind::call_succeeded_after_retry}, nullptr, ctx, {});
        end_round(ctx, retried ? retry_core::succeeded_after_retry : retry_core::succeeded_first_time);
        return settlement::finish();
    }
    const seen_failure seen(result); // retry_if may have judged a value a failure
    const failure& why = seen.get();
    const bool was_attempt = why.is_real();
    if (was_attempt) {
        core_->count(retry_core::failed_attempts);
        if (wanted.retry && rules_->budget.counts_failures())
            rules_->budget.attempt_failed(rules_->reported, core_->totals());
    }
    const char* stop = nullptr;
    duration delay{0};
    if (wanted.retry) stop = why_not(why, result, ctx, delay);
    else stop = wanted.reason;

    if (stop != nullptr) return give_up(why, result, ctx, stop);
    if (listened()) {
        if (was_attempt) publish({event_kind::attempt_failed, event_kind::retry_scheduled}, &why, ctx, delay);
        else publish({event_kind::retry_scheduled}, &why, ctx, delay);
    }
    if (was_attempt) first_.keep(why);
    previous_ = delay;
    if (delay > duration{0}) core_->total_delay.fetch_add(delay.count(), std::memory_order_relaxed);
    return settlement::retry_after(delay);
}
RESILIENCE_FUNCTION bool retry_attempts::repeats_transparently(const attempt_result& result,
                                                               call_context& ctx) noexcept {
    const auto& c = rules_->config;
    if (ctx.transparent_repeats() >= c.max_transparent) return false;
    if (!result.error()->stale_connection() || ctx.stop_requested()) return false;
    if (ctx.remaining() == duration{0}) return false;
    if (c.max_elapsed && ctx.clock().now() >= saturating_add(started_, *c.max_elapsed)) return false;
    ctx.count_transparent_repeats(1);
    core_->transparent_repeats.fetch_add(1, std::memory_order_relaxed);
    is_repeating_ = 1;
    if (listened()) publish({event_kind::repeated_transparently}, result.error(), ctx, {});
    return true;
}
RESILIENCE_FUNCTION bool retry_attempts::listened() const noexcept { return core_->env()->has_listeners(); }
RESILIENCE_FUNCTION unsigned retry_attempts::most() const noexcept {
    return depth_ > 0 && rules_->config.nested == nested_retry::outermost_only ? 1
                                                                               : rules_->config.max_attempts;
}
RESILIENCE_FUNCTION retry_attempts::decision retry_attempts::wants_retry(const attempt_result& result) {
    const auto& c = rules_->config;
    if (result.succeeded() && !c.retry_if.sees(result)) return {false};
    if (!c.retry_if.has_value()) return {is_retried_by_default(*result.error()), "not retryable"};
    bool retry = false;
    const bool answered = returned([&] { retry = c.retry_if.selects(result); });
    if (answered) return {retry, "retry_if"};
    core_->predicate_errors.fetch_add(1, std::memory_order_relaxed);
    return {false, "retry_if threw"}; // the attempt's outcome stands
}
RESILIENCE_FUNCTION const char* retry_attempts::why_not(const failure& why, const attempt_result& result,
                                                        call_context& ctx, duration& delay) {
    const auto& c = rules_->config;
    if (attempt_ >= most()) return out_of_attempts;
    if (ctx.stop_requested()) return cancelled;
    if (c.respect_retry_after && why.forbids_retry()) return "retry is forbidden";
    const auto told = ctx.stated_idempotency() ? ctx.stated_idempotency() : why.idempotency();
    if (told.value_or(c.idempotency) == idempotency::unsafe && !retry_traits::known_not_sent(why))
        return "may have been sent";

    const std::optional<duration> chosen = chosen_delay(attempt_, why);
    const duration own = chosen ? *chosen : delay_by_strategy(attempt_);
    hinted_delay hinted{.least = duration{0}, .range = duration{0}};
    const duration hint = why.retry_after().value_or(duration{0});
    // A circuit's refusal that retry_if accepts never lengthens the delay.
    const bool is_refusals = hint > duration{0} && why.judged_code() == errc::circuit_open;
    if (is_refusals && hint > own) return "circuit is open until later";
    if (hint > duration{0} && !is_refusals && c.respect_retry_after) {
        // A chosen delay that is long enough stays as it is, and max_delay does not bound it.
        const bool is_long_enough = chosen && *chosen >= hint;
        if (hint > c.max_retry_after.value_or(is_long_enough ? hint : c.max_delay))
            return "retry_after is too long";
        if (!is_long_enough) hinted = delay_after_hint(hint, c.base_delay, c.jitter);
    }
    const double share = hinted.range > duration{0} ? core_->env()->random().uniform() : 0.0;
    delay = std::max(own, hinted.drawn(share));
    const bool limited =
        ctx.deadline() != time_point::max() || c.max_elapsed || result.not_before() != time_point::min();
    if (limited || !rules_->budget.is_unlimited()) {
        const time_point now = ctx.clock().now();
        const time_point end = c.max_elapsed
                                   ? std::min(ctx.deadline(), saturating_add(started_, *c.max_elapsed))
                                   : ctx.deadline();
        if (saturating_add(now, delay) >= end)
            delay = std::max(own, hinted.within(elapsed_between(now, end)).drawn(share));
        const time_point next = saturating_add(now, delay);
        if (next < result.not_before()) return "circuit is open until later";
        if (c.max_elapsed && next >= saturating_add(started_, *c.max_elapsed)) return "max_elapsed";
        if (ctx.deadline() != time_point::max() && next >= ctx.deadline()) return "deadline";
        if (!rules_->budget.withdraw(rules_->reported, core_->totals(), now)) return out_of_budget;
    }
    return nullptr;
}
RESILIENCE_FUNCTION std::optional<duration> retry_attempts::chosen_delay(unsigned retry, const failure& why) {
    const auto& c = rules_->config;
    if (!c.delay_override) return std::nullopt;
    std::optional<duration> asked;
    if (!returned([&] { asked = c.delay_override(retry, why); }))
        core_->predicate_errors.fetch_add(1, std::memory_order_relaxed);
    return asked && *asked >= duration{0} ? asked : std::nullopt;
}
RESILIENCE_FUNCTION duration retry_attempts::delay_by_strategy(unsigned retry) const {
    const auto& c = rules_->config;
    if (c.base_delay == duration{0}) return c.base_delay;
    const bool random = c.jitter != jitter::none || c.strategy == backoff::decorrelated;
    const backoff_schedule schedule{c.strategy,   c.base_delay, c.max_delay,
                                    c.multiplier, c.jitter,     c.jitter_ratio};
    return delay_of(schedule, retry, previous_, random ? core_->env()->random().uniform() : 0.0);
}
RESILIENCE_FUNCTION void retry_attempts::mark_ended_by_caller(call_context& ctx) noexcept {
    if (ctx.stop_requested() && ctx.remaining() > duration{0}) ctx.mark_ended_by_caller();
}
RESILIENCE_FUNCTION void retry_attempts::end_round(call_context& ctx, retry_core::counter as) noexcept {
    core_->count(as);
    ctx.set_retry_depth(depth_);
    ctx.set_told_by_retry(is_inside_ != 0);
    attempt_ = 0;
    is_repeating_ = 0;
    previous_ = duration{0};
    first_.forget();
}
RESILIENCE_FUNCTION retry_core::counter retry_attempts::failure_counter() const noexcept {
    return attempt_ > 1 ? retry_core::failed_after_retry : retry_core::failed_first_time;
}
RESILIENCE_FUNCTION settlement retry_attempts::give_up(const failure& last, const attempt_result& result,
                                                       call_context& ctx, const char* stop) {
    const unsigned made = attempt_;
    const bool exhausted = stop == out_of_attempts && made > 1;
    std::optional<failure> first;
    if (first_.is_kept()) first = first_.get();
    std::optional<failure> told; // the last failure, which tells of the first
    if (first && (listened() || exhausted)) returned([&] { told.emplace(last).set_first(*first); });
    const failure& why = told ? *told : last;
    const bool is_out = exhausted || stop == out_of_budget;
    if (stop == out_of_budget) core_->budget_exhausted.fetch_add(1, std::memory_order_relaxed);
    if (exhausted) core_->exhausted.fetch_add(1, std::memory_order_relaxed);
    if (listened() && (is_out || last.is_real())) {
        ctx.set_told_by_retry(is_inside_ != 0 && last.is_real()); // one further out says nothing of refusals
        const bool again = ctx.tells_again();
        const event_kind out = exhausted ? event_kind::retries_exhausted : event_kind::budget_exhausted;
        if (!last.is_real()) publish({out}, &why, ctx, {}, stop, again);
        else if (is_out) publish({event_kind::attempt_failed, out}, &why, ctx, {}, stop, again);
        else publish({event_kind::attempt_failed}, &why, ctx, {}, stop, again);
    }
    end_round(ctx, failure_counter());
    if (stop == cancelled) mark_ended_by_caller(ctx);
    if (exhausted && rules_->config.wrap_exhausted && !result.succeeded()) {
        failure wrapped(rejection{.code = errc::retries_exhausted, .policy = core_->label(), .amount = made});
        wrapped.wrap(why);
        return settlement::replace(std::move(wrapped));
    }
    return first ? settlement::finish(*std::move(first)) : settlement::finish();
}
RESILIENCE_COLD RESILIENCE_FUNCTION void retry_attempts::publish(std::initializer_list<event_kind> kinds,
                                                                 const failure* why, const call_context& ctx,
                                                                 std::optional<duration> delay,
                                                                 const char* reason, bool is_told_again) {
    if (core_.use_count() == 0) core_ = core_->shared_from_this(); // a listener may drop the last handle
    const bool gives_up = reason != nullptr && kinds.size() > 1;   // tells of the attempt's failure again
    core_->publish(kinds, ctx, why, [&](event& e) {
        e.attempt = e.kind == event_kind::retry_scheduled ? attempt_ + 1 : attempt_;
        e.max_attempts = most();
        e.retry_depth = depth_;
        e.delay = delay;
        e.is_told_again = is_told_again || (gives_up && e.kind == event_kind::attempt_failed);
        if (reason != nullptr) e.reason = reason;
    });
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
