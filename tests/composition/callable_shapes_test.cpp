// SPDX-License-Identifier: Apache-2.0
// Every policy with every shape of callable.
#include <resilience/call/call_context.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

#include "composition/every_policy.hpp"
#include "support/catch.hpp"
#include "support/world.hpp"

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using support::pinned;
using support::with_each;
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

/// As a const object it can only be called by its conversion to another function.
struct with_surrogate {
    int operator()() { return 1; }
    static int other() { return 2; }
    using pointer = int (*)();
    operator pointer() const {
        return &other;
    } // NOLINT(google-explicit-constructor): a surrogate is the subject
};

TEST_CASE("a callable is called as itself, whatever its const self would call", "[composition][H-CPP-07]") {
    with_each([](const auto& guard) {
        with_surrogate mine;
        const with_surrogate constant;
        CHECK(guard(mine) == 1);
        CHECK(guard(with_surrogate{}) == 1);
        CHECK(guard(constant) == 2);
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

} // namespace
