// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a circuit shows of itself.

#include <resilience/circuit_breaker/core.hpp>

#include <utility>
#include <variant>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

inline circuit_breaker_stats breaker_core::stats() const {
    const time_point at = now();
    circuit_breaker_stats s;
    s.name = name();
    s.ignored = counts_.sum(ignored);
    s.rejected = counts_.sum(rejected);
    s.predicate_errors = predicate_errors_.load(std::memory_order_relaxed);
    const lock_guard lock(mutex_);
    const auto& rules = rules_.config();
    const tally in_window = rates(at);
    s.state = machine_.state();
    s.generation = machine_.generation();
    for (std::size_t c = 0; c <= late_success; ++c) s.successes += counts_.sum(c);
    const bool counts = s.state == circuit_state::closed || s.state == circuit_state::metrics_only ||
                        s.state == circuit_state::disabled;
    s.failure_count = counts ? rules_.failures(at, in_window) : tripping_count_;
    s.failure_threshold = rules.failure_threshold.value_or(rules.consecutive_failures.value_or(0));
    s.success_count = counts ? successes_in_epoch() - successes_before_ : machine_.probes_passed();
    s.success_threshold = config_.get().success_threshold;
    s.opened_at = journal_.opened_at;
    s.last_failure_time = journal_.last_failure_at;
    s.state_since = journal_.state_since;
    if (rules.has_rates()) {
        const auto* of_calls = std::get_if<count_window>(&rules.window);
        s.window = {in_window.total, in_window.failed, in_window.slow, of_calls ? of_calls->size : 0};
    }
    if (rules.failure_rate_threshold) s.failure_rate = in_window.failure_rate();
    if (rules.slow_call_rate_threshold) s.slow_call_rate = in_window.slow_rate();
    if (s.state == circuit_state::open) s.retry_after = elapsed_between(at, machine_.opens_until());
    s.failures = failures_;
    s.late_results = late_results_;
    s.slow = slow_;
    if (latencies_) s.latencies = *latencies_;
    s.trips = journal_.trips;
    s.calls = s.successes + s.failures + s.ignored;
    s.last_error = journal_.last_error();
    s.reason = journal_.reason;
    return s;
}

inline policy_snapshot breaker_core::snapshot() const {
    circuit_breaker_stats s = stats();
    policy_snapshot p{std::string(policy_kind),
                      s.name,
                      {{"state", std::string(to_string(s.state))},
                       {"failure_count", s.failure_count},
                       {"failure_threshold", std::uint64_t{s.failure_threshold}},
                       {"success_count", s.success_count},
                       {"success_threshold", std::uint64_t{s.success_threshold}},
                       {"generation", s.generation},
                       {"failure_rate", s.failure_rate},
                       {"slow_call_rate", s.slow_call_rate},
                       {"calls", s.calls},
                       {"successes", s.successes},
                       {"failures", s.failures},
                       {"ignored", s.ignored},
                       {"rejected", s.rejected},
                       {"late_results", s.late_results},
                       {"slow", s.slow},
                       {"trips", s.trips},
                       {"predicate_errors", s.predicate_errors}}};
    p.circuit = std::move(s);
    return p;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
