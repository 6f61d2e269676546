// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The source of randomness (jitter) for policies. Implement it to inject numbers. Any thread may call it,
/// several at once.
class random_source {
public:
    random_source() = default;
    random_source(const random_source&) = delete;
    random_source& operator=(const random_source&) = delete;
    virtual ~random_source() = default;

    /// A number, uniform in [0, 1).
    virtual double uniform() noexcept = 0;
};

}} // namespace resilience::RESILIENCE_ABI
