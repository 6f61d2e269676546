// SPDX-License-Identifier: Apache-2.0
// Bulkheads where something ends, changes or fails at the wrong moment.
#include <resilience/bulkhead.hpp>
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
#include <stop_token>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::lazy;
using support::world;
using bulkhead_answer = rs::admission::kind;

/// Calls without a driver, which wait for the place that `held` has.
struct waiting_room {
    explicit waiting_room(rs::bulkhead_config config) : guard(std::move(config), w.reg) {
        held = guard.try_acquire();
    }
    struct call {
        call(world& w, const rs::bulkhead& guard, const rs::call_options& options)
            : ctx(w.clock), state(guard.begin(started(options))) {}
        rs::call_context& started(const rs::call_options& options) {
            ctx.apply(options);
            return ctx;
        }
        bulkhead_answer asks() { return state.admit(ctx).what(); }
        rs::call_context ctx;
        rs::bulkhead::attempt_state state;
    };
    call& comes(const rs::call_options& options = {}) { return calls.emplace_back(w, guard, options); }

    world w{};
    rs::bulkhead guard;
    std::optional<rs::bulkhead::permit> held{};
    std::list<call> calls{};
};

TEST_CASE("a call that is over when it asks takes no place, and nobody makes way for it", "[bulkhead]") {
    std::stop_source stop;
    stop.request_stop();
    for (const bool is_stopped : {false, true}) {
        waiting_room r({.max_concurrent = 1, .max_queue = 1});
        const rs::call_options over =
            is_stopped ? rs::call_options{.stop_token = stop.get_token(), .priority = rs::priority::critical}
                       : rs::call_options{.deadline = r.w.clock.now(), .priority = rs::priority::critical};
        auto& low = r.comes({.priority = rs::priority::low});
        CHECK(low.asks() == bulkhead_answer::park);

        CHECK(r.comes(over).asks() == bulkhead_answer::reject);
        r.held.reset();
        CHECK(r.comes(over).asks() == bulkhead_answer::reject); // while a place is free, or handed over

        CHECK(low.asks() == bulkhead_answer::go);
        const auto s = r.guard.stats();
        CHECK(s.evicted == 0);
        CHECK(s.cancelled == (is_stopped ? 2 : 0));
        CHECK(s.rejected_late == (is_stopped ? 0 : 2));
    }
}

TEST_CASE("totals of a bulkhead never go down, and their parts never exceed them", "[bulkhead][H-BH-10]") {
    waiting_room r({.max_concurrent = 1, .max_queue = 2, .max_wait = 1s});
    rs::bulkhead_stats before;
    const auto grow = [&] {
        const auto s = r.guard.stats();
        CHECK(s.admitted >= before.admitted);
        CHECK(s.rejected >= before.rejected);
        CHECK(s.cancelled >= before.cancelled);
        CHECK(s.rejected == s.rejected_full + s.rejected_late + s.evicted + s.expired);
        CHECK(s.available == (s.running > s.max_concurrent ? 0 : s.max_concurrent - s.running));
        before = s;
    };
    auto& one = r.comes({.priority = rs::priority::low});
    auto& other = r.comes();
    CHECK(one.asks() == bulkhead_answer::park);
    CHECK(other.asks() == bulkhead_answer::park);
    grow();
    CHECK(r.comes({.priority = rs::priority::sheddable}).asks() == bulkhead_answer::reject);
    grow();
    auto& high = r.comes({.priority = rs::priority::high});
    CHECK(high.asks() == bulkhead_answer::park);
    grow(); // `one` does not know yet
    CHECK(one.asks() == bulkhead_answer::reject);
    grow();
    r.held.reset(); // to `high`, which does not learn of it
    grow();
    r.calls.pop_back();
    grow(); // to `other`
    r.w.clock.advance(1s);
    CHECK(other.asks() == bulkhead_answer::go);
    grow();
    CHECK(r.guard.stats().admitted == 2);
    CHECK(r.guard.stats().evicted == 1);
    CHECK(r.guard.stats().cancelled == 1);
    CHECK(r.guard.stats().rejected_full == 1);
}

TEST_CASE("the time that calls have waited does not overflow", "[bulkhead][H-BH-07]") {
    constexpr auto long_time = rs::duration::max() / 2;
    waiting_room r({.max_concurrent = 1, .max_queue = 3, .max_wait = rs::duration::max()});
    for (int i = 0; i < 3; ++i) CHECK(r.comes().asks() == bulkhead_answer::park);
    r.w.clock.advance(long_time);
    auto config = r.guard.config();
    config.max_concurrent = 4;
    r.guard.update(config);
    for (auto& each : r.calls) CHECK(each.asks() == bulkhead_answer::go);
    CHECK(r.guard.stats().total_wait == rs::duration::max());
}

TEST_CASE("the largest limits are limits like others", "[bulkhead]") {
    constexpr unsigned most = std::numeric_limits<unsigned>::max();
    for (const bool is_dry : {false, true}) {
        waiting_room r({.max_concurrent = most, .max_queue = most, .dry_run = is_dry});
        CHECK(r.comes().asks() == bulkhead_answer::go);
        const auto s = r.guard.stats();
        CHECK(s.running == 2);
        CHECK(s.available == most - 2);
        CHECK(s.rejected == 0);
    }
    waiting_room one({.max_concurrent = 1, .max_queue = most, .max_wait = 1h});
    CHECK(one.comes({.deadline = one.w.clock.now() + 1s}).asks() == bulkhead_answer::park);
}

TEST_CASE("a dry run tells what would have been refused, whatever the reason", "[bulkhead]") {
    const auto told = [](rs::bulkhead_config config) {
        config.dry_run = true;
        waiting_room r(config);
        rs::testing::recorder log(r.w.reg);
        CHECK(r.comes().asks() == bulkhead_answer::go);
        CHECK(r.guard.stats().running == 2);
        return log.names() == std::vector<std::string>{"would_have_rejected"};
    };
    CHECK(told({.max_concurrent = 0}));
    CHECK(told({.max_concurrent = 0, .max_queue = 5}));
    CHECK(told({.max_concurrent = 1}));
    CHECK(told({.max_concurrent = 1, .max_queue = 5, .max_wait = 0s}));
    CHECK_FALSE(told({.max_concurrent = 1, .max_queue = 5}));
    CHECK_FALSE(told({.max_concurrent = 2}));
}

TEST_CASE("an update to a dry run lets in who waits, one to no places refuses them", "[bulkhead]") {
    waiting_room r({.max_concurrent = 1, .max_queue = 5, .max_wait = 1h});
    auto& one = r.comes();
    auto& other = r.comes();
    CHECK(one.asks() == bulkhead_answer::park);
    CHECK(other.asks() == bulkhead_answer::park);
    auto config = r.guard.config();

    SECTION("dry run") {
        config.dry_run = true;
        r.guard.update(config);
        CHECK(one.asks() == bulkhead_answer::go);
        CHECK(other.asks() == bulkhead_answer::go);
        CHECK(r.guard.stats().running == 3);
    }
    SECTION("no places") {
        config.max_concurrent = 0;
        r.guard.update(config);
        CHECK(r.guard.stats().queued == 0);
        CHECK(one.asks() == bulkhead_answer::reject);
        CHECK(other.asks() == bulkhead_answer::reject);
        CHECK(r.guard.stats().rejected_full == 2);
    }
}

TEST_CASE("a call that is let in by an update may destroy the last handle", "[bulkhead]") {
    world w;
    auto guard = std::make_unique<rs::bulkhead>(
        rs::bulkhead_config{.max_concurrent = 1, .max_queue = 1, .max_wait = 1h}, w.reg);
    auto held = guard->try_acquire();
    const auto waits = [&]() -> lazy<int> {
        int got = 0;
        {
            auto task = (*guard)([]() -> lazy<int> { co_return 1; });
            got = co_await std::move(task);
        }
        held.reset();
        guard.reset();
        co_return got;
    };
    auto task = waits();
    task.start();
    auto config = guard->config();
    config.max_concurrent = 2;
    guard->update(config);

    CHECK(task.result() == 1);
    CHECK(guard == nullptr);
}

TEST_CASE("thousands of coroutines that end at once hand on without growing the stack", "[bulkhead]") {
    world w;
    const rs::bulkhead guard({.max_concurrent = 1, .max_queue = 100'000, .max_wait = 1h}, w.reg);
    auto held = guard.try_acquire();
    constexpr int count = 20'000;
    int ran = 0;
    std::list<lazy<rs::outcome<void>>> tasks;
    for (int i = 0; i < count; ++i) {
        tasks.push_back(guard.try_call([&]() -> lazy<void> {
            ++ran;
            co_return;
        }));
        tasks.back().start();
    }
    CHECK(guard.stats().queued == count);

    held.reset();

    CHECK(ran == count);
    CHECK(guard.stats().available == 1);
    CHECK(guard.stats().admitted == count + 1);
}

TEST_CASE("thousands of calls that make way inside of each other do not grow the stack", "[bulkhead]") {
    world w;
    constexpr unsigned count = 20'000;
    const rs::bulkhead guard({.max_concurrent = 1, .max_queue = count, .max_wait = 1h}, w.reg);
    const auto held = guard.try_acquire();
    std::list<lazy<rs::outcome<void>>> urgent;
    const auto run = []() -> lazy<void> { co_return; };
    const auto ask_urgently = [&] {
        urgent.push_back(guard.with({.priority = rs::priority::critical}).try_call(run));
        urgent.back().start();
    };
    const auto tries_twice = [&]() -> lazy<void> {
        auto first = guard.with({.priority = rs::priority::low}).try_call(run);
        const auto out = co_await std::move(first);
        if (!out.has_value()) ask_urgently(); // another makes way for it
    };
    std::list<lazy<void>> tasks;
    for (unsigned i = 0; i < count; ++i) {
        tasks.push_back(tries_twice());
        tasks.back().start();
    }

    ask_urgently();

    CHECK(urgent.size() == count + 1);
    CHECK(guard.stats().evicted == count);
    CHECK(guard.stats().queued == count);
}

TEST_CASE("places of two bulkheads that are handed on inside of each other all go on", "[bulkhead]") {
    world w;
    const rs::bulkhead_config config{.max_concurrent = 1, .max_queue = 1'000, .max_wait = 1h};
    const rs::bulkhead one(config, w.reg), other(config, w.reg);
    auto first = one.try_acquire();
    auto second = other.try_acquire();
    int ran = 0;
    std::list<lazy<rs::outcome<void>>> tasks;
    const auto run = [&]() -> lazy<void> {
        ++ran;
        co_return;
    };
    const auto both = one | other;
    for (int i = 0; i < 500; ++i) {
        tasks.push_back(both.try_call(run));
        tasks.back().start();
    }
    first.reset();
    second.reset();

    CHECK(ran == 500);
    CHECK(one.stats().running == 0);
    CHECK(other.stats().running == 0);
    CHECK(one.stats().queued + other.stats().queued == 0);
}

// Sanitizers have threads and locks of their own that a forked child does not get whole.
#if !SANITIZED_THREAD && !SANITIZED_ADDRESS

TEST_CASE("a forked child has all places, and gives none of its parent's back", "[bulkhead][H-CPP-04]") {
    waiting_room r({.max_concurrent = 2, .max_queue = 5, .max_wait = 1h});
    auto& runs = r.comes();
    CHECK(runs.asks() == bulkhead_answer::go);
    auto& one = r.comes();
    auto& other = r.comes();
    CHECK(one.asks() == bulkhead_answer::park);
    CHECK(other.asks() == bulkhead_answer::park);

    const pid_t child = fork();
    if (child == 0) {
        alarm(20); // ends a child that hangs
        const auto before = r.guard.stats();
        bool good = before.running == 0 && before.queued == 0 && before.zombies == 0;
        const auto mine = r.guard.try_acquire();
        r.held.reset();
        good = good && mine && r.guard.stats().running == 1;
        good = good && one.asks() == bulkhead_answer::reject; // its place in the queue was the parent's
        r.calls.clear();
        good = good && r.guard.stats().running == 1 && r.guard.stats().queued == 0;
        _exit(good ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(status == 0);

    r.held.reset();
    CHECK(one.asks() == bulkhead_answer::go);
    CHECK(r.guard.stats().queued == 1);
}

#endif

} // namespace
