// SPDX-License-Identifier: Apache-2.0
// Attempts that run on past their limit: who sees them, and when.
#include <resilience/abandoning_timeout.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/recorder.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/heard.hpp"
#include "support/lazy.hpp"
#include "support/world.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::heard;
using support::lazy;
using support::world;

} // namespace

TEST_CASE("attempts in flight are those that have begun and not ended", "[timeout]") {
    world w;
    const rs::timeout limit({.limit = 2s}, w.reg);
    const auto in_flight = [&] { return limit.stats().in_flight; };

    CHECK(in_flight() == 0);
    limit([&] { CHECK(in_flight() == 1); });
    (void)limit.try_call([&]() -> int {
        CHECK(in_flight() == 1);
        throw std::runtime_error("down");
    });
    (rs::retry(support::at_once(), w.reg) | limit)
        .try_call([&](rs::call_context& ctx) -> int {
            CHECK(in_flight() == 1);
            if (ctx.attempt() < 3) throw std::runtime_error("down");
            return 1;
        })
        .value();
    limit.with({.deadline = w.clock.now() + 1s})([&] { CHECK(in_flight() == 1); });
    limit([&] { limit([&] { CHECK(in_flight() == 2); }); });
    limit([&] {
        std::thread([&] { limit([&] { CHECK(in_flight() == 2); }); }).join();
        CHECK(in_flight() == 1);
    });
    CHECK(in_flight() == 0);
    CHECK(limit.stats().calls == 10);
}

TEST_CASE("tasks in flight are seen, also those that are destroyed", "[task][timeout]") {
    world w;
    const rs::timeout limit({.limit = 2s}, w.reg);
    const auto slow = [&]() -> lazy<int> {
        co_await support::pause(w.clock, 1s);
        co_return 1;
    };
    {
        auto one = limit(slow);
        auto another = limit(slow);
        one.start();
        CHECK(limit.stats().in_flight == 1);
        another.start();
        CHECK(limit.stats().in_flight == 2);
        w.clock.advance(500ms);
        auto third = limit(slow);
        third.start();
        w.clock.advance(500ms);
        CHECK(limit.stats().in_flight == 1);
    }
    CHECK(limit.stats().in_flight == 0);
    CHECK(limit.stats().calls == 2);
}

TEST_CASE("an attempt that ends past twice its limit has overrun, and an event says so", "[timeout]") {
    world w;
    const rs::timeout limit({.name = "jira", .limit = 500ms}, w.reg);
    const heard h{w.reg};
    const bool keeps = GENERATE(false, true);
    limit.update({.name = "jira", .limit = 500ms, .keep_late = keeps});
    const auto runs = [&](rs::duration length, bool fails = false) {
        (void)limit.named("search").try_call([&] {
            w.clock.advance(length);
            if (fails) throw std::runtime_error("down");
        });
    };

    runs(500ms);
    CHECK(limit.stats().longest_overrun == 0s);
    runs(1s);
    CHECK(limit.stats().overrun_total == 0);
    CHECK(limit.stats().longest_overrun == 500ms);
    runs(1s + 1ns);
    CHECK(limit.stats().overrun_total == 1);
    runs(60s, true);
    CHECK(limit.stats().overrun_total == 2);
    CHECK(limit.stats().longest_overrun == 59'500ms);
    const auto events = h.of(rs::event_kind::overran);
    REQUIRE(events.size() == 2);
    CHECK(events[1].policy == "jira");
    CHECK(events[1].operation == "search");
    CHECK(events[1].delay == rs::duration{500ms});
    CHECK(events[1].reason == "ran for 60s");
}

TEST_CASE("a reader of the statistics sees an attempt that runs past twice its limit, and tells it once",
          "[timeout]") {
    world w;
    const rs::timeout limit({.name = "jira", .limit = 500ms}, w.reg);
    const heard h{w.reg};
    const auto told = [&] { return h.count(rs::event_kind::overran); };
    const auto deadline = GENERATE(std::optional<rs::duration>{}, std::optional<rs::duration>{1h});
    const auto hangs = [&](rs::call_context& ctx) {
        if (ctx.attempt() == 1) throw std::runtime_error("down");
        w.clock.advance(1s);
        CHECK(limit.stats().overrun_total == 0);
        w.clock.advance(1ns);
        CHECK(limit.stats().overrun_total == 1);
        CHECK(limit.stats().in_flight == 1);
        CHECK(told() == 1);
        CHECK(h.events.back().reason == "has been running for 1s");
        w.clock.advance(59s - 1ns);
        CHECK(w.reg.policies().at(0).statistics.size() == 8);
        CHECK(limit.stats().longest_overrun == 59'500ms);
    };
    const auto guard = rs::retry(support::at_once(2), w.reg) | limit;

    if (deadline) (void)guard.with({.deadline = w.clock.now() + *deadline}).try_call(hangs);
    else (void)guard.try_call(hangs);
    (void)limit.try_call([] {});

    CHECK(limit.stats().overrun_total == 1);
    CHECK(told() == 1);
    CHECK(limit.stats().longest_overrun == 59'500ms);
}

TEST_CASE("of two threads that hang each is told", "[timeout]") {
    world w;
    const rs::timeout limit({.limit = 500ms}, w.reg);
    const heard h{w.reg};

    limit
        .try_call([&] {
            std::thread([&] {
                limit
                    .try_call([&] {
                        w.clock.advance(2s);
                        CHECK(limit.stats().overrun_total == 2);
                    })
                    .has_value();
            }).join();
        })
        .has_value();

    CHECK(limit.stats().overrun_total == 2);
    CHECK(h.count(rs::event_kind::overran) == 2);
}

TEST_CASE("of calls of one timeout in each other each is told once", "[timeout]") {
    world w;
    const rs::timeout limit({.limit = 500ms}, w.reg);
    const heard h{w.reg};
    const auto deadline = GENERATE(std::optional<rs::duration>{}, std::optional<rs::duration>{1h});
    const auto call = [&](const auto& f) {
        if (deadline) (void)limit.with({.deadline = w.clock.now() + *deadline}).try_call(f);
        else (void)limit.try_call(f);
    };

    call([&] {
        w.clock.advance(10ms);
        call([&] {
            w.clock.advance(2s);
            CHECK(limit.stats().overrun_total == 1);
        });
        CHECK(limit.stats().overrun_total == 2);
    });

    CHECK(limit.stats().overrun_total == 2);
    CHECK(h.count(rs::event_kind::overran) == 2);
}

TEST_CASE("a call that began at the moment of the call around it leaves that one in sight when it ends",
          "[timeout]") {
    world w;
    const rs::timeout limit({.limit = 500ms}, w.reg);
    const heard h{w.reg};
    const auto is_task = GENERATE(false, true);
    const auto one = [&]() -> lazy<int> { co_return 1; };
    const bool inner_fails = GENERATE(false, true);

    (void)limit.try_call([&] {
        if (is_task) {
            auto task = limit.with({.deadline = w.clock.now() + 1h}).try_call(one);
            task.start();
        } else {
            (void)limit.try_call([&] {
                if (inner_fails) throw std::runtime_error("down");
            });
        }
        w.clock.advance(60s);
        CHECK(limit.stats().overrun_total == 1);
    });

    CHECK(limit.stats().overrun_total == 1);
    CHECK(h.count(rs::event_kind::overran) == 1);
}

TEST_CASE("a task that outruns twice its limit is told when it ends", "[task][timeout]") {
    world w;
    const rs::timeout limit({.limit = 500ms}, w.reg);
    const heard h{w.reg};
    const auto stubborn = [&]() -> lazy<int> {
        try {
            co_await support::pause(w.clock, 1h);
        } catch (const support::lazy_stopped&) {}
        w.clock.advance(3s);
        co_return 7;
    };

    auto task = limit.try_call(stubborn);
    task.start();
    w.clock.advance(500ms);

    CHECK_FALSE(task.result());
    CHECK(limit.stats().overrun_total == 1);
    CHECK(limit.stats().longest_overrun == 3s);
    CHECK(h.count(rs::event_kind::overran) == 1);
}

TEST_CASE("a listener that is told of an overrun may look at the statistics", "[timeout]") {
    world w;
    const rs::timeout limit({.limit = 500ms}, w.reg);
    std::uint64_t seen = 0;
    const auto listening = w.reg.subscribe([&](const rs::event& e) {
        if (e.kind == rs::event_kind::overran) seen += limit.stats().overrun_total;
    });

    (void)limit.try_call([&] {
        w.clock.advance(5s);
        (void)limit.stats();
    });

    CHECK(seen == 1);
}

TEST_CASE("abandoned work that outruns twice its limit is told to the first reader, and once",
          "[abandoning_timeout]") {
    world w;
    const auto idle = GENERATE(std::optional<rs::duration>(), std::optional<rs::duration>(500ms));
    const rs::abandoning_timeout limit(
        {.name = "pdf", .limit = idle ? rs::duration{1h} : rs::duration{500ms}, .idle = idle}, w.reg);
    rs::testing::recorder recorded(w.reg); // of two threads
    std::atomic<bool> may_end = false;

    (void)limit.named("render").try_call([&](rs::call_context&) {
        w.clock.advance(500ms); // given up here
        while (!may_end.load()) std::this_thread::yield();
    });
    CHECK(limit.stats().abandoned_running == 1);
    w.clock.advance(500ms);
    CHECK(limit.stats().overrun_total == 0);
    CHECK(limit.stats().longest_overrun == 500ms);
    w.clock.advance(1ns);
    CHECK(limit.stats().overrun_total == 1);
    w.clock.advance(1s);
    CHECK(limit.stats().overrun_total == 1);
    CHECK(limit.stats().longest_overrun == 1500ms + 1ns);
    w.clock.advance(1s);
    may_end = true;
    while (limit.stats().abandoned_running > 0) std::this_thread::yield();

    CHECK(limit.stats().overrun_total == 1);
    CHECK(limit.stats().longest_overrun == 2500ms + 1ns);
    REQUIRE(recorded.count(rs::event_kind::overran) == 1);
    for (const auto& e : recorded.events()) {
        if (e.kind != rs::event_kind::overran) continue;
        CHECK(e.operation == "render");
        CHECK(e.attempt == 1);
        CHECK(e.delay == rs::duration{500ms});
        CHECK(e.reason == "has been running for 1s");
    }
}

TEST_CASE("one reader is told of all abandoned work that outruns twice its limit, of each once",
          "[abandoning_timeout]") {
    world w;
    const rs::abandoning_timeout limit({.limit = 500ms}, w.reg);
    std::vector<std::string> told; // by reads of this thread alone
    int listeners = 0;             // that run now
    std::atomic<bool> may_end = false;
    {
        const auto listening = w.reg.subscribe([&](const rs::event& e) {
            if (e.kind != rs::event_kind::overran) return;
            told.push_back(e.operation);
            CHECK(++listeners == 1);
            (void)limit.stats(); // a listener may look: nothing is told in here, and nothing twice
            --listeners;
        });
        for (const char* const name : {"one", "two", "three"}) {
            (void)limit.named(name).try_call([&](rs::call_context&) {
                w.clock.advance(500ms); // given up here
                while (!may_end.load()) std::this_thread::yield();
            });
        }
        w.clock.advance(1h);

        CHECK(limit.stats().overrun_total == 3);
        (void)limit.stats();
    }
    may_end = true;
    while (limit.stats().abandoned_running > 0) std::this_thread::yield();

    std::sort(told.begin(), told.end());
    CHECK(told == std::vector<std::string>{"one", "three", "two"});
}

TEST_CASE("abandoned work that outruns twice its limit is told when it ends", "[abandoning_timeout]") {
    world w;
    const rs::abandoning_timeout limit({.name = "pdf", .limit = 500ms}, w.reg);
    rs::testing::recorder recorded(w.reg); // of two threads
    const auto work_for = [&](rs::duration length) {
        (void)limit.named("render").with({.correlation = "req-7"}).try_call([&, length] {
            CHECK(limit.stats().in_flight == 1);
            w.clock.advance(length);
        });
        while (limit.stats().abandoned_running > 0) std::this_thread::yield();
        CHECK(limit.stats().in_flight == 0);
    };

    work_for(499ms);
    CHECK(limit.stats().longest_overrun == 0s);
    work_for(1s);
    CHECK(limit.stats().overrun_total == 0);
    CHECK(limit.stats().longest_overrun == 500ms);
    work_for(60s);
    CHECK(limit.stats().overrun_total == 1);
    CHECK(limit.stats().longest_overrun == 59'500ms);
    REQUIRE(recorded.count(rs::event_kind::overran) == 1);
    for (const auto& e : recorded.events()) {
        if (e.kind != rs::event_kind::overran) continue;
        CHECK(e.operation == "render");
        CHECK(e.correlation == "req-7");
        CHECK(e.reason == "ran for 60s");
    }
}
