// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The last `size` results.
struct count_window {
    std::uint32_t size;
    bool operator==(const count_window&) const = default;
};
/// The results of the last `length`, in buckets of a tenth of it.
struct time_window {
    duration length;
    bool operator==(const time_window&) const = default;
};

/// How far a rate window is filled: too few results are not judged.
enum class window_fill : std::uint8_t {
    enough_calls,        ///< or no bad result: no success can trip
    below_minimum_calls, ///< and bad results in it: a success that is counted now may trip
};

}} // namespace resilience::RESILIENCE_ABI
