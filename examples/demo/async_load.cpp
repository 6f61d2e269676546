// SPDX-License-Identifier: Apache-2.0
#include "async_load.hpp"

#include <exception>
#include <utility>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

namespace demo {

async_load_run::async_load_run(asio::io_context& loop, call_log& log, async_call_function make_call)
    : loop_(loop), log_(log), make_call_(std::move(make_call)) {
    asio::co_spawn(loop_, make_calls(), asio::detached);
}

asio::awaitable<void> async_load_run::make_calls() {
    asio::steady_timer next(loop_);
    for (std::size_t i = 0; i < log_.plan().size(); ++i) {
        if (clock::now() < log_.due(i)) {
            next.expires_at(log_.due(i));
            co_await next.async_wait(asio::use_awaitable);
        }
        if (is_stopped_.load(std::memory_order_relaxed)) co_return;
        make_call(i);
    }
}

void async_load_run::make_call(std::size_t i) {
    log_.began();
    asio::co_spawn(
        loop_, make_call_(log_.plan()[i], log_.deadline(i)),
        [this, i](const std::exception_ptr& e, const std::string&) { log_.ended(i, ending_by(e)); });
}

} // namespace demo
