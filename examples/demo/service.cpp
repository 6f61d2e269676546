// SPDX-License-Identifier: Apache-2.0
// The part to read first: a service whose calls to others are protected.
#include "service.hpp"

#include "local_server.hpp"
#include "paths.hpp"

#include <chrono>
#include <utility>

namespace demo {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

protection make_protection(const std::string& name) {
    const rs::retry_config attempts{.name = name, .max_attempts = 3, .base_delay = 50ms, .max_delay = 1s};
    const rs::circuit_breaker_config circuit{
        .name = name,
        .recovery_timeout = 1s, // the demo is short; 30 s is the default
        // At 40 calls a second any count of failures is soon reached. A share tells a flaky server, which
        // retries cope with, from one that is down.
        .failure_rate_threshold = 0.8,
        .window = rs::count_window{25},
        .minimum_calls = 25,
    };
    return rs::retry(attempts) | rs::circuit_breaker(circuit) | rs::timeout({.name = name, .limit = 300ms});
}

namespace {

/// What a caller gets of an answer. Throws what the policies or the connection report.
std::string body_of(rs::outcome<httplib::Result> answer) {
    httplib::Response& response = *answer.value(); // no answer, HTTP 5xx or an open circuit: throws
    if (response.status >= 400) throw request_refused("HTTP " + std::to_string(response.status));
    return std::move(response.body);
}

} // namespace

std::string jira_client::search_issues(std::string_view jql, rs::time_point deadline) const {
    return body_of(
        guard_.named("search_issues").with({.deadline = deadline}).try_call([&](rs::call_context& ctx) {
            // The attempt's limit reaches the socket.
            return http_.get(search_path(jql), ctx.remaining_as<milliseconds>());
        }));
}

std::string jira_client::get_issue(std::string_view key, rs::time_point deadline) const {
    return body_of(
        guard_.named("get_issue").with({.deadline = deadline}).try_call([&](rs::call_context& ctx) {
            return http_.get(issue_path(key), ctx.remaining_as<milliseconds>());
        }));
}

std::string jira_client::create_issue(std::string_view title, rs::time_point deadline) const {
    const rs::call_options once{.deadline = deadline, .idempotency = rs::idempotency::unsafe};
    return body_of(guard_.named("create_issue").with(once).try_call([&](rs::call_context& ctx) {
        return http_.post(new_issue_path, new_issue(title), ctx.remaining_as<milliseconds>());
    }));
}

std::string confluence_client::get_page_content(std::string_view id, rs::time_point deadline) const {
    return body_of(
        guard_.named("get_page_content").with({.deadline = deadline}).try_call([&](rs::call_context& ctx) {
            return http_.get(page_path(id), ctx.remaining_as<milliseconds>());
        }));
}

std::string confluence_client::search_content(std::string_view cql, rs::time_point deadline) const {
    return body_of(
        guard_.named("search_content").with({.deadline = deadline}).try_call([&](rs::call_context& ctx) {
            return http_.get(content_search_path(cql), ctx.remaining_as<milliseconds>());
        }));
}

httplib::Client http_connection::prepared(milliseconds limit) const {
    httplib::Client client(loopback, port_);
    // For each step; the timeout around us judges the whole. The limit is at least a millisecond: with zero,
    // cpp-httplib would look once and give up.
    client.set_connection_timeout(limit);
    client.set_read_timeout(limit);
    client.set_write_timeout(limit);
    requests_.fetch_add(1, std::memory_order_relaxed);
    return client;
}

httplib::Result http_connection::get(const std::string& path, milliseconds limit) const {
    return prepared(limit).Get(path);
}

httplib::Result http_connection::post(const std::string& path, const std::string& json,
                                      milliseconds limit) const {
    return prepared(limit).Post(path, json, "application/json");
}

} // namespace demo
