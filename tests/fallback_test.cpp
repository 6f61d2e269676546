// SPDX-License-Identifier: Apache-2.0
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::testing::scripted;
using rs::testing::throws;
using support::heard;
using support::world;

[[noreturn]] int fail() { throw std::runtime_error("down"); }

TEST_CASE("a fallback's value takes a failure's place", "[fallback]") {
    const auto guard = rs::fallback(7);

    CHECK(guard([]() -> int { fail(); }) == 7);
    CHECK(guard([] { return 1; }) == 1);
    CHECK(guard.stats().used == 1);
}

TEST_CASE("a fallback's callable is told the failure, and run only when it is needed",
          "[fallback][H-FB-02][H-FB-05]") {
    int asked = 0;
    std::string told;
    const auto guard = rs::fallback([&](const rs::failure& why) {
        ++asked;
        told = why.message();
        return 7;
    });

    CHECK(guard([] { return 1; }) == 1);
    CHECK(asked == 0);
    CHECK(guard([]() -> int { fail(); }) == 7);
    CHECK(asked == 1);
    CHECK(told == "down");
}

TEST_CASE("a fallback's callable need not look at the failure", "[fallback]") {
    const auto guard = rs::fallback([] { return std::string("none"); });

    CHECK(guard([]() -> std::string { throw 42; }) == "none");
}

TEST_CASE("a fallback around a retry sees the last failure, once", "[fallback][H-FB-02]") {
    world w;
    std::vector<std::string> told;
    const auto guard = rs::fallback([&](const rs::failure& why) {
                           told.push_back(why.message());
                           return -1;
                       }) |
                       rs::retry(support::at_once(3), w.reg);
    const scripted<int> f{throws(std::runtime_error("1")), throws(std::runtime_error("2")),
                          throws(std::runtime_error("3"))};

    CHECK(guard(f) == -1);

    CHECK(f.calls() == 3);
    CHECK(told == std::vector<std::string>{"3"});
}

TEST_CASE("a fallback inside of a retry answers the first failure", "[fallback][H-FB-02]") {
    world w;
    const rs::retry retry{support::at_once(3), w.reg};
    const scripted<int> f{throws(std::runtime_error("1"))};

    CHECK((retry | rs::fallback(7))(f) == 7);
    CHECK(f.calls() == 1);
    CHECK(retry.stats().succeeded_at_once == 1);
}

TEST_CASE("a fallback works for void, references, expected and error codes", "[fallback]") {
    int ran = 0;
    rs::fallback([&] { ++ran; })([] { fail(); });
    rs::fallback([&](const rs::failure&) { ++ran; })([] { fail(); });
    CHECK(ran == 2);

    int spare = 5;
    int& answer = rs::fallback(std::ref(spare))([]() -> int& { throw 42; });
    CHECK(&answer == &spare);

    using result = tl::expected<int, std::string>;
    CHECK(rs::fallback(7)([]() -> result { return tl::unexpected<std::string>("no"); }).value() == 7);
    CHECK_FALSE(rs::fallback(std::error_code())([] { return std::make_error_code(std::errc::io_error); }));

    const auto owned = rs::fallback([] { return std::make_unique<int>(7); });
    CHECK(*owned([]() -> std::unique_ptr<int> { throw 42; }) == 7);
}

TEST_CASE("a fallback answers a call that returns a reference with an object that lasts",
          "[fallback][H-CPP-08]") {
    struct base {
        int n = 0;
    };
    struct derived : base {};
    derived spare;
    std::string text = "none";
    const auto broken = []() -> const base& { throw 42; };
    const auto speechless = []() -> const std::string& { throw 42; };

    CHECK(&rs::fallback(std::ref(spare))(broken) == &spare);
    CHECK(&rs::fallback(std::cref(text))(speechless) == &text);
    CHECK(&rs::fallback([&]() -> derived& { return spare; })(broken) == &spare);
    CHECK(&rs::fallback([&](const rs::failure&) { return std::ref(spare); })(broken) == &spare);
    CHECK(&rs::fallback([&](const rs::failure&) -> const std::string& { return text; })(speechless) == &text);
    std::error_code good;
    const auto bad = std::make_error_code(std::errc::io_error);
    CHECK(&rs::fallback(std::ref(good))([&]() -> const std::error_code& { return bad; }) == &good);
}

TEST_CASE("a fallback gives no reference to what is gone when it has answered", "[fallback][H-CPP-08]") {
    const auto gives = []<class R, class S>(std::type_identity<R>, const rs::fallback_policy<S>&) {
        return rs::fallback_policy<S>::template gives<R>();
    };
    const std::type_identity<const std::string&> text;
    const std::type_identity<const int&> number;
    std::string kept;

    CHECK_FALSE(gives(text, rs::fallback("a literal")));
    CHECK_FALSE(
        gives(text, rs::fallback(kept))); // the policy, or a copy of it, may be gone before the result
    CHECK_FALSE(gives(text, rs::fallback([&] { return kept; })));
    CHECK_FALSE(gives(text, rs::fallback([&](const rs::failure&) { return kept; })));
    CHECK_FALSE(gives(text, rs::fallback([]() -> const char* { return ""; })));
    CHECK_FALSE(gives(number, rs::fallback([]() -> const long& {
                          static const long n = 1;
                          return n;
                      })));
    CHECK_FALSE(gives(std::type_identity<std::string&>{}, rs::fallback(std::cref(kept))));
    CHECK_FALSE(gives(std::type_identity<const std::string_view&>{}, rs::fallback(std::ref(kept))));
    CHECK(gives(text, rs::fallback(std::ref(kept))));
    CHECK(gives(std::type_identity<std::string>{}, rs::fallback(std::ref(kept))));
}

TEST_CASE("a fallback may answer with a failing value, which then is the outcome", "[fallback]") {
    using result = tl::expected<int, std::string>;
    const auto guard = rs::fallback(
        [](const rs::failure& why) { return result(tl::unexpected("still: " + why.message())); });

    const auto o = guard.try_call([]() -> result { return tl::unexpected<std::string>("no"); });

    CHECK_FALSE(o.has_value());
    CHECK(o.error().message() == "still: no");
    CHECK(guard.stats().used == 1);
}

TEST_CASE("a fallback may look at the failing value while it answers", "[fallback]") {
    using result = tl::expected<int, std::string>;
    const auto guard = rs::fallback(
        [](const rs::failure& why) { return result(static_cast<int>(why.value<result>()->error().size())); });

    CHECK(guard([]() -> result { return tl::unexpected<std::string>("12345"); }).value() == 5);
}

TEST_CASE("fallback_if answers only for what its predicate names", "[fallback]") {
    const auto guard = rs::fallback_if(rs::on<std::runtime_error>(), 7);

    CHECK(guard([]() -> int { fail(); }) == 7);
    CHECK_THROWS_AS(guard([]() -> int { throw std::logic_error("x"); }), std::logic_error);
    CHECK(guard.stats().used == 1);
}

TEST_CASE("fallback_if with on_result replaces values that the type calls successes", "[fallback]") {
    const auto guard = rs::fallback_if(rs::on_result<int>([](int n) { return n < 0; }), 7);

    CHECK(guard([] { return -1; }) == 7);
    CHECK(guard([] { return 1; }) == 1);
    CHECK_THROWS(guard([]() -> int { fail(); }));

    const auto both =
        rs::fallback_if(rs::not_on<std::logic_error>() || rs::on_result<int>([](int n) { return n < 0; }), 7);
    CHECK(both([] { return -1; }) == 7);
    CHECK(both([] { return 1; }) == 1); // is no std::logic_error, and no failure either
    CHECK(both([]() -> int { fail(); }) == 7);
}

TEST_CASE("a predicate that throws leaves the failure as it is, and is counted", "[fallback][H-RT-24]") {
    const auto guard =
        rs::fallback_if([](const rs::failure&) -> bool { throw std::logic_error("predicate"); }, 7);

    CHECK_THROWS_WITH(guard([]() -> int { fail(); }), "down");
    CHECK(guard.stats().predicate_errors == 1);
    CHECK(guard.stats().used == 0);
}

TEST_CASE("cancellation is never swallowed", "[fallback][H-FB-01]") {
    world w;
    const auto guard = rs::fallback(7) | rs::retry(support::at_once(), w.reg);
    std::stop_source stop;
    stop.request_stop();

    CHECK_THROWS_AS(guard.with({.stop_token = stop.get_token()})([] { return 1; }), rs::cancelled_error);
    CHECK_THROWS_AS(guard([]() -> int { throw rs::cancelled_error(rs::errc::cancelled, "", "stop"); }),
                    rs::cancelled_error);
    CHECK_THROWS_AS(
        guard([]() -> int { throw std::system_error(std::make_error_code(std::errc::operation_canceled)); }),
        std::system_error);
    const auto any = rs::fallback_if([](const rs::failure&) { return true; }, 7);
    CHECK_THROWS_AS(any([]() -> int { throw rs::cancelled_error(rs::errc::cancelled, "", "stop"); }),
                    rs::cancelled_error);
    using result = tl::expected<int, std::error_code>;
    const auto value = rs::fallback(7)(
        []() -> result { return tl::unexpected(std::make_error_code(std::errc::operation_canceled)); });
    CHECK(value.error() == std::errc::operation_canceled);
}

TEST_CASE("a fallback answers for rejections", "[fallback]") {
    world w;
    const rs::circuit_breaker breaker{{}, w.reg};
    breaker.force_open();

    CHECK((rs::fallback(7) | breaker)([] { return 1; }) == 7);
}

TEST_CASE("a fallback answers for a call that came too late to begin", "[fallback]") {
    world w;
    const auto guard = rs::fallback(7) | rs::retry(support::at_once(), w.reg);
    int ran = 0;

    CHECK(guard.with({.deadline = w.clock.now()})([&] { return ++ran; }) == 7);
    CHECK(ran == 0);
}

TEST_CASE("calls that a fallback makes inherit the limits of the call that they answer", "[fallback]") {
    world w;
    const rs::retry inner{support::plain(3), w.reg};
    const auto began = w.clock.now();
    rs::time_point seen{};
    unsigned depth = 0;
    const auto other = rs::fallback([&](const rs::failure&) {
        return inner([&](rs::call_context& ctx) {
            seen = ctx.deadline();
            depth = ctx.retry_depth();
            return 7;
        });
    });
    const auto broken = []() -> int { fail(); };

    CHECK((rs::timeout(5s, w.reg) | other | rs::timeout(1s, w.reg))(broken) == 7);
    CHECK(seen == began + 5s);
    CHECK(depth == 1);
    CHECK((rs::retry(support::plain(), w.reg) | other)(broken) == 7);
    CHECK(depth == 2);
    CHECK((other | rs::timeout(1s, w.reg)).with({.deadline = began + 2s})(broken) == 7);
    CHECK(seen == began + 2s);
    CHECK((other | rs::timeout(1s, w.reg))(broken) == 7);
    CHECK(seen == rs::time_point::max());
    CHECK(rs::call_context::current() == nullptr);
}

TEST_CASE("a fallback that throws is the outcome: not asked again, counted once", "[fallback][H-FB-03]") {
    int asked = 0;
    const auto throwing = [&](const rs::failure&) -> int {
        ++asked;
        throw std::logic_error("fallback");
    };
    world w;
    const rs::retry retry{support::at_once(3), w.reg};
    const auto policy = rs::fallback(throwing);
    const scripted<int> f = scripted<int>{throws(std::runtime_error("down"))}.repeat_last();

    CHECK_THROWS_WITH((policy | retry)(f), "fallback");

    CHECK(f.calls() == 3);
    CHECK(asked == 1);
    CHECK(policy.stats().failed == 1);
    CHECK(policy.stats().used == 0);
    CHECK(retry.stats().calls == 1);
}

TEST_CASE("what a fallback masks is still seen inside of it, and counted apart", "[fallback][H-FB-04]") {
    world w;
    const rs::circuit_breaker breaker{{.failure_threshold = 5}, w.reg};
    const auto policy = rs::fallback(7);
    const auto guard = policy | breaker;
    const heard h{w.reg};

    for (int i = 0; i < 6; ++i) CHECK(guard.named("search")([]() -> int { fail(); }) == 7);

    CHECK(breaker.state() == rs::circuit_state::open);
    CHECK(breaker.stats().failures == 5);
    CHECK(policy.stats().used == 6);
    const auto used = h.of(rs::event_kind::fallback_used);
    REQUIRE(used.size() == 6);
    CHECK(used[0].policy_kind == "fallback");
    CHECK(used[0].operation == "search");
    CHECK(used[0].error == "down");
    CHECK(used[5].error_type == "resilience::circuit_open_error");
}

TEST_CASE("copies of a fallback share their statistics", "[fallback][H-CPP-20]") {
    const auto one = rs::fallback(7);
    const auto copy = one;

    (void)copy([]() -> int { fail(); });

    CHECK(one.stats().used == 1);
}

TEST_CASE("the inner of two fallbacks answers first", "[fallback]") {
    const auto guard = rs::fallback(1) | rs::fallback_if(rs::on<std::runtime_error>(), 2);

    CHECK(guard([]() -> int { fail(); }) == 2);
    CHECK(guard([]() -> int { throw 42; }) == 1);
}

TEST_CASE("a fallback works in an any_pipeline for exactly its type", "[fallback]") {
    world w;
    const rs::any_pipeline guard(rs::fallback(std::string("none")), rs::retry(support::at_once(2), w.reg));
    int ran = 0;

    CHECK(guard([]() -> std::string { throw 42; }) == "none");
    CHECK_THROWS_AS(guard([&] { return ++ran; }), std::invalid_argument);
    CHECK(ran == 0);
}

TEST_CASE("in a call that may not begin the inner fallback answers before the outer, in any pipeline",
          "[fallback][any_pipeline]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const auto timed = rs::timeout(1s, reg);
    const rs::call_options over{.deadline = clock.now() - 1s};

    const auto two = rs::fallback(1) | rs::fallback(2) | timed;
    CHECK(two.with(over)([] { return 3; }) == 2);
    CHECK(rs::any_pipeline{rs::fallback(1), rs::fallback(2), timed}.with(over)([] { return 3; }) == 2);
}

} // namespace
