// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/circuit_breaker.hpp>
#include <resilience/monitoring_api.hpp>
#include <resilience/nlohmann_json.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/virtual_clock.hpp>
#include <resilience/timeout.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using nlohmann::json;

const std::string token = "0123456789abcdef";

struct controlled_fixture {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    rs::circuit_breaker jira{{.name = "jira_api", .failure_threshold = 5}, reg};
    rs::monitoring_api api{reg,
                           {.control = true,
                            .authorize = rs::bearer_token(token),
                            .allowed_hosts = {"ops.example"},
                            .read_changes = rs::read_json_changes}};

    static rs::http_headers good_headers() {
        return {
            {"Host", "127.0.0.1:8080"}, {"X-Resilience-Control", "1"}, {"Authorization", "Bearer " + token}};
    }
    rs::http_response send(const std::string& method, const std::string& path, std::string body = {},
                           rs::http_headers headers = good_headers()) const {
        return api.handle({.method = method,
                           .target = "/api/v1/resilience" + path,
                           .headers = std::move(headers),
                           .body = std::move(body)});
    }
    rs::http_response post(const std::string& path) const { return send("POST", path); }
    rs::http_response patch(const std::string& path, std::string body) const {
        return send("PATCH", path, std::move(body));
    }
};
std::string message(const rs::http_response& r) { return json::parse(r.body)["error"]["message"]; }

TEST_CASE("circuits are commanded by POST", "[monitoring_control]") {
    const controlled_fixture f;
    const auto state_after = [&](const std::string& command) {
        const auto r = f.post("/circuit-breakers/jira_api/" + command);
        INFO(r.body);
        CHECK(r.status == 200);
        CHECK(r.body == rs::to_json(f.jira.stats()));
        return f.jira.state();
    };

    CHECK(state_after("force-open?reason=deploy+of%20jira") == rs::circuit_state::forced_open);
    CHECK(f.jira.stats().reason == "deploy of jira");
    CHECK(state_after("reset") == rs::circuit_state::closed);
    CHECK(f.jira.stats().reason == "by the monitoring API");
    CHECK(state_after("disable") == rs::circuit_state::disabled);
    CHECK(state_after("metrics-only") == rs::circuit_state::metrics_only);
    CHECK(state_after("open-for?duration=45s") == rs::circuit_state::open);
    CHECK(f.jira.stats().retry_after == 45s);
}

TEST_CASE("a circuit is opened as if it tripped by POST", "[monitoring_control]") {
    const controlled_fixture f;
    f.jira.update({.name = "jira_api",
                   .recovery_timeout = 20s,
                   .recovery_backoff = rs::recovery_backoff{.multiplier = 3.0}});

    CHECK(f.post("/circuit-breakers/jira_api/open?reason=drill").status == 200);
    CHECK(f.jira.state() == rs::circuit_state::open);
    CHECK(f.jira.stats().reason == "drill");
    CHECK(f.jira.stats().retry_after == 20s);
    CHECK(f.post("/circuit-breakers/jira_api/open").body == rs::to_json(f.jira.stats()));
    CHECK(f.jira.stats().reason == "by the monitoring API");

    CHECK(f.post("/circuit-breakers/jira_api/open?duration=5s").status == 400);
    CHECK(f.send("GET", "/circuit-breakers/jira_api/open").status == 405);
    CHECK(json::parse(f.send("GET", "").body)["routes"].dump().find("{name}/open\"") != std::string::npos);
}

TEST_CASE("commands that nobody can mean are refused", "[monitoring_control][H-MON-08]") {
    const controlled_fixture f;
    const std::string circuit = "/circuit-breakers/jira_api/";
    for (const std::string command :
         {"open-for", "open-for?duration=", "open-for?duration=5", "open-for?duration=-5s",
          "open-for?duration=99999999999999h", "open-for?duration=1s&duration=2s", "reset?duration=5s",
          "reset?reason=a&reason=b", "reset?x=y", "reset?reason=%zz", "reset?%00"}) {
        INFO(command);
        CHECK(f.post(circuit + command).status == 400);
    }
    CHECK(f.post(circuit + "reset?reason=" + std::string(1025, 'x')).status == 400);
    CHECK(f.post(circuit + "explode").status == 404);
    CHECK(f.post(circuit + "reset/x").status == 404);
    CHECK(f.send("GET", circuit + "reset").status == 405);
    CHECK(f.send("GET", circuit + "reset").headers.at("Allow") == "POST");
    CHECK(f.jira.stats().generation == 1);
}

TEST_CASE("a command for a name that there is not creates nothing", "[monitoring_control][H-MON-11]") {
    const controlled_fixture f;

    CHECK(f.post("/circuit-breakers/nope/force-open").status == 404);
    CHECK(f.post("/circuit-breakers/..%2Fjira_api/force-open").status == 404);
    CHECK(f.patch("/policies/nope", "{}").status == 404);

    CHECK(f.reg.policies().size() == 1);
}

TEST_CASE("nothing can be changed unless control is on", "[monitoring_control][H-MON-07]") {
    controlled_fixture f;
    const rs::monitoring_api reading(f.reg, {.authorize = [](const rs::http_request&) { return true; }});
    const auto send = [&](const std::string& method, const std::string& path) {
        return reading
            .handle({.method = method,
                     .target = "/api/v1/resilience" + path,
                     .headers = controlled_fixture::good_headers(),
                     .body = R"({"failure_threshold":1})"})
            .status;
    };

    CHECK(send("POST", "/circuit-breakers/jira_api/force-open") == 404);
    CHECK(send("PATCH", "/policies/jira_api") == 405);
    CHECK(f.jira.state() == rs::circuit_state::closed);
}

TEST_CASE("who may not is told so and changes nothing", "[monitoring_control][H-MON-07]") {
    const controlled_fixture f;
    const auto status = [&](rs::http_headers headers) {
        const auto posted = f.send("POST", "/circuit-breakers/jira_api/force-open", {}, headers);
        const auto patched = f.send("PATCH", "/policies/jira_api", R"({"failure_threshold":1})", headers);
        CHECK(posted.status == patched.status);
        CHECK(json::accept(posted.body));
        // Not even whether a name exists.
        CHECK(f.send("POST", "/circuit-breakers/nope/reset", {}, headers).status == posted.status);
        return posted.status;
    };
    const auto without = [](const std::string& name) {
        auto headers = controlled_fixture::good_headers();
        headers.erase(name);
        return headers;
    };
    const auto with = [](const std::string& name, const std::string& value) {
        auto headers = controlled_fixture::good_headers();
        headers[name] = value;
        return headers;
    };

    CHECK(status(without("Authorization")) == 401);
    CHECK(status(with("Authorization", "Bearer 0123456789abcdeg")) == 401);
    CHECK(status(with("Authorization", "Bearer 0123456789abcde")) == 401);
    CHECK(status(with("Authorization", "Bearer 0123456789abcdef0")) == 401);
    CHECK(status(with("Authorization", "Bearer ")) == 401);
    CHECK(status(with("Authorization", "Basic 0123456789abcdef")) == 401);
    CHECK(f.send("POST", "/circuit-breakers/x/reset", {}, without("Authorization"))
              .headers.at("WWW-Authenticate") == "Bearer");

    CHECK(status(without("X-Resilience-Control")) == 403);
    CHECK(status(without("Host")) == 403);
    CHECK(status(with("Host", "evil.example")) == 403);
    CHECK(status(with("Host", "127.0.0.1.evil.example:8080")) == 403);
    CHECK(status(with("Host", "localhost:8080:evil")) == 403);
    CHECK(status(with("Origin", "http://evil.example")) == 403);
    CHECK(status(with("Origin", "http://127.0.0.1:8081")) == 403); // another port is another origin
    CHECK(status(with("Origin", "null")) == 403);
    CHECK(status(with("Sec-Fetch-Site", "cross-site")) == 403);

    CHECK(f.jira.stats().generation == 1);
    CHECK(f.jira.config().failure_threshold == 5U);
}

TEST_CASE("who may is let in", "[monitoring_control]") {
    const controlled_fixture f;
    const auto status = [&](const std::string& name, const std::string& value) {
        auto headers = controlled_fixture::good_headers();
        headers[name] = value;
        return f.send("POST", "/circuit-breakers/jira_api/reset", {}, headers).status;
    };

    CHECK(status("Host", "LOCALHOST") == 200);
    CHECK(status("Host", "[::1]:8080") == 200);
    CHECK(status("Host", "Ops.Example:443") == 200);
    CHECK(status("Origin", "http://127.0.0.1:8080") == 200);
    CHECK(status("Sec-Fetch-Site", "same-origin") == 200);
    CHECK(status("authorization", "bearer " + token) == 200);
}

TEST_CASE("a proxy's page may act where the service says so", "[monitoring_control]") {
    controlled_fixture f;
    const rs::monitoring_api api(f.reg, {.control = true,
                                         .authorize = rs::bearer_token(token),
                                         .allowed_origins = {"https://ops.example:8443"}});
    const auto status = [&](const std::string& origin) {
        auto headers = controlled_fixture::good_headers();
        headers["Origin"] = origin;
        headers["Sec-Fetch-Site"] = "same-site";
        return api
            .handle({.method = "POST",
                     .target = "/api/v1/resilience/circuit-breakers/jira_api/reset",
                     .headers = std::move(headers)})
            .status;
    };

    CHECK(status("https://ops.example:8443") == 200);
    CHECK(status("https://ops.example") == 403);
}

TEST_CASE("an authorize that throws grants nothing; one that says no forbids", "[monitoring_control]") {
    controlled_fixture f;
    const auto status = [&](std::function<rs::authorization(const rs::http_request&)> authorize) {
        const rs::monitoring_api api(f.reg, {.control = true, .authorize = std::move(authorize)});
        return api
            .handle({.method = "POST",
                     .target = "/api/v1/resilience/circuit-breakers/jira_api/reset",
                     .headers = controlled_fixture::good_headers()})
            .status;
    };

    CHECK(status([](const rs::http_request&) { return true; }) == 200);
    CHECK(status([](const rs::http_request&) { return false; }) == 403);
    static_assert(std::is_convertible_v<bool, rs::authorization>);
    static_assert(!std::is_convertible_v<int, rs::authorization>); // 403 would grant
    static_assert(!std::is_convertible_v<const char*, rs::authorization>);
    CHECK(status([](const rs::http_request&) { return rs::authorization::unauthenticated; }) == 401);
    CHECK(status([](const rs::http_request&) -> rs::authorization { throw std::runtime_error("down"); }) ==
          403);
}

TEST_CASE("a token that could be guessed is refused", "[monitoring_control]") {
    CHECK_THROWS_AS(rs::bearer_token(""), std::invalid_argument);
    CHECK_THROWS_AS(rs::bearer_token("0123456789abcde"), std::invalid_argument);
    CHECK_THROWS_AS(rs::bearer_token("0123456789abc ef"), std::invalid_argument);
    CHECK_NOTHROW(rs::bearer_token("0123456789abcdef"));
}

TEST_CASE("a config is changed by PATCH; state and counts stay", "[monitoring_control]") {
    controlled_fixture f;
    const rs::retry retry({.name = "confluence_api", .max_elapsed = 5s}, f.reg);
    for (int i = 0; i < 3; ++i) (void)f.jira.try_call([] { throw std::runtime_error("x"); });

    const auto r =
        f.patch("/policies/jira_api",
                R"({"failure_threshold": 4, "recovery_timeout": "1m", "recovery_backoff_multiplier": 3})");

    INFO(r.body);
    REQUIRE(r.status == 200);
    CHECK(json::parse(r.body)[0]["config"]["failure_threshold"] == 4);
    CHECK(f.jira.config().failure_threshold == 4U);
    CHECK(f.jira.config().recovery_timeout == 1min);
    CHECK(f.jira.config().recovery_backoff->multiplier == 3.0);
    CHECK(f.jira.config().success_threshold == 2U);
    CHECK(f.jira.stats().failure_count == 3);
    CHECK(f.jira.state() == rs::circuit_state::closed);

    CHECK(f.patch("/policies/confluence_api", R"({"max_elapsed": null, "jitter": "none", "multiplier": 1.5})")
              .status == 200);
    CHECK_FALSE(retry.config().max_elapsed);
    CHECK(retry.config().jitter == rs::jitter::none);
    CHECK(f.patch("/policies/jira_api", R"({"recovery_backoff_cap": null})").status == 200);
    CHECK_FALSE(f.jira.config().recovery_backoff);
}

TEST_CASE("a new threshold judges what the window holds", "[monitoring_control]") {
    controlled_fixture f;
    for (int i = 0; i < 3; ++i) (void)f.jira.try_call([] { throw std::runtime_error("x"); });

    CHECK(f.patch("/policies/jira_api", R"({"failure_threshold": 3})").status == 200);

    CHECK(f.jira.state() == rs::circuit_state::open);
}

TEST_CASE("a body that cannot be used is 400 and names the field", "[monitoring_control]") {
    controlled_fixture f;
    const rs::timeout limit({.name = "limit", .limit = 2s}, f.reg);
    const auto complaint = [&](const std::string& body) {
        const auto r = f.patch("/policies/jira_api", body);
        CHECK(r.status == 400);
        return message(r);
    };

    CHECK(complaint("") == "the body is no JSON");
    CHECK(complaint("{") == "the body is no JSON");
    CHECK(complaint(R"({"failure_threshold": 5,})") == "the body is no JSON");
    CHECK(complaint("{\"\xFF\": 5}") == "the body is no JSON");
    CHECK(complaint("[]") == "the body is no JSON object");
    CHECK(complaint("5") == "the body is no JSON object");
    CHECK(complaint(std::string(30'000, '[')) == "the body is no JSON");
    CHECK(complaint(R"({"failure_treshold": 5})") ==
          "there is no field 'failure_treshold' that can be changed");
    CHECK(complaint(R"({"name": "other"})") == "there is no field 'name' that can be changed");
    CHECK(complaint(R"({"failure_threshold": -1})")
              .starts_with("failure_threshold is '-1'; it must be a whole"));
    CHECK(complaint(R"({"failure_threshold": 0})").find("failure_threshold is 0; it must be in 1..65536") !=
          std::string::npos);
    CHECK(complaint(R"({"failure_threshold": 2.5})").starts_with("failure_threshold is '2.5'"));
    CHECK(
        complaint(R"({"failure_threshold": [5]})").starts_with("failure_threshold is an object or an array"));
    CHECK(
        complaint(R"({"failure_threshold": {"a": {"b": 1}}})").starts_with("failure_threshold is an object"));
    CHECK(complaint(R"({"failure_threshold": 4, "failure_threshold": 5})") ==
          "'failure_threshold' stands in the body twice");
    CHECK(complaint(R"({"recovery_timeout": 30})")
              .starts_with("recovery_timeout is '30'; it must be a number with"));
    CHECK(complaint(R"({"success_threshold": null})").starts_with("success_threshold is null; it must be"));
    std::string many = "{";
    for (int i = 0; i < 65; ++i) many.append(i == 0 ? "" : ",").append("\"" + std::to_string(i) + "\":1");
    CHECK(complaint(many + "}") == "the body has more than 64 members");
    // One that is wrong, and nothing of the whole is done.
    CHECK_FALSE(complaint(R"({"failure_threshold": 4, "window": "x"})").empty());
    CHECK(f.jira.config().failure_threshold == 5U);
    CHECK(f.patch("/policies/jira_api", std::string(65'537, ' ')).status == 413);
    CHECK(f.patch("/policies/limit", R"({"limit": "0s"})").status == 400);
    CHECK(limit.config().limit == 2s);
}

TEST_CASE("of policies that share a name the kind says which", "[monitoring_control]") {
    controlled_fixture f;
    const rs::retry retry({.name = "jira_api"}, f.reg);

    const auto r = f.patch("/policies/jira_api", R"({"max_attempts": 7})");
    CHECK(r.status == 409);
    CHECK(message(r).find("circuit_breaker, retry") != std::string::npos);
    CHECK(f.patch("/policies/jira_api?kind=retry", R"({"max_attempts": 7})").status == 200);
    CHECK(retry.config().max_attempts == 7);
    CHECK(f.patch("/policies/jira_api?kind=timeout", "{}").status == 404);
}

TEST_CASE("without a reader of JSON a PATCH is told so", "[monitoring_control]") {
    controlled_fixture f;
    const rs::monitoring_api api(f.reg, {.control = true, .authorize = rs::bearer_token(token)});

    const auto r = api.handle({.method = "PATCH",
                               .target = "/api/v1/resilience/policies/jira_api",
                               .headers = controlled_fixture::good_headers(),
                               .body = "{}"});

    CHECK(r.status == 501);
    CHECK(json::parse(f.send("GET", "").body)["routes"].dump().find("PATCH /policies/{name}") !=
          std::string::npos);
}

} // namespace
