// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker/success_counts.hpp>

#include "support/catch.hpp"
#include "support/moment.hpp"

#include <chrono>
#include <cstdint>

namespace {

namespace rs = resilience;
using rs::window_fill;
using rs::detail::success_counts;
using support::at;
using namespace std::chrono_literals;

struct result_sequence : rs::detail::result_sequence {
    explicit result_sequence(std::uint64_t generation) : rs::detail::result_sequence(kept) {
        close_locked(generation, window_fill::enough_calls);
    }
    rs::detail::atomic<std::uint64_t> kept{0};
};

TEST_CASE("a sequence gives its positions to results of the current generation", "[success_counts]") {
    result_sequence results(7);

    CHECK(results.take_if(7));
    CHECK_FALSE(results.take_if(6));
    CHECK_FALSE(results.take_if(8));
    CHECK(results.take_locked() == 1);
    CHECK(results.take_if(7));
    CHECK(results.next_locked() == 3);
}

TEST_CASE("closing a sequence lets the next generation in, and says where it begins", "[success_counts]") {
    result_sequence results(1);
    results.take_if(1);
    results.take_if(1);

    CHECK(results.close_locked(2, window_fill::enough_calls) == 2);

    CHECK_FALSE(results.take_if(1));
    CHECK(results.take_if(2));
    CHECK(results.next_locked() == 3);
}

TEST_CASE("below minimum_calls only results that are settled under the mutex get a position",
          "[success_counts]") {
    result_sequence results(1);
    results.close_locked(1, window_fill::below_minimum_calls);

    CHECK_FALSE(results.take_if(1));
    CHECK(results.take_locked() == 0);
    CHECK_FALSE(results.take_if(1));

    CHECK(results.close_locked(1, window_fill::enough_calls) == 1);
    CHECK(results.take_if(1));
}

TEST_CASE("generations far apart are told from each other", "[success_counts]") {
    result_sequence results(1);
    for (const std::uint64_t generation : {3U, 4U, 5U, 1'000U, 32'767U}) {
        results.close_locked(generation, window_fill::enough_calls);
        CHECK_FALSE(results.take_if(generation - 1));
        CHECK_FALSE(results.take_if(generation + 1));
        CHECK(results.take_if(generation));
    }
    CHECK(results.next_locked() == 5);
}

TEST_CASE("successes count in total and in their generation", "[success_counts]") {
    success_counts counts(1);
    counts.take(1);
    counts.take(1);
    CHECK(counts.in_generation_locked() == 2);

    counts.begin_locked(2);
    CHECK(counts.in_generation_locked() == 0);
    counts.take(2);
    counts.take_late_locked();

    CHECK(counts.in_generation_locked() == 1);
    CHECK(counts.successes() == 4);
}

TEST_CASE("a success that is counted after its generation has ended is in none of the next three",
          "[success_counts]") {
    success_counts counts(1);

    for (const std::uint64_t generation : {2U, 3U, 4U}) {
        counts.begin_locked(generation);
        counts.take(1);
        CHECK(counts.in_generation_locked() == 0);
    }

    counts.begin_locked(5); // has the counter of the first
    CHECK(counts.in_generation_locked() == 0);
    CHECK(counts.successes() == 3);
}

TEST_CASE("ignored results and rejections are counted apart", "[success_counts]") {
    success_counts counts(1);

    counts.take_ignored();
    counts.take_ignored();
    counts.take_rejected();

    CHECK(counts.ignored() == 2);
    CHECK(counts.rejected() == 1);
    CHECK(counts.successes() == 0);
}

TEST_CASE("a success takes a position and counts, or does neither", "[success_counts]") {
    success_counts counts(1);

    CHECK(counts.take_position(1));
    CHECK_FALSE(counts.take_position(2));
    CHECK(counts.next_position_locked() == 1);
    CHECK(counts.successes() == 1);

    CHECK(counts.begin_locked(2) == 1);
    CHECK_FALSE(counts.take_position(1));
    CHECK(counts.take_position(2));
    CHECK(counts.take_position_locked() == 2);
    CHECK(counts.successes() == 2); // a position alone is no success
}

TEST_CASE("a change of the window's fill closes the sequence, and says whether it is one",
          "[success_counts]") {
    success_counts counts(1);
    CHECK(counts.fill_locked() == window_fill::enough_calls);
    CHECK_FALSE(counts.set_fill_locked(window_fill::enough_calls));

    CHECK(counts.set_fill_locked(window_fill::below_minimum_calls));
    CHECK_FALSE(counts.set_fill_locked(window_fill::below_minimum_calls));
    CHECK_FALSE(counts.take_position(1));
    CHECK(counts.fill_locked() == window_fill::below_minimum_calls);

    SECTION("until it is filled") { CHECK(counts.set_fill_locked(window_fill::enough_calls)); }
    SECTION("until it is cleared") { counts.clear_windows_locked(); }
    SECTION("until the next generation") {
        counts.begin_locked(2);
        CHECK(counts.take_position(2));
        counts.begin_locked(1);
    }
    CHECK(counts.fill_locked() == window_fill::enough_calls);
    CHECK(counts.take_position(1));
}

TEST_CASE("a thread counts in the bucket that it has entered until that ends", "[success_counts]") {
    success_counts counts(1);
    counts.take(1); // the thread has a stripe of its own from here on
    counts.keep_time_locked();

    CHECK_FALSE(counts.take_bucket(1, at(5s)));
    counts.enter_bucket_locked(7, at(10s));
    CHECK(counts.take_bucket(1, at(5s)));
    CHECK(counts.take_bucket(1, at(10s - 1ns)));
    CHECK_FALSE(counts.take_bucket(1, at(10s)));
    counts.enter_bucket_locked(8, at(20s));

    CHECK(counts.in_buckets_locked(7, 7) == 3);
    CHECK(counts.in_buckets_locked(7, 8) == 4);
    CHECK(counts.in_buckets_locked(8, 8) == 1);
    CHECK(counts.successes() == 5);
    CHECK(counts.in_generation_locked() == 5);
}

TEST_CASE("a bucket has to be entered again when a generation begins, windows are cleared, or numbers change",
          "[success_counts]") {
    success_counts counts(1);
    counts.take(1);
    counts.keep_time_locked();
    counts.enter_bucket_locked(7, at(10s));
    REQUIRE(counts.take_bucket(1, at(5s)));

    SECTION("begin") { counts.begin_locked(2); }
    SECTION("clear") { counts.clear_windows_locked(); }
    SECTION("renumber") { counts.renumber_locked(); }

    CHECK_FALSE(counts.take_bucket(1, at(5s)));
    CHECK_FALSE(counts.take_bucket(2, at(5s)));
}

TEST_CASE("a window of time that is kept again keeps what it has counted", "[success_counts]") {
    success_counts counts(1);
    counts.keep_time_locked();
    counts.enter_bucket_locked(7, at(10s));

    counts.keep_time_locked();

    CHECK(counts.in_buckets_locked(7, 7) == 1);
}

} // namespace
