// SPDX-License-Identifier: Apache-2.0
#pragma once

// Rows of a table, timed in turn so that a noisy moment of the machine falls on all of them alike.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

/// Heap allocations made by this thread so far (counted by the operator new of allocations.cpp).
std::uint64_t allocations() noexcept;
/// Their bytes, without what the heap adds.
std::uint64_t allocated_bytes() noexcept;

/// Keeps the optimiser from removing what made `value`.
template <class T>
inline void keep(const T& value) {
    asm volatile("" ::"r"(&value) : "memory");
}

/// The callable that all rows wrap: not inlined, hardly any work.
__attribute__((noinline)) int work(int x) noexcept;

/// One row: `run(n)` makes n calls.
struct row {
    std::string name;
    double bound;        ///< nanoseconds over a bare call; 0: only shown
    std::uint64_t calls; ///< in one batch
    std::function<void(std::uint64_t)> run;
    std::string group{}; ///< rows of a group are compared with one another, not with a bound
    bool may_allocate = false;
    std::vector<double> samples{}; ///< ns a call, one for each repetition
    double allocations_per_call = 0;

    double median() const {
        auto sorted = samples;
        std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2),
                         sorted.end());
        return sorted[sorted.size() / 2];
    }
    double best() const { return *std::min_element(samples.begin(), samples.end()); }
};

/// A row that calls f() again and again.
template <class F>
row repeat(std::string name, double bound, F f, std::uint64_t calls = 20'000) {
    return {std::move(name), bound, calls, [f](std::uint64_t n) mutable {
                for (std::uint64_t i = 0; i < n; ++i) f();
            }};
}

/// The same on two threads at once; n calls on each.
template <class F>
row repeat_on_two_threads(std::string name, F f, std::uint64_t calls = 400'000) {
    return {std::move(name), 0, calls, [f](std::uint64_t n) {
                const auto loop = [f, n]() mutable {
                    for (std::uint64_t i = 0; i < n; ++i) f();
                };
                std::thread other(loop);
                auto mine = loop;
                mine();
                other.join();
            }};
}

inline void measure(std::vector<row>& rows, int repetitions) {
    using clock = std::chrono::steady_clock;
    for (auto& r : rows) {
        r.run(r.calls / 10 + 1); // warm: stripes, predictors, caches
        const auto of = [&r](std::uint64_t calls) {
            const auto before = allocations();
            r.run(calls);
            return static_cast<double>(allocations() - before);
        };
        r.allocations_per_call =
            (of(200) - of(100)) / 100.0; // without those of a run itself, such as a spawn
    }
    for (int i = 0; i < repetitions; ++i) {
        for (auto& r : rows) {
            const auto start = clock::now();
            r.run(r.calls);
            const std::chrono::duration<double, std::nano> took = clock::now() - start;
            r.samples.push_back(took.count() / static_cast<double>(r.calls));
        }
    }
}

} // namespace bench
