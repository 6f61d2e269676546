// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async_http.hpp"
#include "protection.hpp"

#include <cstdint>
#include <string>

#include <asio/awaitable.hpp>

namespace demo {

/// The same policies as those of threads, with numbers for services that take about a second.
protection make_async_protection(const std::string& name);

/// Jira with its protection, on an event loop: no thread waits for an answer, a delay or a limit. Each operation
/// gives the body of the answer; it throws rs::circuit_open_error if the circuit is open, std::system_error if
/// there was no good answer, request_refused for HTTP 4xx. The client must outlive what it returns.
class async_jira_client {
public:
    explicit async_jira_client(int port) : http_(port) {}

    asio::awaitable<std::string> search_issues(std::string jql, rs::time_point deadline) const;
    asio::awaitable<std::string> get_issue(std::string key, rs::time_point deadline) const;
    /// Tried again only if the request is known not to have reached Jira: nobody wants an issue twice.
    asio::awaitable<std::string> create_issue(std::string title, rs::time_point deadline) const;

    std::uint64_t requests() const noexcept { return http_.requests(); }
    rs::retry_stats retries() const { return guard_.get<0>().stats(); }
    rs::circuit_breaker_stats circuit() const { return guard_.get<1>().stats(); }

private:
    async_http_connection http_;
    protection guard_ = make_async_protection("jira_api");
};

/// Confluence with its protection; the same failures.
class async_confluence_client {
public:
    explicit async_confluence_client(int port) : http_(port) {}

    asio::awaitable<std::string> get_page_content(std::string id, rs::time_point deadline) const;
    asio::awaitable<std::string> search_content(std::string cql, rs::time_point deadline) const;

    std::uint64_t requests() const noexcept { return http_.requests(); }
    rs::retry_stats retries() const { return guard_.get<0>().stats(); }
    rs::circuit_breaker_stats circuit() const { return guard_.get<1>().stats(); }

private:
    async_http_connection http_;
    protection guard_ = make_async_protection("confluence_api");
};

} // namespace demo
