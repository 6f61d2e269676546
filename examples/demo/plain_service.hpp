// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "paths.hpp"
#include "service.hpp"

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace demo {

/// HTTP as it often is: one try with a socket timeout, no protection. A caller waits for a second, so that is
/// what the socket gets.
class plain_connection {
public:
    explicit plain_connection(int port) : http_(port) {}

    std::string get(const std::string& path) const { return body_of(http_.get(path, timeout)); }
    std::string post(const std::string& path, const std::string& json) const {
        return body_of(http_.post(path, json, timeout));
    }
    std::uint64_t requests() const noexcept { return http_.requests(); }

private:
    static constexpr std::chrono::seconds timeout{1};

    static std::string body_of(const httplib::Result& answer) {
        if (!answer) throw std::runtime_error("no answer (" + httplib::to_string(answer.error()) + ")");
        if (answer->status >= 400) throw std::runtime_error("HTTP " + std::to_string(answer->status));
        return answer->body;
    }
    http_connection http_;
};

/// The same operations as jira_client. They heed no deadline but the socket's.
template <class Connection>
class plain_jira_client {
public:
    explicit plain_jira_client(int port) : http_(port) {}

    auto search_issues(std::string_view jql, rs::time_point) const { return http_.get(search_path(jql)); }
    auto get_issue(std::string_view key, rs::time_point) const { return http_.get(issue_path(key)); }
    auto create_issue(std::string_view title, rs::time_point) const {
        return http_.post(new_issue_path, new_issue(title));
    }
    std::uint64_t requests() const noexcept { return http_.requests(); }

private:
    Connection http_;
};

/// The same operations as confluence_client.
template <class Connection>
class plain_confluence_client {
public:
    explicit plain_confluence_client(int port) : http_(port) {}

    auto get_page_content(std::string_view id, rs::time_point) const { return http_.get(page_path(id)); }
    auto search_content(std::string_view cql, rs::time_point) const {
        return http_.get(content_search_path(cql));
    }
    std::uint64_t requests() const noexcept { return http_.requests(); }

private:
    Connection http_;
};

} // namespace demo
