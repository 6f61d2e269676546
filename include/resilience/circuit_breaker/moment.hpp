// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/mechanism/circuit_state.hpp>

#include <optional>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A single reading of the clock and of randomness, taken before the lock and passed down.
struct moment {
    time_point now;
    double random_share = 0.0; // in [0, 1), for jitter
};

/// The consequences of a result.
struct breaker_settlement {
    bool counted = true;                       // false: it came late
    time_point not_before = time_point::min(); // of the next probe, if the failure left or found it open
};

/// A change by hand: to `next`, which is not half_open. A circuit that is opened without a length opens as if
/// it tripped.
struct circuit_command {
    circuit_state next;
    std::optional<duration> opens_for{};
};

}}} // namespace resilience::RESILIENCE_ABI::detail
