// SPDX-License-Identifier: Apache-2.0
// What it costs to look at a registry of 500 circuit breakers and 500 retries while calls go through them: the time of a
// scrape, its size and allocations, and what it does to the calls (docs/performance.md). `./run scrapes`
#include "harness.hpp"

#include <resilience/monitoring_api.hpp>
#include <resilience/resilience.hpp>

#include <pthread.h>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using seconds = std::chrono::duration<double>;

namespace {

constexpr int policies_of_a_kind = 500;

double median(std::vector<double> of) {
    std::ranges::nth_element(of, of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2));
    return of[of.size() / 2];
}

/// How long a thread has had a core.
seconds worked(clockid_t clock) {
    timespec at{};
    if (clock_gettime(clock, &at) != 0) std::abort();
    return seconds(static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) * 1e-9);
}

/// A registry, and pipelines retry | breaker through it.
struct service {
    explicit service(const rs::circuit_breaker_config& config) {
        for (int i = 0; i < policies_of_a_kind; ++i) {
            rs::circuit_breaker_config named = config;
            named.name = "remote_service_" + std::to_string(i);
            guards.push_back(rs::retry({.name = named.name}, reg) | rs::circuit_breaker(named, reg));
        }
    }
    rs::registry reg;
    std::vector<rs::pipeline<rs::retry, rs::circuit_breaker>> guards;
};

/// A thread that calls through one pipeline after the other, as fast as it can.
class caller {
public:
    explicit caller(const service& through)
        : thread_([this, &through](const std::stop_token& stop) {
              while (!stop.stop_requested()) {
                  for (const auto& guard : through.guards) bench::keep(guard(bench::work, 1));
                  // Relaxed: a count, with one writer.
                  calls_.store(calls_.load(std::memory_order_relaxed) + through.guards.size(),
                               std::memory_order_relaxed);
              }
          }) {}

    struct reading {
        std::chrono::steady_clock::time_point at;
        seconds worked; ///< by the thread
        std::uint64_t calls;
    };
    reading read() {
        clockid_t clock{};
        if (pthread_getcpuclockid(thread_.native_handle(), &clock) != 0) std::abort();
        return {std::chrono::steady_clock::now(), ::worked(clock), calls_.load(std::memory_order_relaxed)};
    }

private:
    std::atomic<std::uint64_t> calls_{0};
    std::jthread thread_; // last: it uses the others
};

/// Calls a second: of all time, and of the time that the thread had a core.
struct rate {
    double by_clock;
    double by_work;
};
rate between(const caller::reading& from, const caller::reading& to) {
    const auto calls = static_cast<double>(to.calls - from.calls);
    return {calls / seconds(to.at - from.at).count(), calls / (to.worked - from.worked).count()};
}

/// What each scrape took, and what is the same for all.
struct scrapes {
    std::vector<double> milliseconds;
    std::vector<double> milliseconds_worked;
    std::size_t bytes = 0;
    std::uint64_t allocations = 0;
    bool good = true;

    void make(const rs::monitoring_api& api, const rs::http_request& request, int times) {
        for (int i = 0; i < times; ++i) {
            const auto before = bench::allocations();
            const auto start = std::chrono::steady_clock::now();
            const auto core = worked(CLOCK_THREAD_CPUTIME_ID);
            const rs::http_response response = api.handle(request);
            milliseconds_worked.push_back(1e3 * (worked(CLOCK_THREAD_CPUTIME_ID) - core).count());
            milliseconds.push_back(1e3 * seconds(std::chrono::steady_clock::now() - start).count());
            allocations = bench::allocations() - before;
            bytes = response.body.size();
            good = good && response.status == 200;
        }
    }
};

/// Rounds of three phases in turn: no scrapes; scrapes of a registry that no call goes through, which cost the same
/// core, caches and memory, but share nothing with the calls; scrapes of the caller's.
bool measure(const char* name, const std::string& target, const rs::circuit_breaker_config& config,
             int rounds) {
    constexpr int scrapes_in_a_round = 100;
    const service busy(config);
    const service idle(config);
    // As many calls behind the one as behind the other: texts of the same length.
    for (int i = 0; i < 1000; ++i) {
        for (const auto& guard : idle.guards) bench::keep(guard(bench::work, 1));
    }
    const rs::monitoring_api of_busy(const_cast<rs::registry&>(busy.reg));
    const rs::monitoring_api of_idle(const_cast<rs::registry&>(idle.reg));
    const rs::http_request request{.method = "GET", .target = target};

    caller calls(busy);
    scrapes mine;
    scrapes others;
    scrapes().make(of_busy, request, 10); // warm
    std::vector<double> alone, ratio, ratio_by_work, other_ratio, other_ratio_by_work;
    auto phase = seconds(0.3);
    for (int i = 0; i < rounds; ++i) {
        const auto start = calls.read();
        std::this_thread::sleep_for(phase);
        const auto slept = calls.read();
        others.make(of_idle, request, scrapes_in_a_round);
        const auto scraped_other = calls.read();
        mine.make(of_busy, request, scrapes_in_a_round);
        const auto scraped = calls.read();

        phase = scraped.at - scraped_other.at;
        const rate a = between(start, slept);
        const rate b = between(slept, scraped_other);
        const rate c = between(scraped_other, scraped);
        alone.push_back(a.by_clock);
        other_ratio.push_back(b.by_clock / a.by_clock);
        other_ratio_by_work.push_back(b.by_work / a.by_work);
        ratio.push_back(c.by_clock / a.by_clock);
        ratio_by_work.push_back(c.by_work / a.by_work);
    }
    std::printf("%-34s %8.2f %8.2f %9zu %7llu %9.1f   %5.2f (%4.2f)   %5.2f (%4.2f)\n", name,
                median(mine.milliseconds), median(mine.milliseconds_worked), mine.bytes,
                static_cast<unsigned long long>(mine.allocations), median(alone) / 1e6, median(other_ratio),
                median(other_ratio_by_work), median(ratio), median(ratio_by_work));
    std::fflush(stdout);
    return mine.good && others.good;
}

} // namespace

int main(int argc, char** argv) {
    int rounds = 10;
    if (argc == 3 && std::strcmp(argv[1], "--rounds") == 0) rounds = std::atoi(argv[2]);
    if (rounds < 1 || argc == 2 || argc > 3) {
        std::fprintf(stderr, "usage: resilience_scrapes [--rounds N]   (of 100 scrapes; 10 if not given)\n");
        return 2;
    }
    std::printf(
        "%d circuit breakers and %d retries, a thread calls through them without a pause; medians of %d\n"
        "scrapes one after the other, and of %d rounds. Ratios: the caller's calls a second to those "
        "without\n"
        "scrapes (in brackets: of the time that it had a core).\n\n"
        "%-34s %8s %8s %9s %7s %9s %14s %14s\n%-34s %8s %8s %9s %7s %9s %14s %14s\n",
        policies_of_a_kind, policies_of_a_kind, 100 * rounds, rounds, "", "", "ms of", "", "", "Mcalls/s",
        "ratio, idle", "ratio, busy", "", "ms", "a core", "bytes", "allocs", "alone", "scraped", "scraped");
    bool good = measure("/metrics", "/metrics", {}, rounds);
    good = measure("/metrics, circuits time calls", "/metrics",
                   {.slow_call_duration = 1s, .slow_call_rate_threshold = 0.5}, rounds) &&
           good;
    good = measure("/api/v1/resilience/policies", "/api/v1/resilience/policies", {}, rounds) && good;
    if (!good) std::printf("an answer was not 200\n");
    return good ? 0 : 1;
}
