// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "simulated/fault_script.hpp"

#include <resilience/retry.hpp>

#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>

namespace simulated {

/// The server answered with an error.
class mongodb_error : public std::runtime_error {
public:
    explicit mongodb_error(int code)
        : std::runtime_error("MongoDB error " + std::to_string(code)), code_(code) {}
    int code() const noexcept { return code_; }

private:
    int code_;
};

/// A driver's command, without any protection: a document, or an exception.
class mongodb_client {
public:
    explicit mongodb_client(fault_script& server) : server_(&server) {}

    std::string run(rs::call_context& ctx, std::string_view command, std::string_view document) const {
        turn answer = server_->serve(std::string(command) + " " + std::string(document), ctx);
        if (answer.status != 200) throw mongodb_error(answer.status);
        if (!answer.body.ends_with('}') && !answer.body.ends_with(']')) {
            throw std::runtime_error("MongoDB's answer breaks off");
        }
        return std::move(answer.body);
    }

private:
    fault_script* server_;
};

/// Quicker and lower than for HTTP services: a replica set elects a new primary within seconds.
inline rs::retry_config mongodb_retry() {
    using namespace std::chrono_literals;
    return {.name = "mongodb",
            .max_attempts = 3,
            .base_delay = 500ms,
            .max_delay = 5s,
            .strategy = rs::backoff::exponential,
            .jitter = rs::jitter::full};
}

/// What the application calls. Retries only; ids are made by the caller, so that writes can be repeated.
class mongodb_session_repository {
public:
    mongodb_session_repository(mongodb_client client, rs::registry& registry)
        : client_(client), guard_(mongodb_retry(), registry) {}

    std::string create_session(std::string_view session, std::string_view data) const {
        return run("create_session", "insert", std::string(session) + " " + std::string(data));
    }
    bool ensure_session_exists(std::string_view session) const {
        return run("ensure_session_exists", "find", std::string(session)) != "[]";
    }
    std::string get_session_history(std::string_view session, int limit = 50) const {
        return run("get_session_history", "find",
                   std::string(session) + " messages " + std::to_string(limit));
    }
    std::string update_session(std::string_view session, std::string_view data) const {
        return run("update_session", "update", std::string(session) + " " + std::string(data));
    }

private:
    std::string run(std::string_view operation, std::string_view command, const std::string& document) const {
        return guard_.named(operation)(
            [&](rs::call_context& ctx) { return client_.run(ctx, command, document); });
    }

    mongodb_client client_;
    rs::retry guard_;
};

} // namespace simulated
