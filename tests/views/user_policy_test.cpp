// SPDX-License-Identifier: Apache-2.0
// A policy of a user's in every view, though none of them knows of it.
#include "support/cap.hpp"
#include "support/catch.hpp"

#include <resilience/env.hpp>
#include <resilience/event_log.hpp>
#include <resilience/json.hpp>
#include <resilience/monitoring_api.hpp>
#include <resilience/nlohmann_json.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/prometheus.hpp>
#include <resilience/spdlog.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <spdlog/sinks/ostream_sink.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using nlohmann::json;
using support::cap;
using support::cap_config;

struct capped_fixture {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    std::shared_ptr<rs::event_log> log = std::make_shared<rs::event_log>(reg);
    cap limit{
        {.name = "search", .max_calls = 1, .pause = 1500ms, .labels = {{"team", "tickets"}, {"tier", "1"}}},
        reg};

    capped_fixture() {
        const rs::pipeline guard{limit};
        guard([] {});
        (void)guard.named("find").try_call([] {});
    }
    rs::http_response send(const char* method, const std::string& path, std::string body = {}) {
        const rs::monitoring_api api(reg, {.show_errors = true,
                                           .events = log,
                                           .control = true,
                                           .authorize = [](const rs::http_request&) { return true; },
                                           .read_changes = rs::read_json_changes});
        return api.handle({.method = method,
                           .target = "/api/v1/resilience" + path,
                           .headers = {{"Host", "localhost"}, {"X-Resilience-Control", "1"}},
                           .body = std::move(body)});
    }
    std::string complaint(std::string body) {
        const auto r = send("PATCH", "/policies/search", std::move(body));
        CHECK(r.status == 400);
        return json::parse(r.body)["error"]["message"];
    }
};

TEST_CASE("a policy of a user's is shown with its labels, its config and its statistics",
          "[user_policy][monitoring_api]") {
    capped_fixture f;

    const json all = json::parse(f.send("GET", "/policies?kind=cap").body);

    REQUIRE(all.size() == 1);
    CHECK(all[0].dump() ==
          json::parse(R"({"kind":"cap","name":"search","labels":{"team":"tickets","tier":"1"},
"config":{"max_calls":1,"pause":"1500ms","warn_at":0.9,"then":"refuse"},
"units":{"warn_at":"ratio","used":"ratio","paused":"seconds"},
"statistics":{"admitted":1,"rejected":1,"used":1.0,"paused":1.5}})")
              .dump());
    CHECK(rs::to_json(f.reg.policies()) ==
          R"([{"kind":"cap","name":"search","labels":{"team":"tickets","tier":"1"},)"
          R"("statistics":{"admitted":1,"rejected":1,"used":1.0,"paused":1.5}}])");
}

TEST_CASE("a policy of a user's is changed by PATCH, as a whole or not at all",
          "[user_policy][monitoring_control]") {
    capped_fixture f;

    const auto r = f.send("PATCH", "/policies/search",
                          R"({"max_calls": 5, "pause": null, "warn_at": "50%", "then": "warn"})");

    INFO(r.body);
    REQUIRE(r.status == 200);
    CHECK(f.limit.config().max_calls == 5);
    CHECK_FALSE(f.limit.config().pause);
    CHECK(f.limit.config().warn_at == 0.5);
    CHECK(f.limit.config().then == support::when_full::warn);
    CHECK(f.limit.config().labels.size() == 2);
    CHECK(f.limit.stats().admitted == 1);
    CHECK(f.log->newest().entries.back().what.kind == rs::event_kind::policy_updated);

    CHECK(f.complaint(R"({"max_calls": 0})") ==
          "cap 'search': cap_config.max_calls is 0; it must be 1 or more");
    CHECK(f.complaint(R"({"max_calls": 7, "then": "drop"})") == "then is 'drop'; it must be refuse or warn");
    CHECK(f.complaint(R"({"labels": "x"})") == "there is no field 'labels' that can be changed");
    CHECK(f.complaint(R"({"counts_if": null})") == "there is no field 'counts_if' that can be changed");
    CHECK(f.limit.config().max_calls == 5);
}

TEST_CASE("a policy of a user's tells events", "[user_policy][event_log][monitoring_api]") {
    capped_fixture f;

    const json page = json::parse(f.send("GET", "/events?name=search").body);

    REQUIRE(page["events"].size() == 1);
    const json& e = page["events"][0];
    CHECK(e["kind"] == "call_rejected");
    CHECK(e["policy_kind"] == "cap");
    CHECK(e["operation"] == "find");
    CHECK(e["delay"] == 1.5);
    CHECK(e["labels"] == json::parse(R"({"team":"tickets","tier":"1"})"));
}

TEST_CASE("a policy of a user's has metrics", "[user_policy][prometheus]") {
    const capped_fixture f;

    const std::string text = rs::to_prometheus(f.reg);

    CHECK(text.find("# HELP resilience_cap_admitted_total Calls that were let through.\n"
                    "# TYPE resilience_cap_admitted_total counter\n"
                    "resilience_cap_admitted_total{name=\"search\",team=\"tickets\",tier=\"1\"} 1\n") !=
          text.npos);
    CHECK(text.find("# TYPE resilience_cap_used_ratio gauge\n"
                    "resilience_cap_used_ratio{name=\"search\",team=\"tickets\",tier=\"1\"} 1\n") !=
          text.npos);
    CHECK(text.find(
              "\nresilience_cap_paused_seconds_total{name=\"search\",team=\"tickets\",tier=\"1\"} 1.5\n") !=
          text.npos);
    CHECK(
        text.find(
            "\nresilience_rejections_total{policy_kind=\"cap\",name=\"search\",team=\"tickets\",tier=\"1\"} "
            "1\n") != text.npos);
    CHECK(text.find("cap_rejected") == text.npos);
}

TEST_CASE("a policy of a user's is logged", "[user_policy][spdlog]") {
    capped_fixture f;
    std::ostringstream lines;
    const auto logger =
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines));
    logger->set_level(spdlog::level::debug);
    logger->set_pattern("%v");
    const auto logging = rs::log_events(f.reg, logger);

    (void)rs::pipeline{f.limit}.named("find").try_call([] {});
    f.limit.update({.name = "search", .labels = {{"team", "tickets"}, {"tier", "1"}}});

    CHECK(lines.str() ==
          "Call rejected by cap 'search' function=find policy_kind=cap policy=search "
          "error_type=resilience::limit_exceeded_error retry_after=1.5s "
          "error=\"limiter 'search' has no place; try again in 1.5s\" labels.team=tickets labels.tier=1\n"
          "Config of cap 'search' updated function=search policy_kind=cap policy=search labels.team=tickets "
          "labels.tier=1\n");
}

TEST_CASE("a config of a user's is read from the environment", "[user_policy][env]") {
    const auto read = [](const std::map<std::string, std::string>& set) {
        return rs::from_env("APP", cap_config{.name = "search", .pause = 1s}, [&](const char* name) {
            const auto found = set.find(name);
            return found == set.end() ? nullptr : found->second.c_str();
        });
    };

    const auto c = read({{"APP_CAP_MAX_CALLS", "7"},
                         {"APP_CAP_PAUSE", "off"},
                         {"APP_CAP_WARN_AT", "75%"},
                         {"APP_CAP_THEN", "warn"},
                         {"APP_CAP_NAME", "an identity is no setting"}});

    CHECK(c.name == "search");
    CHECK(c.max_calls == 7);
    CHECK_FALSE(c.pause);
    CHECK(c.warn_at == 0.75);
    CHECK(c.then == support::when_full::warn);
    CHECK_THROWS_WITH(read({{"APP_CAP_THEN", "drop"}}), "APP_CAP_THEN='drop': it must be refuse or warn");
    CHECK_THROWS_WITH(read({{"APP_CAP_MAX_CALLS", "0"}}),
                      "cap 'search': cap_config.max_calls is 0; it must be 1 or more (from the environment: "
                      "APP_CAP_MAX_CALLS='0')");
}

} // namespace
