// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/mechanism/latency_histogram.hpp>

#include <algorithm>
#include <chrono>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

TEST_CASE("a histogram without calls has nothing in its buckets", "[latency_histogram]") {
    const rs::latency_histogram h;

    CHECK(h.calls() == 0);
    CHECK(h.up_to(0) == 0);
    CHECK(h.sum() == 0s);
}

TEST_CASE("the bounds of buckets ascend", "[latency_histogram]") {
    CHECK(std::ranges::is_sorted(rs::latency_histogram::bounds));
    CHECK(rs::latency_histogram::bounds.front() == 1ms);
    CHECK(rs::latency_histogram::bounds.back() == 10s);
}

TEST_CASE("a call that took as long as a bound is in that bucket, a tick more in the next",
          "[latency_histogram]") {
    for (std::size_t i = 0; i < rs::latency_histogram::bounds.size(); ++i) {
        INFO(i);
        const rs::duration bound = rs::latency_histogram::bounds[i];
        rs::latency_histogram at;
        at.record(bound);
        CHECK(at.up_to(i) == 1);
        CHECK((i == 0 || at.up_to(i - 1) == 0));

        rs::latency_histogram beyond;
        beyond.record(bound + 1ns);
        CHECK(beyond.up_to(i) == 0);
        CHECK(beyond.up_to(i + 1) == 1);
    }
}

TEST_CASE("buckets hold the calls of all smaller ones, and the sum is theirs", "[latency_histogram]") {
    rs::latency_histogram h;
    for (const rs::duration took :
         {rs::duration{0}, rs::duration{3ms}, rs::duration{3ms}, rs::duration{1min}})
        h.record(took);

    CHECK(h.up_to(0) == 1); // 1 ms
    CHECK(h.up_to(1) == 1); // 2.5 ms
    CHECK(h.up_to(2) == 3); // 5 ms
    CHECK(h.up_to(12) == 3);
    CHECK(h.calls() == 4);
    CHECK(h.sum() == 1min + 6ms);
}

TEST_CASE("the sum of endless calls is held at the end of the range", "[latency_histogram]") {
    rs::latency_histogram h;
    h.record(rs::duration::max());
    h.record(rs::duration::max());

    CHECK(h.sum() == rs::duration::max());
    CHECK(h.calls() == 2);
}

} // namespace
