// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async_http.hpp"

#include <chrono>
#include <cstdint>
#include <string>

#include <asio/awaitable.hpp>

namespace demo {

/// HTTP on an event loop as it often is: one try with a time limit, no protection. A caller waits for three
/// seconds, so that is the limit. Clients of it: plain_service.hpp.
class async_plain_connection {
public:
    explicit async_plain_connection(int port) : http_(port) {}

    asio::awaitable<std::string> get(const std::string& path) const;
    asio::awaitable<std::string> post(const std::string& path, const std::string& json) const;
    std::uint64_t requests() const noexcept { return http_.requests(); }

private:
    async_http_connection http_;
};

} // namespace demo
