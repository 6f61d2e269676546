// SPDX-License-Identifier: Apache-2.0
// Counts that each thread keeps for itself, while threads come and go.
//
// Breaks of the headers that were made by hand and were found:
//   a stripe taken, or given back, without the lock (the next owner reads old counts)
//   threads given one stripe
//   a shared stripe added to by load and store
#include "schedules/explore.hpp"
#include "schedules/world.hpp"

#include <resilience/detail/striped_buckets.hpp>
#include <resilience/detail/striped_counters.hpp>

#include <chrono>
#include <cstdint>

namespace {

namespace sync = resilience::detail;
using schedules::explore;
using schedules::together;

/// The calling thread shares the one stripe of all that have none of their own, until the object ends.
class on_the_shared_stripe {
public:
    on_the_shared_stripe() { sync::this_threads_stripe = {this, 0}; }
    on_the_shared_stripe(const on_the_shared_stripe&) = delete;
    on_the_shared_stripe& operator=(const on_the_shared_stripe&) = delete;
    ~on_the_shared_stripe() { sync::this_threads_stripe = before_; }

private:
    sync::thread_stripe before_ = sync::this_threads_stripe;
};

TEST_CASE("sums of threads that come and go are exact", "[striped_counters][H-WIN-04][H-CPP-14]") {
    const auto scenario = [] {
        sync::striped_counters<2> counters;
        const auto count = [&] {
            counters.add(0);
            counters.add(1);
            counters.add(0);
        };

        together(count, [&] { together(count); }, count);

        EXPECT(counters.sum(0) == 6 && counters.sum(1) == 3);
    };

    explore("three threads, one after another or at once", {.within = {2, 1}}, scenario);
    explore("three threads, one after another or at once", {.random = 5000}, scenario);
}

TEST_CASE("a stripe that a thread leaves is whole when another one takes it",
          "[striped_counters][H-WIN-04][H-CPP-14]") {
    const auto scenario = [] {
        sync::striped_counters<1> counters;
        const auto count = [&] { counters.add(0); };
        sync::thread first(count);
        sync::thread second(count);
        sync::thread third(count); // takes the stripe of one that has ended, if one has
        first.join();
        second.join();
        third.join();

        EXPECT(counters.sum(0) == 3);
    };

    explore("threads that follow one another", {.within = {2, 1}}, scenario);
}

TEST_CASE("threads that share a stripe lose nothing", "[striped_counters][H-WIN-04]") {
    const auto scenario = [] {
        sync::striped_counters<1> counters;
        const auto count = [&] {
            const on_the_shared_stripe here;
            counters.add(0);
            counters.add(0);
        };

        together(count, count, count);

        EXPECT(counters.sum(0) == 6);
    };

    explore("three threads on one stripe", {.random = 1000}, scenario);
}

TEST_CASE("a sum misses at most what is being added", "[striped_counters]") {
    const auto scenario = [] {
        sync::striped_counters<1> counters;
        counters.add(0);
        std::uint64_t seen = 0;
        together(
            [&] {
                counters.add(0);
                counters.add(0);
            },
            [&] { seen = counters.sum(0); });

        EXPECT(seen >= 1 && seen <= 3);
    };

    explore("add and sum", {.within = {2, 1}, .limits = {.every_load = true}}, scenario);
}

TEST_CASE("a window of time holds what all threads count in it", "[striped_buckets][H-WIN-04]") {
    const auto scenario = [] {
        schedules::world w;
        const resilience::circuit_breaker breaker(
            {.failure_rate_threshold = 1.0,
             .window = resilience::time_window{std::chrono::seconds{10}},
             .minimum_calls = 100},
            w.reg);
        const auto succeed = [&] {
            for (int i = 0; i < 3; ++i)
                breaker.try_acquire()->success(); // the second is the first on its own stripe
        };

        together(succeed, succeed, [&] { breaker.try_acquire()->failure(); });

        EXPECT(breaker.stats().failure_rate == 1.0 / 7.0);
    };

    explore("six successes and a failure by three threads", {.random = 3000}, scenario);
}

TEST_CASE("a window of time holds what threads count that share a stripe",
          "[striped_buckets][H-WIN-04][H-CPP-14]") {
    const auto scenario = [] {
        schedules::world w;
        const resilience::circuit_breaker breaker(
            {.failure_rate_threshold = 1.0,
             .window = resilience::time_window{std::chrono::seconds{10}},
             .minimum_calls = 100},
            w.reg);
        const on_the_shared_stripe first;
        breaker.try_acquire()->success(); // its bucket is over by the time that others come
        w.clock.advance(std::chrono::seconds{10});
        const auto succeed = [&] {
            const on_the_shared_stripe here;
            breaker.try_acquire()->success();
            breaker.try_acquire()->success();
        };

        together(succeed, succeed, [&] { breaker.try_acquire()->failure(); });

        EXPECT(breaker.stats().failure_rate == 1.0 / 5.0);
    };

    explore("four successes on one stripe and a failure", {.random = 3000}, scenario);
}

TEST_CASE("a success of before a reset enters no later window by the stripe that its thread shares",
          "[striped_buckets][H-CB-15]") {
    const auto scenario = [] {
        schedules::world w;
        const resilience::circuit_breaker breaker(
            {.failure_rate_threshold = 1.0,
             .window = resilience::time_window{std::chrono::seconds{10}},
             .minimum_calls = 100},
            w.reg);
        auto old = breaker.try_acquire();

        together(
            [&] {
                const on_the_shared_stripe here;
                old->success();
            },
            [&] {
                const on_the_shared_stripe here;
                breaker.try_acquire()->success();
                breaker.reset();
                breaker.try_acquire()->success(); // enters a bucket of the new window
            });

        breaker.try_acquire()->failure();
        const auto s = breaker.stats();
        EXPECT(s.calls == 4 && s.successes == 3 && s.success_count == 1);
        EXPECT(s.failure_rate == 1.0 / 2.0);
    };

    explore("success, and reset by a thread of the same stripe", {.within = {3, 1}}, scenario);
    explore("success, and reset by a thread of the same stripe", {.random = 3000}, scenario);
}

} // namespace
