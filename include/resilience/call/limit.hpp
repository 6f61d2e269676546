// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Tells whose limit a deadline is.
enum class limit_owner : std::uint8_t {
    policy,  ///< a timeout's
    silence, ///< a timeout's, for the time without progress
};

}} // namespace resilience::RESILIENCE_ABI
