// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/resilience.hpp>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/socket.h>

#include <curl/curl.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>

// Clients as services write them around libcurl, libpq and hiredis. Each call is told its limit.

namespace clients {

namespace rs = resilience;
using milliseconds = std::chrono::milliseconds;

// ---- HTTP by libcurl

struct http_answer {
    int status = 0;
    std::optional<rs::duration> hint;
};
inline std::optional<int> http_status_of(const http_answer& a) noexcept { return a.status; }
inline std::optional<rs::duration> retry_after_of(const http_answer& a) noexcept { return a.hint; }

class curl_error : public std::runtime_error {
public:
    explicit curl_error(CURLcode code) : std::runtime_error(curl_easy_strerror(code)), code(code) {}
    CURLcode code;
};

/// GET within the limit. `give_up` is asked now and then; if it says so, the transfer ends as cancelled.
inline http_answer get(const std::string& url, milliseconds limit, std::function<bool()> give_up = {}) {
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
    const auto ignore = +[](char*, std::size_t size, std::size_t count, void*) { return size * count; };
    const auto ask = +[](void* function, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
        return (*static_cast<std::function<bool()>*>(function))() ? 1 : 0;
    };
    curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS,
                     static_cast<long>(limit.count())); // 0 would be: for ever
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, ignore);
    if (give_up) {
        curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, ask);
        curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &give_up);
    }
    const CURLcode done = curl_easy_perform(curl.get());
    if (done == CURLE_ABORTED_BY_CALLBACK)
        throw std::system_error(std::make_error_code(std::errc::operation_canceled), "curl");
    if (done != CURLE_OK) throw curl_error(done);
    long status = 0;
    curl_off_t seconds = 0;
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl.get(), CURLINFO_RETRY_AFTER, &seconds);
    http_answer answer{static_cast<int>(status), std::nullopt};
    if (seconds > 0) answer.hint = std::chrono::seconds(seconds);
    return answer;
}

// ---- PostgreSQL by libpq

/// Carries the SQLSTATE. 57014 (query_canceled) is a cancellation to whoever compares codes.
class pg_error : public std::system_error {
public:
    pg_error(std::string_view state, const std::string& message)
        : std::system_error(
              std::make_error_code(state == "57014" ? std::errc::operation_canceled : std::errc::io_error),
              message),
          state(state) {}
    std::string state;
};

/// The server had closed the connection before anything was sent on it.
class pg_stale : public std::runtime_error, public rs::stale_connection_carrier {
public:
    pg_stale() : std::runtime_error("the pooled connection was closed by the server") {}
    bool stale_connection() const noexcept override { return true; }
};

class pg_connection {
public:
    pg_connection() : connection_(PQconnectdb(std::getenv("TEST_PG")), PQfinish) {
        if (PQstatus(connection_.get()) != CONNECTION_OK)
            throw pg_error("08006", PQerrorMessage(connection_.get()));
    }

    /// The first field of the first row. The server gives up at the limit.
    std::string query(const std::string& sql, milliseconds limit) {
        if (is_dead()) throw pg_stale();
        run("set statement_timeout = " + std::to_string(limit.count())); // 0 would be: for ever
        return run(sql);
    }

private:
    /// The server's end of the connection is known before a query is sent: there is something to read, and it is the end.
    bool is_dead() const {
        pollfd socket{.fd = PQsocket(connection_.get()), .events = POLLIN, .revents = 0};
        if (poll(&socket, 1, 0) <= 0) return false;
        if (PQconsumeInput(connection_.get()) == 0) return true;
        return PQstatus(connection_.get()) != CONNECTION_OK;
    }
    std::string run(const std::string& sql) {
        const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection_.get(), sql.c_str()),
                                                                   PQclear);
        const ExecStatusType status = PQresultStatus(result.get());
        if (status == PGRES_COMMAND_OK) return {};
        if (status == PGRES_TUPLES_OK) return PQgetvalue(result.get(), 0, 0);
        const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
        throw pg_error(state != nullptr ? state : "08006", PQerrorMessage(connection_.get()));
    }

    std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

/// A pool for one thread. A connection that failed is not put back.
class pg_pool {
public:
    void fill(std::size_t count) {
        while (idle_.size() < count) idle_.emplace_back();
    }
    std::string query(const std::string& sql, milliseconds limit) {
        if (idle_.empty()) idle_.emplace_back();
        pg_connection taken = std::move(idle_.back());
        idle_.pop_back();
        std::string answer = taken.query(sql, limit);
        idle_.push_back(std::move(taken));
        return answer;
    }

private:
    std::vector<pg_connection> idle_;
};

/// All its connections die.
inline void restart_postgres() {
    const std::string command = std::string(std::getenv("TEST_PG_CTL")) + " restart -m immediate >/dev/null";
    if (std::system(command.c_str()) != 0) throw std::runtime_error("PostgreSQL does not come back");
}

// ---- Redis by hiredis

class redis_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class redis_connection {
public:
    redis_connection() : context_(redisConnectUnix(std::getenv("TEST_REDIS")), redisFree) {
        if (!context_ || context_->err != 0) throw redis_error("no connection");
    }
    std::string command(const char* text, std::chrono::microseconds limit) {
        const auto seconds = std::chrono::floor<std::chrono::seconds>(limit);
        redisSetTimeout(context_.get(), {.tv_sec = seconds.count(), .tv_usec = (limit - seconds).count()});
        const std::unique_ptr<void, decltype(&freeReplyObject)> reply(redisCommand(context_.get(), text),
                                                                      freeReplyObject);
        if (!reply) throw redis_error(context_->errstr);
        const auto* answer = static_cast<const redisReply*>(reply.get());
        return answer->str != nullptr ? std::string(answer->str, answer->len) : std::string();
    }

private:
    std::unique_ptr<redisContext, decltype(&redisFree)> context_;
};

} // namespace clients
