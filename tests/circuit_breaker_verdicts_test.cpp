// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"

#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace {
struct unreadable {};
} // namespace

/// Says that it is ignored, and cannot say why.
template <>
struct resilience::result_traits<unreadable> {
    static constexpr bool can_fail = true;
    static verdict judge(const unreadable&) { return verdict::ignored; }
    static std::error_code code(const unreadable&) { throw std::runtime_error("unreadable"); }
    static std::string message(const unreadable&) { return "unreadable"; }
};

namespace {

namespace rs = resilience;
using circuits::cancel;
using circuits::circuit_world;
using circuits::fail;
using circuits::succeed;
using rs::circuit_state;
using namespace std::chrono_literals;

struct answer {
    int status;
};
std::optional<int> http_status_of(const answer& a) {
    return a.status == 0 ? std::nullopt : std::optional(a.status);
}

struct http_failure : std::runtime_error, rs::http_carrier {
    explicit http_failure(int status) : std::runtime_error("HTTP"), status_(status) {}
    int http_status() const noexcept override { return status_; }

private:
    int status_;
};

template <class E>
void throw_in(const rs::circuit_breaker& breaker, E e) {
    (void)breaker.try_call([&] { throw e; });
}

TEST_CASE("any exception is a failure, whatever its type", "[circuit_breaker][H-CPP-11]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 3});

    throw_in(breaker, std::runtime_error("x"));
    throw_in(breaker, 42);
    throw_in(breaker, "text");

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("cancellation is ignored, also by a circuit that records everything",
          "[circuit_breaker][H-CB-32]") {
    circuit_world w;
    rs::circuit_breaker_config config{.failure_threshold = 1};
    if (GENERATE(false, true)) config.record_if = rs::predicate([](const rs::failure&) { return true; });
    const auto breaker = w.make(config);

    cancel(breaker, 100);
    (void)breaker.try_call([] { return std::errc::operation_canceled; });
    throw_in(breaker, rs::cancelled_error(rs::errc::cancelled, "", "cancelled"));

    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().ignored == 102);
    CHECK(breaker.stats().failures == 0);
}

TEST_CASE("rejections of other policies are ignored, a timeout is a failure", "[circuit_breaker][H-CB-33]") {
    circuit_world w;
    rs::circuit_breaker_config config{.failure_threshold = 1};
    if (GENERATE(false, true)) config.record_if = rs::predicate([](const rs::failure&) { return true; });
    const auto breaker = w.make(config);

    throw_in(breaker, rs::circuit_open_error(rs::errc::circuit_open, "inner", "open"));
    throw_in(breaker, rs::bulkhead_full_error(rs::errc::bulkhead_full, "inner", "full"));
    throw_in(breaker, rs::rate_limited_error(rs::errc::rate_limited, "inner", "limited"));
    throw_in(breaker, rs::throttled_error(rs::errc::throttled, "inner", "throttled"));
    throw_in(breaker, rs::limit_exceeded_error(rs::errc::limit_exceeded, "inner", "limit"));
    CHECK(breaker.stats().ignored == 5);
    CHECK(breaker.state() == circuit_state::closed);

    throw_in(breaker, rs::timeout_error(rs::errc::timed_out, "inner", "late"));
    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("a timeout inside of a circuit is a failure to it", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1});
    const auto guard = breaker | rs::timeout(rs::timeout_config{.limit = 1s}, w.reg);

    (void)guard.try_call([&] { w.clock.advance(2s); });

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("std::bad_alloc is ignored unless record_if asks for it", "[circuit_breaker][H-CPP-11]") {
    circuit_world w;
    const auto usual = w.make({.failure_threshold = 1});
    const auto asking = w.make({.failure_threshold = 1, .record_if = rs::on<std::bad_alloc>()});

    throw_in(usual, std::bad_alloc());
    throw_in(asking, std::bad_alloc());

    CHECK(usual.state() == circuit_state::closed);
    CHECK(usual.stats().ignored == 1);
    CHECK(asking.state() == circuit_state::open);
}

TEST_CASE("twenty answers of 404 leave a circuit closed, five of 503 open it", "[circuit_breaker]") {
    const bool thrown = GENERATE(false, true);
    circuit_world w;
    const auto breaker = w.make();
    const auto get = [&](int status) {
        if (thrown) (void)breaker.try_call([&] { throw http_failure(status); });
        else (void)breaker.try_call([&] { return answer{status}; });
    };

    for (int i = 0; i < 20; ++i) get(404);
    CHECK(breaker.stats().successes == 20);
    for (const int status : {408, 425, 429, 500, 502, 429}) get(status);
    CHECK(breaker.stats().ignored == 2);
    CHECK(breaker.stats().failures == 4);
    CHECK(breaker.state() == circuit_state::closed);
    get(503);
    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("failing values are failures", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 2});

    (void)breaker.try_call([] { return std::errc::timed_out; });
    (void)breaker.try_call([] { return std::make_error_code(std::errc::io_error); });

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("record_if decides what is a failure, the rest are successes", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make(
        {.failure_threshold = 2, .consecutive_failures = 2, .record_if = rs::on<std::invalid_argument>()});

    throw_in(breaker, std::invalid_argument("counts"));
    throw_in(breaker, std::runtime_error("does not"));
    CHECK(breaker.stats().failures == 1);
    CHECK(breaker.stats().successes == 1);
    CHECK(breaker.state() == circuit_state::closed);
    throw_in(breaker, std::invalid_argument("counts"));

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("ignore_if is asked first", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1,
                                 .record_if = rs::on<std::logic_error>(),
                                 .ignore_if = rs::on<std::invalid_argument>()});

    throw_in(breaker, std::invalid_argument("ignored"));
    CHECK(breaker.stats().ignored == 1);
    CHECK(breaker.stats().failures == 0);
    throw_in(breaker, std::out_of_range("recorded"));

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("on_result makes failures of values, and the caller still gets the value", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1,
                                 .record_if = rs::on_result<int>([](int v) { return v < 0; }),
                                 .ignore_if = rs::on_result<int>([](int v) { return v == 0; })});

    CHECK(breaker([] { return 1; }) == 1);
    CHECK(breaker([] { return 0; }) == 0);
    CHECK(breaker.stats().successes == 1);
    CHECK(breaker.stats().ignored == 1);
    CHECK(breaker([] { return -1; }) == -1);

    CHECK(breaker.state() == circuit_state::open);
    REQUIRE(breaker.stats().last_error);
    CHECK(breaker.stats().last_error->type == "int");
}

TEST_CASE("what predicates say of exceptions does not mean values that are successes", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make(
        {.failure_threshold = 1,
         .record_if = rs::not_on<std::logic_error>() || rs::on_result<int>([](int v) { return v < 0; }),
         .ignore_if = rs::not_on<std::exception>() || rs::on_result<int>([](int v) { return v == 0; })});

    breaker([] { return 1; });

    CHECK(breaker.stats().successes == 1);
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("a predicate that throws settles the attempt as a failure, whatever it was",
          "[circuit_breaker][H-CB-09]") {
    circuit_world w;
    const auto broken = rs::on_result<int>([](int) -> bool { throw std::logic_error("predicate"); });
    const auto breaker = w.make({.failure_threshold = 1, .record_if = broken || rs::on<std::logic_error>()});

    CHECK(breaker([] { return 3; }) == 3);
    CHECK(breaker.stats().successes == 0);
    CHECK(breaker.stats().failures == 1);
    CHECK(breaker.stats().predicate_errors == 1);
    CHECK(breaker.state() == circuit_state::open);

    const auto throwing = w.make(
        {.failure_threshold = 1, .ignore_if = rs::predicate([](const rs::failure&) -> bool { throw 42; })});
    CHECK_THROWS_AS(throwing([] { throw circuits::service_down(); }), circuits::service_down);
    CHECK(throwing.state() == circuit_state::open);
    CHECK(throwing.stats().predicate_errors == 1);
}

TEST_CASE("predicates run with no lock held", "[circuit_breaker]") {
    circuit_world w;
    std::optional<rs::circuit_breaker> breaker;
    int asked = 0;
    const auto look = [&](const rs::failure&) {
        ++asked;
        (void)breaker->stats();
        (void)breaker->try_acquire();
        return true;
    };
    breaker.emplace(w.make({.failure_threshold = 1,
                            .success_threshold = 2,
                            .recovery_timeout = 5s,
                            .record_if = rs::predicate(look),
                            .break_duration_of = [&](const rs::failure& f) -> std::optional<rs::duration> {
                                look(f);
                                return std::nullopt;
                            }}));

    fail(*breaker);
    w.clock.advance(5s);
    fail(*breaker);

    CHECK(asked == 4);
}

TEST_CASE("permits settle as they are told", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 3});

    breaker.try_acquire()->success();
    breaker.try_acquire()->failure();
    breaker.try_acquire()->failure(rs::failure(std::make_exception_ptr(std::runtime_error("x"))));
    (void)breaker.try_acquire();

    const auto stats = breaker.stats();
    CHECK(stats.successes == 1);
    CHECK(stats.failures == 2);
    CHECK(stats.ignored == 1);
    CHECK(stats.calls == 4);
    CHECK(stats.last_error->message == "x");
    breaker.try_acquire()->failure();
    CHECK(breaker.state() == circuit_state::open);
    CHECK_FALSE(breaker.try_acquire());
    CHECK(breaker.stats().rejected == 1);
}

TEST_CASE("permit.failure() is a failure whatever the predicates say, settle() asks them",
          "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 10,
                                 .record_if = rs::on<std::invalid_argument>(),
                                 .ignore_if = rs::on<std::bad_alloc>()});
    const rs::failure ignored(std::make_exception_ptr(std::bad_alloc()));

    breaker.try_acquire()->failure();
    breaker.try_acquire()->failure(ignored);
    CHECK(breaker.stats().failures == 2);

    breaker.try_acquire()->settle(rs::retry(rs::retry_config{.max_attempts = 1}, w.reg).try_call([] {}));
    CHECK(breaker.stats().successes == 1);
    breaker.try_acquire()->settle(
        rs::retry(rs::retry_config{.max_attempts = 1}, w.reg).try_call([] { throw std::bad_alloc(); }));
    CHECK(breaker.stats().ignored == 1);
    breaker.try_acquire()->settle(rs::retry(rs::retry_config{.max_attempts = 1}, w.reg).try_call([] {
        throw std::invalid_argument("x");
    }));
    CHECK(breaker.stats().failures == 3);
}

TEST_CASE("a permit takes an outcome that nobody filled for a failure", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 10});
    const auto asking = w.make({.name = "asking",
                                .failure_threshold = 10,
                                .ignore_if = rs::on_result<int>([](int) { return true; })});

    breaker.try_acquire()->settle(rs::outcome<int>{});
    asking.try_acquire()->settle(rs::outcome<int>{});
    asking.try_acquire()->settle(rs::outcome<int&>{});

    CHECK(breaker.stats().failures == 1);
    CHECK(asking.stats().failures == 2);
}

TEST_CASE("a permit asks break_duration_of", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker =
        w.make({.break_duration_of = [](const rs::failure&) { return std::optional<rs::duration>(9s); }});

    breaker.try_acquire()->failure(rs::failure(std::make_exception_ptr(circuits::service_down())));

    CHECK(breaker.stats().retry_after == 9s);
}

TEST_CASE("a permit keeps its circuit alive", "[circuit_breaker][H-CPP-23][H-REG-05]") {
    rs::testing::virtual_clock clock;
    auto reg = std::make_unique<rs::registry>(clock);
    auto breaker = std::make_unique<rs::circuit_breaker>(rs::circuit_breaker_config{.name = "short"}, *reg);
    auto permit = breaker->try_acquire();
    auto other = breaker->try_acquire();

    breaker.reset();
    reg.reset();
    permit->failure();
    other.reset();
}

TEST_CASE("one call inside of a circuit is one result, however many attempts it took",
          "[circuit_breaker][H-CB-35]") {
    circuit_world w;
    const auto outside = w.make();
    const auto inside = w.make({.failure_threshold = 100});
    const auto guard =
        outside | rs::retry(rs::retry_config{.max_attempts = 3, .base_delay = 0s, .max_delay = 0s}, w.reg) |
        inside;

    (void)guard.try_call([] { throw circuits::service_down(); });

    CHECK(outside.stats().failures == 1);
    CHECK(inside.stats().failures == 3);
}

TEST_CASE("a call that an inner policy refuses is counted once by those outside", "[circuit_breaker]") {
    circuit_world w;
    const auto outer = w.make();
    const auto inner = w.make();
    const auto both = outer | inner;
    inner.force_open();

    for (int i = 0; i < 5; ++i) CHECK_FALSE(both.try_call([] {}).has_value());

    CHECK(outer.stats().calls == 5);
    CHECK(outer.stats().ignored == 5);
    CHECK(inner.stats().rejected == 5);
}

TEST_CASE("the result that trips a circuit tells those outside when it will reopen", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 2, .recovery_timeout = 30s});
    int runs = 0;
    const auto guard =
        rs::retry(rs::retry_config{.max_attempts = 5, .base_delay = 1s, .jitter = rs::jitter::none}, w.reg) |
        breaker;

    CHECK_THROWS_AS(guard([&] {
                        ++runs;
                        throw circuits::service_down();
                    }),
                    circuits::service_down);

    CHECK(runs == 2);
    CHECK(w.clock.slept().size() == 1);
    CHECK(breaker.stats().rejected == 0);
}

TEST_CASE("a value whose traits throw is settled, and given to the caller", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 3});

    CHECK_NOTHROW(breaker([] { return unreadable(); }));
    CHECK(breaker.try_call([] { return unreadable(); }).has_value());

    CHECK(breaker.stats().calls == 2);
    CHECK(breaker.stats().failures == 2);
    CHECK(breaker.stats().predicate_errors == 2);
    CHECK(breaker.stats().last_error->type == "unknown");
}

} // namespace
