// SPDX-License-Identifier: Apache-2.0
#include <resilience/resilience.hpp>
#include <resilience/testing/recorder.hpp>

#include "support/catch.hpp"
#include "support/lazy.hpp"
#include "support/world.hpp"

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using support::at_once;
using support::lazy;
using support::pause;
using support::plain;
using support::world;

namespace {

lazy<int> fails() {
    throw std::runtime_error("no");
    co_return 0;
}
lazy<int> answers() { co_return 42; }

} // namespace

TEST_CASE("a callable that returns a task makes the call a task of the same type", "[task]") {
    world w;
    const auto guard = rs::retry(plain(), w.reg) | rs::circuit_breaker({}, w.reg);
    const auto lambda = [] { return answers(); };

    auto task = guard(answers);
    STATIC_REQUIRE(std::is_same_v<decltype(task), lazy<int>>);
    STATIC_REQUIRE(std::is_same_v<decltype(guard.call(lambda)), lazy<int>>);
    STATIC_REQUIRE(std::is_same_v<decltype(guard.named("op")(lambda)), lazy<int>>);
    STATIC_REQUIRE(std::is_same_v<decltype(guard.wrap(lambda)()), lazy<int>>);
    STATIC_REQUIRE(std::is_same_v<decltype(guard.try_call(lambda)), lazy<rs::outcome<int>>>);

    CHECK(guard.get<1>().stats().calls == 0); // it begins when it is awaited
    CHECK(task.start().result() == 42);
    CHECK(guard.get<1>().stats().successes == 1);
    CHECK(guard.get<0>().stats().succeeded_at_once == 1);

    auto tried = guard.try_call(fails);
    auto outcome = [&] {
        tried.start();
        w.clock.advance(1h);
        return tried.result();
    }();
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().as<std::runtime_error>() != nullptr);
}

TEST_CASE("a day of delays passes in no time", "[task]") {
    world w;
    auto config = plain(1441);
    config.base_delay = config.max_delay = 1min;
    int attempts = 0;
    std::vector<rs::time_point> starts;
    const auto fails_until_midnight = [&]() -> lazy<int> {
        starts.push_back(w.clock.now());
        if (++attempts <= 1440) throw std::runtime_error("not yet");
        co_return attempts;
    };

    auto task = rs::retry(config, w.reg)(fails_until_midnight);
    task.start();
    w.clock.advance(24h - 1ns);
    CHECK_FALSE(task.done());
    w.clock.advance(1ns);

    CHECK(task.result() == 1441);
    CHECK(starts.back() - starts.front() == 24h);
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("retries without a delay need no stack", "[task]") {
    world w;
    int attempts = 0;
    const auto f = [&]() -> lazy<int> {
        if (++attempts < 30'000) throw 1;
        co_return attempts;
    };

    auto task = rs::retry(at_once(30'000), w.reg)(f);

    CHECK(task.start().result() == 30'000);
}

TEST_CASE("rejected attempts of a task that are made again without a delay need no stack",
          "[task][H-RT-25]") {
    struct refuser {
        struct call {
            rs::admission admit(rs::call_context&) {
                return rs::admission::reject(rs::rejection{.code = rs::errc::throttled});
            }
            rs::settlement settle(const rs::attempt_result&, rs::call_context&) {
                return rs::settlement::finish();
            }
        };
        call begin(rs::call_context&) const { return {}; }
    };
    world w;
    auto c = at_once(200'000);
    c.retry_if = [](const rs::failure&) { return true; };
    const auto guard = rs::retry(c, w.reg) | refuser{};

    auto task = guard.try_call(answers);

    CHECK(task.start().result().error().code() == rs::errc::throttled);
}

TEST_CASE("a circuit's permit is held while the attempt is suspended", "[task][circuit_breaker]") {
    world w;
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 5s}, w.reg);
    auto failing = breaker(fails);
    CHECK_THROWS_AS(failing.start().result(), std::runtime_error);
    w.clock.advance(5s);
    const auto slow = [&]() -> lazy<int> {
        co_await pause(w.clock, 10s);
        co_return 1;
    };

    auto probe = breaker(slow);
    probe.start();
    CHECK_THROWS_AS(breaker([] { return 1; }), rs::circuit_open_error);
    auto refused = breaker(answers);
    CHECK_THROWS_AS(refused.start().result(), rs::circuit_open_error);
    w.clock.advance(10s);

    CHECK(probe.result() == 1);
    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("a task destroyed while it is suspended leaves nothing behind",
          "[task][circuit_breaker][H-CPP-05][H-CB-03]") {
    world w;
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 5s}, w.reg);
    const rs::retry retry({.max_attempts = 5, .jitter = rs::jitter::none, .retry_if = rs::on<int>()}, w.reg);
    const auto shared = std::make_shared<int>(1);
    const auto slow = [&w, shared]() -> lazy<int> {
        const auto held = shared;
        co_await pause(w.clock, 1s);
        throw 1;
    };
    const auto guard = retry | breaker | rs::timeout(1min, w.reg);
    auto trip = breaker(fails);
    CHECK_THROWS(trip.start().result());
    w.clock.advance(5s);
    // Not begun; in the attempt as a probe.
    { auto never_started = guard(slow); }
    {
        auto in_attempt = guard(slow);
        in_attempt.start();
        CHECK(breaker.state() == rs::circuit_state::half_open);
        CHECK_FALSE(breaker.try_acquire());
    }
    CHECK(w.clock.pending_timers() == 0);
    CHECK(breaker.try_acquire()); // the place is free again
    CHECK(breaker.stats().ignored == 2);

    breaker.reset();
    {
        const rs::circuit_breaker lenient({.failure_threshold = 100}, w.reg);
        auto in_delay = (retry | lenient)(slow);
        in_delay.start();
        w.clock.advance(1s);
        CHECK(lenient.stats().failures == 1);
        CHECK(w.clock.pending_timers() == 1);
    }
    CHECK(w.clock.pending_timers() == 0);
    { // on the fast path
        const rs::circuit_breaker closed({}, w.reg);
        auto quick = closed(slow);
        quick.start();
        CHECK(closed.stats().calls == 0);
        quick = answers();
        CHECK(closed.stats().ignored == 1);
    }
    CHECK(shared.use_count() == 2); // `slow` has the other
    w.clock.advance(1h);
}

TEST_CASE("a task that outlasts its limit is asked to end, awaited, and has timed out", "[task][timeout]") {
    world w;
    rs::testing::recorder events(w.reg);
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::timeout limit({.name = "limit", .limit = 2s}, w.reg);
    rs::duration left{};
    bool ended = false;
    const auto hangs = [&](rs::call_context& ctx) -> lazy<int> {
        left = ctx.remaining();
        try {
            co_await pause(w.clock, 1h);
        } catch (...) {
            ended = true;
            throw;
        }
        co_return 1;
    };

    auto task = (breaker | limit)(hangs);
    task.start();
    CHECK(left == 2s);
    w.clock.advance(2s - 1ns);
    CHECK_FALSE(task.done());
    w.clock.advance(1ns);

    REQUIRE(task.done());
    CHECK(ended);
    CHECK_THROWS_AS(task.result(), rs::timeout_error);
    CHECK(limit.stats().timed_out == 1);
    CHECK(limit.stats().calls == 1);
    CHECK(events.count(rs::event_kind::timed_out) == 1);
    CHECK(breaker.state() == rs::circuit_state::open); // it hung: a failure
    CHECK(w.clock.pending_timers() == 0);
}

namespace {

/// A clock that can be read late, as by a thread that was not scheduled, while its timers fire in time.
class late_reading : public rs::time_source {
public:
    rs::testing::virtual_clock clock;
    rs::duration late{0};

    rs::time_point now() const noexcept override { return clock.now() + late; }
    std::chrono::system_clock::time_point wall_now() const noexcept override { return clock.wall_now(); }
    bool sleep_until(rs::time_point until, std::stop_token stop) override {
        return clock.sleep_until(until, std::move(stop));
    }
    rs::timer call_at(rs::time_point at, std::function<void()> f) override {
        return clock.call_at(at, std::move(f));
    }
};

} // namespace

TEST_CASE("whoever wins the race is in time, whatever the clock says afterwards",
          "[task][timeout][H-TO-03]") {
    late_reading time;
    rs::registry reg(time);
    const rs::timeout limit({.limit = 2s}, reg);
    const auto just_in_time = [&]() -> lazy<int> {
        co_await pause(time, 2s - 1ns);
        time.late = 5s;
        co_return 1;
    };

    auto task = limit(just_in_time);
    task.start();
    time.clock.advance(2s);

    CHECK(task.result() == 1);
    CHECK(limit.stats().in_time == 1);
}

TEST_CASE("a task that its own stop token ends at the deadline has timed out", "[task][timeout]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::timeout limit({.name = "limit", .limit = 2s}, w.reg);
    const auto until = [&](std::stop_token stop) -> lazy<int> {
        co_await support::lazy_sleep(w.clock, w.clock.now() + 1h, stop);
        throw support::lazy_stopped();
    };
    // The token's timer is set before that of the race, and so comes first.
    auto task = (limit | breaker).try_call([&](rs::call_context& ctx) { return until(ctx.stop_token()); });
    task.start();
    w.clock.advance(2s);

    REQUIRE(task.done());
    CHECK(task.result().error().policy() == "limit");
    CHECK(breaker.stats().failures == 1);
    CHECK(limit.stats().timed_out == 1);
}

TEST_CASE("a late value is dropped or kept, a late failure stays what it is", "[task][timeout][H-TO-04]") {
    world w;
    const auto stubborn = [&](bool throws) -> lazy<int> {
        try {
            co_await pause(w.clock, 1h);
        } catch (const support::lazy_stopped&) {
            if (throws) throw std::runtime_error("the real one");
        }
        co_return 7;
    };
    const auto run = [&](const auto& guard, bool throws) {
        auto task = guard.try_call(stubborn, throws);
        task.start();
        w.clock.advance(2s);
        return task.result();
    };
    const rs::timeout drops({.limit = 2s}, w.reg);
    const rs::timeout keeps({.limit = 2s, .keep_late = true}, w.reg);

    CHECK(run(drops, false).error().code() == rs::errc::timed_out);
    CHECK(run(drops, true).error().message() == "the real one");
    CHECK(run(keeps, false).value() == 7);
    CHECK(drops.stats().timed_out == 2);
    CHECK(drops.stats().failed == 0);
    CHECK(keeps.stats().kept_late == 1);
}

TEST_CASE("of nested limits the one that struck is reported, and it ends retries",
          "[task][timeout][H-TO-12]") {
    world w;
    const rs::timeout outer({.name = "outer", .limit = 3s}, w.reg);
    const rs::timeout inner({.name = "inner", .limit = 2s}, w.reg);
    int attempts = 0;
    const auto hangs = [&]() -> lazy<int> {
        ++attempts;
        co_await pause(w.clock, 1h);
        co_return 1;
    };

    auto task = (outer | rs::retry(at_once(10), w.reg) | inner).try_call(hangs);
    task.start();
    w.clock.advance(3s);

    REQUIRE(task.done());
    CHECK(task.result().error().policy() == "outer");
    CHECK(attempts == 2);
    CHECK(inner.stats().timed_out == 1);
    CHECK(inner.stats().failed == 1);
    CHECK(outer.stats().timed_out == 1);
}

TEST_CASE("a call's own deadline and stop token end its attempts and its delays", "[task]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::retry retry(plain(10), w.reg);
    const auto hangs = [&]() -> lazy<int> {
        co_await pause(w.clock, 1h);
        co_return 1;
    };
    SECTION("deadline") {
        auto task = breaker.with({.deadline = w.clock.now() + 5s}).try_call(hangs);
        task.start();
        w.clock.advance(5s);
        CHECK(task.result().error().code() == rs::errc::timed_out);
        CHECK(breaker.stats().failures == 1);
    }
    SECTION("a deadline that has passed") {
        auto task = breaker.with({.deadline = w.clock.now()}).try_call(hangs);
        CHECK(task.start().result().error().code() == rs::errc::timed_out);
        CHECK(breaker.stats().calls == 0);
    }
    SECTION("stop in the attempt: cancelled, which is no failure") {
        std::stop_source stop;
        auto task = (retry | breaker).with({.stop_token = stop.get_token()}).try_call(hangs);
        task.start();
        w.clock.advance(1s);
        stop.request_stop();
        REQUIRE(task.done());
        CHECK(task.result().error().is_cancellation());
        CHECK(breaker.stats().ignored == 1);
        CHECK(breaker.state() == rs::circuit_state::closed);
    }
    SECTION("stop in a delay: the last outcome") {
        std::stop_source stop;
        auto task = retry.with({.stop_token = stop.get_token()}).try_call(fails);
        task.start();
        CHECK_FALSE(task.done());
        stop.request_stop();
        REQUIRE(task.done());
        CHECK(task.result().error().message() == "no");
        CHECK(retry.stats().failed_attempts == 1);
    }
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("a task that ends in the middle of the request that ends it takes its stop state along only then",
          "[task][H-CPP-05]") {
    world w;
    const rs::timeout limit({.limit = 2s}, w.reg);
    const auto asks_context = GENERATE(false, true);
    const auto listens_twice = [&](rs::call_context& ctx) -> lazy<int> {
        support::own_stop_token own{};
        std::stop_token stop = co_await own;
        if (asks_context) stop = ctx.stop_token();
        const std::stop_callback also(stop, [] {}); // before that of the sleep: asked last, or no more
        support::lazy_sleep sleep(w.clock, w.clock.now() + 1h, stop);
        co_await std::move(sleep);
        if (stop.stop_requested()) throw support::lazy_stopped();
        co_return 1;
    };
    std::stop_source stop;
    std::stop_source cancel;

    auto task = limit.with({.stop_token = stop.get_token()}).try_call(listens_twice);
    task.stop_by(cancel.get_token());
    task.start();
    SECTION("the caller's stop token") { stop.request_stop(); }
    SECTION("the coroutine around it is cancelled") { cancel.request_stop(); }
    SECTION("the deadline") { w.clock.advance(2s); }

    REQUIRE(task.done());
    CHECK_FALSE(task.result());
}

TEST_CASE("cancelling the coroutine around a call is never retried, never a failure", "[task][H-CB-32]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::retry retry(plain(10), w.reg);
    const bool limited = GENERATE(false, true);
    int attempts = 0;
    const auto hangs = [&]() -> lazy<int> {
        ++attempts;
        co_await pause(w.clock, 1h);
        co_return 1;
    };
    std::stop_source cancel;
    SECTION("in the attempt") {
        auto task = limited ? (retry | breaker | rs::timeout(2h, w.reg)).try_call(hangs)
                            : (retry | breaker).try_call(hangs);
        task.stop_by(cancel.get_token());
        task.start();
        cancel.request_stop();
        REQUIRE(task.done());
        CHECK(task.result().error().is_cancellation());
        CHECK(attempts == 1);
        CHECK(breaker.stats().ignored == 1);
    }
    SECTION("in a delay") {
        auto task = retry.try_call(fails);
        task.stop_by(cancel.get_token());
        task.start();
        cancel.request_stop();
        REQUIRE(task.done());
        CHECK(task.result().error().message() == "no");
        CHECK(retry.stats().failed_attempts == 1);
    }
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("a fallback answers for a task with a value, or with a task", "[task][fallback]") {
    world w;
    rs::testing::recorder events(w.reg);
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const auto by_value = rs::fallback(1);
    const auto by_task = rs::fallback([&](const rs::failure& why) -> lazy<int> {
        co_await pause(w.clock, 1s);
        co_return why.message() == "no" ? 2 : 3;
    });
    const auto that_throws =
        rs::fallback([](const rs::failure&) -> lazy<int> { throw std::logic_error("neither"); });
    const auto that_fails = rs::fallback([&](const rs::failure&) -> lazy<int> {
        co_await pause(w.clock, 1s);
        throw std::logic_error("neither");
    });

    auto value = (by_value | breaker)(fails);
    CHECK(value.start().result() == 1);
    auto task = (by_task | rs::retry(at_once(2), w.reg))(fails);
    task.start();
    CHECK_FALSE(task.done());
    w.clock.advance(1s);
    CHECK(task.result() == 2);
    CHECK(by_task.stats().used == 1);
    CHECK(events.count(rs::event_kind::fallback_used) == 2);

    auto refused = (rs::retry(at_once(2), w.reg) | by_task | breaker)(answers);
    refused.start();
    w.clock.advance(1s);
    CHECK(refused.result() == 3);
    auto thrown = (that_throws | breaker)(answers);
    CHECK_THROWS_AS(thrown.start().result(), std::logic_error);
    CHECK(that_throws.stats().failed == 1);
    auto failed = (that_fails | breaker)(answers);
    failed.start();
    w.clock.advance(1s);
    CHECK_THROWS_AS(failed.result(), std::logic_error);
    CHECK(that_fails.stats().failed == 1);
    CHECK(breaker.stats().rejected == 3);
}

TEST_CASE("a fallback answers for a call that may not begin, but has no more time than the call",
          "[task][fallback]") {
    world w;
    const rs::circuit_breaker breaker({}, w.reg);
    const auto at_once = rs::fallback([](const rs::failure&) -> lazy<int> { co_return 1; });
    const auto slow = rs::fallback([&](const rs::failure&) -> lazy<int> {
        co_await pause(w.clock, 1s);
        co_return 2;
    });

    auto a = (rs::fallback(0) | breaker).with({.deadline = w.clock.now()})(answers);
    CHECK(a.start().result() == 0);
    auto b = (at_once | breaker).with({.deadline = w.clock.now()})(answers);
    CHECK(b.start().result() == 1);
    auto c = (slow | breaker).with({.deadline = w.clock.now()})(answers);
    CHECK_THROWS_AS(c.start().result(), rs::timeout_error);
    CHECK(breaker.stats().calls == 0);
    CHECK(at_once.stats().used == 1);
    CHECK(slow.stats().used == 0);
    CHECK(slow.stats().failed == 1);
}

TEST_CASE("a pipeline made at run time runs tasks in one frame too", "[task][any_pipeline]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 2}, w.reg);
    rs::any_pipeline guard(rs::retry(plain(5), w.reg), breaker, rs::timeout(1s, w.reg));
    int attempts = 0;
    const auto f = [&]() -> lazy<std::string> {
        if (++attempts == 1) co_await pause(w.clock, 1h);
        co_return "ok";
    };

    auto task = guard(f);
    task.start();
    w.clock.advance(2s);
    CHECK(task.result() == "ok");
    CHECK(breaker.stats().failures == 1);

    const auto answer = [&]() -> lazy<int> {
        co_await pause(w.clock, 1s);
        co_return 9;
    };
    rs::any_pipeline with_fallback(rs::fallback(answer), breaker);
    auto other_type = with_fallback(f);
    CHECK_THROWS_AS(other_type.start().result(), std::invalid_argument);
    auto failing = with_fallback(fails);
    failing.start();
    w.clock.advance(1s);
    CHECK(failing.result() == 9);
    auto in_a_pipeline = (rs::retry(at_once(2), w.reg) | with_fallback)(fails);
    in_a_pipeline.start();
    w.clock.advance(1s);
    CHECK(in_a_pipeline.result() == 9);
}

namespace {

struct counted_value {
    static inline int copies = 0;
    static inline int alive = 0;
    counted_value() { ++alive; }
    counted_value(const counted_value&) { ++copies, ++alive; }
    counted_value(counted_value&&) noexcept { ++alive; }
    counted_value& operator=(const counted_value&) = delete;
    ~counted_value() { --alive; }
    lazy<int> operator()(int n) const { co_return n; }
};

} // namespace

TEST_CASE("rvalues live in the task's frame, lvalues are borrowed", "[task]") {
    world w;
    counted_value::copies = 0;
    const rs::retry retry(at_once(3), w.reg);
    {
        auto moved = retry(counted_value{}, 5);
        CHECK(counted_value::alive == 1);
        CHECK(moved.start().result() == 5);
        const counted_value mine;
        auto borrowed = retry(mine, 6);
        CHECK(counted_value::alive == 2);
        CHECK(borrowed.start().result() == 6);
        auto wrapped = retry.wrap(mine);
        CHECK(counted_value::copies == 1);
        auto of_wrapped = wrapped(7);
        CHECK(of_wrapped.start().result() == 7);
        auto of_temporary = retry.wrap(mine)(8);
        CHECK(of_temporary.start().result() == 8);
    }
    CHECK(counted_value::alive == 0);

    const auto takes = [](const std::unique_ptr<int>& p, std::string& s) -> lazy<int> {
        if ((s += "x") != "xxx") throw 1;
        co_return *p;
    };
    std::string s;
    auto task = retry(takes, std::make_unique<int>(3), s);
    CHECK(task.start().result() == 3);
    CHECK(s == "xxx");
}

TEST_CASE("a wrapped callable called as a temporary lives in the task's frame", "[task]") {
    world w;
    const auto guard = rs::retry(at_once(), w.reg) | rs::circuit_breaker({}, w.reg);
    const auto held = std::make_shared<int>(5);
    std::optional<lazy<int>> task;
    {
        auto op = [held, n = 0](int plus) mutable -> lazy<int> {
            if (++n < 2) throw 1;
            co_return *held + plus;
        };
        task.emplace(guard.wrap(std::move(op))(2));
    }
    CHECK(held.use_count() == 2);
    CHECK(task->start().result() == 7);
    task.reset();
    CHECK(held.use_count() == 1);
    CHECK(guard.wrap([](int n) { return n; })(3) == 3);
}

TEST_CASE("tasks of nothing, of references and of what only moves", "[task][H-CPP-07][H-CPP-08]") {
    world w;
    const auto guard = rs::retry(at_once(3), w.reg) | rs::circuit_breaker({}, w.reg) | rs::timeout(1s, w.reg);
    int runs = 0;
    const auto nothing = [&]() -> lazy<void> {
        if (++runs < 3) throw 1;
        co_return;
    };
    const auto reference = [&]() -> lazy<int&> { co_return runs; };
    const auto pointer = []() -> lazy<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };
    const auto code = [&]() -> lazy<std::error_code> {
        co_return ++runs < 6 ? std::make_error_code(std::errc::connection_refused) : std::error_code{};
    };

    auto a = guard(nothing);
    a.start().result();
    CHECK(runs == 3);
    auto b = guard(reference);
    CHECK(&b.start().result() == &runs);
    auto c = guard(pointer);
    CHECK(*c.start().result() == 4);
    auto d = guard.try_call(nothing);
    CHECK(d.start().result().has_value());
    auto e = guard(code);
    CHECK_FALSE(e.start().result());
    CHECK(runs == 6);
}

TEST_CASE("a rejection reaches a task's result that can carry it without a throw", "[task]") {
    world w;
    const rs::circuit_breaker breaker({}, w.reg);
    breaker.force_open();
    const auto code = []() -> lazy<std::error_code> { co_return std::error_code{}; };

    auto task = breaker(code);

    CHECK(task.start().result() == rs::errc::circuit_open);
}

TEST_CASE("tasks of references and of outcomes are judged by what is in them", "[task]") {
    world w;
    const rs::retry outer(at_once(3), w.reg);
    const rs::retry inner(at_once(1), w.reg);
    const rs::circuit_breaker breaker({}, w.reg);
    auto bad = std::make_error_code(std::errc::io_error);
    int runs = 0;
    const auto reference = [&]() -> lazy<std::error_code&> {
        ++runs;
        co_return bad;
    };
    const auto hopeless = [&]() -> lazy<int> {
        ++runs;
        throw std::runtime_error("no");
        co_return 0;
    };

    auto a = outer(reference);
    CHECK(&a.start().result() == &bad);
    CHECK(runs == 3);
    auto b = outer([&] { return inner.try_call(hopeless); });
    STATIC_REQUIRE(std::is_same_v<decltype(b), lazy<rs::outcome<int>>>);
    CHECK(b.start().result().error().as<std::runtime_error>() != nullptr);
    CHECK(runs == 6);
    breaker.force_open();
    auto c = breaker([&] { return inner.try_call(hopeless); });
    CHECK(c.start().result().error().code() == rs::errc::circuit_open);
    CHECK(runs == 6);
}

TEST_CASE("a task chooses what it inherits of the context that it is given", "[task][H-USE-07]") {
    world w;
    const auto guard = rs::retry(at_once(2), w.reg) | rs::circuit_breaker({}, w.reg);
    std::stop_source stop;
    std::vector<std::string> seen;
    const auto leaf = [&](rs::call_context& ctx) -> lazy<int> {
        seen.push_back((ctx.remaining() == 3s ? "3s" : "unlimited") + std::string(", depth ") +
                       std::to_string(ctx.retry_depth()) + (ctx.stop_requested() ? ", stopped" : ""));
        co_return 1;
    };
    const auto f = [&](rs::call_context& ctx) -> lazy<int> {
        for (const rs::inherit which : {rs::inherit::all, rs::inherit::deadline_only, rs::inherit::nothing}) {
            auto nested = guard.with(ctx).with({.inherit = which})(leaf);
            co_await std::move(nested);
            auto named = guard.named("leaf").with({.inherit = which}).with(ctx).try_call(leaf);
            (void)co_await std::move(named);
        }
        co_return 0;
    };

    auto task = rs::retry(at_once(2), w.reg)
                    .with({.deadline = w.clock.now() + 3s, .stop_token = stop.get_token()})
                    .try_call(f);

    CHECK(task.start().result());
    CHECK(seen == std::vector<std::string>{"3s, depth 2", "3s, depth 2", "3s, depth 1", "3s, depth 1",
                                           "unlimited, depth 1", "unlimited, depth 1"});
}

TEST_CASE("a task says what a call says about itself, and passes priority and correlation on",
          "[task][call_options]") {
    world w;
    const rs::testing::recorder log(w.reg);
    const auto guard = rs::retry(at_once(2), w.reg) | rs::circuit_breaker({.failure_threshold = 1}, w.reg);
    std::vector<std::string> seen;
    const auto look = [&](const rs::call_context& ctx) {
        seen.push_back(std::string(ctx.correlation()) + " " + std::to_string(ctx.cost()) + " " +
                       (ctx.priority() == rs::priority::low ? "low" : "normal"));
    };
    const auto leaf = [&](rs::call_context& ctx) -> lazy<int> {
        look(ctx);
        co_return 1;
    };
    const auto f = [&](rs::call_context& ctx) -> lazy<int> {
        look(ctx);
        auto inner = guard.with(ctx)(leaf);
        co_await std::move(inner);
        auto other = guard.with(ctx).with({.cost = 5, .correlation = "step-2"})(leaf);
        co_await std::move(other);
        auto stranger = guard(leaf);
        co_await std::move(stranger);
        throw std::runtime_error("no");
        co_return 1;
    };

    auto task = guard.with({.priority = rs::priority::low, .cost = 3, .correlation = "req-7"}).try_call(f);
    CHECK(log.empty());
    CHECK_FALSE(task.start().result());

    CHECK(seen == std::vector<std::string>{"req-7 3 low", "req-7 1 low", "step-2 5 low", " 1 normal"});
    REQUIRE(log.count(rs::event_kind::state_changed) == 1);
    for (const auto& e : log.events()) CHECK(e.correlation == "req-7");
}

TEST_CASE("a task's events show the correlation of no blocking call that its thread is inside of",
          "[task][call_options]") {
    world w;
    const rs::testing::recorder log(w.reg);
    const auto guard = rs::retry(at_once(2), w.reg) | rs::circuit_breaker({.failure_threshold = 1}, w.reg);
    const rs::retry around(at_once(1), w.reg);

    around.with({.correlation = "around"})([&] {
        auto task = guard.try_call(fails);
        CHECK_FALSE(task.start().result());
    });

    REQUIRE_FALSE(log.empty());
    for (const auto& e : log.events()) CHECK(e.correlation == "");
}

TEST_CASE("a task undoes something although its limit has struck or it is stopped", "[task][H-USE-07]") {
    for (const bool stops : {true, false}) {
        world w;
        const rs::retry client(at_once(2), w.reg);
        std::stop_source stop;
        int undone = 0;
        bool inherits = true;
        const auto undo = [&]() -> lazy<int> {
            ++undone;
            co_return 1;
        };
        const auto f = [&](rs::call_context& ctx) -> lazy<int> {
            try {
                co_await pause(w.clock, 1h);
            } catch (...) {}
            auto refused = client.with(ctx).try_call(undo);
            inherits = !co_await std::move(refused);
            auto rollback = client.with(ctx).with({.inherit = rs::inherit::nothing})(undo);
            co_await std::move(rollback);
            throw std::runtime_error("down");
        };

        auto task = rs::timeout(2s, w.reg).with({.stop_token = stop.get_token()}).try_call(f);
        task.start();
        if (stops) stop.request_stop();
        else w.clock.advance(2s);

        REQUIRE(task.done());
        CHECK(inherits);
        CHECK(undone == 1);
    }
}

TEST_CASE("a task sees its context, and passes it on", "[task]") {
    world w;
    const rs::retry outer(at_once(2), w.reg);
    const rs::retry inner({.base_delay = 0s,
                           .budget = rs::retry_budget::unlimited(),
                           .nested = rs::nested_retry::outermost_only},
                          w.reg);
    std::vector<std::string> seen;
    const auto leaf = [&](rs::call_context& ctx) -> lazy<int> {
        seen.push_back(std::string(ctx.operation()) + " " + std::to_string(ctx.attempt()) + " depth " +
                       std::to_string(ctx.retry_depth()) + (ctx.remaining() == 3s ? " 3s" : " unlimited"));
        throw 1;
        co_return 1;
    };
    const auto f = [&](rs::call_context& ctx) -> lazy<int> {
        auto nested = inner.named("leaf").with(ctx)(leaf);
        co_return co_await std::move(nested);
    };

    auto task = outer.named("root").with({.deadline = w.clock.now() + 3s}).try_call(f);

    CHECK_FALSE(task.start().result());
    CHECK(seen == std::vector<std::string>{"leaf 1 depth 2 3s", "leaf 1 depth 2 3s"});
    CHECK(rs::call_context::current() == nullptr);
}

TEST_CASE("a task's failure tells of the first of its call, and of what it nests", "[task][H-USE-15]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const auto guard = rs::retry(at_once(3), w.reg) | rs::circuit_breaker({}, w.reg);
    int calls = 0;
    const auto aborted = [&]() -> lazy<int> {
        if (++calls == 1) throw std::range_error("40001");
        throw std::runtime_error("25P02");
        co_return 0;
    };
    const auto cancelled = [&]() -> lazy<int> {
        try {
            throw std::system_error(std::make_error_code(std::errc::operation_canceled));
        } catch (...) {
            std::throw_with_nested(std::runtime_error("while paying"));
        }
        co_return 0;
    };

    auto paying = guard.try_call(aborted);
    const auto out = paying.start().result();
    auto stopping = breaker.try_call(cancelled);
    (void)stopping.start().result();

    CHECK(out.error().message() == "25P02");
    REQUIRE(out.error().first() != nullptr);
    CHECK(out.error().first()->message() == "40001");
    CHECK(breaker.state() == rs::circuit_state::closed);
    CHECK(breaker.stats().ignored == 1);
}

TEST_CASE("a task that meets stale connections is repeated at once, and no circuit counts them",
          "[task][H-USE-17]") {
    struct dead : std::runtime_error, rs::stale_connection_carrier {
        dead() : std::runtime_error("closed by the server") {}
        bool stale_connection() const noexcept override { return true; }
    };
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::retry retry(plain(1), w.reg);
    int calls = 0;
    const auto ask = [&]() -> lazy<int> {
        if (++calls <= 8) throw dead();
        co_return 42;
    };

    auto asking = (retry | breaker | rs::timeout(1s, w.reg)).try_call(ask);
    const auto out = asking.start().result();

    CHECK(out.has_value());
    CHECK(calls == 9);
    CHECK(retry.stats().transparent_repeats == 8);
    CHECK(breaker.stats().ignored == 8);
    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("tasks that are told of the call around them share its transparent repeats", "[task][H-USE-17]") {
    struct dead : std::runtime_error, rs::stale_connection_carrier {
        dead() : std::runtime_error("closed by the server") {}
        bool stale_connection() const noexcept override { return true; }
    };
    world w;
    const rs::retry retry(at_once(3), w.reg);
    int calls = 0;
    const auto leaf = [&]() -> lazy<int> {
        ++calls;
        throw dead();
        co_return 0;
    };
    const auto middle = [&](rs::call_context& ctx) -> lazy<int> {
        auto inner = retry.with(ctx)(leaf);
        co_return co_await std::move(inner);
    };
    const auto root = [&](rs::call_context& ctx) -> lazy<int> {
        auto inner = retry.with(ctx)(middle);
        co_return co_await std::move(inner);
    };

    auto asking = retry.try_call(root);
    CHECK(asking.start().result().has_failure());

    CHECK(calls == 27 + 8);
    CHECK(retry.stats().transparent_repeats == 8);
}
