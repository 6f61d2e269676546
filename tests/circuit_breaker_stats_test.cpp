// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker.hpp>
#include <resilience/circuit_breaker/circuit.hpp>
#include <resilience/circuit_breaker/events.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>

namespace {

namespace rs = resilience;
using circuits::cancel;
using circuits::circuit_world;
using circuits::fail;
using circuits::succeed;
using rs::circuit_state;
using namespace std::chrono_literals;

TEST_CASE("a new circuit's statistics are empty", "[circuit_breaker]") {
    circuit_world w;
    const auto s = w.make({.name = "db", .failure_rate_threshold = 0.5}).stats();

    CHECK(s.name == "db");
    CHECK(s.state == circuit_state::closed);
    CHECK(s.generation == 1);
    CHECK(s.state_since == w.clock.wall_now());
    CHECK(s.failure_count == 0);
    CHECK(s.success_count == 0);
    CHECK(s.failure_rate == -1.0);
    CHECK(s.slow_call_rate == -1.0);
    CHECK_FALSE(s.opened_at);
    CHECK_FALSE(s.last_failure_time);
    CHECK_FALSE(s.last_error);
    CHECK_FALSE(s.retry_after);
    CHECK(s.calls + s.successes + s.failures + s.ignored + s.rejected + s.late_results + s.slow + s.trips ==
          0);
}

TEST_CASE("failure_count is what the window holds, then what tripped it", "[circuit_breaker][H-WIN-09]") {
    circuit_world w;
    const auto breaker = w.make(
        {.failure_threshold = 3, .success_threshold = 2, .recovery_timeout = 5s, .failure_window = 10s});
    fail(breaker);
    w.clock.advance(5s);
    fail(breaker);
    CHECK(breaker.stats().failure_count == 2);
    w.clock.advance(5s);
    CHECK(breaker.stats().failure_count == 1);

    fail(breaker, 2);
    CHECK(breaker.stats().failure_count == 3);
    w.clock.advance(20s);
    CHECK(breaker.stats().failure_count == 3);
    succeed(breaker);
    CHECK(breaker.stats().state == circuit_state::half_open);
    CHECK(breaker.stats().failure_count == 3);
    fail(breaker);
    CHECK(breaker.stats().failure_count == 3);
    w.clock.advance(5s);
    succeed(breaker, 2);
    CHECK(breaker.stats().state == circuit_state::closed);
    CHECK(breaker.stats().failure_count == 0);
}

TEST_CASE("a circuit opened by hand shows the failures of the window that ended, and none of earlier trips",
          "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 3});
    fail(breaker, 2);
    breaker.force_open();
    CHECK(breaker.stats().failure_count == 2);

    breaker.reset();
    fail(breaker, 3);
    breaker.disable();
    breaker.force_open();
    CHECK(breaker.stats().failure_count == 0);
}

TEST_CASE("success_count begins anew with each state", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1, .success_threshold = 3, .recovery_timeout = 5s});
    succeed(breaker, 4);
    CHECK(breaker.stats().success_count == 4);
    fail(breaker);
    CHECK(breaker.stats().success_count == 0);
    w.clock.advance(5s);
    succeed(breaker, 2);
    CHECK(breaker.stats().success_count == 2);
    CHECK(breaker.stats().success_threshold == 3);
    succeed(breaker);
    CHECK(breaker.stats().state == circuit_state::closed);
    CHECK(breaker.stats().success_count == 0);
    succeed(breaker);
    CHECK(breaker.stats().success_count == 1);
    CHECK(breaker.stats().successes == 8);
}

TEST_CASE("opened_at is set while the circuit is not closed", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 5s});
    const auto start = w.clock.wall_now();
    w.clock.advance(1s);
    fail(breaker);
    CHECK(breaker.stats().opened_at == start + 1s);
    CHECK(breaker.stats().last_failure_time == start + 1s);
    CHECK(breaker.stats().state_since == start + 1s);

    w.clock.advance(5s);
    auto probe = breaker.try_acquire();
    CHECK(breaker.stats().opened_at == start + 1s);
    CHECK(breaker.stats().state_since == start + 6s);
    probe->failure();
    CHECK(breaker.stats().opened_at == start + 6s);
    w.clock.advance(5s);
    succeed(breaker);
    CHECK_FALSE(breaker.stats().opened_at);
    CHECK(breaker.stats().last_failure_time == start + 6s);

    breaker.force_open();
    CHECK(breaker.stats().opened_at == start + 11s);
    breaker.disable();
    CHECK_FALSE(breaker.stats().opened_at);
    breaker.open_for(1s);
    CHECK(breaker.stats().opened_at);
    breaker.reset();
    CHECK_FALSE(breaker.stats().opened_at);
}

TEST_CASE("totals add up", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 3, .success_threshold = 1, .recovery_timeout = 5s});
    auto late = breaker.try_acquire();
    succeed(breaker, 5);
    cancel(breaker, 2);
    fail(breaker, 3);
    succeed(breaker, 4);
    late->success();
    w.clock.advance(5s);
    fail(breaker);
    w.clock.advance(5s);
    succeed(breaker, 2);

    const auto s = breaker.stats();
    CHECK(s.successes == 8);
    CHECK(s.failures == 4);
    CHECK(s.ignored == 2);
    CHECK(s.calls == 14);
    CHECK(s.rejected == 4);
    CHECK(s.late_results == 1);
    CHECK(s.trips == 1);
    CHECK(s.generation == 6);
}

TEST_CASE("retry_after is the time to the next probe while open, and nothing else", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make_open({.success_threshold = 2, .recovery_timeout = 5s});
    w.clock.advance(2s);
    CHECK(breaker.stats().retry_after == rs::duration(3s));
    w.clock.advance(10s);
    CHECK(breaker.stats().retry_after == rs::duration(0s));
    succeed(breaker);
    CHECK_FALSE(breaker.stats().retry_after);
    breaker.force_open();
    CHECK_FALSE(breaker.stats().retry_after);
}

TEST_CASE("the exception of a failure is not kept, its type and a bounded text are",
          "[circuit_breaker][H-CB-37]") {
    struct large : std::runtime_error {
        explicit large(std::shared_ptr<int> p)
            : std::runtime_error(std::string(10'000, 'x')), payload(std::move(p)) {}
        std::shared_ptr<int> payload;
    };
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1});
    const auto payload = std::make_shared<int>(7);

    (void)breaker.try_call([&] { throw large(payload); });

    CHECK(payload.use_count() == 1);
    const auto error = breaker.stats().last_error;
    REQUIRE(error);
    CHECK(error->type.find("large") != std::string::npos);
    CHECK(error->message == std::string(256, 'x'));
}

TEST_CASE("last_error is the last recorded failure, not one that was ignored or late", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 9});
    auto late = breaker.try_acquire();
    (void)breaker.try_call([] { throw std::runtime_error("first"); });
    cancel(breaker);
    CHECK(breaker.stats().last_error->message == "first");
    (void)breaker.try_call([] { return std::errc::io_error; });
    CHECK(breaker.stats().last_error->message == std::make_error_code(std::errc::io_error).message());
    CHECK(breaker.stats().last_error->type.find("errc") != std::string::npos);
    breaker.try_acquire()->failure();
    CHECK(breaker.stats().last_error->type == "unknown");

    breaker.reset();
    late->failure(rs::failure(std::make_exception_ptr(std::runtime_error("late"))));
    CHECK(breaker.stats().last_error->type == "unknown");
}

TEST_CASE("a what() that gives nothing does no harm", "[circuit_breaker]") {
    struct rude : std::exception {
        const char* what() const noexcept override { return nullptr; }
    };
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1});

    (void)breaker.try_call([] { throw rude(); });

    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("the snapshot for all kinds of policies has the same numbers", "[circuit_breaker]") {
    circuit_world w;
    const auto breaker = w.make({.name = "db", .failure_threshold = 2});
    succeed(breaker, 3);
    fail(breaker, 2);

    const auto all = w.reg.policies();
    REQUIRE(all.size() == 1);
    CHECK(all[0].kind == "circuit_breaker");
    CHECK(all[0].name == "db");
    const auto number = [&](std::string_view name) -> std::uint64_t {
        for (const auto& s : all[0].statistics) {
            if (s.name == name) return std::get<std::uint64_t>(s.value);
        }
        return 999;
    };
    CHECK(std::get<std::string>(all[0].statistics[0].value) == "open");
    CHECK(number("failure_count") == 2);
    CHECK(number("calls") == 5);
    CHECK(number("successes") == 3);
    CHECK(number("trips") == 1);
    CHECK(number("generation") == 2);
}

TEST_CASE("a circuit with the default config takes no more than 1,448 bytes", "[circuit_breaker][H-WIN-14]") {
    const std::size_t core = sizeof(rs::detail::breaker_core) + 64; // made shared
    const std::size_t guarded = sizeof(rs::detail::circuit) + sizeof(rs::detail::circuit_events);
    const std::size_t config = sizeof(rs::circuit_breaker_config) + 32;
    const std::size_t windows = 5 * sizeof(rs::time_point);
    const std::size_t listed = 2 * 4 * sizeof(void*); // an entry of a list that may be half empty
    // A config has six functions. libc++ gives each 48 bytes, others 32: the difference is not the circuit's.
    const std::size_t of_others = 6 * (sizeof(std::function<void()>) - 32);

    CHECK(core + guarded + config + windows + listed - of_others <= 1448);
    CHECK(sizeof(rs::circuit_breaker) <= 2 * sizeof(void*));
}

TEST_CASE("what threads write apart lies on cache lines of its own", "[circuit_breaker][H-CPP-13]") {
    CHECK(alignof(rs::detail::breaker_core) >= 64);
    CHECK(alignof(rs::detail::striped_counters<4>) >= 64);
}

} // namespace
