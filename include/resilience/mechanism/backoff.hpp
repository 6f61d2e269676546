// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/platform.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The growth of delays from one retry to the next; n is the number of the retry, from 1.
enum class backoff {
    constant,     ///< base_delay
    linear,       ///< base_delay * n
    exponential,  ///< base_delay * multiplier^(n - 1)
    decorrelated, ///< uniform in [base_delay, 3 * the delay before]: random by nature, no jitter on top
};
constexpr std::array<std::pair<std::string_view, backoff>, 4> words_of(backoff) {
    return {{{"constant", backoff::constant},
             {"linear", backoff::linear},
             {"exponential", backoff::exponential},
             {"decorrelated", backoff::decorrelated}}};
}

/// How much of a delay d is random (AWS Architecture Blog, "Exponential Backoff and Jitter").
enum class jitter {
    none,         ///< d
    full,         ///< uniform in [0, d]
    equal,        ///< d/2 + uniform in [0, d/2]
    proportional, ///< uniform in [d - jitter_ratio * d, d + jitter_ratio * d]
};
/// Where it used to be a boolean, true is full.
constexpr std::array<std::pair<std::string_view, jitter>, 6> words_of(jitter) {
    return {{{"none", jitter::none},
             {"full", jitter::full},
             {"equal", jitter::equal},
             {"proportional", jitter::proportional},
             {"true", jitter::full},
             {"false", jitter::none}}};
}

/// The numbers behind a delay. The policy validates them; the functions below are defined for all values.
struct backoff_schedule {
    backoff strategy = backoff::exponential;
    /// Delay before the first retry.
    duration base_delay = std::chrono::seconds{1};
    /// Cap of every delay, jitter included.
    duration max_delay = std::chrono::seconds{60};
    /// Growth from retry to retry, for backoff::exponential.
    double multiplier = 2.0;
    /// The random part of each delay. Full by default: clients that failed together would otherwise come back
    /// together.
    resilience::jitter jitter = resilience::jitter::full;
    /// Share of the delay that jitter::proportional adds or takes away, in [0, 1].
    double jitter_ratio = 0.5;
};

namespace detail {

/// `share` of `whole` (not negative), for a share in [0, 1]. Compares before it converts, since converting a
/// double beyond the integer's range is undefined.
constexpr duration share_of(duration whole, double share) noexcept {
    const auto all = static_cast<double>(whole.count());
    const double part = all * share;
    return part < all ? duration{static_cast<duration::rep>(part)} : whole;
}

/// `x` held in [0, 1]. NaN counts as 1, which gives the longest delay.
constexpr double held_in_unit_interval(double x) noexcept { return x < 1.0 ? (x > 0.0 ? x : 0.0) : 1.0; }

/// base * multiplier^doublings in O(log doublings), at most `cap`; NaN and infinity give the cap.
constexpr duration power_delay(duration base, double multiplier, unsigned doublings, duration cap) noexcept {
    // A bound for the intermediate numbers, so that none becomes infinite: 2^64 exceeds every duration.
    constexpr double beyond_all = 18446744073709551616.0;
    const auto limit = static_cast<double>(cap.count());
    auto delay = static_cast<double>(base.count());
    double factor = multiplier < 0.0 ? 0.0 : multiplier;
    for (; doublings != 0; doublings >>= 1U) {
        if ((doublings & 1U) != 0) delay *= factor;
        if (!(delay < beyond_all)) return cap; // the factors still to come are not below 1
        factor *= factor;
        if (factor > beyond_all) factor = beyond_all;
    }
    delay += 0.5; // to the nearest nanosecond: 1.1^n is not exact
    return delay < limit ? duration{static_cast<duration::rep>(delay)} : cap;
}

/// The delay without jitter, in [0, max_delay].
constexpr duration raw_delay(const backoff_schedule& s, unsigned n, duration base, duration cap) noexcept {
    switch (s.strategy) {
    case backoff::linear: {
        duration::rep product = 0;
        if (multiply_overflows(base.count(), n, product)) return cap;
        return std::min(duration{product}, cap);
    }
    case backoff::exponential: {
        if (base == duration{0}) return base;
        const unsigned doublings = n - 1;
        if (s.multiplier != 2.0) return power_delay(base, s.multiplier, doublings, cap);
        // base * 2^k > cap exactly if base > cap / 2^k: compared before the shift could overflow.
        if (doublings >= 63 || base.count() > (cap.count() >> doublings)) return cap;
        return duration{base.count() << doublings};
    }
    case backoff::constant:
    case backoff::decorrelated: break;
    }
    return std::min(base, cap);
}

/// Uniform in [from, to].
constexpr duration between(duration from, duration to, double uniform) noexcept {
    return to > from ? from + share_of(to - from, uniform) : from;
}

} // namespace detail

/// Delay before the n-th retry (n from 1), always in [0, max_delay]. `previous` is the delay before
/// (for decorrelated only; duration{0} at first), `uniform` a random number in [0, 1).
/// Pure and O(log n); exponential by 2 is O(1). No input is undefined; NaN gives the longest delay.
///
/// The cap is applied to the delay first and to the range that jitter draws from next, not to what was
/// drawn: clamping afterwards would make most late retries wait exactly max_delay, together again.
///
///     base 1s, max 10s, exponential by 2:   n = 1  2  3  4   5   50
///     none                                      1  2  4  8  10   10
///     full                              from 0 to 1  2  4  8  10   10
///     proportional, ratio 0.5, from             .5 1  2  4   5    5
///                                to            1.5 3  6 10  10   10
constexpr duration delay_of(const backoff_schedule& schedule, unsigned n, duration previous,
                            double uniform) noexcept {
    const duration cap = std::max(schedule.max_delay, duration{0});
    const duration base = std::clamp(schedule.base_delay, duration{0}, cap);
    const double draw = detail::held_in_unit_interval(uniform);

    if (schedule.strategy == backoff::decorrelated) {
        const duration before = std::clamp(previous, base, cap);
        const duration to = before > cap / 3 ? cap : 3 * before;
        return detail::between(base, to, draw);
    }

    const duration d = detail::raw_delay(schedule, std::max(n, 1U), base, cap);
    switch (schedule.jitter) {
    case jitter::none: break;
    case jitter::full: return detail::share_of(d, draw);
    case jitter::equal: return detail::between(d / 2, d, draw);
    case jitter::proportional: {
        const duration spread = detail::share_of(d, detail::held_in_unit_interval(schedule.jitter_ratio));
        const duration to = d > cap - spread ? cap : d + spread;
        return detail::between(d - spread, to, draw);
    }
    }
    return d;
}

/// The delays that keep to a server's hint: uniform in [least, least + range].
struct hinted_delay {
    duration least;
    duration range;

    constexpr duration drawn(double uniform) const noexcept {
        return least + detail::share_of(range, detail::held_in_unit_interval(uniform));
    }
    /// The part of them that is less than `limit`, if any is.
    constexpr hinted_delay within(duration limit) const noexcept {
        const duration room = limit > least ? limit - least - duration{1} : range;
        return {least, std::min(range, room)};
    }
};
/// The range above a hint is base_delay, or a tenth of the hint if that is more: all who were told the same
/// would otherwise come back in the same instant. With jitter::none it is empty.
constexpr hinted_delay delay_after_hint(duration hint, duration base_delay, jitter how) noexcept {
    if (how == jitter::none) return {hint, duration{0}};
    return {hint, std::min(std::max(base_delay, hint / 10), duration::max() - hint)};
}

/// The growth of recovery_timeout while a circuit opens again and again without recovering in between.
struct recovery_backoff {
    /// The n-th opening in a row lasts recovery_timeout * multiplier^(n-1). At least 1.
    double multiplier = 2.0;
    /// The longest that an opening lasts.
    duration cap = std::chrono::minutes{10};
    /// How much of it is random. None by default, since one breaker is no crowd.
    resilience::jitter jitter = resilience::jitter::none;
};

void fields(recovery_backoff& c, auto&& visit) {
    visit("multiplier", c.multiplier);
    visit("cap", c.cap);
    visit("jitter", c.jitter);
}

}} // namespace resilience::RESILIENCE_ABI
