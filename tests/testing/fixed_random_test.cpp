// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/testing/fixed_random.hpp>

#include <cmath>
#include <initializer_list>
#include <limits>
#include <stdexcept>

namespace rs = resilience;
using rs::testing::fixed_random;

namespace {

TEST_CASE("one number is drawn for ever", "[fixed_random]") {
    fixed_random random{0.5};

    CHECK(random.uniform() == 0.5);
    CHECK(random.uniform() == 0.5);
}

TEST_CASE("a list is played over and over", "[fixed_random]") {
    fixed_random random{0.0, 0.25, 0.75};
    rs::random_source& source = random;

    CHECK(source.uniform() == 0.0);
    CHECK(source.uniform() == 0.25);
    CHECK(source.uniform() == 0.75);
    CHECK(source.uniform() == 0.0);
}

TEST_CASE("the draws are counted", "[fixed_random]") {
    fixed_random random{0.5};
    CHECK(random.draws() == 0);

    random.uniform();
    random.uniform();

    CHECK(random.draws() == 2);
}

TEST_CASE("numbers that uniform() could not return are refused", "[fixed_random]") {
    CHECK_NOTHROW(fixed_random{0.0});
    CHECK_NOTHROW(fixed_random{std::nextafter(1.0, 0.0)});

    CHECK_THROWS_AS(fixed_random{1.0}, std::invalid_argument);
    CHECK_THROWS_AS(fixed_random{-0.1}, std::invalid_argument);
    CHECK_THROWS_AS((fixed_random{0.5, std::numeric_limits<double>::quiet_NaN()}), std::invalid_argument);
    CHECK_THROWS_AS(fixed_random(std::initializer_list<double>{}), std::invalid_argument);
}

} // namespace
