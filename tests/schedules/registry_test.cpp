// SPDX-License-Identifier: Apache-2.0
// Names that several threads make, look for and remove.
//
// Breaks of the headers that were made by hand and were found:
//   the name not looked for again under the lock
//   the room asked for under another lock
#include "schedules/explore.hpp"
#include "schedules/world.hpp"

#include <optional>
#include <stdexcept>

namespace {

namespace rs = resilience;
using schedules::explore;
using schedules::together;
using schedules::world;

TEST_CASE("threads that make a policy of one name at once get one policy", "[registry][H-REG-01][H-CB-27]") {
    const auto scenario = [] {
        world w;
        const auto make = [&] {
            const rs::circuit_breaker mine({.name = "db", .failure_threshold = 5}, w.reg);
            mine.try_acquire()->failure();
        };

        together(make, make);

        EXPECT(w.reg.circuit_breakers().size() == 1);
        EXPECT(w.reg.circuit_breaker("db")->failures == 2);
    };

    explore("two make one name", {.within = {2, 0}}, scenario);
}

TEST_CASE("of two that make one name with unequal configs one is refused", "[registry][H-REG-03]") {
    const auto scenario = [] {
        world w;
        int refused = 0;
        const auto make = [&](unsigned threshold) {
            try {
                const rs::circuit_breaker mine({.name = "db", .failure_threshold = threshold}, w.reg);
            } catch (const std::invalid_argument&) {
                ++refused;
            }
        };

        together([&] { make(1); }, [&] { make(2); });

        EXPECT(refused == 1);
    };

    explore("two configs for one name", {.within = {2, 0}}, scenario);
}

TEST_CASE("a policy that is removed while it is looked for is found whole or not at all",
          "[registry][H-REG-04][H-REG-05]") {
    const auto scenario = [] {
        world w;
        std::optional<rs::circuit_breaker> made(std::in_place, rs::circuit_breaker_config{.name = "db"},
                                                w.reg);
        made.reset(); // the registry alone owns it
        std::optional<rs::circuit_breaker> found;

        together([&] { EXPECT(w.reg.remove("db")); },
                 [&] {
                     found = w.reg.find<rs::circuit_breaker>("db");
                     if (found) found->try_acquire()->success();
                 },
                 [&] { EXPECT(w.reg.health().total_circuits <= 1); });

        if (found) EXPECT(found->stats().successes == 1);
        EXPECT(!w.reg.find<rs::circuit_breaker>("db") && !w.reg.remove("db"));
    };

    explore("remove, find and a report", {.within = {2, 0}}, scenario);
}

TEST_CASE("the last free name is given once", "[registry][H-REG-02]") {
    const auto scenario = [] {
        world w;
        w.reg.set_capacity(1);
        int refused = 0;
        const auto make = [&](const char* name) {
            try {
                const rs::circuit_breaker mine({.name = name}, w.reg);
            } catch (const std::length_error&) {
                ++refused;
            }
        };

        together([&] { make("a"); }, [&] { make("b"); });

        EXPECT(refused == 1 && w.reg.circuit_breakers().size() == 1);
    };

    explore("two names, room for one", {.within = {2, 0}}, scenario);
}

} // namespace
