// SPDX-License-Identifier: Apache-2.0
// Who asked for the end of an awaitable, and what becomes of it.
#include <resilience/resilience.hpp>

#include "asio/net.hpp"
#include "support/catch.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>

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

TEST_CASE("a nested awaitable that the deadline of the one around it ends has timed out",
          "[asio][timeout][H-TO-12]") {
    net_world w;
    const rs::circuit_breaker inner({.failure_threshold = 1}, w.reg);
    const rs::timeout limit({.limit = 2s}, w.reg);
    const auto hangs = [&](rs::call_context& ctx) -> net::awaitable<int> {
        auto call = inner.with(ctx)(cleans_up, w, 0s);
        co_return co_await std::move(call);
    };
    const started call(w, limit.try_call(hangs));
    w.advance(2s);

    REQUIRE(call.done());
    CHECK(call.result().error().code() == rs::errc::timed_out);
    CHECK(inner.stats().failures == 1);
    CHECK(inner.stats().ignored == 0);
}

TEST_CASE("what ends an awaitable's attempt requests its stop token", "[asio][timeout]") {
    auto w = std::make_unique<net_world>();
    std::stop_token seen;
    const auto bridge = [&](rs::call_context& ctx) -> net::awaitable<int> {
        seen = ctx.stop_token();
        net::steady_timer never(co_await net::this_coro::executor, net::steady_timer::time_point::max());
        co_await never.async_wait(net::use_awaitable);
        co_return 1;
    };
    const bool with_timeout = GENERATE(false, true);
    std::stop_source stop;
    const auto call_it = [&] {
        return with_timeout
                   ? rs::timeout(2s, w->reg).try_call(bridge)
                   : rs::retry(plain(), w->reg).with({.stop_token = stop.get_token()}).try_call(bridge);
    };
    SECTION("a cancellation of its coroutine") {
        const started call(*w, call_it());
        CHECK_FALSE(seen.stop_requested());
        call.cancel();
        w->run(); // newer releases deliver a cancellation from there
        CHECK(seen.stop_requested());
        CHECK(call.result().error().is_cancellation());
    }
    SECTION("the end of its context") {
        net::co_spawn(w->io, call_it(), net::detached);
        w->run();
        CHECK_FALSE(seen.stop_requested());
        w.reset();
        CHECK(seen.stop_requested());
    }
}

TEST_CASE("a limit that strikes by a timer of the library requests the stop token as well",
          "[asio][timeout]") {
    /// The moment does not come by its timers, but reads as the steady clock.
    class no_timers : public rs::time_source {
    public:
        rs::time_point now() const noexcept override {
            return rs::time_point(std::chrono::steady_clock::now().time_since_epoch());
        }
        std::chrono::system_clock::time_point wall_now() const noexcept override { return {}; }
        bool is_steady_clock() const noexcept override { return true; }
        bool sleep_until(rs::time_point, std::stop_token) override { return false; }
        rs::timer call_at(rs::time_point, std::function<void()>) override { return {}; }
    };
    no_timers time;
    rs::registry reg(time);
    std::stop_token seen;
    const auto bridge = [&](rs::call_context& ctx) -> net::awaitable<int> {
        seen = ctx.stop_token();
        net::steady_timer never(co_await net::this_coro::executor, net::steady_timer::time_point::max());
        co_await never.async_wait(net::use_awaitable);
        co_return 1;
    };
    net::io_context io;
    net::co_spawn(io, rs::timeout(1ms, reg).try_call(bridge), net::detached);
    io.run();
    CHECK(seen.stop_requested());
}

TEST_CASE("an awaitable undoes something, with delays and retries, although it was asked to end",
          "[asio][timeout]") {
    for (const auto who : {"the limit", "the stop token", "the coroutine's owner"}) {
        net_world w;
        const auto client = rs::retry(plain(3), w.reg) | rs::timeout(10s, w.reg);
        std::stop_source stop;
        int attempts = 0;
        const auto undo = [&]() -> net::awaitable<int> {
            co_await pause(w, 1s);
            if (++attempts < 3) throw std::runtime_error("busy");
            co_return 1;
        };
        const auto work = [&](rs::call_context& ctx) -> net::awaitable<int> {
            bool asked = false;
            try {
                co_await pause(w, 1h);
            } catch (const net_system_error&) {
                asked = true;
            }
            if (!asked) co_return 1;
            co_await net::this_coro::reset_cancellation_state(net::disable_cancellation());
            auto rollback = client.with(ctx).with({.inherit = rs::inherit::nothing})(undo);
            co_return co_await std::move(rollback);
        };

        const started call(w, rs::timeout(2s, w.reg).with({.stop_token = stop.get_token()}).try_call(work));
        if (who == std::string("the limit")) w.advance(2s);
        else if (who == std::string("the stop token")) stop.request_stop();
        else call.cancel();
        w.advance(1h);

        INFO(who);
        CHECK(call.done());
        CHECK(attempts == 3);
    }
}
