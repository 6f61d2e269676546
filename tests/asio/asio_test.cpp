// SPDX-License-Identifier: Apache-2.0
#include <resilience/resilience.hpp>
#include <resilience/testing/recorder.hpp>

#include "asio/net.hpp"
#include "support/catch.hpp"

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using support::at_once;
using support::io_executor;
using support::io_task;
using support::net_world;
using support::pause;
using support::plain;
using support::started;

namespace {

net::awaitable<int> fails() {
    throw std::runtime_error("no");
    co_return 0;
}
net::awaitable<int> answers() { co_return 42; }

} // namespace

TEST_CASE("a callable that returns an awaitable makes the call one", "[asio]") {
    net_world w;
    const auto guard = rs::retry(plain(), w.reg) | rs::circuit_breaker({}, w.reg) | rs::timeout(1s, w.reg);
    const auto of_the_context = []() -> io_task<int> { co_return 7; };
    STATIC_REQUIRE(std::is_same_v<decltype(guard(answers)), net::awaitable<int>>);
    STATIC_REQUIRE(std::is_same_v<decltype(guard.call(of_the_context)), io_task<int>>);
    STATIC_REQUIRE(std::is_same_v<decltype(guard.named("op")(of_the_context)), io_task<int>>);
    STATIC_REQUIRE(std::is_same_v<decltype(guard.wrap(answers)()), net::awaitable<int>>);
    STATIC_REQUIRE(std::is_same_v<decltype(guard.try_call(of_the_context)), io_task<rs::outcome<int>>>);

    CHECK(started(w, guard(answers)).result() == 42);
    CHECK(started(w, guard(of_the_context)).result() == 7);
    const started tried(w, guard.try_call(fails));
    w.advance(1h);
    CHECK(tried.result().error().message() == "no");
    CHECK(guard.get<1>().stats().calls == 5);
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("a day of delays passes in no time on an io_context", "[asio]") {
    net_world w;
    auto config = plain(1441);
    config.base_delay = config.max_delay = 1min;
    int attempts = 0;
    std::vector<rs::time_point> starts;
    const auto fails_until_midnight = [&]() -> net::awaitable<int> {
        starts.push_back(w.clock.now());
        if (++attempts <= 1440) throw std::runtime_error("not yet");
        co_return attempts;
    };

    const started call(w, rs::retry(config, w.reg)(fails_until_midnight));
    w.advance(24h - 1ns);
    CHECK_FALSE(call.done());
    w.advance(1ns);

    CHECK(call.result() == 1441);
    CHECK(starts.back() - starts.front() == 24h);
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("retries without a delay need no stack on an io_context either", "[asio]") {
    net_world w;
    int attempts = 0;
    const auto f = [&]() -> net::awaitable<int> {
        if (++attempts < 15'000) throw 1;
        co_return attempts;
    };

    CHECK(started(w, rs::retry(at_once(15'000), w.reg)(f)).result() == 15'000);
}

TEST_CASE("an awaitable that outlasts its limit is cancelled, awaited, and has timed out",
          "[asio][timeout]") {
    net_world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::timeout limit({.name = "limit", .limit = 2s}, w.reg);
    bool ended = false;
    const auto hangs = [&](rs::call_context& ctx) -> net::awaitable<int> {
        CHECK(ctx.remaining() == 2s);
        try {
            co_await pause(w, 1h);
        } catch (...) {
            ended = true;
            throw;
        }
        co_return 1;
    };

    const started call(w, (breaker | limit)(hangs));
    w.advance(2s - 1ns);
    CHECK_FALSE(call.done());
    w.advance(1ns);

    REQUIRE(call.done());
    CHECK(ended);
    CHECK_THROWS_AS(call.result(), rs::timeout_error);
    CHECK(limit.stats().timed_out == 1);
    CHECK(breaker.state() == rs::circuit_state::open);
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("an awaitable that wins its race is in time, and no timer is left", "[asio][timeout][H-TO-03]") {
    net_world w;
    const rs::timeout limit({.limit = 2s}, w.reg);
    const auto just_in_time = [&]() -> io_task<std::string> {
        co_await pause<io_executor>(w, 2s - 1ns);
        co_return "a value that no small buffer holds, to be moved out of the race";
    };
    const started call(w, limit(just_in_time));
    w.clock.advance(2s); // both are due when the context runs again; the task's timer was first
    w.run();
    CHECK(call.result().size() == 63);
    // The limit's time comes while the task runs, but it ends before anything can ask it to.
    const auto never_suspended = [&]() -> io_task<int> {
        w.clock.advance(3s);
        co_return 1;
    };
    CHECK(started(w, limit(never_suspended)).result() == 1);
    CHECK(limit.stats().in_time == 2);
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("a limited awaitable gives any kind of result", "[asio][H-CPP-07][H-CPP-08]") {
    struct plain_number {
        explicit plain_number(int n) : number(n) {} // no default constructor, which co_spawn would want
        int number;
    };
    net_world w;
    const auto guard = rs::retry(at_once(), w.reg) | rs::circuit_breaker({}, w.reg) | rs::timeout(1s, w.reg);
    int calls = 0;
    const auto nothing = [&]() -> net::awaitable<void> {
        co_await pause(w, 10ms);
        if (++calls < 2) throw 1;
    };
    const auto moved = [&]() -> net::awaitable<std::unique_ptr<int>> {
        co_await pause(w, 10ms);
        co_return std::make_unique<int>(3);
    };
    const auto number = [&]() -> net::awaitable<plain_number> {
        co_await pause(w, 10ms);
        co_return plain_number(4);
    };
    const auto all = [&]() -> net::awaitable<int> {
        co_await guard(nothing);
        auto pointer = co_await guard(moved);
        const auto four = co_await guard(number);
        co_return *pointer + four.number;
    };
    const started call(w, all());
    w.advance(1s);
    CHECK(call.result() == 7);
    CHECK(calls == 2);
}

TEST_CASE("a stop token ends an awaitable's attempts and delays", "[asio]") {
    net_world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::retry retry(plain(10), w.reg);
    std::stop_source stop;
    SECTION("in the attempt: cancelled, which is no failure") {
        const auto hangs = [&]() -> net::awaitable<int> {
            co_await pause(w, 1h);
            co_return 1;
        };
        const started call(w, (retry | breaker).with({.stop_token = stop.get_token()}).try_call(hangs));
        w.advance(1s);
        CHECK_FALSE(call.done());
        stop.request_stop();
        w.run();
        REQUIRE(call.done());
        CHECK(call.result().error().is_cancellation());
        CHECK(breaker.stats().ignored == 1);
        CHECK(retry.stats().retries == 0);
    }
    SECTION("in a delay: the last outcome") {
        const started call(w, retry.with({.stop_token = stop.get_token()}).try_call(fails));
        CHECK_FALSE(call.done());
        stop.request_stop();
        w.run();
        REQUIRE(call.done());
        CHECK(call.result().error().message() == "no");
        CHECK(retry.stats().failed_attempts == 1);
    }
    SECTION("before it began") {
        stop.request_stop();
        const started call(w, (retry | breaker).with({.stop_token = stop.get_token()}).try_call(answers));
        REQUIRE(call.done());
        CHECK(call.result().error().code() == rs::errc::cancelled);
        CHECK(breaker.stats().calls == 0);
    }
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("cancelling an awaitable is never retried, never a failure, and gives permits back",
          "[asio][H-CB-32]") {
    net_world w;
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 5s}, w.reg);
    const rs::retry retry(plain(10), w.reg);
    const bool limited = GENERATE(false, true);
    int attempts = 0;
    const auto hangs = [&]() -> net::awaitable<int> {
        ++attempts;
        co_await pause(w, 1h);
        co_return 1;
    };
    const auto call_it = [&] {
        return limited ? (retry | breaker | rs::timeout(2h, w.reg)).try_call(hangs)
                       : (retry | breaker).try_call(hangs);
    };
    SECTION("in the attempt") {
        const started call(w, call_it());
        call.cancel();
        w.run();
        REQUIRE(call.done());
        CHECK(call.result().error().is_cancellation());
        CHECK(attempts == 1);
        CHECK(breaker.stats().ignored == 1);
        CHECK(breaker.stats().failures == 0);
    }
    SECTION("as a probe: another one may have the permit") {
        (void)started(w, breaker.try_call(fails)).result();
        w.advance(5s);
        const started probe(w, call_it());
        CHECK(breaker.state() == rs::circuit_state::half_open);
        CHECK_FALSE(breaker.try_acquire());
        probe.cancel();
        w.run();
        CHECK(breaker.state() == rs::circuit_state::half_open);
        CHECK(breaker.try_acquire());
    }
    SECTION("in a delay") {
        const started call(w, retry.try_call(fails));
        call.cancel();
        w.run();
        REQUIRE(call.done());
        CHECK(call.result().error().message() == "no");
        CHECK(retry.stats().calls == 1);
        CHECK(retry.stats().failed_attempts == 1);
    }
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("whether an awaitable throws once it is cancelled stays what its coroutine has said", "[asio]") {
    net_world w;
    const rs::timeout limit({.limit = 1h}, w.reg);
    const bool throws = GENERATE(false, true);
    bool went_on = false;
    const auto f = [&]() -> net::awaitable<int> {
        net_error_code ec;
        net::steady_timer never(co_await net::this_coro::executor, net::steady_timer::time_point::max());
        auto token = net::redirect_error(net::use_awaitable, ec);
        co_await never.async_wait(token);
        co_await pause(w, 0s); // throws, or not: the coroutine is cancelled
        went_on = true;
        co_return 1;
    };
    const auto outer = [&]() -> net::awaitable<rs::outcome<int>> {
        co_await net::this_coro::throw_if_cancelled(throws);
        auto task = limit.try_call(f);
        co_return co_await std::move(task);
    };
    const started call(w, outer());
    call.cancel();
    w.run();
    REQUIRE(call.done());
    CHECK(call.result().error().is_cancellation());
    CHECK_FALSE(went_on); // `pause` itself throws then
}

TEST_CASE("a context that goes takes its suspended calls along, and they leave nothing behind",
          "[asio][H-CPP-05][H-CB-03]") {
    rs::testing::virtual_clock clock;
    rs::registry reg(clock);
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 5s}, reg);
    const rs::retry retry({.max_attempts = 5, .jitter = rs::jitter::none}, reg);
    const auto shared = std::make_shared<int>(1);
    const bool with_stop = GENERATE(false, true);
    std::stop_source stop;
    breaker.force_open();
    breaker.reset();
    {
        net::io_context io;
        const auto slow = [&io, shared]() -> net::awaitable<int> {
            const auto held = shared;
            net::steady_timer never(io, net::steady_timer::time_point::max());
            co_await never.async_wait(net::use_awaitable);
            co_return 1;
        };
        const auto bad = [shared]() -> net::awaitable<int> {
            const auto held = shared;
            throw std::runtime_error("no");
            co_return 1;
        };
        const rs::call_options options =
            with_stop ? rs::call_options{.stop_token = stop.get_token()} : rs::call_options{};
        net::co_spawn(io, (retry | breaker | rs::timeout(1min, reg)).with(options)(slow), net::detached);
        net::co_spawn(io, retry.with(options)(bad), net::detached);
        net::co_spawn(io, breaker.with(options)(slow), net::detached);
        auto never_run = retry(slow);
        io.poll();
        CHECK(shared.use_count() > 3);
        CHECK(clock.pending_timers() == 2); // the limit, the delay
    }
    CHECK(shared.use_count() == 1);
    CHECK(clock.pending_timers() == 0);
    CHECK(breaker.stats().ignored == 2);
    stop.request_stop(); // nobody listens
    clock.advance(1h);
}

TEST_CASE("a context may take a limited attempt along when the signal to cancel it by is gone",
          "[asio][timeout][H-CPP-05]") {
    rs::testing::virtual_clock clock;
    rs::registry reg(clock);
    const rs::timeout limit({.limit = 1h}, reg);
    const auto hangs = []() -> net::awaitable<int> {
        net::steady_timer never(co_await net::this_coro::executor, net::steady_timer::time_point::max());
        co_await never.async_wait(net::use_awaitable);
        co_return 1;
    };
    {
        net::io_context io;
        {
            net::cancellation_signal signal;
            auto token = net::bind_cancellation_slot(signal.slot(), net::detached);
            net::co_spawn(io, limit(hangs), token);
            io.poll();
        }
        CHECK(clock.pending_timers() == 1);
    }
    CHECK(clock.pending_timers() == 0);
}

TEST_CASE("a coroutine that goes on after its cancellation waits for nothing more", "[asio]") {
    net_world w;
    const auto sleeps_twice = [&]() -> net::awaitable<bool> {
        using traits = rs::task_traits<net::awaitable<void>>;
        co_await net::this_coro::throw_if_cancelled(false);
        auto first = traits::sleep_until(w.clock, w.clock.now() + 1h, {});
        co_await std::move(first);
        auto second = traits::sleep_until(w.clock, w.clock.now() + 1h, {});
        co_await std::move(second);
        co_return true;
    };
    const started call(w, sleeps_twice());
    CHECK_FALSE(call.done());
    call.cancel();
    w.run();
    CHECK(call.done());
}

TEST_CASE("a limited attempt sees that its coroutine was cancelled before", "[asio][timeout]") {
    net_world w;
    const auto limited = rs::any_pipeline{rs::timeout(1h, w.reg)};
    const auto unlimited = rs::any_pipeline{rs::circuit_breaker({}, w.reg)};
    const auto asks = []() -> net::awaitable<bool> {
        const auto state = co_await net::this_coro::cancellation_state;
        co_return state.cancelled() != net::cancellation_type::none;
    };
    for (const auto& guard : {limited, unlimited}) {
        const auto goes_on = [&]() -> net::awaitable<bool> {
            co_await net::this_coro::throw_if_cancelled(false);
            auto sleep = rs::task_traits<net::awaitable<void>>::sleep_until(w.clock, w.clock.now() + 1h, {});
            co_await std::move(sleep);
            auto call = guard(asks);
            co_return co_await std::move(call);
        };
        const started call(w, goes_on());
        call.cancel();
        w.run();
        REQUIRE(call.done());
        CHECK(call.result());
    }
}

TEST_CASE("a fallback answers for an awaitable with a value, or with an awaitable", "[asio][fallback]") {
    net_world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const auto by_value = rs::fallback(1);
    const auto by_task = rs::fallback([&](const rs::failure&) -> net::awaitable<int> {
        co_await pause(w, 1s);
        co_return 2;
    });
    CHECK(started(w, (by_value | breaker)(fails)).result() == 1);
    const started call(w, (by_task | breaker | rs::timeout(5s, w.reg))(answers));
    CHECK_FALSE(call.done());
    w.advance(1s);
    CHECK(call.result() == 2);
}

TEST_CASE("a pipeline made at run time runs awaitables", "[asio][any_pipeline]") {
    net_world w;
    const rs::any_pipeline guard{rs::retry(plain(), w.reg), rs::circuit_breaker({}, w.reg),
                                 rs::timeout(1s, w.reg)};
    int attempts = 0;
    const auto hangs_once = [&]() -> net::awaitable<int> {
        if (++attempts == 1) co_await pause(w, 1h);
        co_return attempts;
    };
    const started call(w, guard(hangs_once));
    w.advance(1s);
    CHECK_FALSE(call.done());
    w.advance(1s);
    CHECK(call.result() == 2);
}

TEST_CASE("an awaitable aborted by its own library is cancelled, a failure of it is one", "[asio]") {
    net_world w;
    const rs::circuit_breaker breaker({.failure_threshold = 5}, w.reg);
    const auto ends_with = [&](net_error_code ec) -> net::awaitable<void> {
        throw net_system_error(ec);
        co_return;
    };
    auto aborted = started(w, breaker.try_call(ends_with, net::error::operation_aborted)).done();
    CHECK(aborted);
    CHECK(breaker.stats().ignored == 1);
    CHECK(breaker.stats().failures == 0);
    const started refused(w, breaker.try_call(ends_with, net::error::connection_refused));
    CHECK(refused.result().error().message().find("refused") != std::string::npos);
    CHECK(breaker.stats().failures == 1);
}

TEST_CASE("what may not be sent twice is sent again only where the connection was never made", "[asio]") {
    net_world w;
    const rs::retry retry(at_once(3), w.reg);
    int attempts = 0;
    const auto ends_with = [&](net_error_code ec) -> net::awaitable<void> {
        ++attempts;
        throw net_system_error(ec);
        co_return;
    };
    const auto attempts_at = [&](net_error_code ec) {
        attempts = 0;
        const rs::call_options unsafe{.idempotency = rs::idempotency::unsafe};
        CHECK(started(w, retry.with(unsafe).try_call(ends_with, ec)).done());
        return attempts;
    };
    CHECK(attempts_at(net::error::connection_refused) == 3);
    CHECK(attempts_at(net::error::network_unreachable) == 1);
    CHECK(attempts_at(net::error::host_not_found) == 3);
    CHECK(attempts_at(net::error::service_not_found) == 3);
    CHECK(attempts_at(net::error::connection_reset) == 1);
    CHECK(attempts_at(net::error::eof) == 1);
    CHECK(attempts_at(net::error::timed_out) == 1);
}
