// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker/verdicts.hpp>

#include <resilience/call/rejection.hpp>
#include <resilience/call/result_traits.hpp>

#include "support/catch.hpp"
#include "support/moment.hpp"

#include <chrono>
#include <exception>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

namespace {

namespace rs = resilience;
using rs::verdict;
using rs::detail::breaker_judgement;
using rs::detail::published_state;
using support::at;
using namespace std::chrono_literals;

template <class E>
rs::failure failure_of(E e) {
    return rs::failure(std::make_exception_ptr(std::move(e)));
}
verdict verdict_on(const rs::failure& why, const rs::circuit_breaker_config& c = {}) {
    return rs::detail::verdict_on(rs::attempt_result(why), c);
}
verdict verdict_on(const int& value, const rs::circuit_breaker_config& c, verdict judged = verdict::success) {
    return rs::detail::verdict_on(rs::attempt_result(&value, &rs::detail::ops_of<int>, judged), c);
}

TEST_CASE("without predicates a result means what its type says", "[breaker_verdicts]") {
    CHECK(verdict_on(failure_of(std::runtime_error("down"))) == verdict::failure);
    CHECK(verdict_on(failure_of(std::bad_alloc())) == verdict::ignored);
    CHECK(verdict_on(failure_of(std::system_error(std::make_error_code(std::errc::timed_out)))) ==
          verdict::failure);
    CHECK(verdict_on(rs::rejection{.code = rs::errc::timed_out}) == verdict::failure);
    CHECK(verdict_on(1, {}) == verdict::success);
    CHECK(verdict_on(1, {}, verdict::ignored) == verdict::ignored);
}

TEST_CASE("cancellation and local refusals are ignored before any predicate is asked", "[breaker_verdicts]") {
    int asked = 0;
    rs::circuit_breaker_config c;
    c.record_if = rs::predicate([&](const rs::failure&) { return ++asked > 0; });
    c.ignore_if = rs::predicate([&](const rs::failure&) { return ++asked < 0; });

    for (const rs::errc code :
         {rs::errc::circuit_open, rs::errc::bulkhead_full, rs::errc::rate_limited, rs::errc::throttled,
          rs::errc::limit_exceeded, rs::errc::cancelled, rs::errc::workers_exhausted})
        CHECK(verdict_on(rs::rejection{.code = code}, c) == verdict::ignored);
    CHECK(verdict_on(failure_of(std::system_error(std::make_error_code(std::errc::operation_canceled))), c) ==
          verdict::ignored);
    CHECK(asked == 0);

    CHECK(verdict_on(rs::rejection{.code = rs::errc::timed_out}, c) == verdict::failure);
    CHECK(asked == 2);
}

TEST_CASE("ignore_if is asked first, then record_if decides between failure and success",
          "[breaker_verdicts]") {
    rs::circuit_breaker_config c;
    c.ignore_if = rs::on<std::invalid_argument>();
    c.record_if = rs::on<std::logic_error>();

    CHECK(verdict_on(failure_of(std::invalid_argument("both")), c) == verdict::ignored);
    CHECK(verdict_on(failure_of(std::domain_error("recorded")), c) == verdict::failure);
    CHECK(verdict_on(failure_of(std::runtime_error("neither")), c) == verdict::success);
    CHECK(verdict_on(failure_of(std::bad_alloc()), c) == verdict::success); // no usual verdict any more
}

TEST_CASE("values are shown to predicates that look at values only", "[breaker_verdicts]") {
    rs::circuit_breaker_config c;
    c.record_if = rs::on<std::logic_error>();
    CHECK(verdict_on(-1, c) == verdict::success);

    c.record_if = rs::on_result<int>([](int n) { return n < 0; });
    c.ignore_if = rs::on_result<int>([](int n) { return n == -2; });

    CHECK(verdict_on(-1, c) == verdict::failure);
    CHECK(verdict_on(-2, c) == verdict::ignored);
    CHECK(verdict_on(1, c) == verdict::success);
    CHECK(verdict_on(1, c, verdict::ignored) == verdict::ignored);
}

TEST_CASE("a judged failure carries its texts, and how long it asks to break for", "[breaker_verdicts]") {
    rs::circuit_breaker_config c;
    c.break_duration_of = [](const rs::failure& f) -> std::optional<rs::duration> {
        if (f.message() == "503") return 7s;
        return std::nullopt;
    };
    const rs::failure why = failure_of(std::runtime_error("503"));

    const breaker_judgement j = rs::detail::judge(rs::attempt_result(why), c);

    CHECK(j.what == verdict::failure);
    CHECK(j.break_for == 7s);
    CHECK(j.error.texts().message == "503");
    CHECK(j.error.texts().type == "std::runtime_error");
    CHECK_FALSE(j.predicate_threw);
    CHECK_FALSE(rs::detail::judge(rs::attempt_result(failure_of(std::runtime_error("500"))), c).break_for);
}

TEST_CASE("nobody is asked how long to break for a result that is no failure", "[breaker_verdicts]") {
    int asked = 0;
    rs::circuit_breaker_config c;
    c.ignore_if = rs::on<std::runtime_error>();
    c.break_duration_of = [&](const rs::failure&) {
        ++asked;
        return std::optional<rs::duration>(1s);
    };
    const rs::failure why = failure_of(std::runtime_error("no"));

    const breaker_judgement j = rs::detail::judge(rs::attempt_result(why), c);

    CHECK(j.what == verdict::ignored);
    CHECK_FALSE(j.break_for);
    CHECK(asked == 0);
}

TEST_CASE("a predicate or callback that throws makes the result a failure, and is told",
          "[breaker_verdicts]") {
    rs::circuit_breaker_config c;
    const auto throws = [](const auto&) -> bool { throw 42; };
    SECTION("record_if") { c.record_if = rs::predicate(throws); }
    SECTION("ignore_if") { c.ignore_if = rs::predicate(throws); }
    SECTION("break_duration_of") {
        c.break_duration_of = [](const rs::failure&) -> std::optional<rs::duration> { throw 42; };
    }
    const rs::failure why = failure_of(std::runtime_error("no"));

    const breaker_judgement j = rs::detail::judge(rs::attempt_result(why), c);

    CHECK(j.what == verdict::failure);
    CHECK(j.predicate_threw);
    CHECK_FALSE(j.break_for);
    CHECK(j.error.texts().message == "no");
}

TEST_CASE("a result that is settled as a failure by hand asks no predicate", "[breaker_verdicts]") {
    rs::circuit_breaker_config c;
    c.ignore_if = rs::on<std::exception>();
    c.break_duration_of = [](const rs::failure& f) -> std::optional<rs::duration> {
        if (f.message() == "odd") throw 42;
        return 7s;
    };
    const rs::failure known = failure_of(std::runtime_error("known"));
    const rs::failure odd = failure_of(std::runtime_error("odd"));

    const breaker_judgement by_known = rs::detail::judge_as_failure(&known, c);
    const breaker_judgement by_odd = rs::detail::judge_as_failure(&odd, c);
    const breaker_judgement by_nothing = rs::detail::judge_as_failure(nullptr, c);

    CHECK(by_known.what == verdict::failure);
    CHECK(by_known.break_for == 7s);
    CHECK(by_known.error.texts().message == "known");
    CHECK(by_odd.what == verdict::failure);
    CHECK(by_odd.predicate_threw);
    CHECK_FALSE(by_odd.break_for);
    CHECK(by_nothing.what == verdict::failure);
    CHECK_FALSE(by_nothing.break_for);
    CHECK_FALSE(by_nothing.predicate_threw);
    CHECK(by_nothing.error.texts().type == "unknown");
}

TEST_CASE("a call is slow if it was timed and took longer than slow_call_duration", "[breaker_verdicts]") {
    using rs::detail::timing_of;
    rs::circuit_breaker_config c{.slow_call_duration = 1s, .slow_call_rate_threshold = 0.5};
    const rs::detail::breaker_permit timed{
        .admitted = published_state(rs::circuit_state::closed, published_state::timed, 0, 1),
        .start = at(10s)};

    CHECK(timing_of(timed, c, at(11s)).took == 1s);
    CHECK_FALSE(timing_of(timed, c, at(11s)).is_slow);
    CHECK(timing_of(timed, c, at(11s + 1ns)).is_slow);
    CHECK(timing_of(timed, c, at(9s)).took == 0s); // a clock that went backwards

    CHECK_FALSE(timing_of({}, c, at(1h)).took);
    CHECK_FALSE(timing_of({}, c, at(1h)).is_slow);
    c.slow_call_duration.reset();
    CHECK(timing_of(timed, c, at(1h)).took == 1h - 10s);
    CHECK_FALSE(timing_of(timed, c, at(1h)).is_slow);
}

} // namespace
