// SPDX-License-Identifier: Apache-2.0
// A language model behind a limit of requests, one of tokens, and a bulkhead: callers that matter go first, nobody asks for
// more than the model's service allows, and a pause that one caller learns of holds all.
#include <resilience/http/rate_limit_headers.hpp>
#include <resilience/resilience.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;

/// Stands for the remote service: it takes its time, and counts the tokens that it was asked for.
class model {
public:
    std::string answer(std::uint32_t tokens) {
        std::this_thread::sleep_for(2ms);
        tokens_ += tokens;
        return "words";
    }
    std::uint64_t tokens() const { return tokens_; }

private:
    std::atomic<std::uint64_t> tokens_{0};
};

int main() {
    model remote;
    const rs::rate_limiter requests(
        {.name = "model_requests", .permits = 200, .burst = 20, .max_wait = 400ms});
    const rs::rate_limiter tokens(
        {.name = "model_tokens", .permits = 20'000, .burst = 4'000, .max_wait = 400ms, .weighted = true});
    const rs::bulkhead places({.name = "model", .max_concurrent = 4, .max_queue = 8, .max_wait = 100ms});
    const auto guard = requests | tokens | places | rs::timeout({.name = "model", .limit = 1s});

    std::atomic<int> answered{0}, refused{0};
    {
        std::vector<std::jthread> callers;
        callers.reserve(8);
        for (unsigned caller = 0; caller < 8; ++caller) {
            callers.emplace_back([&, caller] {
                const auto priority = caller == 0 ? rs::priority::critical : rs::priority::low;
                for (std::uint32_t i = 0; i < 10; ++i) {
                    const std::uint32_t cost = 50 + 20 * i;
                    const auto out = guard.with({.priority = priority, .cost = cost}).try_call([&] {
                        return remote.answer(cost);
                    });
                    ++(out ? answered : refused);
                    if (out) tokens.settle_cost(cost, cost / 2); // it wrote less than it might have
                }
            });
        }
    }
    const auto s = tokens.stats();
    std::cout << answered << " answered, " << refused << " refused; " << remote.tokens()
              << " tokens asked for; " << places.stats().max_running << " at once at most, "
              << std::chrono::duration_cast<std::chrono::milliseconds>(s.total_wait).count()
              << " ms of waiting for tokens\n";

    // One answer says that nothing is left: all callers are held.
    const std::map<std::string, std::string> headers{{"RateLimit", "\"minute\";r=0;t=30"}};
    requests.observe(rs::server_limit_in(headers, std::chrono::system_clock::now()));
    const auto held = guard.try_call([&] { return remote.answer(1); });
    std::cout << (held ? std::string("answered") : held.error().message()) << '\n';
    return held ? 1 : 0;
}
