// SPDX-License-Identifier: Apache-2.0
// Every policy with every shape of callable and of result.
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::world;

int plus_one(int n) { return n + 1; }
int plus_one_noexcept(int n) noexcept { return n + 1; }

struct overloaded {
    int operator()(int n) const { return n + 1; }
    std::string operator()(const std::string& s) const { return s + "1"; }
    std::string operator()(const std::string& s, int n) { return s + std::to_string(n); }
};
struct client {
    int base = 10;
    int get(int n) const { return base + n; }
    int& ref() { return base; }
    int noexcept_get(int n) const noexcept { return base + n; }
};
struct pinned {
    explicit pinned(int n) : number(n) {}
    pinned(const pinned&) = delete;
    pinned& operator=(const pinned&) = delete;
    int number;
};
struct no_default {
    explicit no_default(int n) : number(n) {}
    int number;
};

/// Calls check(guard) for every policy alone and for pipelines of them. The fallbacks are of no use here:
/// nothing fails; they must only let everything through.
template <class Check>
void with_every_policy(Check check) {
    world w;
    const rs::retry retry{support::plain(2), w.reg};
    const rs::circuit_breaker breaker{{.failure_threshold = 1'000}, w.reg}; // never trips here
    const rs::timeout timeout{1s, w.reg};

    check(retry);
    check(breaker);
    check(timeout);
    check(rs::pipeline{retry});
    check(retry | breaker);
    check(breaker | retry);
    check(retry | breaker | timeout);
    check(rs::any_pipeline(retry, breaker, timeout));
    check(rs::fallback([] {}) | retry, std::true_type{});
}
/// check(guard) where the result is not void: a fallback to nothing is left out.
template <class Check>
void with_each(Check check) {
    with_every_policy([&]<class G, class... Void>(const G& guard, Void...) {
        if constexpr (sizeof...(Void) == 0) check(guard);
    });
}

TEST_CASE("every policy takes every shape of callable", "[composition][H-CPP-07]") {
    with_each([](const auto& guard) {
        CHECK(guard([](int n) { return n + 1; }, 1) == 2);
        CHECK(guard(plus_one, 1) == 2);
        CHECK(guard(&plus_one, 1) == 2);
        CHECK(guard(plus_one_noexcept, 1) == 2);
        CHECK(guard(std::function<int(int)>(plus_one), 1) == 2);
        CHECK(guard(std::bind_front(plus_one, 1)) == 2);
        CHECK(guard(std::cref(plus_one), 1) == 2);

        auto counter = [n = 0]() mutable { return ++n; };
        CHECK(guard(counter) == 1);
        CHECK(guard(counter) == 2); // the caller's own, not a copy
        CHECK(guard([n = 0]() mutable { return ++n; }) == 1);

        CHECK(guard([p = std::make_unique<int>(5)] { return *p; }) == 5);
        const auto constant = [p = std::make_unique<int>(5)] { return *p; };
        CHECK(guard(constant) == 5);

        overloaded o;
        CHECK(guard(o, 1) == 2);
        CHECK(guard(o, std::string("a")) == "a1");
        CHECK(guard(o, std::string("a"), 2) == "a2");

        client c;
        CHECK(guard(&client::get, c, 1) == 11);
        CHECK(guard(&client::get, &c, 1) == 11);
        CHECK(guard(&client::get, std::make_shared<client>(), 1) == 11);
        CHECK(guard(&client::noexcept_get, c, 1) == 11);
        CHECK(guard(&client::base, c) == 10);
        CHECK(&guard(&client::ref, c) == &c.base);
    });
}

TEST_CASE("every policy hands its context to those who ask for it first", "[composition][H-CPP-07]") {
    with_each([](const auto& guard) {
        CHECK(guard([](rs::call_context& ctx) { return ctx.attempt(); }) == 1);
        CHECK(guard([](rs::call_context& ctx, int n) { return ctx.attempt() + static_cast<unsigned>(n); },
                    1) == 2);
        CHECK(guard([](auto&&... args) { return sizeof...(args); }, 1) ==
              1); // no context for those who take anything
        CHECK(guard([n = 0](rs::call_context&) mutable { return ++n; }) == 1);
    });
}

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

TEST_CASE("every policy wraps every shape of callable", "[composition][H-CPP-07]") {
    with_each([](const auto& guard) {
        CHECK(guard.wrap(plus_one)(1) == 2);
        CHECK(guard.wrap(&client::get)(client{}, 1) == 11);
        CHECK(guard.wrap([](rs::call_context& ctx, int n) { return static_cast<int>(ctx.attempt()) + n; })(
                  1) == 2);
        auto both = guard.wrap(overloaded{});
        CHECK(both(1) == 2);
        CHECK(both(std::string("a")) == "a1");
        CHECK(both(std::string("a"), 2) == "a2");
        client c;
        CHECK(&guard.wrap(&client::ref)(c) == &c.base);
    });
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

/// Tells whether it was moved from.
struct token {
    explicit token(std::string s) : text(std::move(s)) {}
    std::string text;
};

TEST_CASE("every attempt gets the same callable and the same arguments", "[composition][H-CPP-09]") {
    world w;
    const auto guard = rs::retry(support::at_once(3), w.reg) | rs::circuit_breaker({}, w.reg);
    std::vector<std::string> seen;
    const auto use = [&](const std::unique_ptr<int>& owned, token by_value, const std::string& text) {
        seen.push_back(std::to_string(*owned) + by_value.text + text);
        if (seen.size() < 3) throw std::runtime_error("x");
    };

    guard(use, std::make_unique<int>(7), token("a text that is too long to be stored inline"),
          std::string("b"));

    REQUIRE(seen.size() == 3);
    CHECK(seen[0] == "7a text that is too long to be stored inlineb");
    CHECK(seen[1] == seen[0]);
    CHECK(seen[2] == seen[0]);
}

TEST_CASE("an rvalue callable is called as an lvalue on every attempt", "[composition][H-CPP-09]") {
    struct both {
        int& lvalue_calls;
        int& rvalue_calls;
        int operator()() & {
            if (++lvalue_calls < 3) throw std::runtime_error("x");
            return lvalue_calls;
        }
        int operator()() && { return ++rvalue_calls; }
    };
    world w;
    int lvalues = 0;
    int rvalues = 0;

    CHECK(rs::retry(support::at_once(3), w.reg)(both{lvalues, rvalues}) == 3);
    CHECK(rvalues == 0);
}

TEST_CASE("arguments are passed by reference, not copied", "[composition][H-CPP-08]") {
    world w;
    const rs::retry retry{support::at_once(2), w.reg};
    std::string text = "a";
    pinned object(5);

    retry([](std::string& s) { s += "b"; }, text);
    int& inside = retry([](pinned& p) -> int& { return p.number; }, object);

    CHECK(text == "ab");
    CHECK(&inside == &object.number);
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
