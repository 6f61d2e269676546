// SPDX-License-Identifier: Apache-2.0
// What a user writes first, for the oldest clang that the library promises: each policy by each of its constructors.
#include <resilience/resilience.hpp>

#include <chrono>
#include <utility>

namespace rs = resilience;
using namespace std::chrono_literals;

int main() {
    rs::registry reg;
    const rs::retry_config again{.name = "again"};
    const rs::retry retries[] = {rs::retry(), rs::retry({.max_attempts = 3}), rs::retry(again),
                                 rs::retry(again, reg)};
    const rs::circuit_breaker circuits[] = {rs::circuit_breaker({.name = "service"}),
                                            rs::circuit_breaker({.name = "service"}, reg)};
    const rs::timeout limits[] = {rs::timeout(2s), rs::timeout(2s, reg), rs::timeout({.limit = 2s}),
                                  rs::timeout({.limit = 2s}, reg)};
    const rs::abandoning_timeout hard[] = {rs::abandoning_timeout(2s), rs::abandoning_timeout(2s, reg),
                                           rs::abandoning_timeout({.limit = 2s}),
                                           rs::abandoning_timeout({.limit = 2s}, reg)};
    const rs::bulkhead places[] = {rs::bulkhead(), rs::bulkhead({.max_concurrent = 2}),
                                   rs::bulkhead({.max_concurrent = 2}, reg)};
    const rs::rate_limiter rates[] = {rs::rate_limiter({.permits = 2}),
                                      rs::rate_limiter({.permits = 2}, reg)};
    const auto guard = rs::fallback(7) | retries[1] | circuits[0] | limits[0];
    rs::any_pipeline chosen{limits[0]};
    chosen.add(retries[0]);
    chosen.add(places[0]);
    int calls = 0;
    const auto outcome = (retries[2] | hard[0])
                             .with({.idempotency = rs::idempotency::safe})
                             .try_call([&](rs::call_context& ctx) { return ctx.attempt(); });
    return guard([&] { return ++calls; }) + chosen([&] { return ++calls; }) +
           static_cast<int>(outcome.has_value());
}
