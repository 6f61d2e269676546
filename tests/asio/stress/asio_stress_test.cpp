// SPDX-License-Identifier: Apache-2.0
// Coroutines on two threads, in real time: run under ThreadSanitizer.
#include <resilience/resilience.hpp>

#include "asio/net.hpp"
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

#include <malloc.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;

namespace {

constexpr bool sanitized = SANITIZED_THREAD != 0 || SANITIZED_ADDRESS != 0;

/// What is in use of the heap. Not known under a sanitizer.
std::size_t heap_in_use() { return sanitized ? 0 : mallinfo2().uordblks; }

void run_on_two_threads(net::io_context& io) {
    std::jthread other([&io] { io.run(); });
    io.run();
}

} // namespace

TEST_CASE("a hundred thousand coroutines in backoff on two threads", "[stress][asio]") {
    constexpr std::size_t calls = 100'000;
    rs::registry reg;
    const rs::retry retry({.max_attempts = 2,
                           .base_delay = sanitized ? 5s : 1s,
                           .jitter = rs::jitter::proportional,
                           .budget = rs::retry_budget::unlimited()},
                          reg);
    const rs::circuit_breaker breaker({}, reg);
    breaker.metrics_only(); // counts everything, never opens
    const auto guard = retry | breaker;
    std::atomic<std::size_t> first_attempts{0};
    std::atomic<std::size_t> succeeded{0};
    const auto fails_once = [&first_attempts](bool& failed) -> net::awaitable<int> {
        if (!failed) {
            failed = true;
            first_attempts.fetch_add(1);
            throw std::runtime_error("no");
        }
        co_return 1;
    };
    const auto one_call = [&]() -> net::awaitable<void> {
        bool failed = false;
        auto call = guard(fails_once, failed);
        const int one = co_await std::move(call);
        succeeded.fetch_add(static_cast<std::size_t>(one));
    };

    net::io_context io(2);
    const std::size_t before = heap_in_use();
    for (std::size_t i = 0; i < calls; ++i) net::co_spawn(io, one_call(), net::detached);
    std::size_t waiting = 0;
    std::jthread watcher([&] {
        while (first_attempts.load() < calls) std::this_thread::yield();
        waiting = heap_in_use();
    });
    run_on_two_threads(io);
    watcher.join();

    CHECK(succeeded == calls);
    CHECK(retry.stats().succeeded_after_retry == calls);
    CHECK(retry.stats().retries == calls);
    CHECK(breaker.stats().failures == calls);
    CHECK(breaker.stats().successes == calls);
    if (!sanitized) {
        std::cout << "memory of a coroutine that waits in a backoff: " << (waiting - before) / calls
                  << " bytes, everything included\n";
    }
}

TEST_CASE("a backoff may be over before the thread that began it has gone", "[stress][asio]") {
    constexpr std::size_t calls = 8;
    constexpr unsigned attempts = 10'000;
    rs::registry reg;
    const rs::retry retry({.max_attempts = attempts,
                           .base_delay = 1ns,
                           .max_delay = 1ns,
                           .jitter = rs::jitter::none,
                           .budget = rs::retry_budget::unlimited()},
                          reg);
    const auto fails = []() -> net::awaitable<int> {
        throw std::runtime_error("no");
        co_return 0;
    };
    net::thread_pool pool(4); // no strands
    const auto one_call = [&]() -> net::awaitable<void> {
        auto call = retry.try_call(fails);
        co_await std::move(call);
    };
    for (std::size_t i = 0; i < calls; ++i) net::co_spawn(pool, one_call(), net::detached);
    pool.join();

    CHECK(retry.stats().failed_attempts == calls * attempts);
}

TEST_CASE("a stop from another thread ends a backoff at any moment of it", "[stress][asio]") {
    constexpr std::size_t calls = 5'000;
    rs::registry reg;
    const rs::retry retry({.base_delay = 1h,
                           .max_delay = 1h,
                           .jitter = rs::jitter::none,
                           .budget = rs::retry_budget::unlimited()},
                          reg);
    net::io_context io(2);
    std::vector<std::stop_source> stops(calls);
    std::vector<std::atomic<bool>> begun(calls);
    std::atomic<std::size_t> ended{0};
    const auto fails = [&begun](std::size_t i) -> net::awaitable<int> {
        begun[i] = true;
        throw std::runtime_error("no");
        co_return 0;
    };
    const auto one_call = [&](std::size_t i) -> net::awaitable<void> {
        auto call = retry.with({.stop_token = stops[i].get_token()}).try_call(fails, i);
        const auto out = co_await std::move(call);
        if (!out) ended.fetch_add(1);
    };
    for (std::size_t i = 0; i < calls; ++i) net::co_spawn(net::make_strand(io), one_call(i), net::detached);
    std::jthread stopper([&] {
        for (std::size_t i = 0; i < calls; ++i) {
            while (!begun[i]) {}
            stops[i].request_stop(); // now the backoff begins, or has
        }
    });
    run_on_two_threads(io); // returns: no wake-up was lost

    CHECK(ended == calls);
    CHECK(retry.stats().calls == calls);
}

TEST_CASE("races with a deadline on a pool of threads, each in its strand, have one winner each",
          "[stress][asio]") {
    constexpr std::size_t calls = 3'000;
    rs::registry reg;
    const rs::timeout limit({.limit = 5ms}, reg);
    const rs::circuit_breaker breaker({}, reg);
    breaker.metrics_only(); // counts everything, never opens
    const auto guard = breaker | limit;
    net::thread_pool pool(2);
    std::atomic<std::size_t> in_time{0};
    std::atomic<std::size_t> timed_out{0};
    const auto sleeps = [](std::chrono::microseconds length) -> net::awaitable<int> {
        net::steady_timer timer(co_await net::this_coro::executor, length);
        co_await timer.async_wait(net::use_awaitable);
        co_return 1;
    };
    const auto one_call = [&](std::chrono::microseconds length) -> net::awaitable<void> {
        auto call = guard.try_call(sleeps, length);
        const auto out = co_await std::move(call);
        if (out) in_time.fetch_add(1);
        else if (out.error().code() == rs::errc::timed_out) timed_out.fetch_add(1);
    };
    for (std::size_t i = 0; i < calls; ++i) {
        const auto length = 4'000us + std::chrono::microseconds(i % 2'000);
        net::co_spawn(net::make_strand(pool), one_call(length), net::detached);
    }
    pool.join();

    CHECK(in_time + timed_out == calls);
    CHECK(limit.stats().in_time == in_time);
    CHECK(limit.stats().timed_out == timed_out);
    CHECK(breaker.stats().successes == in_time);
    CHECK(breaker.stats().failures == timed_out);
}

TEST_CASE("coroutines cancelled from their strand while they race and sleep leave exact counts",
          "[stress][asio]") {
    constexpr std::size_t calls = 3'000;
    rs::registry reg;
    const rs::retry retry({.max_attempts = 3,
                           .base_delay = 2ms,
                           .jitter = rs::jitter::none,
                           .budget = rs::retry_budget::unlimited()},
                          reg);
    const rs::circuit_breaker breaker({}, reg);
    breaker.metrics_only();
    const auto guard = retry | breaker | rs::timeout({.limit = 3ms}, reg);
    net::thread_pool pool(2);
    std::atomic<std::size_t> ended{0};
    const auto hangs = []() -> net::awaitable<int> {
        net::steady_timer timer(co_await net::this_coro::executor, 1h);
        co_await timer.async_wait(net::use_awaitable);
        co_return 1;
    };
    const auto one_call = [&]() -> net::awaitable<void> {
        auto call = guard.try_call(hangs);
        const auto out = co_await std::move(call);
        if (!out) ended.fetch_add(1);
    };
    struct cancellable {
        net::cancellation_signal signal;
        net::steady_timer timer;
        explicit cancellable(const net::any_io_executor& ex) : timer(ex) {}
    };
    for (std::size_t i = 0; i < calls; ++i) {
        auto strand = net::make_strand(pool);
        auto c = std::make_shared<cancellable>(strand);
        c->timer.expires_after(std::chrono::microseconds(i * 5 % 15'000));
        net::post(strand, [&, strand, c] {
            auto token = net::bind_cancellation_slot(c->signal.slot(), [c](std::exception_ptr) {});
            net::co_spawn(strand, one_call(), token);
            c->timer.async_wait([c](net_error_code) { c->signal.emit(net::cancellation_type::terminal); });
        });
    }
    pool.join();

    const auto stats = breaker.stats();
    CHECK(ended <= calls); // an awaitable that is cancelled may end by an exception of the library's own
    CHECK(retry.stats().calls == calls);
    CHECK(stats.failures + stats.ignored == retry.stats().failed_attempts);
    CHECK(stats.calls == stats.failures + stats.ignored);
}
