// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "load.hpp"

#include <atomic>
#include <cstddef>
#include <functional>
#include <string>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

namespace demo {

/// Begins one call. The time is the caller's deadline.
using async_call_function =
    std::function<asio::awaitable<std::string>(const planned_call&, clock::time_point)>;

/// Makes planned calls when they are due, as many at once as need be, on an event loop run by one thread: an open
/// loop, as users are. While it has calls to make, or waits for some, the loop has work.
class async_load_run {
public:
    /// Begins when the loop runs. Log and run must live until the loop has no more work.
    async_load_run(asio::io_context& loop, call_log& log, async_call_function make_call);

    /// Calls not begun by then are not made. From any thread.
    void stop() noexcept { is_stopped_.store(true, std::memory_order_relaxed); }

private:
    asio::awaitable<void> make_calls();
    void make_call(std::size_t i);

    asio::io_context& loop_;
    call_log& log_;
    const async_call_function make_call_;
    std::atomic<bool> is_stopped_{false}; // relaxed: nothing else goes with it
};

} // namespace demo
