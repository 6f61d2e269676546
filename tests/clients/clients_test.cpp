// SPDX-License-Identifier: Apache-2.0
// Real clients against real servers; run.sh starts these. The clients' own limits are those of the call.
#include "clients/clients.hpp"
#include "support/catch.hpp"
#include "support/running_server.hpp"

#include <resilience/resilience.hpp>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using clients::get;
using clients::http_answer;
using milliseconds = std::chrono::milliseconds;

/// retry | circuit_breaker | timeout with what they count, in a registry of their own.
struct guarded {
    explicit guarded(rs::duration limit, rs::retry_config again = {.max_attempts = 2, .base_delay = 1ms},
                     rs::circuit_breaker_config cut = {.failure_threshold = 2})
        : retry(again, reg), breaker(cut, reg), timeout({.limit = limit}, reg),
          guard(retry | breaker | timeout) {}

    rs::registry reg;
    rs::retry retry;
    rs::circuit_breaker breaker;
    rs::timeout timeout;
    rs::pipeline<rs::retry, rs::circuit_breaker, rs::timeout> guard;
};

/// Both attempts of a call were given up by the client itself, at the limit that it was told.
void check_timed_out(const guarded& g) {
    CHECK(g.timeout.stats().timed_out == 2);
    CHECK(g.breaker.stats().failures == 2);
    CHECK(g.breaker.stats().ignored == 0);
    CHECK(g.breaker.state() == rs::circuit_state::open);
}

/// A server whose answers are scripted by the test, and which can hang until the end of the scope.
class http_server {
public:
    http_server()
        : server_([this](httplib::Server& s) {
              s.Get("/hang", [this](const httplib::Request&, httplib::Response&) {
                  while (!over_) std::this_thread::sleep_for(5ms);
              });
              s.Get("/issue", [this](const httplib::Request&, httplib::Response& r) {
                  ++requests;
                  r.status = status;
                  if (!retry_after.empty()) r.set_header("Retry-After", retry_after);
                  r.set_content("hello", "text/plain");
              });
          }) {}
    ~http_server() { over_ = true; }
    http_server(const http_server&) = delete;
    http_server& operator=(const http_server&) = delete;

    std::string url(const std::string& path) const {
        return "http://127.0.0.1:" + std::to_string(server_.port()) + path;
    }

    std::atomic<int> status{200};
    std::atomic<int> requests{0};
    std::string retry_after;

private:
    std::atomic<bool> over_{false};
    running_server server_;
};

rs::duration time_of(const auto& run) {
    const auto begun = std::chrono::steady_clock::now();
    run();
    return std::chrono::steady_clock::now() - begun;
}

TEST_CASE("curl gives up at the limit it was told, and that is a time-out", "[clients][USE-01]") {
    http_server server;
    const guarded g(150ms);

    CHECK_THROWS_AS(g.guard([&](rs::call_context& ctx) {
        return get(server.url("/hang"), ctx.remaining_as<milliseconds>(1h));
    }),
                    clients::curl_error);

    check_timed_out(g);
}

TEST_CASE("curl's abort callback at the limit is a time-out, not a cancellation", "[clients][USE-02]") {
    http_server server;
    const guarded g(150ms);

    try {
        g.guard([&](rs::call_context& ctx) {
            return get(server.url("/hang"), 1h, [&] { return ctx.remaining() <= 0ns; });
        });
        FAIL("the call ended well");
    } catch (const std::system_error& e) {
        CHECK(e.code() == std::errc::operation_canceled);
    }

    check_timed_out(g);
}

TEST_CASE("a deadline of less than a millisecond is not taken for none", "[clients][USE-04]") {
    http_server server;
    const guarded g(8s);

    const rs::duration took = time_of([&] {
        (void)g.guard.with({.deadline = g.reg.clock().now() + 900us}).try_call([&](rs::call_context& ctx) {
            return get(server.url("/hang"), ctx.remaining_as<milliseconds>(1h));
        });
    });

    CHECK(took < 2s);
}

TEST_CASE("a query that the server cancels at the limit has timed out", "[clients][USE-02]") {
    const guarded g(150ms);
    clients::pg_connection db;

    CHECK_THROWS_AS(g.guard([&](rs::call_context& ctx) {
        return db.query("select pg_sleep(5)", ctx.remaining_as<milliseconds>(1h));
    }),
                    clients::pg_error);

    check_timed_out(g);
    CHECK(db.query("select 1", 5s) == "1"); // the connection is good for more
}

TEST_CASE("Redis that does not answer within the socket's limit has timed out", "[clients][USE-01]") {
    const guarded g(150ms);

    CHECK_THROWS_AS(g.guard([&](rs::call_context& ctx) {
        clients::redis_connection db;
        return db.command("BLPOP nothing 0", ctx.remaining_as<std::chrono::microseconds>(1h));
    }),
                    clients::redis_error);

    check_timed_out(g);
}

TEST_CASE("a recovered server that answers 404 alone closes the circuit", "[clients][USE-09]") {
    http_server server;
    server.status = 503;
    const guarded g(2s, {.max_attempts = 1}, {.failure_threshold = 2, .recovery_timeout = 100ms});
    const auto ask = [&] {
        return g.guard.try_call([&](rs::call_context& ctx) {
            return get(server.url("/issue"), ctx.remaining_as<milliseconds>(1h));
        });
    };
    (void)ask();
    (void)ask();
    REQUIRE(g.breaker.state() == rs::circuit_state::open);

    server.status = 404;
    std::this_thread::sleep_for(150ms);
    for (int i = 0; i < 2; ++i) {
        const auto answer = ask();
        REQUIRE(answer);
        CHECK(answer.value().status == 404);
    }

    CHECK(g.breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("a server that throttles is not an outage", "[clients][USE-10]") {
    http_server server;
    server.status = 429;
    server.retry_after = "1";
    const guarded g(2s, {.max_attempts = 1}, {.failure_threshold = 2});

    for (int i = 0; i < 5; ++i) {
        (void)g.guard.try_call([&](rs::call_context& ctx) {
            return get(server.url("/issue"), ctx.remaining_as<milliseconds>(1h));
        });
    }

    CHECK(server.requests == 5);
    CHECK(g.breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("a trip lasts as long as the server asks", "[clients][USE-11]") {
    http_server server;
    server.status = 503;
    server.retry_after = "120";
    const guarded g(2s, {.max_attempts = 1}, {.failure_threshold = 2, .recovery_timeout = 50ms});
    for (int i = 0; i < 2; ++i) {
        (void)g.guard.try_call([&](rs::call_context& ctx) {
            return get(server.url("/issue"), ctx.remaining_as<milliseconds>(1h));
        });
    }

    std::this_thread::sleep_for(100ms);
    const auto refused = g.guard.try_call([&] { return get(server.url("/issue"), 1s); });

    CHECK(server.requests == 2);
    CHECK(refused.error().code() == rs::errc::circuit_open);
    CHECK(refused.error().retry_after() > 100s);
}

TEST_CASE("a pool of dead connections does not keep the circuit open after a restart", "[clients][USE-17]") {
    const guarded g(5s, {.max_attempts = 3, .base_delay = 10ms, .max_transparent = 16}, // the pool's size
                    {.failure_threshold = 5, .recovery_timeout = 30s});
    clients::pg_pool pool;
    const auto ask = [&] {
        return g.guard.try_call([&](rs::call_context& ctx) {
            return pool.query("select 1", ctx.remaining_as<milliseconds>(1h));
        });
    };
    pool.fill(16);
    REQUIRE(ask());

    clients::restart_postgres();
    int failed = 0;
    for (int i = 0; i < 16; ++i) {
        const auto answer = ask();
        if (answer) continue;
        ++failed;
        UNSCOPED_INFO(answer.error().message());
    }

    CHECK(failed == 0);
    CHECK(g.breaker.state() == rs::circuit_state::closed);
    CHECK(g.breaker.stats().failures == 0);
    CHECK(g.breaker.stats().rejected == 0);
}

} // namespace
