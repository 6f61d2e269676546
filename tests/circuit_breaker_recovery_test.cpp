// SPDX-License-Identifier: Apache-2.0
#include <resilience/abandoning_timeout.hpp>
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"
#include "support/heard.hpp"
#include "support/lazy.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using circuits::circuit_world;
using circuits::fail;
using circuits::succeed;
using rs::circuit_state;
using rs::event_kind;
using namespace std::chrono_literals;

/// A call that takes as long as that and succeeds.
void last(circuit_world& w, const rs::circuit_breaker& breaker, rs::duration time) {
    (void)breaker.try_call([&] { w.clock.advance(time); });
}
rs::circuit_breaker_config slow_rule(unsigned success_threshold = 2) {
    return {.failure_threshold = 1,
            .success_threshold = success_threshold,
            .recovery_timeout = 30s,
            .slow_call_duration = 1s,
            .slow_call_rate_threshold = 0.5,
            .window = rs::count_window{10},
            .minimum_calls = 4};
}

// Slow probes.

TEST_CASE("slow probes do not close a circuit that slowness has opened", "[circuit_breaker][H-USE-20]") {
    circuit_world w;
    auto config = slow_rule();
    config.failure_threshold.reset();
    const auto breaker = w.make(config);
    for (int i = 0; i < 4; ++i) last(w, breaker, 2s);
    REQUIRE(breaker.state() == circuit_state::open);

    for (int round = 0; round < 5; ++round) {
        w.clock.advance(30s);
        last(w, breaker, 1s + 1ns);
        CHECK(breaker.state() == circuit_state::open);
    }
    CHECK(breaker.stats().failures == 0);
    CHECK(breaker.stats().late_results == 0);

    w.clock.advance(30s);
    last(w, breaker, 1s);
    last(w, breaker, 1s);
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("a slow probe by hand is no success either, and its reason is told",
          "[circuit_breaker][H-USE-20]") {
    circuit_world w;
    const support::heard heard(w.reg);
    const auto breaker = w.make_ready(slow_rule(1));
    auto probe = breaker.try_acquire();
    REQUIRE(probe);

    w.clock.advance(2s);
    CHECK(probe->success());

    CHECK(breaker.state() == circuit_state::open);
    CHECK(heard.events.back().reason == "slow probe");
    CHECK(breaker.stats().retry_after == 30s);
}

TEST_CASE("without a slow-call rule a probe may take its time", "[circuit_breaker][H-USE-20]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1});

    last(w, breaker, 59s);

    CHECK(breaker.state() == circuit_state::closed);
}

// half_open_failure_rate.

struct rate_row {
    unsigned success_threshold;
    double rate;
    std::string probes; // g: good, b: bad
    circuit_state after;
};

TEST_CASE("half_open_failure_rate is judged over success_threshold probes, as soon as it is certain",
          "[circuit_breaker][H-USE-19]") {
    using enum circuit_state;
    const rate_row row = GENERATE(values<rate_row>({
        {4, 0.5, "b", half_open},
        {4, 0.5, "bb", open},
        {4, 0.5, "gb", half_open},
        {4, 0.5, "ggb", half_open},
        {4, 0.5, "ggg", closed},
        {4, 0.5, "gbgg", closed},
        {4, 0.5, "gbb", open},
        {3, 2.0 / 3, "bgb", open},
        {3, 2.0 / 3, "bgg", closed},
        {3, 2.0 / 3, "bg", half_open},
        {6, 1.0 / 6, "gggggb", open},
        {6, 1.0 / 6, "ggggg", half_open},
        {10, 1.0, "bbbbbbbbbg", closed},
        {10, 1.0, "bbbbbbbbbb", open},
        {1, 0.01, "b", open},
    }));
    circuit_world w;
    const auto breaker =
        w.make_ready({.success_threshold = row.success_threshold, .half_open_failure_rate = row.rate});

    for (const char probe : row.probes) {
        probe == 'g' ? succeed(breaker) : fail(breaker);
    }

    INFO(row.probes << " of " << row.success_threshold << " at " << row.rate);
    CHECK(breaker.state() == row.after);
}

TEST_CASE("slow probes count into half_open_failure_rate", "[circuit_breaker][H-USE-20]") {
    circuit_world w;
    auto config = slow_rule(4);
    config.half_open_failure_rate = 0.5;
    const auto breaker = w.make_ready(config);

    last(w, breaker, 2s);
    CHECK(breaker.state() == circuit_state::half_open);
    last(w, breaker, 2s);

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("a lease that ends is one bad probe of half_open_failure_rate, and its late result none",
          "[circuit_breaker][H-USE-21]") {
    circuit_world w;
    const auto breaker = w.make_ready(
        {.success_threshold = 4, .recovery_timeout = 5s, .probe_lease = 10s, .half_open_failure_rate = 0.5});
    auto hung = breaker.try_acquire();
    REQUIRE(hung);
    w.clock.advance(10s);

    succeed(breaker);
    CHECK(breaker.state() == circuit_state::half_open);
    CHECK_FALSE(hung->failure());
    CHECK(breaker.state() == circuit_state::half_open);
    CHECK(breaker.stats().late_results == 1);
    fail(breaker);

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("a failure that asks for a break reopens at once, whatever half_open_failure_rate says",
          "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 10,
                                       .break_duration_of = [](const rs::failure&) { return 77s; },
                                       .half_open_failure_rate = 1.0});
    w.clock.advance(77s - 30s);

    fail(breaker);

    CHECK(breaker.state() == circuit_state::open);
    CHECK(breaker.stats().retry_after == 77s);
}

TEST_CASE("an update in half_open by which the probes so far are too bad reopens", "[circuit_breaker]") {
    circuit_world w;
    rs::circuit_breaker_config config{
        .failure_threshold = 1, .success_threshold = 10, .half_open_failure_rate = 0.9};
    const auto breaker = w.make_ready(config);
    fail(breaker, 3);
    succeed(breaker);
    REQUIRE(breaker.state() == circuit_state::half_open);

    config.success_threshold = 4;
    config.half_open_failure_rate = 0.75;
    breaker.update(config);

    CHECK(breaker.state() == circuit_state::open);
}

// Leases.

TEST_CASE("a lease is never shorter than the limits inside the same pipeline",
          "[circuit_breaker][H-USE-21]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 2, .half_open_max_calls = 1, .probe_lease = 60s});
    const auto work = [&] {
        w.clock.advance(90s);
        CHECK_FALSE(breaker.try_acquire()); // its arrival would end a lease that is over
    };
    const auto run = [&](const auto& guard) {
        for (int i = 0; i < 2; ++i) (void)guard.try_call(work);
    };
    const rs::timeout limit(120s, w.reg);

    SECTION("directly") { run(breaker | limit); }
    SECTION("around others") {
        run(rs::retry({.max_attempts = 1}, w.reg) | breaker | rs::timeout(10min, w.reg) | limit);
    }
    SECTION("put together at run time") { run(rs::any_pipeline{breaker, limit}); }

    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().late_results == 0);
}

TEST_CASE("a lease ends with the limit inside of it, not later", "[circuit_breaker][H-USE-21]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1, .recovery_timeout = 5s, .probe_lease = 10s});
    const auto guard = breaker | rs::timeout(20s, w.reg);

    (void)guard.try_call([&] {
        w.clock.advance(20s - 1ns);
        CHECK(breaker.stats().state == circuit_state::half_open);
        CHECK_FALSE(breaker.try_acquire());
        CHECK(breaker.state() == circuit_state::half_open);
        w.clock.advance(1ns);
        CHECK_FALSE(breaker.try_acquire());
        CHECK(breaker.state() == circuit_state::open);
    });
}

TEST_CASE("a lease begins anew with each attempt of a retry inside, and covers the delay before it",
          "[circuit_breaker][H-USE-21]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1, .probe_lease = 60s});
    const rs::retry inner({.max_attempts = 4,
                           .base_delay = 100s,
                           .max_delay = 100s,
                           .strategy = rs::backoff::constant,
                           .jitter = rs::jitter::none},
                          w.reg);
    int attempt = 0;
    const auto work = [&] {
        w.clock.advance(60s - 1ns);
        CHECK_FALSE(breaker.try_acquire());
        if (++attempt < 4) throw circuits::service_down();
    };

    (breaker | inner)(work);

    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("the limit of a task counts for the lease too", "[circuit_breaker][H-USE-21]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1, .probe_lease = 60s});
    const auto guard = breaker | rs::timeout(120s, w.reg);
    auto call = guard([&]() -> support::lazy<int> {
        co_await support::pause(w.clock, 90s);
        co_return 1;
    });
    call.start();

    w.clock.advance(80s);
    CHECK_FALSE(breaker.try_acquire());
    w.clock.advance(10s);

    REQUIRE(call.done());
    CHECK(call.result() == 1);
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("a permit by hand can renew its lease", "[circuit_breaker][H-USE-21]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1, .recovery_timeout = 5s, .probe_lease = 10s});
    auto probe = breaker.try_acquire();
    REQUIRE(probe);

    w.clock.advance(10s - 1ns);
    CHECK(probe->renew(20s));
    w.clock.advance(20s - 1ns);
    CHECK_FALSE(breaker.try_acquire());
    REQUIRE(breaker.state() == circuit_state::half_open);
    CHECK(probe->renew(1ns)); // never shorter than it was
    CHECK(breaker.state() == circuit_state::half_open);

    SECTION("and succeeds in time") {
        CHECK(probe->success());
        CHECK(breaker.state() == circuit_state::closed);
        CHECK_FALSE(probe->renew(1h));
    }
    SECTION("but not when it is over") {
        w.clock.advance(1ns);
        CHECK_FALSE(probe->renew(1h));
        CHECK(breaker.state() == circuit_state::open);
    }
    SECTION("nor to the past") { CHECK_THROWS_AS(probe->renew(-1ns), std::invalid_argument); }
}

TEST_CASE("a permit that is no probe has no lease to renew, and tells if it still counts",
          "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make();
    auto permit = breaker.try_acquire();
    REQUIRE(permit);

    CHECK(permit->renew(1s));
    breaker.reset();
    CHECK_FALSE(permit->renew(1s));
}

TEST_CASE("a probe that succeeds after its lease counts for the next half-open",
          "[circuit_breaker][H-USE-21]") {
    circuit_world w;
    const support::heard heard(w.reg);
    const auto breaker = w.make_ready({.success_threshold = 2, .recovery_timeout = 30s, .probe_lease = 60s});
    auto slow = breaker.try_acquire();
    REQUIRE(slow);
    w.clock.advance(70s);

    CHECK_FALSE(slow->success());
    CHECK(breaker.state() == circuit_state::open);
    CHECK(breaker.stats().retry_after == 20s);
    REQUIRE(heard.count(event_kind::probe_succeeded_late) == 1);
    CHECK(heard.of(event_kind::probe_succeeded_late)[0].delay == 10s);
    w.clock.advance(20s);
    CHECK(succeed(breaker) == 1);

    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("a circuit whose calls all outlast the lease closes in the end, and says why it took so long",
          "[circuit_breaker][H-USE-21]") {
    circuit_world w;
    const support::heard heard(w.reg);
    const auto breaker = w.make_ready(
        {.success_threshold = 2, .recovery_timeout = 30s, .half_open_max_calls = 1, .probe_lease = 60s});

    int calls = 0;
    while (breaker.state() != circuit_state::closed && calls < 37) {
        auto permit = breaker.try_acquire();
        w.clock.advance(90s);
        if (!permit) continue;
        ++calls;
        permit->success();
    }

    CHECK(breaker.state() == circuit_state::closed);
    CHECK(calls <= 4);
    CHECK(heard.count(event_kind::probe_succeeded_late) == 3);
}

TEST_CASE("late results of slow and of failed probes count for nothing", "[circuit_breaker][H-USE-21]") {
    circuit_world w;
    auto config = slow_rule(2);
    config.probe_lease = 60s;
    const auto breaker = w.make_ready(config);
    auto slow = breaker.try_acquire();
    REQUIRE(slow);
    w.clock.advance(70s);

    SECTION("slow") { CHECK_FALSE(slow->success()); }
    SECTION("failed") { CHECK_FALSE(slow->failure()); }

    w.clock.advance(30s);
    CHECK(succeed(breaker) == 1);
    CHECK(breaker.state() == circuit_state::half_open);
}

TEST_CASE("a late success of before a command counts for nothing", "[circuit_breaker][H-USE-21]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 2, .recovery_timeout = 30s, .probe_lease = 60s});
    auto slow = breaker.try_acquire();
    REQUIRE(slow);
    w.clock.advance(70s);

    breaker.open_for(20s);
    CHECK_FALSE(slow->success());

    w.clock.advance(30s);
    CHECK(succeed(breaker) == 1);
    CHECK(breaker.state() == circuit_state::half_open);
}

TEST_CASE("a failed probe takes back what late successes said", "[circuit_breaker][H-USE-21]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 2, .recovery_timeout = 30s, .probe_lease = 60s});
    auto slow = breaker.try_acquire();
    REQUIRE(slow);
    w.clock.advance(90s);
    CHECK_FALSE(slow->success());

    fail(breaker);
    w.clock.advance(30s);
    succeed(breaker);

    CHECK(breaker.state() == circuit_state::half_open);
}

// half_open_quiet.

TEST_CASE("half_open_quiet closes a half-open circuit without traffic", "[circuit_breaker]") {
    circuit_world w;
    const support::heard heard(w.reg);
    const auto breaker = w.make_ready({.name = "quiet", .success_threshold = 3, .half_open_quiet = 60s});
    succeed(breaker);
    w.clock.advance(50s);
    succeed(breaker);
    REQUIRE(breaker.state() == circuit_state::half_open);

    w.clock.advance(60s - 1ns);
    CHECK(breaker.state() == circuit_state::half_open);
    w.clock.advance(1ns);

    SECTION("state() shows it") { CHECK(breaker.state() == circuit_state::closed); }
    SECTION("stats() shows it") { CHECK(breaker.stats().state == circuit_state::closed); }
    SECTION("health() shows it") { CHECK(w.reg.health().half_open == 0); }
    SECTION("a call finds it") {
        CHECK(succeed(breaker) == 1);
        CHECK(breaker.stats().success_count == 1);
    }

    CHECK(breaker.state() == circuit_state::closed);
    CHECK(heard.events.back().reason == "half_open_quiet");
}

TEST_CASE("half_open_quiet waits for probes in flight and is off by default", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 3, .probe_lease = 1h, .half_open_quiet = 60s});
    const auto by_default = w.make_ready({.success_threshold = 3});
    succeed(by_default);
    auto probe = breaker.try_acquire();
    REQUIRE(probe);

    w.clock.advance(30min);
    CHECK(breaker.state() == circuit_state::half_open);
    probe->ignore();
    w.clock.advance(60s - 1ns);
    CHECK(breaker.state() == circuit_state::half_open);
    w.clock.advance(1ns);
    CHECK(breaker.state() == circuit_state::closed);

    w.clock.advance(24h * 365);
    CHECK(by_default.state() == circuit_state::half_open);
}

} // namespace
