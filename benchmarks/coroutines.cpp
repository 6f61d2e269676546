// SPDX-License-Identifier: Apache-2.0
#include "coroutines.hpp"

#include <resilience/asio.hpp>
#include <resilience/resilience.hpp>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

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

} // namespace

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
