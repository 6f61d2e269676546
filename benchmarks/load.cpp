// SPDX-License-Identifier: Apache-2.0
#include "load.hpp"

#include "harness.hpp"

#include <resilience/resilience.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <optional>
#include <vector>

namespace bench {

namespace rs = resilience;
using namespace std::chrono_literals;

namespace {

/// A place taken and given back by the fewest atomic operations there can be for a limit.
struct counter {
    std::atomic<int> free{25};

    void operator()() {
        int seen = free.load(std::memory_order_relaxed);
        while (seen > 0 && !free.compare_exchange_weak(seen, seen - 1, std::memory_order_acquire)) {}
        keep(work(1));
        free.fetch_add(1, std::memory_order_release);
    }
};

struct load_subjects {
    rs::registry reg;
    rs::bulkhead places{{}, reg};
    rs::bulkhead one_place{{.max_concurrent = 1}, reg};
    rs::bulkhead queue{{.max_concurrent = 1, .max_queue = 1, .max_wait = 1h}, reg};
    rs::pipeline<rs::retry, rs::circuit_breaker, rs::bulkhead> three =
        rs::retry(rs::retry_config{}, reg) | rs::circuit_breaker(rs::circuit_breaker_config{}, reg) | places;
    rs::rate_limiter rate{{.permits = 1'000'000'000'000}, reg}; // more than can be asked for
    rs::rate_limiter window{{.permits = 1'000'000'000, .per = 1ms, .kind = rs::limiter::sliding_window}, reg};
    counter by_hand;

    /// A place is given back while a call waits for it.
    void hand_over() {
        auto held = queue.try_acquire();
        rs::call_context ctx(reg.clock());
        auto waits = queue.begin(ctx);
        keep(waits.admit(ctx).what());
        held.reset();
        keep(waits.admit(ctx).what());
    }
};

} // namespace

void measure_load(int repetitions, double bare, const bounds& limits, verdict& v) {
    load_subjects s;
    const auto call = [] { return work(1); };
    std::vector<row> rows;
    rows.push_back(repeat("  a place by two atomic operations by hand", 0, [&s] { s.by_hand(); }));
    rows.push_back(repeat("bulkhead", 12, [&s, call] { keep(s.places(call)); }));
    rows.push_back(repeat("bulkhead, a permit", 12, [&s] { keep(s.places.try_acquire()); }));
    rows.push_back(repeat("retry | breaker | bulkhead", 0, [&s, call] { keep(s.three(call)); }));
    rows.push_back(
        repeat("bulkhead, more than half is taken", 0, [&s, call] { keep(s.one_place(call)); }, 5'000));
    rows.push_back(repeat("bulkhead, handed to a call that waits", 0, [&s] { s.hand_over(); }, 2'000));
    rows.back().may_allocate = true;
    rows.push_back(repeat("rate limiter, token bucket", 10 + 5, [&s, call] { keep(s.rate(call)); }, 5'000));
    rows.push_back(repeat("rate limiter, sliding window", 0, [&s, call] { keep(s.window(call)); }, 5'000));
    // Beside a thread that sleeps: with one thread alone the C++ library leaves atomic operations out.
    const rs::timer sleeper = s.reg.clock().call_at(s.reg.clock().now() + 24h, [] {});
    measure(rows, repetitions);
    std::printf("\n%-50s %9s %9s %8s %7s %7s\n", "load", "total", "over", "ratio", "bound", "allocs");
    for (const auto& r : rows) show(r, bare, limits.here(r.bound), v);

    std::printf("\n%-50s %9s %9s %8s %7s\n", "one policy shared by threads", "1 thread", "2 threads", "ratio",
                "bound");
    compare_threads("two atomic operations by hand", [&s] { s.by_hand(); }, 200'000, 0, repetitions, v);
    compare_threads(
        "rate limiter, token bucket", [&s, call] { keep(s.rate(call)); }, 50'000, 0, repetitions, v);
    compare_threads("bulkhead", [&s, call] { keep(s.places(call)); }, 200'000, 0, repetitions, v);
}

} // namespace bench
