// SPDX-License-Identifier: Apache-2.0
// Rate limiters under threads, in real time, and their meters beside models for a long time.
#include <resilience/pipeline.hpp>
#include <resilience/rate_limiter.hpp>
#include <resilience/retry.hpp>

#include "support/catch.hpp"
#include "support/rate_oracle.hpp"
#include "support/sanitizers.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

TEST_CASE("a bucket does what a bucket of exact fractions does, a million things long",
          "[stress][rate_limiter]") {
    for (std::uint32_t seed = 1'000; seed < 5'000; ++seed) {
        const std::string difference = support::meter_differs(seed, 500);
        if (!difference.empty()) FAIL(difference);
    }
    SUCCEED();
}

TEST_CASE("threads that take, reserve, wait, give back and update never have more than the rate",
          "[stress][rate_limiter]") {
    for (const auto kind : {rs::limiter::token_bucket, rs::limiter::sliding_window, rs::limiter::smooth}) {
        rs::registry reg;
        rs::rate_limiter_config config{.permits = 20'000, .max_wait = 2ms};
        config.kind = kind;
        const rs::rate_limiter guard(config, reg);
        const auto calls = rs::retry({.max_attempts = 1}, reg) | guard;
        std::atomic<std::uint64_t> ran{0}, taken{0};
        std::atomic<bool> is_over{false};
        const auto begun = rs::system_time().now();
        std::vector<std::jthread> threads;
        for (unsigned t = 0; t < 6; ++t) {
            threads.emplace_back([&, t] {
                std::mt19937 random(t);
                while (!is_over) {
                    const auto way = random() % 8;
                    std::stop_source stop;
                    rs::call_options options;
                    const auto soon = rs::system_time().now() + (random() % 2'000) * 1us;
                    if (way == 0) options.deadline = soon;
                    if (way == 1) options.stop_token = stop.get_token();
                    const auto stops = way == 1
                                           ? rs::system_time().call_at(soon, [&] { stop.request_stop(); })
                                           : rs::timer();
                    if (way == 2) taken += guard.try_acquire() ? 1 : 0;
                    else if (way == 3) {
                        auto turn = guard.reserve();
                        if (random() % 2 == 0) turn.cancel();
                        else taken += turn ? 1 : 0;
                    } else if (way == 4) (void)guard.stats();
                    else ran += calls.with(options).try_call([] {}) ? 1 : 0;
                }
            });
        }
        std::this_thread::sleep_for(SANITIZED_THREAD || SANITIZED_ADDRESS ? 500ms : 200ms);
        is_over = true;
        threads.clear();
        const auto s = guard.stats();
        const double seconds = std::chrono::duration<double>(rs::system_time().now() - begun).count();

        CHECK(s.waiting == 0);
        CHECK(ran > 0);
        CHECK(s.admitted >= ran + taken);
        // A burst, and the rate; reserved turns lie up to a little ahead.
        const double most = (kind == rs::limiter::smooth ? 1 : 20'000) + 20'000 * seconds;
        CHECK(static_cast<double>(ran.load()) <= most);
    }
}

} // namespace
