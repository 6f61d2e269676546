// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Where policies get randomness (jitter) from. Implement it to inject numbers; called from any thread.
class random_source {
public:
    random_source() = default;
    random_source(const random_source&) = delete;
    random_source& operator=(const random_source&) = delete;
    virtual ~random_source() = default;

    /// Uniform in [0, 1).
    virtual double uniform() noexcept = 0;
};

}} // namespace resilience::RESILIENCE_ABI
