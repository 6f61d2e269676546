// SPDX-License-Identifier: Apache-2.0
// Retries under threads, in real time: what one thread cannot show.
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

template <class F>
void on_threads(unsigned count, F f) {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < count; ++i) threads.emplace_back(f);
}
rs::retry_config at_once(rs::retry_budget budget) {
    return {.max_attempts = 4, .base_delay = 0ns, .budget = std::move(budget)};
}

TEST_CASE("threads never overdraw a budget", "[stress][retry][H-RT-18]") {
    // The reserve and the calls of an hour: nothing is forgotten while the test runs.
    rs::registry reg;
    const rs::retry retry{at_once(rs::retry_budget(rs::percent_budget_config{
                              .ratio = 0.1, .minimum_per_second = 0.05, .ttl = 1h})),
                          reg};
    constexpr unsigned threads = 8;
    constexpr unsigned calls = 2'000;

    on_threads(threads, [&] {
        for (unsigned i = 0; i < calls; ++i)
            (void)retry.try_call(
                []() -> std::error_code { return std::make_error_code(std::errc::io_error); });
    });

    const auto s = retry.stats();
    CHECK(s.calls == threads * calls);
    CHECK(s.retries <= 180 + threads * calls / 10);
    CHECK(s.retries >= 180);
    CHECK(s.failed_attempts == s.calls + s.retries);
}

TEST_CASE("threads never overdraw a budget that several policies share", "[stress][retry][H-RT-18]") {
    rs::registry reg;
    const rs::retry_budget shared(rs::percent_budget_config{.ratio = 0, .minimum_per_second = 1, .ttl = 1h});
    const rs::retry one{at_once(shared), reg};
    const rs::retry other{at_once(shared), reg};

    on_threads(8, [&] {
        for (unsigned i = 0; i < 2'000; ++i) {
            (void)one.try_call([]() -> std::error_code { return std::make_error_code(std::errc::io_error); });
            (void)other.try_call(
                []() -> std::error_code { return std::make_error_code(std::errc::io_error); });
        }
    });

    CHECK(one.stats().retries + other.stats().retries == 3'600);
}

TEST_CASE("statistics lose nothing under threads", "[stress][retry]") {
    rs::registry reg;
    const rs::retry retry{at_once(rs::retry_budget::unlimited()), reg};
    std::atomic<std::uint64_t> attempts{0};

    on_threads(8, [&] {
        unsigned n = 0;
        for (unsigned i = 0; i < 5'000; ++i) {
            (void)retry.try_call([&]() -> std::error_code {
                attempts.fetch_add(1, std::memory_order_relaxed);
                return ++n % 3 == 0 ? std::make_error_code(std::errc::io_error) : std::error_code();
            });
        }
    });

    const auto s = retry.stats();
    CHECK(s.calls == 40'000);
    CHECK(s.calls + s.retries == attempts.load());
    CHECK(s.succeeded_at_once + s.succeeded_after_retry == 40'000);
}

TEST_CASE("updates while calls run give each call one set of rules", "[stress][retry]") {
    rs::registry reg;
    const auto attempts_of = [](unsigned most) {
        auto c = at_once(rs::retry_budget::unlimited());
        c.max_attempts = most;
        return c;
    };
    const rs::retry retry{attempts_of(2), reg};
    std::atomic<unsigned> odd{0};
    std::atomic<bool> done{false};
    std::jthread updater([&] {
        for (unsigned i = 0; i < 200; ++i) retry.update(attempts_of(i % 2 == 0 ? 5 : 2));
        done = true;
    });

    on_threads(2, [&] {
        while (!done) {
            unsigned calls = 0;
            (void)retry.try_call([&]() -> std::error_code {
                ++calls;
                return std::make_error_code(std::errc::io_error);
            });
            if (calls != 2 && calls != 5) ++odd;
        }
    });

    CHECK(odd == 0);
}

TEST_CASE("a stop request from another thread wakes a sleep at once", "[stress][retry][H-RT-12]") {
    rs::registry reg;
    const rs::retry retry{{.base_delay = 30s, .jitter = rs::jitter::none}, reg};
    std::stop_source stop;
    const auto began = std::chrono::steady_clock::now();
    std::jthread stopper([&] {
        std::this_thread::sleep_for(20ms);
        stop.request_stop();
    });

    const auto result =
        retry.with({.stop_token = stop.get_token()}).try_call([] { throw std::runtime_error("down"); });

    CHECK(result.error().message() == "down");
    CHECK(std::chrono::steady_clock::now() - began < 10s);
}

/// What a cancelled thread leaves behind; pthread_cancel unwinds with an exception that must not be kept.
struct cancelled_call {
    rs::registry reg;
    rs::retry retry{{.base_delay = 0ns, .budget = rs::retry_budget::unlimited()}, reg};
    rs::circuit_breaker breaker{{.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 0ns},
                                reg};
    std::atomic<unsigned> calls{0};
    std::atomic<bool> inside{false};
    bool with_context = false;

    static void* run(void* self) {
        auto& me = *static_cast<cancelled_call*>(self);
        const auto wait_for_the_end = [&] {
            ++me.calls;
            me.inside = true;
            for (;;) std::this_thread::sleep_for(1ms); // a cancellation point
        };
        const auto guard = me.retry | me.breaker | rs::timeout(10s, me.reg);
        if (me.with_context) guard([&](rs::call_context&) { wait_for_the_end(); });
        else (me.retry | me.breaker)(wait_for_the_end);
        return nullptr;
    }
    void cancel_one() {
        pthread_t thread{};
        REQUIRE(pthread_create(&thread, nullptr, &run, this) == 0);
        while (!inside) std::this_thread::sleep_for(1ms);
        REQUIRE(pthread_cancel(thread) == 0);
        void* result = nullptr;
        REQUIRE(pthread_join(thread, &result) == 0);
        CHECK(result == PTHREAD_CANCELED);
    }
};

TEST_CASE("a cancelled thread unwinds through every policy and leaves nothing held",
          "[stress][H-TO-08][H-CPP-11][H-CB-03]") {
    for (const bool with_context : {false, true}) {
        for (const bool probing : {false, true}) {
            cancelled_call c;
            c.with_context = with_context;
            if (probing) (void)c.breaker.try_call([] { throw 42; }); // the next call is a probe

            c.cancel_one();

            CHECK(c.calls == 1); // not retried
            CHECK(c.breaker.stats().ignored == 1);
            CHECK((c.retry | c.breaker)([] { return 1; }) == 1); // its place is free again
            CHECK(c.breaker.state() == rs::circuit_state::closed);
        }
    }
}

} // namespace
