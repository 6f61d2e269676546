// SPDX-License-Identifier: Apache-2.0
#include <resilience/mechanism/tally.hpp>

#include "support/catch.hpp"

#include <cstdint>
#include <limits>

namespace {

namespace rs = resilience;

TEST_CASE("rates are shares of the total", "[tally]") {
    const rs::tally counted{.total = 8, .failed = 2, .slow = 8};

    CHECK(counted.failure_rate() == 0.25);
    CHECK(counted.slow_rate() == 1.0);
}

TEST_CASE("the rate of no calls is unknown, not 0 and not NaN", "[tally][H-CB-36]") {
    CHECK(rs::tally{}.failure_rate() == -1.0);
    CHECK(rs::tally{}.slow_rate() == -1.0);
    CHECK(rs::tally{.total = 1}.failure_rate() == 0.0);
}

TEST_CASE("sums are held at the end of the range", "[tally]") {
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    rs::tally sum{.total = most - 1, .failed = 1, .slow = most};

    sum += {.total = 1, .failed = 2, .slow = 3};
    CHECK(sum == rs::tally{.total = most, .failed = 3, .slow = most});
    sum += {.total = 1};
    CHECK(sum.total == most);
}

} // namespace
