// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/testing/scripted.hpp>

#include <stdexcept>

namespace support {

/// A callable that throws, however often it is called.
inline resilience::testing::scripted<int> always_failing() {
    using resilience::testing::throws;
    return resilience::testing::scripted<int>{throws(std::runtime_error("down"))}.repeat_last();
}

} // namespace support
