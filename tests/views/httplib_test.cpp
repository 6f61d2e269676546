// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/circuit_breaker.hpp>
#include <resilience/event_log.hpp>
#include <resilience/httplib.hpp>
#include <resilience/nlohmann_json.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

const std::string http_root = "/api/v1/resilience";

httplib::Result answered(int status, httplib::Headers headers = {}) {
    auto response = std::make_unique<httplib::Response>();
    response->status = status;
    response->headers = std::move(headers);
    return {std::move(response), httplib::Error::Success};
}
httplib::Result broken(httplib::Error error) { return {nullptr, error}; }

/// A server on loopback, on any free port, until the end of the scope.
class running_server {
public:
    template <class Setup>
    explicit running_server(Setup&& setup) {
        setup(server_);
        port_ = server_.bind_to_any_port("127.0.0.1");
        REQUIRE(port_ > 0);
        thread_ = std::thread([this] { server_.listen_after_bind(); });
        while (!server_.is_running()) std::this_thread::yield();
    }
    running_server(const running_server&) = delete;
    running_server& operator=(const running_server&) = delete;
    ~running_server() {
        server_.stop();
        thread_.join();
    }
    httplib::Client client() const { return httplib::Client("127.0.0.1", port_); }
    int port() const noexcept { return port_; }

private:
    httplib::Server server_;
    std::thread thread_;
    int port_ = 0;
};

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

TEST_CASE("the monitoring API is served over HTTP", "[httplib][monitoring_api]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api", .failure_threshold = 5}, f.reg};
    const running_server server([&](httplib::Server& s) { rs::mount(s, rs::monitoring_api{f.reg}); });
    auto client = server.client();

    const auto health = client.Get(http_root + "/health");
    REQUIRE(health);
    CHECK(health->status == 200);
    CHECK(health->get_header_value("Content-Type") == "application/json");
    CHECK(health->get_header_value("X-Content-Type-Options") == "nosniff");
    CHECK(
        health->body ==
        R"({"status":"healthy","timestamp":"2024-01-08T20:00:00.000000Z","total_circuits":1,"circuits_by_state":{"closed":1,"open":0,"half_open":0},"open_circuits":[]})");
    CHECK(client.Get(http_root + "/summary?x=%zz")->body == rs::to_json(f.reg.summary()));
    CHECK(client.Get(http_root + "/circuit-breakers")->body == rs::to_json(f.reg.circuit_breakers()));

    const auto metrics = client.Get("/metrics");
    CHECK(metrics->get_header_value("Content-Type") == "text/plain; version=0.0.4; charset=utf-8");
    CHECK(metrics->body == rs::to_prometheus(f.reg));
    CHECK(client.Post("/metrics", "", "text/plain")->status == 405);

    breaker.force_open();
    CHECK(
        client.Get(http_root + "/circuit-breakers/jira_api")->body.starts_with(R"({"state":"forced_open",)"));
}

TEST_CASE("HEAD is answered with the length of the body and none", "[httplib][monitoring_api]") {
    http_fixture f;
    const running_server server([&](httplib::Server& s) { rs::mount(s, rs::monitoring_api{f.reg}); });
    auto client = server.client();

    const auto r = client.Head(http_root + "/health");

    REQUIRE(r);
    CHECK(r->status == 200);
    CHECK(r->body.empty());
    CHECK(r->get_header_value("Content-Length") == std::to_string(rs::to_json(f.reg.health()).size()));
}

TEST_CASE("other methods over HTTP are 405, other paths 404", "[httplib][monitoring_api][H-MON-07]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const running_server server([&](httplib::Server& s) { rs::mount(s, rs::monitoring_api{f.reg}); });
    auto client = server.client();

    for (const auto& r :
         {client.Post(http_root + "/health", "{}", "application/json"),
          client.Put(http_root + "/health", "{}", "application/json"),
          client.Patch(http_root + "/health", "{}", "application/json"),
          client.Delete(http_root + "/circuit-breakers/jira_api"), client.Options(http_root + "/health")}) {
        REQUIRE(r);
        CHECK(r->status == 405);
        CHECK(r->get_header_value("Allow") == "GET, HEAD");
        CHECK(r->body.starts_with(R"({"error":{"code":"method_not_allowed",)"));
    }
    for (const char* path : {"/", "/nope", "/circuit-breakers/nope"}) {
        INFO(path);
        const auto r = client.Get(http_root + path);
        REQUIRE(r);
        CHECK(r->status == 404);
        CHECK(r->body.starts_with(R"({"error":{"code":"not_found",)"));
    }
}

TEST_CASE("names with slashes, per cents and line ends round-trip over HTTP",
          "[httplib][monitoring_api][H-MON-11]") {
    http_fixture f;
    std::vector<rs::circuit_breaker> breakers;
    for (const char* name : {"a/b", "100%", "%2F", "..", "Zürich", "line\nend"}) {
        breakers.emplace_back(rs::circuit_breaker_config{.name = name}, f.reg);
    }
    const running_server server([&](httplib::Server& s) { rs::mount(s, rs::monitoring_api{f.reg}); });
    auto client = server.client();
    client.set_url_encode(false); // what follows is encoded

    for (const char* encoded : {"a%2Fb", "100%25", "%252F", "%2E%2E", "Z%C3%BCrich", "line%0Aend"}) {
        INFO(encoded);
        const auto r = client.Get(http_root + "/circuit-breakers/" + encoded);
        REQUIRE(r);
        CHECK(r->status == 200);
    }
    CHECK(client.Get(http_root + "/circuit-breakers/%zz")->status == 400);
    CHECK(client.Get(http_root + "/circuit-breakers/..%2fhealth")->status == 404);
}

TEST_CASE("the longest paths that the server takes are answered", "[httplib][monitoring_api]") {
    http_fixture f;
    const running_server server([&](httplib::Server& s) { rs::mount(s, rs::monitoring_api{f.reg}); });
    auto client = server.client();

    const auto r = client.Get(http_root + "/circuit-breakers/" + std::string(8'000, 'x'));

    REQUIRE(r);
    CHECK(r->status == 404);
}

TEST_CASE("commands and changes are made over HTTP", "[httplib][monitoring_api]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const running_server server([&](httplib::Server& s) {
        rs::mount(s, rs::monitoring_api(f.reg, {.control = true,
                                                .authorize = rs::bearer_token("0123456789abcdef"),
                                                .read_changes = rs::read_json_changes}));
    });
    auto client = server.client();
    const httplib::Headers may{{"X-Resilience-Control", "1"}, {"Authorization", "Bearer 0123456789abcdef"}};

    const auto opened =
        client.Post((http_root + "/circuit-breakers/jira_api/force-open?reason=a%20test").c_str(), may);
    const auto changed = client.Patch(http_root + "/policies/jira_api", may, R"({"failure_threshold": 7})",
                                      "application/json");
    const auto refused = client.Post((http_root + "/circuit-breakers/jira_api/reset").c_str());

    REQUIRE((opened && changed && refused));
    CHECK(opened->status == 200);
    CHECK(opened->body.starts_with(R"({"state":"forced_open","failure_count":0,"failure_threshold":5,)"));
    CHECK(breaker.stats().reason == "a test");
    CHECK(changed->status == 200);
    CHECK(breaker.config().failure_threshold == 7U);
    CHECK(refused->status == 403);
    CHECK(breaker.state() == rs::circuit_state::forced_open);
}

TEST_CASE("a header that stands there twice decides nothing", "[httplib][monitoring_api]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const running_server server([&](httplib::Server& s) {
        rs::mount(s, rs::monitoring_api(
                         f.reg, {.control = true, .authorize = rs::bearer_token("0123456789abcdef")}));
    });
    const auto status = [&](const std::string& more) {
        httplib::Headers headers{{"X-Resilience-Control", "1"}, {"Authorization", "Bearer 0123456789abcdef"}};
        if (!more.empty()) headers.emplace("Authorization", more);
        return server.client()
            .Post((http_root + "/circuit-breakers/jira_api/reset").c_str(), headers)
            ->status;
    };

    CHECK(status("") == 200);
    CHECK(status("Bearer other") == 401);
}

TEST_CASE("authorize sees the peer's address, not one that a client made up", "[httplib][monitoring_api]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    std::string seen;
    const running_server server([&](httplib::Server& s) {
        rs::mount(s, rs::monitoring_api(f.reg, {.control = true, .authorize = [&](const rs::http_request& r) {
                                                    seen = r.header("REMOTE_ADDR");
                                                    return true;
                                                }}));
    });
    const httplib::Headers headers{{"X-Resilience-Control", "1"}, {"REMOTE_ADDR", "10.0.0.1"}};

    server.client().Post((http_root + "/circuit-breakers/jira_api/reset").c_str(), headers);

    CHECK(seen == "127.0.0.1");
}

TEST_CASE("a body that is too long is neither kept nor taken for the next request",
          "[httplib][monitoring_api][H-MON-04]") {
    http_fixture f;
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const running_server server([&](httplib::Server& s) {
        rs::mount(s, rs::monitoring_api(f.reg, {.control = true,
                                                .authorize = [](const rs::http_request&) { return true; },
                                                .read_changes = rs::read_json_changes}));
    });
    auto client = server.client();
    client.set_keep_alive(true);
    const httplib::Headers may{{"X-Resilience-Control", "1"}};
    const std::string long_body(1'000'000, ' ');

    CHECK(client.Patch(http_root + "/policies/jira_api", may, long_body, "application/json")->status == 413);
    CHECK(client.Get(http_root + "/health")->status == 200);
    CHECK(client.Post(http_root + "/health", long_body, "text/plain")->status == 405);
    const httplib::MultipartFormDataItems form{{"a", long_body, "", ""}};
    CHECK(client.Post(http_root + "/health", form)->status == 405);
    CHECK(client.Get(http_root + "/health")->status == 200);
    CHECK(client.Delete(http_root + "/health")->status == 405);
    CHECK(client.Delete(http_root + "/health", long_body, "text/plain")->status == 405);
    CHECK(client.Get(http_root + "/health")->status == 200);
}

TEST_CASE("events are streamed over HTTP, and a stream ends with the server",
          "[httplib][event_stream][H-MON-05]") {
    http_fixture f;
    const auto log = std::make_shared<rs::event_log>(f.reg);
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const rs::monitoring_api api(f.reg, {.events = log, .max_streams = 1});
    std::string got;
    std::atomic<bool> begun{false};
    std::atomic<bool> told{false};
    std::thread reader; // until after the server's end
    {
        const running_server server([&](httplib::Server& s) { rs::mount(s, api); });
        reader = std::thread([&, port = server.port()] {
            httplib::Client client("127.0.0.1", port);
            client.Get(
                http_root + "/events/stream",
                [&](const httplib::Response& r) {
                    return r.get_header_value("Content-Type") == "text/event-stream";
                },
                [&](const char* data, std::size_t size) {
                    got.append(data, size);
                    begun = true;
                    if (got.find("state_changed") != std::string::npos) told = true;
                    return true; // for as long as the server sends
                });
            begun = told = true; // whatever came of it
        });
        while (!begun) std::this_thread::yield();
        CHECK(server.client().Get(http_root + "/events/stream")->status == 503);
        breaker.force_open();
        while (!told) std::this_thread::yield();
    } // the server stops here, its stream open
    reader.join();

    CHECK(got.starts_with("retry: 2000\n\nid: 1\nevent: state_changed\ndata: {\"number\":1,"));
    while (api.handle({.method = "GET", .target = http_root + "/events/stream"}).status != 200)
        std::this_thread::yield(); // its place is free again
}

TEST_CASE("a client that goes gives its stream's place back", "[httplib][event_stream][H-MON-06]") {
    http_fixture f;
    const auto log = std::make_shared<rs::event_log>(f.reg);
    const rs::circuit_breaker breaker{{.name = "jira_api"}, f.reg};
    const rs::monitoring_api api(f.reg, {.events = log, .max_streams = 1});
    const running_server server([&](httplib::Server& s) { rs::mount(s, api); });

    server.client().Get(http_root + "/events/stream", [](const char*, std::size_t) { return false; });

    while (api.handle({.method = "GET", .target = http_root + "/events/stream"}).status != 200) {
        breaker.reset(); // something to send, on which it is noticed
        std::this_thread::yield();
    }
}

TEST_CASE("clients that hang up amid the answer end nothing", "[httplib][monitoring_api]") {
    http_fixture f;
    std::vector<rs::circuit_breaker> breakers;
    for (int i = 0; i < 500; ++i)
        breakers.emplace_back(rs::circuit_breaker_config{.name = "circuit_" + std::to_string(i)}, f.reg);
    const running_server server([&](httplib::Server& s) {
        rs::mount(s, rs::monitoring_api{f.reg});
        s.set_socket_options([](socket_t listener) { // the answer must not fit
            const int small = 4096;
            ::setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        });
    });
    const std::string request = "GET " + http_root + "/circuit-breakers HTTP/1.1\r\nHost: x\r\n\r\n";

    for (int i = 0; i < 20; ++i) {
        const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(s >= 0);
        const int small = 2048;
        REQUIRE(::setsockopt(s, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(static_cast<std::uint16_t>(server.port()));
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::connect(s, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
        REQUIRE(::send(s, request.data(), request.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(request.size()));
        char first = 0;
        REQUIRE(::recv(s, &first, 1, 0) == 1);
        const linger reset{.l_onoff = 1, .l_linger = 0}; // close() sends RST
        REQUIRE(::setsockopt(s, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
        ::close(s);
    }

    auto client = server.client();
    CHECK(client.Get(http_root + "/health")->status == 200);
}

} // namespace
