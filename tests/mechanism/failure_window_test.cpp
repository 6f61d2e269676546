// SPDX-License-Identifier: Apache-2.0
#include <resilience/mechanism/failure_window.hpp>

#include "support/catch.hpp"
#include "support/moment.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <random>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

using support::at;

/// What the window should say, kept as a list of everything.
struct naive_failure_window {
    std::vector<rs::time_point> failures{};
    unsigned threshold = 0;
    rs::duration window{};

    unsigned count(rs::time_point now) const {
        unsigned counted = 0;
        for (const rs::time_point t : failures) counted += now - t < window;
        return std::min(counted, threshold);
    }
    void resize(unsigned new_threshold, rs::duration new_window) {
        std::sort(failures.begin(), failures.end(), std::greater<>());
        if (failures.size() > threshold) failures.resize(threshold);
        if (failures.size() > new_threshold) failures.resize(new_threshold);
        threshold = new_threshold;
        window = new_window;
    }
};

TEST_CASE("failures count up to the threshold", "[failure_window]") {
    rs::failure_window window{3, 10s};

    CHECK(window.count(at(0s)) == 0);
    CHECK(window.record(at(0s)) == 1);
    CHECK(window.record(at(1s)) == 2);
    CHECK(window.record(at(2s)) == 3);
    CHECK(window.record(at(3s)) == 3);
    CHECK(window.count(at(3s)) == 3);
}

TEST_CASE("a failure counts while it is younger than the window", "[failure_window][H-WIN-08]") {
    rs::failure_window window{3, 10s};
    window.record(at(5s));

    CHECK(window.count(at(15s - 1ns)) == 1);
    CHECK(window.count(at(15s)) == 0);
    CHECK(window.record(at(15s - 1ns)) == 2);
    CHECK(window.record(at(15s)) == 2);
}

TEST_CASE("failures as old as a long pause are forgotten, all of them", "[failure_window][H-WIN-02]") {
    const rs::duration pause =
        GENERATE(rs::duration{10s}, rs::duration{11s}, rs::duration{25s}, rs::duration{24h * 365});
    rs::failure_window window{5, 10s};
    for (int i = 0; i < 4; ++i) window.record(at(i * 1ms));

    CHECK(window.record(at(3ms + pause)) == 1);
    CHECK(window.count(at(3ms + pause)) == 1);
}

TEST_CASE("after a pause failures are remembered for the window and no longer",
          "[failure_window][H-WIN-03]") {
    const rs::duration between_looks = GENERATE(rs::duration{1ms}, rs::duration{700ms}, rs::duration{3s});
    rs::failure_window window{5, 4s};
    window.record(at(0s));
    const rs::time_point start = at(1h);
    window.record(start);

    for (rs::time_point now = start; now < start + 10s; now += between_looks) {
        REQUIRE(window.count(now) == (now - start < 4s ? 1 : 0));
    }
}

TEST_CASE("time that passes without any call is seen by a reader", "[failure_window][H-WIN-09]") {
    rs::failure_window window{3, 60s};
    for (int i = 0; i < 3; ++i) window.record(at(i * 1s));
    const rs::failure_window& reader = window;

    CHECK(reader.count(at(2s)) == 3);
    CHECK(reader.count(at(60s)) == 2);
    CHECK(reader.count(at(62s)) == 0);
    CHECK(reader.count(at(2s)) == 3);
}

TEST_CASE("a threshold of one remembers the youngest failure", "[failure_window][H-WIN-07]") {
    const unsigned threshold = GENERATE(0U, 1U);
    rs::failure_window window{threshold, 1ns};

    CHECK(window.count(at(0s)) == 0);
    CHECK(window.record(at(0s)) == 1);
    CHECK(window.count(at(1ns)) == 0);
    CHECK(window.record(at(5ns)) == 1);
    CHECK(window.record(at(5ns)) == 1);
    CHECK(window.count(at(5ns)) == 1);
    window.clear();
    CHECK(window.count(at(5ns)) == 0);
}

TEST_CASE("failures that come in another order than they happened are counted as they happened",
          "[failure_window][H-WIN-06]") {
    rs::failure_window window{3, 10s};
    window.record(at(20s));

    CHECK(window.record(at(19s)) == 2);
    CHECK(window.record(at(21s)) == 3);
    CHECK(window.record(at(5s)) == 3);
    CHECK(window.count(at(29s - 1ns)) == 3);
    CHECK(window.count(at(29s)) == 2);
    CHECK(window.count(at(30s)) == 1);
    CHECK(window.count(at(31s)) == 0);
}

TEST_CASE("a clock that goes backwards clears nothing and counts nothing twice",
          "[failure_window][H-WIN-06]") {
    rs::failure_window window{5, 10s};
    window.record(at(100s));
    window.record(at(100s));

    CHECK(window.count(at(0s)) == 2);
    CHECK(window.record(at(0s)) == 3);
    CHECK(window.count(at(100s)) == 2);
}

TEST_CASE("failures at the ends of the range of time are counted right", "[failure_window][H-WIN-05]") {
    rs::failure_window window{4, 1h};

    CHECK(window.record(rs::time_point::min()) == 1);
    CHECK(window.count(rs::time_point::max()) == 0);
    CHECK(window.record(rs::time_point::max()) == 1);
    CHECK(window.record(rs::time_point::min()) == 3);
    CHECK(window.count(rs::time_point::max()) == 1);

    rs::failure_window without_end{4, rs::duration::max()};
    without_end.record(at(0s));
    CHECK(without_end.count(at(24h * 365 * 100)) == 1);
}

TEST_CASE("a window keeps the youngest failures when its limits change", "[failure_window]") {
    rs::failure_window window{5, 10s};
    for (int i = 1; i <= 7; ++i) window.record(at(i * 1s));

    SECTION("to fewer") {
        window.resize(2, 10s);
        CHECK(window.count(at(7s)) == 2);
        CHECK(window.count(at(16s - 1ns)) == 2);
        CHECK(window.count(at(16s)) == 1);
    }
    SECTION("to more") {
        window.resize(8, 10s);
        CHECK(window.count(at(7s)) == 5);
        CHECK(window.record(at(8s)) == 6);
    }
    SECTION("to a shorter time") {
        window.resize(5, 2s);
        CHECK(window.count(at(7s)) == 2);
    }
    SECTION("to a longer time") {
        window.resize(5, 60s);
        CHECK(window.count(at(62s)) == 5);
        CHECK(window.count(at(63s)) == 4);
    }
}

TEST_CASE("the window agrees with a list of all failures on long random histories",
          "[failure_window][H-WIN-02][H-WIN-06][H-WIN-08]") {
    const unsigned threshold = GENERATE(1U, 2U, 3U, 5U, 64U, 1000U);
    std::mt19937_64 engine{threshold};
    const auto below = [&](long long n) {
        return static_cast<long long>(engine() % static_cast<unsigned long long>(n));
    };
    rs::failure_window window{threshold, 100ns};
    naive_failure_window naive{.threshold = threshold, .window = 100ns};
    rs::time_point now = at(0s);

    for (int step = 0; step < 20'000; ++step) {
        const auto what = below(1000);
        if (what < 10) now += rs::duration{below(1'000'000'000'000)};
        else if (what < 60) now -= rs::duration{below(150)};
        else now += rs::duration{below(threshold > 10 ? 3 : 40)};

        if (what == 107) {
            window.clear();
            naive.failures.clear();
        }
        if (what == 113 || what == 213) {
            const auto resized = static_cast<unsigned>(1 + below(2 * threshold));
            const rs::duration length{1 + below(200)};
            window.resize(resized, length);
            naive.resize(resized, length);
        }
        if (what % 4 != 0) { // a failure
            naive.failures.push_back(now);
            const unsigned counted = window.record(now);
            if (counted != naive.count(now))
                FAIL("step " << step << ": " << counted << ", not " << naive.count(now));
        }
        const rs::time_point other = now + rs::duration{below(300) - 150};
        if (window.count(other) != naive.count(other)) FAIL("step " << step << ", reading");
        // The list forgets what no window can see again, to keep the comparison quick.
        if (naive.failures.size() > 4000) {
            std::sort(naive.failures.begin(), naive.failures.end(), std::greater<>());
            naive.failures.resize(threshold);
        }
    }
    SUCCEED();
}

static_assert(noexcept(std::declval<rs::failure_window&>().record(std::declval<rs::time_point>())),
              "a failure must never need memory"); // H-WIN-13

} // namespace
