// SPDX-License-Identifier: Apache-2.0
#include "coroutines.hpp"

#include "result.hpp"

#include <resilience/asio.hpp>
#include <resilience/resilience.hpp>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <malloc.h>
#include <time.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;

namespace bench {

namespace {

asio::awaitable<int> work_task(int x) { co_return work(x); }

/// What the rows share; it lives as long as one of them.
struct subjects {
    asio::io_context io{1};
    rs::registry reg;
    rs::retry retry{{}, reg};
    rs::circuit_breaker breaker{{}, reg};
    rs::pipeline<rs::retry, rs::circuit_breaker> two = retry | breaker;
    rs::pipeline<rs::retry, rs::circuit_breaker, rs::timeout> three = two | rs::timeout(2s, reg);
    decltype(rs::fallback(0) | two) answered = rs::fallback(0) | two;
    rs::any_pipeline any{retry, breaker};
};

/// A row that awaits make() again and again, in one coroutine.
template <class Make>
row await_repeatedly(std::string name, const std::shared_ptr<subjects>& s, Make make) {
    row r{std::move(name), 0, 5'000, [s, make](std::uint64_t n) {
              const auto loop = [&]() -> asio::awaitable<void> {
                  for (std::uint64_t i = 0; i < n; ++i) {
                      auto task = make(*s);
                      keep(co_await std::move(task));
                  }
              };
              asio::co_spawn(s->io, loop(), asio::detached);
              s->io.restart();
              s->io.run();
          }};
    return r;
}

constexpr int crowd = 20'000;
constexpr auto back_off = 400ms; // longer than it takes to start them

/// Fails the first time.
asio::awaitable<result> flaky(int& attempts) {
    keep(work(1));
    if (++attempts == 1) co_return result::unexpected_type(std::make_error_code(std::errc::io_error));
    co_return 1;
}
asio::awaitable<void> wait_for(std::chrono::nanoseconds how_long) {
    asio::steady_timer timer(co_await asio::this_coro::executor, how_long);
    co_await timer.async_wait(asio::use_awaitable);
}
asio::awaitable<result> retried_by_hand(int& attempts) {
    for (;;) {
        const result r = co_await flaky(attempts);
        if (r.has_value()) co_return r;
        co_await wait_for(back_off);
    }
}
asio::awaitable<result> raced_by_hand(int& attempts) {
    using namespace asio::experimental::awaitable_operators;
    for (;;) {
        const auto first = co_await (flaky(attempts) || wait_for(2s));
        if (first.index() == 0 && std::get<0>(first).has_value()) co_return std::get<0>(first);
        co_await wait_for(back_off);
    }
}

double processor_seconds() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Starts all, and runs them until all are done; sets the figures of `w`.
template <class Call>
void run_all(waiting_coroutines& w, const Call& call) {
    asio::io_context io{1};
    int done = 0;
    const auto one = [](const Call& makes, int& all) -> asio::awaitable<void> {
        int attempts = 0;
        keep(co_await makes(attempts));
        ++all;
    };
    const auto bytes = ::mallinfo2().uordblks;
    const double start = processor_seconds();
    for (int i = 0; i < crowd; ++i) asio::co_spawn(io, one(call, done), asio::detached);
    while (io.poll() > 0 && done == 0) {}
    w.bytes = static_cast<double>(::mallinfo2().uordblks - bytes) / crowd;
    io.run();
    w.microseconds = (processor_seconds() - start) / crowd * 1e6;
    if (done != crowd) w.microseconds = -1;
}

} // namespace

std::vector<waiting_coroutines> measure_back_off() {
    rs::registry reg;
    const rs::retry retry({.max_attempts = 2,
                           .base_delay = back_off,
                           .max_delay = back_off,
                           .jitter = rs::jitter::none,
                           .budget = rs::retry_budget::unlimited()},
                          reg);
    const rs::circuit_breaker breaker({.consecutive_failures = 2'000'000'000}, reg);
    const auto three = retry | breaker | rs::timeout(2s, reg);
    const rs::any_pipeline any{retry, breaker, rs::timeout(2s, reg)};
    std::vector<waiting_coroutines> all{{"a loop by hand", 0, 0},
                                        {"a loop by hand that races with a timer", 0, 0},
                                        {"retry", 2.8, 1'800},
                                        {"retry | breaker | timeout(2s)", 7, 2'300},
                                        {"the same as any_pipeline", 0, 0}};
    run_all(all[0], [](int& attempts) { return retried_by_hand(attempts); });
    run_all(all[1], [](int& attempts) { return raced_by_hand(attempts); });
    run_all(all[2], [&](int& attempts) { return retry([&attempts] { return flaky(attempts); }); });
    run_all(all[3], [&](int& attempts) { return three([&attempts] { return flaky(attempts); }); });
    run_all(all[4], [&](int& attempts) { return any([&attempts] { return flaky(attempts); }); });
    return all;
}

std::vector<row> coroutine_rows() {
    const auto s = std::make_shared<subjects>();
    std::vector<row> rows;
    rows.push_back(await_repeatedly("bare co_await", s, [](subjects&) { return work_task(1); }));
    rows.push_back(
        await_repeatedly("closed breaker", s, [](subjects& x) { return x.breaker(work_task, 1); }));
    rows.push_back(await_repeatedly("retry | breaker", s, [](subjects& x) { return x.two(work_task, 1); }));
    rows.push_back(await_repeatedly("fallback(0) | retry | breaker", s,
                                    [](subjects& x) { return x.answered(work_task, 1); }));
    rows.back().may_allocate = true; // a frame that is too large for Asio to keep
    rows.push_back(
        await_repeatedly("any_pipeline{retry, breaker}", s, [](subjects& x) { return x.any(work_task, 1); }));
    rows.back().may_allocate = true; // likewise
    rows.push_back(await_repeatedly("retry | breaker | timeout(2s)", s,
                                    [](subjects& x) { return x.three(work_task, 1); }));
    rows.back().may_allocate = true; // what the parties of a race share
    return rows;
}

} // namespace bench
