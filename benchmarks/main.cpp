// SPDX-License-Identifier: Apache-2.0
// What a policy costs over a bare call of a function that is not inlined, in one run, and how that
// compares with the bounds the project has set itself (docs/performance.md).

#ifdef RESILIENCE_BENCH_ASIO
#include "coroutines.hpp"
#endif
#include "harness.hpp"
#include "load.hpp"
#include "many.hpp"
#include "report.hpp"
#include "result.hpp"

#include <resilience/resilience.hpp>

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using bench::bounds;
using bench::compare_threads;
using bench::keep;
using bench::repeat;
using bench::result;
using bench::row;
using bench::show;
using bench::verdict;
using bench::work;

namespace {

/// The policies that rows share; made once.
struct subjects {
    rs::registry reg;
    rs::circuit_breaker breaker{{.name = "closed"}, reg};
    rs::circuit_breaker in_a_row{{.consecutive_failures = 5}, reg};
    rs::circuit_breaker by_count{{.failure_rate_threshold = 0.5}, reg};
    rs::circuit_breaker by_time{{.failure_rate_threshold = 0.5, .window = rs::time_window{60s}}, reg};
    rs::circuit_breaker failing{{.consecutive_failures = 2'000'000'000}, reg};
    rs::circuit_breaker open{{.name = "open"}, reg};
    rs::circuit_breaker disabled{{}, reg};
    rs::retry retry{{}, reg};
    rs::retry once{{.max_attempts = 1}, reg};
    rs::timeout limit{2s, reg};
    rs::retry at_once{{.base_delay = 0s, .budget = rs::retry_budget::unlimited()}, reg};
    rs::registry heard_reg; // has a subscriber that does nothing
    rs::subscription hears = heard_reg.subscribe([](const rs::event& e) { keep(e); });
    rs::circuit_breaker heard_open{{.name = "open"}, heard_reg};
    rs::retry heard_retry{{.base_delay = 0s, .budget = rs::retry_budget::unlimited()}, heard_reg};
    rs::pipeline<rs::retry, rs::circuit_breaker> two = retry | breaker;
    rs::pipeline<rs::retry, rs::circuit_breaker, rs::timeout> three = retry | breaker | rs::timeout(2s, reg);
    rs::pipeline<rs::retry, rs::circuit_breaker, rs::timeout> short_limit =
        retry | breaker | rs::timeout(100ms, reg);
    rs::any_pipeline any{retry, breaker, rs::timeout(2s, reg)};
    rs::backoff_schedule schedule{};
    int x = 1;

    subjects() {
        open.open_for(24h);
        disabled.disable();
        heard_open.open_for(24h);
    }
};

std::vector<row> make_rows(subjects& s) {
    const auto call = [&s] { return work(s.x); };
    const auto fails_twice = [n = 0]() mutable -> result {
        keep(work(1));
        if (++n % 3 != 0) return result::unexpected_type(std::make_error_code(std::errc::io_error));
        return 1;
    };
    const auto throws_twice = [n = 0]() mutable {
        if (++n % 3 != 0) throw std::runtime_error("no");
        return work(1);
    };
    std::vector<row> rows;
    rows.push_back(repeat("bare call", 0, [&s] { keep(work(s.x)); }));
    rows.push_back(repeat("  steady clock read", 0, [&s] { keep(s.reg.clock().now()); }));
    rows.push_back(repeat("  coarse clock read", 0, [&s] { keep(s.reg.clock().coarse_now()); }));
    rows.push_back(repeat(
        "  throw and catch", 0,
        [] {
            try {
                throw std::runtime_error("no");
            } catch (const std::exception& e) {
                keep(e);
            }
        },
        500));
    rows.push_back(repeat("closed breaker, success", 2, [&s, call] { keep(s.breaker(call)); }));
    rows.push_back(repeat("closed breaker, with an argument", 4, [&s] { keep(s.breaker(work, s.x)); }));
    rows.push_back(repeat("closed breaker, try_call", 4, [&s, call] { keep(s.breaker.try_call(call)); }));
    rows.push_back(repeat("closed breaker, failures in a row", 2, [&s, call] { keep(s.in_a_row(call)); }));
    rows.push_back(
        repeat("closed breaker, rate in a time window", 10, [&s, call] { keep(s.by_time(call)); }));
    rows.push_back(
        repeat("closed breaker, rate in the last 100", 12, [&s, call] { keep(s.by_count(call)); }));
    const auto fails = []() -> result {
        keep(work(1));
        return result::unexpected_type(std::make_error_code(std::errc::io_error));
    };
    rows.push_back(repeat("closed breaker, failing value", 60, [&s, fails] { keep(s.failing(fails)); }));
    rows.push_back(repeat("permit, failure()", 60, [&s] { keep(s.failing.try_acquire()->failure()); }));
    rows.push_back(repeat("retry, first attempt succeeds", 2, [&s, call] { keep(s.retry(call)); }));
    rows.push_back(repeat("retry, 2 failing values then success", 15,
                          [&s, f = fails_twice]() mutable { keep(s.at_once(f)); }));
    rows.push_back(repeat(
        "retry, 2 exceptions then success", 1400, [&s, f = throws_twice]() mutable { keep(s.at_once(f)); },
        300));
    rows.push_back(repeat("retry | breaker", 4, [&s, call] { keep(s.two(call)); }));
    rows.push_back(repeat("retry | breaker | timeout(2s)", 15, [&s, call] { keep(s.three(call)); }));
    rows.push_back(repeat("  the same, named", 0, [&s, call] { keep(s.three.named("op")(call)); }));
    rows.push_back(repeat("  the same, callable takes call_context&", 0,
                          [&s] { keep(s.three([&s](rs::call_context&) { return work(s.x); })); }));
    rows.push_back(repeat("  the same as any_pipeline", 0, [&s, call] { keep(s.any(call)); }));
    rows.push_back(repeat(
        "retry | breaker | timeout(100ms), two clock reads", 0, [&s, call] { keep(s.short_limit(call)); },
        5'000));
    rows.push_back(repeat("open breaker, rejection as a value", 8,
                          [&s] { keep(s.open.try_call([&s]() -> result { return work(s.x); })); }));
    rows.push_back(repeat("open breaker, rejection in the result", 8,
                          [&s] { keep(s.open([&s]() -> result { return work(s.x); })); }));
    rows.push_back(repeat(
        "open breaker, rejection thrown", 1200,
        [&s, call] {
            try {
                keep(s.open(call));
            } catch (const rs::circuit_open_error& e) {
                keep(e);
            }
        },
        300));
    rows.back().may_allocate = true;
    // The rows without a subscriber, and 40 ns for each event.
    rows.push_back(repeat(
        "open breaker, rejection as a value, a subscriber", 8 + 40,
        [&s] { keep(s.heard_open.try_call([&s]() -> result { return work(s.x); })); }, 5'000));
    rows.back().may_allocate = true;
    rows.push_back(repeat(
        "retry, 2 failing values then success, a subscriber", 15 + 5 * 40,
        [&s, f = fails_twice]() mutable { keep(s.heard_retry(f)); }, 1'000));
    rows.back().may_allocate = true;
    const auto throws = []() -> int { throw std::runtime_error("no"); };
    const auto passes_through = [&rows](std::string name, double bound, auto through) {
        const auto caught = [through] {
            try {
                keep(through());
            } catch (const std::exception& e) {
                keep(e);
            } catch (int number) {
                keep(number);
            }
        };
        rows.push_back(repeat(std::move(name), bound, caught, 300));
        rows.back().may_allocate = true;
    };
    passes_through("an exception, kept and thrown again by hand", 0, [throws] {
        std::exception_ptr kept;
        try {
            return throws();
        } catch (...) {
            kept = std::current_exception();
        }
        std::rethrow_exception(kept);
    });
    passes_through("  the same through a closed breaker", 2000, [&s, throws] { return s.failing(throws); });
    passes_through("  the same through a disabled breaker", 2000,
                   [&s, throws] { return s.disabled(throws); });
    passes_through("  the same through a retry of one attempt", 2000,
                   [&s, throws] { return s.once(throws); });
    passes_through("  the same through a timeout(2s)", 2000, [&s, throws] { return s.limit(throws); });
    passes_through("  an int through a closed breaker", 0,
                   [&s] { return s.failing([]() -> int { throw 42; }); });
    rows.push_back(repeat("full-jitter delay", 5,
                          [&s] { keep(rs::delay_of(s.schedule, 3, 0s, s.reg.random().uniform())); }));
    for (auto& r : rows) {
        if (r.name.find("exceptions") != std::string::npos || r.name.find("throw and") != std::string::npos)
            r.may_allocate = true;
    }
    return rows;
}

void compare_threads(const char* name, const rs::circuit_breaker& breaker, double bound, int repetitions,
                     verdict& v) {
    compare_threads(
        name, [&breaker] { keep(breaker([] { return work(1); })); }, 400'000, bound, repetitions, v);
}
/// Each thread fails on a circuit of its own, in a registry of its own.
void compare_private_failures(int repetitions, verdict& v) {
    const auto call = [] {
        thread_local rs::registry own;
        thread_local const rs::circuit_breaker breaker{{.consecutive_failures = 2'000'000'000}, own};
        keep(breaker.try_acquire()->failure());
    };
    compare_threads("failures on private breakers", call, 100'000, 1.1, repetitions, v);
}

std::vector<rs::circuit_breaker> make_circuits(int count, rs::registry& reg) {
    std::vector<rs::circuit_breaker> circuits;
    for (int i = 0; i < count; ++i)
        circuits.emplace_back(rs::circuit_breaker_config{.name = "circuit_" + std::to_string(i)}, reg);
    return circuits;
}

/// Reading registries of 10 and of 10,000 circuits, in microseconds.
void measure_registry(int repetitions, verdict& v) {
    rs::registry few, many;
    const auto ten = make_circuits(10, few);
    const auto circuits = make_circuits(10'000, many);
    std::vector<row> rows;
    rows.push_back(repeat("health() of 10,000 closed circuits", 200, [&many] { keep(many.health()); }, 3));
    rows.push_back(repeat(
        "find() among 10 names", 0.025, [&few] { keep(few.find<rs::circuit_breaker>("circuit_7")); }, 2'000));
    rows.push_back(repeat(
        "find() among 10,000 names", 0.03, [&many] { keep(many.find<rs::circuit_breaker>("circuit_7777")); },
        2'000));
    bench::measure(rows, repetitions);
    std::printf("\n%-50s %9s\n", "registry, microseconds", "total");
    for (const auto& r : rows)
        std::printf("%-50s %9.3f   bound %g: %s\n", r.name.c_str(), r.median() / 1e3, r.bound,
                    v.judge(r.median() / 1e3, r.bound));

    std::printf("\n%-50s %9s %9s %8s %7s\n", "one registry shared by threads", "1 thread", "2 threads",
                "ratio", "bound");
    const auto look_for = [](const rs::registry& reg, const std::string& name) {
        keep(reg.find<rs::circuit_breaker>(name));
    };
    static std::atomic<int> threads{0}; // each looks for a name of its own
    compare_threads(
        "find() among 10 names, each its own",
        [&] {
            thread_local const std::string name = "circuit_" + std::to_string(threads++ % 10);
            look_for(few, name);
        },
        100'000, 1.2, repetitions, v);
    compare_threads(
        "find() among 10,000 names, each its own",
        [&] {
            thread_local const std::string name = "circuit_" + std::to_string(threads++ * 7919 % 10'000);
            look_for(many, name);
        },
        100'000, 1.2, repetitions, v);
    // Both count the owners of one policy.
    compare_threads(
        "find() of one name", [&, name = std::string("circuit_7")] { look_for(few, name); }, 100'000, 0,
        repetitions, v);
    compare_threads(
        "a copy of one shared_ptr",
        [one = std::make_shared<int>()] {
            const std::shared_ptr<int> copy = one;
            keep(copy);
        },
        100'000, 0, repetitions, v);
}

/// A hand-over to a thread that waits, and back: what any timeout that can leave its call behind must pay.
class ping_pong {
public:
    ping_pong() : worker_([this] { serve(); }) {}
    ~ping_pong() {
        hand_over(2);
        worker_.join();
    }
    void round_trip() {
        hand_over(1);
        std::unique_lock lock(mutex_);
        back_.wait(lock, [this] { return asked_ == 0; });
    }

private:
    void hand_over(int what) {
        {
            const std::lock_guard lock(mutex_);
            asked_ = what;
        }
        there_.notify_one();
    }
    void serve() {
        for (;;) {
            std::unique_lock lock(mutex_);
            there_.wait(lock, [this] { return asked_ != 0; });
            if (asked_ == 2) return;
            asked_ = 0;
            lock.unlock();
            back_.notify_one();
        }
    }

    std::mutex mutex_;
    std::condition_variable there_;
    std::condition_variable back_;
    int asked_ = 0; // guarded by mutex_: 1 a round trip, 2 the end
    std::thread worker_;
};

/// Keeps this thread, and those that it starts meanwhile, on the core that it is on: what it costs to wake a
/// core that sleeps is the machine's business, up to 80 us of it.
class one_core {
public:
    one_core() {
        sched_getaffinity(0, sizeof before_, &before_);
        cpu_set_t here;
        CPU_ZERO(&here);
        CPU_SET(sched_getcpu(), &here);
        sched_setaffinity(0, sizeof here, &here);
    }
    ~one_core() { sched_setaffinity(0, sizeof before_, &before_); }
    one_core(const one_core&) = delete;
    one_core& operator=(const one_core&) = delete;

private:
    cpu_set_t before_;
};

void compare_abandoning(rs::registry& reg, int repetitions, verdict& v) {
    const one_core here;
    ping_pong bare;
    const rs::abandoning_timeout guard(2s, reg);
    std::vector<row> rows;
    rows.push_back(repeat("a thread's round trip, on one core", 0, [&bare] { bare.round_trip(); }, 500));
    rows.push_back(
        repeat("abandoning timeout, on one core", 0, [&guard] { keep(guard([] { return work(1); })); }, 500));
    bench::measure(rows, repetitions);
    const double bound = rows[0].median() + 2000;
    const double mine = rows[1].median();
    const char* word = v.judge(mine, bound);
    std::printf("\n%-50s %9.0f\n%-50s %9.0f   bound: the round trip + 2000 = %.0f: %s\n",
                rows[0].name.c_str(), rows[0].median(), rows[1].name.c_str(), mine, bound, word);
}

#ifdef RESILIENCE_BENCH_ASIO
/// An awaited call may cost 0.3 of the bare co_await, or 60 ns, whichever is more, where its frame is one that Asio keeps.
void compare_coroutines(int repetitions, const bounds& limits, verdict& v) {
    auto rows = bench::coroutine_rows();
    bench::measure(rows, repetitions);
    std::printf("\n%-50s %9s %9s %8s %7s %7s\n", "awaited on an io_context of Asio", "total", "over", "ratio",
                "bound", "allocs");
    const double bare = rows.front().median();
    for (auto& r : rows) {
        const bool bounded = &r != &rows.front() && !r.may_allocate;
        show(r, bare, bounded ? std::max(0.3 * bare, limits.here(60)) : 0, v);
    }
}
#endif

} // namespace

int main(int argc, char** argv) {
    int repetitions = 21;
    if (argc == 3 && std::strcmp(argv[1], "--repetitions") == 0) repetitions = std::atoi(argv[2]);
    if (repetitions < 9) {
        std::fprintf(stderr,
                     "usage: resilience_bench [--repetitions N]   (N of at least 9; 21 if not given)\n");
        return 2;
    }
    subjects s;
    auto rows = make_rows(s);
    bench::measure(rows, repetitions);

    verdict v;
    const double bare = rows.front().median();
    const bounds limits(bare);
    std::printf(
        "medians of %d interleaved repetitions, nanoseconds; `over` is over the bare call; the bounds are\n"
        "those of a machine whose bare call takes 1.1 ns, times %.2f for this one\n\n",
        repetitions, limits.scale());
    std::printf("%-50s %9s %9s %8s %7s %7s\n", "", "total", "over", "ratio", "bound", "allocs");
    for (const auto& r : rows) show(r, bare, limits.here(r.bound), v);

    std::printf("\n%-50s %9s %9s %8s %7s\n", "one breaker shared by threads", "1 thread", "2 threads",
                "ratio", "bound");
    compare_threads("closed breaker", s.breaker, 1.3, repetitions, v);
    compare_threads("closed breaker, rate in a time window", s.by_time, 1.3, repetitions, v);
    compare_threads("closed breaker, rate in the last 100", s.by_count, 0, repetitions, v);
    compare_private_failures(repetitions, v);
    measure_registry(repetitions, v);

#ifdef RESILIENCE_BENCH_ASIO
    compare_coroutines(repetitions, limits, v);
#endif
    compare_abandoning(s.reg, repetitions, v);

    bench::measure_load(repetitions, bare, limits, v);
    bench::measure_many(repetitions, limits, v);

    std::printf("\n%d missed by more than 2x, %d within 2x\n", v.missed_far, v.missed);
    return v.missed_far > 0 ? 1 : 0;
}
