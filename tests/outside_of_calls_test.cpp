// SPDX-License-Identifier: Apache-2.0
#include <resilience/alert_sink.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/outside_of_calls.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/registry.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/fixed_random.hpp>
#include <resilience/testing/virtual_clock.hpp>
#include <resilience/timeout.hpp>

#include "composition/every_policy.hpp"
#include "support/catch.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::world;

/// Makes a call through a client of its own, and says which limits that call had.
struct strangers_job {
    std::string operator()() {
        std::string found = "did not begin";
        (void)client.try_call([&](rs::call_context& ctx) {
            found = ctx.deadline() == rs::time_point::max() ? "unlimited" : "limited";
            if (ctx.stop_requested()) found += ", stopped";
            if (ctx.retry_depth() > 1) found += ", nested";
            runs += found == "unlimited" ? 1 : 0;
        });
        return found;
    }

    world own{};
    rs::retry client{support::plain(1), own.reg};
    int runs = 0;
};

/// An executor whose waiting callers run the jobs of others.
struct executor {
    void run_all() {
        while (!jobs.empty()) std::exchange(jobs.front(), nullptr)(), jobs.pop_front();
    }
    void run_all_outside_of_calls() {
        const rs::outside_of_calls scope;
        run_all();
    }
    std::deque<std::function<void()>> jobs;
};

TEST_CASE("a job of somebody else that a blocked callable runs has no limit of ours",
          "[outside_of_calls][H-USE-08]") {
    support::with_each([](const auto& guard) {
        world w;
        executor jobs;
        strangers_job job;
        std::stop_source stop;
        std::string inside;
        std::string outside;
        std::string after;
        const auto limits = rs::retry(support::plain(), w.reg) | rs::timeout(1s, w.reg);

        (void)limits.with({.stop_token = stop.get_token()}).try_call([&] {
            guard([&] {
                inside = job();
                jobs.jobs.emplace_back([&] { outside = job(); });
                stop.request_stop();
                w.clock.advance(1h);
                jobs.run_all_outside_of_calls();
                after = job();
            });
        });

        CHECK(inside == "limited, nested");
        CHECK(outside == "unlimited");
        CHECK(after == "did not begin");
    });
}

TEST_CASE("outside_of_calls ends with its block, and nests", "[outside_of_calls][H-USE-08]") {
    world w;
    const auto guard = rs::retry(support::plain(2), w.reg) | rs::timeout(1s, w.reg);
    const rs::retry bare{support::plain(2), w.reg};
    unsigned attempts = 0;

    guard([&](rs::call_context& ctx) {
        {
            const rs::outside_of_calls scope;
            CHECK(rs::call_context::current() == nullptr);
            bare([](rs::call_context& inside) {
                CHECK(inside.retry_depth() == 1);
                CHECK(rs::call_context::current() == &inside);
            });
            guard([&](rs::call_context& inside) {
                {
                    const rs::outside_of_calls further;
                    CHECK(rs::call_context::current() == nullptr);
                }
                CHECK(rs::call_context::current() == &inside);
            });
            CHECK(rs::call_context::current() == nullptr);
        }
        CHECK(rs::call_context::current() == &ctx);
        bare([](rs::call_context& inside) { CHECK(inside.retry_depth() == 2); });
    });
    // On the fast path a call leaves its retry depth alone.
    bare([&] {
        {
            const rs::outside_of_calls scope;
            bare([](rs::call_context& inside) { CHECK(inside.retry_depth() == 1); });
        }
        bare([](rs::call_context& inside) { CHECK(inside.retry_depth() == 2); });
        if (++attempts == 1) throw std::runtime_error("once");
    });
    CHECK(attempts == 2);
    bare([](rs::call_context& inside) { CHECK(inside.retry_depth() == 1); });
}

TEST_CASE("a subscriber has no limit of the call that it hears of", "[outside_of_calls][event][H-USE-08]") {
    world w;
    strangers_job job;
    const rs::subscription listening = w.reg.subscribe([&](const rs::event&) { job(); });
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::timeout inner(1ms, w.reg);

    (void)(rs::retry(support::plain(2), w.reg) | rs::timeout(1s, w.reg)).try_call([&] {
        w.clock.advance(1h);
        (void)breaker.with({.inherit = rs::inherit::nothing}).try_call([] { throw 1; });
        (void)(breaker | inner).with({.inherit = rs::inherit::nothing}).try_call([] {});
    });

    CHECK(job.runs >= 4); // state_changed, call_rejected, timed_out, attempt_failed, ...
    CHECK(job.client.stats().calls == static_cast<std::uint64_t>(job.runs));
}

TEST_CASE("on_state_change has no limit of the call that changed the state",
          "[outside_of_calls][circuit_breaker][H-USE-08]") {
    world w;
    strangers_job job;
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .on_state_change = [&](const rs::event&) { job(); }}, w.reg);

    (void)rs::timeout(1s, w.reg).try_call([&] {
        breaker.force_open();
        w.clock.advance(1h);
        breaker.reset();
        (void)breaker.with({.inherit = rs::inherit::nothing}).try_call([] { throw 1; });
    });

    CHECK(job.runs == 3);
}

TEST_CASE("an alert that is sent by hand has no limit of the call that sends it",
          "[outside_of_calls][alert_sink][H-USE-08]") {
    world w;
    strangers_job redacting;
    bool sent = false;
    const rs::retry client{support::plain(1), w.reg};
    rs::alert_sink sink(w.reg,
                        {.redact =
                             [&](std::string_view text) {
                                 redacting();
                                 return std::string(text);
                             },
                         .delivery = rs::alert_delivery::by_hand},
                        [&](const rs::alert&) { client([&] { sent = true; }); });
    const rs::circuit_breaker breaker({.name = "jira_api", .failure_threshold = 1}, w.reg);
    (void)breaker.try_call([] { throw std::runtime_error("down"); });

    (void)rs::timeout(1s, w.reg).try_call([&] {
        w.clock.advance(1h);
        sink.deliver_due();
    });

    CHECK(sent);
    CHECK(sink.stats().sent == 1);
    CHECK(redacting.runs == 1);
}

TEST_CASE("a timer that fires inside of a call is outside of it",
          "[outside_of_calls][virtual_clock][H-USE-08]") {
    world w;
    strangers_job job;
    const auto in_half_a_second = w.clock.call_at(w.clock.now() + 500ms, [&] { job(); });
    const auto in_two_seconds = w.clock.call_at(w.clock.now() + 2s, [&] { job(); });
    const auto limits = rs::retry(support::plain(2), w.reg) | rs::timeout(1s, w.reg);

    (void)limits.try_call([&] {
        w.clock.advance(1500ms);
        w.clock.sleep_until(w.clock.now() + 1s, {});
    });

    CHECK(job.runs == 2);
}

/// A clock that runs jobs of others while it sleeps, as an event loop does.
struct looping_clock : rs::testing::virtual_clock {
    bool sleep_until(rs::time_point until, std::stop_token stop) override {
        if (meanwhile) meanwhile();
        return virtual_clock::sleep_until(until, std::move(stop));
    }
    std::function<void()> meanwhile;
};

TEST_CASE("a clock that runs jobs of others while a retry waits runs them outside of the call",
          "[outside_of_calls][retry][H-USE-08]") {
    looping_clock clock;
    rs::testing::fixed_random random{0.5};
    rs::registry reg{clock, random};
    strangers_job job;
    clock.meanwhile = [&] { job(); };
    const rs::retry retry(support::plain(3), reg);

    (void)(rs::retry(support::plain(1), reg) | rs::timeout(1h, reg)).try_call([&] {
        (void)retry.try_call([] { throw 1; });
    });

    CHECK(job.runs == 2);
}

} // namespace
