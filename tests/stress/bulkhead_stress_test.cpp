// SPDX-License-Identifier: Apache-2.0
// Bulkheads under threads, in real time, and beside their oracle for a long time.
#include <resilience/bulkhead.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

#include "support/bulkhead_oracle.hpp"
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <deque>
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

TEST_CASE("a million calls that wait at once and give up leave an empty queue", "[stress][bulkhead]") {
    rs::detail::bulkhead_room room;
    const rs::bulkhead_config config{.max_concurrent = 1, .max_queue = 2'000'000, .max_wait = 1h};
    const rs::time_point now{1'000s};
    rs::detail::bulkhead_entry first;
    room.enter(first, now, rs::time_point::max(), config);
    std::deque<rs::detail::bulkhead_entry> all;
    constexpr std::uint32_t count = SANITIZED_THREAD || SANITIZED_ADDRESS ? 100'000 : 1'000'000; // memory
    for (std::uint32_t i = 0; i < count; ++i) {
        auto& e = all.emplace_back();
        e.level = static_cast<rs::priority>(i % 5);
        room.enter(e, now + rs::duration{i}, rs::time_point::max(), config);
    }
    CHECK(room.queued() == count);
    std::mt19937 random(1);
    for (std::size_t i = all.size(); i > 1; --i) room.leave(all[random() % i]), room.leave(all[i - 1]);
    room.leave(all[0]);
    CHECK(room.queued() == 0);
    CHECK(room.next(now + 1s, config) == nullptr);
}

TEST_CASE("a hundred threads that wait use no processor", "[stress][bulkhead]") {
    rs::registry reg;
    const rs::bulkhead gate({.max_concurrent = 1, .max_queue = 100, .max_wait = 60s}, reg);
    auto held = gate.try_acquire();
    std::vector<std::jthread> threads;
    for (int t = 0; t < 100; ++t) threads.emplace_back([&] { (void)gate.try_call([] {}); });
    while (gate.stats().queued < 100) std::this_thread::yield();
    const std::clock_t before = std::clock(); // processor time
    std::this_thread::sleep_for(300ms);
    const double used = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
    held.reset();
    threads.clear();

    CHECK(used < 0.1);
    CHECK(gate.stats().running == 0);
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
