// SPDX-License-Identifier: Apache-2.0
// Timeouts that bound silence: timeout_config::idle and ctx.progress().
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/recorder.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/lazy.hpp"
#include "support/world.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::lazy;
using support::pause;
using support::world;

/// Gets chunks after these times of silence, and tells of each.
auto streams(world& w, std::vector<rs::duration> gaps) {
    return [&w, gaps = std::move(gaps)](rs::call_context& ctx) {
        for (const rs::duration gap : gaps) {
            w.clock.advance(gap);
            ctx.progress();
        }
        return 1;
    };
}

TEST_CASE("a live stream is not cut, a silent one is", "[timeout][H-USE-16]") {
    world w;
    const rs::timeout timeout{{.name = "live", .limit = 60s, .idle = 10s}, w.reg};
    const rs::timeout endless{{.idle = 10s}, w.reg};
    const std::vector<rs::duration> three_minutes(18, 10s);

    CHECK(timeout(streams(w, {10s, 10s, 3s, 10s})) == 1);
    CHECK(endless(streams(w, three_minutes)) == 1);

    const auto silent = timeout.try_call(streams(w, {3s, 10s + 1ns, 1s}));
    CHECK(silent.error().code() == rs::errc::timed_out);
    CHECK(silent.error().message() == "timeout 'live': silence for 10s");
    const auto too_long = timeout.try_call(streams(w, three_minutes));
    CHECK(too_long.error().message() == "timeout 'live': no result within 60s");
    CHECK(endless.try_call(streams(w, {10s + 1ns})).error().message() == "timeout: silence for 10s");
    CHECK(timeout.stats().timed_out == 2);
    CHECK(timeout.stats().in_time == 1);
}

TEST_CASE("silence begins with the attempt, and anew with each attempt", "[timeout][H-USE-16]") {
    world w;
    const auto guard = rs::retry(support::plain(2), w.reg) | rs::timeout({.idle = 10s}, w.reg);
    std::vector<rs::duration> left;
    unsigned attempts = 0;

    guard([&](rs::call_context& ctx) {
        left.push_back(ctx.remaining());
        w.clock.advance(9s);
        ctx.progress();
        left.push_back(ctx.remaining());
        w.clock.advance(4s);
        left.push_back(ctx.remaining());
        if (++attempts == 1) throw std::runtime_error("reset");
    });

    CHECK(left == std::vector<rs::duration>{10s, 10s, 6s, 10s, 10s, 6s});
}

TEST_CASE("what is left is the smaller of what is left of the limit and of the silence",
          "[timeout][H-USE-16]") {
    world w;
    const auto began = w.clock.now();

    rs::timeout({.limit = 15s, .idle = 10s}, w.reg)([&](rs::call_context& ctx) {
        CHECK(ctx.deadline() == began + 10s);
        CHECK(ctx.remaining_as<std::chrono::seconds>() == 10s);
        w.clock.advance(3s);
        CHECK(ctx.remaining() == 7s);
        ctx.progress();
        CHECK(ctx.remaining() == 10s);
        CHECK(ctx.deadline() == began + 13s);
        w.clock.advance(9s);
        ctx.progress();
        CHECK(ctx.remaining() == 3s);
        CHECK(ctx.deadline() == began + 15s);
        CHECK(ctx.system_deadline() == w.clock.wall_now() + 3s);
    });
    // Outside of it progress() does nothing.
    rs::timeout(5s, w.reg)([&](rs::call_context& ctx) {
        w.clock.advance(4s);
        ctx.progress();
        CHECK(ctx.remaining() == 1s);
    });
}

TEST_CASE("the stop token is requested when the silence is too long, and not before", "[timeout][H-USE-16]") {
    world w;
    (void)rs::timeout({.limit = 60s, .idle = 10s}, w.reg).try_call([&](rs::call_context& ctx) {
        const std::stop_token stop = ctx.stop_token();
        for (int i = 0; i < 3; ++i) {
            w.clock.advance(10s - 1ns);
            ctx.progress();
        }
        w.clock.advance(10s - 1ns);
        CHECK_FALSE(stop.stop_requested());
        w.clock.advance(1ns);
        CHECK(stop.stop_requested());
        CHECK(ctx.stopped_by_deadline());
        CHECK_FALSE(ctx.stop_requested());
        CHECK(ctx.remaining() == 0s);
        w.clock.advance(1ns);
        ctx.progress(); // silence that was too long stays too long
        CHECK(ctx.remaining() == 0s);
    });
    CHECK(w.clock.pending_timers() == 0);

    // The fixed limit, and the caller's request, reach the token too.
    (void)rs::timeout({.limit = 15s, .idle = 10s}, w.reg).try_call([&](rs::call_context& ctx) {
        const std::stop_token stop = ctx.stop_token();
        w.clock.advance(9s);
        ctx.progress();
        w.clock.advance(6s);
        CHECK(stop.stop_requested());
    });
    std::stop_source caller;
    (void)rs::timeout({.idle = 10s}, w.reg)
        .with({.stop_token = caller.get_token()})
        .try_call([&](rs::call_context& ctx) {
            const std::stop_token stop = ctx.stop_token();
            CHECK_FALSE(stop.stop_requested());
            caller.request_stop();
            CHECK(stop.stop_requested());
            CHECK(ctx.stop_requested());
        });
    // Asked for after it, the token is requested already.
    (void)rs::timeout({.idle = 10s}, w.reg).try_call([&](rs::call_context& ctx) {
        w.clock.advance(10s);
        CHECK(ctx.stop_token().stop_requested());
    });
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("an attempt that silence has stopped, and that says it was cancelled, has timed out",
          "[timeout][H-USE-16]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const auto guard = breaker | rs::timeout({.name = "live", .limit = 60s, .idle = 10s}, w.reg);

    const auto out = guard.try_call([&](rs::call_context& ctx) {
        w.clock.sleep_until(w.clock.now() + 1h, ctx.stop_token());
        throw std::system_error(std::make_error_code(std::errc::operation_canceled));
    });

    CHECK(out.error().code() == rs::errc::timed_out);
    CHECK(out.error().message() == "timeout 'live': silence for 10s");
    CHECK(breaker.state() == rs::circuit_state::open);
}

TEST_CASE("progress of a call inside is progress of the calls around it", "[timeout][H-USE-16]") {
    world w;
    const rs::timeout outer({.idle = 10s}, w.reg);
    const rs::retry plain_inner(support::plain(), w.reg);
    const rs::timeout idle_inner({.idle = 20s}, w.reg);

    CHECK(outer.try_call([&] { plain_inner(streams(w, {9s, 9s, 9s})); }));
    CHECK(outer.try_call([&] { idle_inner(streams(w, {9s, 9s, 9s})); }));
    CHECK((outer | idle_inner).try_call(streams(w, {9s, 9s, 9s})));
    CHECK((outer | rs::retry(support::plain(), w.reg)).try_call(streams(w, {9s, 9s, 9s})));

    idle_inner([&](rs::call_context& ctx) {
        CHECK(ctx.remaining() == 20s);
        outer([&](rs::call_context& inside) { CHECK(inside.remaining() == 10s); });
    });
    outer([&](rs::call_context& ctx) {
        idle_inner([&](rs::call_context& inside) { CHECK(inside.remaining() == 10s); });
        w.clock.advance(4s);
        ctx.progress();
        w.clock.advance(4s);
        plain_inner([&](rs::call_context& inside) { CHECK(inside.remaining() == 6s); });
        plain_inner.with({.inherit = rs::inherit::nothing})([&](rs::call_context& inside) {
            CHECK(inside.remaining() == rs::duration::max());
            inside.progress();
        });
        CHECK(ctx.remaining() == 6s);
    });
    // The outer's silence is told by the outer.
    const auto out = outer.try_call([&] { return idle_inner.try_call(streams(w, {9s, 15s})); });
    CHECK_FALSE(out.has_value());
    CHECK(out.error().message() == "timeout: silence for 10s");
}

TEST_CASE("silence is bounded in every form of call", "[timeout][H-USE-16]") {
    world w;
    const rs::timeout limit({.limit = 1h, .idle = 10s}, w.reg);
    const auto good = streams(w, {9s, 9s, 9s});
    const auto bad = streams(w, {9s, 11s});

    CHECK(limit(good) == 1);
    CHECK(limit.named("op").call(good) == 1);
    CHECK(limit.wrap(good)() == 1);
    CHECK(limit.with({.idempotency = rs::idempotency::unsafe})(good) == 1);
    CHECK_THROWS_AS(limit(bad), rs::timeout_error);
    CHECK_THROWS_AS(limit.wrap(bad)(), rs::timeout_error);
    CHECK_FALSE(limit.named("op").try_call(bad));
    CHECK((rs::fallback(7) | limit)(bad) == 7);
    CHECK(rs::any_pipeline(rs::circuit_breaker({}, w.reg), limit)(good) == 1);
    CHECK_FALSE(rs::any_pipeline(rs::circuit_breaker({}, w.reg), limit).try_call(bad));
    CHECK(rs::timeout({.keep_late = true, .idle = 10s}, w.reg)(bad) == 1);
    CHECK(limit.stats().calls == 10);
    CHECK(limit.stats().timed_out == 5);
}

TEST_CASE("a retry does not wait into a silence that would be too long", "[timeout][H-USE-16]") {
    world w;
    const auto guard = rs::timeout({.idle = 10s}, w.reg) | rs::retry({.max_attempts = 5,
                                                                      .base_delay = 6s,
                                                                      .strategy = rs::backoff::constant,
                                                                      .jitter = rs::jitter::none},
                                                                     w.reg);
    int attempts = 0;

    CHECK_THROWS_AS(guard([&] {
                        ++attempts;
                        throw std::runtime_error("down");
                    }),
                    std::runtime_error);

    CHECK(attempts == 2);
}

TEST_CASE("the event tells which limit struck", "[timeout][event][H-USE-16]") {
    world w;
    rs::testing::recorder events(w.reg);
    const rs::timeout timeout{{.name = "live", .limit = 60s, .idle = 10s}, w.reg};

    (void)timeout.try_call(streams(w, {11s}));
    (void)timeout.try_call(streams(w, std::vector<rs::duration>(10, 9s)));

    REQUIRE(events.kinds() == std::vector{rs::event_kind::timed_out, rs::event_kind::timed_out});
    CHECK(events.events()[0].delay == 10s);
    CHECK(events.events()[0].error == "timeout 'live': silence for 10s");
    CHECK(events.events()[1].delay == 60s);
}

TEST_CASE("a client that gives up at the end of its silence has timed out", "[timeout][H-USE-16]") {
    world w;
    rs::testing::recorder events(w.reg);
    const rs::timeout timeout{{.name = "live", .limit = 60s, .idle = 10s}, w.reg};
    const auto gives_up_after = [&](rs::duration silence) {
        return [&w, silence](rs::call_context& ctx) {
            w.clock.advance(9s);
            ctx.progress();
            w.clock.advance(silence);
            throw std::runtime_error("read timed out");
        };
    };

    CHECK_THROWS_WITH(timeout(gives_up_after(10s - 1ms)), "read timed out");
    CHECK(timeout.stats().timed_out == 1);
    REQUIRE(events.kinds() == std::vector{rs::event_kind::timed_out});
    CHECK(events.events()[0].reason == "silence for 10s");
    CHECK_THROWS_WITH(timeout(gives_up_after(9s)), "read timed out");
    CHECK(timeout.stats().timed_out == 1);
    CHECK(timeout.stats().failed == 1);
}

TEST_CASE("a probe that makes progress keeps its place", "[timeout][circuit_breaker][H-USE-16]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1,
                                       .success_threshold = 1,
                                       .recovery_timeout = 1s,
                                       .half_open_max_calls = 1,
                                       .probe_lease = 20s},
                                      w.reg);
    for (const rs::duration limit : {rs::duration{0s}, rs::duration{1h}}) {
        const auto guard = breaker | rs::timeout({.limit = limit, .idle = 10s}, w.reg);
        (void)breaker.try_call([] { throw 1; });
        w.clock.advance(1s);

        guard([&](rs::call_context& ctx) {
            for (int i = 0; i < 10; ++i) {
                w.clock.advance(9s);
                ctx.progress();
                CHECK_FALSE(breaker.try_acquire());
            }
        });

        CHECK(breaker.state() == rs::circuit_state::closed);
    }
}

TEST_CASE("a probe keeps its place while a call inside of it makes progress",
          "[timeout][circuit_breaker][H-USE-16]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1,
                                       .success_threshold = 1,
                                       .recovery_timeout = 1s,
                                       .half_open_max_calls = 1,
                                       .probe_lease = 1s},
                                      w.reg);
    const rs::timeout outer({.idle = 10s}, w.reg);
    const rs::retry plain(support::plain(), w.reg);
    const rs::timeout idle({.idle = 3s}, w.reg);
    const auto probe = [&](const auto& work) {
        (void)breaker.try_call([] { throw 1; });
        w.clock.advance(1s);
        (breaker | outer)(work);
        return breaker.state();
    };
    const auto ticks = [&](rs::duration gap) {
        return [&w, &breaker, gap](rs::call_context& ctx) {
            for (int i = 0; i < 10; ++i) {
                w.clock.advance(gap);
                ctx.progress();
                CHECK_FALSE(breaker.try_acquire());
            }
        };
    };

    CHECK(probe([&] { plain(ticks(9s)); }) == rs::circuit_state::closed);
    CHECK(probe([&] { plain([&] { plain(ticks(9s)); }); }) == rs::circuit_state::closed);
    // The silence of the outer call is the longer one: the probe may be silent for that long when the inner has ended.
    CHECK(probe([&] {
              idle(ticks(2s));
              w.clock.advance(9s);
              CHECK_FALSE(breaker.try_acquire());
          }) == rs::circuit_state::closed);
    // Progress of a call that inherits nothing is none of the probe's.
    CHECK(probe([&] {
              idle.with({.inherit = rs::inherit::nothing})([&](rs::call_context& ctx) {
                  w.clock.advance(2s);
                  ctx.progress();
              });
              w.clock.advance(8s);
              CHECK_FALSE(breaker.try_acquire()); // its arrival ends the lease
          }) == rs::circuit_state::open);
}

TEST_CASE("idle is a field like any other", "[timeout]") {
    world w;
    CHECK(rs::validate(rs::timeout_config{.idle = 10s}).empty());
    CHECK(rs::validate(rs::timeout_config{.limit = 1s, .idle = 10s}).empty());
    CHECK(rs::validate(rs::timeout_config{.limit = 1s, .idle = 0s}) ==
          "timeout_config.idle is 0ns; it must be more than 0");
    CHECK(rs::validate(rs::timeout_config{}) == "timeout_config.limit is 0ns; it must be more than 0");
    CHECK(rs::validate(rs::timeout_config{.limit = -1s, .idle = 10s})
              .starts_with("timeout_config.limit is -1s; it must be more than 0"));
    CHECK_THROWS_AS(rs::timeout({.name = "t", .idle = -1s}, w.reg), std::invalid_argument);

    const rs::timeout timeout{{.name = "live", .limit = 60s}, w.reg};
    CHECK_THROWS_AS(rs::timeout({.name = "live", .limit = 60s, .idle = 10s}, w.reg), std::invalid_argument);
    timeout.update({.name = "live", .limit = 60s, .idle = 5s});
    CHECK_FALSE(timeout.try_call(streams(w, {6s})));
    timeout.update({.name = "live", .limit = 60s});
    CHECK(timeout.try_call(streams(w, {6s})));
}

// Coroutines.

/// As streams(), awaiting. It does not look at its context.
auto awaits(world& w, std::vector<rs::duration> gaps) {
    return [&w, gaps = std::move(gaps)](rs::call_context& ctx) -> lazy<int> {
        for (const rs::duration gap : gaps) {
            co_await pause(w.clock, gap);
            ctx.progress();
        }
        co_return 1;
    };
}

TEST_CASE("a task that is silent for too long is asked to end, a live one is not",
          "[task][timeout][H-USE-16]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::timeout limit({.name = "live", .limit = 60s, .idle = 10s}, w.reg);
    const auto live = awaits(w, {9s, 9s, 9s, 9s});
    const auto silent = awaits(w, {9s, 9s, 1h});

    auto good = (breaker | limit)(live);
    good.start();
    w.clock.advance(36s);
    REQUIRE(good.done());
    CHECK(good.result() == 1);

    auto bad = (breaker | limit).try_call(silent);
    bad.start();
    w.clock.advance(28s - 1ns);
    CHECK_FALSE(bad.done());
    w.clock.advance(1ns);
    REQUIRE(bad.done());
    const auto out = bad.result();
    CHECK(out.error().code() == rs::errc::timed_out);
    CHECK(out.error().message() == "timeout 'live': silence for 10s");
    CHECK(limit.stats().timed_out == 1);
    CHECK(breaker.state() == rs::circuit_state::open);
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("a task with progress still ends at its limit", "[task][timeout][H-USE-16]") {
    world w;
    const rs::timeout limit({.limit = 30s, .idle = 10s}, w.reg);
    const auto live = awaits(w, std::vector<rs::duration>(10, 9s));

    auto task = limit.try_call(live);
    task.start();
    w.clock.advance(30s - 1ns);
    CHECK_FALSE(task.done());
    w.clock.advance(1ns);

    REQUIRE(task.done());
    CHECK(task.result().error().message() == "timeout: no result within 30s");
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("of a silent task that its caller cancels the cancellation counts", "[task][timeout][H-USE-16]") {
    world w;
    std::stop_source stop;
    const rs::timeout limit({.idle = 10s}, w.reg);
    const auto silent = awaits(w, {1h});

    auto task = limit.with({.stop_token = stop.get_token()}).try_call(silent);
    task.start();
    w.clock.advance(10s - 1ns);
    stop.request_stop();

    REQUIRE(task.done());
    CHECK(task.result().error().is_cancellation());
    CHECK(limit.stats().timed_out == 0);
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("the stop token of a task's attempt is requested by silence", "[task][timeout][H-USE-16]") {
    world w;
    const rs::timeout limit({.limit = 60s, .idle = 10s}, w.reg);
    std::optional<std::stop_token> token;
    const auto silent = [&](rs::call_context& ctx) -> lazy<int> {
        token = ctx.stop_token();
        co_await pause(w.clock, 9s);
        ctx.progress();
        co_await pause(w.clock, 1h);
        co_return 1;
    };

    auto task = limit.try_call(silent);
    task.start();
    w.clock.advance(19s - 1ns);
    CHECK_FALSE(token->stop_requested());
    w.clock.advance(1ns);

    CHECK(token->stop_requested());
    CHECK(task.done());
}

TEST_CASE("tasks inside of tasks tell those around them of progress", "[task][timeout][H-USE-16]") {
    world w;
    const rs::timeout outer({.idle = 10s}, w.reg);
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const auto live = awaits(w, {9s, 9s, 9s});
    const auto silent = awaits(w, {9s, 1h});
    const auto around = [&](const auto& leaf) {
        return [&](rs::call_context& ctx) -> lazy<int> {
            auto call = breaker.with(ctx)(leaf);
            co_return co_await std::move(call);
        };
    };
    const auto lives = around(live);
    const auto hangs = around(silent);

    auto good = outer(lives);
    good.start();
    w.clock.advance(27s);
    REQUIRE(good.done());
    CHECK(good.result() == 1);

    auto bad = outer.try_call(hangs);
    bad.start();
    w.clock.advance(19s);
    REQUIRE(bad.done());
    CHECK(bad.result().error().code() == rs::errc::timed_out);
    CHECK(breaker.stats().failure_count == 1); // the inner circuit has seen the hang
}

TEST_CASE("a silent task that is destroyed leaves no timer behind", "[task][timeout][H-USE-16]") {
    world w;
    const rs::timeout limit({.limit = 60s, .idle = 10s}, w.reg);
    const auto silent = [&](rs::call_context& ctx) -> lazy<int> {
        const std::stop_token stop = ctx.stop_token();
        co_await pause(w.clock, 1h);
        co_return stop.stop_requested() ? 1 : 2;
    };
    {
        auto task = limit(silent);
        task.start();
        CHECK(w.clock.pending_timers() > 0);
    }
    CHECK(w.clock.pending_timers() == 0);
    w.clock.advance(1h);
}

} // namespace
