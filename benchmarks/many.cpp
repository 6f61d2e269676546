// SPDX-License-Identifier: Apache-2.0
#include "many.hpp"

#ifdef RESILIENCE_BENCH_ASIO
#include "coroutines.hpp"
#endif

#include <resilience/resilience.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <numeric>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;

namespace bench {

namespace {

/// The lines that a call through a circuit touches, in a block of a circuit's size.
struct three_lines {
    alignas(64) std::uint64_t written = 0;
    alignas(64) std::uint64_t way = 0; // to what is written
    alignas(64) std::uint64_t state = 0;
    std::array<char, 1'152> rest{};
};

/// One call after the other through 10,000 circuits.
void measure_circuits(int repetitions, const bounds& limits, verdict& v) {
    constexpr std::uint32_t count = 10'000;
    rs::registry reg;
    std::vector<rs::circuit_breaker> circuits;
    for (std::uint32_t i = 0; i < count; ++i) circuits.emplace_back(rs::circuit_breaker_config{}, reg);
    std::vector<three_lines> blocks(count);
    std::vector<std::uint32_t> in_turn(count), at_random(count);
    std::iota(in_turn.begin(), in_turn.end(), 0U);
    at_random = in_turn;
    std::shuffle(at_random.begin(), at_random.end(),
                 std::mt19937(1)); // NOLINT(cert-msc32-c,cert-msc51-cpp): the same each time

    const auto through = [&](const char* name, double bound, const std::vector<std::uint32_t>& order) {
        return repeat(
            name, bound,
            [&, i = std::size_t{0}]() mutable {
                keep(circuits[order[i]]([] { return work(1); }));
                i = i + 1 < order.size() ? i + 1 : 0;
            },
            2 * count);
    };
    const auto by_hand = [&](const char* name, const std::vector<std::uint32_t>& order) {
        return repeat(
            name, 0,
            [&, i = std::size_t{0}]() mutable {
                three_lines& b = blocks[order[i]];
                if (b.state == 0) keep(work(1));
                if (b.way == 0) ++b.written;
                i = i + 1 < order.size() ? i + 1 : 0;
            },
            2 * count);
    };
    std::vector<row> rows;
    rows.push_back(repeat("bare call", 0, [] { keep(work(1)); }));
    rows.push_back(through("10,000 circuits, in turn", 6, in_turn));
    rows.push_back(by_hand("  three cache lines each, in turn", in_turn));
    rows.push_back(through("10,000 circuits, at random", 9, at_random));
    rows.push_back(by_hand("  three cache lines each, at random", at_random));
    measure(rows, repetitions);
    std::printf("\n%-50s %9s %9s %8s %7s %7s\n", "many circuits", "total", "over", "ratio", "bound",
                "allocs");
    for (const auto& r : rows) show(r, rows.front().median(), limits.here(r.bound), v);
}

/// Threads that have all called through one circuit and live on; the last two then call it on command.
class crowd {
public:
    explicit crowd(std::size_t count) : turn_(static_cast<std::ptrdiff_t>(count) + 1) {
        for (std::size_t i = 0; i < count; ++i) threads_.emplace_back([this, i, count] { live(i, count); });
        turn_.arrive_and_wait(); // each has called
    }
    /// Nanoseconds of a call, a median: by the last thread alone, or by the last two at once.
    double measure(int repetitions, bool both) {
        std::vector<double> all;
        for (int i = 0; i < repetitions; ++i) {
            order_ = both ? order::two : order::one;
            turn_.arrive_and_wait();
            turn_.arrive_and_wait();
            all.push_back(took_);
        }
        std::nth_element(all.begin(), all.begin() + repetitions / 2, all.end());
        return all[static_cast<std::size_t>(repetitions / 2)];
    }
    /// Bytes of the circuit.
    std::uint64_t bytes() const { return bytes_; }
    ~crowd() {
        order_ = order::leave;
        turn_.arrive_and_wait();
        for (auto& t : threads_) t.join();
    }
    crowd(const crowd&) = delete;
    crowd& operator=(const crowd&) = delete;

private:
    enum class order { one, two, leave };
    static constexpr std::uint64_t calls = 200'000;

    void call() const {
        keep(circuit_([] { return work(1); }));
    }
    void live(std::size_t i, std::size_t count) {
        const auto before = allocated_bytes();
        call();
        bytes_ += allocated_bytes() - before;
        for (turn_.arrive_and_wait();;) {
            turn_.arrive_and_wait();
            const order now = order_;
            if (now == order::leave) return;
            const bool is_last = i + 1 == count;
            if (is_last || (now == order::two && i + 2 == count)) {
                const auto start = std::chrono::steady_clock::now();
                for (std::uint64_t n = 0; n < calls; ++n) call();
                const std::chrono::duration<double, std::nano> took =
                    std::chrono::steady_clock::now() - start;
                if (is_last) took_ = took.count() / static_cast<double>(calls);
            }
            turn_.arrive_and_wait();
        }
    }

    rs::registry reg_;
    std::atomic<std::uint64_t> bytes_{0};
    const std::uint64_t before_ = allocated_bytes();
    const rs::circuit_breaker circuit_{rs::circuit_breaker_config{}, reg_};
    const bool counted_ = (bytes_ += allocated_bytes() - before_, true);
    order order_ = order::one; // written between two turns
    std::atomic<double> took_{0};
    std::barrier<> turn_;
    std::vector<std::thread> threads_;
};

void measure_threads(int repetitions, verdict& v) {
    std::printf("\n%-50s %9s %9s %8s %7s\n", "threads that have called through one breaker", "the last",
                "last two", "ratio", "bytes");
    double first = 0;
    for (const std::size_t count : {1U, 2U, 24U, 64U, 256U}) {
        crowd all(count);
        const double alone = all.measure(5 * repetitions, false);
        const double both = count > 1 ? all.measure(5 * repetitions, true) : 0;
        if (count == 2) first = alone; // with one thread alone the C++ library leaves atomic operations out
        std::printf("%-50zu %9.2f ", count, alone);
        if (count > 1) std::printf("%9.2f %7.2fx", both, both / alone);
        else std::printf("%9s %8s", "", "");
        // The 256th shares what it counts in.
        const char* const word = count > 2 && count < 256 ? v.judge(alone, 1.5 * first) : "";
        std::printf(" %7llu  %s\n", static_cast<unsigned long long>(all.bytes()), word);
    }
}

template <class Make>
std::uint64_t bytes_of(Make make) {
    const std::uint64_t before = allocated_bytes();
    const auto made = make();
    return allocated_bytes() - before;
}

/// The bounds are those of the tests (tests/composition/allocations_test.cpp).
void measure_memory(verdict& v) {
    rs::registry reg;
    const auto print = [&v](const char* name, std::uint64_t bytes, std::uint64_t bound) {
        std::printf("%-50s %9llu   bound %llu: %s\n", name, static_cast<unsigned long long>(bytes),
                    static_cast<unsigned long long>(bound),
                    v.judge(static_cast<double>(bytes), static_cast<double>(bound)));
    };
    std::printf("\n%-50s %9s\n", "heap of one that no second thread has used", "bytes");
    print("circuit_breaker, with a name",
          bytes_of([&] { return rs::circuit_breaker({.name = "of usual size"}, reg); }), 700);
    print("circuit_breaker", bytes_of([&] { return rs::circuit_breaker(rs::circuit_breaker_config{}, reg); }),
          700);
    print("retry | circuit_breaker | timeout", bytes_of([&] {
              return rs::retry({}, reg) | rs::circuit_breaker(rs::circuit_breaker_config{}, reg) |
                     rs::timeout(2s, reg);
          }),
          1500);
}

#ifdef RESILIENCE_BENCH_ASIO
void measure_waiting_coroutines(const bounds& limits, verdict& v) {
    std::printf("\n%-50s %9s %9s\n", "20,000 coroutines of Asio, each waits once", "us", "bytes");
    for (const waiting_coroutines& w : measure_back_off()) {
        std::printf("%-50s %9.2f %9.0f", w.name, w.microseconds, w.bytes);
        if (w.bound > 0)
            std::printf("   bounds %.1f and %.0f: %s, %s", limits.here(w.bound), w.bytes_bound,
                        v.judge(w.microseconds, limits.here(w.bound)), v.judge(w.bytes, w.bytes_bound));
        std::printf("\n");
    }
}
#endif

} // namespace

void measure_many(int repetitions, const bounds& limits, verdict& v) {
    measure_circuits(repetitions, limits, v);
    measure_threads(repetitions, v);
    measure_memory(v);
#ifdef RESILIENCE_BENCH_ASIO
    measure_waiting_coroutines(limits, v);
#endif
}

} // namespace bench
