// SPDX-License-Identifier: Apache-2.0
// Successes that are counted without a lock while the owner of the counts begins a generation, clears the windows or
// asks for calls to be settled under its mutex.
//
// Breaks of the header that were made by hand and were found:
//   a position taken by load and store; the upper bits compared before the step that takes the position
//   the fill not part of the sequence's upper bits
//   one counter for the successes of all generations
//   shared buckets entered without the generation, or read without it
#include "schedules/explore.hpp"

#include <resilience/circuit_breaker/success_counts.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace {

namespace sync = resilience::detail;
using resilience::window_fill;
using schedules::explore;
using schedules::together;
using namespace std::chrono_literals;

constexpr resilience::time_point in_first_bucket{5s};
constexpr resilience::time_point end_of_first_bucket{10s};

TEST_CASE("successes of several threads take positions one after another", "[success_counts]") {
    const auto scenario = [] {
        sync::success_counts counts(1);
        const auto succeed = [&] {
            EXPECT(counts.take_position(1));
            EXPECT(counts.take_position(1));
        };

        together(succeed, succeed, [&] { counts.take_position_locked(); });

        EXPECT(counts.next_position_locked() == 5);
        EXPECT(counts.successes() == 4);
    };

    explore("two threads of successes and a failure", {.within = {2, 0}}, scenario);
}

TEST_CASE("every success of a generation that got a position is before the first of the next",
          "[success_counts]") {
    const auto scenario = [] {
        sync::success_counts counts(1);
        std::uint64_t taken = 0;
        std::uint64_t first = 0;

        together(
            [&] {
                for (int i = 0; i < 2; ++i) taken += counts.take_position(1) ? 1 : 0;
            },
            [&] { first = counts.begin_locked(2); });

        EXPECT(first == taken);
        EXPECT(counts.next_position_locked() == first);
        EXPECT(counts.take_position(2) && !counts.take_position(1));
        EXPECT(counts.in_generation_locked() == 1);
        EXPECT(counts.successes() == taken + 1);
    };

    explore("two successes, and the next generation", {.within = {3, 1}}, scenario);
}

TEST_CASE("a success that did not see that the window waits for calls is before the look that follows",
          "[success_counts]") {
    const auto scenario = [] {
        sync::success_counts counts(1);
        bool taken = false;
        std::uint64_t seen = 0;

        together([&] { taken = counts.take_position(1); },
                 [&] {
                     EXPECT(counts.set_fill_locked(window_fill::below_minimum_calls));
                     seen = counts.next_position_locked();
                 });

        EXPECT(seen == (taken ? 1 : 0));
        EXPECT(!counts.take_position(1));
    };

    explore("a success, and the window waits for calls", {.within = {3, 1}}, scenario);
}

TEST_CASE(
    "a success that was found to be in time is in no later generation's count, however late it is added",
    "[success_counts]") {
    const auto scenario = [] {
        sync::success_counts counts(1);
        std::uint64_t in_second = 0;

        together([&] { counts.take(1); },
                 [&] {
                     counts.begin_locked(2);
                     in_second = counts.in_generation_locked();
                     counts.take(2);
                     in_second = counts.in_generation_locked() - in_second;
                 });

        EXPECT(in_second == 1);
        EXPECT(counts.in_generation_locked() == 1);
        EXPECT(counts.successes() == 2);
    };

    explore("a success, and a row of results of the next generation", {.within = {3, 1}}, scenario);
}

/// The calling thread shares the first stripe with all others that do, until the object ends.
class on_the_first_shared_stripe {
public:
    on_the_first_shared_stripe() { sync::this_threads_stripe = {this, 0}; }
    on_the_first_shared_stripe(const on_the_first_shared_stripe&) = delete;
    on_the_first_shared_stripe& operator=(const on_the_first_shared_stripe&) = delete;
    ~on_the_first_shared_stripe() { sync::this_threads_stripe = before_; }

private:
    sync::thread_stripe before_ = sync::this_threads_stripe;
};

TEST_CASE("no success of an earlier generation gets into a bucket of a later one", "[success_counts]") {
    constexpr std::uint32_t old_bucket = 100;
    constexpr std::uint32_t new_bucket = 200; // numbers ascend when a window is cleared
    const auto scenario = [](bool shared) {
        return [=] {
            sync::success_counts counts(1);
            sync::mutex owners;
            sync::atomic<std::uint64_t> current{1}; // the generation; written under owners
            counts.keep_time_locked();
            const auto on_its_stripe = [&](auto f) {
                return [&, f] {
                    counts.take_ignored(); // gives the thread a stripe of its own
                    const std::optional<on_the_first_shared_stripe> here =
                        shared ? std::optional<on_the_first_shared_stripe>(std::in_place) : std::nullopt;
                    f();
                };
            };

            together(on_its_stripe([&] {
                         {
                             const sync::lock_guard lock(owners);
                             if (current.load(std::memory_order_relaxed) == 1)
                                 counts.enter_bucket_locked(old_bucket, end_of_first_bucket);
                         }
                         for (int i = 0; i < 2; ++i) {
                             if (current.load(std::memory_order_acquire) == 1)
                                 counts.take_bucket(1, in_first_bucket);
                         }
                     }),
                     on_its_stripe([&] {
                         const sync::lock_guard lock(owners);
                         counts.begin_locked(2);
                         current.store(2, std::memory_order_release);
                         counts.enter_bucket_locked(new_bucket, end_of_first_bucket);
                     }));

            EXPECT(counts.in_buckets_locked(new_bucket, new_bucket) == 1);
            EXPECT(counts.in_buckets_locked(old_bucket, old_bucket) + 1 == counts.successes());
            EXPECT(counts.in_generation_locked() == 1);
        };
    };

    explore("successes in a bucket, and the next generation, own stripes", {.within = {3, 0}},
            scenario(false));
    explore("successes in a bucket, and the next generation, one stripe", {.within = {3, 0}}, scenario(true));
}

} // namespace
