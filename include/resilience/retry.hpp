// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/composable.hpp>
#include <resilience/detail/config_cell.hpp>
#include <resilience/detail/striped_counters.hpp>
#include <resilience/retry_config.hpp>
#include <resilience/retry_traits.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace resilience::inline RESILIENCE_ABI {
namespace detail {

/// A config with what belongs to it: the budget it pays from and what that has been told.
struct retry_rules {
    retry_config config;
    retry_budget budget;
    mutable retry_budget::reported reported; // guarded by the budget's mutex
    bool takes_long_way = false;             // a clock or a look at the value is needed from the start
    bool repeats_at_once = false;            // no delay, no budget, no rule of the user's
};

/// The shared state of a retry: its rules and its counts.
class retry_core final : public registered, public std::enable_shared_from_this<retry_core> {
public:
    static constexpr std::string_view policy_kind = "retry";
    enum counter : std::size_t { at_once, after_retry, failed_at_once, failed_after_retry, failed_attempts, retries };

    retry_core(retry_config config, std::shared_ptr<environment> env)
        : registered(config.name, std::move(env)), label_(config.name), rules_(with_budget(std::move(config), {}, {})) {}

    std::string_view kind() const noexcept override { return policy_kind; }
    policy_snapshot snapshot() const override;
    retry_stats stats() const;

    const detail::name& label() const noexcept { return label_; }
    const retry_rules& rules() const noexcept { return rules_.get(); }
    const retry_rules& declared() const noexcept { return rules_.declared(); }
    void count(counter c) noexcept { counts_.add(c); }
    retry_budget::totals totals() const noexcept {
        const std::uint64_t good = counts_.sum(at_once) + counts_.sum(after_retry);
        return {good + counts_.sum(failed_at_once) + counts_.sum(failed_after_retry) + 1, good}; // + the one that asks
    }
    void update(retry_config config) {
        require_valid(validate(config));
        if (config.name != name()) {
            raise(std::invalid_argument("retry_config.name is '" + config.name + "'; the name of a retry is fixed: '" + name() + "'"));
        }
        const auto counted = totals();
        {
            const lock_guard lock(mutex_);
            const auto& budget = rules_.get().config.budget.is_default() ? rules_.get().budget : retry_budget{};
            rules_.replace(with_budget(std::move(config), budget, counted));
        }
        tell_updated();
    }

    // Only ever added to; relaxed: a count orders nothing.
    atomic<std::uint64_t> exhausted{0};
    atomic<std::uint64_t> budget_exhausted{0};
    atomic<std::uint64_t> nested_retries{0};
    atomic<std::uint64_t> predicate_errors{0};

private:
    static retry_rules with_budget(retry_config config, const retry_budget& own, std::optional<retry_budget::totals> counted) {
        retry_budget budget = config.budget;
        if (budget.is_default()) budget = own.is_default() ? retry_budget(percent_budget_config{}) : own;
        const bool long_way = config.max_elapsed.has_value() || config.retry_if.examines_values();
        const bool at_once = !long_way && config.base_delay == duration{0} && !config.delay_override &&
                             !config.retry_if.has_value() && budget.is_unlimited();
        retry_rules rules{std::move(config), std::move(budget), {}, long_way, at_once};
        if (counted) rules.reported = {counted->calls, counted->successes, {}};
        return rules;
    }

    const detail::name label_;
    striped_counters<6> counts_;
    config_cell<retry_rules> rules_;
    mutex mutex_; // of updates, against each other
};

/// One call under a retry: decides, after each attempt, whether, why and when there is another.
class retry_attempts {
public:
    /// `attempts_made`: 1 if the first attempt has run already.
    retry_attempts(retry_core& core, const retry_rules& rules, unsigned depth, unsigned attempts_made) noexcept
        : core_(&core), rules_(&rules), depth_(depth), attempt_(attempts_made) {}
    retry_attempts(const retry_attempts&) = delete;
    retry_attempts& operator=(const retry_attempts&) = delete;

    admission admit(call_context& ctx) {
        if (attempt_ == 0) {
            depth_ = ctx.retry_depth();
            if (rules_->config.max_elapsed) started_ = ctx.clock().now();
        } else if (ctx.stop_requested() || ctx.remaining() == duration{0}) { // the wait was cut short, or took too long
            end_round(ctx, attempt_ > 1 ? retry_core::failed_after_retry : retry_core::failed_at_once);
            return admission::stand();
        }
        ctx.set_retry_depth(depth_ + 1);
        if (attempt_ > 0) {
            core_->count(retry_core::retries);
            if (depth_ > 0) core_->nested_retries.fetch_add(1, std::memory_order_relaxed);
        }
        ctx.set_attempt(++attempt_);
        return admission::go();
    }

    settlement settle(const attempt_result& result, call_context& ctx) {
        const auto wanted = wants_retry(result);
        if (result.succeeded() && !wanted.retry) {
            if (attempt_ > 1 && listened()) tell(event_kind::call_succeeded_after_retry, nullptr, ctx, {});
            end_round(ctx, attempt_ > 1 ? retry_core::after_retry : retry_core::at_once);
            return settlement::finish();
        }
        std::optional<failure> value; // an accepted value that retry_if took for a failure
        const failure& why = result.succeeded() ? value.emplace(result.as_failure()) : *result.error();
        const bool was_attempt = why.is_real();
        if (was_attempt) {
            core_->count(retry_core::failed_attempts);
            if (wanted.retry && rules_->budget.counts_failures()) rules_->budget.attempt_failed(rules_->reported, core_->totals());
        }
        const char* stop = nullptr;
        duration delay{0};
        if (wanted.retry) stop = why_not(why, result, ctx, delay);
        else stop = wanted.reason;

        if (was_attempt && listened()) {
            tell(event_kind::attempt_failed, &why, ctx, stop == nullptr ? std::optional(delay) : std::nullopt, stop);
            if (stop == nullptr) tell(event_kind::retry_scheduled, &why, ctx, delay);
        }
        if (stop == nullptr) {
            previous_ = delay;
            return settlement::retry_after(delay);
        }
        return give_up(why, result, ctx, stop);
    }

private:
    struct decision {
        bool retry;
        const char* reason = nullptr; ///< why not
    };
    static constexpr const char* out_of_attempts = "max_attempts";
    static constexpr const char* out_of_budget = "budget";

    bool listened() const noexcept { return core_->env()->has_listeners(); }
    unsigned most() const noexcept {
        return depth_ > 0 && rules_->config.nested == nested_retry::outermost_only ? 1 : rules_->config.max_attempts;
    }

    decision wants_retry(const attempt_result& result) {
        const auto& c = rules_->config;
        if (result.succeeded() && !c.retry_if.examines_values()) return {false};
#if RESILIENCE_EXCEPTIONS
        try {
#endif
            if (!c.retry_if.has_value()) return {default_verdict(*result.error()) == verdict::failure, "not retryable"};
            return {result.succeeded() ? c.retry_if(result.as_failure()) : c.retry_if(*result.error()), "retry_if"};
#if RESILIENCE_EXCEPTIONS
        } catch (...) { // the original outcome wins
            core_->predicate_errors.fetch_add(1, std::memory_order_relaxed);
            return {false, "retry_if threw"};
        }
#endif
    }

    /// Null if another attempt is due after `delay`; else why it is not.
    const char* why_not(const failure& why, const attempt_result& result, call_context& ctx, duration& delay) {
        const auto& c = rules_->config;
        if (attempt_ >= most()) return out_of_attempts;
        if (ctx.stop_requested()) return "cancelled";
        if (ctx.idempotency() == idempotency::unsafe && !retry_traits::known_not_sent(why)) return "may have been sent";

        delay = delay_before(attempt_, why);
        if (why.code() == errc::circuit_open) { // wanted by retry_if: it never sleeps for longer than its own delay
            if (why.retry_after().value_or(duration{0}) > delay) return "circuit is open until later";
        } else if (c.respect_retry_after) {
            if (const auto hint = why.retry_after(); hint && *hint > duration{0}) {
                if (*hint > c.max_retry_after.value_or(c.max_delay)) return "retry_after is too long";
                delay = std::max(delay, *hint);
            }
        }
        const bool limited = ctx.deadline() != time_point::max() || c.max_elapsed || result.not_before() != time_point::min();
        if (limited || !rules_->budget.is_unlimited()) {
            const time_point now = ctx.clock().now();
            const time_point next = saturating_add(now, delay);
            if (next < result.not_before()) return "circuit is open until later";
            if (c.max_elapsed && next >= saturating_add(started_, *c.max_elapsed)) return "max_elapsed";
            if (ctx.deadline() != time_point::max() && next >= ctx.deadline()) return "deadline";
            if (!rules_->budget.withdraw(rules_->reported, core_->totals(), now)) return out_of_budget;
        }
        return nullptr;
    }

    duration delay_before(unsigned retry, const failure& why) {
        const auto& c = rules_->config;
        if (c.delay_override) {
#if RESILIENCE_EXCEPTIONS
            try {
#endif
                if (const auto asked = c.delay_override(retry, why); asked && *asked >= duration{0}) return std::min(*asked, c.max_delay);
#if RESILIENCE_EXCEPTIONS
            } catch (...) {
                core_->predicate_errors.fetch_add(1, std::memory_order_relaxed);
            }
#endif
        }
        if (c.base_delay == duration{0}) return c.base_delay;
        const bool random = c.jitter != jitter::none || c.strategy == backoff::decorrelated;
        const backoff_schedule schedule{c.strategy, c.base_delay, c.max_delay, c.multiplier, c.jitter, c.jitter_ratio};
        return delay_of(schedule, retry, previous_, random ? core_->env()->random().uniform() : 0.0);
    }

    /// The call is settled. There may be another under a policy further out: it begins from the start.
    void end_round(call_context& ctx, retry_core::counter as) noexcept {
        core_->count(as);
        ctx.set_retry_depth(depth_);
        attempt_ = 0;
        previous_ = duration{0};
    }

    settlement give_up(const failure& why, const attempt_result& result, call_context& ctx, const char* stop) {
        const unsigned made = attempt_;
        if (stop == out_of_budget) {
            core_->budget_exhausted.fetch_add(1, std::memory_order_relaxed);
            if (listened()) tell(event_kind::budget_exhausted, &why, ctx, {}, stop);
        }
        if (stop == out_of_attempts && made > 1) {
            core_->exhausted.fetch_add(1, std::memory_order_relaxed);
            if (listened()) tell(event_kind::retries_exhausted, &why, ctx, {}, stop);
        }
        end_round(ctx, made > 1 ? retry_core::failed_after_retry : retry_core::failed_at_once);
        if (stop == out_of_attempts && made > 1) {
            if (rules_->config.wrap_exhausted && !result.succeeded()) {
                failure wrapped(rejection{.code = errc::retries_exhausted, .policy = core_->label(), .amount = made});
                wrapped.set_cause(why);
                return settlement::replace(std::move(wrapped));
            }
        }
        return settlement::finish();
    }

    RESILIENCE_COLD void tell(event_kind kind, const failure* why, const call_context& ctx, std::optional<duration> delay,
                              const char* reason = nullptr) {
        if (!keep_) keep_ = core_->shared_from_this(); // a listener may drop the last handle
        event e{.kind = kind, .policy_kind = retry_core::policy_kind, .policy = core_->name(), .operation = std::string(ctx.operation())};
        e.attempt = kind == event_kind::retry_scheduled ? attempt_ + 1 : attempt_;
        e.max_attempts = most();
        e.retry_depth = depth_;
        e.delay = delay;
        if (why != nullptr) {
            e.error_type = why->type_name();
            e.error = why->message();
        }
        if (reason != nullptr) e.reason = reason;
        core_->env()->publish(std::move(e));
    }

    retry_core* core_;
    const retry_rules* rules_;
    std::shared_ptr<retry_core> keep_;
    unsigned depth_;
    unsigned attempt_;
    duration previous_{0};
    time_point started_{};
};

} // namespace detail

/// Runs a call again while it fails in a way that may pass, after delays that grow and are random, and
/// only as long as its budget pays for it. When attempts run out the last outcome goes out unchanged.
///
/// A handle: copies share budget and statistics. Thread-safe.
class retry : public composable<retry> {
public:
    static constexpr std::string_view kind = detail::retry_core::policy_kind;

    explicit retry(retry_config config = {}) : retry(std::move(config), registry::global()) {}
    /// A name that the registry knows gives a handle to that policy, if the configs agree; otherwise
    /// std::invalid_argument names the field. An invalid config is a std::invalid_argument too.
    retry(retry_config config, registry& where) {
        detail::require_valid(validate(config));
        core_ = where.enroll<detail::retry_core>(config.name,
                                                 [&] { return std::make_shared<detail::retry_core>(config, where.env()); });
        if (const auto field = detail::difference(core_->declared().config, config); !field.empty()) {
            detail::raise(std::invalid_argument("retry '" + config.name + "' exists already with another " + std::string(field)));
        }
    }

    retry_stats stats() const { return core_->stats(); }
    const std::string& name() const noexcept { return core_->name(); }
    /// The config in force; valid as long as the policy lives, whatever updates follow.
    const retry_config& config() const noexcept { return core_->rules().config; }
    /// New rules for calls that begin from now on. Invalid: throws std::invalid_argument, changes nothing.
    void update(retry_config config) const { core_->update(std::move(config)); }

    // What follows is for drivers.

    detail::retry_attempts begin(call_context& ctx) const noexcept { return {*core_, core_->rules(), ctx.retry_depth(), 0}; }

    struct ticket {
        unsigned depth;
        unsigned attempts;
        const detail::retry_rules* rules; // those that the call began with; null: the long way must be taken
        explicit operator bool() const noexcept { return rules != nullptr; }
    };
    RESILIENCE_INLINE ticket try_begin() const noexcept {
        const detail::retry_rules& rules = core_->rules();
        if (rules.takes_long_way) [[unlikely]] return {0, 1, nullptr};
        return {detail::this_threads_calls.retry_depth++, 1, &rules};
    }
    // One less, instead of back to t.depth: the tickets of several retries come back in any order.
    RESILIENCE_INLINE void succeed(const ticket&) const noexcept {
        --detail::this_threads_calls.retry_depth;
        core_->count(detail::retry_core::at_once);
    }
    void abandon(const ticket&) const noexcept { --detail::this_threads_calls.retry_depth; }
    detail::retry_attempts resume(const ticket& t, call_context& ctx) const noexcept {
        --detail::this_threads_calls.retry_depth;
        ctx.set_retry_depth(t.depth + 1);
        return {*core_, *t.rules, t.depth, t.attempts};
    }
    /// Whether another attempt is due at once and nobody needs to hear or to limit it.
    bool again(ticket& t, const failure& why) const noexcept {
        const detail::retry_rules& rules = *t.rules;
        if (!rules.repeats_at_once || t.attempts >= rules.config.max_attempts || t.depth > 0) return false;
        if (core_->env()->has_listeners() || detail::this_threads_calls.current != nullptr) return false;
        if (default_verdict(why) != verdict::failure || why.retry_after()) return false;
        core_->count(detail::retry_core::failed_attempts);
        core_->count(detail::retry_core::retries);
        ++t.attempts;
        return true;
    }
    void succeed_again(const ticket&) const noexcept {
        --detail::this_threads_calls.retry_depth;
        core_->count(detail::retry_core::after_retry);
    }

    const detail::environment* env() const noexcept { return core_->env().get(); }
    static retry from_registered(std::shared_ptr<detail::registered> found) {
        return retry(std::static_pointer_cast<detail::retry_core>(std::move(found)));
    }
    template <class F>
    RESILIENCE_INLINE decltype(auto) with_policies(F&& f) const {
        return f(*this);
    }

private:
    explicit retry(std::shared_ptr<detail::retry_core> core) noexcept : core_(std::move(core)) {}

    std::shared_ptr<detail::retry_core> core_;
};

namespace detail {

inline retry_stats retry_core::stats() const {
    const auto value = [](const atomic<std::uint64_t>& a) { return a.load(std::memory_order_relaxed); };
    retry_stats s;
    s.name = name();
    s.succeeded_at_once = counts_.sum(at_once);
    s.succeeded_after_retry = counts_.sum(after_retry);
    s.failed_without_retry = counts_.sum(failed_at_once);
    s.failed_after_retry = counts_.sum(failed_after_retry);
    s.failed_attempts = counts_.sum(failed_attempts);
    s.retries = counts_.sum(retries);
    s.calls = s.succeeded_at_once + s.succeeded_after_retry + s.failed_without_retry + s.failed_after_retry;
    s.exhausted = value(exhausted);
    s.budget_exhausted = value(budget_exhausted);
    s.nested_retries = value(nested_retries);
    s.predicate_errors = value(predicate_errors);
    s.budget_left = rules().budget.left(env_->clock().now());
    return s;
}

inline policy_snapshot retry_core::snapshot() const {
    const retry_stats s = stats();
    policy_snapshot p{std::string(policy_kind),
                      s.name,
                      {{"calls", s.calls},
                       {"succeeded_at_once", s.succeeded_at_once},
                       {"succeeded_after_retry", s.succeeded_after_retry},
                       {"failed_without_retry", s.failed_without_retry},
                       {"failed_after_retry", s.failed_after_retry},
                       {"failed_attempts", s.failed_attempts},
                       {"retries", s.retries},
                       {"exhausted", s.exhausted},
                       {"budget_exhausted", s.budget_exhausted},
                       {"nested_retries", s.nested_retries},
                       {"predicate_errors", s.predicate_errors}}};
    if (s.budget_left) p.statistics.push_back({"budget_left", *s.budget_left});
    return p;
}

} // namespace detail
} // namespace resilience::inline RESILIENCE_ABI
