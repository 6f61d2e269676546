// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/detail/config_cell.hpp>
#include <resilience/detail/name.hpp>
#include <resilience/detail/striped_counters.hpp>
#include <resilience/environment/environment.hpp>
#include <resilience/retry/config.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A config with what belongs to it: the budget it pays from and what that has been told.
struct retry_rules {
    retry_config config;
    retry_budget budget;
    mutable retry_budget::reported reported; // guarded by the budget's mutex
    bool needs_full_path = false;            // a clock or a look at the value is needed from the start
};

/// The shared state of a retry: its rules and its counts.
class retry_core final : public registered, public std::enable_shared_from_this<retry_core> {
public:
    static constexpr std::string_view policy_kind = "retry";
    enum counter : std::size_t {
        at_once,
        after_retry,
        failed_at_once,
        failed_after_retry,
        failed_attempts,
        retries
    };

    retry_core(retry_config config, std::shared_ptr<environment> env)
        : registered(config.name, std::move(env)), label_(config.name),
          rules_(with_budget(std::move(config), {}, {.at = env_->clock().now()})) {}

    std::string_view kind() const noexcept override { return policy_kind; }
    policy_snapshot snapshot() const override;
    retry_stats stats() const;

    const detail::name& label() const noexcept { return label_; }
    const retry_rules& rules() const noexcept { return rules_.get(); }
    const retry_rules& declared() const noexcept { return rules_.declared(); }
    RESILIENCE_INLINE void count(counter c) noexcept { counts_.add(c); }
    retry_budget::totals totals() const noexcept {
        const std::uint64_t good = counts_.sum(at_once) + counts_.sum(after_retry);
        return {good + counts_.sum(failed_at_once) + counts_.sum(failed_after_retry) + 1,
                good}; // + the one that asks
    }
    void update(retry_config config) {
        require_valid(validate(config));
        if (config.name != name()) {
            raise(std::invalid_argument("retry_config.name is '" + config.name +
                                        "'; the name of a retry is fixed: '" + name() + "'"));
        }
        const auto counted = totals();
        const retry_budget::reported now_on{counted.calls, counted.successes, env_->clock().now()};
        {
            const lock_guard lock(mutex_);
            const auto& budget =
                rules_.get().config.budget.is_default() ? rules_.get().budget : retry_budget{};
            rules_.replace(with_budget(std::move(config), budget, now_on));
        }
        tell_updated();
    }

    // Only ever added to; relaxed: a count orders nothing.
    atomic<std::uint64_t> exhausted{0};
    atomic<std::uint64_t> budget_exhausted{0};
    atomic<std::uint64_t> nested_retries{0};
    atomic<std::uint64_t> predicate_errors{0};
    atomic<duration::rep> total_delay{0}; // nanoseconds; wraps after 292 years of waiting

private:
    static retry_rules with_budget(retry_config config, const retry_budget& own,
                                   const retry_budget::reported& so_far) {
        retry_budget budget = config.budget;
        if (budget.is_default()) budget = own.is_default() ? retry_budget(percent_budget_config{}) : own;
        const bool full_path = config.max_elapsed.has_value() || config.retry_if.examines_values();
        return {std::move(config), std::move(budget), so_far, full_path};
    }

    const detail::name label_;
    striped_counters<6> counts_;
    config_cell<retry_rules> rules_;
    mutex mutex_; // of updates, against each other
};

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
    s.total_delay = duration{total_delay.load(std::memory_order_relaxed)};
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
                       {"predicate_errors", s.predicate_errors},
                       {"total_delay", std::chrono::duration<double>(s.total_delay).count()}}};
    if (s.budget_left) p.statistics.push_back({"budget_left", *s.budget_left});
    return p;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
