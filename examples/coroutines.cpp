// SPDX-License-Identifier: Apache-2.0
// The same policies around coroutines of Asio: two calls wait in their delays, one thread runs both.
#include <resilience/asio.hpp>
#include <resilience/resilience.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

namespace rs = resilience;
using namespace std::chrono_literals;

/// Stands for a remote call: every city's first request fails, the one about Oslo takes far too long.
static asio::awaitable<std::string> fetch_weather(const std::string& city, int& requests) {
    const auto latency = city == "Oslo" ? 10s : 5ms;
    std::cout << "  request about " << city << '\n';
    asio::steady_timer answer(co_await asio::this_coro::executor, latency);
    co_await answer.async_wait(asio::use_awaitable); // a limit that strikes cancels this
    if (++requests == 1) throw std::runtime_error("connection lost");
    co_return "sunny";
}

int main() {
    const auto guard = rs::retry({.max_attempts = 2, .base_delay = 20ms}) |
                       rs::circuit_breaker({.name = "weather"}) | rs::timeout(100ms);

    const auto report = [&guard](std::string city) -> asio::awaitable<void> {
        int requests = 0;
        // Named, then awaited: see docs/coroutines.md for what g++ 12 does to temporaries.
        auto call = guard.named("fetch_weather").try_call(fetch_weather, city, requests);
        const rs::outcome<std::string> weather = co_await std::move(call);
        std::cout << city << ": " << (weather ? *weather : weather.error().message()) << '\n';
    };

    asio::io_context io;
    for (const char* city : {"Rome", "Oslo"}) asio::co_spawn(io, report(city), asio::detached);
    io.run();
}
