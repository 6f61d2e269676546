// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/mechanism/time_buckets.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

#if RESILIENCE_BODIES
#include <resilience/detail/complaint.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// Retries as a share of calls, as in Finagle's RetryBudget; the defaults are Finagle's too.
struct percent_budget_config {
    /// The number of retries that each call pays for. With 0.2 retries add at most a fifth to the load.
    double ratio = 0.2;
    /// Free retries per second, so that clients with little traffic can retry at all. They form a single
    /// reserve of minimum_per_second * ttl, not a trickle.
    double minimum_per_second = 10;
    /// The time for which a call pays and a retry costs.
    duration ttl = std::chrono::seconds{10};

    friend bool operator==(const percent_budget_config&, const percent_budget_config&) = default;
};

/// A complaint about the config; empty if it is valid.
std::string validate(const percent_budget_config& config);
#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::string validate(const percent_budget_config& config) {
    using detail::complaint;
    const bool pays = config.ratio == 0.0 || (config.ratio >= 0.001 && config.ratio <= 1000.0);
    if (!pays) return complaint("percent_budget_config.ratio", config.ratio, "0 or in [0.001, 1000]");
    if (!(config.minimum_per_second >= 0.0 && config.minimum_per_second <= 1e6))
        return complaint("percent_budget_config.minimum_per_second", config.minimum_per_second,
                         "in [0, 1000000]");
    if (config.ttl < std::chrono::milliseconds{100} || config.ttl > std::chrono::hours{1})
        return complaint("percent_budget_config.ttl", config.ttl, "in [100ms, 1h]");
    return {};
}
#endif

/// Decides if a retry can be paid:
///
///     available = minimum_per_second * ttl + sum over the last ttl of (ratio * calls - retries)
///
/// Calls and retries are forgotten after ttl, a tenth of it at a time. Defaults, 300 calls in the last 10s,
/// 40 of them retried: 10 * 10 + 0.2 * 300 - 40 = 120 retries are left. Any number of sources count calls on
/// their own and deposit them before they ask for a retry. Counts whole billionths, saturating, so there is
/// no drift, no overflow and no 0/0. A ratio is rounded up to them, so that three calls at 1.0 / 3 pay for a
/// retry. Pure; not thread-safe.
class percent_budget {
public:
    /// `config` is valid.
    explicit percent_budget(const percent_budget_config& config) noexcept
        : ttl_(config.ttl), per_call_(billionths(config.ratio)),
          reserve_(billionths(config.minimum_per_second * std::chrono::duration<double>(config.ttl).count())),
          window_(config.ttl) {}

    /// Credits the calls that a source counted since its last deposit. If that is longer ago than ttl, the
    /// calls are assumed to be spread evenly, and only the share within ttl is credited, rounded up since the
    /// call that asks is among them.
    void deposit(std::uint64_t new_calls, duration since_last_look, time_point now) noexcept {
        if (since_last_look > ttl_ && new_calls > 1) {
            const double share =
                static_cast<double>(ttl_.count()) / static_cast<double>(since_last_look.count());
            // Far below the range's end: doubles up to this size are exact to the call.
            constexpr std::uint64_t most = std::uint64_t{1} << 52U;
            const double within = static_cast<double>(std::min(new_calls, most)) * share;
            new_calls = static_cast<std::uint64_t>(within) + 1;
        }
        window_.add(window_.number_at(now), {.calls = new_calls, .retries = 0});
    }

    /// Takes a retry from the budget. False if none is left.
    [[nodiscard]] bool withdraw(time_point now) noexcept {
        const std::uint32_t bucket = window_.number_at(now);
        if (available_billionths(window_.at(bucket)) < one_retry) return false;
        window_.add(bucket, {.calls = 0, .retries = 1});
        return true;
    }

    /// The number of retries that could be paid now. It is also 0 while more is spent than the calls of the
    /// last ttl pay for.
    double available(time_point now) const noexcept {
        const std::int64_t left = available_billionths(window_.as_of(now));
        return static_cast<double>(std::max<std::int64_t>(left, 0)) / one_retry;
    }

private:
    static constexpr std::int64_t one_retry = 1'000'000'000;

    struct counts {
        std::uint64_t calls = 0;
        std::uint64_t retries = 0;

        counts& operator+=(const counts& more) noexcept {
            calls = detail::saturating_sum(calls, more.calls);
            retries = detail::saturating_sum(retries, more.retries);
            return *this;
        }
    };

    // Rounds up, after taking off what binary fractions add: 0.57 * 1e9 may be 570000000.0000001.
    static std::int64_t billionths(double x) noexcept {
        const double wanted = x * one_retry * (1.0 - 4 * std::numeric_limits<double>::epsilon());
        const auto whole = static_cast<std::int64_t>(wanted);
        return static_cast<double>(whole) < wanted ? whole + 1 : whole;
    }

    std::int64_t available_billionths(const counts& counted) const noexcept {
        constexpr auto most = std::numeric_limits<std::int64_t>::max();
        std::int64_t earned = 0;
        std::int64_t spent = 0;
        std::int64_t left = 0;
        if (detail::multiply_overflows(counted.calls, per_call_, earned)) earned = most;
        if (detail::multiply_overflows(counted.retries, one_retry, spent)) spent = most;
        if (detail::add_overflows(earned - spent, reserve_, left)) left = most;
        return left;
    }

    duration ttl_;
    std::int64_t per_call_; // billionths, as is the reserve
    std::int64_t reserve_;
    buckets_of_time<counts> window_;
};

}} // namespace resilience::RESILIENCE_ABI
