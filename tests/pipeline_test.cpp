// SPDX-License-Identifier: Apache-2.0
#include <resilience/pipeline.hpp>

#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <chrono>
#include <concepts>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::testing::scripted;
using rs::testing::throws;
using support::world;

template <class A, class B>
concept can_pipe = requires(const A& a, const B& b) { a | b; };

static_assert(can_pipe<rs::retry, rs::timeout>);
static_assert(can_pipe<rs::retry, rs::pipeline<rs::timeout>>);
static_assert(!can_pipe<rs::retry, int>);
static_assert(!can_pipe<int, rs::retry>);
static_assert(!can_pipe<rs::retry, std::string>);
static_assert(std::copy_constructible<rs::pipeline<rs::retry, rs::timeout>>);
static_assert(std::is_same_v<decltype(std::declval<rs::retry>() | std::declval<rs::circuit_breaker>() |
                                      std::declval<rs::timeout>()),
                             rs::pipeline<rs::retry, rs::circuit_breaker, rs::timeout>>);
static_assert(std::is_same_v<decltype(std::declval<rs::retry>() |
                                      (std::declval<rs::circuit_breaker>() | std::declval<rs::timeout>())),
                             rs::pipeline<rs::retry, rs::circuit_breaker, rs::timeout>>);

TEST_CASE("the first policy listed is the outermost", "[pipeline]") {
    world w;
    const rs::retry retry{{.name = "r"}, w.reg};
    const rs::timeout timeout{{.name = "t", .limit = 1s}, w.reg};

    const auto piped = retry | timeout;
    const rs::pipeline made{retry, timeout};

    CHECK(piped.get<0>().name() == "r");
    CHECK(piped.get<1>().name() == "t");
    CHECK(made.get<0>().name() == "r");
    static_assert(std::is_same_v<decltype(piped), decltype(made)>);
}

TEST_CASE("every call form gives the same outcome", "[pipeline]") {
    world w;
    const auto guard = rs::retry(support::at_once(2), w.reg) | rs::timeout(1s, w.reg);
    const auto add = [](int a, int b) { return a + b; };

    CHECK(guard(add, 1, 2) == 3);
    CHECK(guard.call(add, 1, 2) == 3);
    CHECK(guard.try_call(add, 1, 2).value() == 3);
    CHECK(guard.wrap(add)(1, 2) == 3);
    CHECK(guard.named("add")(add, 1, 2) == 3);
    CHECK(guard.named("add").call(add, 1, 2) == 3);
    CHECK(guard.named("add").try_call(add, 1, 2).value() == 3);
    CHECK(guard.named("add").wrap(add)(1, 2) == 3);
    CHECK(guard.with({})(add, 1, 2) == 3);
    CHECK(guard.with({}).named("add")(add, 1, 2) == 3);
    CHECK(guard.named("add").with({})(add, 1, 2) == 3);
}

TEST_CASE("try_call throws for neither failures nor rejections", "[pipeline][H-CPP-10]") {
    world w;
    const rs::circuit_breaker breaker{{}, w.reg};
    const auto guard = rs::retry(support::at_once(2), w.reg) | breaker;

    CHECK(guard.try_call([] { throw 42; }).error().as<int>() != nullptr);
    breaker.force_open();
    CHECK(guard.try_call([] {}).error().code() == rs::errc::circuit_open);
    CHECK_THROWS_AS(guard([] {}), rs::circuit_open_error);
}

TEST_CASE("a wrapped callable owns handles, name and options", "[pipeline][H-CPP-22][H-CPP-23]") {
    world w;
    std::function<std::string(int)> wrapped;
    {
        auto name = std::make_unique<std::string>(
            "an operation name that is too long for the small string optimisation");
        const auto guard = rs::retry(support::at_once(1), w.reg) | rs::timeout(1s, w.reg);
        wrapped = guard.named(*name)
                      .with({.deadline = w.clock.now() + 500ms})
                      .wrap([](rs::call_context& ctx, int n) {
                          CHECK(ctx.remaining() == 500ms);
                          return std::string(ctx.operation()) + std::to_string(n);
                      });
        name->assign(name->size(), '#');
    }

    CHECK(wrapped(5) == "an operation name that is too long for the small string optimisation5");
}

TEST_CASE("a wrapped callable is as copyable and const-callable as what it wraps", "[pipeline]") {
    world w;
    const rs::retry retry{support::at_once(1), w.reg};
    int calls = 0;
    const auto constant = retry.wrap([&] { ++calls; });
    auto counting = retry.wrap([n = 0]() mutable { return ++n; });
    auto owning = retry.wrap([p = std::make_unique<int>(5)] { return *p; });

    constant();
    auto copy = constant;
    copy();
    CHECK(calls == 2);
    CHECK(counting() == 1);
    CHECK(counting() == 2);
    auto separate = counting;
    CHECK(separate() == 3);
    CHECK(counting() == 3);
    CHECK(std::as_const(owning)() == 5);
    auto moved = std::move(owning);
    CHECK(moved() == 5);

    static_assert(std::copy_constructible<decltype(counting)>);
    static_assert(!std::copy_constructible<decltype(moved)>);
    static_assert(std::is_invocable_v<const decltype(constant)&>);
}

TEST_CASE("a view is callable as a temporary only", "[pipeline]") {
    using view = decltype(std::declval<const rs::retry&>().named("x"));
    const auto f = [] {};
    static_assert(std::is_invocable_v<view, decltype(f)>);
    static_assert(!std::is_invocable_v<view&, decltype(f)>);
    static_assert(!std::is_invocable_v<const view&, decltype(f)>);
    SUCCEED();
}

TEST_CASE("policies of different registries do not make a pipeline", "[pipeline]") {
    world one;
    world other;
    const rs::retry retry{support::plain(), one.reg};
    const rs::timeout timeout{1s, other.reg};

    CHECK_THROWS_AS(retry | timeout, std::invalid_argument);
    CHECK_THROWS_WITH(rs::pipeline(retry, timeout), Catch::Matchers::Contains("registries"));
    CHECK_NOTHROW(retry | rs::fallback(1) | rs::timeout(1s, one.reg));
    CHECK_THROWS_AS(retry | rs::fallback(1) | timeout, std::invalid_argument);
}

TEST_CASE("a pipeline that held its registry's policies outlives it", "[pipeline][H-REG-05]") {
    rs::testing::virtual_clock clock;
    auto reg = std::make_unique<rs::registry>(clock);
    const auto guard = rs::retry(support::at_once(2), *reg) | rs::circuit_breaker({.name = "jira"}, *reg);
    reg.reset();

    CHECK(guard(scripted<int>{throws(42), 1}) == 1);
}

TEST_CASE("copies of a pipeline share its policies", "[pipeline][H-CPP-20]") {
    world w;
    const auto guard = rs::retry(support::at_once(1), w.reg) | rs::circuit_breaker({}, w.reg);
    const auto copy = guard;

    copy([] {});
    guard([] {});

    CHECK(guard.get<0>().stats().calls == 2);
    CHECK(guard.get<1>().stats().successes == 2);
}

TEST_CASE("a pipeline may be used inside of itself", "[pipeline][H-CB-29]") {
    world w;
    const auto guard =
        rs::retry(support::at_once(2), w.reg) | rs::circuit_breaker({}, w.reg) | rs::timeout(1s, w.reg);

    CHECK(guard([&] { return guard([&] { return guard([] { return 3; }) + 1; }) + 1; }) == 5);
    CHECK(guard.get<1>().stats().successes == 3);
}

TEST_CASE("the callable runs exactly once for each admission", "[pipeline][H-CB-28]") {
    world w;
    const auto guard = rs::retry(support::at_once(3), w.reg) |
                       rs::circuit_breaker({.failure_threshold = 1, .recovery_timeout = 1s}, w.reg) |
                       rs::timeout(1s, w.reg);
    int calls = 0;

    guard([&] { ++calls; });
    CHECK(calls == 1);
    (void)guard.try_call([&] {
        ++calls;
        throw 42;
    });
    CHECK(calls == 2);
    w.clock.advance(1s);
    guard([&] { ++calls; }); // a probe
    CHECK(calls == 3);
    guard.with({.deadline = w.clock.now() + 1h})([&] { ++calls; });
    CHECK(calls == 4);
}

} // namespace
