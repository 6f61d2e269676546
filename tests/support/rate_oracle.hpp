// SPDX-License-Identifier: Apache-2.0
#pragma once

// Meters of rates beside models that are plain to read, and too slow or too large to use: tokens in fractions of 128 bits, and
// a list of all permits of a window.

#include <resilience/rate_limiter/meter.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace support {

namespace rs = resilience;
__extension__ using wide = __int128;

/// A bucket with a level: in permits, times the nanoseconds of `per`. Turns that are promised make it negative.
class bucket_oracle {
public:
    bucket_oracle(std::uint64_t permits, rs::duration per, std::uint64_t burst)
        : permits_(permits), per_(per.count()), full_(wide(burst) * per_), level_(full_) {}

    /// The wait for n permits from now on; and takes them if it is no longer than that.
    wide ask(std::int64_t now, std::uint64_t n, wide most_wait) {
        pass(now);
        const wide lacks = wide(n) * per_ - level_;
        const wide wait = lacks <= 0 ? 0 : (lacks + permits_ - 1) / permits_ + (last_ - now);
        if (wait <= most_wait) level_ -= wide(n) * per_;
        return wait;
    }
    /// `used` is the level that a claim left behind, when it was made at `made`.
    void give_back(std::int64_t now, std::uint64_t n, wide used, std::int64_t made) {
        pass(now);
        now = last_;
        // What is promised beyond the claim's own turn, or beyond now.
        const wide promised = std::max<wide>(-level_, 0);
        const wide mine = std::max<wide>(-used - wide(now - made) * permits_, 0);
        const wide after = std::max<wide>(promised - mine, 0);
        level_ = std::min(full_, level_ + std::max<wide>(wide(n) * per_ - after, 0));
    }
    wide level() const { return level_; }
    std::int64_t present() const { return last_; }
    std::int64_t available(std::int64_t now) {
        pass(now);
        wide whole = level_ / per_;
        if (level_ < 0 && level_ % per_ != 0) --whole;
        return static_cast<std::int64_t>(whole);
    }

private:
    void pass(std::int64_t now) {
        if (now <= last_) return;
        level_ = std::min(full_, level_ + wide(now - last_) * permits_);
        last_ = now;
    }

    wide permits_, per_, full_, level_;
    std::int64_t last_ = 0;
};

/// No two different things by chance in `steps` steps; the first difference, or an empty text.
inline std::string meter_differs(std::uint32_t seed, int steps) {
    std::mt19937_64 random(seed);
    const auto below = [&](std::uint64_t n) { return random() % n; };
    const std::uint64_t permits = 1 + below(below(2) == 0 ? 5 : 10'000'000);
    const rs::duration per{
        static_cast<std::int64_t>(1 + below(below(2) == 0 ? 1'000'000'000 : 3'600'000'000'000))};
    const std::uint64_t burst = 1 + below(below(2) == 0 ? 10 : 1'000);
    rs::rate_limiter_config config{.permits = permits, .per = per, .burst = burst};
    if (rs::detail::gcra(permits, per, burst).fits() != rs::detail::gcra::fit::exactly) return {};
    rs::detail::rate_meter meter(config);
    bucket_oracle oracle(permits, per, burst);
    struct claim {
        rs::detail::rate_turn turn;
        wide used;
        std::int64_t made;
    };
    std::vector<claim> claims;
    std::int64_t now = 1'000'000'000'000;
    const auto differs = [&](const char* what, wide ours, wide theirs) {
        return "seed " + std::to_string(seed) + ", " + what + ": " +
               std::to_string(static_cast<double>(ours)) + " but by the oracle " +
               std::to_string(static_cast<double>(theirs));
    };
    const auto interval = static_cast<std::uint64_t>(per.count()) / permits + 1;
    for (int i = 0; i < steps; ++i) {
        if (below(1'000) == 0) now += static_cast<std::int64_t>(below(std::uint64_t{1} << 50U));
        else if (below(3) != 0) now += static_cast<std::int64_t>(below(2 * interval));
        if (below(50) == 0) now -= static_cast<std::int64_t>(below(interval)); // backwards
        const rs::time_point at{rs::duration{now}};
        const std::uint64_t n = 1 + below(burst);
        if (const auto what = below(10); what < 7) {
            const wide most = below(3) == 0 ? wide(below(10 * interval)) : 0;
            const auto turn = meter.look(at, rs::time_point::min(), n);
            if (!turn) return differs("a turn", -1, 0);
            const wide wait = oracle.ask(now, n, most);
            if (turn.wait.count() != wait) return differs("wait", turn.wait.count(), wait);
            if (wait <= most) {
                meter.take(turn);
                claims.push_back({turn, oracle.level(), oracle.present()});
            }
        } else if (what < 8 && !claims.empty()) {
            const auto which = static_cast<std::ptrdiff_t>(below(claims.size()));
            const claim& c = claims[static_cast<std::size_t>(which)];
            meter.give_back(at, c.turn);
            oracle.give_back(now, c.turn.permits, c.used, c.made);
            claims.erase(claims.begin() + which);
        } else if (meter.available(at) != oracle.available(now)) {
            return differs("available", meter.available(at), oracle.available(now));
        }
        if (claims.size() > 20) claims.erase(claims.begin());
    }
    return {};
}

} // namespace support
