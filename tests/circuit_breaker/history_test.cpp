// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker/history.hpp>

#include "support/catch.hpp"
#include "support/moment.hpp"
#include "support/noted.hpp"

#include <chrono>
#include <cstdint>
#include <optional>

namespace {

namespace rs = resilience;
using rs::circuit_state;
using rs::detail::circuit_history;
using support::at;
using namespace std::chrono_literals;

constexpr rs::wall_time wall(std::chrono::seconds since_start) { return rs::wall_time{since_start}; }

rs::circuit_breaker_stats stats_of(circuit_history& history) {
    rs::circuit_breaker_stats s;
    history.describe(s, [](rs::time_point t) {
        return rs::wall_time{std::chrono::duration_cast<rs::wall_time::duration>(t.time_since_epoch())};
    });
    return s;
}

TEST_CASE("a history begins with its circuit", "[circuit_history]") {
    circuit_history history(at(100s));

    const auto s = stats_of(history);

    CHECK(s.state_since == wall(100s));
    CHECK_FALSE(s.opened_at);
    CHECK_FALSE(s.last_failure_time);
    CHECK_FALSE(s.last_error);
    CHECK_FALSE(s.latencies);
    CHECK(s.reason.empty());
    CHECK(s.trips + s.failures + s.late_results + s.slow == 0);
    CHECK(history.tripping_failures() == 0);
}

TEST_CASE("opened_at stays while the circuit is out, and goes when it is back", "[circuit_history]") {
    using enum circuit_state;
    struct step {
        circuit_state to;
        std::optional<rs::wall_time> opened_at;
    };
    const step steps[] = {{open, wall(1s)},         {half_open, wall(1s)},
                          {open, wall(3s)},         {forced_open, wall(4s)},
                          {half_open, wall(4s)},    {closed, std::nullopt},
                          {forced_open, wall(7s)},  {disabled, std::nullopt},
                          {open, wall(9s)},         {metrics_only, std::nullopt},
                          {half_open, std::nullopt}};
    circuit_history history(at(0s));
    circuit_state from = closed;
    std::uint64_t generation = 1;

    for (const step& s : steps) {
        const std::chrono::seconds now{generation};
        history.entered({from, s.to, ++generation}, at(now));
        CHECK(stats_of(history).opened_at == s.opened_at);
        CHECK(stats_of(history).state_since == wall(now));
        from = s.to;
    }
}

TEST_CASE("a command into the open state that it is in does not open it anew", "[circuit_history]") {
    circuit_history history(at(0s));
    history.entered({circuit_state::closed, circuit_state::open, 2}, at(1s));

    history.entered({circuit_state::open, circuit_state::open, 3}, at(2s));

    CHECK(stats_of(history).opened_at == wall(1s));
    CHECK(stats_of(history).state_since == wall(2s));
}

TEST_CASE("a trip is a change from closed to open", "[circuit_history]") {
    using enum circuit_state;
    circuit_history history(at(0s));

    history.entered({closed, open, 2}, at(0s));
    history.entered({open, half_open, 3}, at(0s));
    history.entered({half_open, open, 4}, at(0s));
    history.entered({open, closed, 5}, at(0s));
    history.entered({closed, forced_open, 6}, at(0s));
    history.entered({forced_open, closed, 7}, at(0s));
    history.entered({closed, open, 8}, at(0s));

    CHECK(stats_of(history).trips == 2);
}

TEST_CASE("totals are of all results, latencies of those that were timed once they are kept",
          "[circuit_history]") {
    circuit_history history(at(0s));
    history.count_success({.took = 1s, .is_slow = true});

    history.keep_latencies();
    history.count_success({.took = 2s, .is_slow = true});
    history.count_success({});
    history.count_failure({.took = 4s, .is_slow = true});
    history.count_failure({.took = 1ms});
    history.count_failure({});
    history.count_late();
    history.keep_latencies(); // keeps what there is

    const auto s = stats_of(history);
    CHECK(s.failures == 3);
    CHECK(s.slow == 3);
    CHECK(s.late_results == 1);
    REQUIRE(s.latencies);
    CHECK(s.latencies->successes.calls() == 1);
    CHECK(s.latencies->successes.sum() == 2s);
    CHECK(s.latencies->failures.calls() == 2);
    CHECK(s.latencies->failures.sum() == 4s + 1ms);
}

TEST_CASE("a moment is shown by one time on the wall, whatever clocks do later", "[circuit_history]") {
    circuit_history history(at(0s));
    history.entered({circuit_state::closed, circuit_state::open, 2}, at(1s));
    const auto first = stats_of(history);

    rs::circuit_breaker_stats later;
    history.describe(later, [](rs::time_point) { return wall(99s); });

    CHECK(later.opened_at == first.opened_at);
    CHECK(later.state_since == first.state_since);
}

TEST_CASE("the last failure is remembered", "[circuit_history]") {
    circuit_history history(at(0s));
    CHECK(history.last_failure() == nullptr);

    history.remember_failure(at(1s), support::noted("first"));
    history.remember_failure(at(2s), support::noted("second"));

    REQUIRE(history.last_failure() != nullptr);
    CHECK(history.last_failure()->texts().message == "second");
    CHECK(stats_of(history).last_failure_time == wall(2s));
}

TEST_CASE("the reason is the last command's, and the failures those of the last trip", "[circuit_history]") {
    circuit_history history(at(0s));

    history.commanded("maintenance");
    history.tripped_by(5);
    CHECK(stats_of(history).reason == "maintenance");
    CHECK(history.tripping_failures() == 5);

    history.commanded({});
    history.tripped_by(3);
    CHECK(stats_of(history).reason.empty());
    CHECK(history.tripping_failures() == 3);
}

} // namespace
