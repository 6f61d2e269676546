// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/call/system_random.hpp>

#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace rs = resilience;

namespace {

using draws = std::array<double, 4>;

draws draw() {
    draws d;
    for (auto& x : d) x = rs::system_random().uniform();
    return d;
}

draws draw_on_a_new_thread() {
    draws d;
    std::thread([&] { d = draw(); }).join();
    return d;
}

/// What a forked child draws: on the thread that it inherits, then on one of its own.
[[maybe_unused]] std::array<draws, 2> draw_in_child() {
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    const pid_t child = fork();
    if (child == 0) {
        const std::array<draws, 2> d{draw(), draw_on_a_new_thread()};
        _exit(write(ends[1], d.data(), sizeof d) == sizeof d ? 0 : 1);
    }
    close(ends[1]);
    std::array<draws, 2> d{};
    CHECK(read(ends[0], d.data(), sizeof d) == sizeof d);
    close(ends[0]);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    return d;
}

[[maybe_unused]] bool no_number_twice(const std::vector<draws>& all) {
    std::vector<double> numbers;
    for (const auto& d : all) numbers.insert(numbers.end(), d.begin(), d.end());
    std::sort(numbers.begin(), numbers.end());
    return std::adjacent_find(numbers.begin(), numbers.end()) == numbers.end();
}

TEST_CASE("the numbers are uniform in [0, 1)", "[system_random]") {
    constexpr std::size_t count = 1'000'000, buckets = 16;
    std::array<double, buckets> hits{};
    double sum = 0, product = 0, last = 0.5;

    for (std::size_t i = 0; i < count; ++i) {
        const double x = rs::system_random().uniform();
        if (x < 0.0 || x >= 1.0) FAIL("not in [0, 1): " << x);
        hits[static_cast<std::size_t>(x * buckets)] += 1;
        sum += x;
        product += (x - 0.5) * (last - 0.5);
        last = x;
    }

    // The limits are 7 standard deviations and more: chance does not get there.
    CHECK(sum / count > 0.498);
    CHECK(sum / count < 0.502);
    CHECK(product / count > -0.0006);
    CHECK(product / count < 0.0006);
    double chi_squared = 0;
    constexpr double expected = static_cast<double>(count) / buckets;
    for (const double h : hits) chi_squared += (h - expected) * (h - expected) / expected;
    CHECK(chi_squared < 80); // 15 degrees of freedom
}

TEST_CASE("threads draw different numbers", "[system_random][H-RT-07]") {
    const auto mine = draw();
    const auto one = draw_on_a_new_thread();
    const auto two = draw_on_a_new_thread();

    CHECK(no_number_twice({mine, one, two, draw()}));
}

TEST_CASE("threads draw at the same time, each its own numbers", "[system_random][H-RT-07]") {
    std::vector<draws> all(8);
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;

    for (auto& d : all) {
        threads.emplace_back([&] {
            while (!go) std::this_thread::yield();
            for (int i = 0; i < 10'000; ++i) d = draw();
        });
    }
    go = true;
    for (auto& thread : threads) thread.join();

    CHECK(no_number_twice(all));
}

// ThreadSanitizer refuses new threads in the child of a program that has threads.
#if !defined(__SANITIZE_THREAD__)
TEST_CASE("forked children and their parent draw different numbers", "[system_random][H-RT-07][H-CPP-12]") {
    const auto before = draw(); // so there is something to inherit
    const auto one = draw_in_child();
    const auto two = draw_in_child();

    CHECK(no_number_twice({before, one[0], one[1], two[0], two[1], draw(), draw_on_a_new_thread()}));
}
#endif

TEST_CASE("a thread draws until its last moment", "[system_random][H-CPP-12]") {
    struct late_user {
        draws* seen = nullptr;
        ~late_user() {
            if (seen != nullptr) *seen = draw();
        }
    };
    draws drawn{}, last{}, only{};

    std::thread([&] {
        thread_local late_user user; // made before the first number, so destroyed after all that it needs
        user.seen = &last;
        drawn = draw();
    }).join();
    std::thread([&] {
        thread_local late_user user; // draws for the first time while the thread ends
        user.seen = &only;
    }).join();

    CHECK(no_number_twice({drawn, last, only}));
}

} // namespace
