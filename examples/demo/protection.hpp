// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include <stdexcept>

namespace demo {

namespace rs = resilience;

/// How each of our services is protected: attempts, around a circuit, around a limit for each attempt.
using protection = rs::pipeline<rs::retry, rs::circuit_breaker, rs::timeout>;

/// The server understood the request and will not do it (HTTP 4xx): asking again changes nothing.
class request_refused : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

} // namespace demo
