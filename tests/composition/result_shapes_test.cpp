// SPDX-License-Identifier: Apache-2.0
// Every policy with every shape of result.
#include <resilience/call/call_context.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/error.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "composition/every_policy.hpp"
#include "support/catch.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::pinned;
using support::with_each;
using support::with_every_policy;
using support::world;

struct no_default {
    explicit no_default(int n) : number(n) {}
    int number;
};

TEST_CASE("every policy returns every shape of result", "[composition][H-CPP-07][H-CPP-08]") {
    with_each([](const auto& guard) {
        guard([] {});
        static_assert(std::is_void_v<decltype(guard([] {}))>);

        int x = 1;
        const int y = 2;
        CHECK(&guard([&]() -> int& { return x; }) == &x);
        CHECK(&guard([&]() -> const int& { return y; }) == &y);
        static_assert(std::is_same_v<decltype(guard([&]() -> int& { return x; })), int&>);
        static_assert(std::is_same_v<decltype(guard([&]() -> const int& { return y; })), const int&>);
        static_assert(std::is_same_v<decltype(guard([]() -> int { return 1; })), int>);

        CHECK(*guard([] { return std::make_unique<int>(5); }) == 5);
        CHECK(guard([] { return no_default(5); }).number == 5);
        const auto kept = guard.try_call([] { return pinned(5); });
        CHECK(kept.value().number == 5);
        CHECK(guard([] { return std::vector<int>{1, 2}; }).size() == 2);
        CHECK(guard([] { return tl::expected<int, std::string>(5); }).value() == 5);
        CHECK(guard([] { return tl::expected<void, std::error_code>(); }).has_value());
        CHECK_FALSE(guard([] { return std::error_code(); }));
        CHECK(guard([] { return std::optional<int>(); }) == std::nullopt);
        CHECK_FALSE(guard([] { return false; }));
    });
}

TEST_CASE("a failing value that is returned by reference is retried and counted", "[composition][H-CPP-08]") {
    world w;
    const rs::retry retry{support::at_once(3), w.reg};
    const rs::circuit_breaker breaker{{.failure_threshold = 2}, w.reg};
    std::vector<std::error_code> codes{std::make_error_code(std::errc::io_error), {}, {}};
    std::size_t calls = 0;
    const auto next = [&]() -> std::error_code& { return codes[calls++]; };

    CHECK(&retry(next) == &codes[1]);
    CHECK(calls == 2);
    calls = 0;
    CHECK(&(retry | breaker)(next) == &codes[1]);
    CHECK(breaker.stats().failures == 1);

    codes[1] = codes[2] = codes[0];
    calls = 0;
    const auto failed = retry.try_call(next);
    CHECK(failed.error().value<std::error_code>() == &codes[2]);
    calls = 0;
    CHECK(&breaker(next) == &codes[0]);
    CHECK(breaker.state() == rs::circuit_state::open);
    CHECK_THROWS_AS(breaker(next), rs::circuit_open_error);
}

TEST_CASE("an answer that is returned by reference is judged by its status and asked by on_result",
          "[composition]") {
    world w;
    auto config = support::plain(2);
    const support::http_answer busy{503, 7s};
    const support::http_answer missing{404};
    const auto get = [](const support::http_answer& a) -> const support::http_answer& { return a; };
    const rs::circuit_breaker breaker{{.failure_threshold = 1}, w.reg};

    CHECK(&breaker(get, missing) == &missing);
    CHECK(breaker.stats().successes == 1);
    CHECK(&rs::retry(config, w.reg)(get, busy) == &busy);
    CHECK(w.clock.slept() == std::vector<rs::duration>{7s});
    config.retry_if =
        rs::on_result<support::http_answer>([](const support::http_answer& a) { return a.status == 404; });
    const rs::retry patient{config, w.reg};
    CHECK(&patient(get, missing) == &missing);
    CHECK(patient.stats().retries == 1);
    CHECK(&patient(get, busy) == &busy); // on_result adds to the default rule
    CHECK(patient.stats().retries == 2);
}

TEST_CASE("results that are void pass every policy and a fallback", "[composition][H-CPP-07]") {
    with_every_policy([](const auto& guard, auto...) {
        int ran = 0;
        guard([&] { ++ran; });
        guard([&](rs::call_context&) { ++ran; });
        CHECK(guard.try_call([&] { ++ran; }).has_value());
        CHECK(ran == 3);
    });
}

TEST_CASE("a result that cannot move passes a retry whose first attempts fail", "[composition][H-CPP-07]") {
    world w;
    int calls = 0;

    const auto o = (rs::retry(support::plain(3), w.reg) | rs::timeout(1s, w.reg)).try_call([&] {
        if (++calls < 3) throw std::runtime_error("x");
        return pinned(calls);
    });

    CHECK(o.value().number == 3);
}

TEST_CASE("no call form promises noexcept, even for a callable that does", "[composition][H-CPP-10]") {
    with_each([](const auto& guard) {
        const auto f = []() noexcept { return 1; };
        static_assert(!noexcept(guard(f)));
        static_assert(!noexcept(guard.call(f)));
        static_assert(!noexcept(guard.wrap(f)()));
        CHECK(guard(f) == 1);
    });
}

TEST_CASE("exceptions of any type pass every policy", "[composition][H-CPP-11]") {
    with_each([](const auto& guard) {
        CHECK_THROWS_AS(guard([]() -> int { throw 42; }), int);
        CHECK_THROWS_AS(guard([]() -> int { throw std::string("x"); }), std::string);
        CHECK_THROWS_AS(guard([]() -> int& { throw std::runtime_error("x"); }), std::runtime_error);
        CHECK_THROWS_AS(guard([] { throw std::bad_alloc(); }), std::bad_alloc);
        CHECK_THROWS_AS(guard([](rs::call_context&) -> std::unique_ptr<int> { throw 42; }), int);
        CHECK(*guard.try_call([]() -> int { throw 42; }).error().template as<int>() == 42);
    });
}

TEST_CASE("a call is counted once for a bad_alloc and the circuit ignores it", "[composition][H-CPP-11]") {
    world w;
    const rs::retry retry{support::at_once(3), w.reg};
    const rs::circuit_breaker breaker{{.failure_threshold = 1}, w.reg};
    int calls = 0;

    CHECK_THROWS_AS((retry | breaker)([&] {
                        ++calls;
                        throw std::bad_alloc();
                    }),
                    std::bad_alloc);

    CHECK(calls == 1);
    CHECK(breaker.stats().ignored == 1);
    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("a failing value that can carry errors gets rejections without a throw", "[composition]") {
    using result = tl::expected<int, std::error_code>;
    world w;
    const rs::circuit_breaker breaker{{}, w.reg};
    const auto guard = rs::retry(support::at_once(3), w.reg) | breaker;
    breaker.force_open();

    CHECK(guard([] { return result(1); }).error() == rs::errc::circuit_open);
    CHECK(guard([] { return std::error_code(); }) == rs::errc::circuit_open);
    CHECK(guard([] { return std::errc(); }) == std::errc::resource_unavailable_try_again);
    CHECK_THROWS_AS(guard([] { return tl::expected<int, std::string>(1); }), rs::circuit_open_error);
}

} // namespace
