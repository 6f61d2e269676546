// SPDX-License-Identifier: Apache-2.0
#include <resilience/mechanism/time_buckets.hpp>

#include "support/catch.hpp"
#include "support/moment.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

using support::at;

void fail(rs::time_buckets& window, rs::time_point now) { window.record(window.number_at(now), 0, 1, 0); }

TEST_CASE("results count for ten buckets, the one they fell into included",
          "[time_buckets][H-WIN-01][H-WIN-08]") {
    rs::time_buckets window{10s};
    window.record(window.number_at(at(0s)), 3, 2, 1);
    window.record(window.number_at(at(1s - 1ns)), 1, 0, 0);
    window.record(window.number_at(at(1s)), 10, 20, 30);

    CHECK(window.at(window.number_at(at(1s))) == rs::tally{.total = 36, .failed = 22, .slow = 31});
    CHECK(window.at(window.number_at(at(10s - 1ns))) == rs::tally{.total = 36, .failed = 22, .slow = 31});
    CHECK(window.at(window.number_at(at(10s))) == rs::tally{.total = 30, .failed = 20, .slow = 30});
    CHECK(window.at(window.number_at(at(11s - 1ns))) == rs::tally{.total = 30, .failed = 20, .slow = 30});
    CHECK(window.at(window.number_at(at(11s))) == rs::tally{});
}

TEST_CASE("a bucket ends where the next begins", "[time_buckets][H-WIN-08]") {
    const rs::duration length = GENERATE(rs::duration{1ns}, rs::duration{9ns}, rs::duration{10ns},
                                         rs::duration{19ns}, rs::duration{10s}, rs::duration{1h});
    rs::time_buckets window{length};
    const std::uint32_t first = window.number_at(at(123s));

    for (std::uint32_t number = first; number != first + 50; ++number) {
        const rs::time_point end = window.end_of(number);
        REQUIRE(window.number_at(end - 1ns) == number);
        REQUIRE(window.number_at(end) == number + 1);
        REQUIRE(window.end_of(number) == end);
    }
}

TEST_CASE("a pause of any length empties the whole window", "[time_buckets][H-WIN-02]") {
    const rs::duration pause =
        GENERATE(rs::duration{10s}, rs::duration{10s + 1ns}, rs::duration{19s}, rs::duration{24h},
                 rs::duration{24h * 365 * 200}, rs::duration{1s} * (std::int64_t{1} << 32U));
    rs::time_buckets window{10s};
    for (int second = 0; second < 10; ++second) fail(window, at(second * 1s));
    const rs::time_point back = at(9s) + pause;

    fail(window, back);

    CHECK(window.at(window.number_at(back)) == rs::tally{.total = 1, .failed = 1});
}

TEST_CASE("after a pause failures are remembered for the length and no longer", "[time_buckets][H-WIN-03]") {
    const rs::duration between_looks =
        GENERATE(rs::duration{1ms}, rs::duration{399ms}, rs::duration{700ms}, rs::duration{3s});
    rs::time_buckets window{4s};
    fail(window, at(0s));
    const rs::time_point start = at(1h + 123ms);
    fail(window, start);

    for (rs::time_point now = start; now < start + 10s; now += between_looks) {
        const auto failed = window.at(window.number_at(now)).failed;
        INFO((now - start).count());
        if (now - start <= 3600ms - 400ms) REQUIRE(failed == 1);
        if (now - start >= 4s) REQUIRE(failed == 0);
        REQUIRE(failed <= 1);
    }
}

TEST_CASE("counts handed in late never disturb the buckets of now", "[time_buckets][H-WIN-04][H-WIN-10]") {
    rs::time_buckets window{10s};
    const std::uint32_t old = window.number_at(at(0s));
    const std::uint32_t now = window.number_at(at(10s));
    const std::uint32_t still_counted = now - 9;
    window.record(now, 5, 0, 0);

    SECTION("in a bucket that is gone: dropped") {
        for (std::uint32_t age = 10; age < 40; ++age) window.record(now - age, 100, 100, 100);
        window.record(old, 1, 1, 1);
        CHECK(window.at(now) == rs::tally{.total = 5});
    }
    SECTION("in a bucket that still counts: counted there") {
        window.record(still_counted, 1, 2, 3);
        CHECK(window.at(now) == rs::tally{.total = 8, .failed = 2, .slow = 3});
        CHECK(window.at(window.number_at(at(11s))) == rs::tally{.total = 5});
    }
    SECTION("in a bucket that never was: dropped") {
        window.record(now + 1, 7, 7, 7);
        window.record(now + 10, 7, 7, 7);
        CHECK(window.at(now) == rs::tally{.total = 5});
        CHECK(window.at(window.number_at(at(11s))) == rs::tally{.total = 5});
    }
    SECTION("before the window was ever used: dropped") {
        rs::time_buckets unused{10s};
        unused.record(0, 7, 7, 7);
        CHECK(unused.at(0) == rs::tally{});
        CHECK(unused.at(unused.number_at(at(0s))) == rs::tally{});
    }
}

TEST_CASE("a reader sees the window of its own moment and changes nothing", "[time_buckets][H-WIN-09]") {
    rs::time_buckets window{10s};
    const rs::time_buckets& reader = window;
    CHECK(reader.as_of(at(5s)) == rs::tally{});
    fail(window, at(0s));
    fail(window, at(5s));

    CHECK(reader.as_of(at(5s)).failed == 2);
    CHECK(reader.as_of(at(10s)).failed == 1);
    CHECK(reader.as_of(at(15s)) == rs::tally{});
    CHECK(reader.as_of(at(24h)) == rs::tally{});
    CHECK(reader.as_of(at(5s)).failed == 2);
    CHECK(window.number_at(at(5s)) == 5);
}

TEST_CASE("a clock that goes backwards stays in the newest bucket", "[time_buckets][H-WIN-06]") {
    rs::time_buckets window{10s};
    const std::uint32_t first = window.number_at(at(100s));
    fail(window, at(105s));
    const std::uint32_t newest = window.number_at(at(105s));

    CHECK(window.number_at(at(103s)) == newest);
    CHECK(window.number_at(at(0s)) == newest);
    CHECK(window.number_at(rs::time_point::min()) == newest);
    fail(window, at(50s));
    CHECK(window.at(window.number_at(at(106s))).failed == 2);
    CHECK(window.number_at(at(106s)) == first + 6);
    CHECK(window.at(window.number_at(at(115s))) == rs::tally{});
}

TEST_CASE("clear forgets everything, also what is handed in for earlier epochs later", "[time_buckets]") {
    rs::time_buckets window{10s};
    const std::uint32_t before = window.number_at(at(5s));
    window.record(before, 1, 1, 1);

    window.clear();
    CHECK(window.at(before) == rs::tally{});
    CHECK(window.as_of(at(5s)) == rs::tally{});
    CHECK(window.end_of(before) == rs::time_point::min());
    window.record(before, 1, 1, 1);

    const std::uint32_t after = window.number_at(at(5s));
    CHECK(rs::time_buckets::precedes(before, after));
    window.record(before, 1, 1, 1);
    CHECK(window.at(after) == rs::tally{});
    CHECK(window.end_of(before) == rs::time_point::min());
    CHECK(window.end_of(after) == at(6s));

    window.clear();
    window.clear();
    CHECK(rs::time_buckets::precedes(after, window.number_at(at(0s))));
}

TEST_CASE("the shortest lengths have buckets of a nanosecond, and no division by zero",
          "[time_buckets][H-WIN-05][H-WIN-07]") {
    const rs::duration length =
        GENERATE(rs::duration::min(), rs::duration{-1ns}, rs::duration{0ns}, rs::duration{1ns},
                 rs::duration{2ns}, rs::duration{9ns}, rs::duration{10ns});
    rs::time_buckets window{length};
    const rs::duration counted = std::max(length, rs::duration{1ns});
    fail(window, at(1000ns));

    for (rs::duration age = 0ns; age < 30ns; ++age) {
        REQUIRE(window.at(window.number_at(at(1000ns + age))).failed == (age < counted ? 1 : 0));
    }
}

TEST_CASE("moments at the ends of the range are counted right", "[time_buckets][H-WIN-05]") {
    const rs::duration length = GENERATE(rs::duration{1ns}, rs::duration{10s}, rs::duration::max());
    rs::time_buckets window{length};

    const std::uint32_t first = window.number_at(rs::time_point::min());
    window.record(first, 0, 1, 0);
    const std::uint32_t last = window.number_at(rs::time_point::max());
    window.record(last, 1, 0, 0);

    CHECK(window.at(last).total == (length == rs::duration::max() ? 1 + 0U : 1U));
    CHECK(window.end_of(last) == rs::time_point::max());
    CHECK(window.number_at(at(0s)) == last);
    window.resize(1h, rs::time_point::max());
    CHECK(window.at(window.number_at(rs::time_point::max())).total <= 1);
}

TEST_CASE("epochs wrap after 2^32 buckets and nothing is counted wrong", "[time_buckets][H-WIN-05]") {
    rs::time_buckets window{10ns};
    const std::int64_t wrap = std::int64_t{1} << 32U;
    window.record(window.number_at(at(0ns)), 0, 1, 0);

    std::uint32_t before = 0;
    for (std::int64_t t = 1'000'000'000; t < wrap - 20; t += 1'000'000'000)
        before = window.number_at(at(rs::duration{t}));
    CHECK(before == 4'000'000'000);

    for (std::int64_t t = wrap - 20; t < wrap + 40; ++t) {
        const std::uint32_t number = window.number_at(at(rs::duration{t}));
        REQUIRE(number == static_cast<std::uint32_t>(t));
        REQUIRE(rs::time_buckets::precedes(before, number));
        REQUIRE_FALSE(rs::time_buckets::precedes(number, before));
        window.record(number, 0, 1, 0);
        window.record(number - 9, 1, 0, 0);  // counted, or beyond the first record
        window.record(number - 10, 1, 0, 0); // too old
        const auto looks = static_cast<std::uint64_t>(t - (wrap - 20)) + 1;
        // Of the last ten: a failure each, and a late success for the oldest of each later window.
        REQUIRE(window.at(number).failed == std::min<std::uint64_t>(looks, 10));
        REQUIRE(window.at(number).total - window.at(number).failed == 1);
        REQUIRE(window.end_of(number) == at(rs::duration{t + 1}));
        before = number;
    }
}

TEST_CASE("a pause of exactly 2^32 buckets is seen as one", "[time_buckets][H-WIN-02][H-WIN-05]") {
    rs::time_buckets window{10ns};
    fail(window, at(5ns));

    const std::uint32_t number = window.number_at(at(5ns + rs::duration{std::int64_t{1} << 32U}));

    CHECK(number == 0);
    CHECK(window.at(number) == rs::tally{});
}

TEST_CASE("counts are held at the end of the range", "[time_buckets]") {
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    rs::time_buckets window{10s};
    for (int second = 0; second < 5; ++second)
        window.record(window.number_at(at(second * 1s)), most, most / 2, most);

    const rs::tally all = window.at(window.number_at(at(5s)));

    CHECK(all == rs::tally{.total = most, .failed = most, .slow = most});
}

TEST_CASE("a changed length keeps what is young enough for it", "[time_buckets]") {
    rs::time_buckets window{10s};
    for (int second = 0; second < 10; ++second) fail(window, at(second * 1s));
    const std::uint32_t before = window.number_at(at(9s));

    SECTION("the same length: everything stays") {
        window.resize(10s, at(9s));
        CHECK(window.as_of(at(9s)).failed == 10);
        CHECK(window.as_of(at(10s)).failed == 9);
    }
    SECTION("longer: all of it, for longer") {
        window.resize(60s, at(9s));
        CHECK(window.as_of(at(9s)).failed == 10);
        CHECK(window.as_of(at(54s)).failed > 0);
        CHECK(window.as_of(at(69s)).failed == 0);
    }
    SECTION("shorter: the youngest of it") {
        window.resize(2s, at(9s));
        CHECK(window.as_of(at(9s)).failed == 2);
        CHECK(window.as_of(at(10s)).failed == 1);
        CHECK(window.as_of(at(11s)).failed == 0);
    }
    SECTION("later: what is still young") {
        window.resize(10s, at(14s));
        CHECK(window.as_of(at(14s)).failed == 5);
        CHECK(window.as_of(at(16s)).failed == 3);
    }
    SECTION("much later: nothing") {
        window.resize(60s, at(24h));
        CHECK(window.as_of(at(24h)) == rs::tally{});
    }
    SECTION("on a clock that went back: everything stays") {
        window.resize(10s, at(3s));
        CHECK(window.as_of(at(9s)).failed == 10);
    }
    const std::uint32_t after = window.number_at(at(10s));
    CHECK(rs::time_buckets::precedes(before, after));
    const rs::tally counted = window.at(after);
    window.record(before, 1, 1, 1);
    CHECK(window.at(after) == counted);
}

TEST_CASE("the length may change before the first timed_result", "[time_buckets]") {
    rs::time_buckets window{10s};

    window.resize(20s, at(0s));
    fail(window, at(0s));

    CHECK(window.as_of(at(20s - 1ns)).failed == 1);
    CHECK(window.as_of(at(20s)).failed == 0);
}

struct timed_result {
    std::int64_t bucket; // as the oracle numbers them
    rs::time_point at;
    rs::tally counts;
};

TEST_CASE("the time window agrees with a list of all results on long random histories",
          "[time_buckets][H-WIN-01][H-WIN-02][H-WIN-06][H-WIN-10]") {
    const rs::duration length =
        GENERATE(rs::duration{10ns}, rs::duration{105ns}, rs::duration{1s}, rs::duration{60s});
    const rs::duration width = length / 10;
    std::mt19937_64 engine{static_cast<std::uint64_t>(length.count())};
    const auto below = [&](std::int64_t n) {
        return static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(n));
    };
    rs::time_buckets window{length};
    std::vector<timed_result> all;
    rs::time_point now = at(1h);
    rs::time_point origin = now;
    std::int64_t newest = 0;
    bool begun = false;

    for (int step = 0; step < 50'000; ++step) {
        const auto what = below(1000);
        if (what < 3) now += rs::duration{below(1'000'000'000'000'000)};
        else if (what < 20) now += rs::duration{below(3 * length.count())};
        else if (what < 50) now -= rs::duration{below(length.count())};
        else now += rs::duration{below(width.count() + 1)};

        if (what == 500) {
            window.clear();
            all.clear();
            begun = false;
        }
        if (!begun) {
            begun = true;
            origin = now;
            newest = 0;
        }
        const std::int64_t there = now > origin ? (now - origin) / width : 0;
        newest = std::max(newest, there);
        const std::uint32_t number = window.number_at(now);

        const std::int64_t age = below(4) == 0 ? below(15) : 0;
        const auto successes = static_cast<std::uint64_t>(below(3));
        const auto failed = static_cast<std::uint64_t>(below(3));
        const auto slow = successes + failed == 0 ? 0 : static_cast<std::uint64_t>(below(2));
        if (age <= newest) {
            window.record(number - static_cast<std::uint32_t>(age), successes, failed, slow);
            all.push_back({newest - age, now, {.total = successes + failed, .failed = failed, .slow = slow}});
        }

        rs::tally expected;
        for (const timed_result& r : all) {
            if (newest - r.bucket < 10) expected += r.counts;
        }
        const rs::tally counted = window.at(number);
        if (counted != expected)
            FAIL("step " << step << ": total " << counted.total << ", not " << expected.total);
        if (window.as_of(now) != expected) FAIL("step " << step << ": as_of");
        std::erase_if(all, [&](const timed_result& r) { return newest - r.bucket >= 10; });
    }
    SUCCEED();
}

TEST_CASE("whatever its length becomes, the window counts nothing older and forgets nothing much younger",
          "[time_buckets][H-WIN-03]") {
    std::mt19937_64 engine{42};
    const auto below = [&](std::int64_t n) {
        return static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(n));
    };
    rs::duration length{1000};
    rs::duration longest_width{100}; // of the buckets that results may have gone through
    rs::time_buckets window{length};
    std::vector<rs::time_point> all;
    rs::time_point now = at(1h);
    rs::time_point known_since = rs::time_point::min();

    for (int step = 0; step < 25'000; ++step) {
        now += rs::duration{below(30)};
        if (below(500) == 0) now += rs::duration{below(10'000)};
        if (below(400) == 0) {
            known_since = std::max(known_since, now - length + 2 * longest_width);
            length = rs::duration{10 + below(3000)};
            longest_width = std::max(longest_width, length / 10);
            window.resize(length, now);
        }
        const std::uint32_t number = window.number_at(now);
        window.record(number, 0, 1, 0);
        all.push_back(now);

        std::uint64_t at_most = 0;
        std::uint64_t at_least = 0;
        for (const rs::time_point t : all) {
            at_most += now - t < length;
            at_least += now - t < length - 3 * longest_width && t > known_since;
        }
        const std::uint64_t counted = window.at(number).failed;
        if (counted > at_most) FAIL("step " << step << ": " << counted << " of " << at_most);
        if (counted < at_least) FAIL("step " << step << ": " << counted << " of at least " << at_least);
        std::erase_if(all, [&](rs::time_point t) { return now - t > 4us; });
    }
    SUCCEED();
}

static_assert(sizeof(rs::time_buckets) <= 512,
              "a breaker must stay small, however many calls it sees"); // H-WIN-14

} // namespace
