// SPDX-License-Identifier: Apache-2.0
// Bulkheads under threads, in real time, and beside their oracle for a long time.
#include <resilience/bulkhead.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

#include "support/bulkhead_oracle.hpp"
#include "support/catch.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

TEST_CASE("a bulkhead does what its rules say, a million things long", "[stress][bulkhead]") {
    for (std::uint32_t seed = 1'000; seed < 3'000; ++seed) {
        const std::string difference = support::bulkhead_differs(seed, 500);
        if (!difference.empty()) FAIL(difference);
    }
    SUCCEED();
}

TEST_CASE("after all limits, stop requests, evictions and updates every place is free",
          "[stress][bulkhead]") {
    for (const auto order : {rs::queue_order::fifo, rs::queue_order::lifo, rs::queue_order::adaptive}) {
        rs::registry reg;
        const rs::bulkhead_config config{
            .max_concurrent = 3, .max_queue = 4, .max_wait = 1ms, .order = order, .codel_target = 200us};
        const rs::bulkhead gate(config, reg);
        const auto guard = rs::retry({.max_attempts = 1}, reg) | gate;
        std::atomic<int> inside{0}, most{0};
        constexpr int calls = 1'000;
        std::atomic<bool> is_over{false};
        std::jthread updates([&] {
            for (unsigned i = 0; !is_over; ++i) {
                auto changed = config;
                changed.max_concurrent = 1 + i % 3;
                gate.update(changed);
                std::this_thread::sleep_for(1ms);
            }
        });
        {
            std::vector<std::jthread> threads;
            for (unsigned t = 0; t < 8; ++t) {
                threads.emplace_back([&, t] {
                    std::mt19937 random(t);
                    for (int i = 0; i < calls; ++i) {
                        std::stop_source stop;
                        rs::call_options options{.priority = static_cast<rs::priority>(random() % 5)};
                        const auto way = random() % 4;
                        const auto soon = rs::system_time().now() + (random() % 2'000) * 1us;
                        if (way == 0) options.deadline = soon;
                        if (way == 1) options.stop_token = stop.get_token();
                        const auto stops = way == 1
                                               ? rs::system_time().call_at(soon, [&] { stop.request_stop(); })
                                               : rs::timer();
                        (void)guard.with(options).try_call([&] {
                            const int now = ++inside;
                            for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {}
                            if (random() % 4 == 0) std::this_thread::sleep_for((random() % 300) * 1us);
                            --inside;
                        });
                    }
                });
            }
        }
        is_over = true;
        updates.join();

        const auto s = gate.stats();
        CHECK(most <= 3);
        CHECK(s.max_running <= 3);
        CHECK(s.running == 0);
        CHECK(s.queued == 0);
        CHECK(s.admitted > 0);
        CHECK(s.rejected > 0);
        // A call that was over before it began asked no policy.
        CHECK(s.admitted + s.rejected + s.cancelled <= 8 * calls);
        gate.update(config);
        std::vector<std::optional<rs::bulkhead::permit>> all;
        for (int i = 0; i < 3; ++i) all.push_back(gate.try_acquire());
        for (const auto& each : all) CHECK(each);
    }
}

} // namespace
