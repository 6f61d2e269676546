// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/striped_counters.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/retry/config.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// A config, the budget that it pays from, and the totals reported to that budget.
struct retry_rules {
    retry_config config;
    retry_budget budget;
    mutable retry_budget::reported reported; // guarded by the budget's mutex
    bool needs_full_path = false;            // each call needs a clock or a look at its value
};

/// The shared state of a retry: its rules and its counts.
class retry_core final : public policy_core<retry_core, retry_config, retry_rules> {
public:
    enum counter : std::size_t {
        succeeded_first_time,
        succeeded_after_retry,
        failed_first_time,
        failed_after_retry,
        failed_attempts,
        retries
    };

    retry_core(retry_config config, const registry& where);

    retry_stats stats() const;
    RESILIENCE_INLINE void count(counter c) noexcept { counts_.add(c); }
    /// The call that asks is not counted yet, so it is added.
    retry_budget::totals totals() const noexcept;

private:
    friend policy_core;
    /// An update keeps the policy's own budget. Calls made so far pay for no further retries.
    void apply(retry_config config);
    static retry_rules with_budget(retry_config config, const retry_budget& own,
                                   const retry_budget::reported& so_far);

    RESILIENCE_NO_UNIQUE_ADDRESS striped_counters<6> counts_;

public:
    // These lie on the last line of counts_. They only grow. Relaxed: a count orders nothing.
    atomic<std::uint64_t> exhausted{0};
    atomic<std::uint64_t> budget_exhausted{0};
    atomic<std::uint64_t> nested_retries{0};
    atomic<std::uint64_t> transparent_repeats{0};
    atomic<std::uint64_t> predicate_errors{0};
    atomic<duration::rep> total_delay{0}; // nanoseconds; wraps after 292 years of waiting
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION retry_core::retry_core(retry_config config, const registry& where)
    : policy_core(with_budget(std::move(config), {}, {.at = where.clock().now()}), where) {}
RESILIENCE_FUNCTION retry_budget::totals retry_core::totals() const noexcept {
    const std::uint64_t good = counts_.sum(succeeded_first_time) + counts_.sum(succeeded_after_retry);
    const std::uint64_t bad = counts_.sum(failed_first_time) + counts_.sum(failed_after_retry);
    return {good + bad + 1, good};
}
RESILIENCE_COLD RESILIENCE_FUNCTION void retry_core::apply(retry_config config) {
    const auto counted = totals();
    const retry_budget::reported now_on{counted.calls, counted.successes, clock().now()};
    const lock_guard lock(mutex_);
    const retry_budget own = rules().config.budget.is_default() ? rules().budget : retry_budget{};
    replace(with_budget(std::move(config), own, now_on));
}
RESILIENCE_COLD RESILIENCE_FUNCTION retry_rules
retry_core::with_budget(retry_config config, const retry_budget& own, const retry_budget::reported& so_far) {
    retry_budget budget = config.budget;
    if (budget.is_default()) budget = own.is_default() ? retry_budget(percent_budget_config{}) : own;
    const bool full_path = config.max_elapsed.has_value() || config.retry_if.examines_values();
    return {std::move(config), std::move(budget), so_far, full_path};
}
RESILIENCE_COLD RESILIENCE_FUNCTION retry_stats retry_core::stats() const {
    const auto value = [](const atomic<std::uint64_t>& a) { return a.load(std::memory_order_relaxed); };
    retry_stats s;
    s.name = name();
    s.succeeded_at_once = counts_.sum(succeeded_first_time);
    s.succeeded_after_retry = counts_.sum(succeeded_after_retry);
    s.failed_without_retry = counts_.sum(failed_first_time);
    s.failed_after_retry = counts_.sum(failed_after_retry);
    s.failed_attempts = counts_.sum(failed_attempts);
    s.retries = counts_.sum(retries);
    s.calls = s.succeeded_at_once + s.succeeded_after_retry + s.failed_without_retry + s.failed_after_retry;
    s.exhausted = value(exhausted);
    s.budget_exhausted = value(budget_exhausted);
    s.nested_retries = value(nested_retries);
    s.transparent_repeats = value(transparent_repeats);
    s.predicate_errors = value(predicate_errors);
    s.total_delay = duration{total_delay.load(std::memory_order_relaxed)};
    s.budget_left = rules().budget.left(
        rules().reported, {s.calls, s.succeeded_at_once + s.succeeded_after_retry}, clock().now());
    return s;
}
#endif

}
RESILIENCE_INSTANTIATE(class policy_core<detail::retry_core, retry_config, detail::retry_rules>)
RESILIENCE_INSTANTIATE(std::shared_ptr<detail::retry_core> enrolled<detail::retry_core>(registry&,
                                                                                        const retry_config&))
}} // namespace resilience::RESILIENCE_ABI
