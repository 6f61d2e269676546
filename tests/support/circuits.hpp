// SPDX-License-Identifier: Apache-2.0
#pragma once

// What tests of circuits have in common: calls with a known end.

#include <resilience/circuit_breaker.hpp>
#include <resilience/registry.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <stdexcept>
#include <system_error>
#include <utility>

namespace circuits {

struct service_down : std::runtime_error {
    using std::runtime_error::runtime_error;
    service_down() : std::runtime_error("service is down") {}
};

/// Calls that end as the name says; those that the circuit refuses do not run. Returns how many ran.
inline int fail(const resilience::circuit_breaker& breaker, int times = 1) {
    int ran = 0;
    for (int i = 0; i < times; ++i) {
        (void)breaker.try_call([&] {
            ++ran;
            throw service_down();
        });
    }
    return ran;
}
inline int succeed(const resilience::circuit_breaker& breaker, int times = 1) {
    int ran = 0;
    for (int i = 0; i < times; ++i) (void)breaker.try_call([&] { ++ran; });
    return ran;
}
inline int cancel(const resilience::circuit_breaker& breaker, int times = 1) {
    int ran = 0;
    for (int i = 0; i < times; ++i) {
        (void)breaker.try_call([&] {
            ++ran;
            throw std::system_error(std::make_error_code(std::errc::operation_canceled));
        });
    }
    return ran;
}

/// A registry in virtual time.
struct circuit_world {
    resilience::testing::virtual_clock clock{};
    resilience::registry reg{clock};

    resilience::circuit_breaker make(resilience::circuit_breaker_config config = {}) {
        return resilience::circuit_breaker(std::move(config), reg);
    }
    /// A circuit that has just tripped.
    resilience::circuit_breaker make_open(resilience::circuit_breaker_config config = {}) {
        if (!config.failure_threshold) config.failure_threshold = 1;
        const unsigned failures = *config.failure_threshold;
        auto breaker = make(std::move(config));
        fail(breaker, static_cast<int>(failures));
        return breaker;
    }
    /// A circuit that admits its first probe now.
    resilience::circuit_breaker make_ready(resilience::circuit_breaker_config config = {}) {
        const auto recovery = config.recovery_timeout;
        auto breaker = make_open(std::move(config));
        clock.advance(recovery);
        return breaker;
    }
};

} // namespace circuits
