// SPDX-License-Identifier: Apache-2.0
// Attempts and delays. What ends a call early: retry_limits_test.cpp; which failures are retried:
// retry_predicate_test.cpp; events, statistics, nesting: retry_story_test.cpp; names: retry_config_test.cpp.
#include <resilience/any_pipeline.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/failing.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cstddef>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::testing::scripted;
using rs::testing::throws;
using support::always_failing;
using support::plain;
using support::world;

using delays = std::vector<rs::duration>;

/// The sleeps of one call whose attempts all fail.
delays sleeps_of(rs::retry_config config, std::initializer_list<double> numbers = {0.5}) {
    world w{numbers};
    config.budget = rs::retry_budget::unlimited();
    const rs::retry retry{config, w.reg};
    (void)retry.try_call(always_failing());
    return w.clock.slept();
}

TEST_CASE("a retry_config has the documented defaults", "[retry]") {
    const rs::retry_config c;

    CHECK(c.name.empty());
    CHECK(c.max_attempts == 3);
    CHECK(c.base_delay == 1s);
    CHECK(c.max_delay == 60s);
    CHECK(c.strategy == rs::backoff::exponential);
    CHECK(c.multiplier == 2.0);
    CHECK(c.jitter == rs::jitter::full);
    CHECK(c.jitter_ratio == 0.5);
    CHECK_FALSE(c.max_elapsed);
    CHECK_FALSE(c.retry_if.has_value());
    CHECK_FALSE(c.delay_override);
    CHECK(c.budget.is_default());
    CHECK(c.respect_retry_after);
    CHECK_FALSE(c.max_retry_after);
    CHECK(c.nested == rs::nested_retry::multiply);
    CHECK_FALSE(c.wrap_exhausted);
}

TEST_CASE("a call that succeeds at once is one attempt, without a sleep or a look at the clock",
          "[retry][H-RT-10]") {
    world w;
    const rs::retry retry{plain(), w.reg};
    const scripted<int> f{7};
    const auto reads_before = w.clock.now_reads(); // of the budget, which is as old as the policy

    CHECK(retry(f) == 7);

    CHECK(f.calls() == 1);
    CHECK(w.clock.slept().empty());
    CHECK(w.clock.now_reads() == reads_before);
}

TEST_CASE("max_attempts counts the first attempt, and nothing sleeps after the last", "[retry][H-RT-10]") {
    for (const unsigned most : {1U, 2U, 3U, 10U}) {
        world w;
        const rs::retry retry{plain(most), w.reg};
        const auto f = always_failing();

        CHECK_THROWS_AS(retry(f), std::runtime_error);

        CHECK(f.calls() == most);
        CHECK(w.clock.slept().size() == most - 1);
    }
}

TEST_CASE("the last permitted attempt may succeed, the one after it is not made", "[retry][H-RT-10]") {
    world w;
    const rs::retry retry{plain(3), w.reg};
    const scripted<int> third_succeeds{throws(std::runtime_error("1")), throws(std::runtime_error("2")), 3};
    const scripted<int> fourth_would{throws(std::runtime_error("1")), throws(std::runtime_error("2")),
                                     throws(std::runtime_error("3")), 4};

    CHECK(retry(third_succeeds) == 3);
    CHECK_THROWS_WITH(retry(fourth_would), "3");
    CHECK(fourth_would.calls() == 3);
}

TEST_CASE("when attempts run out the last exception goes out unchanged", "[retry]") {
    struct special : std::runtime_error {
        special() : std::runtime_error("special") {}
        int number = 42;
    };
    world w;
    const rs::retry retry{plain(2), w.reg};
    const scripted<int> f{throws(std::runtime_error("first")), throws(special{})};

    try {
        retry(f);
        FAIL("did not throw");
    } catch (const special& e) {
        CHECK(e.number == 42);
    }
}

TEST_CASE("delays follow the strategy from base_delay on", "[retry][H-RT-10]") {
    auto c = plain(5);
    c.base_delay = 100ms;

    c.strategy = rs::backoff::constant;
    CHECK(sleeps_of(c) == delays{100ms, 100ms, 100ms, 100ms});
    c.strategy = rs::backoff::linear;
    CHECK(sleeps_of(c) == delays{100ms, 200ms, 300ms, 400ms});
    c.strategy = rs::backoff::exponential;
    CHECK(sleeps_of(c) == delays{100ms, 200ms, 400ms, 800ms});
    c.multiplier = 3.0;
    CHECK(sleeps_of(c) == delays{100ms, 300ms, 900ms, 2700ms});
    c.multiplier = 1.0;
    CHECK(sleeps_of(c) == delays{100ms, 100ms, 100ms, 100ms});
}

TEST_CASE("max_delay caps every delay, base_delay included", "[retry][H-RT-02]") {
    auto c = plain(5);
    c.base_delay = 1s;

    c.max_delay = 4s;
    CHECK(sleeps_of(c) == delays{1s, 2s, 4s, 4s});
    c.max_delay = 4s - 1ns;
    CHECK(sleeps_of(c) == delays{1s, 2s, 4s - 1ns, 4s - 1ns});
    c.max_delay = 500ms;
    CHECK(sleeps_of(c) == delays{500ms, 500ms, 500ms, 500ms});
}

TEST_CASE("each kind of jitter draws from its own range", "[retry][H-RT-04]") {
    auto c = plain(3);
    c.strategy = rs::backoff::constant;
    c.base_delay = 8s;

    c.jitter = rs::jitter::full;
    CHECK(sleeps_of(c, {0.25}) == delays{2s, 2s});
    CHECK(sleeps_of(c, {0.0}) == delays{}); // a delay of nothing is no sleep
    c.jitter = rs::jitter::equal;
    CHECK(sleeps_of(c, {0.25}) == delays{5s, 5s});
    c.jitter = rs::jitter::proportional;
    CHECK(sleeps_of(c, {0.25}) == delays{6s, 6s});
    c.jitter_ratio = 0.25;
    CHECK(sleeps_of(c, {0.25}) == delays{7s, 7s});
    c.jitter_ratio = 0.0;
    CHECK(sleeps_of(c, {0.25}) == delays{8s, 8s});
}

TEST_CASE("no jitter takes a delay beyond max_delay or below zero", "[retry][H-RT-04]") {
    const double almost_one = 1.0 - std::numeric_limits<double>::epsilon();
    for (const auto jitter : {rs::jitter::full, rs::jitter::equal, rs::jitter::proportional}) {
        for (const double number : {0.0, 0.5, almost_one}) {
            auto c = plain(70);
            c.jitter = jitter;
            c.jitter_ratio = 1.0;
            c.max_delay = 10s;
            for (const rs::duration d : sleeps_of(c, {number})) {
                CHECK(d >= 0s);
                CHECK(d <= 10s);
            }
        }
    }
}

TEST_CASE("late retries of clients that failed together come back apart", "[retry][H-RT-05]") {
    world w{0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};
    auto c = plain(2);
    c.jitter = rs::jitter::full;
    c.base_delay = 60s; // at the cap
    const rs::retry retry{c, w.reg};

    for (int client = 0; client < 10; ++client) (void)retry.try_call(always_failing());

    const auto slept = w.clock.slept();
    CHECK(std::set<rs::duration>(slept.begin(), slept.end()).size() >= 9);
}

TEST_CASE("decorrelated delays grow from the delay before, anew for every call", "[retry][H-RT-06]") {
    world w;
    auto c = plain(4);
    c.strategy = rs::backoff::decorrelated;
    c.base_delay = 1s;
    const rs::retry retry{c, w.reg};

    (void)retry.try_call(always_failing());
    CHECK(w.clock.slept() == delays{2s, 3500ms, 5750ms}); // the middle of [1s, 3s], [1s, 6s], [1s, 10.5s]

    (void)retry.try_call(always_failing());
    CHECK(w.clock.slept() == delays{2s, 3500ms, 5750ms, 2s, 3500ms, 5750ms});
}

TEST_CASE("thousands of attempts never overflow a delay", "[retry][H-RT-01]") {
    for (const auto strategy :
         {rs::backoff::constant, rs::backoff::linear, rs::backoff::exponential, rs::backoff::decorrelated}) {
        for (const double multiplier : {2.0, 10.0, 1e6}) {
            auto c = plain(5'000);
            c.strategy = strategy;
            c.multiplier = multiplier;
            c.max_delay = 30s;
            const auto slept = sleeps_of(c);
            REQUIRE(slept.size() == 4'999);
            for (const rs::duration d : slept) {
                if (d >= 1s && d <= 30s) continue;
                FAIL("a delay of " << d.count() << "ns");
            }
        }
    }
}

TEST_CASE("an exception that leaves a call ends with its handler", "[retry]") {
    struct counted {
        explicit counted(int& alive) : alive_(&alive) { ++*alive_; }
        counted(const counted& other) : alive_(other.alive_) { ++*alive_; }
        counted& operator=(const counted&) = delete;
        ~counted() { --*alive_; }
        int* alive_;
    };
    world w;
    const rs::retry retry{support::at_once(2), w.reg};
    const rs::timeout limit(2s, w.reg);
    int alive = 0;
    const auto fails = [&]() -> int { throw counted(alive); };

    CHECK_THROWS_AS(retry(fails), counted);
    CHECK_THROWS_AS(limit(fails), counted);
    CHECK_THROWS_AS((retry | limit)(fails), counted);
    CHECK_THROWS_AS(rs::any_pipeline(retry)(fails), counted);

    CHECK(alive == 0);
}

TEST_CASE("200,000 attempts without a delay take no stack", "[retry][H-RT-25]") {
    world w;
    const rs::retry retry{support::at_once(200'000), w.reg};
    unsigned calls = 0;

    const auto result = retry.try_call([&]() -> std::error_code {
        ++calls;
        return std::make_error_code(std::errc::io_error);
    });

    CHECK_FALSE(result.has_value());
    CHECK(calls == 200'000);
    CHECK(w.clock.slept().empty());
}

TEST_CASE("200,000 rejected attempts without a delay take no stack", "[retry][H-RT-25]") {
    struct refuser {
        struct call {
            rs::admission admit(rs::call_context&) {
                return rs::admission::reject(rs::rejection{.code = rs::errc::throttled});
            }
            rs::settlement settle(const rs::attempt_result&, rs::call_context&) {
                return rs::settlement::finish();
            }
        };
        call begin(rs::call_context&) const { return {}; }
    };
    world w;
    auto c = support::at_once(200'000);
    c.retry_if = [](const rs::failure&) { return true; };
    const auto guard = rs::retry{c, w.reg} | refuser{};

    const auto result = guard.try_call([] {});

    CHECK(result.error().code() == rs::errc::throttled);
}

TEST_CASE("a base_delay of zero neither sleeps nor looks at the clock", "[retry]") {
    world w;
    const rs::retry retry{support::at_once(3), w.reg};
    const auto reads_before = w.clock.now_reads();

    (void)retry.try_call(always_failing());

    CHECK(w.clock.slept().empty());
    CHECK(w.clock.now_reads() == reads_before);
    CHECK(w.random.draws() == 0);
}

TEST_CASE("delay_override gives the delay, told the number of the retry and the failure", "[retry]") {
    std::vector<std::string> told;
    auto c = plain(3);
    c.delay_override = [&](unsigned retry, const rs::failure& why) -> std::optional<rs::duration> {
        told.push_back(std::to_string(retry) + why.message());
        return retry * 7s;
    };

    CHECK(sleeps_of(c) == delays{7s, 14s});
    CHECK(told == std::vector<std::string>{"1down", "2down"});
}

TEST_CASE("a delay_override that has no answer leaves the delay to the strategy", "[retry][H-RT-24]") {
    world w;
    auto c = plain(4);
    c.delay_override = [](unsigned retry, const rs::failure&) -> std::optional<rs::duration> {
        if (retry == 1) return std::nullopt;
        if (retry == 2) return -1ns;
        throw std::logic_error("override");
    };
    const rs::retry retry{c, w.reg};

    CHECK_THROWS_WITH(retry(always_failing()), "down");

    CHECK(w.clock.slept() == delays{1s, 2s, 4s});
    CHECK(retry.stats().predicate_errors == 1);
}

TEST_CASE("max_delay does not cut what delay_override asks for", "[retry]") {
    auto c = plain(3);
    c.max_delay = 5s;
    c.delay_override = [](unsigned retry, const rs::failure&) -> std::optional<rs::duration> {
        return retry == 1 ? 5s : 24h;
    };

    CHECK(sleeps_of(c) == delays{5s, 24h});
}

TEST_CASE("a delay_override of zero retries at once", "[retry]") {
    auto c = plain(3);
    c.delay_override = [](unsigned, const rs::failure&) -> std::optional<rs::duration> { return 0ns; };

    CHECK(sleeps_of(c) == delays{});
}

} // namespace
