// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/circuit_breaker.hpp>
#include <resilience/event_log.hpp>
#include <resilience/monitoring_api.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

struct stream_fixture {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    std::shared_ptr<rs::event_log> log = std::make_shared<rs::event_log>(reg, 4);
    rs::circuit_breaker circuit{{.name = "jira_api"}, reg};
    rs::monitoring_api api{reg, {.events = log, .max_streams = 2}};

    rs::http_response open(const std::string& query = {}, rs::http_headers headers = {}) const {
        return api.handle({.method = "GET",
                           .target = "/api/v1/resilience/events/stream" + query,
                           .headers = std::move(headers)});
    }
};

TEST_CASE("a stream sends each event as it happens", "[event_stream]") {
    stream_fixture f;
    f.circuit.force_open("before");

    const auto r = f.open();
    REQUIRE(r.stream);
    CHECK(r.status == 200);
    CHECK(r.content_type == "text/event-stream");
    CHECK(r.headers.at("X-Accel-Buffering") == "no");
    CHECK(r.body.empty());
    CHECK(r.stream->next(0s) == "retry: 2000\n\n"); // at once, though nothing happened: the headers go out
    CHECK(r.stream->next(0s).empty());

    f.circuit.reset("now");
    CHECK(
        r.stream->next(0s) ==
        "id: 2\nevent: state_changed\ndata: "
        R"({"number":2,"kind":"state_changed","policy_kind":"circuit_breaker","policy":"jira_api","operation":null,"attempt":0,"max_attempts":0,"retry_depth":0,"delay":null,"from":"forced_open","to":"closed","failure_count":0,"success_count":0,"error_type":null,"error":null,"reason":"now","timestamp":"2024-01-08T20:00:00.000000Z","generation":3})"
        "\n\n");
    CHECK(r.stream->next(0s).empty());
}

TEST_CASE("a stream begins where its client was", "[event_stream]") {
    stream_fixture f;
    for (int i = 0; i < 3; ++i) f.circuit.reset();
    const auto first_of = [&](const std::string& query, rs::http_headers headers = {}) {
        const auto r = f.open(query, std::move(headers));
        (void)r.stream->next(0s);
        return r.stream->next(0s).substr(0, 6);
    };

    CHECK(first_of("?since=2") == "id: 2\n");
    CHECK(first_of("?since=1", {{"Last-Event-ID", "2"}}) ==
          "id: 3\n"); // what a browser sends when it comes back
    CHECK(first_of("", {{"Last-Event-ID", "nonsense"}}).empty());
    CHECK(first_of("?since=999") == "id: 1\n"); // of a service that began anew
    CHECK(first_of("?since=1&kind=call_rejected").empty());
}

TEST_CASE("a slow client is told how much it missed, and that is counted", "[event_stream]") {
    stream_fixture f;
    const auto r = f.open();
    (void)r.stream->next(0s);
    for (int i = 0; i < 6; ++i) f.circuit.reset();

    CHECK(r.stream->next(0s).starts_with("event: missed\ndata: {\"missed\":2}\n\nid: 3\n"));
    CHECK(f.api.handle({.method = "GET", .target = "/metrics"})
              .body.find("\nresilience_event_stream_missed_total 2\n") != std::string::npos);
}

TEST_CASE("no more streams are open than may be, and each gives its place back", "[event_stream][H-MON-06]") {
    stream_fixture f;
    auto one = f.open();
    const auto two = f.open();
    const auto three = f.open();
    CHECK(two.status == 200);
    CHECK(three.status == 503);
    CHECK_FALSE(three.stream);
    CHECK(three.headers.at("Retry-After") == "30");
    const auto metrics = f.api.handle({.method = "GET", .target = "/metrics"}).body;
    CHECK(metrics.find("\nresilience_event_streams_open 2\n") != std::string::npos);
    CHECK(metrics.find("\nresilience_event_streams_refused_total 1\n") != std::string::npos);

    one.stream.reset();
    CHECK(f.open().status == 200);
    CHECK(f.api.handle({.method = "HEAD", .target = "/api/v1/resilience/events/stream"}).status == 200);
    CHECK(f.open().status == 200); // HEAD took no place for good
    const rs::monitoring_api none(f.reg, {.events = f.log, .max_streams = 0});
    CHECK(none.handle({.method = "GET", .target = "/api/v1/resilience/events/stream"}).status == 503);
}

TEST_CASE("a stream ends with its log", "[event_stream]") {
    stream_fixture f;
    const auto r = f.open();
    CHECK_FALSE(r.stream->ended());

    f.log->close();

    CHECK(r.stream->ended());
    (void)r.stream->next(1h); // does not wait any more
    CHECK(r.stream->next(1h).empty());
}

TEST_CASE("a stream hides the first failure's text as it hides the last's", "[event_stream][H-USE-15]") {
    stream_fixture f;
    rs::event e{.kind = rs::event_kind::retries_exhausted, .policy_kind = "retry", .policy = "r"};
    e.first_error_type = "pg_error";
    e.first_error = "token=abc" + std::string(10'000, 'x');
    f.reg.env()->publish(e);
    const auto body = [&](rs::monitoring_options options) {
        options.events = f.log;
        return rs::monitoring_api(f.reg, std::move(options))
            .handle({.method = "GET", .target = "/api/v1/resilience/events"})
            .body;
    };

    CHECK(body({}).find("token") == std::string::npos);
    CHECK(body({}).find("\"first_error_type\":\"pg_error\"") != std::string::npos);
    CHECK(body({.show_errors = true}).find("token=abc") != std::string::npos);
    CHECK(body({.show_errors = true}).size() < 2 * rs::event_log::longest_error);
    CHECK(body({.show_errors = true, .redact = [](std::string_view) { return std::string("***"); }})
              .find("token") == std::string::npos);
}

} // namespace
