// SPDX-License-Identifier: Apache-2.0
#include "async_http.hpp"

#include <charconv>
#include <utility>

#include <fmt/format.h>
#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/redirect_error.hpp>
#include <asio/system_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

namespace demo {
namespace {

int number_at(std::string_view text) noexcept {
    int number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

/// Throws if it is not whole.
http_answer parsed(std::string text) {
    constexpr std::string_view version = "HTTP/1.1 ";
    const std::size_t head = text.find(end_of_head);
    if (head == std::string::npos || !text.starts_with(version)) throw asio::system_error(asio::error::eof);
    const std::size_t begin = head + end_of_head.size();
    if (text.size() - begin < announced_length({text.data(), begin}))
        throw asio::system_error(asio::error::eof);
    const int status = number_at(std::string_view(text).substr(version.size()));
    return {status, text.substr(begin)};
}

} // namespace

std::size_t announced_length(std::string_view head) noexcept {
    constexpr std::string_view field = "\r\nContent-Length: ";
    const std::size_t at = head.find(field);
    return at == std::string_view::npos ? 0
                                        : static_cast<std::size_t>(number_at(head.substr(at + field.size())));
}

asio::awaitable<http_answer> async_http_connection::get(const std::string& path) const {
    return send(fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path));
}

asio::awaitable<http_answer> async_http_connection::post(const std::string& path,
                                                         const std::string& json) const {
    return send(
        fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
                    path, json.size(), json));
}

asio::awaitable<http_answer> async_http_connection::send(std::string request) const {
    using asio::ip::tcp;
    requests_.fetch_add(1, std::memory_order_relaxed);
    tcp::socket socket(co_await asio::this_coro::executor, tcp::v4());
    // The port is free at once, without TIME_WAIT: there are not that many for thousands of requests a second.
    socket.set_option(asio::socket_base::linger(true, 0));

    const tcp::endpoint server(asio::ip::address_v4::loopback(), static_cast<std::uint16_t>(port_));
    co_await socket.async_connect(server, asio::use_awaitable);
    co_await asio::async_write(socket, asio::buffer(request), asio::use_awaitable);

    std::string answer; // all until the server closes the connection
    asio::error_code end;
    auto reading = asio::async_read(socket, asio::dynamic_buffer(answer),
                                    asio::redirect_error(asio::use_awaitable, end));
    co_await std::move(reading);
    if (end != asio::error::eof) throw asio::system_error(end);
    co_return parsed(std::move(answer));
}

} // namespace demo
