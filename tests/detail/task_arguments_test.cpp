// SPDX-License-Identifier: Apache-2.0
#include <resilience/path/task_arguments.hpp>
#include <resilience/resilience.hpp>

#include "support/catch.hpp"
#include "support/lazy.hpp"
#include "support/world.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::detail::makes_temporary;
using rs::detail::parameters_of;
using support::lazy;
using support::world;

namespace {

struct base {
    virtual ~base() = default;
    virtual int number() const = 0;
};
struct derived : base {
    int number() const override { return 5; }
};
struct gives_reference {
    std::string text;
    operator const std::string&() const { return text; } // NOLINT(google-explicit-constructor): tested
};
struct gives_object {
    operator std::string() const { return "made"; } // NOLINT(google-explicit-constructor): tested
};

/// Made of an int, with its number among all that were.
struct from_int {
    static inline int alive = 0;
    static inline int made = 0;
    int value;
    from_int(int v) : value(v) { // NOLINT(google-explicit-constructor): tested
        ++alive;
        ++made;
    }
    from_int(const from_int&) = delete;
    from_int& operator=(const from_int&) = delete;
    ~from_int() {
        value = -1;
        --alive;
    }
};

lazy<std::string> echo(const std::string& text) { co_return text; }

template <class P, class F>
constexpr bool takes_as = std::is_same_v<decltype(parameters_of<F>()), P>;
template <class... P>
using list = rs::detail::parameter_list<P...>;

} // namespace

TEST_CASE("a callable's parameters are seen where it has one signature", "[task][arguments]") {
    struct member {
        lazy<int> get(const std::string&) const noexcept;
        lazy<int> set(int&) &;
    };
    struct overloaded {
        void operator()(int) const;
        void operator()(const std::string&) const;
    };
    const auto lambda = [n = 1](int, std::string&&) mutable noexcept { return ++n; };
    const auto generic = [](const std::string&, auto) {};

    STATIC_REQUIRE(takes_as<list<const std::string&>, decltype(echo)&>);
    STATIC_REQUIRE(takes_as<list<const std::string&>, decltype(&echo)>);
    STATIC_REQUIRE(takes_as<list<void, const std::string&>, decltype(&member::get)>);
    STATIC_REQUIRE(takes_as<list<void, int&>, decltype(&member::set)>);
    STATIC_REQUIRE(takes_as<list<int, std::string&&>, decltype(lambda)&>);
    STATIC_REQUIRE(takes_as<list<int, std::string&&>, std::reference_wrapper<decltype(lambda)>>);
    STATIC_REQUIRE(takes_as<list<const std::string&>, std::function<void(const std::string&)>&>);
    STATIC_REQUIRE(takes_as<list<>, overloaded>);
    STATIC_REQUIRE(takes_as<list<>, decltype(generic)>);
}

TEST_CASE("a reference makes a temporary where it does not refer to the argument", "[task][arguments]") {
    STATIC_REQUIRE(makes_temporary<const std::string&, const char[6]>);
    STATIC_REQUIRE(makes_temporary<std::string&&, const char[6]>);
    STATIC_REQUIRE(makes_temporary<const std::string_view&, std::string>);
    STATIC_REQUIRE(makes_temporary<const long&, int>);
    STATIC_REQUIRE(makes_temporary<const std::optional<int>&, const int>);
    STATIC_REQUIRE(makes_temporary<const std::string&, gives_object>);
    STATIC_REQUIRE(makes_temporary<const std::function<void()>&, void()>);

    STATIC_REQUIRE_FALSE(makes_temporary<std::string, const char[6]>);
    STATIC_REQUIRE_FALSE(makes_temporary<const std::string&, std::string>);
    STATIC_REQUIRE_FALSE(makes_temporary<const std::string&, const std::string>);
    STATIC_REQUIRE_FALSE(makes_temporary<std::string&, std::string>);
    STATIC_REQUIRE_FALSE(makes_temporary<const base&, derived>);
    STATIC_REQUIRE_FALSE(makes_temporary<const base&, std::reference_wrapper<derived>>);
    STATIC_REQUIRE_FALSE(makes_temporary<const base&, const std::reference_wrapper<const derived>>);
    STATIC_REQUIRE_FALSE(makes_temporary<const std::string&, gives_reference>);
    STATIC_REQUIRE_FALSE(makes_temporary<const char(&)[6], const char[6]>);
    STATIC_REQUIRE_FALSE(makes_temporary<void (&)(), void()>);
}

TEST_CASE("what an argument is converted to lives as long as the attempt that gets it", "[task][arguments]") {
    world w;
    auto c = support::plain(3);
    const auto guard = rs::retry(c, w.reg) | rs::timeout(1h, w.reg);
    const bool by_rvalue = GENERATE(false, true);
    int attempts = 0;
    const auto work = [&](int value) -> lazy<int> {
        co_await support::pause(w.clock, 1s);
        if (++attempts < 3) throw std::runtime_error("no");
        co_return value;
    };
    const auto by_const = [&](rs::call_context&, const from_int& n) -> lazy<int> {
        auto task = work(0);
        co_await std::move(task);
        co_return n.value;
    };
    const auto consuming = [&](from_int&& n) -> lazy<int> {
        auto task = work(0);
        co_await std::move(task);
        co_return n.value;
    };
    from_int::made = 0;
    {
        auto task = by_rvalue ? guard(consuming, 7) : guard(by_const, 7);
        CHECK(from_int::made == 0); // nothing happens before it is awaited
        task.start();
        CHECK(from_int::alive == 1);
        w.clock.advance(1h);
        CHECK(task.result() == 7);
        CHECK(from_int::made == 3); // one for each attempt, as in blocking calls
    }
    CHECK(from_int::alive == 0);
}

TEST_CASE("arguments that are no temporaries are passed as they are", "[task][arguments]") {
    world w;
    const auto guard = rs::retry(support::at_once(), w.reg) | rs::circuit_breaker({}, w.reg);
    const std::string text = "some text that is longer than a small one";

    const auto is_text = [&](const std::string& s) -> lazy<bool> { co_return &s == &text; };
    auto same = guard(is_text, text);
    CHECK(same.start().result());
    const derived five;
    const auto number = [](const base& b) -> lazy<int> { co_return b.number(); };
    auto by_base = guard(number, five);
    CHECK(by_base.start().result() == 5);
    auto by_ref = guard(number, std::cref(five));
    CHECK(by_ref.start().result() == 5);
    auto literal = guard(echo, "a literal that is longer than a small string");
    CHECK(literal.start().result() == "a literal that is longer than a small string");
    auto view = guard([](const std::string_view& v) -> lazy<std::string> { co_return std::string(v); },
                      std::string("short"));
    CHECK(view.start().result() == "short"); // of the string in the frame
}
