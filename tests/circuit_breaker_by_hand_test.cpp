// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/recorder.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

namespace rs = resilience;
using circuits::cancel;
using circuits::circuit_world;
using circuits::fail;
using circuits::succeed;
using rs::circuit_state;
using namespace std::chrono_literals;

TEST_CASE("reset closes from every state and clears the window", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 2,
                                 .consecutive_failures = 2,
                                 .failure_rate_threshold = 1.0,
                                 .minimum_calls = 2});

    SECTION("closed") { fail(breaker); }
    SECTION("open") { fail(breaker, 2); }
    SECTION("half_open") {
        fail(breaker, 2);
        w.clock.advance(30s);
        succeed(breaker);
        REQUIRE(breaker.state() == circuit_state::half_open);
    }
    SECTION("forced_open") { breaker.force_open(); }
    SECTION("disabled") { breaker.disable(); }
    SECTION("metrics_only") {
        breaker.metrics_only();
        fail(breaker);
    }
    breaker.reset();

    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().failure_count == 0);
    CHECK(breaker.stats().success_count == 0);
    CHECK(breaker.stats().failure_rate == -1.0);
    fail(breaker);
    CHECK(breaker.state() == circuit_state::closed);
    fail(breaker);
    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("forced_open rejects until it is released, however long it takes", "[circuit_breaker][H-CB-26]") {
    circuit_world w;
    const auto breaker = w.make({.name = "db", .recovery_timeout = 5s});
    breaker.force_open("maintenance");

    w.clock.advance(24h);
    const auto out = breaker.try_call([] {});
    REQUIRE_FALSE(out.has_value());
    CHECK(out.error().message() == "circuit 'db' is forced open");
    CHECK_FALSE(out.error().retry_after());
    CHECK_FALSE(breaker.try_acquire());
    CHECK(breaker.stats().rejected == 2);

    breaker.reset();
    CHECK(succeed(breaker) == 1);
}

TEST_CASE("disabled admits everything and trips at nothing", "[circuit_breaker][H-CB-26]") {
    circuit_world w;
    rs::testing::recorder log(w.reg);
    rs::circuit_breaker_config config{
        .failure_threshold = 1, .consecutive_failures = 1, .failure_rate_threshold = 0.1, .minimum_calls = 1};
    config.break_duration_of = [](const rs::failure&) { return std::optional<rs::duration>(1h); };
    const auto breaker = w.make(config);
    breaker.disable();

    CHECK(fail(breaker, 100) == 100);
    CHECK(succeed(breaker, 3) == 3);
    CHECK(cancel(breaker, 2) == 2);

    const auto stats = breaker.stats();
    CHECK(stats.state == circuit_state::disabled);
    CHECK(stats.failures == 100);
    CHECK(stats.successes == 3);
    CHECK(stats.ignored == 2);
    CHECK(stats.calls == 105);
    CHECK(stats.trips == 0);
    CHECK(log.size() == 1); // that it was disabled
    breaker.reset();
    CHECK(breaker.stats().failure_count == 0);
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("what happens while disabled enters no window", "[circuit_breaker][H-CB-26]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 9, .failure_rate_threshold = 1.0});
    breaker.disable();

    fail(breaker, 3);
    succeed(breaker, 3);

    CHECK(breaker.stats().failure_count == 0);
    CHECK(breaker.stats().failure_rate == -1.0);
    CHECK_FALSE(breaker.stats().last_error);
}

TEST_CASE("metrics_only admits everything, counts, and says where it would have tripped",
          "[circuit_breaker]") {
    circuit_world w;
    rs::testing::recorder log(w.reg);
    const auto breaker = w.make({.name = "db", .failure_threshold = 3});
    breaker.metrics_only();

    CHECK(fail(breaker, 2) == 2);
    CHECK(breaker.stats().failure_count == 2);
    CHECK(log.count(rs::event_kind::would_have_tripped) == 0);
    CHECK(fail(breaker, 4) == 4);

    CHECK(breaker.state() == circuit_state::metrics_only);
    CHECK(breaker.stats().trips == 0);
    CHECK(breaker.stats().rejected == 0);
    const auto told = log.of_kind(rs::event_kind::would_have_tripped);
    REQUIRE(told.size() == 2);
    CHECK(told[0].policy == "db");
    CHECK(told[0].failure_count == 3);
    CHECK(told[0].reason == "failure_threshold");
    CHECK(told[0].error == "service is down");
    CHECK(log.count(rs::event_kind::state_changed) == 1);
}

TEST_CASE("metrics_only judges rates as a closed circuit does", "[circuit_breaker]") {
    const bool by_time = GENERATE(false, true);
    circuit_world w;
    rs::testing::recorder log(w.reg);
    rs::circuit_breaker_config config{.failure_rate_threshold = 0.5, .minimum_calls = 4};
    if (by_time) config.window = rs::time_window{60s};
    const auto breaker = w.make(config);
    breaker.metrics_only();

    for (int round = 1; round <= 3; ++round) {
        fail(breaker, 2);
        succeed(breaker, 2); // the second brings the window to minimum_calls
        CHECK(log.count(rs::event_kind::would_have_tripped) == static_cast<std::size_t>(round));
        CHECK(breaker.stats().failure_rate == -1.0);
    }
}

TEST_CASE("open_for opens for that long, then probes", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.success_threshold = 1, .recovery_timeout = 5s});

    breaker.open_for(1h);
    CHECK(breaker.state() == circuit_state::open);
    CHECK(breaker.stats().retry_after == rs::duration(1h));
    w.clock.advance(1h - 1ns);
    CHECK_FALSE(breaker.try_acquire());
    w.clock.advance(1ns);
    CHECK(fail(breaker) == 1);
    CHECK(breaker.stats().retry_after == 5s);
    w.clock.advance(5s);
    succeed(breaker);
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("open opens as if tripped: for recovery_timeout, or as recovery_backoff grows it",
          "[circuit_breaker]") {
    circuit_world w;
    const auto plain = w.make({.recovery_timeout = 7s});
    const auto growing = w.make({.success_threshold = 1,
                                 .recovery_timeout = 10s,
                                 .recovery_backoff = rs::recovery_backoff{.multiplier = 3.0, .cap = 1h}});

    plain.open("deploy");
    CHECK(plain.state() == circuit_state::open);
    CHECK(plain.stats().retry_after == 7s);
    CHECK(plain.stats().reason == "deploy");
    CHECK(plain.stats().trips == 1);
    w.clock.advance(7s - 1ns);
    CHECK(succeed(plain) == 0);
    w.clock.advance(1ns);
    CHECK(succeed(plain, 2) == 2);
    CHECK(plain.state() == circuit_state::closed);

    growing.open();
    CHECK(growing.stats().retry_after == 10s);
    growing.open();
    CHECK(growing.stats().retry_after == 30s);
    w.clock.advance(30s);
    const auto probe = growing.try_acquire();
    growing.open();
    CHECK(growing.stats().retry_after == 90s);
    growing.reset();
    growing.open();
    CHECK(growing.stats().retry_after == 10s);
}

TEST_CASE("a permit tells if its result counted", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 3});
    const auto permit = [&] { return std::move(*breaker.try_acquire()); };
    const std::vector<std::function<bool(rs::permit&)>> settlements{
        [](rs::permit& p) { return p.success(); },
        [](rs::permit& p) { return p.failure(); },
        [](rs::permit& p) { return p.failure(rs::failure()); },
        [](rs::permit& p) { return p.ignore(); },
        [](rs::permit& p) { return p.settle(rs::retry().try_call([] { return 1; })); },
    };

    for (const auto& settle : settlements) {
        auto in_time = permit();
        CHECK(settle(in_time));
        CHECK_FALSE(settle(in_time)); // settled already
        auto late = permit();
        breaker.reset();
        CHECK_FALSE(settle(late));
        breaker.disable();
        auto total_only = permit();
        CHECK(settle(total_only));
        breaker.reset();
    }
    CHECK(breaker.stats().late_results == 5);
    CHECK(breaker.stats().ignored == 3);
    CHECK(breaker.stats().calls == 15);
}

TEST_CASE("an ignored permit gives a probe's place back at once", "[circuit_breaker][H-CB-03]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 1});
    auto probe = breaker.try_acquire();
    REQUIRE(probe);
    REQUIRE_FALSE(breaker.try_acquire());

    CHECK(probe->ignore());

    CHECK(breaker.try_acquire());
    CHECK(breaker.state() == circuit_state::half_open);
}

TEST_CASE("open_for takes any time but a negative one", "[circuit_breaker][H-CB-23]") {
    circuit_world w;
    const auto breaker = w.make();

    CHECK_THROWS_AS(breaker.open_for(-1ns), std::invalid_argument);
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().generation == 1);
    breaker.open_for(rs::duration::max());
    w.clock.advance(24h * 365 * 200);
    CHECK_FALSE(breaker.try_acquire());
    breaker.open_for(0s);
    CHECK(breaker.try_acquire());
}

TEST_CASE("a timer of before a command has no effect after it", "[circuit_breaker][H-CB-18]") {
    circuit_world w;
    const auto breaker = w.make_open({.recovery_timeout = 1s});
    w.clock.advance(500ms);
    breaker.reset();
    w.clock.advance(300ms);
    fail(breaker);

    w.clock.advance(1s - 1ns);
    CHECK_FALSE(breaker.try_acquire());
    w.clock.advance(1ns);
    CHECK(breaker.try_acquire());
}

TEST_CASE("a command outlasts the probes of before", "[circuit_breaker][H-CB-21]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 2, .recovery_timeout = 5s});
    auto good = breaker.try_acquire();
    auto bad = breaker.try_acquire();
    REQUIRE(good);
    REQUIRE(bad);
    circuit_state wanted = circuit_state::forced_open;

    SECTION("forced_open") { breaker.force_open(); }
    SECTION("disabled") {
        breaker.disable();
        wanted = circuit_state::disabled;
    }
    SECTION("metrics_only") {
        breaker.metrics_only();
        wanted = circuit_state::metrics_only;
    }
    SECTION("reset") {
        breaker.reset();
        wanted = circuit_state::closed;
    }
    good->success();
    bad->failure();

    CHECK(breaker.state() == wanted);
    CHECK(breaker.stats().late_results == 2);
}

TEST_CASE("reset in half_open gives all places back", "[circuit_breaker][H-CB-04]") {
    circuit_world w;
    const auto breaker =
        w.make_ready({.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 5s});
    auto probe = breaker.try_acquire();
    REQUIRE(probe);
    breaker.reset();
    fail(breaker);
    w.clock.advance(5s);
    const auto next = breaker.try_acquire();
    REQUIRE(next);

    probe.reset(); // of an earlier half_open

    CHECK_FALSE(breaker.try_acquire());
}

TEST_CASE("each command begins a new generation and tells why", "[circuit_breaker]") {
    circuit_world w;
    rs::testing::recorder log(w.reg);
    const auto breaker = w.make({.name = "db"});

    breaker.force_open("maintenance");
    CHECK(breaker.stats().reason == "maintenance");
    CHECK(breaker.stats().generation == 2);
    breaker.disable();
    CHECK(breaker.stats().reason.empty());
    breaker.metrics_only("dry run");
    breaker.open_for(1s, "deploy");
    breaker.reset(std::string("over"));
    breaker.reset();

    const auto events = log.of_kind(rs::event_kind::state_changed);
    REQUIRE(events.size() == 6);
    const char* reasons[] = {"maintenance", "by hand", "dry run", "deploy", "over", "by hand"};
    for (std::size_t i = 0; i < events.size(); ++i) {
        CHECK(events[i].reason == reasons[i]);
        CHECK(events[i].generation == i + 2);
        if (i > 0) CHECK(events[i].from == events[i - 1].to);
    }
    CHECK(events[3].delay == rs::duration(1s));
}

TEST_CASE("update keeps the state and judges what the window holds at once", "[circuit_breaker][H-CB-25]") {
    circuit_world w;
    const auto breaker = w.make({.name = "db", .failure_threshold = 5});
    fail(breaker, 3);

    breaker.update({.name = "db", .failure_threshold = 4});
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().failure_count == 3);
    CHECK(breaker.stats().failure_threshold == 4);
    CHECK(breaker.config().failure_threshold == 4);
    breaker.update({.name = "db", .failure_threshold = 3});
    CHECK(breaker.state() == circuit_state::open);

    breaker.update({.name = "db", .recovery_timeout = 1s});
    CHECK(breaker.state() == circuit_state::open);
    CHECK(breaker.stats().retry_after == 30s);
}

TEST_CASE("an invalid update changes nothing and throws", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.name = "db", .failure_threshold = 2});
    fail(breaker);

    CHECK_THROWS_AS(breaker.update({.name = "db", .success_threshold = 0}), std::invalid_argument);
    CHECK_THROWS_AS(breaker.update({.name = "other"}), std::invalid_argument);

    CHECK(breaker.config().failure_threshold == 2);
    CHECK(breaker.stats().generation == 1);
    fail(breaker);
    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("an update in half_open that asks for less than has passed closes the circuit",
          "[circuit_breaker][H-CB-10]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 3, .recovery_timeout = 5s});
    succeed(breaker, 2);

    breaker.update({.failure_threshold = 1, .success_threshold = 3, .half_open_max_calls = 1});
    CHECK(breaker.state() == circuit_state::half_open);
    breaker.update({.failure_threshold = 1, .success_threshold = 2});

    CHECK(breaker.state() == circuit_state::closed);
    CHECK(succeed(breaker) == 1);
}

TEST_CASE("an update changes the rate window and keeps what it can", "[circuit_breaker]") {
    circuit_world w;
    const auto with = [](auto window, double share = 0.5) {
        return rs::circuit_breaker_config{
            .failure_rate_threshold = share, .window = window, .minimum_calls = 5};
    };

    SECTION("a time window of another length keeps successes like failures") {
        const auto breaker = w.make(with(rs::time_window{60s}));
        succeed(breaker, 90);
        fail(breaker, 10);
        breaker.update(with(rs::time_window{30s}));
        CHECK(breaker.state() == circuit_state::closed);
        CHECK(breaker.stats().failure_rate == Approx(0.1));
        succeed(breaker, 100);
        CHECK(breaker.stats().failure_rate == Approx(0.05));
        breaker.update(with(rs::time_window{30s}, 0.05));
        CHECK(breaker.state() == circuit_state::open);
    }
    SECTION("a smaller count window keeps the youngest") {
        const auto breaker = w.make(with(rs::count_window{100}));
        succeed(breaker, 90);
        fail(breaker, 10);
        breaker.update(with(rs::count_window{50}));
        CHECK(breaker.stats().failure_rate == Approx(0.2));
        CHECK(breaker.state() == circuit_state::closed);
        breaker.update(with(rs::count_window{20}));
        CHECK(breaker.state() == circuit_state::open);
    }
    SECTION("rates that are turned on begin with nothing") {
        const auto breaker = w.make({.failure_threshold = 50});
        succeed(breaker, 10);
        fail(breaker, 10);
        breaker.update(with(rs::time_window{60s}));
        CHECK(breaker.stats().failure_rate == -1.0);
        succeed(breaker, 4);
        fail(breaker);
        CHECK(breaker.stats().failure_rate == Approx(0.2));
        breaker.update(with(rs::count_window{60}));
        CHECK(breaker.stats().failure_rate == -1.0);
        fail(breaker, 5);
        CHECK(breaker.state() == circuit_state::open);
    }
}

TEST_CASE("a rate rule that is turned on again begins with an empty window", "[circuit_breaker]") {
    circuit_world w;
    rs::circuit_breaker_config by_time{.failure_threshold = 100,
                                       .failure_rate_threshold = 0.9,
                                       .window = rs::time_window{60s},
                                       .minimum_calls = 10};
    rs::circuit_breaker_config others = by_time;
    SECTION("after none was on") { others.failure_rate_threshold.reset(); }
    SECTION("after one over results") { others.window = rs::count_window{100}; }
    const auto breaker = w.make(by_time);
    succeed(breaker, 1); // gives the thread a stripe
    fail(breaker, 5);
    succeed(breaker, 1);
    breaker.update(others);
    succeed(breaker, 100); // in no window of time
    by_time.minimum_calls = 5;

    breaker.update(by_time);
    CHECK(breaker.state() == circuit_state::closed);
    fail(breaker, 4);
    CHECK(breaker.state() == circuit_state::closed);
    fail(breaker, 1);
    CHECK(breaker.state() == circuit_state::open); // 5 of 5
}

TEST_CASE("forced_open refuses by what it says alone: no clock is read", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.name = "db"});
    breaker.force_open();
    w.clock.advance(24h);
    const auto reads_before = w.clock.now_reads();

    const auto out = breaker.try_call([] { return 1; });
    CHECK(w.clock.now_reads() == reads_before);
    CHECK(out.error().message() == "circuit 'db' is forced open");
    CHECK_FALSE(out.error().retry_after());
    CHECK_FALSE(breaker.try_acquire());
    CHECK(breaker.stats().rejected == 2);
}

TEST_CASE("a permit settled with a caught exception in an outcome is judged by the circuit's rules",
          "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 9, .ignore_if = rs::on<std::logic_error>()});
    const auto settle_with = [&](const auto& thrown) {
        auto permit = breaker.try_acquire();
        try {
            throw thrown;
        } catch (...) {
            rs::outcome<void> caught;
            caught.fail(rs::failure(std::current_exception()));
            permit->settle(caught);
        }
    };

    settle_with(std::logic_error("the caller's mistake"));
    CHECK(breaker.stats().ignored == 1);
    settle_with(std::runtime_error("down"));
    CHECK(breaker.stats().failures == 1);
}

TEST_CASE("a call in flight is judged by the config that it began under", "[circuit_breaker][H-CB-25]") {
    circuit_world w;
    const auto breaker = w.make({.name = "db",
                                 .failure_threshold = 9,
                                 .slow_call_duration = 1s,
                                 .slow_call_rate_threshold = 1.0,
                                 .record_if = rs::on<std::logic_error>()});
    const rs::circuit_breaker_config next{
        .name = "db", .failure_threshold = 9, .record_if = rs::on<std::runtime_error>()};

    (void)breaker.try_call([&] {
        breaker.update(next);
        w.clock.advance(2s);
        throw std::runtime_error("a success by the old record_if");
    });
    CHECK(breaker.stats().failures == 0);
    CHECK(breaker.stats().successes == 1);
    CHECK(breaker.stats().slow == 1);

    (void)breaker.try_call([&] { throw std::runtime_error("a failure by the new one"); });
    CHECK(breaker.stats().failures == 1);
    CHECK(breaker.stats().slow == 1);

    auto permit = breaker.try_acquire();
    for (int i = 0; i < 3; ++i) breaker.update({.name = "db", .failure_threshold = 9});
    permit->success();
    CHECK(breaker.stats().successes == 2);
    CHECK(breaker.stats().late_results == 0);
}

} // namespace
