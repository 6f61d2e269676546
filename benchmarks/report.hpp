// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a row's figures are compared with, and how they are shown.

#include "harness.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <latch>
#include <thread>
#include <vector>

namespace bench {

/// The bounds were set on a machine where a bare call takes 1.1 ns; one that is slower, or busy, gets as much
/// more as its own bare call takes.
class bounds {
public:
    explicit bounds(double bare) : scale_(std::max(1.0, bare / 1.1)) {}
    double here(double bound) const { return bound * scale_; }
    double scale() const { return scale_; }

private:
    double scale_;
};

struct verdict {
    int missed_far = 0; // by more than twice
    int missed = 0;
    /// The word for it.
    const char* judge(double mine, double bound) {
        if (mine <= bound) return "met";
        ++(mine <= 2 * bound ? missed : missed_far);
        return mine <= 2 * bound ? "missed, within 2x" : "MISSED BY MORE THAN 2x";
    }
};

inline void show(const row& r, double bare, double bound, verdict& v) {
    const double over = r.median() - bare;
    const char* word = bound > 0 ? v.judge(over, bound) : "";
    const bool allocates = r.allocations_per_call > 0 && !r.may_allocate;
    if (allocates) ++v.missed_far;
    char limit[16] = "";
    if (bound > 0) std::snprintf(limit, sizeof limit, "%.1f", bound);
    std::printf("%-50s %9.2f %9.2f %8.2f %7s %7.2f  %s%s\n", r.name.c_str(), r.median(), over,
                r.median() / bare, limit, r.allocations_per_call, word, allocates ? " ALLOCATES" : "");
}

/// A bound of 0: only shown.
template <class F>
void compare_threads(const char* name, F call, std::uint64_t calls, double bound, int repetitions,
                     verdict& v) {
    std::vector<row> rows;
    rows.push_back(repeat("1 thread", 0, call, calls));
    rows.push_back(repeat_on_two_threads("2 threads", call, calls));
    // Beside a thread that sleeps: with one thread alone the C++ library leaves atomic operations out.
    std::latch measured(1);
    std::thread sleeper([&measured] { measured.wait(); });
    measure(rows, repetitions);
    measured.count_down();
    sleeper.join();
    // Best of each: a second thread that the machine gives to somebody else says nothing about us.
    const double ratio = rows[1].best() / rows[0].best();
    const char* word = bound > 0 ? v.judge(ratio, bound) : "";
    std::printf("%-50s %9.2f %9.2f %7.2fx %6.1fx          %s\n", name, rows[0].best(), rows[1].best(), ratio,
                bound, word);
}

} // namespace bench
