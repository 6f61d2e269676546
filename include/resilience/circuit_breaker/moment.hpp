// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/stats.hpp>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A single reading of clocks and randomness, taken before the lock and passed down.
struct moment {
    time_point now;
    wall_time wall;
    double random_share = 0.0; // in [0, 1), for jitter
};

}}} // namespace resilience::RESILIENCE_ABI::detail
