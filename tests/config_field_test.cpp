// SPDX-License-Identifier: Apache-2.0
// Fields of configs behave as the std::optional, std::function and std::variant that they are.
#include <resilience/circuit_breaker.hpp>
#include <resilience/retry.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <variant>

namespace rs = resilience;
using namespace std::chrono_literals;

namespace {

template <class A, class B>
bool are_equal(const A& a, const B& b) {
    const bool equal = a == b;
    // Each order and each operator, since std::optional has templates of its own for all of them.
    CHECK((b == a) == equal);
    CHECK((a != b) != equal);
    CHECK((b != a) != equal);
    return equal;
}

} // namespace

TEST_CASE("a field that is optional compares as a std::optional does") {
    const rs::retry_config unset;
    const rs::retry_config set{.max_elapsed = 5s};
    const std::optional<rs::duration> none;
    const std::optional<std::chrono::milliseconds> none_of_another_type;
    CHECK(are_equal(unset.max_elapsed, none));
    CHECK(are_equal(unset.max_elapsed, none_of_another_type));
    CHECK(are_equal(unset.max_elapsed, unset.max_retry_after));
    CHECK(are_equal(unset.max_elapsed, std::nullopt));
    CHECK_FALSE(are_equal(unset.max_elapsed, rs::duration(5s)));
    CHECK_FALSE(are_equal(unset.max_elapsed, set.max_elapsed));
    CHECK(are_equal(set.max_elapsed, set.max_elapsed));
    CHECK(are_equal(set.max_elapsed, 5s));
    CHECK(are_equal(set.max_elapsed, std::optional(5s)));
    CHECK_FALSE(are_equal(set.max_elapsed, none));
    CHECK_FALSE(are_equal(set.max_elapsed, none_of_another_type));
    CHECK_FALSE(are_equal(set.max_elapsed, std::nullopt));
}

TEST_CASE("a field takes and gives each value that its type does") {
    rs::circuit_breaker_config config{.failure_rate_threshold = 1,
                                      .slow_call_duration = 500ms,
                                      .window = rs::time_window{5s},
                                      .recovery_backoff = {{.multiplier = 3}}};
    CHECK(config.failure_rate_threshold == 1.0);
    CHECK(std::holds_alternative<rs::time_window>(config.window));
    CHECK(config.recovery_backoff->multiplier == 3);
    config.recovery_backoff = {.multiplier = 4};
    CHECK(config.recovery_backoff->multiplier == 4);
    config.recovery_backoff = {};
    CHECK_FALSE(config.recovery_backoff);
    config.slow_call_duration = std::optional(2s);
    const std::optional<rs::duration> taken = config.slow_call_duration;
    CHECK(taken == rs::duration(2s));
    config.slow_call_duration = std::nullopt;
    CHECK(config.slow_call_duration.value_or(1s) == 1s);
    config.window = rs::count_window{7};
    CHECK(std::get<rs::count_window>(config.window) == rs::count_window{7});
    CHECK(std::visit([](auto w) { return sizeof w; }, config.window) == sizeof(rs::count_window));

    config.failure_rate_threshold = {};
    CHECK_FALSE(config.failure_rate_threshold);
    config.failure_threshold = 3;
    config.failure_threshold = {};
    CHECK_FALSE(config.failure_threshold);
    config.half_open_quiet = 1s;
    config.half_open_quiet = {};
    CHECK_FALSE(config.half_open_quiet);

    unsigned told = 0;
    config.on_state_change = [&told](const auto&) { ++told; };
    const std::function<void(const rs::event&)> listener = config.on_state_change;
    listener(rs::event{});
    CHECK(told == 1);
    config.on_state_change = nullptr;
    CHECK(config.on_state_change == nullptr);
    config.on_state_change = listener;
    config.on_state_change(rs::event{});
    CHECK(told == 2);
    config.on_state_change = {};
    CHECK_FALSE(config.on_state_change);
}
