// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/environment/labels.hpp>
#include <resilience/environment/statistics.hpp>
#include <resilience/mechanism/circuit_state.hpp>
#include <resilience/mechanism/latency_histogram.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {

using wall_time = std::chrono::system_clock::time_point;

/// A consistent look at a circuit breaker: state, generation and window are of the same moment. The totals
/// may miss calls in flight.
struct circuit_breaker_stats {
    std::string name;
    circuit_state state = circuit_state::closed;
    /// Failures in the window while closed; once open or half-open, the count that tripped it.
    std::uint64_t failure_count = 0;
    /// failure_threshold, else consecutive_failures; 0 if neither rule is on.
    unsigned failure_threshold = 0;
    /// Successes since the current state began.
    std::uint64_t success_count = 0;
    unsigned success_threshold = 0;
    /// When it last opened; set while open, half-open or forced open.
    /// This and the wall times below are made of monotonic moments when they are read first: a clock that was set, or a
    /// machine that slept, between the moment and that reading shows in them.
    std::optional<wall_time> opened_at;
    std::optional<wall_time> last_failure_time;
    /// Grows by one at each change of state.
    std::uint64_t generation = 0;
    wall_time state_since;
    /// Shares in [0, 1] of the rate window; -1 while unknown (no rule on, or no calls in it).
    double failure_rate = -1;
    double slow_call_rate = -1;
    /// Results in the rate window.
    struct window_counts {
        std::uint64_t calls = 0;
        std::uint64_t failures = 0;
        std::uint64_t slow = 0;   ///< failed or not
        std::uint64_t size = 0;   ///< the most that it can hold; 0 for a window of time
        std::uint64_t needed = 0; ///< calls from which on its rates are judged
    };
    /// Empty if no rate rule is on.
    std::optional<window_counts> window;
    /// While open: the time until a probe is admitted; 0 once one is due. While half-open: the same, as long as a server's
    /// hint holds probes back; else empty.
    std::optional<duration> retry_after;

    /// Totals since creation. Calls were admitted and settled: successes + failures + ignored.
    std::uint64_t calls = 0;
    std::uint64_t successes = 0;
    std::uint64_t failures = 0;
    std::uint64_t ignored = 0;
    std::uint64_t rejected = 0;
    /// Results of calls that began in an earlier generation, and of probes whose lease was over. Only the totals above
    /// include them.
    std::uint64_t late_results = 0;
    std::uint64_t slow = 0;
    /// Times from admission to settlement, of calls that were not ignored. Empty without slow_call_duration:
    /// no call is timed then.
    struct latency_counts {
        latency_histogram successes;
        latency_histogram failures;
    };
    std::optional<latency_counts> latencies;
    /// Times it went from closed to open.
    std::uint64_t trips = 0;
    /// Predicates and callbacks of the user's that threw.
    std::uint64_t predicate_errors = 0;

    /// The last recorded failure, as texts: the exception itself is not kept alive.
    struct error_text {
        std::string type;
        std::string message; ///< at most 256 bytes
    };
    std::optional<error_text> last_error;
    /// The reason given with the last command by hand; empty otherwise.
    std::string reason;

    /// True if the circuit is open and its break is over: the next call is admitted, as a probe. A circuit that
    /// nobody calls stays in this state.
    bool is_due_for_probe() const noexcept {
        return state == circuit_state::open && retry_after && *retry_after <= duration{0};
    }
};

/// Circuits have metrics of their own: monitoring/prometheus_families.hpp.
RESILIENCE_COLD void statistics(const circuit_breaker_stats& s, auto&& visit) {
    const auto total = [](std::string_view help) { return counter{help, no_metric}; };
    const auto now = [](std::string_view help, std::string_view unit = {}) {
        return gauge{help, no_metric, {}, unit};
    };
    visit("state", s.state, now("The state that the circuit is in."));
    visit("failure_count", s.failure_count, now("Failures in the window; else the count that tripped it."));
    visit("failure_threshold", s.failure_threshold, now("Failures that trip it; 0 without such a rule."));
    visit("success_count", s.success_count, now("Successes since the state began."));
    visit("success_threshold", s.success_threshold, now("Successful probes that close it."));
    visit("generation", s.generation, now("The number of the state: grows by one at each change."));
    visit("failure_rate", s.failure_rate, now("Failures in the rate window.", "ratio"));
    visit("slow_call_rate", s.slow_call_rate, now("Slow calls in the rate window.", "ratio"));
    visit("calls", s.calls, total("Calls that were admitted and ended."));
    visit("successes", s.successes, total("Calls that succeeded."));
    visit("failures", s.failures, total("Calls that failed."));
    visit("ignored", s.ignored, total("Calls that said nothing about health."));
    visit("rejected", s.rejected, total("Calls that the circuit refused."));
    visit("late_results", s.late_results, total("Results of calls that began in an earlier state."));
    visit("slow", s.slow, total("Results that took longer than slow_call_duration."));
    visit("trips", s.trips, total("Times that the circuit went from closed to open."));
    visit("predicate_errors", s.predicate_errors,
          total("Predicates and callbacks of the user's that threw."));
}

/// Totals of a retry since its creation. A call counts once, however many attempts it took.
struct retry_stats {
    std::string name;
    std::uint64_t calls = 0;
    std::uint64_t succeeded_at_once = 0;
    std::uint64_t succeeded_after_retry = 0;
    /// Failed with no further attempt: not retryable, no budget, no time, cancelled.
    std::uint64_t failed_without_retry = 0;
    std::uint64_t failed_after_retry = 0;
    std::uint64_t failed_attempts = 0;
    std::uint64_t retries = 0;
    std::uint64_t exhausted = 0;
    std::uint64_t budget_exhausted = 0;
    /// Retries made inside of another retry: the amplification.
    std::uint64_t nested_retries = 0;
    std::uint64_t predicate_errors = 0;
    /// The sum of the delays before retries, as scheduled: a wait may have been cut short.
    duration total_delay{0};
    /// Retries that the budget would pay for now (in gRPC's form the tokens above half); empty if unlimited.
    std::optional<double> budget_left;
    /// Repeats after connections that were dead before anything was sent. They are no attempts.
    std::uint64_t transparent_repeats = 0;
};

RESILIENCE_COLD void statistics(const retry_stats& s, auto&& visit) {
    const auto ended = [](std::string_view how) {
        return counter{"Calls that ended, by how.", "retry_calls_total", how};
    };
    visit("calls", s.calls, counter{"Calls that ended.", no_metric});
    visit("succeeded_at_once", s.succeeded_at_once, ended("successful_without_retry"));
    visit("succeeded_after_retry", s.succeeded_after_retry, ended("successful_with_retry"));
    visit("failed_without_retry", s.failed_without_retry, ended("failed_without_retry"));
    visit("failed_after_retry", s.failed_after_retry, ended("failed_with_retry"));
    visit(only_metric, s.calls + s.retries,
          counter{"Attempts of calls that ended, and all retries.", "retry_attempts_total"});
    visit("failed_attempts", s.failed_attempts, counter{"Attempts that failed."});
    visit("retries", s.retries, counter{"Attempts beyond the first of their call."});
    visit("nested_retries", s.nested_retries,
          counter{"Retries made inside another retry: the amplification."});
    visit("transparent_repeats", s.transparent_repeats,
          counter{"Repeats after stale connections, which are no attempts."});
    visit("exhausted", s.exhausted, counter{"Calls that failed with max_attempts made."});
    visit("budget_exhausted", s.budget_exhausted, counter{"Retries that the budget did not pay for."});
    visit("budget_left", s.budget_left,
          gauge{"Retries that the budget would pay for now; absent if unlimited."});
    visit("total_delay", s.total_delay,
          counter{"Delays before retries, added up as scheduled.", "retry_delay_seconds_total"});
    visit("predicate_errors", s.predicate_errors,
          counter{"Predicates and callbacks of the user's that threw."});
}

/// Counts of fallbacks. Their values are not the callable's, so they are counted apart.
struct fallback_stats {
    /// Failures that a fallback replaced.
    std::uint64_t used = 0;
    /// Times that the fallback itself threw or its task did not end in time. Its failure is the call's
    /// outcome.
    std::uint64_t failed = 0;
    /// Times that the predicate threw. The failure went out unchanged.
    std::uint64_t predicate_errors = 0;
};

/// Any policy, for views that show all of them.
struct policy_snapshot {
    std::string kind;
    std::string name;
    std::vector<statistic> statistics;
    /// A circuit breaker's statistics of the same moment; empty for other kinds.
    std::optional<circuit_breaker_stats> circuit{};
    shared_labels labels{};
};

/// All circuits of a registry. Status: healthy, degraded (any is open) or critical (more than half are).
struct health_report {
    std::string status = "healthy";
    std::size_t total_circuits = 0;
    std::size_t closed = 0;
    std::size_t open = 0;
    std::size_t half_open = 0;
    std::vector<std::string> open_circuits;
    wall_time timestamp;
    /// The open circuits whose break is over: the next call of each is its probe.
    std::vector<std::string> due_for_probe{};
};

struct circuit_summary {
    std::string name;
    circuit_state state = circuit_state::closed;
    std::uint64_t failure_count = 0;
    unsigned failure_threshold = 0;
    std::uint64_t success_count = 0;
    unsigned success_threshold = 0;
    /// 100 closed, 50 half-open, 0 open.
    double health_percentage = 100.0;
};

/// The state as callers see it: closed, open or half_open, also if it was set by hand.
constexpr circuit_state seen_as(circuit_state state) noexcept {
    switch (state) {
    case circuit_state::open:
    case circuit_state::forced_open: return circuit_state::open;
    case circuit_state::half_open: return circuit_state::half_open;
    default: return circuit_state::closed;
    }
}

constexpr double health_percentage(circuit_state state) noexcept {
    switch (seen_as(state)) {
    case circuit_state::open: return 0.0;
    case circuit_state::half_open: return 50.0;
    default: return 100.0;
    }
}

namespace detail {

/// Counts a circuit in the report. A template: nothing is compiled unless it is called.
template <class Report>
void count(circuit_breaker_stats circuit, Report& report) {
    ++report.total_circuits;
    switch (seen_as(circuit.state)) {
    case circuit_state::open:
        ++report.open;
        if (circuit.is_due_for_probe()) report.due_for_probe.push_back(circuit.name);
        report.open_circuits.push_back(std::move(circuit.name));
        break;
    case circuit_state::half_open: ++report.half_open; break;
    default: ++report.closed;
    }
}

} // namespace detail

}} // namespace resilience::RESILIENCE_ABI
