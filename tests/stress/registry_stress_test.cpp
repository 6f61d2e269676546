// SPDX-License-Identifier: Apache-2.0
// Threads that look for policies while others make and remove them.
#include <resilience/circuit_breaker.hpp>
#include <resilience/registry.hpp>

#include "support/catch.hpp"

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace rs = resilience;

TEST_CASE("a policy is found whole or not at all while names come and go", "[stress][registry][H-REG-01]") {
    rs::registry reg;
    const rs::circuit_breaker stays({.name = "stays"}, reg);
    std::atomic<bool> end{false}, sound{true};
    std::vector<std::thread> readers;
    for (unsigned t = 0; t < 3; ++t) {
        readers.emplace_back([&, t] {
            for (unsigned i = t; !end; ++i) {
                const auto always = reg.find<rs::circuit_breaker>("stays");
                if (!always || always->name() != "stays") sound = false;
                const std::string name = "comes " + std::to_string(i % 40);
                const auto found = reg.find<rs::circuit_breaker>(name);
                if (found && (found->name() != name || !found->try_call([] {}))) sound = false;
            }
        });
    }

    for (unsigned i = 0; i < 1500; ++i) { // the table grows, and its places change hands
        const std::string name = "comes " + std::to_string(i * 7 % 40);
        std::optional<rs::circuit_breaker> made(std::in_place, rs::circuit_breaker_config{.name = name}, reg);
        made.reset();
        if (i % 3 == 0) reg.remove("comes " + std::to_string(i * 11 % 40));
    }
    end = true;
    for (auto& t : readers) t.join();

    CHECK(sound);
}

TEST_CASE("of threads that make one name at once all get one policy, and find it", "[stress][registry]") {
    rs::registry reg;
    std::atomic<bool> sound{true};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (unsigned i = 0; i < 400; ++i) {
                const std::string name = std::to_string(i);
                const rs::circuit_breaker mine({.name = name}, reg);
                (void)mine.try_call([] {});
                if (!reg.find<rs::circuit_breaker>(name)) sound = false;
            }
        });
    }
    for (auto& t : threads) t.join();

    CHECK(sound);
    CHECK(reg.listed().size() == 400);
    for (const auto& one : reg.circuit_breakers()) sound = sound && one.successes == 4;
    CHECK(sound);
}

} // namespace
