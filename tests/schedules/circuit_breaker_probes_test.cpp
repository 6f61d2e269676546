// SPDX-License-Identifier: Apache-2.0
// The end of recovery_timeout, and what becomes of probes.
//
// Breaks of the headers that were made by hand and were found:
//   admission judged by the state seen before the lock
//   a change of state told again by each probe
#include "schedules/explore.hpp"
#include "schedules/world.hpp"

#include <optional>
#include <vector>

namespace {

namespace rs = resilience;
using rs::circuit_state;
using schedules::explore;
using schedules::together;
using schedules::world;
using namespace std::chrono_literals;

/// Changes of state in the order in which they are told.
struct changes {
    void operator()(const rs::event& e) {
        EXPECT(e.generation == last + 1);
        EXPECT(e.from == state);
        last = e.generation;
        state = e.to;
        half_opened += e.to == circuit_state::half_open ? 1 : 0;
        opened += e.to == circuit_state::open ? 1 : 0;
    }
    std::uint64_t last = 1;
    circuit_state state = circuit_state::closed;
    int half_opened = 0;
    int opened = 0;
};

TEST_CASE(
    "of two or three callers that come as recovery_timeout ends, as many are admitted as there are places",
    "[circuit_breaker][H-CB-06][H-CB-07][H-CB-20]") {
    const auto arrivals = [](unsigned places, unsigned callers) {
        return [=] {
            world w;
            changes told;
            const rs::circuit_breaker breaker({.success_threshold = 3,
                                               .recovery_timeout = 1s,
                                               .half_open_max_calls = places,
                                               .on_state_change = std::ref(told)},
                                              w.reg);
            breaker.open_for(1s);
            w.clock.advance(1s);
            std::vector<std::optional<rs::permit>> permits(callers);
            const auto arrive = [&](unsigned i) { return [&, i] { permits[i] = breaker.try_acquire(); }; };

            if (callers == 2) together(arrive(0), arrive(1));
            else together(arrive(0), arrive(1), arrive(2));

            unsigned admitted = 0;
            for (const auto& p : permits) admitted += p ? 1 : 0;
            EXPECT(admitted == places);
            EXPECT(breaker.state() == circuit_state::half_open);
            EXPECT(breaker.stats().rejected == callers - places);
            EXPECT(told.half_opened == 1 && told.last == 3);
        };
    };

    explore("two callers, one place", {.within = {3, 1}}, arrivals(1, 2));
    explore("three callers, two places", {.within = {2, 0}}, arrivals(2, 3));
    explore("three callers, two places", {.random = 2000}, arrivals(2, 3));
}

TEST_CASE("of a probe that passes and one that fails at once, the failure decides, whoever is first",
          "[circuit_breaker][H-CB-17][H-CB-20]") {
    const auto scenario = [] {
        world w;
        changes told;
        const rs::circuit_breaker breaker({.success_threshold = 2,
                                           .recovery_timeout = 1s,
                                           .half_open_max_calls = 2,
                                           .on_state_change = std::ref(told)},
                                          w.reg);
        breaker.open_for(1s);
        w.clock.advance(1s);
        auto passes = breaker.try_acquire();
        auto fails = breaker.try_acquire();

        together([&] { passes->success(); }, [&] { fails->failure(); });

        const auto s = breaker.stats();
        EXPECT(s.state == circuit_state::open && s.retry_after == 1s);
        EXPECT(s.successes == 1 && s.failures == 1 && s.late_results <= 1);
        EXPECT(told.opened == 2 && told.last == 4);
    };

    explore("a probe passes, another fails", {}, scenario);
}

TEST_CASE("a place that a probe gives back is taken once", "[circuit_breaker][H-CB-01][H-CB-06]") {
    const auto scenario = [] {
        world w;
        const rs::circuit_breaker breaker(
            {.success_threshold = 2, .recovery_timeout = 1s, .half_open_max_calls = 1}, w.reg);
        breaker.open_for(1s);
        w.clock.advance(1s);
        auto probe = breaker.try_acquire();
        std::optional<rs::permit> one;
        std::optional<rs::permit> two;

        together([&] { probe.reset(); }, [&] { one = breaker.try_acquire(); },
                 [&] { two = breaker.try_acquire(); });

        EXPECT(!(one && two));
        const bool is_free = !one && !two;
        EXPECT(breaker.try_acquire().has_value() == is_free);
        EXPECT(breaker.stats().ignored == (is_free ? 2 : 1));
    };

    explore("a probe is given up, two others come", {.within = {2, 0}}, scenario);
}

} // namespace
