// SPDX-License-Identifier: Apache-2.0
// The program of a user: the core alone.
#include <resilience/resilience.hpp>

int main() {
    namespace rs = resilience;

    rs::registry registry;
    const rs::retry retry({.name = "consumer", .max_attempts = 2, .base_delay = rs::duration{0}}, registry);
    const rs::circuit_breaker breaker({.name = "consumer"}, registry);

    int attempts = 0;
    const int answer = (retry | breaker)([&] {
        if (++attempts == 1) throw 1;
        return 42;
    });
    // The sign comparison and the unused variable are here for the flags that a library must not impose.
    const unsigned expected = 42;
    int unused;
    return answer == expected ? 0 : 1;
}
