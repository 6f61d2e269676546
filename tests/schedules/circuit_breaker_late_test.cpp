// SPDX-License-Identifier: Apache-2.0
// Results that come while the circuit changes its state, or after: they change totals and nothing else.
//
// Breaks of the headers that were made by hand and were found:
//   late successes, or late failures, not told from others under the lock
//   positions closed after the window is cleared (was so: a late success was in the cleared window)
//   waiting for calls not part of the position, or the window not looked at again (was so: nobody judged)
//   one counter for the successes of all generations (was so: a late success broke a row of failures)
//   time window: stripes not renumbered at a change; a bucket entered without a look at the generation
#include "schedules/explore.hpp"
#include "schedules/world.hpp"

#include <cstdint>
#include <optional>
#include <system_error>

namespace {

namespace rs = resilience;
using rs::circuit_state;
using schedules::explore;
using schedules::together;
using schedules::world;
using namespace std::chrono_literals;

rs::circuit_breaker_config by_count(unsigned minimum_calls) {
    return {.recovery_timeout = 1s,
            .failure_rate_threshold = 0.5,
            .window = rs::count_window{8},
            .minimum_calls = minimum_calls};
}
rs::circuit_breaker_config by_time(unsigned minimum_calls) {
    auto config = by_count(minimum_calls);
    config.window = rs::time_window{10s};
    return config;
}

TEST_CASE("a success that ends while its circuit is reset is not in the cleared window",
          "[circuit_breaker][H-CB-15][H-CB-16]") {
    const auto scenario = [](const rs::circuit_breaker_config& config) {
        return [=] {
            world w;
            const rs::circuit_breaker breaker(config, w.reg);
            auto old = breaker.try_acquire();

            together(
                [&] {
                    breaker.try_acquire()->success(); // gives the thread a stripe of its own
                    old->success();
                    breaker.try_acquire()->success();
                },
                [&] { breaker.reset(); });

            breaker.try_acquire()->failure();
            const auto s = breaker.stats();
            EXPECT(s.calls == 4 && s.successes == 3 && s.failures == 1);
            EXPECT(s.late_results <= 2 && s.success_count <= 2); // the old success never counts
            EXPECT(s.failure_rate == 1.0 / (1.0 + static_cast<double>(s.success_count)));
        };
    };

    explore("success and reset, count window", {}, scenario(by_count(8)));
    explore("success and reset, time window", {}, scenario(by_time(8)));
}

TEST_CASE("a success that ends while its circuit trips or is forced open changes totals only",
          "[circuit_breaker][H-CB-15][H-CB-21]") {
    const auto scenario = [](const rs::circuit_breaker_config& config, bool by_hand) {
        return [=] {
            world w;
            const rs::circuit_breaker breaker(config, w.reg);
            auto old = breaker.try_acquire();
            auto bad = breaker.try_acquire();

            together([&] { old->success(); },
                     [&] {
                         if (by_hand) breaker.force_open();
                         else bad->failure();
                     });

            const auto s = breaker.stats();
            EXPECT(s.state == (by_hand ? circuit_state::forced_open : circuit_state::open));
            EXPECT(s.generation == 2 && s.successes == 1);
            if (by_hand) return;
            EXPECT(s.trips == 1 && s.retry_after == 1s);
            w.clock.advance(1s);
            auto probe = breaker.try_acquire();
            EXPECT(probe);
            probe->success();
            EXPECT(breaker.state() == circuit_state::closed);
            EXPECT(breaker.stats().successes == 2);
        };
    };
    rs::circuit_breaker_config in_a_row{
        .success_threshold = 1, .recovery_timeout = 1s, .consecutive_failures = 1};
    auto by_rate = by_count(1);
    by_rate.success_threshold = 1;

    explore("success and trip, row", {}, scenario(in_a_row, false));
    explore("success and force_open, row", {}, scenario(in_a_row, true));
    explore("success and trip, rate", {}, scenario(by_rate, false));
    explore("success and force_open, rate", {}, scenario(by_rate, true));
}

TEST_CASE("a success from before a reset does not break a row of failures after it",
          "[circuit_breaker][H-CB-15]") {
    const auto scenario = [] {
        world w;
        const rs::circuit_breaker breaker({.recovery_timeout = 1s, .consecutive_failures = 2}, w.reg);
        auto old = breaker.try_acquire();

        together([&] { old->success(); },
                 [&] {
                     breaker.reset();
                     breaker.try_acquire()->failure();
                     breaker.try_acquire()->failure();
                 });

        EXPECT(breaker.state() == circuit_state::open);
        EXPECT(breaker.stats().successes == 1);
    };

    explore("success, reset and a row of failures", {}, scenario);
}

TEST_CASE("whichever of a success and a failure brings the window to minimum_calls, the rules are judged",
          "[circuit_breaker]") {
    const auto scenario = [](const rs::circuit_breaker_config& config) {
        return [=] {
            world w;
            const rs::circuit_breaker breaker(config, w.reg);
            auto good = breaker.try_acquire();
            auto bad = breaker.try_acquire();

            together([&] { good->success(); }, [&] { bad->failure(); });

            EXPECT(breaker.state() == circuit_state::open); // one of two failed
        };
    };

    explore("the last call that minimum_calls waits for, count window", {}, scenario(by_count(2)));
    explore("the last call that minimum_calls waits for, time window", {}, scenario(by_time(2)));
}

TEST_CASE("late failures neither trip again nor move the end of the open state",
          "[circuit_breaker][H-CB-16][H-CB-20]") {
    const auto scenario = [] {
        world w;
        int told = 0;
        const rs::circuit_breaker breaker({.failure_threshold = 1,
                                           .recovery_timeout = 1s,
                                           .on_state_change = [&](const rs::event&) { ++told; }},
                                          w.reg);
        auto one = breaker.try_acquire();
        auto two = breaker.try_acquire();

        together([&] { one->failure(); }, [&] { two->failure(); });

        const auto s = breaker.stats();
        EXPECT(s.generation == 2 && s.trips == 1 && told == 1);
        EXPECT(s.failures == 2 && s.late_results == 1);
        EXPECT(s.retry_after == 1s);
    };

    explore("two failures, each enough", {}, scenario);
}

} // namespace
