// SPDX-License-Identifier: Apache-2.0
// Compiled twice, UNIT is the name: once for debugging with every assertion of the standard library, once
// optimised with NDEBUG.
#include "unit.hpp"

#include <resilience/resilience.hpp>

namespace rs = resilience;

unit_view UNIT() {
    const rs::circuit_breaker breaker({.name = "two units"});
    const rs::retry retry({.name = "two units"});
    (retry | breaker)([] {});
    return {sizeof(rs::registry), sizeof(rs::circuit_breaker), sizeof(rs::retry),
            sizeof(rs::event),    sizeof(rs::call_context),    &rs::registry::global()};
}
