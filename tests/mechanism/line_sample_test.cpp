// SPDX-License-Identifier: Apache-2.0
#include <resilience/mechanism/line_sample.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;

namespace {

constexpr rs::time_point sample_start{1'000'000s};

/// Which of so many, from 1, at one moment, are chosen.
std::vector<int> chosen(int count, std::uint32_t first, std::uint32_t then_every) {
    std::vector<int> all;
    rs::sample_word word = 0;
    for (int i = 1; i <= count; ++i) {
        const auto step = rs::sampled(word, sample_start, 1s, first, then_every);
        word = step.next;
        if (step.chosen) all.push_back(i);
    }
    return all;
}

/// Whether the next one at that moment is chosen, with one in each second.
bool next_at(rs::sample_word& word, rs::duration at) {
    const auto step = rs::sampled(word, sample_start + at, 1s, 1, 0);
    word = step.next;
    return step.chosen;
}

} // namespace

TEST_CASE("the first of a period are chosen, then each so manieth", "[line_sample]") {
    CHECK(chosen(9, 2, 3) == std::vector<int>{1, 2, 5, 8});
    CHECK(chosen(9, 2, 0) == std::vector<int>{1, 2});
    CHECK(chosen(4, 1, 1) == std::vector<int>{1, 2, 3, 4});
    CHECK(chosen(3, 5, 2) == std::vector<int>{1, 2, 3});
}

TEST_CASE("each period begins anew", "[line_sample]") {
    rs::sample_word word = 0;

    CHECK(next_at(word, 0s));
    CHECK_FALSE(next_at(word, 0s));
    CHECK_FALSE(next_at(word, 1s - 1ns));
    CHECK(next_at(word, 1s));
    CHECK_FALSE(next_at(word, 1s));
    CHECK(next_at(word, 1h));
}

TEST_CASE("moments before the clock's epoch have periods of the same length", "[line_sample]") {
    rs::sample_word word = 0;
    const auto zero = rs::time_point{} - sample_start;

    CHECK(next_at(word, zero - 1ns));
    CHECK_FALSE(next_at(word, zero - 1s));
    CHECK(next_at(word, zero));
    CHECK_FALSE(next_at(word, zero + 1s - 1ns));
}

TEST_CASE("a count at its end stays there", "[line_sample]") {
    constexpr auto second = static_cast<rs::sample_word>(1'000'000);
    constexpr rs::sample_word full = second << 32U | 0xFFFF'FFFFU;

    const auto step = rs::sampled(full, sample_start, 1s, 10, 0);

    CHECK(step.next == full);
    CHECK_FALSE(step.chosen);
}
