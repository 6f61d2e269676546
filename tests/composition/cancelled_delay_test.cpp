// SPDX-License-Identifier: Apache-2.0
// A stop request ends a delay. The call keeps its last outcome, but it is the caller who has ended it.
#include <resilience/resilience.hpp>

#include "support/catch.hpp"
#include "support/lazy.hpp"
#include "support/world.hpp"

#include <chrono>
#include <stdexcept>
#include <stop_token>

namespace rs = resilience;
using namespace std::chrono_literals;
using support::lazy;
using support::plain;
using support::world;

namespace {

int always_fails() { throw std::runtime_error("no"); }
lazy<int> always_fails_later() {
    throw std::runtime_error("no");
    co_return 0;
}

} // namespace

TEST_CASE("a delay that the caller ends is neither answered for nor a circuit's failure",
          "[composition][retry][fallback][circuit_breaker][H-FB-01][H-CB-32]") {
    world w;
    const rs::circuit_breaker outside({.failure_threshold = 1}, w.reg);
    const rs::retry retry(plain(5), w.reg);
    const auto masks = rs::fallback(77);
    const auto guard = masks | outside | retry;
    std::stop_source stop;
    const auto check = [&](rs::outcome<int> out) {
        REQUIRE_FALSE(out);
        CHECK(out.error().message() == "no");
        CHECK(retry.stats().failed_attempts == 1);
        CHECK(outside.stats().ignored == 1);
        CHECK(outside.state() == rs::circuit_state::closed);
        CHECK(masks.stats().used + masks.stats().failed == 0);
    };
    SECTION("of a blocking call, by a stop token") {
        const auto timer = w.clock.call_at(w.clock.now() + 300ms, [&] { stop.request_stop(); });
        const bool at_run_time = GENERATE(false, true);
        const auto options = rs::call_options{.stop_token = stop.get_token()};
        check(at_run_time
                  ? (rs::fallback(77) | rs::any_pipeline{outside, retry}).with(options).try_call(always_fails)
                  : guard.with(options).try_call(always_fails));
    }
    SECTION("of a blocking call, in the attempt before it") {
        check(guard.with({.stop_token = stop.get_token()}).try_call([&]() -> int {
            stop.request_stop();
            return always_fails();
        }));
    }
    SECTION("of a task, by a stop token or by cancelling the coroutine around the call") {
        const bool by_token = GENERATE(false, true);
        std::stop_source cancel;
        auto task = guard.with({.stop_token = stop.get_token()}).try_call(always_fails_later);
        task.stop_by(cancel.get_token());
        task.start();
        w.clock.advance(300ms);
        CHECK_FALSE(task.done());
        (by_token ? stop : cancel).request_stop();
        REQUIRE(task.done());
        check(task.result());
    }
}

TEST_CASE("what a retry would not have repeated in any case is answered for, stopped or not",
          "[composition][retry][fallback][circuit_breaker]") {
    world w;
    const rs::circuit_breaker outside({.failure_threshold = 1}, w.reg);
    std::stop_source stop;
    const auto f = [&](bool stops) -> int {
        if (stops) stop.request_stop();
        else w.clock.advance(3s);
        throw std::runtime_error("no");
    };
    SECTION("its last attempt") {
        const auto guard = rs::fallback(77) | outside | rs::retry(plain(1), w.reg);
        CHECK(guard.with({.stop_token = stop.get_token()})(f, true) == 77);
    }
    SECTION("one that its deadline ends") {
        const auto guard = rs::fallback(77) | outside | rs::retry(plain(5), w.reg);
        CHECK(guard.with({.deadline = w.clock.now() + 2s})(f, false) == 77);
    }
    CHECK(outside.stats().failures == 1);
}
