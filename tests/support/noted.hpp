// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_breaker/noted_failure.hpp>

#include <exception>
#include <stdexcept>

namespace support {

/// What a circuit keeps of a std::runtime_error with that text.
inline resilience::detail::noted_failure noted(const char* text) {
    return resilience::detail::noted_failure(
        resilience::failure(std::make_exception_ptr(std::runtime_error(text))));
}

} // namespace support
