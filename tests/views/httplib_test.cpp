// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"
#include "support/running_server.hpp"

#include <resilience/circuit_breaker.hpp>
#include <resilience/httplib.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <chrono>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

httplib::Result answered(int status, httplib::Headers headers = {}) {
    auto response = std::make_unique<httplib::Response>();
    response->status = status;
    response->headers = std::move(headers);
    return {std::move(response), httplib::Error::Success};
}
httplib::Result broken(httplib::Error error) { return {nullptr, error}; }

struct http_fixture {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
};

TEST_CASE("an answer of httplib is judged by its status", "[httplib]") {
    using traits = rs::result_traits<httplib::Result>;

    for (const int good : {200, 204, 304}) CHECK(traits::judge(answered(good)) == rs::verdict::success);
    for (const int own_mistake : {400, 401, 403, 404, 409, 422})
        CHECK(traits::judge(answered(own_mistake)) == rs::verdict::success);
    for (const int bad : {408, 425, 429, 500, 502, 503, 504})
        CHECK(traits::judge(answered(bad)) == rs::verdict::failure);
    CHECK(traits::judge(broken(httplib::Error::Connection)) == rs::verdict::failure);
    CHECK(rs::result_traits<httplib::Response>::judge(*answered(503)) == rs::verdict::failure);
}

TEST_CASE("a failing answer says what happened", "[httplib]") {
    const auto unavailable = answered(503);
    const auto refused = broken(httplib::Error::Connection);

    CHECK(rs::detail::describe(unavailable).message() == "HTTP 503");
    CHECK(rs::detail::describe(unavailable).http_status() == 503);
    CHECK(rs::detail::describe(unavailable).value<httplib::Result>() == &unavailable);
    CHECK(rs::detail::describe(refused).message() == "no HTTP answer (Connection)");
    CHECK(rs::detail::describe(refused).http_status() == std::nullopt);
    CHECK(rs::detail::describe(broken(httplib::Error::Read)).message() == "no HTTP answer (Read)");
}

TEST_CASE("connections that were never made are known as not sent", "[httplib]") {
    const auto not_sent = [](httplib::Error e) {
        const auto r = broken(e);
        return rs::retry_traits::known_not_sent(rs::detail::describe(r));
    };

    CHECK(not_sent(httplib::Error::Connection));
    CHECK(not_sent(httplib::Error::ConnectionTimeout));
    CHECK(not_sent(httplib::Error::BindIPAddress));
    CHECK(not_sent(httplib::Error::SSLConnection));
    CHECK(not_sent(httplib::Error::SSLLoadingCerts));
    CHECK(not_sent(httplib::Error::SSLServerVerification));
    CHECK_FALSE(not_sent(httplib::Error::Read));
    CHECK_FALSE(not_sent(httplib::Error::Write));
    CHECK_FALSE(not_sent(httplib::Error::ExceedRedirectCount));
    CHECK_FALSE(not_sent(httplib::Error::Unknown));
    const auto unavailable = answered(503);
    CHECK_FALSE(rs::retry_traits::known_not_sent(rs::detail::describe(unavailable)));
}

TEST_CASE("a request that must not run twice is sent again only if it never reached the server",
          "[httplib][H-RT-20]") {
    for (const auto& [error, sends] :
         {std::pair{httplib::Error::Connection, 3}, std::pair{httplib::Error::ConnectionTimeout, 3},
          std::pair{httplib::Error::SSLConnection, 3}, std::pair{httplib::Error::Write, 1},
          std::pair{httplib::Error::Read, 1}}) {
        INFO(httplib::to_string(error));
        http_fixture f;
        const rs::retry retry{{.max_attempts = 3, .base_delay = 1s, .jitter = rs::jitter::none}, f.reg};
        int calls = 0;

        const auto r = retry.with({.idempotency = rs::idempotency::unsafe})([&, e = error] {
            ++calls;
            return broken(e);
        });

        CHECK(r.error() == error);
        CHECK(calls == sends);
    }
}

TEST_CASE("what the caller cancelled is not retried and says nothing of the server", "[httplib]") {
    http_fixture f;
    const rs::retry retry{{.max_attempts = 3}, f.reg};
    int calls = 0;

    const auto r = retry([&] {
        ++calls;
        return broken(httplib::Error::Canceled);
    });

    CHECK(r.error() == httplib::Error::Canceled);
    CHECK(calls == 1);
}

TEST_CASE("Retry-After is read as seconds, or as a date that counts from the answer's own",
          "[httplib][H-RT-08]") {
    CHECK(retry_after_of(answered(503, {{"Retry-After", "7"}})) == 7s);
    CHECK(retry_after_of(answered(503, {{"retry-after", " 7 "}})) == 7s);
    CHECK(retry_after_of(answered(503)) == std::nullopt);
    CHECK(retry_after_of(broken(httplib::Error::Read)) == std::nullopt);
    for (const char* junk : {"", "-5", "NaN", "99999999999999", "soon"}) {
        CHECK(retry_after_of(answered(503, {{"Retry-After", junk}})) == std::nullopt);
    }

    const auto now = std::chrono::floor<std::chrono::seconds>(rs::system_time().wall_now());
    const auto text = [](std::chrono::sys_seconds at) {
        const std::time_t seconds = std::chrono::system_clock::to_time_t(at);
        std::tm parts{};
        gmtime_r(&seconds, &parts);
        char buffer[64];
        return std::string(buffer, std::strftime(buffer, sizeof buffer, "%a, %d %b %Y %H:%M:%S GMT", &parts));
    };
    const auto in_an_hour = now + 1h; // by a server whose clock is an hour ahead
    CHECK(retry_after_of(
              answered(503, {{"Date", text(in_an_hour)}, {"Retry-After", text(in_an_hour + 30s)}})) == 30s);
    CHECK(retry_after_of(answered(503, {{"Date", text(in_an_hour)}, {"Retry-After", text(now)}})) == 0s);
    CHECK(retry_after_of(answered(503, {{"Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"}})) == 0s);
    CHECK(retry_after_of(answered(503, {{"Date", "Sun, 06 Nov 1994 08:49:37 GMT"},
                                        {"Retry-After", "Sun, 06 Nov 1994 08:49:38 GMT"}})) == 0s);
}

TEST_CASE("hints of other forms are read, and a server that forbids to try again is obeyed",
          "[httplib][H-USE-13]") {
    CHECK(retry_after_of(answered(429, {{"Retry-After", "1"}, {"retry-after-ms", "1500"}})) == 1500ms);
    CHECK(forbids_retry(answered(503, {{"Is-Retryable", "false"}})));
    CHECK_FALSE(forbids_retry(answered(503)));
    CHECK_FALSE(forbids_retry(broken(httplib::Error::Read)));
    http_fixture f;
    const rs::retry retry{{.max_attempts = 3}, f.reg};
    int calls = 0;

    (void)retry([&] { return ++calls, answered(503, {{"Is-Retryable", "false"}}); });

    CHECK(calls == 1);
}

TEST_CASE("a POST that got a 503 is not sent again, unless it may be", "[httplib][H-USE-31]") {
    http_fixture f;
    std::atomic<int> requests = 0;
    const auto unavailable = [&](const httplib::Request&, httplib::Response& r) {
        ++requests;
        r.status = 503;
    };
    const running_server server([&](httplib::Server& s) {
        s.Get("/x", unavailable);
        s.Post("/x", unavailable);
        s.Patch("/x", unavailable);
        s.Put("/x", unavailable);
        s.Delete("/x", unavailable);
    });
    auto client = server.client();
    const rs::retry retry{{.max_attempts = 3, .budget = rs::retry_budget::unlimited()}, f.reg};
    const rs::call_options safe{.idempotency = rs::idempotency::safe};
    const auto sent = [&](auto call) {
        requests = 0;
        CHECK(call()->status == 503);
        return requests.load();
    };
    const auto chunked = [](std::size_t, httplib::DataSink& sink) {
        sink.done();
        return true;
    };

    CHECK(sent([&] { return retry([&] { return client.Get("/x"); }); }) == 3);
    CHECK(sent([&] { return retry([&] { return client.Delete("/x"); }); }) == 3);
    CHECK(sent([&] { return retry([&] { return client.Post("/x"); }); }) == 1);
    CHECK(sent([&] { return retry([&] { return client.Post("/x", "{}", "application/json"); }); }) == 1);
    CHECK(sent([&] { return retry([&] { return client.Post("/x", chunked, "text/plain"); }); }) == 1);
    CHECK(sent([&] { return retry([&] { return client.Patch("/x", "{}", "application/json"); }); }) == 1);
    CHECK(sent([&] { return retry.with(safe)([&] { return client.Post("/x"); }); }) == 3);
    CHECK(sent([&] { return retry([&] { return client.Put("/x", "{}", "application/json"); }); }) == 1);
    CHECK(sent([&] {
              return retry.with(safe)([&] { return client.Put("/x", "{}", "application/json"); });
          }) == 3);
    CHECK(sent([&] { return retry([&] { return client.Delete("/x", "{}", "application/json"); }); }) == 1);
    const httplib::Headers key{{"Idempotency-Key", "8e03978e"}};
    CHECK(sent([&] { return retry([&] { return client.Post("/x", key, "{}", "application/json"); }); }) == 3);
}

TEST_CASE("the method of a request tells if it may run twice", "[httplib][H-USE-31]") {
    const auto of = [](const char* method, httplib::Headers headers = {}) {
        httplib::Request request;
        request.method = method;
        request.headers = std::move(headers);
        return idempotency_of(request);
    };

    for (const char* method : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
        CHECK(of(method) == rs::idempotency::safe);
    for (const char* method : {"POST", "PATCH", "CONNECT"}) CHECK(of(method) == rs::idempotency::unsafe);
    CHECK(of("POST", {{"Idempotency-Key", "1"}}) == rs::idempotency::safe);
    CHECK(idempotency_of(answered(503)) == std::nullopt);
}

TEST_CASE("a retry waits as long as the server asks, and returns the last answer unchanged", "[httplib]") {
    http_fixture f;
    const rs::retry retry{{.max_attempts = 3, .base_delay = 1s, .jitter = rs::jitter::none}, f.reg};

    const auto r = retry([] { return answered(503, {{"Retry-After", "7"}}); });

    CHECK(r->status == 503);
    CHECK(f.clock.slept() == std::vector<rs::duration>{7s, 7s});
}

TEST_CASE("twenty 404s are not retried and leave the circuit closed", "[httplib]") {
    http_fixture f;
    const rs::retry retry{{.name = "jira_api"}, f.reg};
    const rs::circuit_breaker breaker{{.name = "jira_api", .failure_threshold = 5}, f.reg};
    const auto guard = retry | breaker;
    int calls = 0;

    for (int i = 0; i < 20; ++i) {
        CHECK(guard([&] {
                  ++calls;
                  return answered(404);
              })->status == 404);
    }

    CHECK(calls == 20);
    CHECK(breaker.state() == rs::circuit_state::closed);
    CHECK(breaker.stats().failure_count == 0);
}

TEST_CASE("real requests to a real server are retried until it recovers", "[httplib]") {
    http_fixture f;
    int requests = 0;
    const running_server server([&](httplib::Server& s) {
        s.Get("/issue", [&](const httplib::Request&, httplib::Response& r) {
            r.status = ++requests < 3 ? 503 : 200;
            if (r.status == 503) r.set_header("Retry-After", "2");
            r.set_content("hello", "text/plain");
        });
    });
    const rs::circuit_breaker breaker{{.name = "jira_api", .failure_threshold = 5}, f.reg};
    const auto guard =
        rs::retry({.max_attempts = 3, .base_delay = 1s, .jitter = rs::jitter::none}, f.reg) | breaker;
    auto client = server.client();

    const auto r = guard([&] { return client.Get("/issue"); });

    REQUIRE(r);
    CHECK(r->status == 200);
    CHECK(r->body == "hello");
    CHECK(requests == 3);
    CHECK(f.clock.slept() == std::vector<rs::duration>{2s, 2s});
    CHECK(breaker.stats().failures == 2);
}

TEST_CASE("a dead port trips the circuit, and the next call does not touch the network", "[httplib]") {
    http_fixture f;
    int port = 0;
    {
        port = running_server([](httplib::Server&) {}).port();
    }
    const rs::circuit_breaker breaker{{.name = "jira_api", .failure_threshold = 2}, f.reg};
    httplib::Client client("127.0.0.1", port);
    int calls = 0;
    const auto get = [&] {
        ++calls;
        return client.Get("/issue");
    };

    CHECK_FALSE(breaker(get));
    CHECK_FALSE(breaker(get));
    CHECK_THROWS_AS(breaker(get), rs::circuit_open_error);

    CHECK(calls == 2);
    CHECK(breaker.stats().last_error->message == "no HTTP answer (Connection)");
}

} // namespace
