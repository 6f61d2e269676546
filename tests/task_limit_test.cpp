// SPDX-License-Identifier: Apache-2.0
// Who asked for the end of an attempt that is a task, and what becomes of it.
#include <resilience/resilience.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include "support/catch.hpp"
#include "support/lazy.hpp"
#include "support/world.hpp"

#include <chrono>
#include <coroutine>
#include <functional>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <utility>

namespace rs = resilience;
using namespace std::chrono_literals;
using support::lazy;
using support::pause;
using support::plain;
using support::world;

namespace {

/// Waits, whoever asks for the end meanwhile.
class wait_out {
public:
    wait_out(rs::time_source& clock, rs::duration length) : clock_(&clock), until_(clock.now() + length) {}
    wait_out(wait_out&&) = default; // before it is awaited

    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> self) {
        timer_ = clock_->call_at(until_, [self] { self.resume(); });
    }
    void await_resume() noexcept {}

private:
    rs::time_source* clock_;
    rs::time_point until_;
    rs::timer timer_;
};

/// Hangs; asked to end, it cleans up for as long as that first.
lazy<int> cleans_up(rs::time_source& clock, rs::duration length) {
    bool asked = false;
    try {
        co_await pause(clock, 1h);
    } catch (const support::lazy_stopped&) {
        asked = true;
    }
    if (!asked) co_return 1;
    wait_out cleaning(clock, length);
    co_await cleaning;
    throw support::lazy_stopped();
}
/// A clock whose thread never gets to the second timer: here that of the stop token, after that of the race.
class forgetful : public rs::time_source {
public:
    rs::testing::virtual_clock clock;

    rs::time_point now() const noexcept override { return clock.now(); }
    std::chrono::system_clock::time_point wall_now() const noexcept override { return clock.wall_now(); }
    bool sleep_until(rs::time_point until, std::stop_token stop) override {
        return clock.sleep_until(until, std::move(stop));
    }
    rs::timer call_at(rs::time_point at, std::function<void()> f) override {
        return timers_++ == 1 ? rs::timer() : clock.call_at(at, std::move(f));
    }

private:
    int timers_ = 0;
};
/// Gives a value by then, whoever asks for the end meanwhile.
lazy<int> answers_after(rs::time_source& clock, rs::duration length) {
    wait_out working(clock, length);
    co_await working;
    co_return 7;
}

} // namespace

TEST_CASE("of a caller who cancels and a limit that passes during the cleanup the first counts",
          "[task][timeout][H-TO-03][H-CB-32]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::timeout limit({.limit = 2s}, w.reg);
    const auto guard = rs::fallback(77) | breaker | limit;
    std::stop_source stop;
    std::stop_source cancel;

    SECTION("the caller, by cancelling the coroutine around the call or by a stop token") {
        const bool by_token = GENERATE(false, true);
        auto task = guard.with({.stop_token = stop.get_token()}).try_call(cleans_up, w.clock, 3s);
        task.stop_by(cancel.get_token());
        task.start();
        w.clock.advance(1s);
        (by_token ? stop : cancel).request_stop();
        w.clock.advance(3s - 1ns);
        CHECK_FALSE(task.done());
        w.clock.advance(1ns);

        REQUIRE(task.done());
        const auto out = task.result();
        REQUIRE_FALSE(out);
        CHECK(out.error().is_cancellation());
        CHECK(limit.stats().timed_out == 0);
        CHECK(breaker.stats().ignored == 1);
        CHECK(breaker.state() == rs::circuit_state::closed);
    }
    SECTION("the limit") {
        auto task = guard.try_call(cleans_up, w.clock, 3s);
        task.stop_by(cancel.get_token());
        task.start();
        w.clock.advance(3s);
        cancel.request_stop();
        w.clock.advance(3s);

        REQUIRE(task.done());
        CHECK(task.result().value() == 77);
        CHECK(limit.stats().timed_out == 1);
        CHECK(breaker.stats().failures == 1);
    }
}

TEST_CASE("a nested call that the deadline of the one around it ends has timed out",
          "[task][timeout][H-TO-12]") {
    world w;
    const rs::circuit_breaker inner({.failure_threshold = 1}, w.reg);
    const rs::timeout limit({.limit = 2s}, w.reg);
    const auto hangs = [&](rs::call_context& ctx) -> lazy<int> {
        auto call = inner.with(ctx)(cleans_up, w.clock, 0s);
        co_return co_await std::move(call);
    };
    auto task = limit.try_call(hangs);
    task.start();
    w.clock.advance(2s);

    REQUIRE(task.done());
    CHECK(task.result().error().code() == rs::errc::timed_out);
    CHECK(inner.stats().failures == 1);
    CHECK(inner.stats().ignored == 0);
}

TEST_CASE("what ends a task's attempt requests its stop token at that moment", "[task][timeout]") {
    std::stop_token seen;
    std::stop_source cancel;
    bool told = false;
    // Stands for work elsewhere, which the attempt awaits whatever happens to itself.
    const auto bridge = [&](rs::time_source& clock) {
        return [&](rs::call_context& ctx) -> lazy<int> {
            seen = ctx.stop_token();
            const std::stop_callback watcher(seen, [&] { told = true; });
            wait_out working(clock, 5s);
            co_await working;
            co_return 1;
        };
    };
    SECTION("a limit, whatever the timers of the clock do") {
        forgetful time;
        rs::registry reg(time);
        auto task = rs::timeout(2s, reg).try_call(bridge(time));
        task.start();
        time.clock.advance(2s - 1ns);
        CHECK_FALSE(told);
        time.clock.advance(1ns);
        CHECK(told);
        time.clock.advance(3s);
        CHECK(task.result().error().code() == rs::errc::timed_out);
    }
    world w;
    SECTION("a cancellation of the coroutine around the call") {
        const bool only_stoppable = GENERATE(false, true);
        std::stop_source stop;
        auto task =
            only_stoppable
                ? rs::retry(plain(), w.reg).with({.stop_token = stop.get_token()}).try_call(bridge(w.clock))
                : rs::timeout(10s, w.reg).try_call(bridge(w.clock));
        task.stop_by(cancel.get_token());
        task.start();
        w.clock.advance(1s);
        CHECK_FALSE(told);
        cancel.request_stop();
        CHECK(told);
        w.clock.advance(4s);
        CHECK(task.done());
    }
    SECTION("of the second attempt with the token that the first has armed") {
        int n = 0;
        const auto fails_first = [&](rs::call_context& ctx) -> lazy<int> {
            seen = ctx.stop_token();
            if (++n == 1) throw std::runtime_error("no");
            wait_out working(w.clock, 5s);
            co_await working;
            co_return 1;
        };
        auto task = rs::retry(plain(), w.reg).with({.deadline = w.clock.now() + 1h}).try_call(fails_first);
        task.stop_by(cancel.get_token());
        task.start();
        w.clock.advance(1s);
        CHECK_FALSE(seen.stop_requested());
        cancel.request_stop();
        CHECK(seen.stop_requested());
        w.clock.advance(1h);
        CHECK(task.done());
    }
    SECTION("its destruction, while it is suspended") {
        {
            auto task = rs::timeout(10s, w.reg).try_call(bridge(w.clock));
            task.start();
            w.clock.advance(1s);
        }
        CHECK(seen.stop_requested());
    }
    SECTION("but not its own end") {
        auto task = rs::timeout(10s, w.reg).try_call(bridge(w.clock));
        task.start();
        w.clock.advance(5s);
        CHECK(task.result().value() == 1);
        CHECK_FALSE(seen.stop_requested());
    }
    SECTION("and what it resumes may end the call") {
        const auto until = [&](rs::call_context& ctx) -> lazy<int> {
            support::lazy_sleep sleep(w.clock, w.clock.now() + 1h, ctx.stop_token());
            co_await std::move(sleep);
            throw support::lazy_stopped();
        };
        std::optional task(rs::timeout(10s, w.reg).try_call(until));
        task->stop_by(cancel.get_token());
        task->start();
        cancel.request_stop();
        REQUIRE(task->done());
        CHECK(task->result().error().is_cancellation());
    }
}

TEST_CASE("the end of an attempt is claimed once, a cancellation before it stays known",
          "[task][timeout][H-TO-03]") {
    world w;
    using end = rs::task_limit::end;
    rs::task_limit limit(w.clock, w.clock.now() + 2s, {});
    CHECK(limit.how() == end::none);

    SECTION("cancelled, then struck: asked once more") {
        limit.cancel();
        CHECK(limit.how() == end::none);
        CHECK(limit.strike(end::deadline));
        CHECK_FALSE(limit.strike(end::stopped));
        CHECK_FALSE(limit.finish());
        CHECK(limit.how() == end::deadline);
        CHECK(limit.cancelled_first());
    }
    SECTION("cancelled, then finished: nobody is to be asked") {
        limit.cancel();
        limit.cancel();
        CHECK(limit.finish());
        CHECK_FALSE(limit.strike(end::deadline));
        CHECK(limit.how() == end::finished);
        CHECK(limit.cancelled_first());
    }
    SECTION("struck, then cancelled") {
        CHECK(limit.strike(end::deadline));
        limit.cancel();
        CHECK(limit.how() == end::deadline);
        CHECK_FALSE(limit.cancelled_first());
    }
}

TEST_CASE("an answer that its caller cancels is no failure of the fallback", "[task][fallback]") {
    world w;
    const bool by_token = GENERATE(false, true);
    const auto fails = []() -> lazy<int> {
        throw std::runtime_error("no");
        co_return 0;
    };
    const auto answers = rs::fallback([&](const rs::failure&) { return cleans_up(w.clock, 0s); });
    std::stop_source stop;
    std::stop_source cancel;

    auto task =
        (answers | rs::circuit_breaker({}, w.reg)).with({.stop_token = stop.get_token()}).try_call(fails);
    task.stop_by(cancel.get_token());
    task.start();
    w.clock.advance(1s);
    CHECK_FALSE(task.done());
    (by_token ? stop : cancel).request_stop();
    w.clock.advance(0s);

    REQUIRE(task.done());
    CHECK(task.result().error().is_cancellation());
    CHECK(answers.stats().used == 0);
    CHECK(answers.stats().failed == 0);
}

TEST_CASE("an attempt that won no race is late by the clock, for each limit that has passed",
          "[task][timeout][H-TO-03]") {
    world w;
    const rs::timeout outer({.limit = 2s}, w.reg);

    SECTION("an inner limit struck, and keeps the value") {
        const auto length = GENERATE(as<rs::duration>{}, 2s, 2s + 1ns);
        const rs::timeout inner({.limit = 1s, .keep_late = true}, w.reg);
        auto task = (outer | inner).try_call(answers_after, w.clock, length);
        task.start();
        w.clock.advance(length);

        REQUIRE(task.done());
        CHECK(inner.stats().kept_late == 1);
        CHECK(outer.stats().in_time == (length == 2s ? 1 : 0));
        CHECK(outer.stats().timed_out == (length == 2s ? 0 : 1));
        CHECK(task.result().has_value() == (length == 2s));
    }
    SECTION("a stop was requested before") {
        std::stop_source stop;
        auto task = outer.with({.stop_token = stop.get_token()}).try_call(answers_after, w.clock, 5s);
        task.start();
        w.clock.advance(1s);
        stop.request_stop();
        w.clock.advance(4s);

        CHECK(task.result().error().code() == rs::errc::timed_out);
        CHECK(outer.stats().timed_out == 1);
    }
    SECTION("the coroutine was cancelled before") {
        std::stop_source cancel;
        auto task = outer.try_call(answers_after, w.clock, 5s);
        task.stop_by(cancel.get_token());
        task.start();
        w.clock.advance(1s);
        cancel.request_stop();
        w.clock.advance(4s);

        CHECK(task.result().error().code() == rs::errc::timed_out);
    }
    SECTION("it failed in time, and what answers for it blocks") {
        const auto fails = []() -> lazy<int> {
            throw std::runtime_error("no");
            co_return 0;
        };
        const auto slow = rs::fallback([&](const rs::failure&) {
            w.clock.advance(5s);
            return 3;
        });
        auto task = (outer | slow).try_call(fails);
        task.start();

        CHECK(task.result().error().code() == rs::errc::timed_out);
        CHECK(outer.stats().in_time == 0);
    }
}
