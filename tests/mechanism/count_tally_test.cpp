// SPDX-License-Identifier: Apache-2.0
#include <resilience/mechanism/count_tally.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;

/// What the window should say, kept as a list of all bad results.
struct naive_window {
    std::uint64_t size = 0;
    std::uint64_t start = 0;
    std::map<std::uint64_t, std::pair<bool, bool>> bad{};

    std::uint64_t first(std::uint64_t next) const { return std::max(start, next > size ? next - size : 0); }
    rs::tally at(std::uint64_t next) const {
        rs::tally sum;
        if (first(next) >= next) return sum;
        sum.total = next - first(next);
        for (auto it = bad.lower_bound(first(next)); it != bad.end() && it->first < next; ++it) {
            sum.failed += it->second.first;
            sum.slow += it->second.second;
        }
        return sum;
    }
};

TEST_CASE("a count window holds the last results", "[count_tally][H-WIN-01]") {
    rs::count_tally window{4};
    CHECK(window.at(0) == rs::tally{});

    window.record(0, {.failed = true});
    CHECK(window.at(1) == rs::tally{.total = 1, .failed = 1});

    window.record(1, {.slow = true});
    window.record(3, {.failed = true, .slow = true});
    CHECK(window.at(4) == rs::tally{.total = 4, .failed = 2, .slow = 2});
    CHECK(window.at(5) == rs::tally{.total = 4, .failed = 1, .slow = 2});
    CHECK(window.at(6) == rs::tally{.total = 4, .failed = 1, .slow = 1});
    CHECK(window.at(7) == rs::tally{.total = 4, .failed = 1, .slow = 1});
    CHECK(window.at(8) == rs::tally{.total = 4});
}

TEST_CASE("a count window of one holds the last result", "[count_tally][H-WIN-07]") {
    const std::uint32_t size = GENERATE(0U, 1U);
    rs::count_tally window{size};

    for (std::uint64_t position = 0; position < 1000; ++position) {
        const bool failed = position % 3 == 0;
        if (failed) window.record(position, {.failed = true});
        REQUIRE(window.at(position + 1) == rs::tally{.total = 1, .failed = failed ? 1U : 0U});
    }
    window.clear(1000);
    CHECK(window.at(1000) == rs::tally{});
}

TEST_CASE("any number of good results pushes the bad ones out", "[count_tally][H-WIN-02]") {
    const std::uint64_t good = GENERATE(99U, 100U, 101U, 191U, 192U, 255U, 256U, 1'000'000'000'000U);
    rs::count_tally window{100};
    window.record(5, {.failed = true, .slow = true});

    CHECK(window.at(6 + good) == rs::tally{.total = std::min<std::uint64_t>(6 + good, 100),
                                           .failed = good < 100 ? 1U : 0U,
                                           .slow = good < 100 ? 1U : 0U});
    window.record(6 + good, {.failed = true});
    CHECK(window.at(7 + good).failed == (good < 99 ? 2U : 1U));
}

TEST_CASE("what was cleared stays forgotten, results recorded late included", "[count_tally]") {
    rs::count_tally window{10};
    window.record(0, {.failed = true});
    window.record(4, {.failed = true});

    window.clear(6);
    window.record(5, {.failed = true, .slow = true});

    CHECK(window.at(6) == rs::tally{});
    CHECK(window.at(7) == rs::tally{.total = 1});
    window.record(6, {.failed = true});
    CHECK(window.at(7) == rs::tally{.total = 1, .failed = 1});
    CHECK(window.at(16) == rs::tally{.total = 10, .failed = 1});
    CHECK(window.at(17) == rs::tally{.total = 10});
}

TEST_CASE("a result too old for the window neither counts nor disturbs it", "[count_tally]") {
    rs::count_tally window{100};
    window.record(10'000, {.failed = true});

    for (std::uint64_t old = 0; old < 9'900; ++old) window.record(old, {.failed = true, .slow = true});

    CHECK(window.at(10'001) == rs::tally{.total = 100, .failed = 1});
}

TEST_CASE("results recorded ahead of the reader's position do not disturb what it sees", "[count_tally]") {
    const std::uint32_t size = GENERATE(1U, 2U, 63U, 64U, 65U, 66U, 128U, 130U);
    for (std::uint64_t next = 1000; next < 1200; ++next) {
        rs::count_tally window{size};
        for (std::uint64_t position = 0; position < next; ++position)
            window.record(position, {.failed = true});
        for (std::uint64_t ahead = 0; ahead < 64; ++ahead)
            window.record(next + ahead, {.failed = true, .slow = true});

        REQUIRE(window.at(next) == rs::tally{.total = size, .failed = size});
    }
}

TEST_CASE("a count window that shrinks forgets, and one that grows fills up with new results",
          "[count_tally]") {
    rs::count_tally window{10};
    for (std::uint64_t position = 0; position < 100; ++position)
        window.record(position, {.failed = position % 2 == 0});

    SECTION("shrinks") {
        window.resize(4, 100);
        CHECK(window.at(100) == rs::tally{.total = 4, .failed = 2});
        CHECK(window.at(101) == rs::tally{.total = 4, .failed = 1});
    }
    SECTION("grows") {
        window.resize(1000, 100);
        CHECK(window.at(100) == rs::tally{.total = 10, .failed = 5});
        window.record(100, {.failed = true});
        CHECK(window.at(101) == rs::tally{.total = 11, .failed = 6});
        CHECK(window.at(2000) == rs::tally{.total = 1000});
    }
    SECTION("grows after it was cleared") {
        window.clear(97);
        window.resize(1000, 100);
        CHECK(window.at(100) == rs::tally{.total = 3, .failed = 1});
    }
    SECTION("grows before it was ever full") {
        rs::count_tally fresh{100};
        fresh.record(0, {.failed = true, .slow = true});
        fresh.resize(1000, 3);
        CHECK(fresh.at(3) == rs::tally{.total = 3, .failed = 1, .slow = 1});
    }
}

TEST_CASE("positions may go to the end of 64 bits", "[count_tally][H-WIN-05]") {
    constexpr auto end = std::numeric_limits<std::uint64_t>::max();
    rs::count_tally window{100};

    window.record(end - 100, {.failed = true});
    window.record(end - 1, {.failed = true, .slow = true});

    CHECK(window.at(end) == rs::tally{.total = 100, .failed = 1 + 1, .slow = 1});
    CHECK(window.at(end - 1) == rs::tally{.total = 100, .failed = 1});
}

TEST_CASE("the count window agrees with a list of all results on long random histories",
          "[count_tally][H-WIN-01][H-WIN-02]") {
    const std::uint32_t size = GENERATE(1U, 2U, 5U, 63U, 64U, 65U, 100U, 127U, 128U, 129U, 1000U);
    const std::uint64_t origin = GENERATE(std::uint64_t{0}, std::uint64_t{1} << 63U);
    std::mt19937_64 engine{size};
    const auto below = [&](std::uint64_t n) { return engine() % n; };
    rs::count_tally window{size};
    naive_window naive{.size = size};
    std::uint64_t next = origin;
    if (origin != 0) {
        window.clear(origin);
        naive.start = origin;
    }
    std::vector<std::uint64_t> in_flight; // positions taken, results not yet recorded

    for (int step = 0; step < 20'000; ++step) {
        const std::uint64_t what = below(1000);
        if (what < 2) next += below(1'000'000'000'000);
        else if (what < 20) next += below(3 * std::uint64_t{size});
        else if (what < 600) in_flight.push_back(next++);
        else ++next;

        // Out of order, by up to eight results, and once in a while by very many.
        while (in_flight.size() > (what == 700 ? 0U : 8U)) {
            const auto chosen = in_flight.begin() + static_cast<std::ptrdiff_t>(below(in_flight.size()));
            const std::uint64_t position = *chosen;
            in_flight.erase(chosen);
            const bool failed = below(3) != 0;
            const bool slow = !failed || below(2) == 0;
            window.record(position, {failed, slow});
            naive.bad[position] = {failed, slow};
        }
        if (what == 900) {
            window.clear(next);
            naive.start = next;
        }
        if (what == 901 || what == 902) {
            const auto resized = static_cast<std::uint32_t>(1 + below(2 * std::uint64_t{size}));
            window.resize(resized, next);
            naive.start = naive.first(next);
            naive.size = resized;
        }
        if (window.at(next) != naive.at(next)) {
            FAIL("step " << step << ", next " << next << ": failed " << window.at(next).failed << ", not "
                         << naive.at(next).failed);
        }
        if (next - naive.start > 10 && below(10) == 0) {
            const std::uint64_t earlier = next - below(10);
            if (earlier + 64 > next && window.at(earlier).total != naive.at(earlier).total)
                FAIL("step " << step);
        }
    }
    SUCCEED();
}

} // namespace
