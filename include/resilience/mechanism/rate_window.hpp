// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI {

/// A window of the last `size` results.
struct count_window {
    std::uint32_t size;
    bool operator==(const count_window&) const = default;
};
/// A window of the results of the last `length`, in ten buckets.
struct time_window {
    duration length;
    bool operator==(const time_window&) const = default;
};

/// Tells if a success can trip: it can complete a rate window's minimum_calls.
enum class window_fill : std::uint8_t {
    enough_calls,        ///< or there is no bad result: no success can trip
    below_minimum_calls, ///< and there are bad results: the next success may trip
};

}} // namespace resilience::RESILIENCE_ABI
