// SPDX-License-Identifier: Apache-2.0
// What a retried call tells: events, statistics, the wrapper; and how retries nest.
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/failing.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::event_kind;
using rs::testing::scripted;
using rs::testing::throws;
using support::always_failing;
using support::at_once;
using support::heard;
using support::plain;
using support::world;

[[noreturn]] void fail() { throw std::runtime_error("down"); }

TEST_CASE("each failed attempt is one event, with the delay that follows", "[retry]") {
    world w;
    auto c = plain(3);
    c.name = "jira";
    const rs::retry retry{c, w.reg};
    const heard h{w.reg};

    (void)retry.named("search").try_call(always_failing());

    const auto failed = h.of(event_kind::attempt_failed);
    REQUIRE(failed.size() == 3);
    for (unsigned i = 0; i < 3; ++i) {
        CHECK(failed[i].policy_kind == "retry");
        CHECK(failed[i].policy == "jira");
        CHECK(failed[i].operation == "search");
        CHECK(failed[i].attempt == i + 1);
        CHECK(failed[i].max_attempts == 3);
        CHECK(failed[i].error == "down");
        CHECK(failed[i].error_type == "std::runtime_error");
    }
    CHECK(failed[0].delay == rs::duration{1s});
    CHECK(failed[1].delay == rs::duration{2s});
    CHECK_FALSE(failed[2].delay);
    CHECK(failed[2].reason == "max_attempts");
    CHECK(failed[0].at == rs::testing::virtual_clock::start_time);
    CHECK(failed[1].at == rs::testing::virtual_clock::start_time + 1s);
    CHECK(failed[1].wall == rs::testing::virtual_clock::start_wall_time + 1s);
}

TEST_CASE("retry_scheduled names the attempt that will start and when", "[retry]") {
    world w;
    const rs::retry retry{plain(3), w.reg};
    const heard h{w.reg};

    (void)retry.try_call(always_failing());

    const auto scheduled = h.of(event_kind::retry_scheduled);
    REQUIRE(scheduled.size() == 2);
    CHECK(scheduled[0].attempt == 2);
    CHECK(scheduled[0].delay == rs::duration{1s});
    CHECK(scheduled[1].attempt == 3);
    CHECK(scheduled[1].delay == rs::duration{2s});
}

TEST_CASE("a refusal is no failed attempt, and still another one is told of", "[retry]") {
    world w;
    auto c = plain(3);
    c.retry_if = rs::on<rs::circuit_open_error>();
    const rs::circuit_breaker breaker{{}, w.reg};
    breaker.open_for(1s);
    const rs::retry retry{c, w.reg};
    const heard h{w.reg};

    CHECK((retry | breaker)([] { return 1; }) == 1);

    CHECK(h.count(event_kind::attempt_failed) == 0);
    const auto scheduled = h.of(event_kind::retry_scheduled);
    REQUIRE(scheduled.size() == 1);
    CHECK(scheduled[0].attempt == 2);
    CHECK(scheduled[0].delay == rs::duration{1s});
    CHECK(scheduled[0].error_type == "resilience::circuit_open_error");
}

TEST_CASE("a call that runs out of attempts tells so once; one that recovers tells that", "[retry]") {
    world w;
    const rs::retry retry{plain(3), w.reg};
    const heard h{w.reg};

    (void)retry.try_call(always_failing());
    REQUIRE(h.count(event_kind::retries_exhausted) == 1);
    CHECK(h.events.back().kind == event_kind::retries_exhausted);
    CHECK(h.events.back().attempt == 3);
    CHECK(h.count(event_kind::call_succeeded_after_retry) == 0);

    CHECK(retry(scripted<int>{throws(std::runtime_error("x")), 1}) == 1);
    CHECK(h.count(event_kind::retries_exhausted) == 1);
    REQUIRE(h.count(event_kind::call_succeeded_after_retry) == 1);
    CHECK(h.events.back().attempt == 2);
}

TEST_CASE("a call that succeeds at once tells nothing", "[retry]") {
    world w;
    const rs::retry retry{plain(3), w.reg};
    const heard h{w.reg};

    retry([] {});

    CHECK(h.events.empty());
}

TEST_CASE("the last event says why there was no further attempt", "[retry]") {
    world w;
    auto c = plain(3);
    c.retry_if = rs::on<std::runtime_error>();
    const rs::retry retry{c, w.reg};
    const heard h{w.reg};

    (void)retry.try_call([] { throw std::logic_error("x"); });
    CHECK(h.events.back().reason == "retry_if");
    (void)retry.with({.deadline = w.clock.now() + 1s}).try_call(always_failing());
    CHECK(h.events.back().reason == "deadline");
    (void)retry.with({.idempotency = rs::idempotency::unsafe}).try_call(always_failing());
    CHECK(h.events.back().reason == "may have been sent");
    CHECK(h.count(event_kind::retries_exhausted) == 0);
}

TEST_CASE("a listener that throws or subscribes changes nothing for the call", "[retry][H-EV-02]") {
    world w;
    const rs::retry retry{plain(2), w.reg};
    const auto rude = w.reg.subscribe([](const rs::event&) { throw 42; });
    const heard h{w.reg};

    CHECK_THROWS_WITH(retry(always_failing()), "down");

    CHECK(h.count(event_kind::attempt_failed) == 2);
    CHECK(w.reg.listener_errors() == h.events.size());
}

TEST_CASE("a failure without words is told of, and stays the outcome", "[retry]") {
    struct mute : std::exception {
        const char* what() const noexcept override { return nullptr; }
    };
    world w;
    const heard h{w.reg};

    CHECK_THROWS_AS(rs::retry(at_once(2), w.reg)([] { throw mute(); }), mute);

    CHECK(h.count(event_kind::attempt_failed) == 2);
}

TEST_CASE("statistics count each call once and each attempt apart", "[retry]") {
    world w;
    auto c = plain(3);
    c.name = "jira";
    const rs::retry retry{c, w.reg};

    retry([] {});
    (void)retry(scripted<int>{throws(std::runtime_error("x")), 1});
    (void)retry.try_call(always_failing());
    (void)retry.try_call([] { throw std::bad_alloc(); });

    const auto s = retry.stats();
    CHECK(s.name == "jira");
    CHECK(s.calls == 4);
    CHECK(s.succeeded_at_once == 1);
    CHECK(s.succeeded_after_retry == 1);
    CHECK(s.failed_after_retry == 1);
    CHECK(s.failed_without_retry == 1);
    CHECK(s.failed_attempts == 5);
    CHECK(s.retries == 3);
    CHECK(s.exhausted == 1);
    CHECK(s.nested_retries == 0);
    CHECK_FALSE(s.budget_left);
}

TEST_CASE("wrap_exhausted throws retries_exhausted_error with the cause nested", "[retry]") {
    world w;
    auto c = plain(2);
    c.name = "jira";
    c.wrap_exhausted = true;
    const rs::retry retry{c, w.reg};

    try {
        retry(scripted<int>{throws(std::runtime_error("1")), throws(std::range_error("2"))});
        FAIL("did not throw");
    } catch (const rs::retries_exhausted_error& e) {
        CHECK(e.code() == rs::errc::retries_exhausted);
        CHECK(e.policy() == "jira");
        CHECK(std::string(e.what()) ==
              "retry 'jira': all 2 attempts failed; first std::runtime_error: 1; last std::range_error: 2");
        CHECK_THROWS_AS(std::rethrow_if_nested(e), std::range_error);
        CHECK_THROWS_WITH(std::rethrow_if_nested(e), "2");
    }
}

TEST_CASE("wrap_exhausted keeps the cause of an outcome, and the text of a failing value", "[retry]") {
    world w;
    auto c = plain(2);
    c.wrap_exhausted = true;
    const rs::retry retry{c, w.reg};
    const auto io = std::make_error_code(std::errc::io_error);

    const auto thrown = retry.try_call(always_failing());
    REQUIRE(thrown.error().cause() != nullptr);
    CHECK(thrown.error().cause()->as<std::runtime_error>() != nullptr);

    const auto value = retry.try_call([&] { return io; });
    REQUIRE(value.error().cause() != nullptr);
    CHECK(value.error().cause()->code() == io);
    CHECK(value.error().cause()->message() == io.message());
}

TEST_CASE("wrap_exhausted wraps nothing that was not worth another attempt", "[retry]") {
    world w;
    auto c = plain(2);
    c.wrap_exhausted = true;
    const rs::retry retry{c, w.reg};

    CHECK_THROWS_AS(retry([] { throw std::bad_alloc(); }), std::bad_alloc);
    CHECK_THROWS_AS(retry.with({.deadline = w.clock.now() + 1ms})(always_failing()), std::runtime_error);
}

TEST_CASE("an outer retry takes an inner one's retries_exhausted_error for a failed attempt",
          "[retry][H-RT-14]") {
    world w;
    auto inner = at_once(2);
    inner.wrap_exhausted = true;
    const rs::retry outer{at_once(3), w.reg};
    const auto f = always_failing();

    CHECK_THROWS_AS((outer | rs::retry(inner, w.reg))(f), rs::retries_exhausted_error);

    CHECK(f.calls() == 6);
    CHECK(outer.stats().failed_attempts == 3);
}

// How retries nest. Each shape of the same two retries takes another way through the drivers.

struct nesting {
    world w;
    rs::retry outer;
    rs::retry inner;
    unsigned calls = 0;

    nesting(rs::nested_retry mode, unsigned outer_attempts = 3, unsigned inner_attempts = 2)
        : outer(at_once(outer_attempts), w.reg), inner(
                                                     [&] {
                                                         auto c = at_once(inner_attempts);
                                                         c.nested = mode;
                                                         return c;
                                                     }(),
                                                     w.reg) {}

    void attempt() {
        ++calls;
        fail();
    }
};

template <class Check>
void for_each_shape(rs::nested_retry mode, Check check) {
    const auto run = [&](const std::string& name, auto call) {
        nesting n(mode);
        INFO(name);
        call(n);
        check(n);
        // Nothing of it is left on this thread: the inner one alone makes all of its attempts.
        const unsigned before = n.calls;
        (void)n.inner.try_call([&] { n.attempt(); });
        CHECK(n.calls - before == 2);
    };
    run("calls inside calls",
        [](nesting& n) { (void)n.outer.try_call([&] { n.inner([&] { n.attempt(); }); }); });
    run("with a context", [](nesting& n) {
        (void)n.outer.try_call([&](rs::call_context&) { n.inner([&](rs::call_context&) { n.attempt(); }); });
    });
    run("around a timeout", [](nesting& n) {
        (void)(n.outer | rs::timeout(1s, n.w.reg)).try_call([&] { n.inner([&] { n.attempt(); }); });
    });
    run("the context handed on", [](nesting& n) {
        (void)n.outer.try_call([&](rs::call_context& ctx) { n.inner.with(ctx)([&] { n.attempt(); }); });
    });
    run("with options", [](nesting& n) {
        (void)n.outer.with({.idempotency = rs::idempotency::safe}).try_call([&] {
            n.inner.with({.idempotency = rs::idempotency::safe})([&] { n.attempt(); });
        });
    });
    run("one pipeline", [](nesting& n) { (void)(n.outer | n.inner).try_call([&] { n.attempt(); }); });
    run("one pipeline with options", [](nesting& n) {
        (void)(n.outer | n.inner).with({.idempotency = rs::idempotency::safe}).try_call([&] { n.attempt(); });
    });
    run("one pipeline around a timeout", [](nesting& n) {
        (void)(n.outer | n.inner | rs::timeout(1s, n.w.reg)).try_call([&] { n.attempt(); });
    });
    run("any_pipeline",
        [](nesting& n) { (void)rs::any_pipeline(n.outer, n.inner).try_call([&] { n.attempt(); }); });
}

TEST_CASE("nested retries multiply, and the inner one knows that it is nested", "[retry][H-RT-14]") {
    for_each_shape(rs::nested_retry::multiply, [](nesting& n) {
        CHECK(n.calls == 6);
        CHECK(n.outer.stats().failed_attempts == 3);
        CHECK(n.outer.stats().nested_retries == 0);
        CHECK(n.inner.stats().failed_attempts == 6);
        CHECK(n.inner.stats().retries == 3);
        CHECK(n.inner.stats().nested_retries == 3);
        CHECK(n.inner.stats().calls == 3);
    });
}

TEST_CASE("an outermost_only retry makes one attempt under another retry", "[retry][H-RT-14]") {
    for_each_shape(rs::nested_retry::outermost_only, [](nesting& n) {
        CHECK(n.calls == 3);
        CHECK(n.outer.stats().failed_attempts == 3);
        CHECK(n.inner.stats().retries == 0);
        CHECK(n.inner.stats().failed_without_retry == 3);
    });
}

TEST_CASE("events of a nested retry carry its depth", "[retry][H-RT-14]") {
    nesting n(rs::nested_retry::multiply, 2, 2);
    const heard h{n.w.reg};

    (void)n.outer.try_call([&] { n.inner([&] { n.attempt(); }); });

    std::vector<unsigned> depths;
    for (const auto& e : h.of(event_kind::attempt_failed)) depths.push_back(e.retry_depth);
    CHECK(depths == std::vector<unsigned>{1, 1, 0, 1, 1, 0});
}

TEST_CASE("successful nested retries leave nothing behind on their thread", "[retry][H-RT-14]") {
    nesting n(rs::nested_retry::outermost_only);

    for (int i = 0; i < 3; ++i) {
        (n.outer | n.inner)([] {});
        (n.outer | n.inner | rs::timeout(1s, n.w.reg))([] {});
        (n.outer | n.inner)([](rs::call_context& ctx) { CHECK(ctx.retry_depth() == 2); });
        n.outer([&] { n.inner([](rs::call_context& ctx) { CHECK(ctx.retry_depth() == 2); }); });
    }

    (void)n.inner.try_call([&] { n.attempt(); });
    CHECK(n.calls == 2);
}

TEST_CASE("each round of a nested retry begins its delays anew", "[retry][H-RT-06]") {
    world w;
    auto inner = plain(3);
    inner.strategy = rs::backoff::decorrelated;
    const auto guard = rs::retry(at_once(2), w.reg) | rs::retry(inner, w.reg);

    (void)guard.try_call(always_failing());

    CHECK(w.clock.slept() == std::vector<rs::duration>{2s, 3500ms, 2s, 3500ms});
}

} // namespace
