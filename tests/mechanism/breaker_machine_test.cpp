// SPDX-License-Identifier: Apache-2.0
#include <resilience/mechanism/breaker_machine.hpp>

#include "support/catch.hpp"
#include "support/moment.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <variant>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

using support::at;

/// success_threshold 3, half_open_max_calls 2.
constexpr rs::breaker_limits limits{3, 2, 30s, 60s, std::nullopt};

constexpr rs::half_open_state half(unsigned in_flight, unsigned passed, unsigned openings = 1) {
    return {in_flight, passed, openings};
}
constexpr bool is_half(const rs::breaker_state& s, unsigned in_flight, unsigned passed) {
    if (!std::holds_alternative<rs::half_open_state>(s)) return false;
    const auto& h = std::get<rs::half_open_state>(s);
    return h.in_flight == in_flight && h.passed == passed;
}
constexpr bool is_open(const rs::breaker_state& s, rs::time_point until, unsigned openings) {
    if (!std::holds_alternative<rs::open_state>(s)) return false;
    const auto& o = std::get<rs::open_state>(s);
    return o.until == until && o.openings == openings;
}
constexpr bool is_closed(const rs::breaker_state& s) { return std::holds_alternative<rs::closed_state>(s); }

// The transition table, one line for each state, event and side of a boundary.

// A call wants in.
static_assert(rs::admit(rs::closed_state{}).how == rs::admission_kind::normal);
static_assert(is_closed(rs::admit(rs::closed_state{}).next));
static_assert(rs::admit(rs::open_state{at(10s), 1}, limits, at(10s - 1ns)).how ==
              rs::admission_kind::refused);
static_assert(rs::admit(rs::open_state{at(10s), 1}, limits, at(10s - 1ns)).retry_after == 1ns);
static_assert(is_open(rs::admit(rs::open_state{at(10s), 1}, limits, at(10s - 1ns)).next, at(10s), 1));
static_assert(rs::admit(rs::open_state{at(10s), 1}, limits, at(10s)).how == rs::admission_kind::probe);
static_assert(is_half(rs::admit(rs::open_state{at(10s), 1}, limits, at(10s)).next, 1,
                      0)); // the first probe is counted
static_assert(rs::admit(half(0, 0), limits, at(0s)).how == rs::admission_kind::probe);
static_assert(is_half(rs::admit(half(1, 0), limits, at(0s)).next, 2, 0));
static_assert(rs::admit(half(2, 0), limits, at(0s)).how ==
              rs::admission_kind::refused); // in flight = half_open_max_calls
static_assert(rs::admit(half(1, 1), limits, at(0s)).how == rs::admission_kind::probe);
static_assert(rs::admit(half(1, 2), limits, at(0s)).how ==
              rs::admission_kind::refused); // in flight + passed = success_threshold
static_assert(rs::admit(half(0, 2), limits, at(0s)).how == rs::admission_kind::probe);
static_assert(rs::admit(half(2, 0), limits, at(0s)).retry_after < 0s); // not known
static_assert(rs::admit(rs::manual_state{rs::circuit_state::forced_open}).how == rs::admission_kind::refused);
static_assert(rs::admit(rs::manual_state{rs::circuit_state::disabled}).how == rs::admission_kind::normal);
static_assert(rs::admit(rs::manual_state{rs::circuit_state::metrics_only}).how == rs::admission_kind::normal);

// A probe has its verdict.
static_assert(is_half(rs::after_probe(half(2, 0), rs::verdict::success, limits, at(1s), {}, 0.0), 1, 1));
static_assert(is_half(rs::after_probe(half(1, 1), rs::verdict::success, limits, at(1s), {}, 0.0), 0, 2));
static_assert(is_closed(rs::after_probe(half(1, 2), rs::verdict::success, limits, at(1s), {}, 0.0)));
static_assert(is_half(rs::after_probe(half(2, 1), rs::verdict::ignored, limits, at(1s), {}, 0.0), 1, 1));
static_assert(is_open(rs::after_probe(half(2, 2), rs::verdict::failure, limits, at(1s), {}, 0.0), at(31s),
                      2));
static_assert(is_open(rs::after_probe(half(1, 0), rs::verdict::failure, limits, at(1s), rs::duration{5s},
                                      0.0),
                      at(6s), 2));

// How long it opens for.
static_assert(is_open(rs::next_opening(0, limits, at(1s), {}, 0.0), at(31s), 1));
static_assert(is_open(rs::next_opening(0, limits, at(1s), rs::duration{-5s}, 0.0), at(1s), 1));
static_assert(is_open(rs::next_opening(~0U, limits, at(1s), {}, 0.0), at(31s), ~0U));

// The name of a state.
constexpr rs::breaker_state states[] = {rs::closed_state{}, rs::open_state{}, half(0, 0),
                                        rs::manual_state{rs::circuit_state::disabled}};
static_assert(rs::name_of(states[0]) == rs::circuit_state::closed);
static_assert(rs::name_of(states[1]) == rs::circuit_state::open);
static_assert(rs::name_of(states[2]) == rs::circuit_state::half_open);
static_assert(rs::name_of(states[3]) == rs::circuit_state::disabled);

/// A machine that is half-open with one probe in flight, admitted at `now`.
rs::breaker_machine half_open_at(rs::time_point now, rs::breaker_machine::permission& probe,
                                 rs::time_point deadline = rs::time_point::max()) {
    rs::breaker_machine machine;
    machine.trip(limits, now - 30s, {}, 0.0);
    probe = machine.admit(limits, now, deadline);
    return machine;
}

TEST_CASE("a machine begins closed, in generation 1, and lets every call in", "[breaker_machine]") {
    rs::breaker_machine machine;

    const auto given = machine.admit(limits, at(0s), rs::time_point::max());

    CHECK(machine.state() == rs::circuit_state::closed);
    CHECK(machine.generation() == 1);
    CHECK(given.how == rs::admission_kind::normal);
    CHECK_FALSE(given.change);
    CHECK(machine.opens_until() == rs::time_point::max());
}

TEST_CASE("opening, the first probe and one change of state are a single step",
          "[breaker_machine][H-CB-07]") {
    rs::breaker_machine machine;
    const auto tripped = machine.trip(limits, at(0s), {}, 0.0);
    REQUIRE(tripped);
    CHECK(tripped->from == rs::circuit_state::closed);
    CHECK(tripped->to == rs::circuit_state::open);
    CHECK(tripped->generation == 2);
    CHECK(machine.opens_until() == at(30s));

    const auto early = machine.admit(limits, at(30s - 1ns), rs::time_point::max());
    CHECK(early.how == rs::admission_kind::refused);
    CHECK_FALSE(early.change);

    const auto first = machine.admit(limits, at(30s), rs::time_point::max());
    CHECK(first.how == rs::admission_kind::probe);
    REQUIRE(first.change);
    CHECK(first.change->to == rs::circuit_state::half_open);
    CHECK(first.change->generation == 3);
    CHECK(machine.probes_in_flight() == 1);

    const auto second = machine.admit(limits, at(30s), rs::time_point::max());
    CHECK(second.how == rs::admission_kind::probe);
    CHECK_FALSE(second.change);
    CHECK(machine.admit(limits, at(30s), rs::time_point::max()).how == rs::admission_kind::refused);
}

TEST_CASE("a recovery_timeout of 0 makes the next call a probe, without recursion",
          "[breaker_machine][H-CB-22]") {
    rs::breaker_limits none = limits;
    none.recovery_timeout = 0s;
    rs::breaker_machine machine;
    machine.trip(none, at(0s), {}, 0.0);

    for (int round = 0; round < 1000; ++round) {
        const auto probe = machine.admit(none, at(0s), rs::time_point::max());
        REQUIRE(probe.how == rs::admission_kind::probe);
        machine.settle(rs::verdict::failure, probe.lease_end, none, at(0s), {}, 0.0);
        REQUIRE(machine.state() == rs::circuit_state::open);
    }
    CHECK(machine.generation() == 2 + 2 * 1000);
}

TEST_CASE("an opening that would end beyond the end of time lasts for ever", "[breaker_machine][H-CB-23]") {
    rs::breaker_limits endless = limits;
    endless.recovery_timeout = rs::duration::max();
    rs::breaker_machine machine;

    machine.trip(endless, at(100s), {}, 0.0);

    CHECK(machine.opens_until() == rs::time_point::max());
    CHECK(machine.admit(endless, at(24h * 365 * 100), rs::time_point::max()).how ==
          rs::admission_kind::refused);
}

TEST_CASE("recovery_backoff grows each opening in a row up to its cap, and starts over after a recovery",
          "[breaker_machine][H-CB-23][H-CB-24]") {
    rs::breaker_limits growing = limits;
    growing.success_threshold = 1;
    growing.half_open_max_calls = 1;
    growing.backoff = rs::recovery_backoff{.multiplier = 2.0, .cap = 150s};
    rs::breaker_machine machine;
    rs::time_point now = at(0s);
    const auto probe = [&](rs::verdict v) {
        now = machine.opens_until();
        const auto given = machine.admit(growing, now, rs::time_point::max());
        machine.settle(v, given.lease_end, growing, now, {}, 0.0);
    };
    const auto lasts = [&] { return machine.opens_until() - now; };

    machine.trip(growing, now, {}, 0.0);
    CHECK(lasts() == 30s);
    for (const rs::duration expected : {60s, 120s, 150s, 150s}) {
        probe(rs::verdict::failure);
        CHECK(lasts() == expected);
    }
    for (int i = 0; i < 5000; ++i) probe(rs::verdict::failure);
    CHECK(lasts() == 150s);

    probe(rs::verdict::success);
    REQUIRE(machine.state() == rs::circuit_state::closed);
    machine.trip(growing, now, {}, 0.0);
    CHECK(lasts() == 30s);
}

TEST_CASE("an ignored probe does not reset the growth of recovery_backoff", "[breaker_machine][H-CB-24]") {
    rs::breaker_limits growing = limits;
    growing.backoff = rs::recovery_backoff{.multiplier = 2.0, .cap = 1h};
    rs::breaker_machine machine;
    machine.trip(growing, at(0s), {}, 0.0);
    auto probe = machine.admit(growing, at(30s), rs::time_point::max());
    machine.settle(rs::verdict::ignored, probe.lease_end, growing, at(30s), {}, 0.0);

    probe = machine.admit(growing, at(30s), rs::time_point::max());
    machine.settle(rs::verdict::failure, probe.lease_end, growing, at(30s), {}, 0.0);

    CHECK(machine.opens_until() == at(90s));
}

TEST_CASE("the jitter of recovery_backoff goes by the number that was drawn", "[breaker_machine]") {
    rs::breaker_limits shaken = limits;
    shaken.backoff = rs::recovery_backoff{.multiplier = 2.0, .cap = 1h, .jitter = rs::jitter::equal};
    rs::breaker_machine low;
    rs::breaker_machine high;

    low.trip(shaken, at(0s), {}, 0.0);
    high.trip(shaken, at(0s), {}, 0.5);

    CHECK(low.opens_until() == at(15s));
    CHECK(high.opens_until() == at(22s + 500ms));
}

TEST_CASE("a probe's lease ends after probe_lease, and the circuit opens again as of that moment",
          "[breaker_machine][H-CB-02]") {
    rs::breaker_machine::permission probe;
    rs::breaker_machine machine = half_open_at(at(100s), probe);
    CHECK(probe.lease_end == at(160s));

    CHECK_FALSE(machine.expire(limits, at(160s - 1ns), 0.0));
    const auto change = machine.expire(limits, at(170s), 0.0);

    REQUIRE(change);
    CHECK(change->from == rs::circuit_state::half_open);
    CHECK(change->to == rs::circuit_state::open);
    CHECK(machine.opens_until() == at(190s));
    CHECK_FALSE(machine.expire(limits, at(1h), 0.0));
}

TEST_CASE("a lease that is exactly over has expired", "[breaker_machine][H-CB-02]") {
    rs::breaker_machine::permission probe;
    rs::breaker_machine machine = half_open_at(at(100s), probe);

    CHECK(machine.expire(limits, at(160s), 0.0));
}

TEST_CASE("a lease never ends before the probe's own deadline", "[breaker_machine][H-CB-14]") {
    rs::breaker_machine::permission probe;
    rs::breaker_machine machine = half_open_at(at(100s), probe, at(200s));
    CHECK(probe.lease_end == at(200s));
    CHECK_FALSE(machine.expire(limits, at(200s - 1ns), 0.0));
    CHECK(machine.expire(limits, at(200s), 0.0));

    half_open_at(at(100s), probe, at(110s));
    CHECK(probe.lease_end == at(160s));
}

TEST_CASE("a settled probe's lease never expires, another one's does", "[breaker_machine][H-CB-02]") {
    rs::breaker_machine::permission first;
    rs::breaker_machine machine = half_open_at(at(100s), first);
    const auto second = machine.admit(limits, at(110s), rs::time_point::max());
    machine.settle(rs::verdict::success, first.lease_end, limits, at(120s), {}, 0.0);

    CHECK_FALSE(machine.expire(limits, at(170s - 1ns), 0.0));
    CHECK(machine.expire(limits, second.lease_end, 0.0));
}

TEST_CASE("a command begins a new generation, even into the state that it was in",
          "[breaker_machine][H-CB-18]") {
    rs::breaker_machine machine;

    CHECK(machine.command(rs::closed_state{}).generation == 2);
    const auto forced = machine.command(rs::manual_state{rs::circuit_state::forced_open});
    CHECK(forced.from == rs::circuit_state::closed);
    CHECK(forced.to == rs::circuit_state::forced_open);
    CHECK(forced.generation == 3);
    CHECK(machine.command(rs::manual_state{rs::circuit_state::forced_open}).generation == 4);
}

TEST_CASE("states set by hand are left by hand only", "[breaker_machine][H-CB-21][H-CB-26]") {
    const auto which = GENERATE(rs::circuit_state::forced_open, rs::circuit_state::disabled,
                                rs::circuit_state::metrics_only);
    rs::breaker_machine::permission probe;
    rs::breaker_machine machine = half_open_at(at(100s), probe);
    machine.command(rs::manual_state{which});

    CHECK_FALSE(machine.settle(rs::verdict::failure, probe.lease_end, limits, at(101s), {}, 0.0));
    CHECK_FALSE(machine.settle(rs::verdict::success, probe.lease_end, limits, at(101s), {}, 0.0));
    CHECK_FALSE(machine.expire(limits, at(24h), 0.0));
    CHECK_FALSE(machine.admit(limits, at(24h), rs::time_point::max()).change);
    CHECK(machine.state() == which);
}

TEST_CASE("a new success_threshold that has been reached already closes the circuit",
          "[breaker_machine][H-CB-10]") {
    rs::breaker_machine::permission probe;
    rs::breaker_machine machine = half_open_at(at(100s), probe);
    machine.settle(rs::verdict::success, probe.lease_end, limits, at(100s), {}, 0.0);
    rs::breaker_limits easier = limits;

    easier.success_threshold = 2;
    CHECK_FALSE(machine.rejudge(easier, at(100s), 0.0));
    easier.success_threshold = 1;
    const auto change = machine.rejudge(easier, at(100s), 0.0);

    REQUIRE(change);
    CHECK(change->to == rs::circuit_state::closed);
}

TEST_CASE("whatever happens, the machine keeps its limits and numbers its changes without gaps",
          "[breaker_machine][H-CB-13][H-CB-20]") {
    std::mt19937 random{7}; // NOLINT(cert-msc32-c,cert-msc51-cpp): the same history every time
    rs::breaker_machine machine;
    std::vector<rs::time_point> probes;
    rs::time_point now = at(0s);
    std::uint64_t generation = 1;
    rs::circuit_state last = machine.state();
    const auto seen = [&](const std::optional<rs::transition>& change) {
        if (!change) return;
        REQUIRE(change->generation == ++generation);
        REQUIRE(change->from == last);
        REQUIRE(change->to == machine.state());
        last = change->to;
        probes.clear();
    };

    for (int i = 0; i < 100'000; ++i) {
        now += std::chrono::seconds{random() % 8};
        seen(machine.expire(limits, now, 0.0));
        switch (random() % 8) {
        case 0:
            if (machine.state() == rs::circuit_state::closed) seen(machine.trip(limits, now, {}, 0.0));
            break;
        case 1:
            if (random() % 64 == 0) seen(machine.command(rs::closed_state{}));
            break;
        case 2:
        case 3:
        case 4: {
            const auto given = machine.admit(limits, now, rs::time_point::max());
            seen(given.change);
            if (given.how == rs::admission_kind::probe) probes.push_back(given.lease_end);
            break;
        }
        default: {
            if (probes.empty()) break;
            const rs::time_point lease = probes.back();
            probes.pop_back();
            const auto v = random() % 6;
            const auto change = machine.settle(v == 0   ? rs::verdict::failure
                                               : v == 1 ? rs::verdict::ignored
                                                        : rs::verdict::success,
                                               lease, limits, now, {}, 0.0);
            seen(change);
        }
        }
        REQUIRE(machine.generation() == generation);
        REQUIRE(machine.probes_in_flight() == probes.size());
        REQUIRE(machine.probes_in_flight() <= limits.half_open_max_calls);
        REQUIRE(machine.probes_in_flight() + machine.probes_passed() <= limits.success_threshold);
    }
    CHECK(generation > 1000);
}

} // namespace
