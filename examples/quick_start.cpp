// SPDX-License-Identifier: Apache-2.0
// A weather service fails, is left alone for a while, and has recovered.
#include <resilience/resilience.hpp>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>

namespace rs = resilience;
using namespace std::chrono_literals;

/// Stands for a remote call that takes no longer than `limit`. Its first six requests fail.
static std::string fetch_weather(std::chrono::milliseconds limit) {
    static int request = 0;
    std::cout << "  request " << ++request << ", within " << limit.count() << " ms\n";
    if (request <= 6) throw std::runtime_error("connection lost");
    return "sunny";
}

int main() {
    // The first is the outermost: retry around a circuit breaker around a limit for each attempt.
    const rs::circuit_breaker circuit({.name = "weather", .failure_threshold = 5, .recovery_timeout = 200ms});
    const auto guard = rs::retry({.max_attempts = 3, .base_delay = 20ms}) | circuit | rs::timeout(100ms);

    for (int call = 1; call <= 12; ++call) {
        std::cout << "call " << call << ", circuit " << to_string(circuit.state()) << '\n';
        try {
            const std::string weather = guard([](rs::call_context& ctx) {
                return fetch_weather(ctx.remaining_as<std::chrono::milliseconds>()); // rounded up, never 0
            });
            std::cout << "  " << weather << '\n';
        } catch (const rs::circuit_open_error& e) {
            std::cout << "  refused: " << e.what() << '\n';
        } catch (const std::exception& e) {
            std::cout << "  failed: " << e.what() << '\n';
        }
        std::this_thread::sleep_for(70ms);
    }
}
