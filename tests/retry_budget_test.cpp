// SPDX-License-Identifier: Apache-2.0
#include <resilience/retry.hpp>
#include <resilience/retry/budget.hpp>
#include <resilience/testing/scripted.hpp>

#include "support/catch.hpp"
#include "support/failing.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::event_kind;
using rs::testing::scripted;
using rs::testing::throws;
using support::always_failing;
using support::at_once;
using support::heard;
using support::world;

rs::retry_config paid_by(rs::retry_budget budget, unsigned max_attempts = 2) {
    auto c = at_once(max_attempts);
    c.budget = std::move(budget);
    return c;
}
/// Retries that `calls` failing calls were granted.
std::uint64_t granted(const rs::retry& retry, unsigned calls) {
    const auto before = retry.stats().retries;
    for (unsigned i = 0; i < calls; ++i) (void)retry.try_call(always_failing());
    return retry.stats().retries - before;
}
constexpr rs::percent_budget_config a_fifth{.ratio = 0.2, .minimum_per_second = 0};

TEST_CASE("a retry without a budget of its own is paid by 20 % of its calls and a reserve of 100",
          "[retry][budget][H-RT-15]") {
    world w;
    const rs::retry retry{paid_by({}), w.reg};

    CHECK(granted(retry, 100) == 100);
    CHECK(granted(retry, 400) == 100); // 100 + 20 % of 500 calls
    CHECK(retry.stats().budget_exhausted == 300);
}

TEST_CASE("an hour of calls without a failure does not pay for a storm of retries",
          "[retry][budget][H-RT-15]") {
    world w;
    const rs::retry retry{paid_by({}), w.reg};
    const auto an_hour = [&] {
        for (int i = 0; i < 36'000; ++i) {
            w.clock.advance(100ms);
            retry([] {});
        }
    };

    an_hour();
    CHECK(granted(retry, 2000) < 560); // 100, 20 % of the last ten seconds' calls and of these

    an_hour();
    retry.update(paid_by({}, 3));
    an_hour();
    CHECK(granted(retry, 2000) < 560);
}

TEST_CASE("an empty budget stops retries, never the first attempt", "[retry][budget][H-RT-19]") {
    world w;
    const rs::retry retry{
        paid_by(rs::retry_budget(rs::percent_budget_config{.ratio = 0, .minimum_per_second = 0}), 5), w.reg};
    const heard h{w.reg};
    const auto f = always_failing();

    for (int i = 0; i < 10; ++i) CHECK_THROWS_WITH(retry(f), "down");
    CHECK(retry([] { return 1; }) == 1);

    CHECK(f.calls() == 10);
    CHECK(retry.stats().budget_exhausted == 10);
    CHECK(retry.stats().exhausted == 0);
    REQUIRE(h.count(event_kind::budget_exhausted) == 10);
    CHECK(h.of(event_kind::attempt_failed).at(0).reason == "budget");
    CHECK(h.of(event_kind::budget_exhausted).at(0).error == "down");
}

TEST_CASE("calls that succeed pay for the retries of those that fail", "[retry][budget][H-RT-15]") {
    world w;
    const rs::retry retry{paid_by(rs::retry_budget(a_fifth)), w.reg};

    CHECK(granted(retry, 1) == 0); // a fifth of one call
    for (int i = 0; i < 48; ++i) retry([] {});
    CHECK(granted(retry, 11) == 11); // 50..60 calls pay for 10, 10, 10, 10, 10, 11, ...
    CHECK(granted(retry, 4) == 1);
}

TEST_CASE("a budget refills with time from its reserve", "[retry][budget][H-RT-15]") {
    world w;
    const rs::retry retry{
        paid_by(rs::retry_budget(rs::percent_budget_config{.ratio = 0, .minimum_per_second = 1})), w.reg};

    CHECK(granted(retry, 50) == 10);
    w.clock.advance(11s);
    CHECK(granted(retry, 50) == 10);
    w.clock.advance(24h);
    CHECK(granted(retry, 50) == 10);
}

TEST_CASE("a budget after no traffic at all is a number", "[retry][budget][H-RT-17]") {
    world w;
    const rs::retry retry{paid_by({}), w.reg};

    REQUIRE(retry.stats().budget_left);
    CHECK(*retry.stats().budget_left == 100.0);
    w.clock.advance(24h * 365);
    CHECK(*retry.stats().budget_left == 100.0);
    CHECK(granted(retry, 1) == 1);
}

TEST_CASE("a retry is paid when it is scheduled, so that those in back-off count",
          "[retry][budget][H-RT-16]") {
    world w;
    auto c = paid_by(rs::retry_budget(rs::percent_budget_config{.ratio = 0, .minimum_per_second = 0.1}));
    c.base_delay = 1s;
    c.jitter = rs::jitter::none;
    const rs::retry retry{c, w.reg};
    std::uint64_t granted_meanwhile = 99;
    const auto timer = w.clock.call_at(w.clock.now() + 500ms, [&] { granted_meanwhile = granted(retry, 1); });

    CHECK(granted(retry, 1) == 1); // sleeps for 1s

    CHECK(granted_meanwhile == 0);
}

TEST_CASE("copies of one budget are shared between policies", "[retry][budget]") {
    world w;
    const rs::retry_budget shared(rs::percent_budget_config{.ratio = 0, .minimum_per_second = 1});
    const rs::retry one{paid_by(shared), w.reg};
    const rs::retry other{paid_by(shared), w.reg};

    CHECK(granted(one, 6) == 6);
    CHECK(granted(other, 6) == 4);
    CHECK(granted(one, 6) == 0);
}

TEST_CASE("policies that share a budget each pay for it by their own calls", "[retry][budget]") {
    world w;
    const rs::retry_budget shared(a_fifth);
    const rs::retry one{paid_by(shared), w.reg};
    const rs::retry other{paid_by(shared), w.reg};

    for (int i = 0; i < 49; ++i) one([] {});
    CHECK(granted(other, 1) == 0); // what one counted is told when one asks
    CHECK(granted(one, 4) == 4);
    CHECK(granted(other, 10) == 8);
}

TEST_CASE("default budgets are not shared, not even between copies of a config", "[retry][budget]") {
    world w;
    const auto c = paid_by({});
    const rs::retry one{c, w.reg};
    const rs::retry other{c, w.reg};

    CHECK(granted(one, 200) == 140);
    CHECK(granted(other, 200) == 140);
}

TEST_CASE("an unlimited budget pays for everything and has no number", "[retry][budget]") {
    world w;
    const rs::retry retry{paid_by(rs::retry_budget::unlimited()), w.reg};

    CHECK(granted(retry, 5'000) == 5'000);
    CHECK_FALSE(retry.stats().budget_left);
    CHECK(rs::retry_budget::unlimited().is_unlimited());
    CHECK_FALSE(rs::retry_budget{}.is_unlimited());
}

TEST_CASE("gRPC's form retries above half of its tokens only", "[retry][budget]") {
    world w;
    const rs::retry retry{
        paid_by(rs::retry_budget(rs::token_budget_config{.max_tokens = 10, .token_ratio = 1})), w.reg};

    // Attempts fail: 9 tokens, retry, 8; 7, retry, 6; 5: no retry.
    CHECK(granted(retry, 2) == 2);
    CHECK(*retry.stats().budget_left == 1.0); // 6 of 10: above half by one
    CHECK(granted(retry, 1) == 0);
    CHECK(*retry.stats().budget_left == 0.0);
    // 5 + 2 - 1 = 6: above half again.
    retry([] {});
    retry([] {});
    CHECK(granted(retry, 1) == 1);
}

TEST_CASE("gRPC's form is charged for failures that could be retried, not for the caller's mistakes",
          "[retry][budget]") {
    world w;
    const rs::retry retry{paid_by(rs::retry_budget(rs::token_budget_config{.max_tokens = 10})), w.reg};

    for (int i = 0; i < 50; ++i) (void)retry.try_call([] { throw support::http_error(404); });

    CHECK(*retry.stats().budget_left == 5.0);
    CHECK(granted(retry, 1) == 1);
}

TEST_CASE("gRPC's form counts in thousandths", "[retry][budget][H-RT-18]") {
    world w;
    const rs::retry retry{
        paid_by(rs::retry_budget(rs::token_budget_config{.max_tokens = 100, .token_ratio = 0.1}), 1), w.reg};

    for (int i = 0; i < 10; ++i) (void)retry.try_call(always_failing());
    CHECK(*retry.stats().budget_left == 40.0);
    for (int i = 0; i < 50; ++i) retry([] {});
    (void)retry.try_call(always_failing());
    CHECK(*retry.stats().budget_left == 44.0); // 90 + 5 - 1 exactly, less half of 100
}

TEST_CASE("budget_left is the number of retries that are paid for now, at every look",
          "[retry][budget][H-USE-23]") {
    world w;
    const auto look = [](const rs::retry& retry) { return retry.stats().budget_left.value_or(-1.0); };

    SECTION("of a share of calls") {
        const rs::retry retry{
            paid_by(rs::retry_budget(rs::percent_budget_config{.ratio = 0.5, .minimum_per_second = 0})),
            w.reg};
        CHECK(look(retry) == 0.0);
        for (int i = 0; i < 9; ++i) retry([] {});
        CHECK(look(retry) == 4.5);
        CHECK(look(retry) == 4.5);
        retry([] {});
        CHECK(look(retry) == 5.0);
        CHECK(granted(retry, 1) == 1); // whose own call pays for a half
        CHECK(look(retry) == 4.5);
        w.clock.advance(10s);
        CHECK(look(retry) == 0.0);
    }
    SECTION("in gRPC's form") {
        const rs::retry retry{
            paid_by(rs::retry_budget(rs::token_budget_config{.max_tokens = 10, .token_ratio = 0.5})), w.reg};
        CHECK(look(retry) == 5.0);
        CHECK(granted(retry, 2) == 2); // four failed attempts
        CHECK(look(retry) == 1.0);
        retry([] {});
        CHECK(look(retry) == 1.5);
        for (int i = 0; i < 100; ++i) retry([] {});
        CHECK(look(retry) == 5.0);
        for (int i = 0; i < 7; ++i) (void)granted(retry, 1);
        CHECK(look(retry) == 0.0);
        CHECK(granted(retry, 1) == 0);
    }
}

TEST_CASE("a budget that is out of range is refused by field", "[retry][budget][H-RT-23]") {
    using Catch::Matchers::Contains;
    const double nan = std::nan("");

    CHECK_THROWS_WITH(rs::retry_budget(rs::percent_budget_config{.ratio = -0.1}), Contains("ratio"));
    CHECK_THROWS_WITH(rs::retry_budget(rs::percent_budget_config{.ratio = nan}), Contains("ratio"));
    CHECK_THROWS_WITH(rs::retry_budget(rs::percent_budget_config{.minimum_per_second = -1}),
                      Contains("minimum_per_second"));
    CHECK_THROWS_WITH(rs::retry_budget(rs::percent_budget_config{.ttl = 99ms}), Contains("ttl"));
    CHECK_THROWS_WITH(rs::retry_budget(rs::token_budget_config{.max_tokens = 0}), Contains("max_tokens"));
    CHECK_THROWS_WITH(rs::retry_budget(rs::token_budget_config{.token_ratio = nan}), Contains("token_ratio"));
    CHECK_NOTHROW(
        rs::retry_budget(rs::percent_budget_config{.ratio = 0, .minimum_per_second = 0, .ttl = 100ms}));
}

TEST_CASE("an update keeps the default budget and what was spent of it", "[retry][budget]") {
    world w;
    const rs::retry retry{paid_by({}), w.reg};
    CHECK(granted(retry, 60) == 60);

    retry.update(paid_by({}, 3));

    CHECK(*retry.stats().budget_left <= 52.0);
    CHECK(*retry.stats().budget_left >= 40.0);
}

} // namespace
