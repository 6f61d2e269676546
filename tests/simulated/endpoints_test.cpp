// SPDX-License-Identifier: Apache-2.0
// What the monitoring API says while Jira fails and recovers, to the byte; and the cases that the endpoints of
// the library's Python predecessor were tested with.
#include "simulated/world.hpp"

#include <resilience/monitoring_api.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <string>

namespace {

namespace rs = resilience;
using namespace simulated;
using namespace std::chrono_literals;

struct monitored : world {
    rs::monitoring_api api{registry};

    rs::http_response ask(const std::string& resource, const std::string& method = "GET") const {
        return api.handle({.method = method, .target = "/api/v1/resilience" + resource});
    }
    std::string get(const std::string& resource) const {
        const auto response = ask(resource);
        CHECK(response.status == 200);
        CHECK(response.content_type == "application/json");
        return response.body;
    }
    void fail_in_jira() {
        try {
            jira.get_projects();
            FAIL("Jira has answered");
        } catch (const http_error& e) {
            CHECK(e.http_status() == 503);
        }
    }
};

TEST_CASE("the endpoints tell of an outage of Jira at each of its steps") {
    monitored w;
    w.jira_server.then(status(503), 5);

    // All is well.
    CHECK(
        w.get("/circuit-breakers") ==
        R"({"confluence_api":{"state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"opened_at":null,"last_failure_time":null},)"
        R"("jira_api":{"state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"opened_at":null,"last_failure_time":null}})");
    CHECK(
        w.get("/circuit-breakers/jira_api") ==
        R"({"state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"success_threshold":2,"opened_at":null,"last_failure_time":null})");
    CHECK(
        w.get("/health") ==
        R"({"status":"healthy","timestamp":"2024-01-08T20:00:00.000000Z","total_circuits":2,"circuits_by_state":{"closed":2,"open":0,"half_open":0},"open_circuits":[]})");
    CHECK(
        w.get("/summary") ==
        R"([{"name":"confluence_api","state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"success_threshold":2,"health_percentage":100.0},)"
        R"({"name":"jira_api","state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"success_threshold":2,"health_percentage":100.0}])");

    // Three attempts fail, at 0 s, 0.5 s and 1.5 s.
    w.fail_in_jira();
    CHECK(
        w.get("/circuit-breakers/jira_api") ==
        R"({"state":"closed","failure_count":3,"failure_threshold":5,"success_count":0,"success_threshold":2,"opened_at":null,"last_failure_time":"2024-01-08T20:00:01.500000Z"})");
    CHECK(
        w.get("/health") ==
        R"({"status":"healthy","timestamp":"2024-01-08T20:00:01.500000Z","total_circuits":2,"circuits_by_state":{"closed":2,"open":0,"half_open":0},"open_circuits":[]})");

    // The fourth fails at once, the fifth at 2 s: open.
    w.fail_in_jira();
    const std::string open =
        R"({"state":"open","failure_count":5,"failure_threshold":5,"success_count":0,"success_threshold":2,"opened_at":"2024-01-08T20:00:02.000000Z","last_failure_time":"2024-01-08T20:00:02.000000Z"})";
    CHECK(
        w.get("/circuit-breakers") ==
        R"({"confluence_api":{"state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"opened_at":null,"last_failure_time":null},)"
        R"("jira_api":{"state":"open","failure_count":5,"failure_threshold":5,"success_count":0,"opened_at":"2024-01-08T20:00:02.000000Z","last_failure_time":"2024-01-08T20:00:02.000000Z"}})");
    CHECK(w.get("/circuit-breakers/jira_api") == open);
    CHECK(
        w.get("/health") ==
        R"({"status":"degraded","timestamp":"2024-01-08T20:00:02.000000Z","total_circuits":2,"circuits_by_state":{"closed":1,"open":1,"half_open":0},"open_circuits":["jira_api"]})");
    CHECK(
        w.get("/summary") ==
        R"([{"name":"confluence_api","state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"success_threshold":2,"health_percentage":100.0},)"
        R"({"name":"jira_api","state":"open","failure_count":5,"failure_threshold":5,"success_count":0,"success_threshold":2,"health_percentage":0.0}])");

    // A refusal leaves no trace there, and neither does Confluence's work in Jira's lines.
    CHECK_THROWS_AS(w.jira.get_projects(), rs::circuit_open_error);
    w.confluence.get_spaces();
    CHECK(w.get("/circuit-breakers/jira_api") == open);
    CHECK(
        w.get("/circuit-breakers/confluence_api") ==
        R"({"state":"closed","failure_count":0,"failure_threshold":5,"success_count":1,"success_threshold":2,"opened_at":null,"last_failure_time":null})");

    // After 30 s it is still open, until a call comes and passes as the first probe.
    w.clock.advance(30s);
    CHECK(w.get("/circuit-breakers/jira_api") == open);
    w.jira.get_projects();
    CHECK(
        w.get("/circuit-breakers/jira_api") ==
        R"({"state":"half_open","failure_count":5,"failure_threshold":5,"success_count":1,"success_threshold":2,"opened_at":"2024-01-08T20:00:02.000000Z","last_failure_time":"2024-01-08T20:00:02.000000Z"})");
    CHECK(
        w.get("/health") ==
        R"({"status":"healthy","timestamp":"2024-01-08T20:00:32.000000Z","total_circuits":2,"circuits_by_state":{"closed":1,"open":0,"half_open":1},"open_circuits":[]})");
    CHECK(
        w.get("/summary") ==
        R"([{"name":"confluence_api","state":"closed","failure_count":0,"failure_threshold":5,"success_count":1,"success_threshold":2,"health_percentage":100.0},)"
        R"({"name":"jira_api","state":"half_open","failure_count":5,"failure_threshold":5,"success_count":1,"success_threshold":2,"health_percentage":50.0}])");

    // The second success closes it; successes are counted from there.
    w.jira.get_projects();
    CHECK(
        w.get("/circuit-breakers/jira_api") ==
        R"({"state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"success_threshold":2,"opened_at":null,"last_failure_time":"2024-01-08T20:00:02.000000Z"})");
    w.jira.get_projects();
    CHECK(
        w.get("/circuit-breakers/jira_api") ==
        R"({"state":"closed","failure_count":0,"failure_threshold":5,"success_count":1,"success_threshold":2,"opened_at":null,"last_failure_time":"2024-01-08T20:00:02.000000Z"})");
    CHECK(
        w.get("/health") ==
        R"({"status":"healthy","timestamp":"2024-01-08T20:00:32.000000Z","total_circuits":2,"circuits_by_state":{"closed":2,"open":0,"half_open":0},"open_circuits":[]})");
}

TEST_CASE("a probe that fails shows as open anew, with the moment of its failure") {
    monitored w;
    w.jira_server.then(status(503), 6);
    w.fail_in_jira();
    w.fail_in_jira();
    w.clock.advance(30s);

    w.fail_in_jira();

    CHECK(
        w.get("/circuit-breakers/jira_api") ==
        R"({"state":"open","failure_count":5,"failure_threshold":5,"success_count":0,"success_threshold":2,"opened_at":"2024-01-08T20:00:32.000000Z","last_failure_time":"2024-01-08T20:00:32.000000Z"})");
}

TEST_CASE("failures that leave the window leave the endpoints, too") {
    monitored w;
    w.jira_server.then(status(503), 3);
    w.fail_in_jira(); // at 0 s, 0.5 s and 1.5 s

    w.clock.advance(58500ms - 1ns);
    CHECK(w.jira_circuit().failure_count == 3);
    w.clock.advance(1ns);
    CHECK(
        w.get("/circuit-breakers/jira_api") ==
        R"({"state":"closed","failure_count":2,"failure_threshold":5,"success_count":0,"success_threshold":2,"opened_at":null,"last_failure_time":"2024-01-08T20:00:01.500000Z"})");
    w.clock.advance(2s);
    CHECK(
        w.get("/circuit-breakers/jira_api") ==
        R"({"state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"success_threshold":2,"opened_at":null,"last_failure_time":"2024-01-08T20:00:01.500000Z"})");
}

TEST_CASE("twenty 404s are successes at the endpoints") {
    monitored w;
    w.jira_server.otherwise(status(404));
    for (int i = 0; i < 20; ++i) CHECK_THROWS_AS(w.jira.get_issue("A-404"), http_error);

    CHECK(
        w.get("/circuit-breakers/jira_api") ==
        R"({"state":"closed","failure_count":0,"failure_threshold":5,"success_count":20,"success_threshold":2,"opened_at":null,"last_failure_time":null})");
}

TEST_CASE("seed, endpoints: circuit-breakers lists all circuits, whether they were used or not", "[seed]") {
    monitored w;
    const auto body = w.get("/circuit-breakers");

    CHECK(body.find(R"("jira_api":{)") != std::string::npos);
    CHECK(body.find(R"("confluence_api":{)") != std::string::npos);
    CHECK(body.find("mongodb") == std::string::npos); // it has a retry, but no circuit
}

TEST_CASE("seed, endpoints: circuit-breakers/{name} shows one circuit", "[seed]") {
    monitored w;
    w.jira.get_projects();
    w.jira.get_issue("A-1");
    w.jira.get_issue_types();

    CHECK(
        w.get("/circuit-breakers/jira_api") ==
        R"({"state":"closed","failure_count":0,"failure_threshold":5,"success_count":3,"success_threshold":2,"opened_at":null,"last_failure_time":null})");
}

TEST_CASE("seed, endpoints: an unknown circuit is a 404", "[seed]") {
    monitored w;
    const auto response = w.ask("/circuit-breakers/nobody");

    CHECK(response.status == 404);
    CHECK(response.content_type == "application/json");
    CHECK(response.body ==
          R"({"error":{"code":"not_found","message":"no circuit breaker is named 'nobody'"}})");
}

TEST_CASE("seed, endpoints: health is degraded when a circuit is open, critical when most are", "[seed]") {
    monitored w;
    const auto status_of_health = [&] { return w.registry.health().status; };
    CHECK(status_of_health() == "healthy");

    w.jira_server.then(status(503), 5);
    w.fail_in_jira();
    w.fail_in_jira();
    CHECK(status_of_health() == "degraded"); // one of two is no majority

    w.confluence_server.then(status(503), 5);
    w.confluence.get_spaces();
    w.confluence.get_spaces();
    CHECK(status_of_health() == "critical");
    CHECK(
        w.get("/health") ==
        R"({"status":"critical","timestamp":"2024-01-08T20:00:04.000000Z","total_circuits":2,"circuits_by_state":{"closed":0,"open":2,"half_open":0},"open_circuits":["confluence_api","jira_api"]})");
}

TEST_CASE("seed, endpoints: without any circuit all is healthy", "[seed]") {
    rs::testing::virtual_clock clock;
    rs::registry registry{clock};
    const rs::monitoring_api api{registry};

    CHECK(api.handle({.method = "GET", .target = "/api/v1/resilience/circuit-breakers"}).body == "{}");
    CHECK(api.handle({.method = "GET", .target = "/api/v1/resilience/summary"}).body == "[]");
    CHECK(
        api.handle({.method = "GET", .target = "/api/v1/resilience/health"}).body ==
        R"({"status":"healthy","timestamp":"2024-01-08T20:00:00.000000Z","total_circuits":0,"circuits_by_state":{"closed":0,"open":0,"half_open":0},"open_circuits":[]})");
}

TEST_CASE("seed, endpoints: they are for reading only, and watching changes nothing", "[seed]") {
    monitored w;
    w.jira_server.then(status(503), 5);
    w.fail_in_jira();
    w.fail_in_jira();
    w.clock.advance(30s);
    const auto before = w.get("/circuit-breakers");

    for (const char* method : {"POST", "PUT", "DELETE", "PATCH"})
        CHECK(w.ask("/health", method).status == 405);
    for (int i = 0; i < 100; ++i) w.get("/health"); // no probe is spent on it

    CHECK(w.get("/circuit-breakers") == before);
    CHECK(w.jira.get_projects() == "{}");
}

} // namespace
