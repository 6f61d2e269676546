// SPDX-License-Identifier: Apache-2.0
// Between the two worlds: a thread that blocks awaits a coroutine, a coroutine awaits what blocks.
#include <resilience/asio.hpp>
#include <resilience/resilience.hpp>

#include <chrono>
#include <exception>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include <asio/co_spawn.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/system_error.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

namespace rs = resilience;
using namespace std::chrono_literals;

/// Awaits a function that blocks, on a pool of threads made for it. Cancelled, it leaves the function behind:
/// that one ends by itself, and must not refer to what may be gone by then. For awaitables with one thread, or a
/// strand.
template <class F>
static asio::awaitable<std::invoke_result_t<F&>> run_on(asio::thread_pool& pool, F f) {
    struct shared_state {
        explicit shared_state(const asio::any_io_executor& ex)
            : ended(ex, asio::steady_timer::time_point::max()) {}
        asio::steady_timer ended;
        std::optional<std::invoke_result_t<F&>> value;
        std::exception_ptr failure;
    };
    const auto state = std::make_shared<shared_state>(co_await asio::this_coro::executor);
    asio::post(pool, [state, f = std::move(f)]() mutable {
        std::optional<std::invoke_result_t<F&>> value;
        std::exception_ptr failure;
        try {
            value.emplace(f());
        } catch (...) {
            failure = std::current_exception();
        }
        // The state belongs to the coroutine's thread.
        asio::post(state->ended.get_executor(), [state, value = std::move(value), failure]() mutable {
            state->value = std::move(value);
            state->failure = failure;
            state->ended.cancel();
        });
    });
    asio::error_code woken;
    auto token = asio::redirect_error(asio::use_awaitable, woken);
    co_await state->ended.async_wait(token);
    if (state->failure) std::rethrow_exception(state->failure);
    if (!state->value) throw asio::system_error(asio::error::operation_aborted);
    co_return *std::move(state->value);
}

/// A driver that knows no deadlines.
static std::string slow_query(std::chrono::milliseconds time) {
    std::this_thread::sleep_for(time);
    return "rows";
}

int main() {
    asio::thread_pool workers(2); // for what blocks
    asio::thread_pool loop(1);    // for coroutines
    const auto guard = rs::retry({.max_attempts = 2, .base_delay = 10ms}) | rs::timeout(50ms);
    const auto query = [&workers](std::chrono::milliseconds time) {
        return run_on(workers, [time] { return slow_query(time); });
    };

    for (const auto time : {5ms, 200ms}) {
        // From a thread that may block to a coroutine: a future.
        std::future<std::string> rows = asio::co_spawn(loop, guard(query, time), asio::use_future);
        try {
            const std::string found = rows.get();
            std::cout << time.count() << " ms: " << found << '\n';
        } catch (const rs::timeout_error& e) {
            std::cout << time.count() << " ms: " << e.what() << '\n';
        }
    }
    loop.join();
    workers.join();
}
