// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/testing/fixed_random.hpp>

#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <ranges>
#include <stdexcept>
#include <vector>

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

TEST_CASE("fixed_random takes any range of numbers", "[fixed_random]") {
    const std::vector<double> listed{0.25, 0.75};
    const std::array<float, 2> halves{0.5F, 0.0F};
    rs::testing::fixed_random a(listed);
    rs::testing::fixed_random b(halves);
    rs::testing::fixed_random c(std::views::iota(0, 4) |
                                std::views::transform([](int i) { return i / 4.0; }));

    CHECK((a.uniform() == 0.25 && a.uniform() == 0.75 && a.uniform() == 0.25));
    CHECK((b.uniform() == 0.5 && b.uniform() == 0.0));
    CHECK((c.uniform() == 0.0 && c.uniform() == 0.25 && c.uniform() == 0.5));
    CHECK_THROWS_AS(rs::testing::fixed_random(std::vector<double>{}), std::invalid_argument);
    CHECK_THROWS_AS(rs::testing::fixed_random(std::vector<double>{1.0}), std::invalid_argument);
}

} // namespace
