// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <asio/awaitable.hpp>

namespace demo {

struct http_answer {
    int status = 0;
    std::string body;
};
/// By this the policies judge an answer: HTTP 5xx is a failure, 4xx are answers of a server that works.
inline std::optional<int> http_status_of(const http_answer& answer) noexcept { return answer.status; }

/// HTTP with one server of this machine, on the event loop of the coroutine that awaits it; a connection per
/// request. Knows nothing of retries, circuits and limits: it ends when it is cancelled. Throws
/// asio::system_error if there is no answer.
class async_http_connection {
public:
    explicit async_http_connection(int port) : port_(port) {}

    asio::awaitable<http_answer> get(const std::string& path) const;
    asio::awaitable<http_answer> post(const std::string& path, const std::string& json) const;
    /// Tried so far, answered or not. From any thread.
    std::uint64_t requests() const noexcept { return requests_.load(std::memory_order_relaxed); }

private:
    asio::awaitable<http_answer> send(std::string request) const;

    int port_;
    mutable std::atomic<std::uint64_t> requests_{0}; // only ever added to; relaxed: a count orders nothing
};

/// Between the head of a message and its body.
inline constexpr std::string_view end_of_head = "\r\n\r\n";
/// The length of the body that a head announces. As much of HTTP as our own messages need.
std::size_t announced_length(std::string_view head) noexcept;

} // namespace demo
