// SPDX-License-Identifier: Apache-2.0
// Threads, in real time, against what a circuit promises whatever the interleaving.
#include <resilience/circuit_breaker.hpp>
#include <resilience/registry.hpp>

#include "support/catch.hpp"

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using rs::circuit_state;
using namespace std::chrono_literals;

/// What one caller saw of its own calls; padded, so that counting here hides no race there.
struct alignas(64) tally_of_a_thread {
    std::uint64_t successes = 0;
    std::uint64_t failures = 0;
    std::uint64_t ignored = 0;
    std::uint64_t rejected = 0;

    void operator+=(const tally_of_a_thread& more) {
        successes += more.successes;
        failures += more.failures;
        ignored += more.ignored;
        rejected += more.rejected;
    }
};

/// One call of a kind that changes with `i`; what it came to is counted in `mine`.
void call_once(const rs::circuit_breaker& breaker, std::uint64_t i, tally_of_a_thread& mine) {
    if (i % 16 == 7) {
        const auto permit = breaker.try_acquire();
        ++(permit ? mine.ignored : mine.rejected);
        return;
    }
    const bool fails = i % 8 == 3;
    const auto out = breaker.try_call([&] { return fails ? std::errc::io_error : std::errc{}; });
    if (out.has_value()) ++mine.successes;
    else ++(out.error().is_rejection() ? mine.rejected : mine.failures);
}

/// Checks each change of state as it is told.
class chain_of_events {
public:
    explicit chain_of_events(rs::registry& reg)
        : subscription_(reg.subscribe([this](const rs::event& e) { check(e); })) {}

    bool is_unbroken() const { return unbroken_; }
    std::uint64_t generation() const { return generation_; }

private:
    void check(const rs::event& e) {
        if (e.kind != rs::event_kind::state_changed) return;
        const std::lock_guard lock(mutex_);
        if (e.generation != generation_ + 1 || e.from != state_) unbroken_ = false;
        generation_ = e.generation;
        state_ = e.to;
    }

    std::mutex mutex_;
    std::uint64_t generation_ = 1;
    circuit_state state_ = circuit_state::closed;
    bool unbroken_ = true;
    rs::subscription subscription_;
};

bool adds_up(const rs::circuit_breaker_stats& s) {
    const auto share = [](double d) { return d == -1.0 || (d >= 0.0 && d <= 1.0); };
    return s.calls == s.successes + s.failures + s.ignored && share(s.failure_rate) &&
           share(s.slow_call_rate) && s.late_results <= s.calls;
}

TEST_CASE("no count is lost while a circuit trips, is commanded, updated and removed",
          "[stress][H-EV-03][H-WIN-15][H-REG-04][H-CB-20]") {
    const bool listened = GENERATE(true, false);
    rs::registry reg;
    const rs::circuit_breaker_config base{
        .name = "db", .failure_threshold = 50, .recovery_timeout = 100us, .failure_window = 1s};
    const rs::circuit_breaker breaker(base, reg);
    std::optional<chain_of_events> chain;
    if (listened) chain.emplace(reg);
    constexpr std::size_t callers = 4;
    std::vector<tally_of_a_thread> tallies(callers);
    std::atomic<bool> over{false};
    std::atomic<bool> sound{true};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < callers; ++t) {
        threads.emplace_back([&, t] {
            for (std::uint64_t i = t; !over; ++i) call_once(breaker, i, tallies[t]);
        });
    }
    threads.emplace_back([&] {
        std::uint64_t generation = 0;
        while (!over) {
            const auto s = breaker.stats();
            if (!adds_up(s) || s.generation < generation) sound = false;
            generation = s.generation;
            for (const auto& each : reg.circuit_breakers()) {
                if (!adds_up(each)) sound = false;
            }
            (void)reg.health();
        }
    });
    threads.emplace_back([&] {
        auto by_count = base;
        by_count.failure_rate_threshold = 0.5;
        by_count.window = rs::count_window{64};
        auto by_time = base;
        by_time.failure_rate_threshold = 0.5;
        by_time.window = rs::time_window{10ms};
        auto by_row = base;
        by_row.consecutive_failures = 10;
        by_row.slow_call_duration = 1ms;
        by_row.slow_call_rate_threshold = 0.9;
        for (unsigned i = 0; !over; ++i) {
            switch (i % 12) {
            case 0: breaker.reset("stress"); break;
            case 1: breaker.update(by_count); break;
            case 2: breaker.force_open(); break;
            case 3: breaker.reset(); break;
            case 4: breaker.update(by_time); break;
            case 5: breaker.metrics_only(); break;
            case 6: breaker.open_for(50us); break;
            case 7: breaker.update(by_row); break;
            case 8: breaker.disable(); break;
            case 9: reg.remove("db"); break;
            case 10: {
                const rs::circuit_breaker namesake({.name = "db", .failure_threshold = 2}, reg);
                reg.remove("db");
                break;
            }
            default: breaker.update(base);
            }
            std::this_thread::sleep_for(50us);
        }
    });
    std::this_thread::sleep_for(1s);
    over = true;
    for (auto& t : threads) t.join();

    tally_of_a_thread all;
    for (const auto& each : tallies) all += each;
    const auto s = breaker.stats();
    CHECK(sound);
    CHECK(s.successes == all.successes);
    CHECK(s.failures == all.failures);
    CHECK(s.ignored == all.ignored);
    CHECK(s.rejected == all.rejected);
    CHECK(all.successes > 1000);
    if (chain) {
        CHECK(chain->is_unbroken());
        CHECK(chain->generation() == s.generation);
        CHECK(s.generation > 100);
    }
}

TEST_CASE("of many callers that race for the first probe exactly the allowed number is admitted",
          "[stress][H-CB-06][H-CB-07]") {
    constexpr unsigned callers = 8;
    constexpr unsigned allowed = 3;
    rs::registry reg;
    const rs::circuit_breaker breaker({.failure_threshold = 1,
                                       .success_threshold = 5,
                                       .recovery_timeout = 0s,
                                       .half_open_max_calls = allowed},
                                      reg);
    chain_of_events chain(reg);
    std::atomic<unsigned> admitted{0};
    unsigned wrong = 0;
    unsigned half_opens = 0;
    const auto generation_after = [&] {
        const auto g = breaker.stats().generation;
        half_opens += breaker.state() == circuit_state::half_open ? 1 : 0;
        return g;
    };
    std::vector<std::optional<rs::permit>> permits(callers);
    constexpr unsigned rounds = 1000;
    std::barrier<> meet(callers + 1);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < callers; ++t) {
        threads.emplace_back([&, t] {
            for (unsigned round = 0; round < rounds; ++round) {
                meet.arrive_and_wait();
                permits[t] = breaker.try_acquire();
                if (permits[t]) ++admitted;
                meet.arrive_and_wait();
                permits[t].reset();
                meet.arrive_and_wait();
            }
        });
    }
    for (unsigned round = 0; round < rounds; ++round) {
        breaker.open_for(0s);
        const auto before = breaker.stats().generation;
        meet.arrive_and_wait();
        meet.arrive_and_wait();
        if (admitted.exchange(0) != allowed || generation_after() != before + 1) ++wrong;
        meet.arrive_and_wait();
    }
    for (auto& t : threads) t.join();

    CHECK(wrong == 0);
    CHECK(half_opens == rounds);
    CHECK(chain.is_unbroken());
}

TEST_CASE("never more probes are in flight than allowed, whatever becomes of them",
          "[stress][H-CB-06][H-CB-13]") {
    constexpr unsigned allowed = 3;
    rs::registry reg;
    const rs::circuit_breaker breaker({.failure_threshold = 1,
                                       .success_threshold = 65'536, // so that it stays half-open
                                       .recovery_timeout = 0s,
                                       .half_open_max_calls = allowed},
                                      reg);
    breaker.open_for(0s);
    std::atomic<unsigned> in_flight{0};
    std::atomic<unsigned> most{0};
    std::atomic<std::uint64_t> passed{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 6; ++t) {
        threads.emplace_back([&, t] {
            for (unsigned i = 0; i < 8000; ++i) {
                auto probe = breaker.try_acquire();
                if (!probe) continue;
                const unsigned now = ++in_flight;
                for (unsigned seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {}
                if ((i + t) % 64 == 0) std::this_thread::yield();
                --in_flight;
                if ((i + t) % 4 == 0) continue; // dropped
                probe->success();
                ++passed;
            }
        });
    }
    for (auto& t : threads) t.join();

    CHECK(most <= allowed);
    const auto s = breaker.stats();
    CHECK(s.state == circuit_state::half_open);
    CHECK(s.successes == passed);
    CHECK(s.success_count == passed);
    CHECK(passed > 0);
    std::vector<rs::permit> free; // every place has been given back
    for (unsigned i = 0; i < allowed; ++i) free.push_back(std::move(*breaker.try_acquire()));
    CHECK_FALSE(breaker.try_acquire());
}

TEST_CASE("a rate window holds every result, whoever counts it", "[stress][H-WIN-04]") {
    const bool by_time = GENERATE(false, true);
    rs::registry reg;
    rs::circuit_breaker_config config{.failure_rate_threshold = 1.0,
                                      .minimum_calls = 1}; // successes wait for no lock
    if (by_time) config.window = rs::time_window{std::chrono::hours{1}};
    else config.window = rs::count_window{1'000'000};
    const rs::circuit_breaker breaker(config, reg);
    constexpr std::uint64_t threads_at_once = 40; // more than there are stripes
    constexpr std::uint64_t calls = 20'000;       // enough for threads to meet
    constexpr std::uint64_t to_a_failure = 500;   // each has the whole window looked through
    std::latch all_are_here(threads_at_once);
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < threads_at_once; ++t) {
        threads.emplace_back([&] {
            all_are_here.arrive_and_wait();
            for (std::uint64_t i = 0; i < calls; ++i) {
                (void)breaker.try_call(
                    [&] { return (i + 1) % to_a_failure == 0 ? std::errc::io_error : std::errc{}; });
            }
        });
    }
    for (auto& t : threads) t.join();

    const auto s = breaker.stats();
    CHECK(s.state == circuit_state::closed);
    CHECK(s.successes == threads_at_once * calls - threads_at_once * calls / to_a_failure);
    CHECK(s.failure_count == threads_at_once * calls / to_a_failure);
    CHECK(s.failure_rate == Approx(1.0 / to_a_failure).epsilon(1e-12));
}

TEST_CASE("the counts of ten thousand short-lived threads are exact, and their stripes come back",
          "[stress][H-WIN-04]") {
    rs::registry reg;
    const rs::circuit_breaker plain({.failure_threshold = 65'536}, reg);
    const rs::circuit_breaker timed(
        {.failure_rate_threshold = 1.0, .window = rs::time_window{std::chrono::hours{1}}}, reg);
    std::atomic<unsigned> exclusive{0};
    constexpr unsigned batches = 500;
    constexpr unsigned threads_in_a_batch = 20; // fewer than there are stripes

    for (unsigned batch = 0; batch < batches; ++batch) {
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < threads_in_a_batch; ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < 3; ++i) (void)plain.try_call([] {});
                (void)timed.try_call([] {});
                if (t % 10 == 0) (void)plain.try_call([] { return std::errc::io_error; });
                if (rs::detail::this_threads_stripe.owner == &rs::detail::stripe_owners::instance())
                    ++exclusive;
            });
        }
        for (auto& t : threads) t.join();
    }

    constexpr std::uint64_t all = std::uint64_t{batches} * threads_in_a_batch;
    CHECK(plain.stats().successes == all * 3);
    CHECK(plain.stats().failures == all / 10);
    CHECK(timed.stats().successes == all);
    CHECK(exclusive == all);
}

TEST_CASE("names may be made, found, updated and removed by many threads at once",
          "[stress][H-REG-01][H-REG-06]") {
    rs::registry reg;
    std::atomic<bool> sound{true};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (unsigned i = 0; i < 1500; ++i) {
                const std::string name = "circuit" + std::to_string((i + t) % 5);
                const rs::circuit_breaker breaker({.name = name}, reg);
                (void)breaker.try_call([] {});
                if (breaker.name() != name) sound = false;
                if (i % 50 == 0) breaker.update({.name = name, .failure_threshold = i % 7 + 1});
                if (const auto found = reg.find<rs::circuit_breaker>(name)) (void)found->stats();
                if (i % 97 == 0) reg.remove(name);
                if (i % 16 == 0) {
                    const auto all = reg.circuit_breakers();
                    for (std::size_t k = 1; k < all.size(); ++k) {
                        if (!(all[k - 1].name < all[k].name)) sound = false;
                    }
                }
            }
        });
    }
    for (auto& t : threads) t.join();

    CHECK(sound);
    CHECK(reg.circuit_breakers().size() <= 5);
}

TEST_CASE("subscribers may come and go while events are told", "[stress][H-EV-04][H-EV-05]") {
    rs::registry reg;
    const rs::circuit_breaker breaker({.failure_threshold = 1, .recovery_timeout = 0s}, reg);
    chain_of_events chain(reg);
    std::atomic<bool> over{false};
    std::atomic<bool> heard_after_the_end{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&] {
            while (!over) {
                breaker.open_for(0s);
                (void)breaker.try_call([] {});
                breaker.reset();
            }
        });
    }
    for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 1000; ++i) {
                std::atomic<bool> ended{false};
                auto subscription = reg.subscribe([&](const rs::event&) {
                    std::this_thread::yield(); // so that it is often inside when the end comes
                    if (ended) heard_after_the_end = true;
                });
                std::this_thread::yield();
                subscription.end();
                ended = true;
            }
        });
    }
    threads[2].join();
    threads[3].join();
    over = true;
    threads[0].join();
    threads[1].join();

    CHECK_FALSE(heard_after_the_end);
    CHECK(chain.is_unbroken());
    CHECK(chain.generation() == breaker.stats().generation);
}

} // namespace
