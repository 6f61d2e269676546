// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The states of a circuit. Only an operator sets and leaves the last three.
enum class circuit_state {
    closed,       ///< calls pass and are counted
    open,         ///< calls are rejected until the recovery timeout has passed
    half_open,    ///< a few probes pass, the rest is rejected
    disabled,     ///< calls pass, nothing trips
    forced_open,  ///< all calls are rejected
    metrics_only, ///< calls pass and are counted; an event says where it would have tripped
};

constexpr std::string_view to_string(circuit_state state) noexcept {
    switch (state) {
    case circuit_state::closed: return "closed";
    case circuit_state::open: return "open";
    case circuit_state::half_open: return "half_open";
    case circuit_state::disabled: return "disabled";
    case circuit_state::forced_open: return "forced_open";
    case circuit_state::metrics_only: return "metrics_only";
    }
    return "unknown";
}

}} // namespace resilience::RESILIENCE_ABI
