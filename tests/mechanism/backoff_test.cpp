// SPDX-License-Identifier: Apache-2.0
#include <resilience/mechanism/backoff.hpp>

#include "support/catch.hpp"
#include "support/numbers.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <vector>

namespace {

namespace rs = resilience;
using support::infinity;
using support::nan;
using namespace std::chrono_literals;

constexpr double almost_one = 1.0 - std::numeric_limits<double>::epsilon() / 2;

rs::backoff_schedule without_jitter(rs::backoff strategy, rs::duration base, rs::duration max,
                                    double multiplier = 2.0) {
    return {.strategy = strategy,
            .base_delay = base,
            .max_delay = max,
            .multiplier = multiplier,
            .jitter = rs::jitter::none};
}

rs::backoff_schedule constant_with(rs::jitter jitter, rs::duration delay, rs::duration max,
                                   double ratio = 0.5) {
    return {.strategy = rs::backoff::constant,
            .base_delay = delay,
            .max_delay = max,
            .jitter = jitter,
            .jitter_ratio = ratio};
}

/// Chi-square of draws that should be uniform in [from, to), in 100 bins. With 99 degrees of freedom it
/// exceeds 149 once in a thousand times; the seeds are fixed.
double chi_square(const std::vector<rs::duration>& draws, rs::duration from, rs::duration to) {
    constexpr std::size_t bins = 100;
    std::array<double, bins> seen{};
    for (const rs::duration d : draws) {
        if (d < from || d > to) return infinity;
        const double place =
            static_cast<double>((d - from).count()) / static_cast<double>((to - from).count());
        seen[std::min(bins - 1, static_cast<std::size_t>(place * bins))] += 1;
    }
    const double expected = static_cast<double>(draws.size()) / bins;
    double sum = 0;
    for (const double n : seen) sum += (n - expected) * (n - expected) / expected;
    return sum;
}

std::vector<rs::duration> hundred_thousand(const rs::backoff_schedule& schedule, unsigned n,
                                           rs::duration previous = 0ns) {
    std::mt19937_64 engine{20240229};
    std::uniform_real_distribution<double> uniform{0.0, 1.0};
    std::vector<rs::duration> draws(100'000);
    for (auto& d : draws) d = rs::delay_of(schedule, n, previous, uniform(engine));
    return draws;
}

std::size_t distinct(const std::vector<rs::duration>& draws) {
    return std::set<rs::duration>(draws.begin(), draws.end()).size();
}

TEST_CASE("each strategy grows by its formula, from base_delay before the first retry",
          "[backoff][H-RT-10]") {
    struct row {
        rs::backoff strategy;
        double multiplier;
        unsigned n;
        rs::duration expected;
    };
    const row table[] = {
        {rs::backoff::constant, 2.0, 1, 1s},
        {rs::backoff::constant, 2.0, 2, 1s},
        {rs::backoff::constant, 2.0, 1'000, 1s},
        {rs::backoff::linear, 2.0, 1, 1s},
        {rs::backoff::linear, 2.0, 2, 2s},
        {rs::backoff::linear, 2.0, 59, 59s},
        {rs::backoff::linear, 2.0, 60, 60s},
        {rs::backoff::linear, 2.0, 61, 60s},
        {rs::backoff::exponential, 2.0, 1, 1s},
        {rs::backoff::exponential, 2.0, 2, 2s},
        {rs::backoff::exponential, 2.0, 3, 4s},
        {rs::backoff::exponential, 2.0, 6, 32s},
        {rs::backoff::exponential, 2.0, 7, 60s},
        {rs::backoff::exponential, 1.0, 9, 1s},
        {rs::backoff::exponential, 1.1, 1, 1s},
        {rs::backoff::exponential, 1.1, 2, 1'100ms},
        {rs::backoff::exponential, 1.1, 3, 1'210ms},
        {rs::backoff::exponential, 1.5, 3, 2'250ms},
        {rs::backoff::exponential, 1.5, 5, 5'062'500us},
        {rs::backoff::exponential, 3.0, 4, 27s},
        {rs::backoff::exponential, 3.0, 5, 60s},
        {rs::backoff::exponential, 10.0, 2, 10s},
    };

    for (const row& r : table) {
        const auto schedule = without_jitter(r.strategy, 1s, 60s, r.multiplier);

        INFO("strategy " << static_cast<int>(r.strategy) << ", multiplier " << r.multiplier << ", n " << r.n);
        CHECK(delay_of(schedule, r.n, 0ns, 0.7).count() == r.expected.count());
    }
}

TEST_CASE("jitter takes the delay apart as its name says", "[backoff][H-RT-04]") {
    struct row {
        rs::jitter jitter;
        double ratio;
        double uniform;
        rs::duration expected;
    };
    const row table[] = {
        {rs::jitter::none, 0.5, 0.0, 1000ns},
        {rs::jitter::none, 0.5, almost_one, 1000ns},
        {rs::jitter::full, 0.5, 0.0, 0ns},
        {rs::jitter::full, 0.5, 0.25, 250ns},
        {rs::jitter::full, 0.5, almost_one, 999ns},
        {rs::jitter::equal, 0.5, 0.0, 500ns},
        {rs::jitter::equal, 0.5, 0.5, 750ns},
        {rs::jitter::equal, 0.5, almost_one, 999ns},
        {rs::jitter::proportional, 0.5, 0.0, 500ns},
        {rs::jitter::proportional, 0.5, 0.5, 1000ns},
        {rs::jitter::proportional, 0.5, 0.75, 1250ns},
        {rs::jitter::proportional, 0.5, almost_one, 1499ns},
        {rs::jitter::proportional, 0.0, 0.9, 1000ns},
        {rs::jitter::proportional, 0.1, 0.0, 900ns},
        {rs::jitter::proportional, 1.0, 0.0, 0ns},
        {rs::jitter::proportional, 1.0, 0.75, 1500ns},
    };

    for (const row& r : table) {
        const auto schedule = constant_with(r.jitter, 1000ns, 1s, r.ratio);

        INFO("jitter " << static_cast<int>(r.jitter) << ", ratio " << r.ratio << ", uniform " << r.uniform);
        CHECK(delay_of(schedule, 1, 0ns, r.uniform).count() == r.expected.count());
    }
}

TEST_CASE("proportional jitter at the cap draws from what lies below it", "[backoff][H-RT-04][H-RT-05]") {
    const auto at_cap = constant_with(rs::jitter::proportional, 1000ns, 1000ns);
    const auto near_cap = constant_with(rs::jitter::proportional, 1000ns, 1200ns);

    CHECK(delay_of(at_cap, 1, 0ns, 0.0) == 500ns);
    CHECK(delay_of(at_cap, 1, 0ns, 0.5) == 750ns);
    CHECK(delay_of(at_cap, 1, 0ns, almost_one) == 999ns);
    CHECK(delay_of(near_cap, 1, 0ns, 0.5) == 850ns);
    CHECK(delay_of(near_cap, 1, 0ns, almost_one) == 1199ns);
}

TEST_CASE("decorrelated delays lie between base_delay and three times the one before", "[backoff][H-RT-06]") {
    rs::backoff_schedule schedule{.strategy = rs::backoff::decorrelated, .base_delay = 1s, .max_delay = 60s};

    SECTION("before the first retry, the one before is base_delay") {
        CHECK(delay_of(schedule, 1, 0ns, 0.0) == 1s);
        CHECK(delay_of(schedule, 1, 0ns, 0.5) == 2s);
        CHECK(delay_of(schedule, 1, 1s, 0.5) == 2s);
    }
    SECTION("later") {
        CHECK(delay_of(schedule, 2, 5s, 0.0) == 1s);
        CHECK(delay_of(schedule, 2, 5s, 0.5) == 8s);
        CHECK(delay_of(schedule, 9, 5s, 0.5) == 8s);
    }
    SECTION("the cap bounds what is drawn from") {
        CHECK(delay_of(schedule, 2, 20s, 0.5) == 30'500ms);
        CHECK(delay_of(schedule, 2, 21s, 0.5) == 30'500ms);
        CHECK(delay_of(schedule, 2, rs::duration::max(), 0.5) == 30'500ms);
    }
    SECTION("a jitter setting changes nothing") {
        for (const auto jitter :
             {rs::jitter::none, rs::jitter::full, rs::jitter::equal, rs::jitter::proportional}) {
            schedule.jitter = jitter;
            CHECK(delay_of(schedule, 2, 5s, 0.5) == 8s);
        }
    }
    SECTION("nothing wrong in the numbers survives to the next delay") {
        CHECK(delay_of(schedule, 2, -5s, 0.5) == 2s);
        CHECK(delay_of(schedule, 2, rs::duration::min(), 0.5) == 2s);
        CHECK(delay_of(schedule, 2, 5s, nan) == 15s);
    }
    SECTION("two calls that take turns do not see each other's delays") {
        rs::duration first = 0ns;
        rs::duration second = 0ns;

        for (unsigned n = 1; n <= 3; ++n) {
            first = delay_of(schedule, n, first, 0.9);
            second = delay_of(schedule, n, second, 0.0);
        }

        CHECK(first > 10s);
        CHECK(second == 1s);
    }
    SECTION("a long walk stays inside and reaches both ends") {
        std::mt19937_64 engine{7};
        std::uniform_real_distribution<double> uniform{0.0, 1.0};
        rs::duration shortest = rs::duration::max();
        rs::duration longest = 0ns;

        for (rs::duration d = 0ns; auto n : std::vector<unsigned>(100'000, 1U)) {
            d = delay_of(schedule, n, d, uniform(engine));
            shortest = std::min(shortest, d);
            longest = std::max(longest, d);
        }

        CHECK(shortest >= 1s);
        CHECK(shortest < 1'100ms);
        CHECK(longest <= 60s);
        CHECK(longest > 59s);
    }
}

TEST_CASE("no number of the retry and no schedule leaves [0, max_delay]",
          "[backoff][H-RT-01][H-RT-02][H-RT-04]") {
    const unsigned numbers[] = {0,
                                1,
                                2,
                                31,
                                32,
                                33,
                                62,
                                63,
                                64,
                                65,
                                66,
                                1'023,
                                1'024,
                                1'025,
                                100'000,
                                1U << 31U,
                                2'147'483'647,
                                4'000'000'000,
                                std::numeric_limits<unsigned>::max()};
    const rs::duration durations[] = {0ns,
                                      1ns,
                                      3ns,
                                      1ms,
                                      1s,
                                      60s,
                                      std::chrono::hours{1'000'000},
                                      rs::duration::max() - 1ns,
                                      rs::duration::max(),
                                      -1ns,
                                      rs::duration::min()};
    const double multipliers[] = {1.0,   1.0000001, 1.1, 1.5, 2.0, 2.5,  1e10,
                                  1e308, infinity,  nan, 0.0, 0.5, -2.0, -infinity};
    const double uniforms[] = {0.0, 0.5, almost_one, 1.0, 2.0, -1.0, infinity, -infinity, nan};

    const auto strategy = GENERATE(rs::backoff::constant, rs::backoff::linear, rs::backoff::exponential,
                                   rs::backoff::decorrelated);
    const auto jitter =
        GENERATE(rs::jitter::none, rs::jitter::full, rs::jitter::equal, rs::jitter::proportional);

    for (const rs::duration base : durations) {
        for (const rs::duration max : durations) {
            for (const double multiplier : multipliers) {
                const rs::backoff_schedule schedule{strategy, base, max, multiplier, jitter, multiplier};
                for (const unsigned n : numbers) {
                    for (const double uniform : uniforms) {
                        const rs::duration d = delay_of(schedule, n, base, uniform);
                        if (d >= 0ns && d <= std::max(max, rs::duration{0})) continue;
                        FAIL("strategy " << static_cast<int>(strategy) << ", jitter "
                                         << static_cast<int>(jitter) << ", base " << base.count() << ", max "
                                         << max.count() << ", multiplier " << multiplier << ", n " << n
                                         << ", uniform " << uniform << ": " << d.count());
                    }
                }
            }
        }
    }
    SUCCEED();
}

TEST_CASE("delays never shrink from one retry to the next and end at the cap",
          "[backoff][H-RT-01][H-RT-02]") {
    const double multiplier = GENERATE(1.1, 1.5, 2.0, 2.5, 1e10, 1e308, infinity, nan);
    const rs::duration max = GENERATE(rs::duration{60s}, rs::duration::max());
    const auto schedule = without_jitter(rs::backoff::exponential, 1ms, max, multiplier);

    rs::duration before = 0ns;
    for (unsigned n = 1; n <= 5'000; ++n) {
        const rs::duration d = delay_of(schedule, n, 0ns, 0.5);
        if (d < before) FAIL("n " << n << ": " << d.count() << " after " << before.count());
        before = d;
    }

    CHECK(before == max);
    for (const unsigned n :
         {10'000U, 65'536U, 2'147'483'647U, 2'147'483'648U, 2'147'483'649U, 4'000'000'000U, 4'294'967'295U}) {
        CHECK(delay_of(schedule, n, 0ns, 0.5) == max);
    }
}

TEST_CASE("the integer path of multiplier 2 agrees with multiplication at every boundary",
          "[backoff][H-RT-02]") {
    const auto unlimited = without_jitter(rs::backoff::exponential, 1ns, rs::duration::max());
    const auto limited = without_jitter(rs::backoff::exponential, 3ns, 24ns);
    const auto between_powers = without_jitter(rs::backoff::exponential, 3ns, 23ns);

    CHECK(delay_of(unlimited, 63, 0ns, 0.5).count() == std::int64_t{1} << 62U);
    CHECK(delay_of(unlimited, 64, 0ns, 0.5) == rs::duration::max());
    CHECK(delay_of(unlimited, 65, 0ns, 0.5) == rs::duration::max());
    CHECK(delay_of(unlimited, 129, 0ns, 0.5) == rs::duration::max());
    CHECK(delay_of(limited, 3, 0ns, 0.5) == 12ns);
    CHECK(delay_of(limited, 4, 0ns, 0.5) == 24ns);
    CHECK(delay_of(limited, 5, 0ns, 0.5) == 24ns);
    CHECK(delay_of(between_powers, 3, 0ns, 0.5) == 12ns);
    CHECK(delay_of(between_powers, 4, 0ns, 0.5) == 23ns);
}

TEST_CASE("linear delays are held at the cap instead of wrapping", "[backoff][H-RT-01][H-RT-02]") {
    const auto schedule = without_jitter(rs::backoff::linear, rs::duration::max() / 2, rs::duration::max());

    CHECK(delay_of(schedule, 2, 0ns, 0.5) == rs::duration::max() - 1ns);
    CHECK(delay_of(schedule, 3, 0ns, 0.5) == rs::duration::max());
    CHECK(delay_of(schedule, 4'000'000'000, 0ns, 0.5) == rs::duration::max());
}

TEST_CASE("a delay of nothing stays nothing", "[backoff]") {
    const auto strategy = GENERATE(rs::backoff::constant, rs::backoff::linear, rs::backoff::exponential,
                                   rs::backoff::decorrelated);
    const double multiplier = GENERATE(2.0, 3.0, infinity);
    const rs::backoff_schedule schedule{.strategy = strategy, .base_delay = 0ns, .multiplier = multiplier};

    CHECK(delay_of(schedule, 1, 0ns, 0.9) == 0ns);
    CHECK(delay_of(schedule, 4'000'000'000, 0ns, 0.9) == 0ns);
}

TEST_CASE("a base_delay above max_delay is max_delay", "[backoff][H-RT-04]") {
    const auto strategy = GENERATE(rs::backoff::constant, rs::backoff::linear, rs::backoff::exponential,
                                   rs::backoff::decorrelated);

    CHECK(delay_of(without_jitter(strategy, 10s, 1s), 1, 0ns, 0.9) == 1s);
    CHECK(delay_of(without_jitter(strategy, 10s, 1s, 3.0), 1, 0ns, 0.9) == 1s);
}

TEST_CASE("a number that is not one gives the longest delay", "[backoff][H-RT-06]") {
    CHECK(delay_of(constant_with(rs::jitter::full, 10s, 60s), 1, 0ns, nan) == 10s);
    CHECK(delay_of(constant_with(rs::jitter::equal, 10s, 60s), 1, 0ns, nan) == 10s);
    CHECK(delay_of(constant_with(rs::jitter::proportional, 10s, 60s), 1, 0ns, nan) == 15s);
    CHECK(delay_of(constant_with(rs::jitter::proportional, 10s, 60s, nan), 1, 0ns, 0.5) == 10s);
    CHECK(delay_of(without_jitter(rs::backoff::exponential, 1s, 60s, nan), 2, 0ns, 0.5) == 60s);
}

// An evaluation by the compiler ends after some hundred thousand steps: what iterates over the number
// of the retry does not compile here.
constexpr rs::duration late(rs::backoff strategy, double multiplier) {
    return rs::delay_of({.strategy = strategy,
                         .base_delay = 1ns,
                         .max_delay = 1h,
                         .multiplier = multiplier,
                         .jitter = rs::jitter::none},
                        4'000'000'000, 1ns, 0.5);
}
static_assert(late(rs::backoff::constant, 2.0) == 1ns);
static_assert(late(rs::backoff::linear, 2.0) == 4s);
static_assert(late(rs::backoff::exponential, 2.0) == 1h);
static_assert(late(rs::backoff::exponential, 3.0) == 1h);
static_assert(late(rs::backoff::exponential, 1.0) == 1ns);
static_assert(late(rs::backoff::exponential, 1.000000001) == 55ns); // e^4 = 54.6
static_assert(late(rs::backoff::decorrelated, 2.0) == 2ns);

TEST_CASE("the delay of the four thousand millionth retry takes no longer than the first",
          "[backoff][H-RT-03]") {
    const double multiplier = GENERATE(1.0, 1.000000001, 2.0, 3.0);
    const auto schedule = without_jitter(rs::backoff::exponential, 1ns, 1h, multiplier);
    rs::duration sum = 0ns;

    for (unsigned i = 0; i < 100'000; ++i) sum += delay_of(schedule, 4'000'000'000 + i, 0ns, 0.5) / 100'000;

    CHECK(sum >= 0ns);
}

TEST_CASE("every jitter spreads evenly over its range", "[backoff]") {
    const auto full = hundred_thousand(constant_with(rs::jitter::full, 10s, 60s), 1);
    const auto equal = hundred_thousand(constant_with(rs::jitter::equal, 10s, 60s), 1);
    const auto proportional = hundred_thousand(constant_with(rs::jitter::proportional, 10s, 60s), 1);
    const auto decorrelated =
        hundred_thousand({.strategy = rs::backoff::decorrelated, .base_delay = 1s}, 2, 10s);

    CHECK(chi_square(full, 0s, 10s) < 149);
    CHECK(chi_square(equal, 5s, 10s) < 149);
    CHECK(chi_square(proportional, 5s, 15s) < 149);
    CHECK(chi_square(decorrelated, 1s, 30s) < 149);
}

TEST_CASE("late retries of many clients do not meet at max_delay", "[backoff][H-RT-05]") {
    struct row {
        rs::backoff strategy;
        rs::jitter jitter;
        rs::duration from;
    };
    const auto r = GENERATE(row{rs::backoff::exponential, rs::jitter::full, 0s},
                            row{rs::backoff::exponential, rs::jitter::equal, 30s},
                            row{rs::backoff::exponential, rs::jitter::proportional, 30s},
                            row{rs::backoff::linear, rs::jitter::full, 0s},
                            row{rs::backoff::linear, rs::jitter::proportional, 30s},
                            row{rs::backoff::decorrelated, rs::jitter::none, 2s});
    const rs::backoff_schedule schedule{
        .strategy = r.strategy, .base_delay = 2s, .max_delay = 60s, .jitter = r.jitter};

    const auto draws = hundred_thousand(schedule, 50, 60s);

    INFO("strategy " << static_cast<int>(r.strategy) << ", jitter " << static_cast<int>(r.jitter));
    CHECK(distinct(draws) > 90'000);
    CHECK(std::count(draws.begin(), draws.end(), rs::duration{60s}) < 10);
    CHECK(chi_square(draws, r.from, 60s) < 149);
}

} // namespace
