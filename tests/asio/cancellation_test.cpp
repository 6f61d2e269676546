// SPDX-License-Identifier: Apache-2.0
// Who asked for the end of an awaitable, and what becomes of it.
#include <resilience/resilience.hpp>

#include "asio/net.hpp"
#include "support/catch.hpp"

#include <chrono>
#include <stop_token>

namespace rs = resilience;
using namespace std::chrono_literals;
using support::net_world;
using support::pause;
using support::plain;
using support::started;

namespace {

/// Hangs; asked to end, it cleans up for as long as that first.
net::awaitable<int> cleans_up(net_world& w, rs::duration length) {
    bool asked = false;
    try {
        co_await pause(w, 1h);
    } catch (const net_system_error&) {
        asked = true;
    }
    if (!asked) co_return 1;
    co_await net::this_coro::reset_cancellation_state(net::disable_cancellation());
    co_await pause(w, length);
    throw net_system_error(net_error_code(net::error::operation_aborted));
}

} // namespace

TEST_CASE("of a caller who cancels and a limit that passes during an awaitable's cleanup the first counts",
          "[asio][timeout][H-TO-03][H-CB-32]") {
    net_world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::timeout limit({.limit = 2s}, w.reg);
    const auto guard = rs::fallback(77) | breaker | limit;

    SECTION("the caller, by cancelling the coroutine around the call or by a stop token") {
        const bool by_token = GENERATE(false, true);
        std::stop_source stop;
        const started call(w, guard.with({.stop_token = stop.get_token()}).try_call(cleans_up, w, 3s));
        w.advance(1s);
        if (by_token) stop.request_stop();
        else call.cancel();
        w.advance(3s);

        REQUIRE(call.done());
        const auto out = call.result();
        REQUIRE_FALSE(out);
        CHECK(out.error().is_cancellation());
        CHECK(limit.stats().timed_out == 0);
        CHECK(breaker.stats().ignored == 1);
        CHECK(breaker.state() == rs::circuit_state::closed);
    }
    SECTION("the caller, before the attempt began") {
        const auto goes_on = [&]() -> net::awaitable<rs::outcome<int>> {
            co_await net::this_coro::throw_if_cancelled(false);
            auto sleep = rs::task_traits<net::awaitable<void>>::sleep_until(w.clock, w.clock.now() + 1h, {});
            co_await std::move(sleep);
            auto call = guard.try_call(cleans_up, w, 3s);
            co_return co_await std::move(call);
        };
        const started call(w, goes_on());
        call.cancel();
        w.advance(3s);

        REQUIRE(call.done());
        CHECK(call.result().error().is_cancellation());
    }
    SECTION("the limit") {
        const started call(w, guard.try_call(cleans_up, w, 3s));
        w.advance(3s);
        call.cancel();
        w.advance(3s);

        REQUIRE(call.done());
        CHECK(call.result().value() == 77);
        CHECK(limit.stats().timed_out == 1);
        CHECK(breaker.stats().failures == 1);
    }
}
