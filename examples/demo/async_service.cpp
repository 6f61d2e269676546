// SPDX-License-Identifier: Apache-2.0
// The part to read first: a service of coroutines whose calls to others are protected.
#include "async_service.hpp"

#include "paths.hpp"

#include <resilience/asio.hpp> // teaches the policies what an asio::awaitable is

#include <chrono>
#include <utility>

namespace demo {

using namespace std::chrono_literals;

protection make_async_protection(const std::string& name) {
    // For both services. By default retries add a fifth to the load: too little where two of five requests fail.
    // They fail quickly and cost the server little, and once it is down the circuit ends them.
    static const rs::retry_budget budget(rs::percent_budget_config{.ratio = 0.6});
    const rs::retry_config attempts{
        .name = name,
        .max_attempts = 3,
        .base_delay = 100ms,
        .max_delay = 1s,
        .budget = budget,
    };
    const rs::circuit_breaker_config circuit{
        .name = name,
        .recovery_timeout = 250ms, // the demo is short; 30 s is the default
        // At 1,000 calls a second any count of failures is soon reached. A share tells a flaky server, which
        // retries cope with, from one that is down.
        .failure_rate_threshold = 0.8,
        .window = rs::count_window{200},
        .minimum_calls = 200,
    };
    return rs::retry(attempts) | rs::circuit_breaker(circuit) | rs::timeout({.name = name, .limit = 1500ms});
}

namespace {

/// What a caller gets of an answer. Throws what the policies or the connection report.
std::string body_of(rs::outcome<http_answer> answer) {
    http_answer& good = answer.value(); // no answer, HTTP 5xx or an open circuit: throws
    if (good.status >= 400) throw request_refused("HTTP " + std::to_string(good.status));
    return std::move(good.body);
}

} // namespace

// Each call is named, then awaited: see docs/coroutines.md for what g++ 12 does to temporaries.

asio::awaitable<std::string> async_jira_client::search_issues(std::string jql,
                                                              rs::time_point deadline) const {
    auto call = guard_.named("search_issues").with({.deadline = deadline}).try_call([&] {
        return http_.get(search_path(jql)); // a limit that strikes cancels this
    });
    co_return body_of(co_await std::move(call));
}

asio::awaitable<std::string> async_jira_client::get_issue(std::string key, rs::time_point deadline) const {
    auto call = guard_.named("get_issue").with({.deadline = deadline}).try_call([&] {
        return http_.get(issue_path(key));
    });
    co_return body_of(co_await std::move(call));
}

asio::awaitable<std::string> async_jira_client::create_issue(std::string title,
                                                             rs::time_point deadline) const {
    const rs::call_options once{.deadline = deadline, .idempotency = rs::idempotency::unsafe};
    auto call = guard_.named("create_issue").with(once).try_call([&] {
        return http_.post(new_issue_path, new_issue(title));
    });
    co_return body_of(co_await std::move(call));
}

asio::awaitable<std::string> async_confluence_client::get_page_content(std::string id,
                                                                       rs::time_point deadline) const {
    auto call = guard_.named("get_page_content").with({.deadline = deadline}).try_call([&] {
        return http_.get(page_path(id));
    });
    co_return body_of(co_await std::move(call));
}

asio::awaitable<std::string> async_confluence_client::search_content(std::string cql,
                                                                     rs::time_point deadline) const {
    auto call = guard_.named("search_content").with({.deadline = deadline}).try_call([&] {
        return http_.get(content_search_path(cql));
    });
    co_return body_of(co_await std::move(call));
}

} // namespace demo
