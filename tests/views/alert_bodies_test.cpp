// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/monitoring/alert_bodies.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

constexpr auto alert_wall = rs::testing::virtual_clock::start_wall_time;

rs::alert opened() {
    rs::alert a{.what = {.kind = rs::event_kind::state_changed,
                         .policy_kind = "circuit_breaker",
                         .policy = "jira_api",
                         .operation = "search",
                         .delay = 30s}};
    a.what.to = rs::circuit_state::open;
    a.what.failure_count = 5;
    a.what.generation = 2;
    a.what.error_type = "http_error";
    a.what.error = "HTTP 503";
    a.what.reason = "failure_threshold";
    a.what.wall = alert_wall + 90s;
    a.level = rs::alert_level_of(a.what);
    a.held_back = 3;
    a.first_seen = alert_wall;
    a.last_seen = alert_wall + 90s;
    a.fingerprint = rs::alert_fingerprint(a.what);
    a.id = "00112233445546778899aabbccddeeff";
    a.labels = {.service = "tickets", .environment = "production", .release = "1.2.3", .host = "pod-7"};
    return a;
}
/// Nothing known but what must be.
rs::alert bare() {
    rs::alert a{
        .what = {.kind = rs::event_kind::budget_exhausted, .policy_kind = "retry", .wall = alert_wall}};
    a.what.attempt = 1;
    a.what.max_attempts = 3;
    a.level = rs::alert_level_of(a.what);
    a.first_seen = a.last_seen = alert_wall;
    a.fingerprint = rs::alert_fingerprint(a.what);
    a.id = "00112233445546778899aabbccddeeff";
    return a;
}
const rs::sentry_dsn dsn = rs::parse_sentry_dsn("https://abc@o1.ingest.example.com/42");

} // namespace

TEST_CASE("every alert shows the correlation of its call, and is grouped without it",
          "[alert_sink][call_options]") {
    rs::alert a = opened();
    const std::string fingerprint = a.fingerprint;
    a.what.correlation = "req-7";

    const std::string sent = rs::sentry_envelope(a, dsn, alert_wall);
    CHECK(sent.find(R"("operation":"search","correlation":"req-7","service":"tickets")") !=
          std::string::npos);
    CHECK(sent.find(R"("operation":"search","correlation":"req-7","from":"closed")") != std::string::npos);
    CHECK(rs::webhook_body(a).find(R"("correlation":"req-7")") != std::string::npos);
    CHECK(rs::rollbar_item(a).find(R"("correlation":"req-7")") != std::string::npos);
    CHECK(rs::alert_fingerprint(a.what) == fingerprint);
}

TEST_CASE("the body of a webhook", "[alert_bodies]") {
    CHECK(
        rs::webhook_body(opened()) ==
        R"({"id":"00112233445546778899aabbccddeeff","level":"error","title":"Circuit 'jira_api' opened",)"
        R"j("message":"Circuit 'jira_api' opened: HTTP 503 (and 3 more)",)j"
        R"("fingerprint":"state_changed|circuit_breaker|jira_api|open|http_error","service":"tickets",)"
        R"("environment":"production","release":"1.2.3","host":"pod-7","held_back":3,)"
        R"("first_seen":"2024-01-08T20:00:00.000000Z","last_seen":"2024-01-08T20:01:30.000000Z",)"
        R"("event":{"kind":"state_changed","policy_kind":"circuit_breaker","policy":"jira_api","operation":"search",)"
        R"("attempt":0,"max_attempts":0,"retry_depth":0,"delay":30.0,"from":"closed","to":"open","failure_count":5,)"
        R"("success_count":0,"error_type":"http_error","error":"HTTP 503","reason":"failure_threshold",)"
        R"("timestamp":"2024-01-08T20:01:30.000000Z","generation":2}})");
    CHECK(rs::webhook_body(bare()).starts_with(
        R"({"id":"00112233445546778899aabbccddeeff","level":"warning","title":"The retry budget is exhausted in retry",)"
        R"("message":"The retry budget is exhausted in retry","fingerprint":"budget_exhausted|retry|||","service":null,)"
        R"("environment":null,"release":null,"host":null,"held_back":0,)"));
}

TEST_CASE("an envelope for Sentry is three lines", "[alert_bodies]") {
    const std::string payload =
        R"({"event_id":"00112233445546778899aabbccddeeff","timestamp":"2024-01-08T20:01:30.000000Z","platform":"native",)"
        R"("level":"error","logger":"resilience","release":"1.2.3","environment":"production","server_name":"pod-7",)"
        R"j("logentry":{"formatted":"Circuit 'jira_api' opened: HTTP 503 (and 3 more)"},)j"
        R"j("exception":{"values":[{"type":"http_error","value":"Circuit 'jira_api' opened: HTTP 503 (and 3 more)"}]},)j"
        R"("tags":{"kind":"state_changed","policy_kind":"circuit_breaker","policy":"jira_api","operation":"search",)"
        R"("service":"tickets"},)"
        R"("extra":{"kind":"state_changed","policy_kind":"circuit_breaker","policy":"jira_api","operation":"search",)"
        R"("from":"closed","to":"open","failure_count":5,"generation":2,"delay":30.0,"error_type":"http_error",)"
        R"("error":"HTTP 503","reason":"failure_threshold","held_back":3,"first_seen":"2024-01-08T20:00:00.000000Z",)"
        R"("last_seen":"2024-01-08T20:01:30.000000Z"},)"
        R"("fingerprint":["resilience","state_changed|circuit_breaker|jira_api|open|http_error"],)"
        R"("sdk":{"name":"resilience","version":"0.1.0"}})";

    CHECK(rs::sentry_envelope(opened(), dsn, alert_wall + 100s) ==
          R"({"event_id":"00112233445546778899aabbccddeeff","sent_at":"2024-01-08T20:01:40.000000Z",)"
          R"("dsn":"https://abc@o1.ingest.example.com/42"})"
          "\n"
          R"({"type":"event","length":)" +
              std::to_string(payload.size()) + R"(,"content_type":"application/json"})" + "\n" + payload +
              "\n");
    CHECK(rs::sentry_auth(dsn) == "Sentry sentry_version=7, sentry_client=resilience/0.1.0, sentry_key=abc");
}

TEST_CASE("what is no error has no exception in Sentry", "[alert_bodies]") {
    auto recovered = opened();
    recovered.what.to = rs::circuit_state::closed;
    recovered.level = rs::alert_level_of(recovered.what);

    for (const auto& a : {recovered, bare()}) {
        const std::string text = rs::sentry_envelope(a, dsn, alert_wall);
        CHECK(text.find("exception") == std::string::npos);
        CHECK(text.find(R"("logentry":{"formatted":")") != std::string::npos);
    }
}

TEST_CASE("an item for Rollbar", "[alert_bodies]") {
    CHECK(
        rs::rollbar_item(opened()) ==
        R"j({"data":{"environment":"production","body":{"message":{"body":"Circuit 'jira_api' opened: HTTP 503 (and 3 more)"}},)j"
        R"("level":"error","timestamp":1704744090,"code_version":"1.2.3","platform":"linux","language":"c++",)"
        R"("framework":"resilience","server":{"host":"pod-7"},)"
        R"("custom":{"service":"tickets","kind":"state_changed","policy_kind":"circuit_breaker","policy":"jira_api",)"
        R"("operation":"search","from":"closed","to":"open","failure_count":5,"generation":2,"delay":30.0,)"
        R"("error_type":"http_error","error":"HTTP 503","reason":"failure_threshold","held_back":3,)"
        R"("first_seen":"2024-01-08T20:00:00.000000Z","last_seen":"2024-01-08T20:01:30.000000Z"},)"
        R"("fingerprint":"state_changed|circuit_breaker|jira_api|open|http_error","title":"Circuit 'jira_api' opened",)"
        R"("uuid":"00112233-4455-4677-8899-aabbccddeeff","notifier":{"name":"resilience","version":"0.1.0"}}})");
    CHECK(
        rs::rollbar_item(bare()) ==
        R"({"data":{"environment":"unknown","body":{"message":{"body":"The retry budget is exhausted in retry"}},)"
        R"("level":"warning","timestamp":1704744000,"platform":"linux","language":"c++","framework":"resilience",)"
        R"("custom":{"kind":"budget_exhausted","policy_kind":"retry","attempt":1,"max_attempts":3,"held_back":0,)"
        R"("first_seen":"2024-01-08T20:00:00.000000Z","last_seen":"2024-01-08T20:00:00.000000Z"},)"
        R"("fingerprint":"budget_exhausted|retry|||","title":"The retry budget is exhausted in retry",)"
        R"("uuid":"00112233-4455-4677-8899-aabbccddeeff","notifier":{"name":"resilience","version":"0.1.0"}}})");
}

TEST_CASE("no text breaks a body, and an envelope stays three lines", "[alert_bodies][H-MON-01]") {
    auto a = opened();
    a.what.policy = "a\nb\"c\\\xFF" + std::string(300, 'x');
    a.what.error = "\r\n{}\x01\xC3";
    a.labels.service = "s\"";
    a.fingerprint = rs::alert_fingerprint(a.what);

    for (const auto& text : {rs::webhook_body(a), rs::rollbar_item(a)}) {
        CHECK(text.find_first_of("\r\n") == std::string::npos);
        CHECK(text.find('\x01') == std::string::npos);
        CHECK(text.find('\xFF') == std::string::npos);
        CHECK(text.find(R"(a\nb\"c\\)") != std::string::npos);
    }
    const std::string envelope = rs::sentry_envelope(a, dsn, alert_wall);
    CHECK(std::count(envelope.begin(), envelope.end(), '\n') == 3);
    const auto tag = envelope.find(R"("policy":"a\nb)");
    REQUIRE(tag != std::string::npos);
    CHECK(envelope.find("xxx\",", tag) - tag < 250); // of a tag, 200 bytes
}

TEST_CASE("a DSN is taken apart", "[alert_bodies]") {
    CHECK(dsn.envelope_url() == "https://o1.ingest.example.com/api/42/envelope/");
    CHECK(dsn.public_key == "abc");

    const auto own = rs::parse_sentry_dsn("http://key:secret@localhost:9000/a/b/7");
    CHECK(own.public_key == "key");
    CHECK(own.host == "localhost:9000");
    CHECK(own.path == "/a/b");
    CHECK(own.project_id == "7");
    CHECK(own.envelope_url() == "http://localhost:9000/a/b/api/7/envelope/");
}

TEST_CASE("a bad DSN is refused without being repeated", "[alert_bodies]") {
    const auto said = [](const char* text) -> std::string {
        try {
            (void)rs::parse_sentry_dsn(text);
        } catch (const std::invalid_argument& e) {
            return e.what();
        }
        return "nothing";
    };
    const std::string must = "; it must be https://public_key@host/project_id";

    CHECK(said("") == "sentry_dsn: the scheme is neither http nor https" + must);
    CHECK(said("ftp://abc@host/42") == "sentry_dsn: the scheme is neither http nor https" + must);
    CHECK(said("https://host/42") == "sentry_dsn: there is no public key before an @" + must);
    CHECK(said("https://@host/42") == "sentry_dsn: there is no public key before an @" + must);
    CHECK(said("https://a b@host/42") == "sentry_dsn: there is no public key before an @" + must);
    CHECK(said("https://abc@host") == "sentry_dsn: there is no project id at the end" + must);
    CHECK(said("https://abc@host/") == "sentry_dsn: there is no project id at the end" + must);
    CHECK(said("https://abc@/42") == "sentry_dsn: there is no host" + must);
    CHECK(said("https://abc@ho st/42") == "sentry_dsn: the host or path is malformed" + must);
    CHECK(said("https://abc@host/x\r\ny/42") == "sentry_dsn: the host or path is malformed" + must);
}
