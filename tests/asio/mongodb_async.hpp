// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "asio/net.hpp"
#include "simulated/mongodb.hpp"

#include <resilience/retry.hpp>
#include <resilience/time.hpp>

#include <string>
#include <utility>

namespace simulated {

/// An asynchronous driver's command, without any protection: it ends when its coroutine is cancelled.
class mongodb_async_client {
public:
    mongodb_async_client(fault_script& server, rs::time_source& clock) : server_(&server), clock_(&clock) {}

    net::awaitable<std::string> run(std::string command, std::string document) const {
        using traits = rs::task_traits<net::awaitable<void>>;
        turn answer = server_->begin(command + " " + document);
        if (answer.latency > rs::duration{0}) {
            auto sleep = traits::sleep_until(*clock_, rs::saturating_add(clock_->now(), answer.latency), {});
            co_await std::move(sleep);
            const auto state = co_await net::this_coro::cancellation_state;
            if (traits::is_cancelled(state))
                throw net_system_error(net_error_code(net::error::operation_aborted));
        }
        if (answer.thrown) std::rethrow_exception(answer.thrown);
        if (answer.status != 200) throw mongodb_error(answer.status);
        co_return std::move(answer.body);
    }

private:
    fault_script* server_;
    rs::time_source* clock_;
};

/// What the application awaits: the repository of mongodb.hpp on an event loop.
class mongodb_async_session_repository {
public:
    mongodb_async_session_repository(mongodb_async_client client, rs::registry& registry)
        : client_(client), guard_(mongodb_retry(), registry) {}

    net::awaitable<std::string> create_session_async(std::string session, std::string data) const {
        return run("create_session_async", "insert", session + " " + data);
    }
    net::awaitable<bool> ensure_session_exists(std::string session) const {
        auto found = run("ensure_session_exists", "find", std::move(session));
        const std::string answer = co_await std::move(found);
        co_return answer != "[]";
    }
    net::awaitable<std::string> get_session_history(std::string session, int limit = 50) const {
        return run("get_session_history", "find", session + " messages " + std::to_string(limit));
    }
    net::awaitable<std::string> update_session_async(std::string session, std::string data) const {
        return run("update_session_async", "update", session + " " + data);
    }

private:
    // The call's task owns the lambda and what it captures: nothing dangles if it is awaited later.
    net::awaitable<std::string> run(const char* operation, const char* command, std::string document) const {
        return guard_.named(operation)([client = client_, command, document = std::move(document)] {
            return client.run(command, document);
        });
    }

    mongodb_async_client client_;
    rs::retry guard_;
};

} // namespace simulated
