// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "simulated/fault_script.hpp"

#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace simulated {

/// An HTTP answer that is none of 2xx, as an exception. The mixin is all that the library needs.
class http_error : public std::runtime_error, public rs::http_carrier {
public:
    http_error(int status, std::optional<rs::duration> retry_after)
        : std::runtime_error("HTTP " + std::to_string(status)), status_(status), retry_after_(retry_after) {}

    int http_status() const noexcept override { return status_; }
    std::optional<rs::duration> retry_after() const noexcept override { return retry_after_; }

private:
    int status_;
    std::optional<rs::duration> retry_after_;
};

struct malformed_answer : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Jira's REST client, without any protection: bodies of answers, or exceptions.
class jira_client {
public:
    explicit jira_client(fault_script& server) : server_(&server) {}

    std::string get(rs::call_context& ctx, std::string_view path) const {
        return send(ctx, "GET " + std::string(path));
    }
    std::string post(rs::call_context& ctx, std::string_view path, std::string_view body) const {
        return send(ctx, "POST " + std::string(path) + " " + std::string(body));
    }

private:
    std::string send(rs::call_context& ctx, std::string request) const {
        turn answer = server_->serve(std::move(request), ctx);
        if (answer.status >= 300) throw http_error(answer.status, answer.retry_after);
        if (!answer.body.ends_with('}') && !answer.body.ends_with(']')) {
            throw malformed_answer("Jira's answer breaks off");
        }
        return std::move(answer.body);
    }

    fault_script* server_;
};

inline rs::retry_config jira_retry() {
    using namespace std::chrono_literals;
    return {.name = "jira_api",
            .max_attempts = 3,
            .base_delay = 1s,
            .max_delay = 10s,
            .strategy = rs::backoff::exponential,
            .jitter = rs::jitter::full};
}

inline rs::circuit_breaker_config jira_circuit() {
    using namespace std::chrono_literals;
    return {.name = "jira_api", .failure_threshold = 5, .recovery_timeout = 30s, .failure_window = 60s};
}

/// What the application calls. All methods share one circuit; retries go around it.
class jira_service {
public:
    jira_service(jira_client client, rs::registry& registry)
        : client_(client),
          guard_(rs::retry(jira_retry(), registry) | rs::circuit_breaker(jira_circuit(), registry)) {}

    std::string get_server_info() const {
        return guard_.named("get_server_info")(
            [&](rs::call_context& ctx) { return client_.get(ctx, "/rest/api/2/serverInfo"); });
    }
    std::string search_issues(std::string_view jql, int limit = 50) const {
        const std::string path =
            "/rest/api/2/search?jql=" + std::string(jql) + "&maxResults=" + std::to_string(limit);
        return guard_.named("search_issues")([&](rs::call_context& ctx) { return client_.get(ctx, path); });
    }
    std::string get_issue(std::string_view key) const {
        const std::string path = "/rest/api/2/issue/" + std::string(key);
        return guard_.named("get_issue")([&](rs::call_context& ctx) { return client_.get(ctx, path); });
    }
    /// Twice sent would be two issues: not tried again once it may have been sent.
    std::string create_issue(std::string_view issue) const {
        return guard_.named("create_issue")
            .with({.idempotency = rs::idempotency::unsafe})(
                [&](rs::call_context& ctx) { return client_.post(ctx, "/rest/api/2/issue", issue); });
    }
    std::string get_projects() const {
        return guard_.named("get_projects")(
            [&](rs::call_context& ctx) { return client_.get(ctx, "/rest/api/2/project"); });
    }
    std::string get_issue_types() const {
        return guard_.named("get_issue_types")(
            [&](rs::call_context& ctx) { return client_.get(ctx, "/rest/api/2/issuetype"); });
    }

private:
    jira_client client_;
    rs::pipeline<rs::retry, rs::circuit_breaker> guard_;
};

} // namespace simulated
