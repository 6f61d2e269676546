// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker/config.hpp>

#include <resilience/circuit_breaker.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"

#include <chrono>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

namespace rs = resilience;
using Catch::Matchers::Contains;
using circuits::circuit_world;
using namespace std::chrono_literals;
using config = rs::circuit_breaker_config;

TEST_CASE("the defaults are those of the docs", "[circuit_breaker_config]") {
    const config c;

    CHECK(c.name.empty());
    CHECK_FALSE(c.failure_threshold);
    CHECK(c.success_threshold == 2);
    CHECK(c.recovery_timeout == 30s);
    CHECK(c.failure_window == 60s);
    CHECK_FALSE(c.half_open_max_calls);
    CHECK(c.probe_lease == 60s);
    CHECK_FALSE(c.consecutive_failures);
    CHECK_FALSE(c.failure_rate_threshold);
    CHECK_FALSE(c.slow_call_duration);
    CHECK_FALSE(c.slow_call_rate_threshold);
    CHECK(std::get<rs::count_window>(c.window).size == 100);
    CHECK(c.minimum_calls == 20);
    CHECK_FALSE(c.recovery_backoff);
    CHECK(rs::validate(c).empty());
}

TEST_CASE("every number of a config has its range", "[circuit_breaker_config]") {
    struct row {
        const char* field;
        config good;
        config bad;
    };
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    const row rows[] = {
        {"failure_threshold", {.failure_threshold = 1}, {.failure_threshold = 0}},
        {"failure_threshold", {.failure_threshold = 65'536}, {.failure_threshold = 65'537}},
        {"success_threshold", {.success_threshold = 1}, {.success_threshold = 0}},
        {"success_threshold", {.success_threshold = 65'536}, {.success_threshold = 65'537}},
        {"recovery_timeout", {.recovery_timeout = 0ns}, {.recovery_timeout = -1ns}},
        {"recovery_timeout",
         {.recovery_timeout = rs::duration::max()},
         {.recovery_timeout = rs::duration::min()}},
        {"failure_window", {.failure_window = 1ns}, {.failure_window = 0ns}},
        {"half_open_max_calls",
         {.success_threshold = 3, .half_open_max_calls = 1},
         {.half_open_max_calls = 0}},
        {"half_open_max_calls",
         {.success_threshold = 3, .half_open_max_calls = 3},
         {.success_threshold = 3, .half_open_max_calls = 4}},
        {"probe_lease", {.probe_lease = 1ns}, {.probe_lease = 0ns}},
        {"consecutive_failures", {.consecutive_failures = 1}, {.consecutive_failures = 0}},
        {"failure_rate_threshold", {.failure_rate_threshold = 0.001}, {.failure_rate_threshold = 0.0}},
        {"failure_rate_threshold", {.failure_rate_threshold = 1.0}, {.failure_rate_threshold = 1.001}},
        {"failure_rate_threshold", {}, {.failure_rate_threshold = nan}},
        {"slow_call_duration",
         {.slow_call_duration = 1ns, .slow_call_rate_threshold = 0.5},
         {.slow_call_duration = 0ns, .slow_call_rate_threshold = 0.5}},
        {"slow_call_rate_threshold",
         {.slow_call_duration = 1s, .slow_call_rate_threshold = 1.0},
         {.slow_call_duration = 1s, .slow_call_rate_threshold = 1.1}},
        {"slow_call_rate_threshold", {}, {.slow_call_duration = 1s, .slow_call_rate_threshold = nan}},
        {"slow_call_duration", {}, {.slow_call_rate_threshold = 0.5}},
        {"slow_call_duration", {}, {.slow_call_duration = 1s}},
        {"window.size", {.window = rs::count_window{1}}, {.window = rs::count_window{0}}},
        {"window.size", {.window = rs::count_window{1'000'000}}, {.window = rs::count_window{1'000'001}}},
        {"window.length", {.window = rs::time_window{1ms}}, {.window = rs::time_window{1ms - 1ns}}},
        {"minimum_calls", {.minimum_calls = 1}, {.minimum_calls = 0}},
        {"recovery_backoff.multiplier",
         {.recovery_backoff = rs::recovery_backoff{.multiplier = 1.0}},
         {.recovery_backoff = rs::recovery_backoff{.multiplier = 0.99}}},
        {"recovery_backoff.multiplier", {}, {.recovery_backoff = rs::recovery_backoff{.multiplier = nan}}},
        {"recovery_backoff.cap",
         {.recovery_backoff = rs::recovery_backoff{.cap = 30s}},
         {.recovery_backoff = rs::recovery_backoff{.cap = 30s - 1ns}}},
        {"half_open_failure_rate", {.half_open_failure_rate = 1.0}, {.half_open_failure_rate = 1.001}},
        {"half_open_failure_rate", {.half_open_failure_rate = 1e-9}, {.half_open_failure_rate = 0.0}},
        {"half_open_failure_rate", {}, {.half_open_failure_rate = nan}},
        {"half_open_quiet", {.half_open_quiet = 1ns}, {.half_open_quiet = 0ns}},
    };

    circuit_world w;
    for (const row& r : rows) {
        CAPTURE(r.field);
        CHECK(rs::validate(r.good).empty());
        const std::string complaint = rs::validate(r.bad);
        CHECK(complaint.find(std::string("circuit_breaker_config.") + r.field) == 0);
        CHECK_THROWS_AS(w.make(r.bad), std::invalid_argument);
        w.make(r.good);
    }
}

TEST_CASE("a complaint names field, value and range", "[circuit_breaker_config]") {
    CHECK(rs::validate({.half_open_max_calls = 5}) ==
          "circuit_breaker_config.half_open_max_calls is 5; it must be in 1..success_threshold (2)");
    CHECK(rs::validate({.recovery_timeout = -250ms}) ==
          "circuit_breaker_config.recovery_timeout is -250ms; it must be 0 or more");
}

TEST_CASE("the same name and an equal config is the same circuit, untouched",
          "[circuit_breaker_config][H-CB-27]") {
    circuit_world w;
    const auto first = w.make_open({.name = "db", .recovery_timeout = 5s});
    w.clock.advance(4s);

    const auto second = w.make({.name = "db", .failure_threshold = 1, .recovery_timeout = 5s});

    CHECK(second.state() == rs::circuit_state::open);
    CHECK(second.stats().retry_after == rs::duration(1s));
    CHECK(second.stats().generation == 2);
    second.reset();
    CHECK(first.state() == rs::circuit_state::closed);
}

TEST_CASE("the same name and another config is refused, and the field named",
          "[circuit_breaker_config][H-REG-03]") {
    circuit_world w;
    const config base{.name = "db"};
    const auto first = w.make(base);
    const std::pair<const char*, std::function<void(config&)>> changes[] = {
        {"failure_threshold", [](config& c) { c.failure_threshold = 5; }},
        {"success_threshold", [](config& c) { c.success_threshold = 3; }},
        {"recovery_timeout", [](config& c) { c.recovery_timeout = 31s; }},
        {"failure_window", [](config& c) { c.failure_window = 61s; }},
        {"half_open_max_calls", [](config& c) { c.half_open_max_calls = 2; }},
        {"probe_lease", [](config& c) { c.probe_lease = 61s; }},
        {"consecutive_failures", [](config& c) { c.consecutive_failures = 5; }},
        {"failure_rate_threshold", [](config& c) { c.failure_rate_threshold = 0.5; }},
        {"slow_call_duration",
         [](config& c) {
             c.slow_call_duration = 1s;
             c.slow_call_rate_threshold = 0.5;
         }},
        {"window", [](config& c) { c.window = rs::time_window{60s}; }},
        {"minimum_calls", [](config& c) { c.minimum_calls = 21; }},
        {"recovery_backoff", [](config& c) { c.recovery_backoff.emplace(); }},
        {"record_if", [](config& c) { c.record_if = rs::on<std::logic_error>(); }},
        {"ignore_if", [](config& c) { c.ignore_if = rs::on<std::logic_error>(); }},
        {"break_duration_of",
         [](config& c) {
             c.break_duration_of = [](const rs::failure&) { return std::optional<rs::duration>(); };
         }},
        {"on_state_change", [](config& c) { c.on_state_change = [](const rs::event&) {}; }},
        {"half_open_failure_rate", [](config& c) { c.half_open_failure_rate = 0.5; }},
        {"half_open_quiet", [](config& c) { c.half_open_quiet = 1h; }},
    };

    for (const auto& [field, change] : changes) {
        CAPTURE(field);
        config other = base;
        change(other);
        REQUIRE(rs::validate(other).empty());
        CHECK(rs::detail::difference(base, other) == field);
        // Values that can be shown follow in brackets.
        const std::string complaint =
            "circuit_breaker 'db' exists already with another " + std::string(field);
        CHECK_THROWS_WITH(w.make(other), Catch::Matchers::Equals(complaint) ||
                                             Catch::Matchers::StartsWith(complaint + " ("));
    }
    CHECK(w.reg.circuit_breakers().size() == 1);
}

TEST_CASE("of a name that exists with another config both values are told", "[circuit_breaker_config]") {
    circuit_world w;
    const auto first = w.make({.name = "db", .failure_rate_threshold = 0.5});

    CHECK_THROWS_WITH(w.make({.name = "db", .failure_threshold = 3, .failure_rate_threshold = 0.5}),
                      "circuit_breaker 'db' exists already with another failure_threshold (unset, not 3)");
    CHECK_THROWS_WITH(
        w.make({.name = "db", .failure_rate_threshold = 0.25}),
        "circuit_breaker 'db' exists already with another failure_rate_threshold (0.5, not 0.25)");
    CHECK_THROWS_WITH(w.make({.name = "db", .failure_rate_threshold = 0.5, .window = rs::time_window{90s}}),
                      "circuit_breaker 'db' exists already with another window (100, not 90s)");
    CHECK_THROWS_WITH(first.update({.name = "other"}),
                      "circuit_breaker_config.name is 'other'; the name of circuit_breaker 'db' is fixed");
}

TEST_CASE("configs are compared with the one declared, not with later updates",
          "[circuit_breaker_config][H-REG-03]") {
    circuit_world w;
    const auto first = w.make({.name = "db", .failure_threshold = 3});
    first.update({.name = "db", .failure_threshold = 4});

    const auto second = w.make({.name = "db", .failure_threshold = 3});

    CHECK(second.config().failure_threshold == 4);
    CHECK_THROWS_AS(w.make({.name = "db", .failure_threshold = 4}), std::invalid_argument);
}

TEST_CASE("callables that differ in nothing but what they hold are taken for equal",
          "[circuit_breaker_config][H-REG-03]") {
    circuit_world w;
    const auto config = [](int share) {
        return rs::circuit_breaker_config{.name = "db",
                                          .record_if = [share](const rs::failure&) { return share > 0; }};
    };
    const auto first = w.make(config(0));

    const auto second = w.make(config(1));

    circuits::fail(second, 20); // the first record_if goes on
    CHECK(first.stats().successes == 20);
}

std::optional<rs::duration> one_second(const rs::failure&) { return 1s; }
std::optional<rs::duration> two_seconds(const rs::failure&) { return 2s; }

TEST_CASE("one name with two callables that are known to differ is refused",
          "[circuit_breaker_config][H-USE-24]") {
    circuit_world w;
    const auto first = w.make({.name = "db",
                               .record_if = rs::on<std::logic_error>(),
                               .break_duration_of = one_second,
                               .on_state_change = [](const rs::event&) {}});
    const auto on_change = first.config().on_state_change;

    CHECK_NOTHROW(w.make({.name = "db",
                          .record_if = rs::on<std::logic_error>(),
                          .break_duration_of = one_second,
                          .on_state_change = on_change}));
    CHECK_THROWS_WITH(w.make({.name = "db",
                              .record_if = rs::on<std::runtime_error>(),
                              .break_duration_of = one_second,
                              .on_state_change = on_change}),
                      "circuit_breaker 'db' exists already with another record_if");
    CHECK_THROWS_WITH(w.make({.name = "db",
                              .record_if = rs::on<std::logic_error>(),
                              .break_duration_of = two_seconds,
                              .on_state_change = on_change}),
                      "circuit_breaker 'db' exists already with another break_duration_of");
    CHECK_THROWS_WITH(w.make({.name = "db",
                              .record_if = rs::on<std::logic_error>(),
                              .break_duration_of = one_second,
                              .on_state_change = [](const rs::event&) {}}),
                      "circuit_breaker 'db' exists already with another on_state_change");
}

TEST_CASE("a complaint names the policy, and in a conflict both values",
          "[circuit_breaker_config][H-USE-24]") {
    circuit_world w;
    const auto first = w.make({.name = "db", .recovery_backoff = rs::recovery_backoff{.cap = 5min}});
    const auto without = w.make({.name = "plain", .failure_rate_threshold = 0.3});

    CHECK_THROWS_WITH(
        w.make({.name = "db", .recovery_backoff = rs::recovery_backoff{.cap = 10min}}),
        "circuit_breaker 'db' exists already with another recovery_backoff.cap (300s, not 600s)");
    CHECK_THROWS_WITH(w.make({.name = "db"}),
                      "circuit_breaker 'db' exists already with another recovery_backoff (set, not unset)");
    CHECK_THROWS_WITH(w.make({.name = "plain", .failure_rate_threshold = 0.1 + 0.2}),
                      Contains("(0.3, not 0.30000000000000004)"));
    CHECK_THROWS_WITH(
        w.make({.name = "x", .success_threshold = 0}),
        "circuit_breaker 'x': circuit_breaker_config.success_threshold is 0; it must be in 1..65536");
    CHECK_THROWS_WITH(w.make({.recovery_timeout = 30s, .recovery_backoff = rs::recovery_backoff{.cap = 5s}}),
                      Contains("is 5s; it must be recovery_timeout (30s) or more"));
    CHECK_THROWS_WITH(w.make({.name = "y", .slow_call_duration = 2s}),
                      Contains("circuit_breaker 'y'") && Contains("only one is set: 2s"));
    CHECK_THROWS_WITH(first.update({.name = "db", .minimum_calls = 0}), Contains("circuit_breaker 'db'"));
}

TEST_CASE("a field set to the default that it stands for still differs", "[circuit_breaker_config]") {
    circuit_world w;
    const auto first = w.make({.name = "db"});

    CHECK_THROWS_AS(w.make({.name = "db", .failure_threshold = 5}), std::invalid_argument);
}

} // namespace
