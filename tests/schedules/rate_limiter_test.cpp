// SPDX-License-Identifier: Apache-2.0
// Calls of a rate limiter that wait, give up and give back while others come.
//
// Breaks of the headers that were made by hand and were found:
//   a call that is stopped while it waits keeps its turn (later_answer_locked() without give_back_locked())
#include "schedules/explore.hpp"
#include "schedules/sleeping_clock.hpp"
#include "schedules/world.hpp"

#include <resilience/rate_limiter.hpp>

#include <chrono>
#include <stop_token>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using schedules::explore;
using schedules::together;

TEST_CASE("a call that is stopped while it waits gives its turn back", "[rate_limiter]") {
    const auto scenario = [] {
        schedules::sleeping_clock clock;
        schedules::half random;
        rs::registry reg(clock, random);
        const rs::rate_limiter guard({.permits = 1, .max_wait = 1h}, reg);
        EXPECT(guard.try_acquire());
        std::stop_source stop;
        bool ran = false;

        together([&] { ran = guard.with({.stop_token = stop.get_token()}).try_call([] {}).has_value(); },
                 [&] { stop.request_stop(); }, [&] { guard.reserve().cancel(); });

        EXPECT(!ran);
        EXPECT(guard.stats().waiting == 0);
        EXPECT(guard.stats().admitted == 2);
        // The turn that was reserved second keeps its moment, and what was before it is lost if it went first.
        const auto next = guard.reserve().ready_in();
        EXPECT(next == 1s || next == 2s);
    };

    explore("a call, a stop request and a reservation", {.random = 4000}, scenario);
}

TEST_CASE("two calls for one permit get one, while a third gives it back", "[rate_limiter]") {
    const auto scenario = [] {
        schedules::sleeping_clock clock;
        schedules::half random;
        rs::registry reg(clock, random);
        const rs::rate_limiter guard({.permits = 1}, reg);
        auto held = guard.reserve();
        int given = 0, more = 0;

        together([&] { given += guard.try_acquire() ? 1 : 0; }, [&] { more += guard.try_acquire() ? 1 : 0; },
                 [&] { held.cancel(); });

        const bool is_left = guard.try_acquire();
        EXPECT(given + more + (is_left ? 1 : 0) == 1);
    };

    explore("try, try, cancel", {.within = {2, 0}}, scenario);
}

} // namespace
