// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "support/catch.hpp"

#include <thread>
#include <utility>

#include <httplib.h>

/// A server on loopback, on any free port, until the end of the scope.
class running_server {
public:
    template <class Setup>
    explicit running_server(Setup&& setup) {
        setup(server_);
        port_ = server_.bind_to_any_port("127.0.0.1");
        REQUIRE(port_ > 0);
        thread_ = std::thread([this] { server_.listen_after_bind(); });
        while (!server_.is_running()) std::this_thread::yield();
    }
    running_server(const running_server&) = delete;
    running_server& operator=(const running_server&) = delete;
    ~running_server() {
        server_.stop();
        thread_.join();
    }
    httplib::Client client() const { return httplib::Client("127.0.0.1", port_); }
    int port() const noexcept { return port_; }

private:
    httplib::Server server_;
    std::thread thread_;
    int port_ = 0;
};
