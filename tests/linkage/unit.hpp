// SPDX-License-Identifier: Apache-2.0
#pragma once

// What each translation unit of the program two_units says of the library, as it was compiled there.
#include <cstddef>

struct unit_view {
    std::size_t registry, circuit_breaker, retry, event, context;
    const void* global;
    bool operator==(const unit_view&) const = default;
};

unit_view debug_unit();
unit_view release_unit();
unit_view checked_unit();
int unit_without_exceptions();
