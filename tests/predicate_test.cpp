// SPDX-License-Identifier: Apache-2.0
#include <resilience/call/predicate.hpp>
#include <resilience/outcome.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <concepts>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace {

namespace rs = resilience;

using support::http_error;

rs::failure thrown(auto e) { return rs::failure(std::make_exception_ptr(std::move(e))); }
rs::failure returned(const auto& value) { return rs::detail::describe(value); }

static_assert(!std::convertible_to<rs::predicate, bool> && !std::constructible_from<bool, rs::predicate>);
static_assert(!std::constructible_from<rs::predicate, int>);
static_assert(std::constructible_from<rs::predicate, bool (*)(const rs::failure&)>);

TEST_CASE("a predicate is empty until it is given a question", "[predicate]") {
    CHECK_FALSE(rs::predicate().has_value());
    CHECK(rs::predicate([](const rs::failure&) { return true; }).has_value());
    CHECK(rs::on<int>().has_value());
}

TEST_CASE("on asks for a type of exception, derived ones included", "[predicate]") {
    const auto p = rs::on<std::runtime_error>();

    CHECK(p(thrown(std::runtime_error("x"))));
    CHECK(p(thrown(std::range_error("x"))));
    CHECK_FALSE(p(thrown(std::logic_error("x"))));
    CHECK_FALSE(p(thrown(42)));
    CHECK_FALSE(p(rs::rejection{.code = rs::errc::circuit_open}));
    CHECK(rs::on<int>()(thrown(42)));
}

TEST_CASE("on with a question asks it of the exception", "[predicate]") {
    const auto p = rs::on<std::runtime_error>(
        [](const std::runtime_error& e) { return std::string(e.what()) == "yes"; });

    CHECK(p(thrown(std::runtime_error("yes"))));
    CHECK_FALSE(p(thrown(std::runtime_error("no"))));
    CHECK_FALSE(p(thrown(std::logic_error("yes"))));
}

TEST_CASE("not_on is the opposite of on", "[predicate]") {
    CHECK_FALSE(rs::not_on<std::runtime_error>()(thrown(std::range_error("x"))));
    CHECK(rs::not_on<std::runtime_error>()(thrown(std::logic_error("x"))));
    CHECK(rs::not_on<std::runtime_error>()(thrown(42)));
}

TEST_CASE("on and not_on of an error type of ours mean rejections too", "[predicate]") {
    const rs::failure open = rs::rejection{.code = rs::errc::circuit_open};

    CHECK(rs::on<rs::circuit_open_error>()(open));
    CHECK(rs::on<rs::error>()(open));
    CHECK_FALSE(rs::on<rs::timeout_error>()(open));
    CHECK_FALSE(rs::not_on<rs::circuit_open_error>()(open));
    CHECK(rs::not_on<rs::timeout_error>()(open));
    CHECK_FALSE(rs::on<std::system_error>()(open));
    CHECK(rs::on<rs::circuit_open_error>()(thrown(rs::circuit_open_error(rs::errc::circuit_open, "", ""))));
}

TEST_CASE("on_result asks of values of exactly its type and shows that it examines values", "[predicate]") {
    const auto p = rs::on_result<std::errc>([](const std::errc& e) { return e == std::errc::io_error; });
    const auto io = std::errc::io_error;
    const auto other = std::errc::bad_message;
    const std::error_code code = std::make_error_code(io);

    CHECK(p.examines_values());
    CHECK(p(returned(io)));
    CHECK_FALSE(p(returned(other)));
    CHECK_FALSE(p(returned(code)));
    CHECK_FALSE(p(thrown(std::errc::io_error)));
    CHECK_FALSE(rs::on<int>().examines_values());
}

TEST_CASE("&&, || and ! combine answers and whether values are examined", "[predicate]") {
    const rs::predicate yes = [](const rs::failure&) { return true; };
    const rs::predicate no = [](const rs::failure&) { return false; };
    const auto value = rs::on_result<int>([](int) { return true; });
    const auto f = thrown(1);

    CHECK((yes && yes)(f));
    CHECK_FALSE((yes && no)(f));
    CHECK_FALSE((no && yes)(f));
    CHECK((yes || no)(f));
    CHECK((no || yes)(f));
    CHECK_FALSE((no || no)(f));
    CHECK((!no)(f));
    CHECK_FALSE((!yes)(f));
    CHECK((yes && value).examines_values());
    CHECK((value || yes).examines_values());
    CHECK((!value).examines_values());
    CHECK_FALSE((yes || !no).examines_values());
}

TEST_CASE("of an accepted value only the parts built with on_result are asked", "[predicate]") {
    const auto negative = rs::on_result<int>([](int n) { return n < 0; });
    const auto not_fatal = rs::not_on<std::logic_error>();
    const rs::predicate any = [](const rs::failure&) { return true; };
    const int minus = -1;
    const int plus = 1;

    for (const auto& p : {not_fatal || negative, negative || any, not_fatal && (any || negative),
                          negative && any, !(rs::on<std::logic_error>() || !negative)}) {
        CHECK(p.of_value(returned(minus)));
        CHECK_FALSE(p.of_value(returned(plus)));
    }
    CHECK((not_fatal || negative)(thrown(std::runtime_error("x"))));
    CHECK_FALSE((not_fatal || negative)(thrown(std::logic_error("x"))));
}

TEST_CASE("of an outcome that a part has nothing to say of, the part drops out", "[predicate][H-USE-09]") {
    const auto negative = rs::on_result<int>([](int n) { return n < 0; });
    const auto error = rs::on<std::runtime_error>();
    const rs::failure wrong = thrown(std::runtime_error("x"));
    const rs::failure other = thrown(std::logic_error("x"));
    const long minus = -1;

    CHECK((error && negative)(wrong));
    CHECK((error && !negative)(wrong));
    CHECK_FALSE((error || !negative)(other));
    CHECK_FALSE((!negative)(other));
    CHECK_FALSE((!negative).of_value(returned(minus))); // another type
    CHECK((!negative && error).of_value(returned(7)));
}

TEST_CASE("the default rule is a part like any other", "[predicate][H-USE-09]") {
    const auto usual = rs::default_rule();
    const rs::failure down = thrown(http_error(503));
    const rs::failure throttled = thrown(http_error(429));
    const rs::failure missing = thrown(http_error(404));
    const auto pending = rs::on_result<int>([](int n) { return n < 0; });
    const int minus = -1;

    CHECK(usual(down));
    CHECK(usual(throttled));
    CHECK(usual(thrown(42)));
    CHECK_FALSE(usual(missing));
    CHECK_FALSE(usual(rs::rejection{.code = rs::errc::circuit_open}));
    CHECK_FALSE((!usual)(down));
    CHECK((!usual)(missing));
    CHECK((usual || rs::on<http_error>())(missing));
    CHECK_FALSE((usual && rs::not_on<http_error>())(down));
    CHECK((usual && pending)(down));
    CHECK_FALSE(usual.examines_values());
    CHECK_FALSE(usual.of_value(returned(minus)));
    CHECK((usual || pending).of_value(returned(minus)));
    CHECK_FALSE((usual && !pending).of_value(returned(7))); // an accepted value is no failure by default
}

TEST_CASE("a predicate of values alone leaves to the default rule what it does not name",
          "[predicate][H-USE-09]") {
    const auto pending = rs::on_result<int>([](int n) { return n < 0; });
    const auto bad = rs::on_result<std::errc>([](const std::errc& e) { return e == std::errc::io_error; });
    const auto busy = std::errc::device_or_resource_busy;
    const rs::failure wrong = thrown(std::runtime_error("x"));

    for (const auto& p : {pending, bad, pending || bad, pending && bad, !pending, !bad, !(pending || bad)}) {
        CHECK(p.is_for(wrong, true));
        CHECK_FALSE(p.is_for(wrong, false));
        CHECK(p.leaves_to_default(wrong));
    }
    CHECK(bad.is_for(returned(busy), true));
    CHECK_FALSE(bad.is_for(returned(busy), false));
    CHECK_FALSE((pending || rs::on<std::logic_error>()).is_for(wrong, true));
    CHECK_FALSE((pending || rs::on<std::logic_error>()).leaves_to_default(wrong));
    CHECK((pending || rs::default_rule()).leaves_to_default(wrong));
}

TEST_CASE("&& and || ask the second only where the first leaves it open", "[predicate]") {
    int asked = 0;
    const rs::predicate counts = [&](const rs::failure&) {
        ++asked;
        return true;
    };
    const rs::predicate yes = [](const rs::failure&) { return true; };
    const auto f = thrown(1);

    CHECK((yes || counts)(f));
    CHECK_FALSE((!yes && counts)(f));
    CHECK(asked == 0);
}

TEST_CASE("an empty predicate cannot be composed", "[predicate]") {
    const rs::predicate empty;
    const auto some = rs::on<std::runtime_error>();

    CHECK_THROWS_AS(empty && some, std::invalid_argument);
    CHECK_THROWS_AS(some || empty, std::invalid_argument);
    CHECK_THROWS_AS(!empty, std::invalid_argument);
}

TEST_CASE("types that mention predicates keep their own operators", "[predicate]") {
    const std::optional<rs::predicate> none;

    CHECK(!none);
    CHECK_FALSE((none && true));
}

} // namespace
