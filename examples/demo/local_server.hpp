// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <string>
#include <thread>

#include <httplib.h>

namespace demo {

/// An HTTP server on the loopback interface with a thread of its own. It answers when the constructor
/// returns; after the destructor connections are refused, and no handler runs any more.
class local_server {
public:
    /// `add_routes` is called before it listens. Port 0: any that is free. `threads` bounds the requests
    /// that are answered at once. Throws std::runtime_error if the port is not to be had.
    local_server(const std::function<void(httplib::Server&)>& add_routes, int port, std::size_t threads);
    ~local_server();
    local_server(const local_server&) = delete;
    local_server& operator=(const local_server&) = delete;

    int port() const noexcept { return port_; }

private:
    httplib::Server server_;
    int port_;
    int listening_ = -1;                 // the server's socket; it owns it
    std::atomic<bool> has_ended_{false}; // set by thread_ when the server stops accepting
    std::thread thread_;
};

/// For a reserved port and a server on it: two sockets with one address. A server that returns also finds
/// connections of the former one in TIME_WAIT.
void share_address(int socket) noexcept;

/// A TCP port of the loopback interface that is ours until destruction, whether a server listens on it or
/// not. While none does, connections are refused; without the reservation another process could get it.
class reserved_port {
public:
    reserved_port();
    ~reserved_port();
    reserved_port(const reserved_port&) = delete;
    reserved_port& operator=(const reserved_port&) = delete;

    int number() const noexcept { return number_; }

private:
    int socket_;
    int number_ = 0;
};

inline constexpr const char* loopback = "127.0.0.1";

} // namespace demo
