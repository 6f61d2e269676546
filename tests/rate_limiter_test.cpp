// SPDX-License-Identifier: Apache-2.0
#include <resilience/rate_limiter.hpp>
#include <resilience/resilience.hpp>
#include <resilience/testing/recorder.hpp>

#include "support/catch.hpp"
#include "support/lazy.hpp"
#include "support/sanitizers.hpp"
#include "support/world.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <cstdint>
#include <limits>
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

struct never_sent : std::runtime_error, rs::not_sent_carrier {
    never_sent() : std::runtime_error("refused") {}
    bool not_sent() const noexcept override { return true; }
};

/// Calls of one limiter as tasks, each of which writes its name when it runs.
struct callers {
    explicit callers(rs::rate_limiter_config config) : guard(std::move(config), w.reg) {}

    void comes(char name, rs::call_options options = {}) {
        auto f = [this, name]() -> lazy<int> {
            ran += name;
            co_return 1;
        };
        tasks.push_back({name, guard.with(std::move(options)).try_call(std::move(f))});
        tasks.back().task.start();
    }
    std::string end_of(char name) {
        for (auto& each : tasks) {
            if (each.name != name || !each.task.done()) continue;
            const auto out = each.task.result();
            return out ? "ran" : out.error().message();
        }
        return "waits";
    }

    world w{};
    rs::rate_limiter guard;
    struct named_task {
        char name;
        lazy<rs::outcome<int>> task;
    };
    std::list<named_task> tasks{};
    std::string ran{};
};

rs::call_options costs(std::uint32_t cost) { return {.cost = cost}; }

TEST_CASE("a rate limiter lets a burst pass, and then the rate", "[rate_limiter]") {
    world w;
    const rs::testing::recorder log(w.reg);
    const rs::rate_limiter guard({.name = "api", .permits = 10, .burst = 2}, w.reg);
    int ran = 0;
    for (int i = 0; i < 2; ++i) guard([&] { ++ran; });
    const auto refused = guard.named("third").try_call([&] { ++ran; });

    REQUIRE(!refused);
    CHECK(refused.error().code() == rs::errc::rate_limited);
    CHECK(refused.error().message() == "rate limiter 'api' has no permit; next permit in 100ms");
    CHECK(refused.error().retry_after() == rs::duration{100ms});
    CHECK_THROWS_AS(guard([] {}), rs::rate_limited_error);
    CHECK(ran == 2);
    w.clock.advance(100ms - 1ns);
    CHECK_FALSE(guard.try_call([] {}));
    w.clock.advance(1ns);
    guard([&] { ++ran; });
    CHECK(ran == 3);

    const auto s = guard.stats();
    CHECK(s.name == "api");
    CHECK(s.available == 0);
    CHECK(s.admitted == 3);
    CHECK(s.rejected == 3);
    CHECK(s.cancelled == 0);
    CHECK(!s.server_paused_until);
    const auto events = log.of_kind(rs::event_kind::call_rejected);
    REQUIRE(events.size() == 3);
    CHECK(events[0].policy_kind == "rate_limiter");
    CHECK(events[0].policy == "api");
    CHECK(events[0].operation == "third");
    CHECK(events[0].delay == rs::duration{100ms});
}

TEST_CASE("a call waits for its turn, within max_wait, on a thread and as a task", "[rate_limiter]") {
    callers c({.permits = 10, .burst = 1, .max_wait = 300ms});
    for (char name = 'a'; name <= 'e'; ++name) c.comes(name);
    CHECK(c.ran == "a");
    CHECK(c.guard.stats().waiting == 3);
    CHECK(c.end_of('e') == "rate limiter has no permit; next permit in 400ms"); // at once
    c.w.clock.advance(100ms);
    CHECK(c.ran == "ab");
    c.w.clock.advance(200ms);
    CHECK(c.ran == "abcd");
    CHECK(c.guard.stats().waiting == 0);
    CHECK(c.guard.stats().total_wait == 600ms);

    c.guard([] {});
    CHECK(c.w.clock.slept() == std::vector<rs::duration>{100ms});
    CHECK(c.guard.stats().total_wait == 700ms);
    CHECK(c.guard.stats().admitted == 5);
    CHECK(c.w.clock.pending_timers() == 0);
}

TEST_CASE("what cannot have its turn before its deadline is refused at once, and takes nothing",
          "[rate_limiter][H-RL-09][H-RL-16]") {
    callers c({.name = "api", .permits = 10, .burst = 1, .max_wait = 1h});
    c.comes('a');
    c.comes('t', {.deadline = c.w.clock.now() + 99ms});
    CHECK(c.end_of('t') ==
          "rate limiter 'api' has no permit before the call's deadline; next permit in 100ms");
    c.comes('b', {.deadline = c.w.clock.now() + 101ms});
    c.w.clock.advance(100ms);
    CHECK(c.ran == "ab");
}

TEST_CASE("calls that are stopped or destroyed while they wait give their turns back",
          "[rate_limiter][H-RL-01]") {
    callers c({.permits = 10, .max_wait = 1h});
    for (int i = 0; i < 10; ++i) c.comes('x');
    std::stop_source stop;
    for (int i = 0; i < 50; ++i) c.comes('s', {.stop_token = stop.get_token()});
    for (int i = 0; i < 50; ++i) c.comes('d');
    CHECK(c.guard.stats().waiting == 100);
    while (c.tasks.back().name == 'd') c.tasks.pop_back();
    stop.request_stop();
    CHECK(c.guard.stats().waiting == 0);
    CHECK(c.guard.stats().cancelled == 100);
    CHECK(c.end_of('s') == "call cancelled before it had an outcome");
    c.comes('a');
    c.w.clock.advance(100ms);
    CHECK(c.ran == "xxxxxxxxxxa");
    CHECK(c.guard.stats().rejected == 0);
}

TEST_CASE("an attempt that did not reach the other side gives its permit back", "[rate_limiter]") {
    world w;
    const rs::rate_limiter guard({.permits = 1}, w.reg);
    const rs::circuit_breaker breaker({}, w.reg);
    const auto both = guard | breaker;
    breaker.force_open();
    for (int i = 0; i < 10; ++i) {
        const auto refused = both.try_call([] {});
        REQUIRE(!refused);
        CHECK(refused.error().code() == rs::errc::circuit_open);
    }
    breaker.reset();
    for (int i = 0; i < 10; ++i) CHECK_THROWS_AS(guard([]() -> int { throw never_sent(); }), never_sent);
    CHECK(guard.stats().available == 1);
    CHECK_THROWS_AS(guard([]() -> int { throw std::runtime_error("sent"); }), std::runtime_error);
    CHECK(guard.stats().available == 0);
}

TEST_CASE("requests and tokens are taken together or not at all", "[rate_limiter]") {
    world w;
    const rs::rate_limiter requests({.permits = 10, .per = 1min}, w.reg);
    const rs::rate_limiter tokens({.permits = 1'000, .per = 1min, .weighted = true}, w.reg);
    const auto guard = requests | tokens;
    CHECK(guard.with(costs(900)).try_call([] {}));
    CHECK_FALSE(guard.with(costs(200)).try_call([] {}));
    CHECK(requests.stats().available == 9);
    CHECK(tokens.stats().available == 100);
    const auto never = guard.with(costs(1'001)).try_call([] {});
    REQUIRE(!never);
    CHECK(never.error().message() == "rate limiter never gives so many permits at once");
    CHECK(!never.error().retry_after());
    CHECK(tokens.stats().rejected_cost == 1);
    CHECK(requests.stats().available == 9);
}

TEST_CASE("a limiter that is not weighted takes one for any cost", "[rate_limiter]") {
    world w;
    const rs::rate_limiter guard({.permits = 2}, w.reg);
    CHECK(guard.with(costs(1'000)).try_call([] {}));
    CHECK(guard.stats().available == 1);
}

TEST_CASE("a cost is settled once it is known, down to a debt of a burst", "[rate_limiter]") {
    world w;
    const rs::rate_limiter tokens({.permits = 100, .weighted = true}, w.reg);
    tokens.with(costs(50))([] {});
    tokens.settle_cost(50, 30);
    CHECK(tokens.stats().available == 70);
    tokens.settle_cost(10, 1'000'000);
    CHECK(tokens.stats().available == 0);
    w.clock.advance(1s); // of the debt
    CHECK_FALSE(tokens.try_acquire());
    w.clock.advance(500ms);
    CHECK(tokens.try_acquire(50));
    CHECK_FALSE(tokens.try_acquire());
}

TEST_CASE("permits by hand: none of nothing, none beyond a burst", "[rate_limiter][H-RL-10]") {
    world w;
    const rs::rate_limiter guard({.name = "api", .permits = 10}, w.reg);
    CHECK_THROWS_WITH(guard.try_acquire(0), "rate_limiter::try_acquire: n is 0; it must be 1 or more");
    CHECK_THROWS_WITH(guard.reserve(0), "rate_limiter::reserve: n is 0; it must be 1 or more");
    CHECK(guard.stats().available == 10);
    CHECK_FALSE(guard.try_acquire(11));
    CHECK_FALSE(guard.try_acquire(static_cast<std::uint64_t>(-1)));
    CHECK_FALSE(guard.reserve(11));
    CHECK(guard.reserve(11).ready_in() == rs::duration::max());
    CHECK(guard.try_acquire(10));
    CHECK_FALSE(guard.try_acquire());
    CHECK(guard.stats().rejected == 5);
    CHECK(guard.stats().rejected_cost == 4);
}

TEST_CASE("a reservation has its turn, which can be given back once", "[rate_limiter][H-RL-02]") {
    world w;
    const rs::rate_limiter guard({.permits = 10, .burst = 5}, w.reg);
    auto first = guard.reserve(5);
    CHECK(first);
    CHECK(first.ready_in() == 0s);
    auto second = guard.reserve(5);
    CHECK(second.ready_in() == 500ms);
    w.clock.advance(100ms);
    CHECK(second.ready_in() == 400ms);
    auto third = guard.reserve(1);
    CHECK(third.ready_in() == 500ms);
    second.cancel(); // 1 was reserved after it
    second.cancel();
    CHECK(second.ready_in() == rs::duration::max());
    CHECK(guard.reserve(1).ready_in() == 200ms);
    { const auto kept = guard.reserve(1); }
    CHECK(guard.reserve(1).ready_in() == 400ms);
    CHECK(guard.stats().cancelled == 1);
}

TEST_CASE("drain leaves nothing, and the rate goes on", "[rate_limiter]") {
    for (const auto kind : {rs::limiter::token_bucket, rs::limiter::sliding_window}) {
        world w;
        const rs::rate_limiter guard({.permits = 10, .kind = kind}, w.reg);
        guard.drain();
        CHECK_FALSE(guard.try_acquire());
        w.clock.advance(1s);
        CHECK(guard.try_acquire(10));
    }
}

TEST_CASE("a pause that one caller learns of holds all others", "[rate_limiter]") {
    callers c({.name = "api", .permits = 10, .max_wait = 20s});
    c.guard.observe({.retry_after = 10s}); // and a twentieth
    const auto s = c.guard.stats();
    REQUIRE(s.server_paused_until);
    CHECK(*s.server_paused_until - c.w.clock.wall_now() == 10'500ms);
    CHECK(s.available == 0);
    for (char name = 'a'; name <= 'l'; ++name) c.comes(name);
    CHECK(c.ran.empty());
    CHECK(c.guard.stats().waiting == 12);
    CHECK_FALSE(c.guard.try_acquire());
    CHECK(c.guard.stats().rejected_paused == 1);
    c.w.clock.advance(10'500ms - 1ns);
    CHECK(c.ran.empty());
    c.w.clock.advance(1ns);
    CHECK(c.ran == "abcdefghij"); // a burst, no more
    c.w.clock.advance(200ms);
    CHECK(c.ran == "abcdefghijkl");
    CHECK(!c.guard.stats().server_paused_until);
}

TEST_CASE("a pause that is learned while calls wait holds them, too", "[rate_limiter][H-RL-07]") {
    callers c({.name = "api", .permits = 1, .max_wait = 20s});
    c.comes('a');
    c.comes('b'); // in 1 s
    c.guard.observe({.retry_after = 10s});
    c.comes('c', {.deadline = c.w.clock.now() + 5s});
    CHECK(c.end_of('c') ==
          "rate limiter 'api' has no permit before the call's deadline; next permit in 10.5s");
    c.w.clock.advance(1s);
    CHECK(c.ran == "a");
    CHECK(c.guard.stats().waiting == 1);
    c.w.clock.advance(9'500ms);
    CHECK(c.ran == "ab");
    CHECK(c.guard.stats().total_wait == 10'500ms);

    c.comes('d'); // in 1 s
    c.guard.observe({.retry_after = 1min});
    c.w.clock.advance(1s);
    CHECK(c.end_of('d') == "rate limiter 'api' waits for as long as the server asked; next permit in 62s");
    CHECK(c.guard.stats().waiting == 0);
}

TEST_CASE("a server's word is taken as server_sync allows", "[rate_limiter]") {
    const auto left_after = [](rs::server_sync sync, std::vector<rs::server_limit> words) {
        world w;
        const rs::rate_limiter guard({.permits = 100, .per = 1h, .server_sync = sync}, w.reg);
        CHECK(guard.try_acquire(50));
        for (const auto& word : words) guard.observe(word);
        const auto s = guard.stats();
        return s.server_paused_until ? -1 : static_cast<int>(s.available);
    };
    using sync = rs::server_sync;
    const rs::server_limit less{.remaining = 10, .reset_after = 60s},
        more{.remaining = 80, .reset_after = 60s};
    const rs::server_limit none{.remaining = 0, .reset_after = 60s},
        next{.remaining = 90, .reset_after = 120s};
    const rs::server_limit bare{.remaining = 7}, odd{.remaining = 8, .reset_after = -5s, .retry_after = -3s};
    CHECK(left_after(sync::shrink_only, {less}) == 10);
    CHECK(left_after(sync::shrink_only, {more}) == 50);
    CHECK(left_after(sync::shrink_only, {none}) == -1);
    CHECK(left_after(sync::shrink_only, {bare}) == 7);
    CHECK(left_after(sync::shrink_only, {odd}) == 8);
    CHECK(left_after(sync::follow, {less}) == 10);
    CHECK(left_after(sync::follow, {more}) == 80);
    CHECK(left_after(sync::follow, {{.remaining = 1'000, .reset_after = 60s}}) == 100);
    CHECK(left_after(sync::follow, {less, more}) == 10); // overtaken, in the same window
    CHECK(left_after(sync::follow, {less, next}) == 90);
    CHECK(left_after(sync::follow, {next, less}) == 90); // of an earlier window
    CHECK(left_after(sync::off, {less, none}) == 50);
}

TEST_CASE("a pause is no longer than max_server_pause, and never ends early", "[rate_limiter]") {
    world w;
    const rs::rate_limiter guard({.permits = 10, .max_server_pause = 1min}, w.reg);
    guard.observe({.retry_after = rs::duration::max()});
    guard.observe({.retry_after = 1s});
    w.clock.advance(1min - 1ns);
    CHECK_FALSE(guard.try_acquire());
    w.clock.advance(1ns);
    CHECK(guard.try_acquire(10));
    const rs::rate_limiter deaf({.permits = 10, .max_server_pause = 0s}, w.reg);
    deaf.observe({.retry_after = 10s});
    CHECK(deaf.try_acquire());
}

TEST_CASE("dry_run counts and tells what it would have refused, and lets all pass at once",
          "[rate_limiter]") {
    world w;
    const rs::testing::recorder log(w.reg);
    const rs::rate_limiter guard({.permits = 1, .dry_run = true}, w.reg);
    for (int i = 0; i < 5; ++i) guard([] {});
    CHECK(guard.try_acquire());
    auto held = guard.reserve();
    CHECK(held);
    held.cancel(); // it took nothing
    CHECK(guard.stats().admitted == 7);
    CHECK(guard.stats().rejected == 5);
    CHECK(log.count(rs::event_kind::would_have_rejected) == 5);
    CHECK(log.count(rs::event_kind::call_rejected) == 0);
    CHECK(w.clock.slept().empty());
}

TEST_CASE("an update keeps what is there and what is owed", "[rate_limiter][H-RL-11]") {
    world w;
    const rs::rate_limiter guard({.name = "api", .permits = 1'000}, w.reg);
    CHECK(guard.try_acquire(1'000));
    auto config = guard.config();
    config.permits = 10;
    guard.update(config);
    CHECK(guard.stats().available == 0);
    w.clock.advance(100ms); // no debt of 990
    CHECK(guard.try_acquire());
    w.clock.advance(1s);
    config.permits = 100;
    guard.update(config);
    CHECK(guard.stats().available == 10);
    w.clock.advance(1s);
    CHECK(guard.stats().available == 100);
    config.kind = rs::limiter::sliding_window;
    guard.update(config);
    CHECK(guard.try_acquire(100));
    CHECK_FALSE(guard.try_acquire());
    config.max_wait = 1s; // no other meter
    guard.update(config);
    CHECK_FALSE(guard.try_acquire());
}

TEST_CASE("calls that wait while the rate changes run in their turn, and give it back by the new rules",
          "[rate_limiter]") {
    callers c({.permits = 1, .max_wait = 1h});
    c.comes('a');
    c.comes('b'); // in 1 s
    c.comes('c'); // in 2 s
    auto config = c.guard.config();
    config.permits = 100;
    c.guard.update(config);
    c.tasks.pop_back();
    CHECK(c.guard.stats().cancelled == 1);
    c.w.clock.advance(1s);
    CHECK(c.ran == "ab");
    CHECK(c.guard.stats().available == 99); // its own permit
}

TEST_CASE("bad configs are refused with field, value and range", "[rate_limiter][H-RL-05]") {
    const auto complaint = [](rs::rate_limiter_config c) { return validate(c); };
    CHECK(complaint({}) == "rate_limiter_config.permits is 0; it must be from 1 to 10^15");
    CHECK(complaint({.permits = 1'000'000'000'000'001}) ==
          "rate_limiter_config.permits is 1000000000000001; it must be from 1 to 10^15");
    CHECK(complaint({.permits = 1, .per = 0s}) == "rate_limiter_config.per is 0ns; it must be more than 0");
    CHECK(complaint({.permits = 1, .per = 24h * 365 * 20}).find("rate_limiter_config.per is ") == 0);
    CHECK(complaint({.permits = 1, .burst = 0}) ==
          "rate_limiter_config.burst is 0; it must be from 1 to 10^15");
    CHECK(complaint({.permits = 1, .burst = 2, .kind = rs::limiter::smooth}) ==
          "rate_limiter_config.burst is 2; it must be unset, unless kind is token_bucket");
    CHECK(complaint({.permits = 1, .kind = static_cast<rs::limiter>(3)}) ==
          "rate_limiter_config.kind is 3; it must be one of token_bucket, sliding_window, smooth");
    CHECK(complaint({.permits = 1, .kind = rs::limiter::smooth, .weighted = true}) ==
          "rate_limiter_config.weighted is true; it must be false if kind is smooth, whose burst is 1");
    CHECK(complaint({.permits = 1, .max_wait = -1ns}) ==
          "rate_limiter_config.max_wait is -1ns; it must be 0 or more");
    CHECK(complaint({.permits = 1, .server_sync = static_cast<rs::server_sync>(3)}) ==
          "rate_limiter_config.server_sync is 3; it must be one of shrink_only, follow, off");
    CHECK(complaint({.permits = 1, .max_server_pause = -1s}) ==
          "rate_limiter_config.max_server_pause is -1s; it must be 0 or more");
    CHECK(
        complaint({.permits = 999'999'999'999'989}).find("rate_limiter_config.permits is 999999999999989") ==
        0);
    for (const std::uint64_t permits : {1ULL, 3ULL, 9'999'991ULL, 1'000'000'000'000'000ULL})
        CHECK(complaint({.permits = permits, .max_wait = rs::duration::max()}).empty());
}

TEST_CASE("the longest waits are no wait for ever, and no open tap", "[rate_limiter]") {
    world w;
    const rs::rate_limiter guard({.permits = 1, .per = 24h * 365 * 8, .max_wait = rs::duration::max()},
                                 w.reg);
    int given = 0;
    for (int i = 0; i < 100; ++i) {
        const auto turn = guard.reserve();
        if (!turn) continue;
        CHECK(turn.ready_in() == 24h * 365 * 8 * given);
        ++given;
    }
    CHECK(given >= 2);
    CHECK(given < 10);
}

TEST_CASE("a limiter has no thread and no timer, however many there are", "[rate_limiter][H-RL-13]") {
    world w;
    for (int i = 0; i < 100'000; ++i) {
        const rs::rate_limiter guard({.permits = 1}, w.reg);
        (void)guard.try_acquire();
    }
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("a per-call object that is used again asks anew", "[rate_limiter][H-RL-14]") {
    world w;
    const rs::rate_limiter guard({.permits = 1, .max_wait = 1h}, w.reg);
    const auto calls = rs::retry(support::at_once(3), w.reg) | guard;
    int ran = 0;
    CHECK_THROWS(calls([&] {
        ++ran;
        throw std::runtime_error("x");
    }));
    CHECK(ran == 3);
    CHECK(w.clock.slept() == std::vector<rs::duration>{1s, 1s});
    CHECK(guard.stats().admitted == 3);
    CHECK(guard.stats().total_wait == 2s);
}

#if !SANITIZED_THREAD && !SANITIZED_ADDRESS

TEST_CASE("no call of its parent's waits in a forked child", "[rate_limiter][H-CPP-04]") {
    callers c({.permits = 1, .max_wait = 1h});
    c.comes('a');
    c.comes('b');
    const pid_t child = fork();
    if (child == 0) {
        alarm(20); // ends a child that hangs
        bool good = c.guard.stats().waiting == 0;
        c.tasks.clear();
        good = good && c.guard.stats().waiting == 0 && c.guard.stats().cancelled == 0;
        _exit(good ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(c.guard.stats().waiting == 1);
}

#endif

} // namespace
