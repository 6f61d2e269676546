// SPDX-License-Identifier: Apache-2.0
#include <resilience/outcome.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>

namespace {

namespace rs = resilience;

template <class R, class F>
rs::outcome<R> captured(F f) {
    return rs::outcome<R>(rs::detail::fill, [&](rs::outcome<R>& o) { o.run_and_store(f); });
}
[[noreturn]] void break_down() { throw std::runtime_error("down"); }

struct pinned {
    explicit pinned(int n) : number(n) {}
    pinned(const pinned&) = delete;
    pinned& operator=(const pinned&) = delete;
    int number;
};
struct counted {
    static inline int alive = 0;
    counted() { ++alive; }
    counted(counted&&) noexcept { ++alive; }
    ~counted() { --alive; }
};

static_assert(!std::is_convertible_v<rs::outcome<int>, bool>);
static_assert(std::is_constructible_v<bool, rs::outcome<int>>);
static_assert(!std::is_copy_constructible_v<rs::outcome<int>>);
static_assert(std::is_nothrow_move_constructible_v<rs::outcome<int>>);
static_assert(std::is_move_constructible_v<rs::outcome<std::unique_ptr<int>>>);
static_assert(!std::is_move_constructible_v<rs::outcome<pinned>>);
static_assert(std::is_same_v<decltype(std::declval<rs::outcome<int&>&>().value()), int&>);
static_assert(std::is_same_v<decltype(std::declval<rs::outcome<int&>>().value()), int&>);
static_assert(std::is_same_v<decltype(std::declval<rs::outcome<const int&>&>().value()), const int&>);
static_assert(std::is_same_v<decltype(std::declval<rs::outcome<int>>().value()), int>);
static_assert(std::is_same_v<decltype(std::declval<rs::outcome<int>&>().value()), int&>);
static_assert(std::is_same_v<decltype(std::declval<const rs::outcome<int>&>().value()), const int&>);
static_assert(std::is_void_v<decltype(std::declval<rs::outcome<void>&>().value())>);

TEST_CASE("an outcome holds what was returned", "[outcome]") {
    auto o = captured<int>([] { return 5; });

    CHECK(o.has_value());
    CHECK(static_cast<bool>(o));
    CHECK(o.value() == 5);
    CHECK(*o == 5);
    CHECK(std::as_const(o).value() == 5);
    o.value() = 6;
    CHECK(std::move(o).value() == 6);
}

TEST_CASE("an outcome holds what was thrown, and value() throws it unchanged", "[outcome]") {
    auto o = captured<int>([]() -> int { break_down(); });

    CHECK_FALSE(o.has_value());
    CHECK_FALSE(static_cast<bool>(o));
    CHECK(o.error().as<std::runtime_error>() != nullptr);
    CHECK_THROWS_WITH(o.value(), "down");
    CHECK_THROWS_WITH(std::as_const(o).value(), "down");
    CHECK_THROWS_WITH(std::move(o).value(), "down");
    CHECK_THROWS_WITH(o.take(), "down");
}

TEST_CASE("an outcome of void has no value but knows that there was one", "[outcome]") {
    auto good = captured<void>([] {});
    auto bad = captured<void>([] { break_down(); });

    CHECK(good.has_value());
    good.value();
    std::as_const(good).value();
    std::move(good).value();
    CHECK_THROWS_WITH(bad.value(), "down");
}

TEST_CASE("an outcome of a reference keeps identity", "[outcome][H-CPP-08]") {
    int x = 1;
    auto o = captured<int&>([&]() -> int& { return x; });
    auto c = captured<const int&>([&]() -> const int& { return x; });

    CHECK(&o.value() == &x);
    CHECK(&c.value() == &x);
    CHECK(&std::move(o).value() == &x);
    CHECK(&o.take() == &x);
}

TEST_CASE("a reference is judged by what it refers to, and stays the same one", "[outcome][H-CPP-08]") {
    using result = tl::expected<int, std::string>;
    const result bad = tl::unexpected<std::string>("no");
    auto code = std::make_error_code(std::errc::io_error);
    auto of_result = captured<const result&>([&]() -> const result& { return bad; });
    auto of_code = captured<std::error_code&>([&]() -> std::error_code& { return code; });

    CHECK_FALSE(of_result.has_value());
    CHECK(of_result.error().message() == "no");
    CHECK(of_result.error().value<result>() == &bad);
    CHECK(of_result.result().error() == &of_result.error());
    CHECK_THROWS_AS(of_result.value(), std::system_error);
    CHECK(&of_result.take() == &bad);
    CHECK(of_code.error().code() == std::errc::io_error);
    CHECK(&of_code.take() == &code);

    auto moved = std::move(of_result);
    CHECK(moved.error().value<result>() == &bad);
    code.clear();
    of_code.run_and_store([&]() -> std::error_code& { return code; });
    CHECK(&of_code.value() == &code);
}

TEST_CASE("an accepted reference is shown to policies", "[outcome]") {
    const int five = 5;
    const support::http_answer missing{404};
    auto number = captured<const int&>([&]() -> const int& { return five; });
    auto answer = captured<const support::http_answer&>([&]() -> const auto& { return missing; });

    CHECK(number.result().as_failure().value<int>() == &five);
    CHECK(answer.has_value());
    CHECK(answer.result().judged() == rs::verdict::success);
    CHECK(answer.result().is_refused());
    CHECK(answer.result().as_failure().http_status() == 404);
}

TEST_CASE("references to whatever nobody can look into are successes", "[outcome]") {
    volatile int sensor = 3;
    int row[2] = {1, 2};
    auto of_volatile = captured<volatile int&>([&]() -> volatile int& { return sensor; });
    auto of_array = captured<int(&)[2]>([&]() -> int(&)[2] { return row; });
    auto of_function = captured<void (&)()>([]() -> void (&)() { return break_down; });

    CHECK(&of_volatile.value() == &sensor);
    CHECK(of_volatile.result().succeeded());
    CHECK(&of_array.value() == &row);
    CHECK(of_array.result().as_failure().value<int[2]>() == &row);
    CHECK(&of_function.value() == &break_down);
    CHECK(of_function.result().succeeded());
}

TEST_CASE("a rejection of a call that returns a reference is thrown", "[outcome]") {
    rs::outcome<const std::error_code&> o;
    o.fail(rs::rejection{.code = rs::errc::circuit_open});

    CHECK_THROWS_AS(o.take(), rs::circuit_open_error);
}

TEST_CASE("an outcome of a move-only value moves it out", "[outcome]") {
    auto o = captured<std::unique_ptr<int>>([] { return std::make_unique<int>(5); });
    auto moved = std::move(o);

    CHECK(*std::move(moved).value() == 5);
}

TEST_CASE("an outcome holds a value that cannot move, where it was made", "[outcome]") {
    const auto o = captured<pinned>([] { return pinned(5); });

    CHECK(o.value().number == 5);
}

TEST_CASE("an outcome destroys its value once", "[outcome]") {
    counted::alive = 0;
    {
        auto o = captured<counted>([] { return counted(); });
        CHECK(counted::alive == 1);
        auto p = std::move(o);
        CHECK(counted::alive == 2); // the moved-from one lives on
        p.fail(rs::rejection{.code = rs::errc::timed_out});
        CHECK(counted::alive == 1);
        p = std::move(o);
        CHECK(counted::alive == 2);
        p.clear();
        CHECK(counted::alive == 1);
    }
    CHECK(counted::alive == 0);
}

TEST_CASE("a failing value is kept, and taken out as it is", "[outcome]") {
    using result = tl::expected<int, std::string>;
    auto o = captured<result>([]() -> result { return tl::unexpected<std::string>("no"); });

    CHECK_FALSE(o.has_value());
    CHECK(o.error().message() == "no");
    REQUIRE(o.error().value<result>() != nullptr);
    CHECK(o.error().value<result>()->error() == "no");
    CHECK_THROWS_AS(o.value(), std::system_error);
    CHECK(o.take().error() == "no");
}

TEST_CASE("a moved outcome refers to its own failing value", "[outcome]") {
    using result = tl::expected<int, std::string>;
    auto first = std::make_unique<rs::outcome<result>>(captured<result>([]() -> result {
        return tl::unexpected<std::string>("a text that is too long to be stored inline");
    }));
    rs::outcome<result> second = std::move(*first);
    first.reset();

    CHECK(second.error().message() == "a text that is too long to be stored inline");
    rs::outcome<result> third;
    third = std::move(second);
    CHECK(third.error().value<result>()->error() == "a text that is too long to be stored inline");
}

TEST_CASE("a rejection is returned in a type that can carry it, else thrown", "[outcome]") {
    const rs::rejection open{.code = rs::errc::circuit_open};
    const auto taken = [&]<class R>(std::type_identity<R>) {
        rs::outcome<R> o;
        o.fail(open);
        return o.take();
    };

    CHECK(taken(std::type_identity<tl::expected<int, std::error_code>>{}).error() == rs::errc::circuit_open);
    CHECK(taken(std::type_identity<tl::expected<void, std::error_code>>{}).error() == rs::errc::circuit_open);
    CHECK(taken(std::type_identity<tl::expected<int, rs::error>>{}).error().code() == rs::errc::circuit_open);
    CHECK(taken(std::type_identity<std::error_code>{}) == rs::errc::circuit_open);
    CHECK(taken(std::type_identity<std::errc>{}) == std::errc::resource_unavailable_try_again);
    CHECK_THROWS_AS(taken(std::type_identity<int>{}), rs::circuit_open_error);
    CHECK_THROWS_AS(taken(std::type_identity<tl::expected<int, std::string>>{}), rs::circuit_open_error);
}

TEST_CASE("a user's exception is thrown even where the type could carry an error", "[outcome]") {
    using result = tl::expected<int, std::error_code>;
    auto o = captured<result>([]() -> result { break_down(); });

    CHECK_THROWS_WITH(o.take(), "down");
}

TEST_CASE("what the driver shows to policies agrees with the outcome", "[outcome]") {
    auto good = captured<int>([] { return 5; });
    auto bad = captured<int>([]() -> int { break_down(); });

    CHECK(good.result().succeeded());
    CHECK(good.result().judged() == rs::verdict::success);
    CHECK(*good.result().as_failure().value<int>() == 5);
    CHECK_FALSE(bad.result().succeeded());
    CHECK(bad.result().error()->message() == "down");
    CHECK(bad.result().judged() == rs::verdict::failure);
    CHECK(good.result().not_before() == rs::time_point::min());
}

TEST_CASE("an attempt_result keeps the latest moment that it was postponed to", "[outcome]") {
    using namespace std::chrono_literals;
    auto o = captured<int>([] { return 5; });
    auto r = o.result();
    const rs::time_point at{10s};

    r.postpone(at);
    r.postpone(at - 1ns);

    CHECK(r.not_before() == at);
}

TEST_CASE("an outcome that nobody filled says so", "[outcome]") {
    rs::outcome<int> none;

    CHECK_FALSE(none.has_value());
    CHECK(none.error().message() == "no outcome");
    CHECK_THROWS_AS(none.value(), std::logic_error);
    CHECK_FALSE(none.result().succeeded());
    CHECK(none.result().error() == &none.error());
    CHECK(none.result().as_failure().value<int>() == nullptr);
}

namespace asked_once {
struct answer {
    int status;
    unsigned* asked;
};
std::optional<int> http_status_of(const answer& a) {
    ++*a.asked;
    return a.status;
}
std::optional<rs::duration> retry_after_of(const answer&) { return std::chrono::seconds{5}; }
} // namespace asked_once

TEST_CASE("a value is judged once", "[outcome][result_traits]") {
    unsigned asked = 0;
    rs::outcome<asked_once::answer> o;

    o.run_and_store([&] { return asked_once::answer{404, &asked}; });

    CHECK(o.result().judged() == rs::verdict::success);
    CHECK(o.result().judged() == rs::verdict::success);
    CHECK(asked == 1);
}

TEST_CASE("an accepted value shown as a failure keeps its status and its hint", "[outcome][H-RT-09]") {
    unsigned asked = 0;
    rs::outcome<asked_once::answer> o;
    o.run_and_store([&] { return asked_once::answer{202, &asked}; });

    const rs::failure seen = o.result().as_failure();

    CHECK(seen.http_status() == 202);
    CHECK(seen.retry_after() == rs::duration{std::chrono::seconds{5}});
}

} // namespace
