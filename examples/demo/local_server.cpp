// SPDX-License-Identifier: Apache-2.0
#include "local_server.hpp"

#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace demo {

using namespace std::chrono_literals;

void share_address(int socket) noexcept {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
}

local_server::local_server(const std::function<void(httplib::Server&)>& add_routes, int port,
                           std::size_t threads) {
    add_routes(server_);
    server_.new_task_queue = [threads] { return new httplib::ThreadPool(threads); };
    server_.set_socket_options([this](socket_t socket) {
        share_address(socket);
        listening_ = socket;
    });
    // What an idle or silent connection may cost at the end: the destructor waits for it.
    server_.set_keep_alive_timeout(1);
    server_.set_read_timeout(1s);

    const bool bound =
        port == 0 ? (port = server_.bind_to_any_port(loopback)) > 0 : server_.bind_to_port(loopback, port);
    if (!bound)
        throw std::runtime_error("cannot listen on " + std::string(loopback) + ", port " +
                                 std::to_string(port));
    port_ = port;
    // cpp-httplib lets five connections wait to be accepted; on a busy machine that is few, and those
    // beyond would only be tried again after a second.
    ::listen(listening_, SOMAXCONN);
    thread_ = std::thread([this] {
        server_.listen_after_bind();
        has_ended_ = true;
    });
    while (!server_.is_running() && !has_ended_) std::this_thread::sleep_for(1ms);
    if (has_ended_) {
        thread_.join();
        throw std::runtime_error("cannot serve on port " + std::to_string(port_));
    }
}

local_server::~local_server() {
    server_.stop();
    thread_.join();
}

reserved_port::reserved_port() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const plain = reinterpret_cast<sockaddr*>(&address);
    if (socket_ >= 0) share_address(socket_);
    if (socket_ < 0 || ::bind(socket_, plain, size) != 0 || ::getsockname(socket_, plain, &size) != 0) {
        const std::error_code why(errno, std::system_category());
        if (socket_ >= 0) ::close(socket_);
        throw std::system_error(why, "cannot reserve a port");
    }
    number_ = ::ntohs(address.sin_port);
}

reserved_port::~reserved_port() { ::close(socket_); }

} // namespace demo
