// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protection.hpp"

#include <resilience/httplib.hpp>
#include <resilience/resilience.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace demo {

/// HTTP with one server; a connection per request. Knows nothing of retries and circuits, but how long a
/// request may take. Thread-safe.
class http_connection {
public:
    explicit http_connection(int port) : port_(port) {}

    httplib::Result get(const std::string& path, std::chrono::milliseconds limit) const;
    httplib::Result post(const std::string& path, const std::string& json,
                         std::chrono::milliseconds limit) const;
    /// Tried so far, answered or not.
    std::uint64_t requests() const noexcept { return requests_.load(std::memory_order_relaxed); }

private:
    httplib::Client prepared(std::chrono::milliseconds limit) const;

    int port_;
    mutable std::atomic<std::uint64_t> requests_{0}; // only ever added to; relaxed: a count orders nothing
};

/// The same numbers for both services; the name shows in statistics, events and errors.
protection make_protection(const std::string& name);

/// Jira with its protection. Each operation gives the body of the answer; it throws rs::circuit_open_error
/// if the circuit is open, std::system_error if there was no good answer, request_refused for HTTP 4xx.
class jira_client {
public:
    explicit jira_client(int port) : http_(port) {}

    std::string search_issues(std::string_view jql, rs::time_point deadline) const;
    std::string get_issue(std::string_view key, rs::time_point deadline) const;
    /// Tried again only if the request is known not to have reached Jira: nobody wants an issue twice.
    std::string create_issue(std::string_view title, rs::time_point deadline) const;

    std::uint64_t requests() const noexcept { return http_.requests(); }
    rs::retry_stats retries() const { return guard_.get<0>().stats(); }
    rs::circuit_breaker_stats circuit() const { return guard_.get<1>().stats(); }

private:
    http_connection http_;
    protection guard_ = make_protection("jira_api");
};

/// Confluence with its protection; the same failures.
class confluence_client {
public:
    explicit confluence_client(int port) : http_(port) {}

    std::string get_page_content(std::string_view id, rs::time_point deadline) const;
    std::string search_content(std::string_view cql, rs::time_point deadline) const;

    std::uint64_t requests() const noexcept { return http_.requests(); }
    rs::retry_stats retries() const { return guard_.get<0>().stats(); }
    rs::circuit_breaker_stats circuit() const { return guard_.get<1>().stats(); }

private:
    http_connection http_;
    protection guard_ = make_protection("confluence_api");
};

} // namespace demo
