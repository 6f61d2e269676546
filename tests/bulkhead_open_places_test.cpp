// SPDX-License-Identifier: Apache-2.0
// Calls that take and give back their places without the mutex, among others that do not.
#include <resilience/bulkhead.hpp>
#include <resilience/resilience.hpp>

#include "support/catch.hpp"
#include "support/lazy.hpp"
#include "support/sanitizers.hpp"
#include "support/world.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::detail::open_places;
using support::lazy;
using support::world;

/// Makes calls inside of each other, and `innermost` in the last.
void nested(const rs::bulkhead& guard, int calls, const std::function<void()>& innermost) {
    if (calls == 0) return innermost();
    guard([&] { nested(guard, calls - 1, innermost); });
}

TEST_CASE("open places are half of the limit, and closing tells what has happened", "[bulkhead]") {
    open_places places;
    CHECK(places.take(1) == open_places::taken::none); // not open yet
    CHECK_FALSE(places.close().was_open);
    places.open(1, 7, 1); // 2 of the half are left
    CHECK(places.take(2) == open_places::taken::none);
    CHECK(places.take(1) == open_places::taken::one_to_measure);
    CHECK(places.take(1) == open_places::taken::one);
    CHECK(places.take(1) == open_places::taken::none);
    CHECK(places.give());
    const auto seen = places.close();
    REQUIRE(seen.was_open);
    CHECK(seen.running == 2);
    CHECK(seen.passed == 2);
    CHECK(places.most_running() == 3);
    CHECK_FALSE(places.close().was_open);
    CHECK_FALSE(places.give());
    CHECK(places.take(1) == open_places::taken::none);
    places.open(4, 7, 1); // more than half
    CHECK_FALSE(places.close().was_open);
    places.open(3, 7, 1);
    CHECK(places.take(1) == open_places::taken::none);
    CHECK(places.close().running == 3);
}

TEST_CASE("one call in 64 is measured, also when open places are closed in between", "[bulkhead]") {
    open_places places;
    int measured = 0;
    for (int i = 0; i < 6'400; ++i) {
        if (i % 7 == 0) {
            const auto seen = places.close();
            CHECK((i == 0 || seen.passed == 7));
            places.open(0, 100, 1);
        }
        const auto taken = places.take(1);
        measured += taken == open_places::taken::one_to_measure;
        CHECK(places.give());
    }
    CHECK(measured == 100);
}

TEST_CASE("the largest limit has open places, and they are counted", "[bulkhead]") {
    open_places places;
    places.open(0, ~0U, 1);
    for (int i = 0; i < 1'000; ++i) CHECK(places.take(1) != open_places::taken::none);
    CHECK(places.close().running == 1'000);
}

TEST_CASE("places with and without the mutex are of one limit", "[bulkhead][H-BH-05]") {
    for (const unsigned limit : {1U, 2U, 3U, 8U, 25U}) {
        world w;
        const rs::bulkhead guard({.max_concurrent = limit}, w.reg);
        int refused = 0;
        for (int round = 0; round < 3; ++round) {
            nested(guard, static_cast<int>(limit), [&] {
                CHECK(guard.stats().running == limit);
                CHECK(guard.stats().available == 0);
                refused += !guard.try_call([] {});
                refused += !guard.try_acquire();
            });
            CHECK(guard.stats().running == 0);
        }
        CHECK(refused == 6);
        CHECK(guard.stats().admitted == 3 * limit);
        CHECK(guard.stats().max_running == limit);
        CHECK(guard.stats().rejected == 6);
    }
}

TEST_CASE("a call is counted as long as it runs, and its place is free however it ends", "[bulkhead]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 10}, w.reg);
    const auto runs = [&] {
        const auto s = guard.stats();
        CHECK(s.running == 1);
        CHECK(s.available == 9);
    };
    for (int i = 0; i < 3; ++i) {
        guard(runs);
        CHECK_THROWS(guard([&] {
            runs();
            throw std::runtime_error("x");
        }));
        CHECK_FALSE(guard.try_call([&] {
            runs();
            return support::http_answer{503};
        }));
        {
            const auto held = guard.try_acquire();
            runs();
        }
        auto task = guard.try_call([&]() -> lazy<void> {
            runs();
            co_await support::pause(w.clock, 1h);
        });
        task.start();
        runs();
        auto gone = std::move(task); // destroyed while it runs
    }
    CHECK(guard.stats().running == 0);
    CHECK(guard.stats().admitted == 15);
    CHECK(guard.stats().max_running == 1);
}

TEST_CASE("a call keeps its place while a retry inside of it repeats", "[bulkhead]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 10}, w.reg);
    const auto calls = guard | rs::retry(support::at_once(), w.reg);
    int attempts = 0;
    calls([&] {
        CHECK(guard.stats().running == 1);
        CHECK(guard.stats().admitted == 1);
        if (++attempts < 3) throw std::runtime_error("x");
    });
    CHECK(attempts == 3);
    CHECK(guard.stats().running == 0);

    const auto each = rs::retry(support::at_once(), w.reg) | guard;
    attempts = 0;
    each([&] {
        CHECK(guard.stats().running == 1);
        if (++attempts < 3) throw std::runtime_error("x");
    });
    CHECK(guard.stats().admitted == 4);
    CHECK(guard.stats().running == 0);
}

TEST_CASE("a policy that refuses a call costs no place, wherever it stands", "[bulkhead]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 10}, w.reg);
    const rs::bulkhead other({.max_concurrent = 0}, w.reg);
    const rs::circuit_breaker breaker({}, w.reg);
    breaker.force_open();
    CHECK_FALSE((breaker | guard).try_call([] {}));
    CHECK(guard.stats().admitted == 0);
    CHECK_FALSE((guard | breaker).try_call([] {}));
    CHECK_FALSE((guard | other).try_call([] {}));
    CHECK_FALSE((other | guard).try_call([] {}));
    CHECK(guard.stats().running == 0);
    breaker.reset();
    CHECK((guard | breaker | rs::bulkhead({}, w.reg)).try_call([] {}));
    CHECK(guard.stats().running == 0);
}

TEST_CASE("calls that run when the limit or dry_run changes keep their places", "[bulkhead]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 10}, w.reg);
    nested(guard, 3, [&] {
        auto config = guard.config();
        config.max_concurrent = 2;
        guard.update(config);
        CHECK(guard.stats().running == 3);
        CHECK(guard.stats().available == 0);
        CHECK_FALSE(guard.try_call([] {}));
        config.dry_run = true;
        guard.update(config);
        guard([&] { CHECK(guard.stats().running == 4); });
        config.dry_run = false;
        config.max_concurrent = 100;
        guard.update(config);
        guard([&] { CHECK(guard.stats().running == 4); });
    });
    CHECK(guard.stats().running == 0);
    CHECK(guard.stats().admitted == 5);
    CHECK(guard.stats().max_running == 4);
}

TEST_CASE("a call that took its place without the mutex hands it to one that waits", "[bulkhead]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 2, .max_queue = 5, .max_wait = 1h}, w.reg);
    int ran = 0;
    const auto run = [&]() -> lazy<void> {
        co_await support::pause(w.clock, 10ms);
        ++ran;
    };
    std::list<lazy<rs::outcome<void>>> tasks;
    for (int i = 0; i < 7; ++i) {
        tasks.push_back(guard.try_call(run));
        tasks.back().start();
    }
    CHECK(guard.stats().running == 2);
    CHECK(guard.stats().queued == 5);
    for (int done = 2; done <= 6; done += 2) {
        w.clock.advance(10ms);
        CHECK(ran == done);
    }
    w.clock.advance(10ms);
    CHECK(ran == 7);
    CHECK(guard.stats().running == 0);
    CHECK(guard.stats().max_running == 2);
    CHECK(guard.stats().admitted == 7);
}

TEST_CASE("a call has been counted by all its policies when its place is handed on", "[bulkhead]") {
    world w;
    auto guard = std::make_unique<rs::bulkhead>(
        rs::bulkhead_config{.max_concurrent = 2, .max_queue = 5, .max_wait = 1h}, w.reg);
    const rs::circuit_breaker breaker({}, w.reg);
    using both = rs::pipeline<rs::bulkhead, rs::circuit_breaker>;
    auto calls = std::make_unique<both>(*guard | breaker);
    const auto* const call = calls.get();
    for (int i = 0; i < 3; ++i) (*guard)([] {}); // the next is not measured
    std::uint64_t counted = 0;
    std::list<lazy<rs::outcome<void>>> tasks;
    (void)call->try_call([&] {
        tasks.push_back(guard->try_call([&]() -> lazy<void> { co_await support::pause(w.clock, 1h); }));
        tasks.back().start();
        tasks.push_back(guard->try_call([&]() -> lazy<void> { // waits for the place of this call
            counted = breaker.stats().successes;
            calls.reset();
            guard.reset();
            co_return;
        }));
        tasks.back().start();
    });

    CHECK(counted == 1);
    CHECK(calls == nullptr);
    w.clock.advance(1h);
}

TEST_CASE("a newcomer does not overtake while those that wait are let in one by one", "[bulkhead][H-BH-05]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 1, .max_queue = 10, .max_wait = 1h}, w.reg);
    const auto held = guard.try_acquire();
    std::string ran;
    std::list<lazy<rs::outcome<void>>> tasks;
    const std::function<void(char)> comes = [&](char name) {
        tasks.push_back(guard.try_call([&, name]() -> lazy<void> {
            ran += name;
            if (name == 'a') comes('x');
            co_await support::pause(w.clock, 1h);
        }));
        tasks.back().start();
    };
    for (char name = 'a'; name <= 'd'; ++name) comes(name);
    auto config = guard.config();
    config.max_concurrent = 100;
    guard.update(config);

    CHECK(ran == "abcdx");
}

TEST_CASE("a queue that stood does not stand for calls that come after many that did not wait",
          "[bulkhead]") {
    world w;
    const rs::bulkhead guard(
        {.max_concurrent = 2, .max_queue = 10, .max_wait = 1s, .order = rs::queue_order::adaptive}, w.reg);
    std::list<lazy<rs::outcome<void>>> tasks;
    const auto comes = [&] {
        tasks.push_back(guard.try_call([&]() -> lazy<void> { co_await support::pause(w.clock, 60ms); }));
        tasks.back().start();
    };
    for (int i = 0; i < 12; ++i) comes();
    for (int i = 0; i < 20; ++i) w.clock.advance(60ms);
    const auto expired = guard.stats().expired;
    REQUIRE(expired > 0); // it stood
    for (int i = 0; i < 1'000; ++i) {
        guard([] {});
        w.clock.advance(1ms);
    }
    const auto one = guard.try_acquire(), other = guard.try_acquire();
    comes();
    w.clock.advance(100ms);

    CHECK(guard.stats().queued == 1);
    CHECK(guard.stats().expired == expired);
}

TEST_CASE("the hold of calls without the mutex is known to those that are refused", "[bulkhead]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 2}, w.reg);
    guard([&] { w.clock.advance(100ms); });
    nested(guard, 2, [&] {
        const auto refused = guard.try_call([] {});
        REQUIRE(!refused);
        CHECK(refused.error().retry_after() == rs::duration{50ms}); // two places
    });
}

#if !SANITIZED_THREAD && !SANITIZED_ADDRESS

TEST_CASE("a call that forks gives its place back in the parent alone", "[bulkhead][H-CPP-04]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 10}, w.reg);
    for (int i = 0; i < 3; ++i) guard([] {}); // the next is not measured
    pid_t child = -1;
    guard([&] {
        child = fork();
        if (child != 0) return;
        alarm(20); // ends a child that hangs
        bool good = true;
        guard([&] { good = guard.stats().running == 1; });
        good = good && guard.stats().running == 0;
        nested(guard, 10, [&] { good = good && guard.stats().running == 10; });
        if (!good) _exit(1);
    });
    if (child == 0) {
        const auto s = guard.stats();
        _exit(s.running == 0 && s.available == 10 ? 0 : 2);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(guard.stats().running == 0);
    CHECK(guard.stats().admitted == 4);
}

#endif

} // namespace
