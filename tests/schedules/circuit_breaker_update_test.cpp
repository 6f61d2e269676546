// SPDX-License-Identifier: Apache-2.0
// Configs that are replaced, and circuits that are opened, while calls are in flight.
//
// Breaks of the headers that were made by hand and were found:
//   version and config read in two steps (was so: a call was judged by a config that came after it)
//   the config's pointer stored, or loaded, relaxed; the circuit's word stored, or loaded, relaxed
//   the end of the open state written after the word
#include "schedules/explore.hpp"
#include "schedules/world.hpp"

#include <resilience/detail/config_cell.hpp>

#include <optional>
#include <stdexcept>
#include <utility>

namespace {

namespace rs = resilience;
using rs::circuit_state;
using schedules::explore;
using schedules::plain;
using schedules::together;
using schedules::world;
using namespace std::chrono_literals;

TEST_CASE("a config that is replaced is seen whole, and stays as long as anybody uses it",
          "[config_cell][H-CB-25][H-CPP-14]") {
    struct config {
        plain<int> first;
        plain<int> second;
    };
    const auto scenario = [] {
        rs::detail::config_cell<config> cell(config{plain(0), plain(0)});
        const auto read = [&] {
            int before = 0;
            for (int i = 0; i < 2; ++i) {
                const config& now = cell.get();
                EXPECT(now.second.get() == 10 * now.first.get());
                EXPECT(now.first.get() >= before);
                before = now.first.get();
            }
        };
        together(
            [&] {
                for (int i = 1; i <= 3; ++i) cell.replace(config{plain(i), plain(10 * i)});
            },
            read, read);
        EXPECT(cell.get().first.get() == 3 && cell.declared().first.get() == 0);
    };

    explore("replace and two readers", {.within = {2, 2}}, scenario);
}

TEST_CASE("a call in flight is judged by the config that it began under", "[circuit_breaker][H-CB-25]") {
    const auto scenario = [] {
        world w;
        const rs::circuit_breaker_config counts{.failure_threshold = 2};
        auto ignores = counts;
        ignores.ignore_if = [](const rs::failure&) { return true; };
        const rs::circuit_breaker breaker(counts, w.reg);
        auto old = breaker.try_acquire();
        rs::outcome<int> failed;
        failed.fail(rs::failure(std::make_exception_ptr(std::runtime_error("down"))));

        together([&] { old->settle(failed); }, [&] { breaker.update(ignores); });

        EXPECT(breaker.stats().failures == 1);
        breaker.try_acquire()->settle(failed);
        EXPECT(breaker.stats().failures == 1 && breaker.stats().ignored == 1);
    };

    explore("settle and update", {}, scenario);
}

TEST_CASE("who sees a circuit open sees when that will end", "[circuit_breaker][H-CPP-14]") {
    const auto scenario = [] {
        world w;
        const rs::circuit_breaker breaker({}, w.reg);
        breaker.open_for(1h);
        breaker.reset();

        together([&] { breaker.open_for(1s); },
                 [&] {
                     const auto out = breaker.try_call([] {});
                     EXPECT(out.has_value() || out.error().retry_after() == 1s);
                 });
    };

    explore("open_for and a caller", {.within = {2, 2}}, scenario);
}

} // namespace
