// SPDX-License-Identifier: Apache-2.0
// Compiled with -fno-exceptions: another inline namespace, so it may be linked to the others and shares
// nothing with them. Callables here carry their failures in the result.
#include "unit.hpp"

#include <resilience/resilience.hpp>

#include <system_error>

int unit_without_exceptions() {
    namespace rs = resilience;

    rs::registry registry;
    const rs::retry retry({.max_attempts = 3, .base_delay = rs::duration{0}}, registry);
    const rs::circuit_breaker breaker({.failure_threshold = 5}, registry);
    int attempts = 0;
    const std::error_code code = (retry | breaker)([&attempts] {
        ++attempts;
        return std::make_error_code(std::errc::connection_refused);
    });
    return code == std::errc::connection_refused ? attempts : -1;
}
