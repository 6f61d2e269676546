// SPDX-License-Identifier: Apache-2.0
#include "support/bulkhead_oracle.hpp"
#include "support/catch.hpp"

#include <cstdint>
#include <string>

TEST_CASE("a bulkhead does what its rules say, whatever comes when", "[bulkhead]") {
    for (std::uint32_t seed = 1; seed <= 250; ++seed) {
        const std::string difference = support::bulkhead_differs(seed, 200);
        if (!difference.empty()) FAIL(difference);
    }
    SUCCEED();
}
