// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// a * b / c, rounded up, by a product of 128 bits; the largest number if it is more than that.
constexpr std::uint64_t product_over(std::uint64_t a, std::uint64_t b, std::uint64_t c) noexcept {
    constexpr std::uint64_t low_half = 0xffffffff;
    const std::uint64_t cross = (a >> 32U) * (b & low_half) + (((a & low_half) * (b & low_half)) >> 32U);
    const std::uint64_t middle = (a & low_half) * (b >> 32U) + (cross & low_half);
    std::uint64_t rest = (a >> 32U) * (b >> 32U) + (cross >> 32U) + (middle >> 32U); // the upper 64 bits
    const std::uint64_t low = a * b;
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    if (rest >= c) return most;
    std::uint64_t quotient = 0;
    for (int bit = 63; bit >= 0; --bit) { // long division; rest < c
        const bool carries = (rest >> 63U) != 0;
        rest = (rest << 1U) | ((low >> static_cast<unsigned>(bit)) & 1U);
        const bool fits = carries || rest >= c;
        if (fits) rest -= c;
        quotient = (quotient << 1U) | (fits ? 1U : 0U);
    }
    return rest > 0 && quotient < most ? quotient + 1 : quotient;
}

/// The time at which permits may be used, for the one that takes them.
struct rate_turn {
    duration wait{0}; // from now
    time_point moment{};
    std::uint64_t mark = 0;    // the meter's
    std::uint64_t permits = 0; // 0: there is no such turn

    explicit operator bool() const noexcept { return permits > 0; }
};

/// Meters a long-run rate that may come in bursts: the Generic Cell Rate Algorithm (ITU-T I.371, virtual scheduling). It keeps
/// one moment, at which all permits will be there again. A bucket of `burst` permits that fills up by one every
/// `per / permits` is the same.
///
/// Time is counted in parts of a nanosecond such that a permit takes a whole number of them: nothing is rounded, so that no
/// rate drifts. Parts are counted modulo 2^64. Pure: the time is an argument. A time before the last one counts as that.
class gcra {
public:
    gcra(std::uint64_t permits, duration per, std::uint64_t burst) noexcept {
        const auto length = static_cast<std::uint64_t>(per.count());
        const std::uint64_t common = std::gcd(permits, length);
        const std::uint64_t all_parts = permits / common;
        const std::uint64_t burst_time = std::max<std::uint64_t>(product_over(burst, length, permits), 1);
        if (burst_time > most_parts / 2) return;
        // Twice the burst has to be counted. Beyond that, parts are larger, and a permit comes later by less than one.
        parts_ = std::min(all_parts, most_parts / 2 / burst_time);
        cost_ = product_over(length / common, parts_, all_parts);
        burst_ = burst;
        depth_ = static_cast<std::int64_t>(cost_ * burst);
        fits_ = parts_ == all_parts ? fit::exactly : cost_ >= enough_parts ? fit::nearly : fit::too_fine;
    }
    enum class fit : std::uint8_t {
        exactly,
        nearly,   ///< a permit comes late by less than a millionth of its time: the burst takes very long
        too_long, ///< a burst comes back within more than 18 years
        too_fine, ///< a permit's time cannot be counted to a millionth
    };
    /// How the rate is counted. If it is one of the last two, nothing else may be asked.
    fit fits() const noexcept { return fits_; }
    std::uint64_t burst() const noexcept { return burst_; }

    /// The turn of `n` permits, from 1 to burst, and no earlier than `earliest`. None: it is too far ahead to be counted.
    rate_turn look(time_point now, time_point earliest, std::uint64_t n) noexcept {
        const std::uint64_t at = settle(now);
        const duration ahead = elapsed_between(last_, earliest);
        if (static_cast<std::uint64_t>(ahead.count()) > most_parts / parts_) return {};
        const std::uint64_t from = at + parts(ahead);
        const std::uint64_t next = later(next_, from) + n * cost_;
        const std::int64_t wait = std::max(since(at, next) - depth_, since(at, from));
        if (wait > static_cast<std::int64_t>(most_parts)) return {};
        const auto per_nano = static_cast<std::int64_t>(parts_);
        if (wait <= 0) return {duration{0}, now, next, n};
        const time_point moment = saturating_add(last_, duration{(wait - 1) / per_nano + 1});
        return {elapsed_between(now, moment), moment, next, n};
    }
    void take(const rate_turn& t) noexcept { next_ = t.mark; }
    /// Gives a turn back, less what was reserved after it (as golang.org/x/time/rate has it).
    void give_back(time_point now, const rate_turn& t) noexcept {
        const std::uint64_t at = settle(now);
        // `after` is promised beyond this turn, or beyond now. A mark of long ago may have come round again.
        const std::uint64_t mine = t.moment > last_ ? t.mark - static_cast<std::uint64_t>(depth_) : at;
        const std::int64_t after = std::max<std::int64_t>(since(mine, next_) - depth_, 0);
        const std::int64_t back = static_cast<std::int64_t>(t.permits * cost_) - after;
        if (back > 0) next_ -= static_cast<std::uint64_t>(back);
    }
    /// Takes `n` more permits, whether they are there or not: down to a debt of a burst.
    void charge(time_point now, std::uint64_t n) noexcept {
        const std::uint64_t at = settle(now);
        const std::uint64_t from = later(next_, at);
        const std::uint64_t deepest = later(from, at + 2 * static_cast<std::uint64_t>(depth_));
        const std::uint64_t more = product_over(n, cost_, 1);
        const auto room = static_cast<std::uint64_t>(since(from, deepest));
        next_ = from + std::min(more, room);
    }
    void refund(time_point now, std::uint64_t n) noexcept {
        const std::uint64_t at = settle(now);
        next_ = later(next_, at) -
                std::min(product_over(n, cost_, 1), static_cast<std::uint64_t>(since(at, later(next_, at))));
    }
    /// Permits that are there now; below 0: a debt.
    std::int64_t available(time_point now) noexcept {
        const std::uint64_t at = settle(now);
        const std::int64_t left = depth_ - since(at, later(next_, at));
        const auto cost = static_cast<std::int64_t>(cost_);
        return left >= 0 ? left / cost : -((-left + cost - 1) / cost);
    }

private:
    // The half of the numbers modulo 2^64 that are ahead of a moment has room for a burst, a debt and a wait.
    static constexpr std::uint64_t most_parts = std::uint64_t{1} << 60U;
    static constexpr std::uint64_t enough_parts = 1'000'000;

    std::uint64_t parts(duration d) const noexcept { return static_cast<std::uint64_t>(d.count()) * parts_; }
    static std::int64_t since(std::uint64_t from, std::uint64_t to) noexcept {
        return static_cast<std::int64_t>(to - from);
    }
    static std::uint64_t later(std::uint64_t a, std::uint64_t b) noexcept { return since(a, b) > 0 ? b : a; }
    /// The time in parts. After a long time without calls all permits are there.
    std::uint64_t settle(time_point now) noexcept {
        const duration idle = elapsed_between(last_, now);
        last_ = std::max(last_, now);
        const std::uint64_t at = parts(last_.time_since_epoch());
        // It was ahead by less than twice what a wait can be.
        if (static_cast<std::uint64_t>(idle.count()) > 2 * (most_parts / parts_)) next_ = at;
        return at;
    }

    std::uint64_t parts_ = 1; // of a nanosecond
    std::uint64_t cost_ = 1;  // of a permit, in parts
    std::int64_t depth_ = 1;  // of the bucket, in parts
    std::uint64_t burst_ = 1;
    fit fits_ = fit::too_long;
    time_point last_ = time_point::min();
    std::uint64_t next_ = parts(time_point::min().time_since_epoch()); // all permits are there again
};

}}} // namespace resilience::RESILIENCE_ABI::detail
