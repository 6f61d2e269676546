// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker.hpp>
#include <resilience/testing/fixed_random.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace {

namespace rs = resilience;
using circuits::circuit_world;
using circuits::fail;
using circuits::succeed;
using rs::circuit_state;
using namespace std::chrono_literals;

TEST_CASE("a circuit with the default config trips at the fifth failure, not at the fourth",
          "[circuit_breaker][H-CB-30]") {
    circuit_world w;
    const auto breaker = w.make();

    CHECK(fail(breaker, 4) == 4);
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(fail(breaker) == 1);

    CHECK(breaker.state() == circuit_state::open);
    CHECK(fail(breaker) == 0);
    CHECK(succeed(breaker) == 0);
}

TEST_CASE("an open circuit rejects with an error that says who, why and when to come back",
          "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make_open({.name = "jira_api", .recovery_timeout = 30s});
    w.clock.advance(27s + 600ms);

    const auto out = breaker.try_call([] { return 1; });
    REQUIRE_FALSE(out.has_value());
    CHECK(out.error().code() == rs::errc::circuit_open);
    CHECK(out.error().is_rejection());
    CHECK(out.error().policy() == "jira_api");
    CHECK(out.error().retry_after() == 2400ms);
    CHECK(out.error().message() == "circuit 'jira_api' is open; next probe in 2.4s");

    try {
        breaker([] { return 1; });
        FAIL("it must throw");
    } catch (const rs::circuit_open_error& e) {
        CHECK(e.policy() == "jira_api");
        CHECK(e.retry_after() == 2400ms);
        CHECK(e.code() == std::errc::resource_unavailable_try_again);
        CHECK(std::string(e.what()) == "circuit 'jira_api' is open; next probe in 2.4s");
    }
}

TEST_CASE("the rejections of an open circuit are objects of their own",
          "[circuit_breaker][H-CB-38][H-CPP-06]") {
    circuit_world w;
    const auto breaker = w.make_open();
    const auto caught = [&]() -> std::exception_ptr {
        try {
            breaker([] {});
        } catch (const rs::circuit_open_error&) {
            return std::current_exception();
        }
        return nullptr;
    };

    const auto first = caught();
    const auto second = caught();

    REQUIRE(first);
    CHECK(first != second);
}

TEST_CASE("an open circuit admits a probe from recovery_timeout on and shows open until then",
          "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make_open({.recovery_timeout = 5s});

    w.clock.advance(5s - 1ns);
    CHECK_FALSE(breaker.try_acquire());
    w.clock.advance(1ns);
    CHECK(breaker.state() == circuit_state::open);
    const auto probe = breaker.try_acquire();

    CHECK(probe);
    CHECK(breaker.state() == circuit_state::half_open);
}

TEST_CASE("a call after recovery_timeout is the first probe, by any call form",
          "[circuit_breaker][H-CB-28]") {
    circuit_world w;
    int runs = 0;
    const auto count = [&] { return ++runs; };
    const auto breaker = w.make_ready({.success_threshold = 9, .recovery_timeout = 5s});

    CHECK(breaker(count) == 1);
    CHECK(breaker.state() == circuit_state::half_open);
    CHECK(breaker.call(count) == 2);
    CHECK(breaker.try_call(count).value() == 3);
    CHECK(breaker.wrap(count)() == 4);
    CHECK(breaker.named("search")(count) == 5);
    CHECK(breaker.with(rs::call_options{})(count) == 6);
    CHECK(runs == 6);
    CHECK(breaker.stats().success_count == 6);
}

TEST_CASE("looking at a circuit changes nothing", "[circuit_breaker][H-CB-08]") {
    circuit_world w;
    const auto breaker = w.make_ready(
        {.name = "seen", .success_threshold = 1, .recovery_timeout = 5s, .half_open_max_calls = 1});

    for (int i = 0; i < 1000; ++i) {
        CHECK(breaker.state() == circuit_state::open);
        CHECK(breaker.stats().state == circuit_state::open);
        (void)w.reg.health();
        (void)w.reg.summary();
        (void)w.reg.policies();
    }

    CHECK(breaker.try_acquire());
}

TEST_CASE("success_threshold successes close the circuit and clear the window", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make_ready(
        {.failure_threshold = 3, .success_threshold = 2, .recovery_timeout = 5s, .failure_window = 1h});

    succeed(breaker);
    CHECK(breaker.state() == circuit_state::half_open);
    succeed(breaker);
    CHECK(breaker.state() == circuit_state::closed);

    fail(breaker, 2);
    CHECK(breaker.state() == circuit_state::closed);
    fail(breaker);
    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("one failure in half_open opens again and restarts the timer", "[circuit_breaker][H-CB-11]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 3, .recovery_timeout = 5s});
    succeed(breaker, 2);
    w.clock.advance(1s);

    fail(breaker);
    CHECK(breaker.state() == circuit_state::open);

    w.clock.advance(5s - 1ns);
    CHECK_FALSE(breaker.try_acquire());
    w.clock.advance(1ns);
    CHECK(breaker.try_acquire());
}

TEST_CASE("successes of an earlier half_open do not count in the next", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 2, .recovery_timeout = 5s});
    succeed(breaker);
    fail(breaker);
    w.clock.advance(5s);

    succeed(breaker);

    CHECK(breaker.state() == circuit_state::half_open);
}

TEST_CASE("a recovery_timeout of 0 makes the call after the trip a probe", "[circuit_breaker][H-CB-22]") {
    circuit_world w;
    const auto breaker = w.make_open({.recovery_timeout = 0s});

    CHECK(fail(breaker, 1000) == 1000);
    CHECK(breaker.state() == circuit_state::open);
    CHECK(succeed(breaker, 2) == 2);
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("an endless recovery_timeout never ends", "[circuit_breaker][H-CB-23]") {
    circuit_world w;
    const auto breaker = w.make_open({.recovery_timeout = rs::duration::max()});

    w.clock.advance(24h * 365 * 200);

    CHECK_FALSE(breaker.try_acquire());
}

TEST_CASE("a clock that goes backwards opens and closes nothing", "[circuit_breaker][H-WIN-06]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 2, .recovery_timeout = 5s, .failure_window = 10s});
    fail(breaker);
    w.clock.set_back(1h);
    CHECK(breaker.state() == circuit_state::closed);
    fail(breaker);
    REQUIRE(breaker.state() == circuit_state::open);

    w.clock.set_back(1h);
    CHECK_FALSE(breaker.try_acquire());
    w.clock.advance(1h + 5s);
    CHECK(breaker.try_acquire());
}

TEST_CASE("the wall clock decides nothing", "[circuit_breaker][H-CPP-17]") {
    circuit_world w;
    const auto breaker = w.make_open({.recovery_timeout = 5s});

    w.clock.set_wall(w.clock.wall_now() + 24h);
    CHECK_FALSE(breaker.try_acquire());
    w.clock.set_wall(w.clock.wall_now() - 48h);
    w.clock.advance(5s);
    CHECK(breaker.try_acquire());
}

TEST_CASE("a closed circuit that is asked for nothing but failures reads no clock for a success",
          "[circuit_breaker][H-WIN-11]") {
    circuit_world w;
    const auto breaker = w.make();
    const auto before = w.clock.now_reads();

    succeed(breaker, 100);

    CHECK(w.clock.now_reads() == before);
}

TEST_CASE("an open circuit rejects by the coarse clock while it is more than a tick from reopening",
          "[circuit_breaker]") {
    rs::testing::virtual_clock clock;
    clock.set_coarse_resolution(4ms);
    rs::registry reg{clock};
    const rs::circuit_breaker breaker{{.failure_threshold = 1, .recovery_timeout = 1s}, reg};
    fail(breaker);
    const auto exact_reads = [&] { return clock.now_reads() - clock.coarse_reads(); };

    const auto before = exact_reads();
    CHECK(succeed(breaker) == 0);
    clock.advance(900ms);
    CHECK(succeed(breaker) == 0);
    CHECK(exact_reads() == before);

    clock.advance(100ms - 1ns);
    CHECK(succeed(breaker) == 0);
    clock.advance(1ns);
    CHECK(succeed(breaker) == 1);
}

TEST_CASE("the moment of the first probe is exact, whatever the phase of the coarse clock",
          "[circuit_breaker]") {
    const auto phase = GENERATE(0ns, 1ns, 1ms, 3999999ns);
    rs::testing::virtual_clock clock;
    clock.set_coarse_resolution(4ms, phase);
    rs::registry reg{clock};
    const rs::circuit_breaker breaker{{.failure_threshold = 1, .recovery_timeout = 50ms}, reg};
    fail(breaker);

    for (rs::duration passed{0}; passed < 50ms; passed += 500us) {
        CHECK(succeed(breaker) == 0);
        clock.advance(500us);
    }
    CHECK(succeed(breaker) == 1);
}

TEST_CASE("recovery_backoff grows recovery_timeout until the circuit recovers",
          "[circuit_breaker][H-CB-24]") {
    circuit_world w;
    const auto breaker =
        w.make_open({.success_threshold = 1,
                     .recovery_timeout = 5s,
                     .recovery_backoff = rs::recovery_backoff{.multiplier = 3.0, .cap = 20s}});

    for (const rs::duration lasts : {5s, 15s, 20s, 20s}) {
        w.clock.advance(lasts - 1ns);
        CHECK_FALSE(breaker.try_acquire());
        w.clock.advance(1ns);
        CHECK(fail(breaker) == 1);
    }
    w.clock.advance(20s);
    succeed(breaker);
    REQUIRE(breaker.state() == circuit_state::closed);

    fail(breaker);
    CHECK(breaker.stats().retry_after == 5s);
}

TEST_CASE("the jitter of recovery_backoff comes from the registry", "[circuit_breaker]") {
    rs::testing::virtual_clock clock;
    rs::testing::fixed_random random{0.5};
    rs::registry reg{clock, random};
    const rs::circuit_breaker breaker{
        {.failure_threshold = 1,
         .recovery_timeout = 8s,
         .recovery_backoff = rs::recovery_backoff{.multiplier = 2.0, .cap = 1h, .jitter = rs::jitter::full}},
        reg};

    fail(breaker);

    CHECK(breaker.stats().retry_after == 4s);
}

TEST_CASE("copies of a handle are the same circuit, unnamed ones of their own are not",
          "[circuit_breaker][H-CPP-20]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 2});
    const auto copy = breaker; // NOLINT(performance-unnecessary-copy-initialization): what is tested
    const auto other = w.make({.failure_threshold = 2});

    fail(breaker);
    fail(copy);

    CHECK(breaker.state() == circuit_state::open);
    CHECK(copy.state() == circuit_state::open);
    CHECK(other.state() == circuit_state::closed);
    auto third = other;
    third = breaker;
    CHECK(third.state() == circuit_state::open);
}

TEST_CASE("a callable may call the circuit that it runs under", "[circuit_breaker][H-CB-29]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1});

    const int value = breaker([&] {
        fail(breaker);
        CHECK(breaker.state() == circuit_state::open);
        CHECK(breaker.stats().failures == 1);
        CHECK_FALSE(breaker.try_acquire());
        breaker.reset();
        return breaker([] { return 7; });
    });

    CHECK(value == 7);
}

TEST_CASE("two threads are inside the callable at once, in every state that admits",
          "[circuit_breaker][H-CB-29]") {
    const auto state = GENERATE(circuit_state::closed, circuit_state::half_open, circuit_state::disabled);
    circuit_world w;
    const auto breaker = w.make_ready({.success_threshold = 2, .recovery_timeout = 5s});
    if (state == circuit_state::closed) breaker.reset();
    if (state == circuit_state::disabled) breaker.disable();
    std::mutex mutex;
    std::condition_variable both_are_here;
    int here = 0;
    const auto meet = [&] {
        std::unique_lock lock(mutex);
        ++here;
        both_are_here.notify_all();
        both_are_here.wait(lock, [&] { return here == 2; });
    };

    std::thread other([&] { breaker(meet); });
    breaker(meet);
    other.join();

    CHECK(here == 2);
    CHECK(breaker.stats().successes == 2);
}

} // namespace
