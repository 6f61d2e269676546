// SPDX-License-Identifier: Apache-2.0
#include "async_server.hpp"

#include "async_http.hpp"

#include <cstdint>
#include <utility>

#include <fmt/format.h>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/error.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

namespace demo {

using asio::ip::tcp;
using namespace std::chrono_literals;

async_server::async_server(std::string name, const scenario& numbers, unsigned seed, asio::io_context& loop)
    : loop_(loop), name_(std::move(name)), numbers_(numbers), random_(seed), listening_(loop),
      changed_(loop, asio::steady_timer::time_point::max()) {}

void async_server::become(condition next) {
    condition_ = next;
    if (next == condition::dead) close();
    else if (!listening_.is_open()) open();
}

void async_server::open() {
    const tcp::endpoint address(asio::ip::address_v4::loopback(), static_cast<std::uint16_t>(port()));
    listening_.open(address.protocol());
    share_address(listening_.native_handle());
    listening_.bind(address);
    listening_.listen();
    asio::co_spawn(loop_, accept(), asio::detached);
}

void async_server::close() {
    listening_.close();
    changed_.cancel();
    for (session& one : sessions_) { // their coroutines end by exceptions
        if (!one.socket.is_open()) continue;
        one.socket.set_option(asio::socket_base::linger(true, 0)); // as if the machine had restarted
        one.socket.close();
        one.work.cancel();
    }
}

asio::awaitable<void> async_server::accept() {
    asio::error_code error;
    while (listening_.is_open()) {
        if (sessions_.size() >= numbers_.capacity) { // the next ones wait in the kernel's queue
            co_await changed_.async_wait(asio::redirect_error(asio::use_awaitable, error));
            continue;
        }
        tcp::socket socket(loop_);
        co_await listening_.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
        if (error == asio::error::no_descriptors) { // the kernel's queue again
            asio::steady_timer pause(loop_, 10ms);
            co_await pause.async_wait(asio::use_awaitable);
        }
        if (error) continue; // dead, for one
        sessions_.push_front({std::move(socket), asio::steady_timer(loop_)});
        asio::co_spawn(loop_, serve(sessions_.begin()), asio::detached);
    }
}

asio::awaitable<void> async_server::serve(std::list<session>::iterator one) {
    struct end_of_session {
        async_server& server;
        std::list<session>::iterator one;
        ~end_of_session() {
            server.sessions_.erase(one);
            server.changed_.cancel();
        }
    } const at_the_end{*this, one};

    std::string request;
    auto buffer = asio::dynamic_buffer(request);
    const std::size_t head =
        co_await asio::async_read_until(one->socket, buffer, end_of_head, asio::use_awaitable);
    const std::size_t all = head + announced_length({request.data(), head});
    if (request.size() < all) {
        const auto missing = asio::transfer_exactly(all - request.size());
        co_await asio::async_read(one->socket, buffer, missing, asio::use_awaitable);
    }

    if (!one->socket.is_open()) co_return; // dead by now
    const bool refuses = condition_ == condition::flaky && random_() % 100 < refused_while_flaky;
    one->work.expires_after(time_to_answer(refuses));
    co_await one->work.async_wait(asio::use_awaitable); // whether the caller still waits or not

    const std::string body = fmt::format(R"({{"server":"{}"}})", name_);
    const std::string answer = fmt::format(
        "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n"
        "Connection: close\r\n\r\n{}",
        refuses ? "503 Service Unavailable" : "200 OK", body.size(), body);
    co_await asio::async_write(one->socket, asio::buffer(answer), asio::use_awaitable);
}

std::chrono::milliseconds async_server::time_to_answer(bool refuses) {
    const auto spread = static_cast<unsigned>((numbers_.slowest - numbers_.quickest).count()) + 1;
    const auto usual = numbers_.quickest + std::chrono::milliseconds(random_() % spread);
    if (refuses) return usual / 10; // no is soon said
    return condition_ == condition::slow ? numbers_.slow : usual;
}

} // namespace demo
