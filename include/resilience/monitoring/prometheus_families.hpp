// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/immortal.hpp>
#include <resilience/monitoring/prometheus_statistics.hpp>
#include <resilience/monitoring/prometheus_text.hpp>
#include <resilience/registry.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include <fmt/format.h>

// The metrics of circuits, most of them under resilience4j's names, and those of a registry as a whole.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

inline constexpr circuit_state circuit_states[] = {circuit_state::closed,    circuit_state::open,
                                                   circuit_state::half_open, circuit_state::forced_open,
                                                   circuit_state::disabled,  circuit_state::metrics_only};
inline constexpr std::uint64_t first_generation = 1; // of a circuit that never changed its state

/// Shares as resilience4j shows them: percent; -1 while there are too few calls to judge.
inline double percent(double known, std::uint64_t part, const circuit_breaker_stats::window_counts& of) {
    if (known < 0 || of.calls == 0 || of.calls < of.needed) return -1;
    return 100.0 * static_cast<double>(part) / static_cast<double>(of.calls);
}

/// The circuits' windows. Without a rate rule, a window holds the failures that failure_threshold or
/// consecutive_failures counts. `circuits` writes a family.
template <class Circuits>
void expose_windows(exposition& out, Circuits&& circuits) {
    circuits("circuitbreaker_buffered_calls", "gauge", "Results that the circuit's rules count now.",
             [&](const circuit_breaker_stats& c, std::string_view name) {
                 const auto failed = c.window ? c.window->failures : c.failure_count;
                 if (c.window) out.sample({{"name", name}, {"kind", "successful"}}, c.window->calls - failed);
                 out.sample({{"name", name}, {"kind", "failed"}}, failed);
             });
    circuits("circuitbreaker_max_buffered_calls", "gauge",
             "Results that the circuit's rules count at most; absent for a window of time.",
             [&](const circuit_breaker_stats& c, std::string_view name) {
                 const auto most = c.window ? c.window->size : c.failure_threshold;
                 if (most > 0) out.sample({{"name", name}}, most);
             });
    circuits("circuitbreaker_slow_calls", "gauge",
             "Slow calls in the rate window; whether they failed is not kept.",
             [&](const circuit_breaker_stats& c, std::string_view name) {
                 if (c.window) out.sample({{"name", name}, {"kind", "any"}}, c.window->slow);
             });
    circuits("circuitbreaker_failure_rate", "gauge",
             "Failures in the rate window in percent; -1 below minimum_calls.",
             [&](const circuit_breaker_stats& c, std::string_view name) {
                 const auto w = c.window.value_or(circuit_breaker_stats::window_counts{});
                 out.sample({{"name", name}}, percent(c.failure_rate, w.failures, w));
             });
    circuits("circuitbreaker_slow_call_rate", "gauge",
             "Slow calls in the rate window in percent; -1 below minimum_calls.",
             [&](const circuit_breaker_stats& c, std::string_view name) {
                 const auto w = c.window.value_or(circuit_breaker_stats::window_counts{});
                 out.sample({{"name", name}}, percent(c.slow_call_rate, w.slow, w));
             });
}

inline void expose_calls(exposition& out, const circuit_breaker_stats& c, std::string_view name,
                         std::string_view part = {}) {
    out.sample({{"name", name}, {"kind", "successful"}}, c.successes, part);
    out.sample({{"name", name}, {"kind", "failed"}}, c.failures, part);
    out.sample({{"name", name}, {"kind", "ignored"}}, c.ignored, part);
}

/// The bounds of a histogram's buckets, in seconds.
struct bucket_bounds {
    std::array<std::string, latency_histogram::bounds.size()> texts;

    bucket_bounds() {
        std::ranges::transform(latency_histogram::bounds, texts.begin(), [](duration bound) {
            return fmt::format("{}", std::chrono::duration<double>(bound).count());
        });
    }
};
inline const std::string& bucket_bound(std::size_t i) {
    static constinit immortal<bucket_bounds> all;
    return all.get().texts[i];
}

/// Circuits that time no calls have counts alone. Others time all calls but the ignored.
inline void expose_latencies(exposition& out, const circuit_breaker_stats& c, std::string_view name) {
    if (!c.latencies) return expose_calls(out, c, name, "_count");
    const auto timed = [&](std::string_view kind, const latency_histogram& calls) {
        for (std::size_t i = 0; i < calls.bounds.size(); ++i) {
            out.sample({{"name", name}, {"kind", kind}, {"le", bucket_bound(i)}}, calls.up_to(i), "_bucket");
        }
        out.sample({{"name", name}, {"kind", kind}, {"le", "+Inf"}}, calls.calls(), "_bucket");
        out.sample({{"name", name}, {"kind", kind}}, std::chrono::duration<double>(calls.sum()).count(),
                   "_sum");
        out.sample({{"name", name}, {"kind", kind}}, calls.calls(), "_count");
    };
    timed("successful", c.latencies->successes);
    timed("failed", c.latencies->failures);
    out.sample({{"name", name}, {"kind", "ignored"}}, c.ignored, "_count");
}

/// The circuits' families, resilience4j's first. `now` ends the time in the current state.
inline void expose_circuits(exposition& out, const exposed_policies& all, wall_time now) {
    const auto circuits = [&](std::string_view family, std::string_view type, std::string_view help,
                              auto&& write) {
        out.family(family, type, help);
        for (const auto& each : all) {
            if (!each.p.circuit) continue;
            out.of_policy(each.labels);
            write(*each.p.circuit, std::string_view(each.name));
        }
    };
    const auto counter = [&](std::string_view family, std::string_view help,
                             std::uint64_t circuit_breaker_stats::* count) {
        circuits(family, "counter", help,
                 [&](const auto& c, auto name) { out.sample({{"name", name}}, c.*count); });
    };
    circuits("circuitbreaker_state", "gauge", "1 for the state that the circuit is in, 0 for the others.",
             [&](const auto& c, auto name) {
                 for (const circuit_state s : circuit_states)
                     out.sample({{"name", name}, {"state", to_string(s)}}, c.state == s ? 1U : 0U);
             });
    circuits("circuitbreaker_calls_total", "counter", "Calls that were admitted and ended, by verdict.",
             [&](const auto& c, auto name) { expose_calls(out, c, name); });
    circuits("circuitbreaker_calls_seconds", "histogram",
             "How long calls took; only their count without slow_call_duration.",
             [&](const auto& c, auto name) { expose_latencies(out, c, name); });
    circuits("circuitbreaker_not_permitted_calls_total", "counter", "Calls that the circuit refused.",
             [&](const auto& c, auto name) {
                 out.sample({{"name", name}, {"kind", "not_permitted"}}, c.rejected);
             });
    expose_windows(out, circuits);
    counter("circuitbreaker_trips_total", "Times that the circuit went from closed to open.",
            &circuit_breaker_stats::trips);
    circuits(
        "circuitbreaker_state_transitions_total", "counter", "Changes of the circuit's state.",
        [&](const auto& c, auto name) { out.sample({{"name", name}}, c.generation - first_generation); });
    circuits("circuitbreaker_time_in_state_seconds", "gauge",
             "Time since the circuit's last change of state.", [&](const auto& c, auto name) {
                 const std::chrono::duration<double> since = now - c.state_since;
                 out.sample({{"name", name}}, std::max(since.count(), 0.0)); // a wall clock may be set back
             });
    counter("circuitbreaker_late_results_total", "Results of calls that began in an earlier state.",
            &circuit_breaker_stats::late_results);
    counter("circuitbreaker_slow_results_total", "Results that took longer than slow_call_duration.",
            &circuit_breaker_stats::slow);
}

/// The families that policies of any kind share.
inline void expose_common(exposition& out, const exposed_policies& all) {
    for (const common_metric& metric : common_metrics) {
        out.family(metric.family, "counter", metric.help);
        for (const auto& each : all) {
            const statistic* const found = each.find(metric.statistic);
            const auto* const count = found == nullptr ? nullptr : std::get_if<std::uint64_t>(&found->value);
            out.of_policy(each.labels);
            if (found != nullptr)
                out.sample({{"policy_kind", each.kind}, {"name", each.name}}, count == nullptr ? 0U : *count);
        }
    }
}

/// The families of a registry as a whole.
inline void expose_registry(exposition& out, const registry& from) {
    const fallback_stats fallbacks = from.fallbacks();
    out.family("fallback_calls_total", "counter",
               "Failures that a fallback took the place of (used), or tried to (failed).");
    out.sample({{"kind", "used"}}, fallbacks.used);
    out.sample({{"kind", "failed"}}, fallbacks.failed);
    out.family("fallback_predicate_errors_total", "counter", "Predicates of fallbacks that threw.");
    out.sample({}, fallbacks.predicate_errors);
    out.family("listener_errors_total", "counter",
               "Events that a subscriber lost since it threw, or for want of memory.");
    out.sample({}, from.listener_errors());
}

}}} // namespace resilience::RESILIENCE_ABI::detail
