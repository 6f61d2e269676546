// SPDX-License-Identifier: Apache-2.0
// Outcomes that a callable returns: of a call inside, as a rule.
#include <resilience/call/outcome_traits.hpp>

#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::http_answer;
using support::http_error;
using support::world;

template <class R, class F>
rs::outcome<R> outcome_of(F f) {
    return rs::outcome<R>(rs::detail::fill, [&](rs::outcome<R>& o) { o.run_and_store(f); });
}
template <class E>
auto throwing(E e) {
    return [e]() -> int { throw e; };
}
rs::outcome<int> refused() {
    rs::outcome<int> o;
    o.fail(rs::rejection{
        .code = rs::errc::circuit_open, .policy = rs::detail::name("inner"), .retry_after = 2s});
    return o;
}
rs::failure seen(const auto& o) { return rs::detail::describe(o); }
template <class T>
rs::verdict verdict_on(const rs::outcome<T>& o) {
    const auto judged = rs::result_traits<rs::outcome<T>>::judge(o);
    if (judged != rs::verdict::failure) return judged;
    return rs::default_verdict(seen(o));
}

static_assert(rs::result_traits<rs::outcome<int>>::can_fail);
static_assert(rs::detail::carries_errors<rs::outcome<int>>);
static_assert(rs::detail::carries_errors<rs::outcome<void>>);
static_assert(!rs::detail::carries_errors<const rs::outcome<int>&>);
static_assert(sizeof(rs::outcome<int>) <= sizeof(rs::failure) + 2 * sizeof(void*));

TEST_CASE("an outcome that was returned is judged by what is in it", "[outcome_traits]") {
    const int one = 1;
    CHECK(verdict_on(outcome_of<int>([] { return 1; })) == rs::verdict::success);
    CHECK(verdict_on(outcome_of<void>([] {})) == rs::verdict::success);
    CHECK(verdict_on(outcome_of<const int&>([&]() -> const int& { return one; })) == rs::verdict::success);
    CHECK(verdict_on(outcome_of<http_answer>([] { return http_answer{404}; })) == rs::verdict::success);
    CHECK(verdict_on(outcome_of<http_answer>([] { return http_answer{503}; })) == rs::verdict::failure);
    CHECK(verdict_on(outcome_of<int>(throwing(std::runtime_error("x")))) == rs::verdict::failure);
    CHECK(verdict_on(outcome_of<int>(throwing(http_error(404)))) == rs::verdict::success);
    CHECK(verdict_on(outcome_of<int>(throwing(http_error(429)))) == rs::verdict::ignored);
    CHECK(verdict_on(outcome_of<int>(throwing(std::bad_alloc()))) == rs::verdict::ignored);
    CHECK(verdict_on(outcome_of<int>(throwing(42))) == rs::verdict::failure);
    CHECK(verdict_on(refused()) == rs::verdict::ignored);
    CHECK(verdict_on(rs::outcome<int>()) == rs::verdict::failure);
    CHECK(verdict_on(outcome_of<rs::outcome<int>>([] { return refused(); })) == rs::verdict::ignored);
}

TEST_CASE("the failure in an outcome that was returned speaks for it", "[outcome_traits]") {
    const auto thrown = outcome_of<int>(throwing(http_error(503, 7s)));
    const auto open = refused();
    const auto answer = outcome_of<http_answer>([] { return http_answer{503, 5s}; });

    CHECK(seen(thrown).as<http_error>() == thrown.error().as<http_error>());
    CHECK(seen(thrown).http_status() == 503);
    CHECK(seen(thrown).retry_after() == rs::duration{7s});
    CHECK(seen(thrown).message() == "HTTP 503");
    CHECK(seen(thrown).type_name() == "support::http_error");
    CHECK(seen(thrown).value<rs::outcome<int>>() == &thrown);
    CHECK_THROWS_AS(seen(thrown).rethrow(), http_error);
    CHECK(seen(open).code() == rs::errc::circuit_open);
    CHECK(seen(open).retry_after() == rs::duration{2s});
    CHECK(seen(open).message() == open.error().message());
    CHECK(rs::on<rs::circuit_open_error>()(seen(open)));
    CHECK_THROWS_AS(seen(open).rethrow(), rs::circuit_open_error);
    CHECK(seen(answer).http_status() == 503);
    CHECK(seen(answer).retry_after() == rs::duration{5s});
    CHECK_THROWS_AS(seen(answer).rethrow(), std::system_error);
}

TEST_CASE("an accepted value in an outcome keeps its status and its hint", "[outcome_traits][H-RT-09]") {
    const auto o = outcome_of<rs::outcome<http_answer>>(
        [] { return outcome_of<http_answer>([] { return http_answer{202, 5s}; }); });

    const rs::failure accepted = o.result().as_failure();

    CHECK(accepted.http_status() == 202);
    CHECK(accepted.retry_after() == rs::duration{5s});
    CHECK(accepted.value<rs::outcome<http_answer>>() == &o.value());
}

TEST_CASE("whether anything was sent is known of an outcome that was returned", "[outcome_traits]") {
    const auto unreachable =
        outcome_of<int>(throwing(std::system_error(std::make_error_code(std::errc::connection_refused))));

    CHECK(rs::retry_traits::known_not_sent(seen(refused())));
    CHECK(rs::retry_traits::known_not_sent(seen(unreachable)));
    CHECK_FALSE(rs::retry_traits::known_not_sent(seen(outcome_of<int>(throwing(std::runtime_error("x"))))));
}

TEST_CASE("a policy around try_call sees what it would see around a call", "[outcome_traits][composition]") {
    world w;
    const rs::retry outer_retry{support::plain(3), w.reg};
    const rs::circuit_breaker outer_breaker{{.failure_threshold = 3}, w.reg};
    const auto outer = outer_retry | outer_breaker;
    const rs::retry inner{support::at_once(1), w.reg};
    int calls = 0;
    const auto nested = [&](auto f) {
        calls = 0;
        return outer([&] { return inner.try_call([&] { return ++calls, f(); }); });
    };

    CHECK(nested([] { return http_answer{404}; }).value().status == 404);
    CHECK(calls == 1);
    CHECK(nested(throwing(http_error(404))).error().as<http_error>() != nullptr);
    CHECK(calls == 1);
    CHECK(nested(throwing(std::bad_alloc())).error().as<std::bad_alloc>() != nullptr);
    CHECK(calls == 1);
    CHECK(outer_breaker.stats().ignored == 1);
    CHECK(outer_breaker.stats().successes == 2);
    CHECK(w.clock.slept().empty());
    CHECK(nested([] { return http_answer{503, 7s}; }).error().value<http_answer>()->status == 503);
    CHECK(calls == 3);
    CHECK(w.clock.slept() == std::vector<rs::duration>{7s, 7s});
    CHECK(outer_breaker.state() == rs::circuit_state::open);
}

TEST_CASE("a failing outcome is repeated at once like what is in it", "[outcome_traits][composition]") {
    world w;
    const rs::retry outer{support::at_once(3), w.reg};
    const rs::retry inner{support::at_once(1), w.reg};
    int calls = 0;
    const auto ask = [&](auto f) {
        calls = 0;
        return outer([&] { return inner.try_call([&] { return ++calls, f(); }); });
    };

    CHECK_FALSE(ask(throwing(std::runtime_error("x"))).has_value());
    CHECK(calls == 3);
    CHECK_FALSE(ask(throwing(std::bad_alloc())).has_value());
    CHECK(calls == 1);
    CHECK(ask([&] { return calls < 2 ? throw 42 : calls; }).value() == 2);
}

TEST_CASE("the outcome of an outcome is the same one, moved or not", "[outcome_traits]") {
    world w;
    const rs::retry outer{support::at_once(2), w.reg};
    const rs::retry inner{support::at_once(1), w.reg};
    const auto result = [](std::string text) {
        return [text]() -> tl::expected<int, std::string> { return tl::unexpected<std::string>(text); };
    };
    const std::string text = "a text that is too long to be stored inline";

    auto o = outer.try_call([&] { return inner.try_call(result(text)); });
    const auto moved = std::move(o);

    REQUIRE_FALSE(moved.has_value());
    CHECK(moved.error().message() == text);
    const auto* within = moved.error().value<rs::outcome<tl::expected<int, std::string>>>();
    REQUIRE(within != nullptr);
    CHECK(within->error().value<tl::expected<int, std::string>>()->error() == text);
    CHECK(*outer.try_call([&] { return inner.try_call([] { return 5; }); }).value() == 5);
    const auto kept = outer.try_call([&] { return inner.try_call([] { return std::make_unique<int>(5); }); });
    CHECK(**kept.value() == 5);
}

TEST_CASE("a rejection is returned in an outcome whole", "[outcome_traits][composition]") {
    world w;
    const rs::circuit_breaker breaker{{.name = "jira", .failure_threshold = 1}, w.reg};
    const auto guard = rs::retry(support::at_once(3), w.reg) | breaker;
    const rs::retry inner{support::at_once(1), w.reg};
    int calls = 0;
    const auto call = [&] { return inner.try_call([&] { return ++calls, throwing(http_error(503))(); }); };

    const rs::outcome<int> failed = guard(call);
    const rs::outcome<int> open = guard(call);

    CHECK(calls == 1);
    CHECK(failed.error().as<http_error>() != nullptr);
    CHECK(open.error().is_rejection());
    CHECK(open.error().policy() == "jira");
    CHECK(open.error().retry_after() == rs::duration{30s});
    CHECK_THROWS_AS(open.value(), rs::circuit_open_error);
    CHECK(guard.try_call(call).error().policy() == "jira");
    CHECK_THROWS_WITH(inner([]() -> rs::outcome<int> { throw std::runtime_error("x"); }), "x");
}

TEST_CASE("a fallback answers for an outcome without a value, but for a cancelled one",
          "[outcome_traits][composition][H-FB-01]") {
    world w;
    const rs::circuit_breaker breaker{{}, w.reg};
    const auto other = rs::fallback([](const rs::failure&) { return outcome_of<int>([] { return 7; }); });
    const rs::retry inner{support::at_once(1), w.reg};
    const auto within = [&](auto f) { return [&inner, f] { return inner.try_call(f); }; };

    CHECK(other(within([] { return 1; })).value() == 1);
    CHECK(other(within(throwing(std::runtime_error("x")))).value() == 7);
    CHECK(other([] { return refused(); }).value() == 7);
    CHECK(other(within(throwing(rs::cancelled_error(rs::errc::cancelled, "", "stop"))))
              .error()
              .is_cancellation());
    breaker.force_open();
    CHECK((other | breaker)(within([] { return 1; })).value() == 7);
    CHECK(other.stats().used == 3);

    const auto named =
        rs::fallback_if(rs::on<http_error>(), [] { return outcome_of<int>([] { return 7; }); });
    CHECK(named(within(throwing(http_error(404)))).value() == 7);
    CHECK_FALSE(named(within(throwing(42))).has_value());
}

TEST_CASE("a timeout's verdict on an outcome that came late is returned in it",
          "[outcome_traits][composition]") {
    world w;
    const rs::timeout limit{1s, w.reg};

    const rs::outcome<int> late = limit([&] {
        w.clock.advance(2s);
        return outcome_of<int>([] { return 5; });
    });

    CHECK(late.error().code() == rs::errc::timed_out);
}

} // namespace
