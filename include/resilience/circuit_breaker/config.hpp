// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/predicate.hpp>
#include <resilience/detail/config_field.hpp>
#include <resilience/environment/field_values.hpp>
#include <resilience/environment/labels.hpp>
#include <resilience/event.hpp>
#include <resilience/mechanism/backoff.hpp>
#include <resilience/mechanism/rate_window.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#if RESILIENCE_BODIES
#include <resilience/detail/complaint.hpp>
#include <resilience/detail/decimal.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// Configures a circuit breaker. Any one rule that is set can trip it.
struct circuit_breaker_config {
    static constexpr std::string_view policy_kind = "circuit_breaker";
    /// The word in its environment variables: JIRA_CIRCUIT_RECOVERY_TIMEOUT.
    static constexpr std::string_view variables = "CIRCUIT";

    /// Names the circuit in its registry, in events and in errors; empty: private and unlisted.
    std::string name{};
    /// Trips when this many failures (1..65,536) happened within failure_window. Unset: 5 if no other rule is
    /// on, else off. Most services can lose five calls in a minute without anybody noticing.
    detail::config_field<std::optional<unsigned>> failure_threshold{};
    /// Successful probes that close it (1..65,536). Two, since one may be luck.
    unsigned success_threshold = 2;
    /// The time from opening to the first probe. 0: the next call is a probe.
    duration recovery_timeout = std::chrono::seconds{30};
    /// A failure counts until it is this old.
    duration failure_window = std::chrono::seconds{60};
    /// The most probes in flight (1..success_threshold). Unset: success_threshold.
    detail::config_field<std::optional<unsigned>> half_open_max_calls{};
    /// A probe that is not settled for this long gives its place back and counts as a failure. The lease ends
    /// never before the call's deadline and the limits further in, and begins anew with each attempt of a
    /// retry further in. Calls without a limit: set it longer than any should take, or healthy probes are lost.
    duration probe_lease = std::chrono::seconds{60};
    /// Trips after this many failures in a row. Unset: off.
    detail::config_field<std::optional<unsigned>> consecutive_failures{};
    /// Trips when this share, in (0, 1], of the results in `window` are failures. Unset: off.
    detail::config_field<std::optional<double>> failure_rate_threshold{};
    /// A call that takes longer is slow. Goes with slow_call_rate_threshold. Costs two clock reads a call.
    detail::config_field<std::optional<duration>> slow_call_duration{};
    /// Trips when this share, in (0, 1], of the results in `window` are slow. Unset: off.
    detail::config_field<std::optional<double>> slow_call_rate_threshold{};
    /// The window of the rate rules: the last n results (n in 1..1,000,000), or a time.
    detail::config_field<std::variant<count_window, time_window>> window = count_window{100};
    /// Results that must be in `window` before a rate is judged; a smaller count_window is judged when full.
    unsigned minimum_calls = 20;
    /// Makes recovery_timeout grow on repeated openings. Unset: it stays.
    detail::config_field<std::optional<resilience::recovery_backoff>> recovery_backoff{};
    /// Selects the failures (and, with on_result, the values) that count as failures; the others count as
    /// successes. Empty: default_rule(): cancellation, std::bad_alloc and HTTP 429 are ignored, other HTTP 4xx are
    /// successes, the rest are failures. Local rejections and cancellation are always ignored.
    predicate record_if{};
    /// Selects the failures that say nothing about health. Asked before record_if.
    predicate ignore_if{};
    /// Returns a duration for failures that trip at once, for that long (a server's Retry-After on 503).
    detail::config_field<std::function<std::optional<duration>(const failure&)>> break_duration_of{};
    /// Called for each change of state, in order, with no lock held.
    detail::config_field<std::function<void(const event&)>> on_state_change{};
    /// Reopens when this share, in (0, 1], of success_threshold probes is bad: failed, or slow where
    /// slow_call_duration is set. Judged as soon as the probes to come cannot change it. Unset: one bad probe
    /// reopens.
    detail::config_field<std::optional<double>> half_open_failure_rate{};
    /// Closes a half-open circuit that has seen no probe for so long. Unset: it waits for probes.
    detail::config_field<std::optional<duration>> half_open_quiet{};
    /// Bound of the break that a failure asks for, by break_duration_of or by the server's hint: a trip lasts at
    /// least as long as the hint (Retry-After) of the failure that caused it. No server keeps us away for ever.
    duration max_break = std::chrono::minutes{10};
    /// Shown on metrics, events and snapshots; at most 8, constant.
    labels_type labels{};
};

RESILIENCE_COLD void fields(circuit_breaker_config& c, auto&& visit) {
    visit("failure_threshold", c.failure_threshold);
    visit("success_threshold", c.success_threshold);
    visit("recovery_timeout", c.recovery_timeout);
    visit("failure_window", c.failure_window);
    visit("half_open_max_calls", c.half_open_max_calls);
    visit("probe_lease", c.probe_lease);
    visit("consecutive_failures", c.consecutive_failures);
    visit("failure_rate_threshold", c.failure_rate_threshold, field_form::share);
    visit("slow_call_duration", c.slow_call_duration);
    visit("slow_call_rate_threshold", c.slow_call_rate_threshold, field_form::share);
    visit("window", c.window);
    visit("minimum_calls", c.minimum_calls);
    visit("recovery_backoff", c.recovery_backoff);
    visit("record_if", c.record_if);
    visit("ignore_if", c.ignore_if);
    visit("break_duration_of", c.break_duration_of);
    visit("on_state_change", c.on_state_change);
    visit("half_open_failure_rate", c.half_open_failure_rate, field_form::share);
    visit("half_open_quiet", c.half_open_quiet);
    visit("max_break", c.max_break);
}

/// A window's text is a number of calls, or a time.
template <>
struct text_form<std::variant<count_window, time_window>> {
    static constexpr std::string_view accepted = "a number of calls such as 100, or a time such as 60s";
    static bool parse(std::string_view text, std::variant<count_window, time_window>& value);
    static setting_value show(const std::variant<count_window, time_window>& value);
};

/// A complaint that names field, value and range; empty if the config is valid.
std::string validate(const circuit_breaker_config& c);

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION bool text_form<std::variant<count_window, time_window>>::parse(
    std::string_view text, std::variant<count_window, time_window>& value) {
    unsigned calls = 0;
    duration length{};
    if (detail::parse_whole(text, calls)) value = count_window{calls};
    else if (detail::parse_duration(text, length)) value = time_window{length};
    else return false;
    return true;
}
RESILIENCE_COLD RESILIENCE_FUNCTION setting_value text_form<std::variant<count_window, time_window>>::show(
    const std::variant<count_window, time_window>& value) {
    if (const auto* calls = std::get_if<count_window>(&value)) return std::uint64_t{calls->size};
    return detail::exact_duration(std::get<time_window>(value).length);
}

RESILIENCE_COLD RESILIENCE_FUNCTION std::string validate(const circuit_breaker_config& c) {
    using detail::complaint;
    const auto is_share = [](double d) { return d > 0.0 && d <= 1.0; };
    constexpr duration none{0};
    constexpr unsigned most = 65'536;
    if (c.failure_threshold && (*c.failure_threshold < 1 || *c.failure_threshold > most))
        return complaint("circuit_breaker_config.failure_threshold", *c.failure_threshold, "in 1..65536");
    if (c.success_threshold < 1 || c.success_threshold > most)
        return complaint("circuit_breaker_config.success_threshold", c.success_threshold, "in 1..65536");
    if (c.recovery_timeout < none)
        return complaint("circuit_breaker_config.recovery_timeout", c.recovery_timeout, "0 or more");
    if (c.failure_window <= none)
        return complaint("circuit_breaker_config.failure_window", c.failure_window, "more than 0");
    if (c.half_open_max_calls && (*c.half_open_max_calls < 1 || *c.half_open_max_calls > c.success_threshold))
        return complaint("circuit_breaker_config.half_open_max_calls", *c.half_open_max_calls,
                         "in 1..success_threshold (" + std::to_string(c.success_threshold) + ")");
    if (c.probe_lease <= none)
        return complaint("circuit_breaker_config.probe_lease", c.probe_lease, "more than 0");
    if (c.consecutive_failures && *c.consecutive_failures < 1)
        return complaint("circuit_breaker_config.consecutive_failures", *c.consecutive_failures, "1 or more");
    if (c.failure_rate_threshold && !is_share(*c.failure_rate_threshold))
        return complaint("circuit_breaker_config.failure_rate_threshold", *c.failure_rate_threshold,
                         "in (0, 1]");
    if (c.slow_call_duration && *c.slow_call_duration <= none)
        return complaint("circuit_breaker_config.slow_call_duration", *c.slow_call_duration, "more than 0");
    if (c.slow_call_rate_threshold && !is_share(*c.slow_call_rate_threshold))
        return complaint("circuit_breaker_config.slow_call_rate_threshold", *c.slow_call_rate_threshold,
                         "in (0, 1]");
    if (c.slow_call_duration.has_value() != c.slow_call_rate_threshold.has_value())
        return "circuit_breaker_config.slow_call_duration and slow_call_rate_threshold go together; only one "
               "is set: " +
               (c.slow_call_duration ? detail::duration_text(*c.slow_call_duration)
                                     : std::to_string(*c.slow_call_rate_threshold));
    if (const auto* count = std::get_if<count_window>(&c.window);
        count != nullptr && (count->size < 1 || count->size > 1'000'000))
        return complaint("circuit_breaker_config.window.size", count->size, "in 1..1000000");
    if (const auto* time = std::get_if<time_window>(&c.window);
        time != nullptr && time->length < std::chrono::milliseconds{1})
        return complaint("circuit_breaker_config.window.length", time->length, "1ms or more");
    if (c.minimum_calls < 1)
        return complaint("circuit_breaker_config.minimum_calls", c.minimum_calls, "1 or more");
    if (c.recovery_backoff) {
        if (!(c.recovery_backoff->multiplier >= 1.0 && c.recovery_backoff->multiplier <= 1e6))
            return complaint("circuit_breaker_config.recovery_backoff.multiplier",
                             c.recovery_backoff->multiplier, "in 1..1000000");
        if (c.recovery_backoff->cap < c.recovery_timeout)
            return complaint("circuit_breaker_config.recovery_backoff.cap", c.recovery_backoff->cap,
                             "recovery_timeout (" + detail::duration_text(c.recovery_timeout) + ") or more");
    }
    if (c.half_open_failure_rate && !is_share(*c.half_open_failure_rate))
        return complaint("circuit_breaker_config.half_open_failure_rate", *c.half_open_failure_rate,
                         "in (0, 1]");
    if (c.half_open_quiet && *c.half_open_quiet <= none)
        return complaint("circuit_breaker_config.half_open_quiet", *c.half_open_quiet, "more than 0");
    if (c.max_break <= none) return complaint("circuit_breaker_config.max_break", c.max_break, "more than 0");
    return detail::validate_labels("circuit_breaker_config", c.labels);
}
#endif

}} // namespace resilience::RESILIENCE_ABI
