// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/predicate.hpp>
#include <resilience/call/value_ops.hpp>
#include <resilience/detail/config_field.hpp>
#include <resilience/environment/fields.hpp>
#include <resilience/environment/labels.hpp>
#include <resilience/mechanism/backoff.hpp>
#include <resilience/retry/budget.hpp>

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/detail/complaint.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// The behaviour of a retry inside of another, where attempts multiply.
enum class nested_retry {
    multiply,       ///< each retries by its own rules; events and statistics show the depth
    outermost_only, ///< this one makes a single attempt while it runs inside of another
};
constexpr std::array<std::pair<std::string_view, nested_retry>, 2> words_of(nested_retry) {
    return {{{"multiply", nested_retry::multiply}, {"outermost_only", nested_retry::outermost_only}}};
}

/// For max_attempts: retries go on until something else ends them, such as a deadline, max_elapsed or the budget.
inline constexpr unsigned unlimited_attempts = ~0U;

/// Configures a retry.
struct retry_config {
    static constexpr std::string_view policy_kind = "retry";

    /// Names the policy in its registry, in events and in errors; empty: private and unlisted.
    std::string name{};
    /// Attempts in total, the first included. 1 means: never retry. See also unlimited_attempts.
    unsigned max_attempts = 3;
    /// Delay before the second attempt. 0: at once.
    duration base_delay = std::chrono::seconds{1};
    /// Cap of the strategy's delays, jitter and base_delay included. Hints have max_retry_after; delay_override has none.
    duration max_delay = std::chrono::seconds{60};
    /// How delays grow. Exponential: a service that does not recover soon needs to be left alone for longer.
    resilience::backoff strategy = backoff::exponential;
    /// Growth of exponential delays, at least 1.
    double multiplier = 2.0;
    /// How much of each delay is random. Full by default: clients that failed together would otherwise come
    /// back together (AWS Architecture Blog, "Exponential Backoff and Jitter").
    resilience::jitter jitter = jitter::full;
    /// Share that jitter::proportional adds or takes, in [0, 1].
    double jitter_ratio = 0.5;
    /// No retry starts once this much time has passed since the call began. Unset: unlimited. Costs a clock
    /// read a call.
    detail::config_field<std::optional<duration>> max_elapsed{};
    /// Selects the failures (and, with on_result, the values) that are retried. Empty: default_rule(), which
    /// is all but our rejections, cancellation, std::bad_alloc and HTTP statuses that will not change.
    predicate retry_if{};
    /// Returns the delay before the n-th retry, or nullopt for that of the strategy. max_delay does not cut
    /// it. A negative delay or an exception counts as nullopt.
    detail::config_field<std::function<std::optional<duration>(unsigned, const failure&)>> delay_override{};
    /// Pays for retries. Default: a budget of this policy's own, 20 % of calls + 10 a second.
    retry_budget budget{};
    /// True: a server's hint (Retry-After) is the least delay. A random share of base_delay, or of 10 % of the
    /// hint if that is more, is added (not with jitter::none): callers with one hint would otherwise come back
    /// together. A server that forbids to try again is obeyed.
    bool respect_retry_after = true;
    /// A longer hint stops retrying. Unset: max_delay.
    detail::config_field<std::optional<duration>> max_retry_after{};
    nested_retry nested = nested_retry::multiply;
    /// True: throw retries_exhausted_error, the cause nested, when all attempts failed. By default the last
    /// outcome goes out unchanged, so that callers catch the exceptions that they always caught.
    bool wrap_exhausted = false;
    /// Of all calls of this policy. A call's own options count more, and so does a result that knows: the
    /// adapter of cpp-httplib tells a POST from a GET.
    resilience::idempotency idempotency = resilience::idempotency::safe;
    /// Repeats of a call after connections that were dead before anything was sent (stale_connection_carrier,
    /// was_stale). They come at once and cost neither attempt nor budget. 8: a few calls together empty a pool that
    /// a restart of the server left full of them. 0: such failures are retried like others.
    unsigned max_transparent = 8;
    /// Shown on metrics, events and snapshots; at most 8, constant.
    labels_type labels{};
};

RESILIENCE_COLD void fields(retry_config& c, auto&& visit) {
    visit("max_attempts", c.max_attempts);
    visit("base_delay", c.base_delay);
    visit("max_delay", c.max_delay);
    visit("strategy", c.strategy);
    visit("multiplier", c.multiplier);
    visit("jitter", c.jitter);
    visit("jitter_ratio", c.jitter_ratio, field_form::share);
    visit("max_elapsed", c.max_elapsed);
    visit("retry_if", c.retry_if);
    visit("delay_override", c.delay_override);
    visit("budget", c.budget);
    visit("respect_retry_after", c.respect_retry_after);
    visit("max_retry_after", c.max_retry_after);
    visit("nested", c.nested);
    visit("wrap_exhausted", c.wrap_exhausted);
    visit("idempotency", c.idempotency);
    visit("max_transparent", c.max_transparent);
}

/// A complaint that names field, value and range; empty if the config is valid.
std::string validate(const retry_config& c);

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::string validate(const retry_config& c) {
    using detail::complaint;
    constexpr duration none{0};
    if (c.max_attempts < 1)
        return complaint("retry_config.max_attempts", c.max_attempts, "1 or more (1: never retry)");
    if (c.base_delay < none) return complaint("retry_config.base_delay", c.base_delay, "0 or more");
    if (c.max_delay < none) return complaint("retry_config.max_delay", c.max_delay, "0 or more");
    if (!(c.multiplier >= 1.0 && c.multiplier <= 1e6))
        return complaint("retry_config.multiplier", c.multiplier, "in 1..1000000");
    if (!(c.jitter_ratio >= 0.0 && c.jitter_ratio <= 1.0))
        return complaint("retry_config.jitter_ratio", c.jitter_ratio, "in [0, 1]");
    if (c.max_elapsed && *c.max_elapsed <= none)
        return complaint("retry_config.max_elapsed", *c.max_elapsed, "more than 0");
    if (c.max_retry_after && *c.max_retry_after < none)
        return complaint("retry_config.max_retry_after", *c.max_retry_after, "0 or more");
    return detail::validate_labels("retry_config", c.labels);
}
#endif

}} // namespace resilience::RESILIENCE_ABI
