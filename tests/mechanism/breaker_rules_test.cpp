// SPDX-License-Identifier: Apache-2.0
#include <resilience/mechanism/breaker_rules.hpp>

#include "support/catch.hpp"
#include "support/moment.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

using support::at;

/// No rule is on.
rs::breaker_rules_config none() {
    return {std::nullopt, 60s, std::nullopt, std::nullopt, std::nullopt, rs::count_window{100}, 20};
}
rs::breaker_rules_config failures_in(unsigned threshold, rs::duration window) {
    rs::breaker_rules_config c = none();
    c.failure_threshold = threshold;
    c.failure_window = window;
    return c;
}
rs::breaker_rules_config in_a_row(unsigned threshold) {
    rs::breaker_rules_config c = none();
    c.consecutive_failures = threshold;
    return c;
}
rs::breaker_rules_config rate(double share, std::uint32_t size, unsigned minimum_calls) {
    rs::breaker_rules_config c = none();
    c.failure_rate_threshold = share;
    c.window = rs::count_window{size};
    c.minimum_calls = minimum_calls;
    return c;
}
std::string judged(const rs::breaker_rules& rules, rs::time_point now, const rs::tally& rates = {}) {
    const char* rule = rules.judge(now, rates);
    return rule != nullptr ? rule : "";
}

TEST_CASE("a share is reached exactly where the integers say so, for every percentage of every total",
          "[breaker_rules][H-CB-31]") {
    for (std::uint64_t total = 1; total <= 1000; ++total) {
        for (std::uint64_t percent = 1; percent <= 100; ++percent) {
            const std::uint64_t needed = (percent * total + 99) / 100; // rounded up
            const double share = static_cast<double>(percent) / 100.0;
            if (!rs::reaches(needed, total, share))
                FAIL(needed << " of " << total << " at " << percent << "%");
            if (needed > 0 && rs::reaches(needed - 1, total, share))
                FAIL(needed - 1 << " of " << total << " at " << percent << "%");
        }
    }
    SUCCEED();
}

TEST_CASE("m of n reach the share m / n, and m - 1 do not", "[breaker_rules][H-USE-19]") {
    for (unsigned n = 1; n <= 300; ++n) {
        for (unsigned m = 1; m <= n; ++m) {
            const double share = static_cast<double>(m) / n;
            for (const unsigned times : {1U, 2U, 7U, 3'333U}) {
                const std::uint64_t part = std::uint64_t{m} * times, total = std::uint64_t{n} * times;
                if (!rs::reaches(part, total, share))
                    FAIL(part << " of " << total << " at " << m << "/" << n);
                if (rs::reaches(part - 1, total, share))
                    FAIL(part - 1 << " of " << total << " at " << m << "/" << n);
            }
        }
    }
    SUCCEED();
}
static_assert(rs::reaches(2, 3, 2.0 / 3) && !rs::reaches(1, 3, 2.0 / 3));
static_assert(rs::reaches(3, 10, 0.1 + 0.2)); // a double above 0.3
static_assert(rs::reaches(1, 10, 1 - 0.9) && rs::reaches(7, 10, 0.7));
static_assert(!rs::reaches(999'998, 999'999, 999'999.0 / 1'000'000));
static_assert(rs::reaches(57, 100, 0.57));
static_assert(!rs::reaches(0, 100, 1e-12)); // no share is so small that nothing meets it
static_assert(!rs::reaches(56, 100, 0.57));
static_assert(rs::reaches(~std::uint64_t{0}, ~std::uint64_t{0}, 1.0));
static_assert(!rs::reaches(~std::uint64_t{0} - 1, ~std::uint64_t{0}, 1.0));

TEST_CASE("failure_threshold is met by the failure that reaches it, while all are in the window",
          "[breaker_rules][H-CB-30]") {
    rs::breaker_rules rules{failures_in(3, 10s)};
    rules.record({.failed = true}, at(0s), 0, 0);
    rules.record({.failed = true}, at(1s), 1, 0);
    CHECK(judged(rules, at(1s)).empty());
    rules.record({.failed = true}, at(2s), 2, 0);

    CHECK(judged(rules, at(2s)) == "failure_threshold");
    CHECK(judged(rules, at(10s - 1ns)) == "failure_threshold");
    CHECK(judged(rules, at(10s)).empty());
    CHECK(rules.failures(at(10s), {}) == 2);
}

TEST_CASE("successes do not touch failure_threshold", "[breaker_rules]") {
    rs::breaker_rules rules{failures_in(2, 10s)};
    rules.record({.failed = true}, at(0s), 0, 0);
    rules.record({.failed = true}, at(1s), 1, 1'000);

    CHECK(judged(rules, at(1s)) == "failure_threshold");
}

TEST_CASE("consecutive_failures is met by failures with no success in between", "[breaker_rules][H-CB-30]") {
    rs::breaker_rules rules{in_a_row(3)};
    rules.record({.failed = true}, at(0s), 0, 7);
    rules.record({.failed = true}, at(1h), 1, 7);
    CHECK(judged(rules, at(1h)).empty());
    rules.record({.failed = true}, at(2h), 2, 7);
    CHECK(judged(rules, at(2h)) == "consecutive_failures");

    rules.record({.failed = true}, at(2h), 3, 8); // a success came before it
    CHECK(judged(rules, at(2h)).empty());
    CHECK(rules.failures(at(2h), {}) == 1);
}

TEST_CASE("a row of failures is over at the first success, before another failure comes",
          "[breaker_rules][H-USE-18]") {
    rs::breaker_rules rules{in_a_row(3)};
    for (std::uint64_t i = 0; i < 3; ++i) rules.record({.failed = true}, at(0s), i, 7);
    rules.end_row(7);
    REQUIRE(judged(rules, at(0s)) == "consecutive_failures");

    rules.end_row(8);
    CHECK(judged(rules, at(0s)).empty());
    CHECK(rules.failures(at(0s), {}) == 0);
    rules.update(in_a_row(1), 4, at(0s));
    CHECK(judged(rules, at(0s)).empty());
}

TEST_CASE("rates are judged from minimum_calls on", "[breaker_rules][H-CB-36]") {
    const rs::breaker_rules rules{rate(0.5, 100, 10)};

    CHECK(judged(rules, at(0s), {.total = 9, .failed = 9, .slow = 0}).empty());
    CHECK(judged(rules, at(0s), {.total = 10, .failed = 5, .slow = 0}) == "failure_rate_threshold");
    CHECK(judged(rules, at(0s), {.total = 10, .failed = 4, .slow = 10}).empty());
    CHECK(judged(rules, at(0s), {}).empty());
}

TEST_CASE("a count window smaller than minimum_calls is judged when it is full", "[breaker_rules][H-CB-10]") {
    const rs::breaker_rules rules{rate(0.5, 4, 20)};

    CHECK(judged(rules, at(0s), {.total = 3, .failed = 3, .slow = 0}).empty());
    CHECK(judged(rules, at(0s), {.total = 4, .failed = 4, .slow = 0}) == "failure_rate_threshold");
}

TEST_CASE("the slow rate goes by its own share", "[breaker_rules]") {
    rs::breaker_rules_config config = rate(0.5, 100, 10);
    config.slow_call_rate_threshold = 0.8;
    const rs::breaker_rules rules{config};

    CHECK(judged(rules, at(0s), {.total = 10, .failed = 4, .slow = 7}).empty());
    CHECK(judged(rules, at(0s), {.total = 10, .failed = 4, .slow = 8}) == "slow_call_rate_threshold");
}

TEST_CASE("bad results wait for calls only while the window has too few", "[breaker_rules]") {
    const rs::breaker_rules rules{rate(0.5, 100, 10)};

    CHECK(rules.fill_of({.total = 5, .failed = 0, .slow = 0}) == rs::window_fill::enough_calls);
    CHECK(rules.fill_of({.total = 9, .failed = 1, .slow = 0}) == rs::window_fill::below_minimum_calls);
    CHECK(rules.fill_of({.total = 10, .failed = 1, .slow = 0}) == rs::window_fill::enough_calls);
    CHECK(rs::breaker_rules{failures_in(1, 1s)}.fill_of({.total = 1, .failed = 1, .slow = 0}) ==
          rs::window_fill::enough_calls);
}

TEST_CASE("the rules that are on are joined by or", "[breaker_rules]") {
    rs::breaker_rules_config config = rate(0.5, 100, 2);
    config.failure_threshold = 5;
    config.consecutive_failures = 3;
    rs::breaker_rules rules{config};

    for (std::uint64_t i = 0; i < 3; ++i) rules.record({.failed = true}, at(0s), i, 0);

    CHECK(judged(rules, at(0s)) == "consecutive_failures");
    CHECK(judged(rules, at(0s), {.total = 2, .failed = 2, .slow = 0}) == "consecutive_failures");
}

TEST_CASE("clear forgets everything that could trip", "[breaker_rules]") {
    rs::breaker_rules_config config = rate(0.1, 10, 1);
    config.failure_threshold = 1;
    config.consecutive_failures = 1;
    rs::breaker_rules rules{config};
    rules.record({.failed = true, .slow = true}, at(0s), 0, 0);
    REQUIRE_FALSE(judged(rules, at(0s), rules.last_results(1)).empty());

    rules.clear(1, 0);

    CHECK(judged(rules, at(0s), rules.last_results(1)).empty());
    CHECK(rules.last_results(1) == rs::tally{});
}

TEST_CASE("an update keeps what the windows remember and judges it by the new thresholds",
          "[breaker_rules]") {
    rs::breaker_rules rules{failures_in(5, 10s)};
    for (std::uint64_t i = 0; i < 3; ++i) rules.record({.failed = true}, at(0s), i, 0);

    rules.update(failures_in(3, 10s), 3, at(1s));
    CHECK(judged(rules, at(1s)) == "failure_threshold");
    rules.update(failures_in(3, 1s), 3, at(1s));
    CHECK(judged(rules, at(1s)).empty());
}

TEST_CASE("a rate rule that is turned on does not take failures of before for successes", "[breaker_rules]") {
    rs::breaker_rules rules{failures_in(5, 10s)};
    rules.record({.failed = true}, at(0s), 0, 0);

    rules.update(rate(0.5, 10, 1), 1, at(0s));

    CHECK(rules.last_results(1) == rs::tally{});
    rules.record({.failed = true}, at(0s), 1, 0);
    CHECK(rules.last_results(2) == rs::tally{.total = 1, .failed = 1, .slow = 0});
}

TEST_CASE("results in a time window are gone when they are as old as it", "[breaker_rules][H-WIN-08]") {
    rs::breaker_rules_config config = rate(0.5, 1, 1);
    config.window = rs::time_window{10s};
    rs::breaker_rules rules{config};
    rules.record({.failed = true, .slow = true}, at(0s), 0, 0);
    rules.take_over(rules.bucket_at(at(0s)), 1);
    const rs::tally both{.total = 2, .failed = 1, .slow = 1};

    CHECK(rules.results_until(rules.bucket_at(at(10s - 1ns))) == both);
    CHECK(rules.results_until(rules.bucket_at(at(10s))) == rs::tally{});
}

} // namespace
