// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/mechanism/gcra.hpp>
#include <resilience/mechanism/sliding_log.hpp>
#include <resilience/rate_limiter/config.hpp>

#include <algorithm>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The permits of a rate limiter, by the rule of its config. Pure; guarded by the limiter's mutex.
class rate_meter {
public:
    explicit rate_meter(const rate_limiter_config& c) noexcept
        : has_log_(c.kind == limiter::sliding_window), bucket_(c.permits, c.per, burst_of(c)),
          log_(c.permits, c.per), burst_(burst_of(c)) {}

    std::uint64_t burst() const noexcept { return burst_; }
    /// The turn of `n` permits, from 1 to burst, and no earlier than `earliest`. None: it is too far ahead to be counted.
    rate_turn look(time_point now, time_point earliest, std::uint64_t n) noexcept {
        return has_log_ ? log_.look(now, earliest, n) : bucket_.look(now, earliest, n);
    }
    void take(const rate_turn& t) { has_log_ ? log_.take(t) : bucket_.take(t); }
    /// Less what was promised after it.
    void give_back(time_point now, const rate_turn& t) noexcept {
        has_log_ ? log_.give_back(now, t) : bucket_.give_back(now, t);
    }
    /// Takes `n` permits, whether they are there or not: down to a debt of a burst.
    void charge(time_point now, std::uint64_t n) { has_log_ ? log_.charge(now, n) : bucket_.charge(now, n); }
    void refund(time_point now, std::uint64_t n) noexcept {
        has_log_ ? log_.refund(now, n) : bucket_.refund(now, n);
    }
    /// Permits that are there now; below 0: a debt, or turns that are to come.
    std::int64_t available(time_point now) noexcept {
        return has_log_ ? log_.available(now) : bucket_.available(now);
    }

    /// Of a new one: it has `available` permits, as far as they go into it; or such a debt.
    void begin_with(std::int64_t available, time_point now) {
        const auto all = static_cast<std::int64_t>(burst_);
        charge(now, static_cast<std::uint64_t>(all - std::clamp(available, -all, all)));
    }

private:
    bool has_log_;
    gcra bucket_; // not used if there is a log
    sliding_log log_;
    std::uint64_t burst_;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
