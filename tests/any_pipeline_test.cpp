// SPDX-License-Identifier: Apache-2.0
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/failing.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::testing::after;
using rs::testing::scripted;
using rs::testing::throws;
using support::always_failing;
using support::heard;
using support::world;

using delays = std::vector<rs::duration>;

TEST_CASE("an any_pipeline put together at run time runs its policies, the first outermost",
          "[any_pipeline]") {
    world w;
    const rs::circuit_breaker breaker{{}, w.reg};
    rs::any_pipeline guard(rs::retry(support::plain(3), w.reg));
    guard.add(breaker).add(rs::timeout(2s, w.reg));

    CHECK(guard.size() == 3);
    CHECK(guard(scripted<int>{w.clock, {throws(std::runtime_error("1")), after(3s, 2), 3}}) == 3);

    CHECK(breaker.stats().failures == 2);
    CHECK(breaker.stats().successes == 1);
    CHECK(w.clock.slept() == delays{1s, 3s, 2s});
}

TEST_CASE("one any_pipeline serves calls of any result type", "[any_pipeline]") {
    world w;
    const rs::any_pipeline guard(rs::retry(support::at_once(2), w.reg), rs::circuit_breaker({}, w.reg));
    int x = 5;

    guard([] {});
    CHECK(guard([] { return 5; }) == 5);
    CHECK(&guard([&]() -> int& { return x; }) == &x);
    CHECK(*guard([] { return std::make_unique<int>(5); }) == 5);
    CHECK(guard([] { return tl::expected<int, std::string>(5); }).value() == 5);
    CHECK(guard.wrap([](int n) { return n + 1; })(5) == 6);
    CHECK(guard.try_call(always_failing()).error().message() == "down");
}

TEST_CASE("a pipeline given to an any_pipeline is taken apart", "[any_pipeline]") {
    world w;
    const rs::any_pipeline guard(rs::retry(support::plain(), w.reg) | rs::timeout(1s, w.reg),
                                 rs::circuit_breaker({}, w.reg));

    CHECK(guard.size() == 3);
}

TEST_CASE("an any_pipeline refuses policies of another registry and a thirteenth", "[any_pipeline]") {
    world w;
    world other;
    rs::any_pipeline guard(rs::retry(support::plain(), w.reg));

    CHECK_THROWS_AS(guard.add(rs::timeout(1s, other.reg)), std::invalid_argument);
    for (int i = 1; i < 12; ++i) guard.add(rs::timeout(1s, w.reg));
    CHECK_THROWS_AS(guard.add(rs::timeout(1s, w.reg)), std::length_error);
    CHECK(guard.size() == 12);
    CHECK(guard([] { return 1; }) == 1);
}

TEST_CASE("an any_pipeline and a pipeline of the same policies behave alike", "[any_pipeline]") {
    const auto story = [](bool any, const auto& script) {
        world w;
        const heard h{w.reg};
        const rs::retry retry{support::plain(4), w.reg};
        const rs::circuit_breaker breaker{{.failure_threshold = 3, .recovery_timeout = 5s}, w.reg};
        const rs::timeout timeout{2s, w.reg};
        const scripted<int> f = script(w);
        const auto run = [&](const auto& guard) {
            return guard.with({.deadline = w.clock.now() + 60s}).try_call(f);
        };
        const auto result =
            any ? run(rs::any_pipeline(retry, breaker, timeout)) : run(retry | breaker | timeout);
        std::string told = result.has_value() ? std::to_string(*const_cast<rs::outcome<int>&>(result))
                                              : result.error().message();
        for (const auto& e : h.events)
            told +=
                "\n" + std::string(to_string(e.kind)) + " " + std::to_string(e.attempt) + e.error + e.reason;
        for (const auto d : w.clock.slept()) told += "\n" + std::to_string(d.count());
        told += "\n" + std::to_string(f.calls()) + " " + std::to_string(breaker.stats().failures);
        return told;
    };
    const auto compare = [&](const auto& script) { CHECK(story(true, script) == story(false, script)); };

    compare([](world&) { return scripted<int>{1}; });
    compare([](world&) { return scripted<int>{throws(std::runtime_error("1")), 2}; });
    compare([](world&) { return always_failing(); });
    compare(
        [](world& w) { return scripted<int>{w.clock, {after(3s, 1), throws(std::runtime_error("2")), 3}}; });
    compare([](world& w) {
        return scripted<int>{w.clock, {after(3s, 1), after(3s, 2), after(3s, 3), after(3s, 4)}};
    });
    compare([](world&) { return scripted<int>{throws(std::bad_alloc())}; });
    compare([](world&) { return scripted<int>{throws(support::http_error(404))}; });
}

TEST_CASE("in an any_pipeline too the trip that nothing can pass ends the call with the real failure",
          "[any_pipeline]") {
    world w;
    const rs::circuit_breaker breaker{{.failure_threshold = 2, .recovery_timeout = 30s}, w.reg};
    const rs::any_pipeline guard(rs::retry(support::plain(5), w.reg), breaker);
    const auto f = always_failing();

    CHECK(guard.try_call(f).error().message() == "down");

    CHECK(f.calls() == 2);
    CHECK(w.clock.slept() == delays{1s});
}

TEST_CASE("in an any_pipeline a rejection that ends a retried call carries the last real failure",
          "[any_pipeline]") {
    world w;
    const rs::circuit_breaker breaker{{}, w.reg};
    auto c = support::at_once(3);
    c.retry_if = [](const rs::failure&) { return true; };
    const rs::any_pipeline guard(rs::retry(c, w.reg), breaker);

    const auto result = guard.try_call([&] {
        breaker.force_open();
        throw std::runtime_error("down");
    });

    CHECK(result.error().code() == rs::errc::circuit_open);
    REQUIRE(result.error().cause() != nullptr);
    CHECK(result.error().cause()->message() == "down");
}

TEST_CASE("in an any_pipeline a stop request ends the sleep and keeps the last outcome",
          "[any_pipeline][H-RT-12]") {
    world w;
    const rs::any_pipeline guard(rs::retry(support::plain(3), w.reg), rs::timeout(2s, w.reg));
    std::stop_source stop;
    const auto began = w.clock.now();
    const auto timer = w.clock.call_at(began + 3500ms, [&] { stop.request_stop(); });
    const scripted<int> late{w.clock, {after(3s, 1)}};

    const auto result = guard.with({.stop_token = stop.get_token()}).try_call(late);

    CHECK(result.error().code() == rs::errc::timed_out);
    CHECK(late.calls() == 1);
    CHECK(w.clock.now() - began == 3500ms);
}

TEST_CASE("a fallback may stand anywhere in an any_pipeline", "[any_pipeline]") {
    world w;
    const rs::retry retry{support::at_once(3), w.reg};
    const rs::circuit_breaker breaker{{}, w.reg};
    const auto f = always_failing();

    CHECK(rs::any_pipeline(rs::fallback(7), retry, breaker)(f) == 7);
    CHECK(f.calls() == 3);
    CHECK(rs::any_pipeline(retry, rs::fallback(7), breaker)(f) == 7);
    CHECK(f.calls() == 4);
    CHECK(rs::any_pipeline(retry, breaker, rs::fallback(7))(f) == 7);
    CHECK(f.calls() == 5);
    CHECK(breaker.stats().failures == 4);
}

TEST_CASE("copies of an any_pipeline share its policies", "[any_pipeline][H-CPP-20]") {
    world w;
    const rs::retry retry{support::at_once(1), w.reg};
    const rs::circuit_breaker breaker{{}, w.reg};
    const rs::any_pipeline guard(retry, breaker);
    const rs::any_pipeline copy = guard;

    copy([] {});
    guard([] {});

    CHECK(retry.stats().calls == 2);
    CHECK(breaker.stats().successes == 2);
}

TEST_CASE("an any_pipeline keeps what it was made of, and so does a copy", "[any_pipeline][H-CPP-23]") {
    rs::testing::virtual_clock clock;
    std::optional<rs::any_pipeline> guard;
    {
        rs::registry reg{clock};
        guard.emplace(rs::retry(support::at_once(2), reg), rs::circuit_breaker({.name = "jira"}, reg));
    }
    const rs::any_pipeline copy = *guard;
    guard.reset();

    CHECK(copy(scripted<int>{throws(42), 1}) == 1);
}

TEST_CASE("an any_pipeline may begin empty, and runs the callable alone", "[any_pipeline]") {
    world w;
    rs::any_pipeline guard;
    CHECK(guard.size() == 0);
    CHECK(guard([] { return 7; }) == 7);
    CHECK_THROWS_AS(guard([]() -> int { throw std::runtime_error("x"); }), std::runtime_error);
    CHECK(guard.try_call([](rs::call_context& ctx) { return ctx.attempt(); }).value() == 1U);
    CHECK(guard.wrap([](int i) { return i + 1; })(1) == 2);

    guard.add(rs::retry(support::at_once(2), w.reg));
    int attempts = 0;
    (void)guard.try_call([&] {
        ++attempts;
        throw std::runtime_error("down");
    });

    CHECK(guard.size() == 1);
    CHECK(attempts == 2);
}

} // namespace
