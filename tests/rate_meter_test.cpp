// SPDX-License-Identifier: Apache-2.0
// Meters of rates: what they give in any interval, whatever comes when.
#include <resilience/rate_limiter/meter.hpp>

#include "support/catch.hpp"
#include "support/rate_oracle.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::wide;
constexpr auto any_time = rs::time_point::min();

rs::time_point at(rs::duration since_start) { return rs::time_point{1'000s} + since_start; }

/// Takes permits if they are there.
bool takes(rs::detail::rate_meter& meter, rs::time_point now, std::uint64_t n = 1) {
    const auto turn = meter.look(now, any_time, n);
    if (!turn || turn.wait > 0s) return false;
    meter.take(turn);
    return true;
}
std::uint64_t takes_all(rs::detail::rate_meter& meter, rs::time_point now) {
    std::uint64_t taken = 0;
    while (takes(meter, now)) ++taken;
    return taken;
}

/// Is told of each grant, and finds the interval that has more of them than burst + rate * length.
class rate_check {
public:
    rate_check(std::uint64_t permits, rs::duration per, std::uint64_t burst)
        : permits_(permits), per_(per.count()), burst_(burst) {}
    /// False: in some interval that ends now there were too many.
    bool grants(rs::time_point when, std::uint64_t n) {
        const wide before = wide(count_) * per_ - wide(when.time_since_epoch().count()) * permits_;
        least_ = count_ == 0 ? before : std::min(least_, before);
        count_ += n;
        return before + wide(n) * per_ - least_ <= wide(burst_) * per_;
    }
    std::uint64_t count() const { return count_; }

private:
    std::uint64_t permits_;
    wide per_;
    std::uint64_t burst_;
    std::uint64_t count_ = 0;
    wide least_ = 0;
};

TEST_CASE("a product over a number is rounded up, and is exact in 128 bits", "[rate_limiter]") {
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    CHECK(rs::detail::product_over(10, 10, 3) == 34);
    CHECK(rs::detail::product_over(9, 10, 3) == 30);
    CHECK(rs::detail::product_over(0, 10, 3) == 0);
    CHECK(rs::detail::product_over(most, most, most) == most);
    CHECK(rs::detail::product_over(most, most, most - 1) == most); // saturates
    CHECK(rs::detail::product_over(most, 2, 1) == most);
    std::mt19937_64 random(1);
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t a = random() >> (random() % 64), b = random() >> (random() % 64),
                            c = (random() >> (random() % 64)) | 1U;
        __extension__ using unsigned_wide = unsigned __int128;
        const unsigned_wide exact = (unsigned_wide(a) * b + (c - 1)) / c;
        CHECK(rs::detail::product_over(a, b, c) == (exact > most ? most : static_cast<std::uint64_t>(exact)));
    }
}

TEST_CASE("a bucket does what a bucket of exact fractions does, whatever comes when",
          "[rate_limiter][H-RL-02][H-RL-06][H-RL-12]") {
    for (std::uint32_t seed = 1; seed <= 250; ++seed) {
        const std::string difference = support::meter_differs(seed, 200);
        if (!difference.empty()) FAIL(difference);
    }
    SUCCEED();
}

TEST_CASE("no interval has more than burst + rate * length, and the long run has the rate",
          "[rate_limiter][H-RL-07][H-RL-08]") {
    struct rate {
        std::uint64_t permits;
        rs::duration per;
    };
    for (const auto kind : {rs::limiter::token_bucket, rs::limiter::smooth}) {
        for (const auto& [permits, per] :
             {rate{1, 1h}, rate{3, 1s}, rate{7, 1min}, rate{10'000'000, 1s}, rate{9'999'991, 1s}}) {
            rs::rate_limiter_config config{.permits = permits, .per = per, .kind = kind};
            if (kind == rs::limiter::token_bucket) config.burst = 5;
            REQUIRE(validate(config).empty());
            rs::detail::rate_meter meter(config);
            const std::uint64_t burst = meter.burst();
            rate_check check(permits, per, burst);
            std::mt19937_64 random(permits);
            const auto interval = static_cast<std::uint64_t>(per.count()) / permits + 1;
            std::int64_t ns = 0;
            for (int i = 0; i < 20'000; ++i) { // asked for faster than given
                ns += static_cast<std::int64_t>(random() % (interval + 1));
                const rs::time_point now = at(rs::duration{ns});
                const std::uint64_t n = 1 + random() % burst;
                if (takes(meter, now, n) && !check.grants(now, n)) FAIL("too many");
            }
            CHECK(check.count() > 0);
            // Waits for each turn: all permits are had that there are.
            rs::detail::rate_meter row(config);
            rs::time_point now = at(0s);
            for (int i = 0; i < 10'000; ++i) {
                const auto turn = row.look(now, any_time, 1);
                REQUIRE(turn);
                row.take(turn);
                now += turn.wait;
            }
            const wide had = wide(10'000 - burst) * per.count();
            const wide time = wide((now - at(0s)).count()) * permits;
            INFO(permits << " in " << per.count() << " ns, burst " << burst << ": "
                         << (now - at(0s)).count());
            CHECK(time >= had);
            CHECK(time < had + permits); // less than a nanosecond late after all of them
        }
    }
}

TEST_CASE("no window of a sliding window has more than its permits", "[rate_limiter][H-RL-08]") {
    for (const std::uint64_t permits : {1U, 5U, 1'024U, 1'025U, 100'000U}) {
        rs::detail::rate_meter meter({.permits = permits, .per = 1s, .kind = rs::limiter::sliding_window});
        std::deque<std::pair<rs::time_point, std::uint64_t>> window;
        std::uint64_t inside = 0, all = 0;
        std::mt19937_64 random(permits);
        rs::time_point now = at(0s);
        for (int i = 0; i < 20'000; ++i) {
            now += rs::duration{static_cast<std::int64_t>(random() % 4'000'000)};
            const std::uint64_t n = 1 + random() % std::max<std::uint64_t>(permits / 10, 1);
            const auto turn = meter.look(now, any_time, n);
            REQUIRE(turn);
            const rs::time_point moment = now + turn.wait;
            if (random() % 3 == 0 && turn.wait > 0s) continue; // does not want to wait
            if (turn.wait > 3s) continue;
            meter.take(turn);
            while (!window.empty() && moment - window.front().first >= 1s) {
                inside -= window.front().second;
                window.pop_front();
            }
            if (!window.empty() && moment < window.back().first) FAIL("out of order");
            window.emplace_back(moment, n);
            inside += n;
            all += n;
            if (inside > permits) FAIL("too many");
        }
        // Hardly fewer than there may be: 40 s, and asked for more than enough.
        const double seconds = std::chrono::duration<double>(now - at(0s)).count();
        CHECK(static_cast<double>(all) >= 0.9 * static_cast<double>(permits) * seconds);
    }
}

TEST_CASE("a window gives its permits one window later, exactly up to 1,024 and a 64th late beyond",
          "[rate_limiter]") {
    rs::detail::rate_meter exact({.permits = 1'024, .per = 1s, .kind = rs::limiter::sliding_window});
    CHECK(takes(exact, at(1ns), 1'024));
    CHECK_FALSE(takes(exact, at(1s)));
    CHECK(exact.look(at(1s), any_time, 1).wait == 1ns);
    CHECK(takes(exact, at(1s + 1ns), 1'024));

    rs::detail::rate_meter coarse({.permits = 1'025, .per = 1s, .kind = rs::limiter::sliding_window});
    CHECK(takes(coarse, at(1ns), 1'025));
    CHECK_FALSE(takes(coarse, at(1s + 1ns)));
    CHECK(takes(coarse, at(1s + 1'000'000'000ns / 64), 1'025));
}

TEST_CASE("idle for longer than the numbers reach, all permits are there and no more",
          "[rate_limiter][H-RL-03]") {
    for (const auto kind : {rs::limiter::token_bucket, rs::limiter::sliding_window}) {
        for (const std::uint64_t permits :
             {std::uint64_t{3}, std::uint64_t{10'000}, std::uint64_t{9'999'991}}) {
            rs::detail::rate_meter meter({.permits = permits, .per = 1s, .kind = kind});
            const auto start = rs::time_point::min() + 1s;
            CHECK(takes(meter, start, permits));
            meter.charge(start, permits); // a debt
            CHECK_FALSE(takes(meter, start + 1s - 1ns));
            rs::time_point now = start;
            for (const auto idle :
                 {rs::duration{24h * 6}, rs::duration{24h * 365 * 10}, rs::duration{24h * 365 * 250}}) {
                now = rs::saturating_add(now, idle); // and 292 years around it
                CHECK(meter.available(now) == static_cast<std::int64_t>(permits));
                CHECK(takes(meter, now, permits));
                CHECK_FALSE(takes(meter, now));
                CHECK_FALSE(takes(meter, now + 1s / permits / 2));
            }
        }
    }
}

TEST_CASE("a clock that goes back gives nothing", "[rate_limiter]") {
    for (const auto kind : {rs::limiter::token_bucket, rs::limiter::sliding_window, rs::limiter::smooth}) {
        rs::detail::rate_meter meter({.permits = 10, .per = 1s, .kind = kind});
        const std::uint64_t all = takes_all(meter, at(3h));
        CHECK(all == (kind == rs::limiter::smooth ? 1 : 10));
        for (const auto back : {1ns, rs::duration{1s}, rs::duration{2h}, rs::duration{24h * 365 * 200}}) {
            CHECK_FALSE(takes(meter, rs::saturating_add(at(3h), -back)));
            CHECK_FALSE(takes(meter, at(3h)));
        }
        CHECK(takes(meter, at(3h + 1s)));
    }
}

TEST_CASE("many turns are promised in their order, also to those that need many permits",
          "[rate_limiter][H-RL-15]") {
    for (const auto kind : {rs::limiter::token_bucket, rs::limiter::sliding_window}) {
        rs::detail::rate_meter meter({.permits = 4, .per = 1s, .kind = kind});
        CHECK(takes_all(meter, at(0s)) == 4);
        const auto large = meter.look(at(0s), any_time, 4);
        REQUIRE(large);
        CHECK(large.wait == 1s);
        meter.take(large);
        const auto small = meter.look(at(0s), any_time, 1);
        REQUIRE(small);
        CHECK(small.wait > 1s); // after it
        CHECK(meter.available(at(0s)) == -4);
    }
}

TEST_CASE("turns that are given back are there for others, less what was promised after them",
          "[rate_limiter][H-RL-02]") {
    for (const auto kind : {rs::limiter::token_bucket, rs::limiter::sliding_window}) {
        rs::detail::rate_meter meter({.permits = 10, .per = 1s, .kind = kind});
        CHECK(takes_all(meter, at(0s)) == 10);
        std::vector<rs::detail::rate_turn> turns;
        for (int i = 0; i < 100; ++i) {
            turns.push_back(meter.look(at(0s), any_time, 1));
            meter.take(turns.back());
        }
        for (auto t = turns.rbegin(); t != turns.rend(); ++t) meter.give_back(at(0s), *t);
        CHECK(meter.available(at(0s)) == 0);
        CHECK(takes_all(meter, at(1s)) == 10);
    }
    rs::detail::rate_meter meter({.permits = 10, .per = 1s});
    CHECK(takes_all(meter, at(0s)) == 10);
    const auto first = meter.look(at(0s), any_time, 5);
    meter.take(first);
    const auto second = meter.look(at(0s), any_time, 2);
    meter.take(second);
    meter.give_back(at(0s), first); // 2 were promised after it
    CHECK(meter.available(at(0s)) == -4);
}

TEST_CASE("a debt is a burst at most, and ends by the rate", "[rate_limiter][H-RL-04]") {
    for (const auto kind : {rs::limiter::token_bucket, rs::limiter::sliding_window}) {
        rs::detail::rate_meter meter({.permits = 10, .per = 1s, .kind = kind});
        meter.charge(at(0s), 1'000'000);
        CHECK(meter.available(at(0s)) == -10);
        CHECK_FALSE(takes(meter, at(1s - 1ns)));
        meter.refund(at(0s), 15);
        CHECK(meter.available(at(1s - 1ns)) >= 5);
        meter.refund(at(1s), std::numeric_limits<std::uint64_t>::max());
        CHECK(meter.available(at(1s)) == 10);
        CHECK(takes_all(meter, at(2h)) == 10);
    }
}

TEST_CASE("a turn waits for the moment before which nothing may be sent", "[rate_limiter]") {
    for (const auto kind : {rs::limiter::token_bucket, rs::limiter::sliding_window}) {
        rs::detail::rate_meter meter({.permits = 2, .per = 1s, .kind = kind});
        for (const auto wait : {10s, 10s, 11s, 11s}) {
            const auto turn = meter.look(at(0s), at(10s), 1);
            REQUIRE(turn);
            if (kind == rs::limiter::sliding_window) CHECK(turn.wait == wait);
            else CHECK(turn.wait >= 10s);
            meter.take(turn);
        }
        CHECK_FALSE(meter.look(at(0s), rs::time_point::max(), 1));
    }
}

} // namespace
