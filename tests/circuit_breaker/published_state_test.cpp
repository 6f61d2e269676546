// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker/published_state.hpp>

#include <resilience/testing/virtual_clock.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>

namespace {

namespace rs = resilience;
using rs::circuit_state;
using published = rs::detail::published_state;
using namespace std::chrono_literals;

constexpr circuit_state all_states[] = {circuit_state::closed,      circuit_state::open,
                                        circuit_state::half_open,   circuit_state::disabled,
                                        circuit_state::forced_open, circuit_state::metrics_only};

TEST_CASE("a published state holds state, flags, config version and generation apart", "[published_state]") {
    for (const circuit_state state : all_states) {
        const published none(state, 0, 0, 0);
        CHECK(none.state() == state);
        CHECK(none.config_version() == 0);
        CHECK(none.generation() == 0);

        const published full(state, published::timed | published::counts_by_time, 0xFFFF, 1'099'511'627'775);
        CHECK(full.state() == state);
        CHECK(full.has(published::timed));
        CHECK(full.has(published::counts_by_time));
        CHECK_FALSE(full.has(published::counts_results));
        CHECK_FALSE(full.has(published::below_minimum_calls));
        CHECK_FALSE(full.has(published::looks_at_values));
        CHECK(full.config_version() == 0xFFFF);
        CHECK(full.generation() == 1'099'511'627'775);
        CHECK(published(full.word()) == full);
        CHECK_FALSE(full == none);
    }
}

TEST_CASE("the fast path is open to circuits that refuse nothing and look at no values",
          "[published_state]") {
    for (const circuit_state state : all_states) {
        const bool admits = state == circuit_state::closed || state == circuit_state::disabled ||
                            state == circuit_state::metrics_only;
        CHECK(published(state, 0, 7, 7).allows_fast_path() == admits);
        CHECK(published(state, 0, 7, 7).admits_all() == admits);
        CHECK_FALSE(published(state, published::looks_at_values, 7, 7).allows_fast_path());
    }

    const auto closed_with = [](std::uint64_t flags) {
        return published(circuit_state::closed, flags, 7, 7);
    };
    CHECK_FALSE(closed_with(published::looks_at_values).allows_fast_path());
    CHECK(closed_with(published::counts_results | published::counts_by_time | published::below_minimum_calls |
                      published::timed)
              .allows_fast_path());
}

TEST_CASE("a success needs no more than a count, no mutex, or the mutex", "[published_state]") {
    struct row {
        std::uint64_t flags;
        bool count_only;
        bool mutex;
    };
    const row rows[] = {{0, true, false},
                        {published::looks_at_values, true, false},
                        {published::counts_results, false, false},
                        {published::counts_by_time, false, false},
                        {published::below_minimum_calls, false, true},
                        {published::timed, false, true}};

    for (const row& r : rows) {
        const published closed(circuit_state::closed, r.flags, 7, 7);
        CHECK(closed.needs_count_only() == r.count_only);
        CHECK(closed.needs_mutex() == r.mutex);
    }
    for (const circuit_state state : all_states) {
        if (state == circuit_state::closed) continue;
        CHECK_FALSE(published(state, 0, 7, 7).needs_count_only());
        CHECK(published(state, 0, 7, 7).needs_mutex());
    }
}

TEST_CASE("closed, disabled and metrics_only admit every call", "[published_state]") {
    for (const circuit_state state : all_states) {
        const bool expected = state == circuit_state::closed || state == circuit_state::disabled ||
                              state == circuit_state::metrics_only;
        CHECK(published(state, published::timed, 7, 7).admits_all() == expected);
    }
}

TEST_CASE("the flags are those of the config's rules and predicates", "[published_state]") {
    using rs::detail::flags_of;
    rs::circuit_breaker_config c;
    CHECK(flags_of(c) == 0);
    c.window = rs::time_window{10s};
    CHECK(flags_of(c) == 0); // no rule looks at the window

    c.failure_rate_threshold = 0.5;
    CHECK(flags_of(c) == published::counts_by_time);
    c.window = rs::count_window{10};
    CHECK(flags_of(c) == published::counts_results);

    c.slow_call_duration = 1s;
    c.slow_call_rate_threshold = 0.5;
    CHECK(flags_of(c) == (published::counts_results | published::timed));

    const auto of_values = rs::on_result<int>([](int) { return true; });
    SECTION("record_if") { c.record_if = of_values; }
    SECTION("ignore_if") { c.ignore_if = of_values; }
    CHECK(flags_of(c) == (published::counts_results | published::timed | published::looks_at_values));
}

TEST_CASE("a window below minimum_calls is a flag", "[published_state]") {
    CHECK(rs::detail::flags_of(rs::window_fill::enough_calls) == 0);
    CHECK(rs::detail::flags_of(rs::window_fill::below_minimum_calls) == published::below_minimum_calls);
}

TEST_CASE("an open circuit is surely open until less than a tick of the coarse clock is left",
          "[published_state]") {
    rs::testing::virtual_clock clock;
    clock.set_coarse_resolution(4ms);
    rs::detail::state_publisher publisher;
    publisher.publish_locked(published(circuit_state::open, 0, 0, 2), clock.start_time + 10s);
    rs::rejection why{.code = rs::errc{}};

    CHECK(publisher.surely_open(clock, 4ms, why));
    CHECK(why.code == rs::errc::circuit_open);
    CHECK(why.retry_after == 10s);
    CHECK(why.reason == nullptr);

    clock.advance(10s - 4ms - 1ns); // the coarse clock shows 10s - 8ms
    CHECK(publisher.surely_open(clock, 4ms, why));
    CHECK(why.retry_after == 8ms);
    clock.advance(1ns);
    CHECK_FALSE(publisher.surely_open(clock, 4ms, why));
    CHECK(clock.now_reads() == clock.coarse_reads()); // none of the exact clock
}

TEST_CASE("a circuit that is forced open is surely open, without a clock", "[published_state]") {
    rs::testing::virtual_clock clock;
    rs::detail::state_publisher publisher;
    publisher.publish_locked(published(circuit_state::forced_open, 0, 0, 2), rs::time_point::max());
    rs::rejection why{.code = rs::errc{}};

    CHECK(publisher.surely_open(clock, 0s, why));
    CHECK(why.message() == "circuit is forced open");
    CHECK(why.retry_after < 0s);
    CHECK(clock.coarse_reads() == 0);
}

TEST_CASE("no other state is surely open", "[published_state]") {
    rs::testing::virtual_clock clock;
    rs::detail::state_publisher publisher;
    rs::rejection why{.code = rs::errc{}};

    for (const circuit_state state : all_states) {
        if (state == circuit_state::open || state == circuit_state::forced_open) continue;
        publisher.publish_locked(published(state, 0, 0, 2), rs::time_point::max());
        CHECK_FALSE(publisher.surely_open(clock, 0s, why));
    }
    CHECK(why.code == rs::errc{});
}

TEST_CASE("the end of the last open state stays while the circuit is in others", "[published_state]") {
    rs::testing::virtual_clock clock;
    rs::detail::state_publisher publisher;
    rs::rejection why{.code = rs::errc{}};
    publisher.publish_locked(published(circuit_state::open, 0, 0, 2), clock.start_time + 10s);

    publisher.publish_locked(published(circuit_state::closed, 0, 0, 3), rs::time_point::max());
    publisher.publish_locked(published(circuit_state::open, 0, 0, 4), clock.start_time + 5s);

    CHECK(publisher.get().generation() == 4);
    CHECK(publisher.peek() == publisher.get());
    CHECK(publisher.surely_open(clock, 0s, why));
    CHECK(why.retry_after == 5s);
}

} // namespace
