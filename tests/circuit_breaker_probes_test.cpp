// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/testing/recorder.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
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

TEST_CASE("half_open_max_calls is success_threshold if it is unset", "[circuit_breaker][H-CB-07][H-CB-13]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 3});

    std::vector<rs::permit> probes;
    for (int i = 0; i < 3; ++i) {
        auto probe = breaker.try_acquire();
        REQUIRE(probe);
        probes.push_back(std::move(*probe));
    }

    CHECK_FALSE(breaker.try_acquire());
}

TEST_CASE("no more than half_open_max_calls probes are in flight", "[circuit_breaker][H-CB-07][H-CB-13]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 3, .half_open_max_calls = 1});

    for (int i = 0; i < 3; ++i) {
        auto probe = breaker.try_acquire();
        REQUIRE(probe);
        CHECK_FALSE(breaker.try_acquire());
        probe->success();
    }

    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("no more probes are admitted than could still be needed", "[circuit_breaker][H-CB-13]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 3, .half_open_max_calls = 2});
    succeed(breaker, 2);

    const auto last = breaker.try_acquire();

    CHECK(last);
    CHECK_FALSE(breaker.try_acquire());
}

TEST_CASE("a rejection in half_open says that the places are taken and not when one is free",
          "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make_ready({.name = "db", .half_open_max_calls = 1});
    const auto probe = breaker.try_acquire();

    const auto out = breaker.try_call([] {});

    REQUIRE_FALSE(out.has_value());
    CHECK(out.error().code() == rs::errc::circuit_open);
    CHECK_FALSE(out.error().retry_after());
    CHECK(out.error().message() == "circuit 'db' is half-open and all its probe places are taken");
}

TEST_CASE("an ignored probe gives its place back and says nothing", "[circuit_breaker][H-CB-01]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1});

    CHECK(cancel(breaker, 10) == 10);

    CHECK(breaker.state() == circuit_state::half_open);
    CHECK(breaker.stats().ignored == 10);
    CHECK(succeed(breaker) == 1);
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("a permit that is dropped gives its place back", "[circuit_breaker][H-CB-03]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1});

    for (int i = 0; i < 10; ++i) CHECK(breaker.try_acquire());
    {
        auto kept = breaker.try_acquire();
        REQUIRE(kept);
        auto moved = std::move(*kept);
        CHECK_FALSE(breaker.try_acquire());
    }

    CHECK(breaker.state() == circuit_state::half_open);
    CHECK(breaker.stats().ignored == 11);
    CHECK(breaker.try_acquire());
}

TEST_CASE("a permit assigned over gives its place back, one settled has none", "[circuit_breaker][H-CB-03]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 2});
    auto first = breaker.try_acquire();
    auto second = breaker.try_acquire();
    REQUIRE(first);
    REQUIRE(second);

    *first = std::move(*second);
    CHECK(breaker.stats().ignored == 1);
    first->success();
    first->failure();
    first->success();
    first.reset();
    second.reset();

    CHECK(breaker.stats().calls == 3); // the failure that tripped it is one
    CHECK(breaker.stats().successes == 1);
    CHECK(breaker.state() == circuit_state::half_open);
}

TEST_CASE("a call abandoned by its driver gives its place back", "[circuit_breaker][H-CB-03]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1});
    {
        rs::call_context ctx(w.clock);
        auto call = breaker.begin(ctx);
        CHECK(call.admit(ctx).what() == rs::admission::kind::go);
        CHECK_FALSE(breaker.try_acquire());
    }

    CHECK(breaker.stats().ignored == 1);
    CHECK(breaker.try_acquire());
}

TEST_CASE("a probe that hangs fails when its lease is over, and never wedges the circuit",
          "[circuit_breaker][H-CB-02]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1, .recovery_timeout = 5s, .probe_lease = 60s});
    auto hung = breaker.try_acquire();
    REQUIRE(hung);
    const auto generation = breaker.stats().generation;

    w.clock.advance(60s - 1ns);
    CHECK_FALSE(breaker.try_acquire());
    CHECK(breaker.stats().generation == generation);
    w.clock.advance(1ns);
    CHECK_FALSE(breaker.try_acquire());
    CHECK(breaker.state() == circuit_state::open);
    CHECK(breaker.stats().retry_after == 5s);
    w.clock.advance(5s);
    auto next = breaker.try_acquire();
    REQUIRE(next);

    hung->success();
    CHECK(breaker.state() == circuit_state::half_open);
    CHECK(breaker.stats().late_results == 1);
    CHECK_FALSE(breaker.try_acquire());
    next->success();
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("after a lease that ended long ago the call that comes is a probe", "[circuit_breaker][H-CB-02]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1, .recovery_timeout = 5s, .probe_lease = 60s});
    const auto hung = breaker.try_acquire();
    const auto generation = breaker.stats().generation;

    w.clock.advance(65s);

    CHECK(breaker.try_acquire());
    CHECK(breaker.stats().generation == generation + 2);
}

TEST_CASE("a probe is judged by its lease even if nobody called meanwhile", "[circuit_breaker][H-CB-02]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1, .recovery_timeout = 5s, .probe_lease = 60s});
    auto probe = breaker.try_acquire();
    REQUIRE(probe);

    SECTION("a success in time closes") {
        w.clock.advance(60s - 1ns);
        probe->success();
        CHECK(breaker.state() == circuit_state::closed);
        CHECK(breaker.stats().late_results == 0);
    }
    SECTION("a success after it is late, and the circuit is open since the lease ended") {
        w.clock.advance(62s);
        probe->success();
        CHECK(breaker.state() == circuit_state::open);
        CHECK(breaker.stats().late_results == 1);
        CHECK(breaker.stats().successes == 1);
        CHECK(breaker.stats().retry_after == 3s);
    }
    SECTION("a failure after it is late") {
        w.clock.advance(62s);
        probe->failure();
        CHECK(breaker.stats().late_results == 1);
        CHECK(breaker.stats().retry_after == 3s);
    }
    SECTION("an abandoned one too") {
        w.clock.advance(62s);
        probe.reset();
        CHECK(breaker.state() == circuit_state::open);
        CHECK(breaker.stats().late_results == 1);
        CHECK(breaker.stats().retry_after == 3s);
    }
}

TEST_CASE("a probe's lease lasts until its own deadline if that is later", "[circuit_breaker][H-CB-14]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1, .recovery_timeout = 5s, .probe_lease = 10s});
    const auto settle_after = [&](rs::duration deadline, rs::duration lasts) {
        breaker.with({.deadline = w.clock.now() + deadline})([&] { w.clock.advance(lasts); });
        return breaker.state();
    };

    CHECK(settle_after(30s, 30s) == circuit_state::open);
    w.clock.advance(5s);
    CHECK(settle_after(5s, 10s) == circuit_state::open);
    w.clock.advance(5s);
    CHECK(settle_after(30s, 30s - 1ns) == circuit_state::closed);
}

TEST_CASE("a classifier that throws on a probe neither leaks its place nor changes its outcome",
          "[circuit_breaker][H-CB-09]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1,
                                       .recovery_timeout = 5s,
                                       .record_if = rs::predicate([](const rs::failure& f) -> bool {
                                           if (f.message() == "odd") throw std::logic_error("predicate");
                                           return true;
                                       })});

    CHECK_THROWS_WITH(breaker([] { throw std::runtime_error("odd"); }), "odd");

    CHECK(breaker.state() == circuit_state::open);
    CHECK(breaker.stats().predicate_errors == 1);
    w.clock.advance(5s);
    CHECK(succeed(breaker) == 1);
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("minimum_calls has no say in half_open", "[circuit_breaker][H-CB-10]") {
    circuit_world w;
    const auto breaker = w.make_ready({.failure_threshold = 1,
                                       .success_threshold = 2,
                                       .recovery_timeout = 5s,
                                       .failure_rate_threshold = 0.5,
                                       .minimum_calls = 100});

    SECTION("for a success") {
        succeed(breaker, 2);
        CHECK(breaker.state() == circuit_state::closed);
    }
    SECTION("for a failure") {
        fail(breaker);
        CHECK(breaker.state() == circuit_state::open);
    }
}

TEST_CASE("a probe that an inner policy refuses gives its place back",
          "[circuit_breaker][H-CB-12][H-CB-33]") {
    circuit_world w;
    const auto outer = w.make_ready({.name = "outer", .success_threshold = 1, .recovery_timeout = 5s});
    const auto inner = w.make({.name = "inner"});
    inner.force_open();
    const auto both = outer | inner;

    for (int i = 0; i < 10; ++i) {
        const auto out = both.try_call([] {});
        REQUIRE_FALSE(out.has_value());
        CHECK(out.error().policy() == "inner");
    }
    CHECK(outer.state() == circuit_state::half_open);

    inner.reset();
    CHECK(both.try_call([] {}).has_value());
    CHECK(outer.state() == circuit_state::closed);
}

TEST_CASE("of a failing and a succeeding probe the failure wins, in either order",
          "[circuit_breaker][H-CB-17]") {
    circuit_world w;
    const auto breaker =
        w.make_ready({.success_threshold = 2,
                      .recovery_timeout = 5s,
                      .recovery_backoff = rs::recovery_backoff{.multiplier = 2.0, .cap = 1h}});
    auto good = breaker.try_acquire();
    auto bad = breaker.try_acquire();
    REQUIRE(good);
    REQUIRE(bad);

    SECTION("success first") {
        good->success();
        bad->failure();
    }
    SECTION("failure first") {
        bad->failure();
        good->success();
        CHECK(breaker.stats().late_results == 1);
    }

    CHECK(breaker.state() == circuit_state::open);
    CHECK(breaker.stats().retry_after == 10s);
}

TEST_CASE("results of calls from before the trip change totals and nothing else",
          "[circuit_breaker][H-CB-04][H-CB-05][H-CB-15][H-CB-16]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 5s});
    std::vector<rs::permit> before;
    for (int i = 0; i < 6; ++i) before.push_back(std::move(*breaker.try_acquire()));
    rs::testing::recorder log(w.reg);
    fail(breaker);
    REQUIRE(log.size() == 1);

    // open: neither closed, nor opened once more, nor open for longer
    w.clock.advance(1s);
    before[0].success();
    before[1].failure();
    { const auto dropped = std::move(before[2]); }
    CHECK(breaker.state() == circuit_state::open);
    CHECK(breaker.stats().retry_after == 4s);
    CHECK(breaker.stats().late_results == 3);

    // half-open: not closed, not opened, no place given back that was never taken
    w.clock.advance(4s);
    auto probe = breaker.try_acquire();
    REQUIRE(probe);
    before[3].success();
    { const auto dropped = std::move(before[4]); }
    before[5].failure();
    CHECK(breaker.state() == circuit_state::half_open);
    CHECK_FALSE(breaker.try_acquire());

    probe->success();
    const auto stats = breaker.stats();
    CHECK(stats.state == circuit_state::closed);
    CHECK(stats.late_results == 6);
    CHECK(stats.successes == 3);
    CHECK(stats.failures == 3);
    CHECK(stats.ignored == 2);
    CHECK(stats.trips == 1);
    CHECK(log.of_kind(rs::event_kind::state_changed).size() == 3);
}

TEST_CASE("a late result counts in no later window", "[circuit_breaker][H-CB-15]") {
    circuit_world w;
    const auto breaker =
        w.make({.consecutive_failures = 2, .failure_rate_threshold = 1.0, .minimum_calls = 2});
    auto good = breaker.try_acquire();
    auto bad = breaker.try_acquire();
    REQUIRE(good);
    REQUIRE(bad);
    breaker.reset();

    SECTION("a late failure adds nothing to a row") {
        fail(breaker);
        bad->failure();
        CHECK(breaker.state() == circuit_state::closed);
        CHECK(breaker.stats().failure_rate == 1.0);
    }
    SECTION("a late success does not break a row") {
        fail(breaker);
        good->success();
        CHECK(breaker.stats().success_count == 0);
        fail(breaker);
        CHECK(breaker.state() == circuit_state::open);
    }
}

} // namespace
