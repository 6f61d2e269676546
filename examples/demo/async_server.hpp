// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "local_server.hpp"
#include "outage.hpp"
#include "scenario.hpp"

#include <chrono>
#include <cstddef>
#include <list>
#include <random>
#include <string>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>

namespace demo {

/// A Jira or Confluence with thousands of open connections, in whatever condition it is told to be in. All of it
/// happens on the one thread that runs its loop.
class async_server {
public:
    /// `seed` decides which requests a flaky server refuses. It must live until the loop has no more work.
    async_server(std::string name, const scenario& numbers, unsigned seed, asio::io_context& loop);

    /// From any thread.
    int port() const noexcept { return port_.number(); }
    /// On the loop's thread. One that dies takes its connections along.
    void become(condition next);

private:
    struct session {
        asio::ip::tcp::socket socket;
        asio::steady_timer work;
    };

    void open();
    void close();
    asio::awaitable<void> accept();
    asio::awaitable<void> serve(std::list<session>::iterator one);
    std::chrono::milliseconds time_to_answer(bool refuses);

    asio::io_context& loop_;
    const std::string name_;
    const scenario numbers_;
    const reserved_port port_;
    condition condition_ = condition::dead;
    std::mt19937 random_;
    asio::ip::tcp::acceptor listening_; // closed while dead
    std::list<session> sessions_;
    asio::steady_timer changed_; // never expires; cancelled when there is room for a session, or an end
};

} // namespace demo
