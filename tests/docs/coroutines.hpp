// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the snippets of docs/coroutines.md take for granted.
#include <resilience/asio.hpp>

#include <asio.hpp>

struct connection {
    asio::awaitable<std::string> get(std::string path) const;
    asio::awaitable<int> put(std::string path, std::string body) const;
};
