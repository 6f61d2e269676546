// SPDX-License-Identifier: Apache-2.0
#include <resilience/bulkhead.hpp>
#include <resilience/resilience.hpp>
#include <resilience/testing/recorder.hpp>

#include "support/catch.hpp"
#include "support/lazy.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::lazy;
using support::world;

/// Calls of one bulkhead as tasks: each writes its name when it runs, and holds its place for a while.
struct crowd {
    explicit crowd(rs::bulkhead_config config) : guard(std::move(config), w.reg) {}

    void comes(char name, rs::call_options options = {}, rs::duration holds = 10ms) {
        auto f = [this, name, holds]() -> lazy<int> {
            ran += name;
            most = std::max(most, ++inside);
            co_await support::pause(w.clock, holds);
            --inside;
            co_return 1;
        };
        tasks.push_back({name, guard.with(std::move(options)).try_call(std::move(f))});
        tasks.back().task.start();
    }
    /// What was refused so far, and how.
    std::string refused() {
        std::string all;
        for (auto& each : tasks) {
            if (!each.task.done()) continue;
            if (const auto out = each.task.result(); !out) all += each.name;
        }
        return all;
    }
    std::string end_of(char name) {
        for (auto& each : tasks) {
            if (each.name == name && each.task.done()) {
                const auto out = each.task.result();
                return out ? "ran" : out.error().message();
            }
        }
        return "waits";
    }
    void at_rest() {
        w.clock.advance(1h);
        const auto s = guard.stats();
        CHECK(s.running == 0);
        CHECK(s.queued == 0);
        CHECK(s.admitted + s.rejected + s.cancelled == tasks.size());
        CHECK(w.clock.pending_timers() == 0);
    }

    world w{};
    rs::bulkhead guard;
    struct named_task {
        char name;
        lazy<rs::outcome<int>> task;
    };
    std::list<named_task> tasks{};
    std::string ran{};
    int inside = 0, most = 0;
};

rs::call_options of(rs::priority p) { return {.priority = p}; }

/// A call that waits, without a driver.
struct waiting_call {
    waiting_call(const rs::bulkhead& guard, rs::call_context& ctx) : call(guard.begin(ctx)) {
        CHECK(call.admit(ctx).what() == rs::admission::kind::park);
    }
    rs::bulkhead::attempt_state call;
};

} // namespace

TEST_CASE("a bulkhead runs so many attempts at once and refuses the others", "[bulkhead][H-BH-05]") {
    world w;
    const rs::testing::recorder log(w.reg);
    const rs::bulkhead guard({.name = "reports", .max_concurrent = 2}, w.reg);
    int inside = 0;

    const auto outer = guard.try_call([&] {
        return guard([&] {
            const auto refused = guard.named("third").try_call([&] { ++inside; });
            REQUIRE_FALSE(refused);
            CHECK(refused.error().code() == rs::errc::bulkhead_full);
            CHECK(refused.error().message() == "bulkhead 'reports' is full");
            CHECK(guard.stats().running == 2);
            CHECK(guard.stats().available == 0);
            return 7;
        });
    });

    CHECK(outer.value() == 7);
    CHECK(inside == 0);
    const auto s = guard.stats();
    CHECK(s.running == 0);
    CHECK(s.available == 2);
    CHECK(s.admitted == 2);
    CHECK(s.rejected == 1);
    CHECK(s.max_running == 2);
    REQUIRE(log.size() == 1);
    CHECK(log.last()->kind == rs::event_kind::call_rejected);
    CHECK(log.last()->operation == "third");
    CHECK(log.last()->reason == "is full");
}

TEST_CASE("a place is given back whatever becomes of the attempt", "[bulkhead][H-BH-02]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 1}, w.reg);
    const auto throws_inside = [&] { guard([]() -> int { throw std::runtime_error("no"); }); };

    CHECK_THROWS_AS(throws_inside(), std::runtime_error);
    CHECK(guard.stats().available == 1);
    {
        auto task = guard.try_call([&]() -> lazy<int> {
            co_await support::pause(w.clock, 1s);
            co_return 1;
        });
        task.start();
        CHECK(guard.stats().available == 0);
    }
    CHECK(guard.stats().available == 1);
    CHECK((rs::retry(support::at_once(3), w.reg) | guard)
              .try_call([] { return std::errc::io_error; })
              .has_value() == false);
    CHECK(guard.stats().available == 1);
    CHECK(guard.stats().admitted == 5);
}

TEST_CASE("a bulkhead without places refuses all", "[bulkhead]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 0, .max_queue = 5}, w.reg);

    CHECK_FALSE(guard.try_call([] {}));
    CHECK_FALSE(guard.try_acquire());
    CHECK(w.clock.slept().empty());
}

TEST_CASE("permits hold places, and give them back once", "[bulkhead]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 2}, w.reg);
    auto one = guard.try_acquire();
    auto two = guard.try_acquire();
    REQUIRE(one);
    REQUIRE(two);
    CHECK_FALSE(guard.try_acquire());
    CHECK_FALSE(guard.try_call([] {}));

    *one = std::move(*two); // the first one's is given back
    CHECK(guard.stats().running == 1);
    two.reset();
    CHECK(guard.stats().running == 1);
    auto moved = std::move(one);
    one.reset();
    CHECK(guard.stats().running == 1);
    moved.reset();
    CHECK(guard.stats().running == 0);
}

TEST_CASE("a thread that waits gets the place at the moment when it is given back", "[bulkhead][H-BH-09]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 1, .max_queue = 1, .max_wait = 10s}, w.reg);
    auto held = guard.try_acquire();
    const auto gives = w.clock.call_at(w.clock.now() + 3s, [&] { held.reset(); });
    const auto begun = w.clock.now();

    CHECK(guard([&] { return w.clock.now() - begun; }) == 3s);
    CHECK(w.clock.slept().size() == 1); // it did not look in between

    CHECK(guard.stats().total_wait == 3s);
    CHECK(guard.stats().available == 1);
}

TEST_CASE("a call that waits for itself ends at max_wait", "[bulkhead][H-BH-12]") {
    world w;
    const rs::bulkhead guard({.name = "b", .max_concurrent = 1, .max_queue = 1, .max_wait = 10s}, w.reg);
    const auto begun = w.clock.now();

    guard([&] {
        const auto inner = guard.try_call([] {});
        CHECK(w.clock.now() - begun == 10s);
        REQUIRE_FALSE(inner);
        CHECK(inner.error().message() == "bulkhead 'b' had no place for the call in time");
    });

    CHECK(guard.stats().expired == 1);
    CHECK(guard.stats().rejected == 1);
}

TEST_CASE("waiting calls run in the order in which they came, and newcomers never overtake", "[bulkhead]") {
    crowd c({.max_concurrent = 2, .max_queue = 10});
    for (char name = 'a'; name <= 'h'; ++name) c.comes(name);
    CHECK(c.ran == "ab");
    c.w.clock.advance(10ms);
    CHECK(c.ran == "abcd");
    c.comes('x');
    c.w.clock.advance(10ms);
    CHECK(c.ran == "abcdef");
    c.w.clock.advance(20ms);

    CHECK(c.ran == "abcdefghx");
    CHECK(c.most == 2);
    c.at_rest();
}

TEST_CASE("lifo: the last that came runs first", "[bulkhead]") {
    crowd c({.max_concurrent = 1, .max_queue = 10, .order = rs::queue_order::lifo});
    for (char name = 'a'; name <= 'e'; ++name) c.comes(name);
    c.w.clock.advance(100ms);

    CHECK(c.ran == "aedcb");
    c.at_rest();
}

TEST_CASE("higher priorities run first, and a full queue makes way for them", "[bulkhead]") {
    crowd c({.max_concurrent = 1, .max_queue = 3});
    c.comes('a');
    c.comes('l', of(rs::priority::low));
    c.comes('n');
    c.comes('s', of(rs::priority::sheddable));
    c.comes('m'); // in place of s
    CHECK(c.end_of('s') == "bulkhead gave the call's place in its queue to one of higher priority");
    c.comes('c', of(rs::priority::critical)); // in place of l
    c.comes('o');                             // nobody is lower
    CHECK(c.refused() == "lso");
    c.w.clock.advance(50ms);

    CHECK(c.ran == "acnm");
    CHECK(c.guard.stats().evicted == 2);
    CHECK(c.guard.stats().rejected == 3);
    c.at_rest();
}

TEST_CASE("of one priority the call that would be served last makes way", "[bulkhead]") {
    for (const auto order : {rs::queue_order::fifo, rs::queue_order::lifo}) {
        crowd c({.max_concurrent = 1, .max_queue = 2, .order = order});
        c.comes('a');
        c.comes('1', of(rs::priority::low));
        c.w.clock.advance(1ms);
        c.comes('2', of(rs::priority::low));
        c.w.clock.advance(1ms);
        c.comes('h', of(rs::priority::high));

        CHECK(c.refused() == (order == rs::queue_order::fifo ? "2" : "1"));
        c.at_rest();
    }
}

TEST_CASE("a waiting call gains a priority every half of max_wait", "[bulkhead][H-BH-08]") {
    crowd c({.max_concurrent = 1, .max_queue = 10, .max_wait = 1s});
    c.comes('a', {}, 600ms);
    c.comes('l', of(rs::priority::low));
    c.w.clock.advance(500ms - 1ns);
    c.comes('b'); // normal, as l is from now on
    c.w.clock.advance(1ns);
    c.comes('h', of(rs::priority::high));
    c.w.clock.advance(200ms);

    CHECK(c.ran == "ahlb");
    c.at_rest();
}

TEST_CASE("a call that cannot get a place before its deadline is refused at once", "[bulkhead]") {
    crowd c({.name = "b", .max_concurrent = 2, .max_queue = 10, .max_wait = 1h});
    c.comes('x', {}, 100ms); // now it knows how long a place is held
    c.w.clock.advance(100ms);
    c.comes('a', {}, 100ms);
    c.comes('b', {}, 100ms);
    const auto in = [&](rs::duration d) { return rs::call_options{.deadline = c.w.clock.now() + d}; };
    c.comes('t', in(49ms)); // the first in the queue gets a place in 50ms
    CHECK(c.end_of('t') == "bulkhead 'b' has no place before the call's deadline; try again in 50ms");
    c.comes('u', in(50ms));
    c.comes('v', in(99ms));
    CHECK(c.end_of('v') == "bulkhead 'b' has no place before the call's deadline; try again in 100ms");
    CHECK(c.end_of('u') == "waits");
    c.comes('w');
    c.at_rest();
}

TEST_CASE("what is past its deadline is never run, and its place goes on", "[bulkhead]") {
    crowd c({.max_concurrent = 1, .max_queue = 10, .max_wait = 1h});
    c.comes('a', {}, 10ms);
    c.comes('d', {.deadline = c.w.clock.now() + 10ms}); // gets the place at its deadline
    c.comes('b');
    c.w.clock.advance(20ms);

    CHECK(c.ran == "ab");
    CHECK(c.end_of('d') == "bulkhead had no place for the call in time; try again in 20ms");
    CHECK(c.guard.stats().expired == 1);
    c.at_rest();
}

TEST_CASE("a stop request and the end of a coroutine leave the queue at once", "[bulkhead]") {
    crowd c({.max_concurrent = 1, .max_queue = 3});
    std::stop_source stop;
    c.comes('a');
    c.comes('s', {.stop_token = stop.get_token()});
    c.comes('d');
    CHECK(c.guard.stats().queued == 2);
    stop.request_stop();
    CHECK(c.guard.stats().queued == 1);
    CHECK(c.end_of('s') == "call cancelled before it had an outcome");
    c.tasks.pop_back();
    CHECK(c.guard.stats().queued == 0);
    CHECK(c.guard.stats().cancelled == 2);
    CHECK(c.guard.stats().rejected == 0);
    CHECK(c.guard.stats().admitted == 1);
    c.w.clock.advance(1s);
    CHECK(c.guard.stats().available == 1);
}

TEST_CASE(
    "a call that was handed its place and is destroyed before it runs hands it on, and was not admitted",
    "[bulkhead]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 1, .max_queue = 2}, w.reg);
    auto held = guard.try_acquire();
    rs::call_context one(w.clock), other(w.clock);
    auto first = std::make_unique<waiting_call>(guard, one);
    waiting_call second(guard, other);

    held.reset(); // to the first
    first.reset();

    CHECK(second.call.admit(other).what() == rs::admission::kind::go);
    CHECK(guard.stats().admitted == 2);
    CHECK(guard.stats().cancelled == 1);
    CHECK(guard.stats().running == 1);
}

TEST_CASE("a call that learns of its place after its deadline, or after a stop request, hands it on",
          "[bulkhead][H-BH-01][H-BH-04][H-USE-27]") {
    for (const bool stops : {false, true}) {
        world w;
        const rs::bulkhead guard({.max_concurrent = 1, .max_queue = 2, .max_wait = 1h}, w.reg);
        auto held = guard.try_acquire();
        std::stop_source stop;
        const rs::call_options options{.deadline = w.clock.now() + 1s, .stop_token = stop.get_token()};
        rs::call_context one(w.clock), other(w.clock);
        one.apply(options);
        waiting_call first(guard, one);
        waiting_call second(guard, other);

        held.reset(); // in time
        if (stops) stop.request_stop();
        else w.clock.advance(1s);

        CHECK(first.call.admit(one).what() == rs::admission::kind::reject);
        CHECK(second.call.admit(other).what() == rs::admission::kind::go);
        CHECK(guard.stats().admitted == 2);
        CHECK(guard.stats().cancelled == (stops ? 1 : 0));
        CHECK(guard.stats().expired == (stops ? 0 : 1));
    }
}

TEST_CASE("a million waiting calls that are destroyed leave nothing in the queue", "[bulkhead][H-BH-11]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 1, .max_queue = 2}, w.reg);
    const auto held = guard.try_acquire();
    rs::call_context ctx(w.clock);
    for (int i = 0; i < 1'000'000; ++i) {
        auto call = guard.begin(ctx);
        if (call.admit(ctx).what() != rs::admission::kind::park) FAIL("not parked");
    }
    CHECK(guard.stats().queued == 0);
    CHECK(guard.stats().cancelled == 1'000'000);
}

TEST_CASE("a larger limit lets waiting calls in, a smaller one is kept once it has drained",
          "[bulkhead][H-BH-06]") {
    crowd c({.max_concurrent = 1, .max_queue = 10});
    for (char name = 'a'; name <= 'f'; ++name) c.comes(name);
    auto config = c.guard.config();
    config.max_concurrent = 3;
    c.guard.update(config);
    CHECK(c.ran == "abc");
    config.max_concurrent = 1;
    c.guard.update(config);
    CHECK(c.guard.stats().running == 3);
    CHECK(c.guard.stats().available == 0);
    c.w.clock.advance(10ms);
    CHECK(c.ran == "abcd");
    CHECK(c.guard.stats().running == 1);
    c.w.clock.advance(10ms);
    CHECK(c.ran == "abcde");
    c.at_rest();
}

TEST_CASE("adaptive: first come, first served, until the queue stands; then the newest, and short waits",
          "[bulkhead]") {
    crowd c({.max_concurrent = 1,
             .max_queue = 100,
             .max_wait = 10s,
             .order = rs::queue_order::adaptive,
             .codel_target = 5ms,
             .codel_interval = 100ms});
    c.comes('a', {}, 10ms);
    for (char name = 'b'; name <= 'd'; ++name) c.comes(name, {}, 60ms);
    c.w.clock.advance(71ms); // b after 10ms, c after 70: the first answer ends an interval that never was
    CHECK(c.ran == "abc");
    c.w.clock.advance(60ms); // d after 130ms: every wait of the interval was too long
    CHECK(c.ran == "abcd");
    for (char name = 'p'; name <= 'r'; ++name) c.comes(name, {}, 1ms);
    c.w.clock.advance(5ms); // they wait no longer than the target
    CHECK(c.refused() == "pqr");
    c.w.clock.advance(53ms);
    c.comes('s', {}, 1ms);
    c.comes('t', {}, 1ms);
    c.w.clock.advance(4ms);
    CHECK(c.ran == "abcdts");
    c.at_rest();
}

TEST_CASE("a dry run decides, counts and tells, and lets all pass", "[bulkhead]") {
    world w;
    rs::testing::recorder log(w.reg);
    const rs::bulkhead guard({.name = "b", .max_concurrent = 1, .max_queue = 1, .dry_run = true}, w.reg);
    int inside = 0;

    guard([&] { guard([&] { guard([&] { ++inside; }); }); });

    CHECK(inside == 1);
    CHECK(w.clock.slept().empty());
    CHECK(guard.stats().admitted == 3);
    CHECK(guard.stats().rejected == 1);
    CHECK(guard.stats().running == 0);
    CHECK(log.names() == std::vector<std::string>{"would_have_rejected"});
    CHECK(log.last()->error == "bulkhead 'b' is full");
}

TEST_CASE("a refusal is no failure to a circuit, and no retry repeats it by itself", "[bulkhead]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 0}, w.reg);
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::retry retry(support::at_once(3), w.reg);

    CHECK_THROWS_AS((retry | breaker | guard)([] {}), rs::bulkhead_full_error);

    CHECK(breaker.stats().ignored == 1);
    CHECK(breaker.stats().failures == 0);
    CHECK(retry.stats().retries == 0);
}

TEST_CASE("a bad config of a bulkhead is refused, naming field, value and range", "[bulkhead]") {
    CHECK(validate(rs::bulkhead_config{.max_wait = -1s}) ==
          "bulkhead_config.max_wait is -1s; it must be 0 or more");
    CHECK(validate(rs::bulkhead_config{.codel_target = 0s}) ==
          "bulkhead_config.codel_target is 0ns; it must be more than 0");
    CHECK(validate(rs::bulkhead_config{.codel_interval = 0s}) ==
          "bulkhead_config.codel_interval is 0ns; it must be more than 0");
    CHECK(validate(rs::bulkhead_config{.order = static_cast<rs::queue_order>(3)}) ==
          "bulkhead_config.order is 3; it must be one of fifo, lifo, adaptive");
    CHECK(validate(rs::bulkhead_config{}).empty());
    CHECK(validate(rs::bulkhead_config{.max_concurrent = UINT32_MAX, .max_queue = UINT32_MAX}).empty());
    CHECK_THROWS_AS(rs::bulkhead({.max_wait = -1s}), std::invalid_argument);
}

TEST_CASE("a bulkhead lies in pipelines made at run time, too", "[bulkhead][any_pipeline]") {
    world w;
    const rs::bulkhead gate({.name = "b", .max_concurrent = 1, .max_queue = 1, .max_wait = 1s}, w.reg);
    const rs::any_pipeline guard(rs::retry(support::at_once(1), w.reg), gate, rs::timeout(1h, w.reg));
    auto held = gate.try_acquire();
    const auto gives = w.clock.call_at(w.clock.now() + 500ms, [&] { held.reset(); });

    CHECK(guard([] { return 1; }) == 1);
    CHECK(w.reg.find<rs::bulkhead>("b")->stats().total_wait == 500ms);
}
