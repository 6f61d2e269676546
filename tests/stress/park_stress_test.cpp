// SPDX-License-Identifier: Apache-2.0
// Parked calls under threads, in real time: hand-overs that meet limits, stop requests and each other.
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include "support/catch.hpp"
#include "support/turnstile.hpp"

#include <atomic>
#include <chrono>
#include <ctime>
#include <random>
#include <stop_token>
#include <thread>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::turnstile;

double seconds_of_cpu() {
    timespec used{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

TEST_CASE("after hand-overs that met limits and stop requests every place is free", "[stress][park]") {
    constexpr unsigned places = 3;
    rs::registry reg;
    const turnstile gate(places, 1ms);
    const auto guard = rs::retry({.max_attempts = 1}, reg) | gate;
    std::atomic<int> inside{0}, most{0}, ran{0}, refused{0};

    {
        std::vector<std::jthread> threads;
        for (unsigned t = 0; t < 8; ++t) {
            threads.emplace_back([&, t] {
                std::mt19937 random(t);
                for (int i = 0; i < 1'500; ++i) {
                    std::stop_source stop;
                    rs::call_options options;
                    const auto way = random() % 4;
                    if (way == 0) options.deadline = rs::system_time().now() + (random() % 2'000) * 1us;
                    if (way == 1) options.stop_token = stop.get_token();
                    const auto stops = way == 1 ? rs::system_time().call_at(
                                                      rs::system_time().now() + (random() % 2'000) * 1us,
                                                      [&] { stop.request_stop(); })
                                                : rs::timer();
                    const bool done =
                        guard.with(options)
                            .try_call([&] {
                                const int now = ++inside;
                                for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
                                }
                                if (random() % 4 == 0) std::this_thread::sleep_for((random() % 300) * 1us);
                                --inside;
                            })
                            .has_value();
                    ++(done ? ran : refused);
                }
            });
        }
    }

    CHECK(ran + refused == 8 * 1'500);
    CHECK(ran > 0);
    CHECK(refused > 0);
    CHECK(most <= static_cast<int>(places));
    CHECK(gate.free() == places);
    CHECK_FALSE(gate.has_waiters());
}

TEST_CASE("parked threads take no time of a processor, and all are let in", "[stress][park]") {
    rs::registry reg;
    const turnstile gate(1, 1h);
    const auto guard = rs::retry({.max_attempts = 1}, reg) | gate;
    REQUIRE(gate.take());
    std::atomic<int> ran{0};
    {
        std::vector<std::jthread> threads;
        for (unsigned t = 0; t < 100; ++t) threads.emplace_back([&] { guard([&] { ++ran; }); });
        while (gate.asked() < 100) std::this_thread::yield();
        std::this_thread::sleep_for(50ms);
        const double before = seconds_of_cpu();
        std::this_thread::sleep_for(500ms);
        CHECK(seconds_of_cpu() - before < 0.02);
        CHECK(gate.asked() == 100);
        gate.give().now();
    }

    CHECK(ran == 100);
    CHECK(gate.asked() == 200);
    CHECK(gate.free() == 1);
}

TEST_CASE("threads that wait on a virtual clock are woken, or time out with it", "[stress][park]") {
    rs::testing::virtual_clock clock(rs::testing::sleepers::wait);
    rs::registry reg{clock};
    const turnstile gate(1, 1s);
    const auto guard = rs::retry({.max_attempts = 1}, reg) | gate;
    REQUIRE(gate.take());
    std::atomic<int> ran{0}, refused{0};
    {
        std::vector<std::jthread> threads;
        for (unsigned t = 0; t < 4; ++t)
            threads.emplace_back([&] { ++(guard.try_call([] {}).has_value() ? ran : refused); });
        clock.wait_for_sleepers(4);
        clock.advance(1s - 1ns);
        CHECK(ran + refused == 0);
        gate.give().now(); // each hands it on
        while (ran < 4) std::this_thread::yield();
        REQUIRE(gate.take());
        threads.emplace_back([&] { ++(guard.try_call([] {}).has_value() ? ran : refused); });
        clock.wait_for_sleepers(1);
        clock.advance(1s);
    }

    CHECK(ran == 4);
    CHECK(refused == 1);
    CHECK_FALSE(gate.has_waiters());
}

} // namespace
