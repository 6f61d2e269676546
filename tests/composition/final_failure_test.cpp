// SPDX-License-Identifier: Apache-2.0
// Of the events about a final failure, one is not told again by another.
#include <resilience/resilience.hpp>
#include <resilience/testing/recorder.hpp>

#include "support/catch.hpp"
#include "support/lazy.hpp"
#include "support/world.hpp"

#include <chrono>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using kind = rs::event_kind;
using kinds = std::vector<kind>;
using support::lazy;
using support::pause;
using support::world;

/// The failures among the events that no other tells again, but single attempts that another follows.
kinds told_once(const rs::testing::recorder& events) {
    kinds all;
    for (const auto& e : events.events()) {
        const bool goes_on = (e.kind == kind::attempt_failed && e.delay) || e.kind == kind::retry_scheduled;
        if (!e.is_told_again && !goes_on) all.push_back(e.kind);
    }
    return all;
}
/// The events of a task that runs to its end on the clock.
template <class Call, class F>
kinds told_of_task(world& w, const Call& call, const F& f) {
    const rs::testing::recorder events(w.reg);
    auto task = call.try_call(f);
    task.start();
    w.clock.advance(1min);
    REQUIRE(task.done());
    return told_once(events);
}

TEST_CASE("a retry around a timeout tells of the final time-out", "[composition]") {
    world w;
    const auto call = rs::retry(support::at_once(3), w.reg) | rs::timeout(1s, w.reg);
    const rs::testing::recorder events(w.reg);

    (void)call.try_call([&] { w.clock.advance(1100ms); });

    CHECK(told_once(events) == kinds{kind::retries_exhausted});
    CHECK(events.count(kind::timed_out) == 3);
    for (const auto& e : events.events()) CHECK(e.timed_out);
}

TEST_CASE("a value that comes late is a time-out of which nobody has told", "[composition]") {
    world w;
    const auto negative = rs::on_result<int>([](int v) { return v < 0; });
    const auto call = rs::timeout(2s, w.reg) | rs::retry({.max_attempts = 1, .retry_if = negative}, w.reg);
    const rs::testing::recorder events(w.reg);

    (void)call.try_call([&] {
        w.clock.advance(2100ms);
        return -1;
    });

    CHECK(told_once(events).back() == kind::timed_out);
}

TEST_CASE("a retry that continues a call of the fast path tells of its first failure", "[composition]") {
    world w;
    const auto call = rs::timeout(1h, w.reg) | rs::retry(support::at_once(1), w.reg);
    const rs::testing::recorder events(w.reg);

    (void)call.try_call([&]() -> int {
        w.clock.advance(1h);
        throw std::runtime_error("canceling statement");
    });

    CHECK(told_once(events) == kinds{kind::attempt_failed});
    CHECK(events.of_kind(kind::timed_out).front().is_told_again);
}

TEST_CASE("tasks tell of a final failure once, too", "[composition][task]") {
    world w;
    const rs::retry retry(support::at_once(2), w.reg);
    const rs::timeout limit(1s, w.reg);
    const auto hangs = [&](rs::call_context&) -> lazy<int> {
        co_await pause(w.clock, 10s);
        co_return 1;
    };
    const auto fails_at_once = [](rs::call_context&) -> lazy<int> {
        throw std::runtime_error("down");
        co_return 1;
    };
    const auto slow_answer = rs::fallback([&](const rs::failure&) -> lazy<int> {
        co_await pause(w.clock, 10s);
        co_return 1;
    });

    CHECK(told_of_task(w, retry | limit, hangs) == kinds{kind::retries_exhausted});
    CHECK(told_of_task(w, limit | retry, hangs) == kinds{kind::attempt_failed});
    // A fallback that has no time to answer: the time-out is another failure than that which it was to answer.
    CHECK(told_of_task(w, limit | rs::fallback(1) | retry, fails_at_once) ==
          kinds{kind::retries_exhausted, kind::fallback_used});
    CHECK(told_of_task(w, retry | rs::fallback(1) | limit, hangs) == kinds{kind::fallback_used});
    CHECK(told_of_task(w, slow_answer | retry | limit, hangs) ==
          kinds{kind::retries_exhausted, kind::fallback_used});
}

} // namespace
