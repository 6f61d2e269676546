// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "simulated/fault_script.hpp"

#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace simulated {

/// What came back, whatever it was: this client reports failures as values.
struct http_reply {
    std::optional<int> status; ///< empty: no answer, or none that can be read
    std::string body;
    std::optional<rs::duration> retry_after;
};
// All that the library needs to judge a reply, found by its type.
inline std::optional<int> http_status_of(const http_reply& reply) { return reply.status; }
inline std::optional<rs::duration> retry_after_of(const http_reply& reply) { return reply.retry_after; }

/// Confluence's REST client, without any protection.
class confluence_client {
public:
    explicit confluence_client(fault_script& server) : server_(&server) {}

    http_reply get(rs::call_context& ctx, std::string_view path) const {
        try {
            turn answer = server_->serve("GET " + std::string(path), ctx);
            const bool readable =
                answer.status != 200 || answer.body.ends_with('}') || answer.body.ends_with(']');
            if (!readable) return {};
            return {answer.status, std::move(answer.body), answer.retry_after};
        } catch (const transport_error& e) {
            if (e.code() == std::errc::operation_canceled) throw; // the caller's wish, no fault of the server
            return {};
        }
    }

private:
    fault_script* server_;
};

inline rs::retry_config confluence_retry() {
    using namespace std::chrono_literals;
    return {.name = "confluence_api",
            .max_attempts = 3,
            .base_delay = 1s,
            .max_delay = 10s,
            .strategy = rs::backoff::exponential,
            .jitter = rs::jitter::full};
}

inline rs::circuit_breaker_config confluence_circuit() {
    using namespace std::chrono_literals;
    return {.name = "confluence_api", .failure_threshold = 5, .recovery_timeout = 30s, .failure_window = 60s};
}

/// What the application calls.
class confluence_service {
public:
    confluence_service(confluence_client client, rs::registry& registry)
        : client_(client), guard_(rs::retry(confluence_retry(), registry) |
                                  rs::circuit_breaker(confluence_circuit(), registry)) {}

    http_reply get_spaces() const { return get("get_spaces", "/rest/api/space"); }
    http_reply get_pages_in_space(std::string_view space) const {
        return get("get_pages_in_space", "/rest/api/space/" + std::string(space) + "/content/page");
    }
    http_reply get_page_content(std::string_view page) const {
        return get("get_page_content", "/rest/api/content/" + std::string(page) + "?expand=body.storage");
    }
    http_reply search_content(std::string_view cql) const {
        return get("search_content", "/rest/api/content/search?cql=" + std::string(cql));
    }

private:
    http_reply get(std::string_view operation, const std::string& path) const {
        return guard_.named(operation)([&](rs::call_context& ctx) { return client_.get(ctx, path); });
    }

    confluence_client client_;
    rs::pipeline<rs::retry, rs::circuit_breaker> guard_;
};

} // namespace simulated
