// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker.hpp>
#include <resilience/testing/recorder.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"
#include "support/heard.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using circuits::cancel;
using circuits::circuit_world;
using circuits::fail;
using circuits::succeed;
using rs::circuit_state;
using namespace std::chrono_literals;

/// A call that takes as long as that.
void take(circuit_world& w, const rs::circuit_breaker& breaker, rs::duration time, bool good = true) {
    (void)breaker.try_call([&] {
        w.clock.advance(time);
        if (!good) throw circuits::service_down();
    });
}

TEST_CASE("a failure counts while it is younger than failure_window",
          "[circuit_breaker][H-WIN-08][H-WIN-11]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 2, .failure_window = 10s});

    fail(breaker);
    w.clock.advance(10s);
    fail(breaker);
    CHECK(breaker.state() == circuit_state::closed);
    w.clock.advance(10s - 1ns);
    fail(breaker);
    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("failures of before a long pause do not trip", "[circuit_breaker][H-WIN-02]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 3, .failure_window = 10s});
    fail(breaker, 2);

    w.clock.advance(24h);
    fail(breaker, 2);

    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().failure_count == 2);
}

TEST_CASE("failure_threshold can be any number from 1 to 65536", "[circuit_breaker]") {
    circuit_world w;
    const auto first = w.make({.failure_threshold = 1});
    fail(first);
    CHECK(first.state() == circuit_state::open);

    const auto last = w.make({.failure_threshold = 65'536});
    auto permit = last.try_acquire();
    for (int i = 0; i < 65'535; ++i) {
        permit->failure();
        permit = last.try_acquire();
    }
    CHECK(last.state() == circuit_state::closed);
    permit->failure();
    CHECK(last.state() == circuit_state::open);
}

TEST_CASE("failure_threshold is off if it is unset and another rule is on", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.consecutive_failures = 10});

    for (int i = 0; i < 100; ++i) {
        fail(breaker, 9);
        succeed(breaker);
    }

    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().failure_threshold == 10);
}

TEST_CASE("consecutive_failures trips after that many failures in a row", "[circuit_breaker][H-CB-30]") {
    circuit_world w;
    const auto breaker = w.make({.consecutive_failures = 3});

    fail(breaker, 2);
    succeed(breaker);
    fail(breaker, 2);
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().failure_count == 2);
    w.clock.advance(24h);
    cancel(breaker); // says nothing
    fail(breaker);

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("a row of failures is over at the first success, in statistics and for an update",
          "[circuit_breaker][H-USE-18]") {
    circuit_world w;
    rs::circuit_breaker_config config{.name = "row", .consecutive_failures = 6};
    const auto breaker = w.make(config);
    fail(breaker, 5);
    REQUIRE(breaker.stats().failure_count == 5);

    succeed(breaker);
    CHECK(breaker.stats().failure_count == 0);
    CHECK(w.reg.summary().front().failure_count == 0);
    succeed(breaker, 999);
    config.consecutive_failures = 5;
    breaker.update(config);

    CHECK(breaker.state() == circuit_state::closed);
    fail(breaker, 4);
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().failure_count == 4);
    config.consecutive_failures = 4;
    breaker.update(config);
    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("neither an ignored nor a late result ends a row of failures", "[circuit_breaker][H-USE-18]") {
    circuit_world w;
    const auto breaker = w.make({.consecutive_failures = 3});
    auto late = breaker.try_acquire();
    breaker.reset();
    fail(breaker, 2);

    cancel(breaker);
    CHECK_FALSE(late->success());

    CHECK(breaker.stats().failure_count == 2);
    fail(breaker);
    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("a row that a success ended is over for a slow success and for the end of a dry run",
          "[circuit_breaker][H-USE-18]") {
    circuit_world w;
    const support::heard heard(w.reg);
    rs::circuit_breaker_config config{.consecutive_failures = 3,
                                      .slow_call_duration = 1s,
                                      .slow_call_rate_threshold = 1.0,
                                      .window = rs::count_window{100},
                                      .minimum_calls = 100};
    const auto breaker = w.make(config);
    breaker.metrics_only();
    fail(breaker, 2);
    succeed(breaker);
    config.consecutive_failures = 2;
    breaker.update(config);

    take(w, breaker, 2s);

    CHECK(heard.count(rs::event_kind::would_have_tripped) == 0);
    breaker.force_open();
    CHECK(heard.events.back().failure_count == 0);
}

TEST_CASE("every rate m / n trips at m of n", "[circuit_breaker][H-USE-19]") {
    for (unsigned n = 1; n <= 30; ++n) {
        for (unsigned m = 1; m <= n; ++m) {
            circuit_world w;
            const auto breaker = w.make({.failure_rate_threshold = static_cast<double>(m) / n,
                                         .window = rs::count_window{n},
                                         .minimum_calls = n});
            succeed(breaker, static_cast<int>(n - m));
            fail(breaker, static_cast<int>(m));
            if (breaker.state() != circuit_state::open) FAIL(m << " of " << n);
        }
    }
    SUCCEED();
}

TEST_CASE("failure_rate_threshold trips when the share is reached, once minimum_calls are in the window",
          "[circuit_breaker][H-CB-30][H-CB-36]") {
    circuit_world w;
    const auto breaker =
        w.make({.failure_rate_threshold = 0.5, .window = rs::count_window{10}, .minimum_calls = 4});

    fail(breaker, 3);
    CHECK(breaker.state() == circuit_state::closed);
    breaker.reset();
    succeed(breaker, 3);
    fail(breaker, 2);
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().failure_rate == Approx(0.4));
    fail(breaker);

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("a success that brings the window to minimum_calls can trip", "[circuit_breaker]") {
    const bool by_time = GENERATE(false, true);
    circuit_world w;
    rs::circuit_breaker_config config{.failure_rate_threshold = 0.5, .minimum_calls = 4};
    if (by_time) config.window = rs::time_window{60s};
    const auto breaker = w.make(config);

    fail(breaker, 2);
    succeed(breaker);
    CHECK(breaker.state() == circuit_state::closed);
    succeed(breaker);

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("a success that brings a time window back to minimum_calls can trip, after others have left it",
          "[circuit_breaker][H-WIN-09]") {
    circuit_world w;
    const auto breaker =
        w.make({.failure_rate_threshold = 0.5, .window = rs::time_window{10s}, .minimum_calls = 20});
    succeed(breaker, 15);
    w.clock.advance(5s);
    fail(breaker, 12);
    REQUIRE(breaker.state() == circuit_state::closed); // 12 of 27

    w.clock.advance(5s + 500ms); // the 15 are gone
    succeed(breaker, 7);
    CHECK(breaker.state() == circuit_state::closed);
    succeed(breaker, 1);
    CHECK(breaker.state() == circuit_state::open); // 12 of 20
}

TEST_CASE("a count window forgets what more results than its size have followed",
          "[circuit_breaker][H-WIN-01]") {
    circuit_world w;
    const auto breaker =
        w.make({.failure_rate_threshold = 0.5, .window = rs::count_window{4}, .minimum_calls = 4});

    for (int round = 0; round < 50; ++round) {
        fail(breaker);
        succeed(breaker, 3);
        CHECK(breaker.stats().failure_rate == Approx(0.25));
    }
    CHECK(breaker.state() == circuit_state::closed);
    succeed(breaker, 4);
    CHECK(breaker.stats().failure_rate == 0.0);
}

TEST_CASE("a count window of one is the last result", "[circuit_breaker][H-WIN-07]") {
    circuit_world w;
    const auto breaker = w.make({.failure_rate_threshold = 1.0, .window = rs::count_window{1}});

    succeed(breaker, 5);
    CHECK(breaker.stats().failure_rate == 0.0);
    fail(breaker);

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("a time window forgets by the clock", "[circuit_breaker][H-WIN-08][H-WIN-09][H-WIN-11]") {
    circuit_world w;
    const auto breaker =
        w.make({.failure_rate_threshold = 0.5, .window = rs::time_window{10s}, .minimum_calls = 4});
    fail(breaker, 3);
    CHECK(breaker.stats().failure_rate == 1.0);

    w.clock.advance(10s - 1ns);
    CHECK(breaker.stats().failure_rate == 1.0);
    w.clock.advance(1ns);
    CHECK(breaker.stats().failure_rate == -1.0);
    CHECK(breaker.stats().failure_count == 0);
    fail(breaker, 3);
    CHECK(breaker.state() == circuit_state::closed);
    fail(breaker);
    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("successes in a time window age like failures, on the coarse clock too", "[circuit_breaker]") {
    rs::testing::virtual_clock clock;
    clock.set_coarse_resolution(GENERATE(0ms, 4ms));
    rs::registry reg{clock};
    const rs::circuit_breaker breaker{
        {.failure_rate_threshold = 0.5, .window = rs::time_window{10s}, .minimum_calls = 10}, reg};

    succeed(breaker, 10);
    clock.advance(5s);
    fail(breaker, 5);
    succeed(breaker, 2);
    CHECK(breaker.stats().failure_rate == Approx(5.0 / 17));
    clock.advance(6s);
    CHECK(breaker.stats().failure_rate == Approx(5.0 / 7));
    CHECK(breaker.state() == circuit_state::closed);

    fail(breaker, 3);
    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("a call counts in the time window when it ends, not when it began", "[circuit_breaker][H-WIN-10]") {
    circuit_world w;
    const auto breaker =
        w.make({.failure_rate_threshold = 1.0, .window = rs::time_window{10s}, .minimum_calls = 2});

    take(w, breaker, 60s, false);
    CHECK(breaker.stats().failure_rate == 1.0);
    take(w, breaker, 60s);
    CHECK(breaker.stats().failure_rate == 0.0);
}

TEST_CASE("a call is slow when it takes longer than slow_call_duration", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.slow_call_duration = 1s,
                                 .slow_call_rate_threshold = 1.0,
                                 .window = rs::count_window{10},
                                 .minimum_calls = 2});

    take(w, breaker, 1s);
    CHECK(breaker.stats().slow == 0);
    CHECK(breaker.stats().slow_call_rate == 0.0);
    take(w, breaker, 1s + 1ns);
    CHECK(breaker.stats().slow == 1);
    CHECK(breaker.stats().slow_call_rate == 0.5);
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("slow successes trip, and slow failures count as both", "[circuit_breaker]") {
    const bool by_time = GENERATE(false, true);
    const bool good = GENERATE(false, true);
    circuit_world w;
    rs::circuit_breaker_config config{
        .slow_call_duration = 1s, .slow_call_rate_threshold = 0.5, .minimum_calls = 4};
    if (by_time) config.window = rs::time_window{60s};
    const auto breaker = w.make(config);

    take(w, breaker, 2s, good);
    take(w, breaker, 1ms);
    take(w, breaker, 1ms);
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().slow_call_rate == Approx(1.0 / 3));
    take(w, breaker, 2s, good);

    CHECK(breaker.state() == circuit_state::open);
    CHECK(breaker.stats().slow == 2);
    CHECK(breaker.stats().failures == (good ? 0U : 2U));
}

TEST_CASE("slow failures leave the window together with the slow successes", "[circuit_breaker][H-WIN-01]") {
    circuit_world w;
    const auto breaker = w.make({.failure_rate_threshold = 1.0,
                                 .slow_call_duration = 1s,
                                 .slow_call_rate_threshold = 1.0,
                                 .window = rs::count_window{4},
                                 .minimum_calls = 4});

    take(w, breaker, 2s, false);
    take(w, breaker, 2s, true);
    succeed(breaker, 4);

    CHECK(breaker.stats().slow_call_rate == 0.0);
    CHECK(breaker.stats().failure_rate == 0.0);
}

TEST_CASE("any rule that is on trips", "[circuit_breaker]") {
    const rs::circuit_breaker_config all{.failure_threshold = 4,
                                         .failure_window = 10s,
                                         .consecutive_failures = 3,
                                         .failure_rate_threshold = 0.5,
                                         .slow_call_duration = 1s,
                                         .slow_call_rate_threshold = 0.5,
                                         .window = rs::count_window{20},
                                         .minimum_calls = 8};
    circuit_world w;
    rs::testing::recorder log(w.reg);
    const auto breaker = w.make(all);
    std::string rule;

    SECTION("consecutive_failures") {
        rule = "consecutive_failures";
        fail(breaker, 3);
    }
    SECTION("failure_threshold") {
        rule = "failure_threshold";
        for (int i = 0; i < 4; ++i) {
            succeed(breaker, 3);
            fail(breaker);
        }
    }
    SECTION("failure_rate_threshold") {
        rule = "failure_rate_threshold";
        for (int i = 0; i < 4; ++i) {
            w.clock.advance(6s);
            succeed(breaker);
            fail(breaker);
        }
    }
    SECTION("slow_call_rate_threshold") {
        rule = "slow_call_rate_threshold";
        for (int i = 0; i < 4; ++i) {
            take(w, breaker, 2s);
            succeed(breaker);
        }
    }

    CHECK(breaker.state() == circuit_state::open);
    REQUIRE(log.size() == 1);
    CHECK(log.events()[0].reason == rule);
}

TEST_CASE("a failure that asks for a break trips at once for that long", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker =
        w.make({.failure_threshold = 100,
                .success_threshold = 1,
                .recovery_timeout = 30s,
                .break_duration_of = [](const rs::failure& f) -> std::optional<rs::duration> {
                    if (f.message() == "503") return 7s;
                    if (f.message() == "odd") throw std::logic_error("callback");
                    if (f.message() == "negative") return -7s;
                    return std::nullopt;
                }});
    const auto end_with = [&](const char* text) {
        (void)breaker.try_call([&] { throw std::runtime_error(text); });
    };

    end_with("500");
    end_with("odd");
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().predicate_errors == 1);
    CHECK(breaker.stats().failures == 2);

    end_with("503");
    CHECK(breaker.stats().retry_after == 7s);
    w.clock.advance(7s);
    end_with("503"); // a probe
    CHECK(breaker.stats().retry_after == 7s);
    w.clock.advance(7s);
    end_with("500");
    CHECK(breaker.stats().retry_after == 30s);
    w.clock.advance(30s);
    end_with("negative");
    CHECK(breaker.stats().retry_after == 0s);
    CHECK(succeed(breaker) == 1);
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("failures and successes of threads without order agree with a list of all results",
          "[circuit_breaker]") {
    circuit_world w;
    const auto breaker =
        w.make({.failure_rate_threshold = 1.0, .window = rs::count_window{50}, .minimum_calls = 1000});
    std::vector<bool> results;
    unsigned state = 12345;
    for (int i = 0; i < 5000; ++i) {
        state = state * 1'664'525U + 1'013'904'223U;
        const bool failed = (state >> 16U) % 3 == 0;
        if (failed) fail(breaker);
        else succeed(breaker);
        results.push_back(failed);
        const std::size_t first = results.size() > 50 ? results.size() - 50 : 0;
        std::size_t in_window = 0;
        for (std::size_t j = first; j < results.size(); ++j) in_window += results[j] ? 1 : 0;
        REQUIRE(breaker.stats().failure_count == in_window);
        REQUIRE(breaker.stats().failure_rate ==
                Approx(static_cast<double>(in_window) / static_cast<double>(results.size() - first)));
    }
}

} // namespace
