// SPDX-License-Identifier: Apache-2.0
// What the order of policies means: attempts, counts, delays, deadlines.
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/failing.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::circuit_state;
using rs::testing::after;
using rs::testing::scripted;
using rs::testing::throws;
using support::always_failing;
using support::heard;
using support::plain;
using support::world;

using delays = std::vector<rs::duration>;

TEST_CASE("a circuit breaker inside of a retry counts attempts", "[composition][H-CB-35]") {
    world w;
    const rs::circuit_breaker breaker{{.failure_threshold = 10}, w.reg};
    const auto guard = rs::retry(plain(3), w.reg) | breaker;

    (void)guard.try_call(always_failing());
    CHECK(guard(scripted<int>{throws(std::runtime_error("x")), 1}) == 1);

    CHECK(breaker.stats().failures == 4);
    CHECK(breaker.stats().successes == 1);
}

TEST_CASE("a circuit breaker outside of a retry counts calls", "[composition][H-CB-35]") {
    world w;
    const rs::circuit_breaker breaker{{.failure_threshold = 10}, w.reg};
    const auto guard = breaker | rs::retry(plain(3), w.reg);

    (void)guard.try_call(always_failing());
    CHECK(guard(scripted<int>{throws(std::runtime_error("x")), 1}) == 1);

    CHECK(breaker.stats().failures == 1);
    CHECK(breaker.stats().successes == 1);
}

TEST_CASE("a trip that nothing can pass ends the retried call at once, with the real failure",
          "[composition][H-RT-13]") {
    world w;
    const rs::circuit_breaker breaker{{.failure_threshold = 2, .recovery_timeout = 30s}, w.reg};
    const auto guard = rs::retry(plain(5), w.reg) | breaker;
    const heard h{w.reg};
    const auto f = always_failing();

    CHECK_THROWS_WITH(guard(f), "down");

    CHECK(f.calls() == 2);
    CHECK(w.clock.slept() == delays{1s}); // no sleep into a rejection
    CHECK(breaker.state() == circuit_state::open);
    CHECK(breaker.stats().rejected == 0);
    CHECK(h.of(rs::event_kind::attempt_failed).back().reason == "circuit is open until later");
}

TEST_CASE("an attempt that was in flight when the circuit tripped ends its retried call at once, too",
          "[composition][H-RT-13][H-CB-16]") {
    world w;
    const rs::circuit_breaker breaker{{.failure_threshold = 1, .recovery_timeout = 30s}, w.reg};
    const auto guard = rs::retry(plain(5), w.reg) | breaker;
    unsigned calls = 0;

    const auto result = guard.try_call([&]() -> int {
        ++calls;
        breaker.open_for(10s);
        throw std::runtime_error("mine");
    });

    CHECK(result.error().message() == "mine");
    CHECK(calls == 1);
    CHECK(w.clock.slept().empty());
    CHECK(breaker.stats().rejected == 0);
    CHECK(breaker.stats().late_results == 1);
    CHECK_FALSE(breaker.stats().last_error);
}

TEST_CASE("a retry goes on after a trip when its next attempt would be a probe, one tick decides",
          "[composition][H-RT-13]") {
    for (const auto& [recovery, calls] :
         {std::pair{rs::duration{1s}, 2U}, std::pair{rs::duration{1s + 1ns}, 1U}}) {
        world w;
        const rs::circuit_breaker breaker{
            {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = recovery}, w.reg};
        const auto guard = rs::retry(plain(2), w.reg) | breaker;
        const scripted<int> f{throws(std::runtime_error("down")), 1};

        const auto result = guard.try_call(f);

        CHECK(f.calls() == calls);
        CHECK(result.has_value() == (calls == 2));
        CHECK(breaker.state() == (calls == 2 ? circuit_state::closed : circuit_state::open));
        CHECK(w.clock.slept() == delays(calls - 1, 1s));
    }
}

TEST_CASE("a rejection is not retried by default", "[composition][H-RT-13]") {
    world w;
    const rs::circuit_breaker breaker{{}, w.reg};
    const rs::retry retry{plain(5), w.reg};
    breaker.force_open();
    const scripted<int> f{1};

    CHECK_THROWS_AS((retry | breaker)(f), rs::circuit_open_error);

    CHECK(f.calls() == 0);
    CHECK(breaker.stats().rejected == 1);
    CHECK(w.clock.slept().empty());
    CHECK(retry.stats().failed_attempts == 0);
    CHECK(retry.stats().failed_without_retry == 1);
}

TEST_CASE("a rejection that ends a retried call carries the last real failure", "[composition][H-RT-13]") {
    world w;
    const rs::circuit_breaker breaker{{}, w.reg};
    const auto guard = rs::retry(plain(3), w.reg) | breaker;
    const auto open = w.clock.call_at(w.clock.now() + 500ms, [&] { breaker.force_open(); });

    const auto result = guard.try_call(always_failing());

    CHECK(result.error().code() == rs::errc::circuit_open);
    REQUIRE(result.error().cause() != nullptr);
    CHECK(result.error().cause()->message() == "down");
    CHECK(result.error().cause()->as<std::runtime_error>() != nullptr);
}

TEST_CASE("the last real failure is carried past several rejections, a time-out is one",
          "[composition][H-RT-13]") {
    world w;
    const rs::circuit_breaker breaker{{}, w.reg};
    auto c = support::at_once(4);
    c.retry_if = [](const rs::failure&) { return true; };
    const auto guard = rs::retry(c, w.reg) | breaker | rs::timeout(1s, w.reg);

    const auto result = guard.try_call([&] {
        breaker.force_open();
        w.clock.advance(2s);
    });

    CHECK(result.error().code() == rs::errc::circuit_open);
    CHECK(breaker.stats().rejected == 3);
    REQUIRE(result.error().cause() != nullptr);
    CHECK(result.error().cause()->code() == rs::errc::timed_out);
}

TEST_CASE("a rejection of a call's first attempt has no cause", "[composition]") {
    world w;
    const rs::circuit_breaker breaker{{}, w.reg};
    breaker.force_open();

    CHECK((rs::retry(plain(3), w.reg) | breaker).try_call([] {}).error().cause() == nullptr);
}

TEST_CASE("what a timeout inside of a breaker reports is a failure to it, what one outside does is not",
          "[composition]") {
    world w;
    const rs::circuit_breaker inside{{}, w.reg};
    const rs::circuit_breaker outside{{}, w.reg};
    const auto slow = [&] { w.clock.advance(2s); };

    (void)(outside | rs::timeout(1s, w.reg) | inside).try_call(slow);

    CHECK(outside.stats().failures == 1);
    CHECK(inside.stats().successes == 1);
}

TEST_CASE("a timeout inside of a retry limits each attempt, one outside limits all of them",
          "[composition]") {
    world w;
    const auto attempt = [&] {
        return scripted<int>{w.clock, {after(1500ms, throws(std::runtime_error("1"))), after(1500ms, 2)}};
    };

    CHECK((rs::retry(plain(3), w.reg) | rs::timeout(2s, w.reg))(attempt()) == 2);
    const auto outside = (rs::timeout(3s, w.reg) | rs::retry(plain(3), w.reg)).try_call(attempt());
    CHECK(outside.error().code() == rs::errc::timed_out); // 1.5s + 1s + 1.5s
    CHECK(outside.error().cause() == nullptr);
}

TEST_CASE("a retry under a timeout does not sleep past it", "[composition][H-RT-11]") {
    for (const auto& [limit, sleeps] :
         {std::pair{rs::duration{3s + 1ns}, 2U}, std::pair{rs::duration{3s}, 1U}}) {
        world w;

        (void)(rs::timeout(limit, w.reg) | rs::retry(plain(9), w.reg)).try_call(always_failing());

        CHECK(w.clock.slept().size() == sleeps);
    }
}

TEST_CASE("two breakers each count what they see", "[composition]") {
    world w;
    const rs::circuit_breaker host{{.failure_threshold = 2}, w.reg};
    const rs::circuit_breaker endpoint{{.failure_threshold = 1}, w.reg};
    const auto guard = host | endpoint;

    for (int i = 0; i < 5; ++i) (void)guard.try_call([] { throw 42; });

    CHECK(endpoint.stats().failures == 1);
    CHECK(endpoint.stats().rejected == 4);
    CHECK(host.stats().failures == 1); // a rejection is no failure
    CHECK(host.stats().ignored == 4);
    CHECK(host.state() == circuit_state::closed);
}

TEST_CASE("breaker around a refusing policy: the probe gives its place back", "[composition][H-CB-12]") {
    world w;
    const rs::circuit_breaker outer{{.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 1s},
                                    w.reg};
    const rs::circuit_breaker inner{{}, w.reg};
    const auto guard = outer | inner;
    (void)outer.try_call([] { throw 42; });
    w.clock.advance(1s);
    inner.force_open();

    for (int i = 0; i < 10; ++i) CHECK(guard.try_call([] {}).error().code() == rs::errc::circuit_open);
    CHECK(outer.state() == circuit_state::half_open);
    inner.reset();
    guard([] {});

    CHECK(outer.state() == circuit_state::closed);
}

TEST_CASE("pipelines nested on one thread inherit deadline, stop token and retry depth",
          "[composition][H-RT-14]") {
    world w;
    const auto outer = rs::retry(plain(1), w.reg) | rs::timeout(5s, w.reg);
    const auto inner = rs::retry(plain(1), w.reg) | rs::circuit_breaker({}, w.reg);
    std::stop_source stop;
    const auto began = w.clock.now();

    outer.with({.stop_token = stop.get_token()})([&] {
        inner([&](rs::call_context& ctx) {
            CHECK(ctx.deadline() == began + 5s);
            CHECK(ctx.retry_depth() == 2);
            CHECK(ctx.operation().empty());
            const auto token = ctx.stop_token();
            CHECK_FALSE(token.stop_requested());
            stop.request_stop();
            CHECK(token.stop_requested());
        });
    });
}

TEST_CASE("a predicate may let go of the circuit that asks it", "[composition]") {
    world w;
    std::optional<rs::circuit_breaker> breaker;
    breaker.emplace(rs::circuit_breaker_config{.failure_threshold = 1,
                                               .record_if = rs::predicate([&](const rs::failure&) {
                                                   breaker.reset();
                                                   return true;
                                               })});
    CHECK_THROWS_AS((*breaker)([]() -> int { throw std::runtime_error("x"); }), std::runtime_error);
    CHECK_FALSE(breaker);
}

TEST_CASE("an exception passes any number of policies unchanged", "[composition]") {
    struct special : std::runtime_error {
        using runtime_error::runtime_error;
        int number = 42;
    };
    world w;
    const auto guard = rs::fallback_if(rs::on<std::logic_error>(), 7) |
                       rs::retry(support::at_once(2), w.reg) | rs::circuit_breaker({}, w.reg) |
                       rs::timeout(1s, w.reg);
    const void* thrown = nullptr;

    try {
        guard([&]() -> int {
            try {
                throw special("x");
            } catch (const special& e) {
                thrown = &e;
                throw;
            }
        });
        FAIL("did not throw");
    } catch (const special& e) {
        CHECK(&e == thrown); // neither copied nor sliced
        CHECK(e.number == 42);
    }
}

TEST_CASE("a retry carries a call over a trip when its delays outlast recovery_timeout", "[composition]") {
    world w;
    const rs::circuit_breaker breaker{
        {.failure_threshold = 3, .success_threshold = 1, .recovery_timeout = 4s}, w.reg};
    const auto guard = rs::retry(plain(5), w.reg) | breaker | rs::timeout(1s, w.reg);
    const scripted<int> f{throws(1), throws(2), throws(3), 4};

    CHECK(guard(f) == 4); // at 0s, 1s, 3s, and as the first probe at 7s

    CHECK(w.clock.slept() == delays{1s, 2s, 4s});
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().trips == 1);
    CHECK(breaker.stats().rejected == 0);
}

} // namespace
