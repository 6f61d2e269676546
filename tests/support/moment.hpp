// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/time.hpp>

namespace support {

/// So long after the clock's own start.
constexpr resilience::time_point at(resilience::duration since_start) {
    return resilience::time_point{since_start};
}

} // namespace support
