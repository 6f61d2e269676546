// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_breaker/config.hpp>
#include <resilience/mechanism/breaker_rules.hpp>
#include <resilience/mechanism/breaker_states.hpp>

#include <algorithm>
#include <optional>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The bad ones among `probes` that reopen.
inline unsigned bad_probes_of(unsigned probes, std::optional<double> failure_rate) {
    if (!failure_rate) return 1;
    auto bad = static_cast<unsigned>(probes * *failure_rate); // one more at most
    bad = std::clamp(bad, 1U, probes);
    return reaches(bad, probes, *failure_rate) ? bad : bad + 1;
}
/// The machine's part of a config, defaults filled in.
inline breaker_limits limits_of(const circuit_breaker_config& c) {
    return {c.success_threshold, c.half_open_max_calls.value_or(c.success_threshold),
            c.recovery_timeout,  c.probe_lease,
            c.recovery_backoff,  bad_probes_of(c.success_threshold, c.half_open_failure_rate),
            c.half_open_quiet};
}
inline breaker_rules_config rules_of(const circuit_breaker_config& c) {
    const bool other = c.consecutive_failures || c.failure_rate_threshold || c.slow_call_rate_threshold;
    auto threshold = c.failure_threshold;
    if (!threshold && !other) threshold = 5;
    return {threshold,
            c.failure_window,
            c.consecutive_failures,
            c.failure_rate_threshold,
            c.slow_call_rate_threshold,
            c.window,
            c.minimum_calls};
}

}}} // namespace resilience::RESILIENCE_ABI::detail
