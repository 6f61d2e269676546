// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker/circuit.hpp>

#include "support/catch.hpp"
#include "support/moment.hpp"
#include "support/noted.hpp"
#include "support/plain_policy.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using rs::admission_kind;
using rs::circuit_state;
using rs::event_kind;
using rs::window_fill;
using rs::detail::breaker_permit;
using rs::detail::published_state;
using support::at;
using namespace std::chrono_literals;

/// A circuit with no core around it: the moment is what the test says, and one thread needs no mutex.
struct circuit_alone {
    explicit circuit_alone(rs::circuit_breaker_config c = {}) : config(std::move(c)) {}

    support::world world{};
    support::plain_policy policy{"alone", world.reg, "circuit_breaker"};
    rs::detail::config_cell<rs::circuit_breaker_config> config;
    rs::detail::circuit_events events{policy, config};
    rs::detail::success_counts successes{0};
    rs::detail::circuit circuit{config.get(), successes, events, rs::time_point{}};
    rs::detail::mutex mutex{};

    static rs::detail::moment moment_at(rs::duration since_start) { return {at(since_start)}; }
    breaker_permit permit(std::uint64_t flags = 0, rs::time_point start = {}) const {
        return {.admitted = published_state(circuit.state(), flags, 0, circuit.generation()), .start = start};
    }
    void succeed(const breaker_permit& p, rs::duration now, const rs::detail::call_timing& timing = {}) {
        circuit.succeed(p, timing, moment_at(now));
    }
    void fail(const breaker_permit& p, rs::duration now, const rs::detail::call_timing& timing = {}) {
        circuit.fail(p, timing, {.error = support::noted("down")}, moment_at(now));
    }
    rs::circuit_breaker_stats stats(rs::duration now) {
        rs::circuit_breaker_stats s;
        const auto* last = circuit.describe(s, at(now), rs::wall_time{});
        if (last != nullptr) s.last_error = last->texts();
        return s;
    }
};

TEST_CASE("a circuit trips, probes and closes by the moments that it is given", "[circuit]") {
    circuit_alone c({.failure_threshold = 2, .success_threshold = 1, .recovery_timeout = 5s});

    c.fail(c.permit(), 1s);
    CHECK(c.circuit.state() == circuit_state::closed);
    c.fail(c.permit(), 2s);
    CHECK(c.circuit.state() == circuit_state::open);
    CHECK(c.circuit.generation() == 2);
    CHECK(c.circuit.opens_until() == at(7s));

    CHECK(c.circuit.admit(c.moment_at(7s - 1ns), rs::time_point::max()).how == admission_kind::refused);
    const auto probe = c.circuit.admit(c.moment_at(7s), rs::time_point::max());
    CHECK(probe.how == admission_kind::probe);
    auto held = c.permit();
    held.lease_end = probe.lease_end;
    c.succeed(held, 8s);

    CHECK(c.circuit.state() == circuit_state::closed);
    CHECK(c.circuit.generation() == 4);
    CHECK(c.stats(8s).trips == 1);
}

TEST_CASE("results of an earlier generation change totals only", "[circuit]") {
    circuit_alone c({.consecutive_failures = 2});
    const auto old = c.permit();
    c.circuit.command({circuit_state::closed}, {}, c.moment_at(0s));

    c.fail(c.permit(), 1s);
    c.succeed(old, 1s); // breaks no row
    c.circuit.ignore(old, c.moment_at(1s));
    c.fail(old, 1s); // is in no row
    CHECK(c.circuit.state() == circuit_state::closed);
    CHECK(c.stats(1s).failure_count == 1);
    CHECK(c.stats(1s).success_count == 0);
    CHECK(c.stats(1s).successes == 1);
    CHECK(c.stats(1s).failures == 2);
    CHECK(c.stats(1s).late_results == 3);

    c.fail(c.permit(), 1s);
    CHECK(c.circuit.state() == circuit_state::open);
}

TEST_CASE("a lease that is over is seen by whatever comes next", "[circuit]") {
    circuit_alone c({.failure_threshold = 1, .recovery_timeout = 5s, .probe_lease = 60s});
    c.fail(c.permit(), 0s);
    const auto old = c.permit();
    c.circuit.admit(c.moment_at(5s), rs::time_point::max());
    REQUIRE(c.circuit.state() == circuit_state::half_open);

    SECTION("a success") { c.succeed(old, 65s); }
    SECTION("a failure") { c.fail(old, 65s); }
    SECTION("an ignored result") { c.circuit.ignore(old, c.moment_at(65s)); }

    CHECK(c.circuit.state() == circuit_state::open);
    CHECK(c.circuit.opens_until() == at(70s));
}

TEST_CASE("while bad results wait for calls, successes are judged", "[circuit]") {
    circuit_alone c({.failure_rate_threshold = 0.5, .window = rs::count_window{10}, .minimum_calls = 4});

    c.fail(c.permit(), 0s);
    CHECK(c.circuit.fill() == window_fill::below_minimum_calls);
    c.fail(c.permit(), 0s);
    c.succeed(c.permit(), 0s);
    CHECK(c.circuit.state() == circuit_state::closed);
    c.succeed(c.permit(), 0s);

    CHECK(c.circuit.state() == circuit_state::open);
    CHECK(c.circuit.fill() == window_fill::enough_calls);
}

TEST_CASE("a window that is filled waits no more", "[circuit]") {
    circuit_alone c({.failure_rate_threshold = 0.5, .window = rs::count_window{10}, .minimum_calls = 3});

    c.fail(c.permit(), 0s);
    c.succeed(c.permit(), 0s);
    CHECK(c.circuit.fill() == window_fill::below_minimum_calls);
    c.succeed(c.permit(), 0s);

    CHECK(c.circuit.fill() == window_fill::enough_calls);
    CHECK(c.circuit.state() == circuit_state::closed);
}

TEST_CASE("a success that enters a new bucket finds that old ones have left the window, timed or not",
          "[circuit]") {
    const bool timed = GENERATE(false, true);
    rs::circuit_breaker_config config{
        .failure_rate_threshold = 0.5, .window = rs::time_window{10s}, .minimum_calls = 20};
    if (timed) {
        config.slow_call_duration = 1h;
        config.slow_call_rate_threshold = 1.0;
    }
    circuit_alone c(config);
    for (int i = 0; i < 15; ++i) c.succeed(c.permit(), 0s);
    for (int i = 0; i < 12; ++i) c.fail(c.permit(), 5s);
    REQUIRE(c.circuit.fill() == window_fill::enough_calls); // 12 of 27

    for (int i = 0; i < 7; ++i) c.succeed(c.permit(), 10s + 500ms); // the 15 are gone
    CHECK(c.circuit.fill() == window_fill::below_minimum_calls);
    CHECK(c.circuit.state() == circuit_state::closed);
    c.succeed(c.permit(), 10s + 500ms);

    CHECK(c.circuit.state() == circuit_state::open); // 12 of 20
}

TEST_CASE("slow results are judged by their own rate, failed or not", "[circuit]") {
    circuit_alone c({.slow_call_duration = 1s,
                     .slow_call_rate_threshold = 0.5,
                     .window = rs::count_window{10},
                     .minimum_calls = 4});
    const rs::detail::call_timing slow{.took = 2s, .is_slow = true};
    const rs::detail::call_timing quick{.took = 1ms};

    c.fail(c.permit(), 0s, slow);
    c.succeed(c.permit(), 0s, quick);
    c.succeed(c.permit(), 0s, quick);
    CHECK(c.circuit.state() == circuit_state::closed);
    c.succeed(c.permit(), 0s, slow);

    CHECK(c.circuit.state() == circuit_state::open);
    CHECK(c.stats(0s).slow == 2);
    CHECK(c.stats(0s).latencies->successes.calls() == 3);
    CHECK(c.stats(0s).latencies->failures.calls() == 1);
}

TEST_CASE("a failure that asks for a break trips whatever the rules say", "[circuit]") {
    circuit_alone c({.failure_threshold = 100, .recovery_timeout = 30s});

    c.circuit.fail(c.permit(), {}, {.break_for = 7s}, c.moment_at(1s));

    CHECK(c.circuit.state() == circuit_state::open);
    CHECK(c.circuit.opens_until() == at(8s));
}

TEST_CASE("while disabled results enter totals only", "[circuit]") {
    circuit_alone c({.failure_threshold = 1, .failure_rate_threshold = 0.1, .minimum_calls = 1});
    c.circuit.command({circuit_state::disabled}, "maintenance", c.moment_at(0s));

    c.fail(c.permit(), 1s);
    c.succeed(c.permit(), 1s);

    const auto s = c.stats(1s);
    CHECK(s.state == circuit_state::disabled);
    CHECK(s.failures == 1);
    CHECK(s.successes == 1);
    CHECK(s.failure_count == 0);
    CHECK_FALSE(s.last_error);
    CHECK(s.reason == "maintenance");
}

TEST_CASE("changes are put in as events that say from where, to where, why and after what", "[circuit]") {
    circuit_alone c({.failure_threshold = 2, .recovery_timeout = 5s});
    std::vector<rs::event> heard;
    const auto listening = c.world.reg.subscribe([&](const rs::event& e) { heard.push_back(e); });

    c.succeed(c.permit(), 1s);
    c.fail(c.permit(), 2s);
    c.fail(c.permit(), 3s);
    c.circuit.command({circuit_state::metrics_only}, {}, c.moment_at(4s));
    c.fail(c.permit(), 5s);
    c.fail(c.permit(), 6s);
    c.circuit.command({circuit_state::closed}, "done", c.moment_at(7s));
    CHECK(heard.empty());
    c.events.deliver(c.mutex);

    REQUIRE(heard.size() == 4);
    CHECK(heard[0].kind == event_kind::state_changed);
    CHECK(heard[0].from == circuit_state::closed);
    CHECK(heard[0].to == circuit_state::open);
    CHECK(heard[0].reason == "failure_threshold");
    CHECK(heard[0].failure_count == 2);
    CHECK(heard[0].success_count == 1);
    CHECK(heard[0].delay == 5s);
    CHECK(heard[0].error == "down");
    CHECK(heard[0].generation == 2);
    CHECK(heard[0].at == at(3s));
    CHECK(heard[1].to == circuit_state::metrics_only);
    CHECK(heard[1].reason == "by hand");
    CHECK(heard[1].failure_count == 2);
    CHECK(heard[1].error.empty());
    CHECK(heard[2].kind == event_kind::would_have_tripped);
    CHECK(heard[2].to == circuit_state::metrics_only);
    CHECK(heard[2].failure_count == 2);
    CHECK(heard[2].error == "down");
    CHECK(heard[2].generation == 3);
    CHECK(heard[3].reason == "done");
    CHECK(heard[3].failure_count == 0);
}

TEST_CASE("an update keeps what successes the threads have counted in a time window of another length",
          "[circuit]") {
    rs::circuit_breaker_config config{
        .failure_rate_threshold = 0.5, .window = rs::time_window{60s}, .minimum_calls = 5};
    circuit_alone c(config);
    for (int i = 0; i < 9; ++i) c.succeed(c.permit(), std::chrono::seconds{6 * i});
    c.fail(c.permit(), 54s);
    REQUIRE(c.stats(54s).failure_rate == 0.1);

    config.window = rs::time_window{120s};
    c.circuit.update(config, c.circuit.windows_for(config), c.moment_at(54s));
    CHECK(c.stats(54s).failure_rate == 0.1);
    for (int i = 0; i < 10; ++i) c.succeed(c.permit(), 54s);
    CHECK(c.stats(54s).failure_rate == 0.05);

    config.failure_rate_threshold = 0.05;
    c.circuit.update(config, c.circuit.windows_for(config), c.moment_at(54s));
    CHECK(c.circuit.state() == circuit_state::open);
}

} // namespace
