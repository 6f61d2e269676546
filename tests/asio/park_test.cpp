// SPDX-License-Identifier: Apache-2.0
// Calls of coroutines that a policy parks.
#include <resilience/resilience.hpp>

#include "asio/net.hpp"
#include "support/catch.hpp"
#include "support/turnstile.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using support::net_world;
using support::started;
using support::turnstile;

TEST_CASE("coroutines are parked, woken, time out and are cancelled on one thread", "[asio][park]") {
    net_world w;
    const turnstile gate(1, 10s);
    const auto guard = rs::retry(support::at_once(1), w.reg) | gate | rs::timeout(1h, w.reg);
    int ran = 0;
    const auto f = [&]() -> net::awaitable<int> { co_return ++ran; };
    const auto call = [&]() -> net::awaitable<bool> {
        const auto out = co_await guard.try_call(f);
        co_return out.has_value();
    };
    REQUIRE(gate.take());

    const started first(w, call()), second(w, call()), cancelled(w, call()), late(w, call());
    CHECK(gate.asked() == 4);
    cancelled.cancel();
    w.advance(5s);
    CHECK(cancelled.done());
    CHECK_FALSE(first.done());
    gate.give().now();
    w.run();
    CHECK(first.result());
    CHECK(second.result()); // the first hands it on, and so on
    CHECK(late.result());
    CHECK(ran == 3);
    CHECK(gate.free() == 1);

    REQUIRE(gate.take());
    const started times_out(w, call());
    w.advance(10s - 1ns);
    CHECK_FALSE(times_out.done());
    w.advance(1ns);
    CHECK_FALSE(times_out.result());
    CHECK_FALSE(gate.has_waiters());
}

TEST_CASE("a parked coroutine that its context destroys leaves the queue", "[asio][park]") {
    const turnstile gate(1, 10s);
    REQUIRE(gate.take());
    std::optional<net_world> w(std::in_place);
    const auto guard = rs::retry(support::at_once(1), w->reg) | gate;
    {
        const auto call = [&]() -> net::awaitable<int> {
            co_return co_await guard([]() -> net::awaitable<int> { co_return 1; });
        };
        const started waits(*w, call());
        CHECK(gate.has_waiters());
        w.reset();
    }

    CHECK_FALSE(gate.has_waiters());
    gate.give().now();
    CHECK(gate.free() == 1);
}
