// SPDX-License-Identifier: Apache-2.0
#include "async_plain_service.hpp"

#include <memory>
#include <stdexcept>
#include <utility>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

namespace demo {
namespace {

constexpr std::chrono::seconds time_limit{3};

asio::awaitable<std::string> body_within_limit(asio::awaitable<http_answer> request) {
    const auto executor = co_await asio::this_coro::executor;
    const auto give_up = std::make_shared<asio::cancellation_signal>(); // the timer's handler may come last
    asio::steady_timer limit(executor, time_limit);
    limit.async_wait([give_up](const asio::error_code& cancelled) {
        if (!cancelled) give_up->emit(asio::cancellation_type::terminal);
    });
    auto answered = asio::co_spawn(executor, std::move(request),
                                   asio::bind_cancellation_slot(give_up->slot(), asio::use_awaitable));
    http_answer answer = co_await std::move(answered);
    if (answer.status >= 400) throw std::runtime_error("HTTP " + std::to_string(answer.status));
    co_return std::move(answer.body);
}

} // namespace

asio::awaitable<std::string> async_plain_connection::get(const std::string& path) const {
    return body_within_limit(http_.get(path));
}

asio::awaitable<std::string> async_plain_connection::post(const std::string& path,
                                                          const std::string& json) const {
    return body_within_limit(http_.post(path, json));
}

} // namespace demo
