// SPDX-License-Identifier: Apache-2.0
// What the monitoring API shows beyond circuits: policies of all kinds, events, itself.
#include "support/catch.hpp"

#include <resilience/abandoning_timeout.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/event_log.hpp>
#include <resilience/monitoring_api.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/virtual_clock.hpp>
#include <resilience/timeout.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using nlohmann::json;

struct shown_fixture {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    std::shared_ptr<rs::event_log> log = std::make_shared<rs::event_log>(reg, 8);

    rs::http_response get(const std::string& path, rs::monitoring_options options = {}) const {
        if (!options.events) options.events = log;
        const rs::monitoring_api api(const_cast<rs::registry&>(reg), std::move(options));
        return api.handle({.method = "GET", .target = "/api/v1/resilience" + path});
    }
    json read(const std::string& path, rs::monitoring_options options = {}) const {
        const auto r = get(path, std::move(options));
        INFO(r.body);
        REQUIRE(r.status == 200);
        CHECK(r.content_type == "application/json");
        return json::parse(r.body);
    }
    int status(const std::string& path, rs::monitoring_options options = {}) const {
        const auto r = get(path, std::move(options));
        CHECK_NOTHROW(json::parse(r.body));
        return r.status;
    }
    rs::circuit_breaker circuit(std::string name, unsigned threshold = 5) {
        return rs::circuit_breaker({.name = std::move(name), .failure_threshold = threshold}, reg);
    }
};
void fail_with(const rs::circuit_breaker& circuit, const std::string& text) {
    (void)circuit.try_call([&] { throw std::runtime_error(text); });
}

TEST_CASE("the root tells what there is", "[monitoring_api]") {
    const shown_fixture f;

    const json with_events = f.read("");
    CHECK(with_events["version"] == "0.1.0");
    CHECK(with_events["control"] == false);
    CHECK(with_events["events"] == true);
    CHECK(with_events["routes"].dump().find("GET /events/stream") != std::string::npos);
    CHECK(with_events["routes"].dump().find("POST") == std::string::npos);

    rs::registry bare;
    const auto r = rs::monitoring_api(bare).handle({.method = "GET", .target = "/api/v1/resilience"});
    CHECK(json::parse(r.body)["events"] == false);
    CHECK(r.body.find("/events") == std::string::npos);
}

TEST_CASE("a service is alive whatever its circuits do", "[monitoring_api]") {
    shown_fixture f;
    f.circuit("jira_api").force_open();

    CHECK(f.get("/live", {.critical_status = 503}).body == R"({"status":"alive"})");
    CHECK(f.status("/live", {.critical_status = 503}) == 200);
}

TEST_CASE("health can tell a load balancer that most circuits are open", "[monitoring_api]") {
    shown_fixture f;
    const auto jira = f.circuit("jira_api");
    const auto confluence = f.circuit("confluence_api");

    jira.force_open(); // half of them: degraded
    CHECK(f.status("/health", {.critical_status = 503}) == 200);

    confluence.force_open();
    CHECK(f.status("/health", {.critical_status = 503}) == 503);
    CHECK(f.status("/health") == 200);
    CHECK(json::parse(f.get("/health", {.critical_status = 503}).body)["status"] == "critical");
}

TEST_CASE("circuits that are due for a probe keep no load balancer away, since only calls can probe",
          "[monitoring_api]") {
    shown_fixture f;
    fail_with(f.circuit("jira_api", 1), "down"); // open for 30 s
    f.circuit("confluence_api", 1).open_for(60s);

    CHECK(f.status("/health", {.critical_status = 503}) == 503);
    f.clock.advance(30s - 1ns);
    CHECK(f.status("/health", {.critical_status = 503}) == 503);
    f.clock.advance(1ns);
    CHECK(f.status("/health", {.critical_status = 503}) == 200);
    CHECK(f.read("/health", {.critical_status = 503})["status"] == "critical");
}

TEST_CASE(
    "health tells by details which open circuits are due for a probe, and has its promised body without",
    "[monitoring_api]") {
    shown_fixture f;
    fail_with(f.circuit("jira_api", 1), "down");
    f.circuit("forced").force_open();
    const auto due = [&] { return f.read("/health?details=true")["due_for_probe"]; };

    CHECK(due() == json::array());
    f.clock.advance(30s - 1ns);
    CHECK(due() == json::array());
    f.clock.advance(1ns);
    CHECK(due() == json{"jira_api"});
    CHECK(f.reg.health().due_for_probe == std::vector<std::string>{"jira_api"});

    const std::string promised = f.get("/health").body;
    CHECK(promised == rs::to_json(f.reg.health()));
    CHECK(promised.ends_with(R"("open_circuits":["forced","jira_api"]})"));
    CHECK(f.get("/health?details=true").body ==
          promised.substr(0, promised.size() - 1) + R"(,"due_for_probe":["jira_api"]})");
    for (const char* other : {"?", "?details", "?details=false"})
        CHECK(f.get("/health" + std::string(other)).body == promised);
}

TEST_CASE("a circuit is due for a probe from the end of its break until a call comes", "[monitoring_api]") {
    shown_fixture f;
    const auto circuit = f.circuit("jira_api", 1);
    const auto shown = [&] {
        const json policy = f.read("/policies/jira_api")[0]["statistics"];
        CHECK(policy["due_for_probe"] == circuit.stats().is_due_for_probe());
        return std::pair(policy["due_for_probe"].get<bool>(), policy["retry_after"]);
    };

    CHECK(shown() == std::pair(false, json()));
    fail_with(circuit, "down");
    CHECK(shown() == std::pair(false, json(30.0)));
    f.clock.advance(30s);
    CHECK(shown() == std::pair(true, json(0.0)));
    f.clock.advance(24h);
    CHECK(shown() == std::pair(true, json(0.0)));
    CHECK(circuit([] { return 1; }) == 1); // the first probe of two
    CHECK(circuit.state() == rs::circuit_state::half_open);
    CHECK(shown() == std::pair(false, json()));
    circuit.force_open();
    CHECK(shown() == std::pair(false, json()));
    circuit.open_for(1s);
    f.clock.advance(1s);
    CHECK(shown() == std::pair(true, json(0.0)));
}

TEST_CASE("options of the monitoring API are checked", "[monitoring_api]") {
    const auto complaint = [](rs::monitoring_options options) {
        rs::registry reg;
        try {
            const rs::monitoring_api api(reg, std::move(options));
        } catch (const std::invalid_argument& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    CHECK(complaint({.critical_status = 200}).empty());
    CHECK(complaint({.critical_status = 599}).empty());
    CHECK(complaint({.critical_status = 199}) ==
          "monitoring_options.critical_status is 199; it must be in 200..599, and one that has a body");
    CHECK_FALSE(complaint({.critical_status = 600}).empty());
    CHECK_FALSE(complaint({.critical_status = 204}).empty());
    for (const char* host : {"", "ops:8080", "http://ops", "ops/x"})
        CHECK_FALSE(complaint({.allowed_hosts = {host}}).empty());
    CHECK(complaint({.allowed_hosts = {"ops", "[::1]"}}).empty());
    for (const char* origin : {"", "ops", "https://ops/"})
        CHECK_FALSE(complaint({.allowed_origins = {origin}}).empty());
    CHECK(complaint({.allowed_origins = {"https://ops:8443"}}).empty());
    CHECK_FALSE(complaint({.prometheus = {.prefix = ""}}).empty());
    CHECK(complaint({.control = true}).starts_with("monitoring_options.control is true without authorize"));
}

TEST_CASE("every policy is shown with its config and its statistics", "[monitoring_api]") {
    shown_fixture f;
    const rs::retry retry({.name = "jira_api", .max_attempts = 4, .base_delay = 1500ms, .max_elapsed = 90s},
                          f.reg);
    const rs::timeout limit({.name = "jira_api", .limit = 2s}, f.reg);
    const rs::abandoning_timeout hard({.name = "jira_api", .limit = 250us}, f.reg);
    const auto circuit = f.circuit("jira_api", 2);
    for (int i = 0; i < 2; ++i) fail_with(circuit, "no route");

    const json all = f.read("/policies");

    REQUIRE(all.size() == 4); // by kind
    CHECK(all[0]["kind"] == "abandoning_timeout");
    CHECK(all[0]["config"] == json::parse(R"({"limit":"250us","max_abandoned":64,"idle":null})"));
    const json& breaker = all[1];
    CHECK(breaker["kind"] == "circuit_breaker");
    CHECK(breaker["name"] == "jira_api");
    CHECK(breaker["config"]["failure_threshold"] == 2);
    CHECK(breaker["config"]["recovery_timeout"] == "30s");
    CHECK(breaker["config"]["window"] == 100);
    CHECK(breaker["config"]["failure_rate_threshold"] == nullptr);
    CHECK(breaker["config"]["recovery_backoff_multiplier"] == nullptr);
    CHECK(breaker["statistics"]["state"] == "open");
    CHECK(breaker["statistics"]["failures"] == 2);
    CHECK(breaker["statistics"]["failure_rate"] == nullptr);
    CHECK(breaker["statistics"]["retry_after"] == 30.0);
    CHECK(breaker["statistics"]["opened_at"] == "2024-01-08T20:00:00.000000Z");
    CHECK(breaker["statistics"]["window"] == nullptr);
    CHECK(breaker["statistics"]["last_error_type"] == "std::runtime_error");
    CHECK(all[2]["kind"] == "retry");
    CHECK(
        all[2]["config"] ==
        json::parse(
            R"({"max_attempts":4,"base_delay":"1500ms","max_delay":"60s","strategy":"exponential","multiplier":2.0,
"jitter":"full","jitter_ratio":0.5,"max_elapsed":"90s","respect_retry_after":true,"max_retry_after":null,
"nested":"multiply","wrap_exhausted":false,"idempotency":"safe","max_transparent":8})"));
    CHECK(all[2]["statistics"]["calls"] == 0);
    CHECK(all[3]["kind"] == "timeout");
    CHECK(all[3]["config"] == json::parse(R"({"limit":"2s","keep_late":false,"idle":null})"));
}

TEST_CASE("what a config shows can be read back", "[monitoring_api]") {
    rs::circuit_breaker_config c{
        .name = "x", .failure_rate_threshold = 1.0 / 3, .slow_call_duration = 1234567ns};
    c.slow_call_rate_threshold = 1.0;
    c.window = rs::time_window{90s};
    c.recovery_backoff = rs::recovery_backoff{1.5, 1h, rs::jitter::equal};

    std::vector<rs::change> changes;
    for (const auto& s : rs::settings_of(c)) {
        std::optional<std::string> text;
        if (const auto* word = std::get_if<std::string>(&s.value)) text = *word;
        if (const auto* whole = std::get_if<std::uint64_t>(&s.value)) text = std::to_string(*whole);
        if (const auto* number = std::get_if<double>(&s.value)) text = fmt::format("{}", *number);
        changes.push_back({std::string(s.name), text});
    }
    const auto read = rs::with_changes(rs::circuit_breaker_config{.name = "x"}, changes);

    CHECK(rs::detail::difference(c, read).empty());
    CHECK(read.slow_call_duration == 1234567ns);
    CHECK(read.recovery_backoff->cap == 1h);
}

TEST_CASE("policies are picked by kind and name", "[monitoring_api]") {
    shown_fixture f;
    const rs::retry retry({.name = "jira_api"}, f.reg);
    const auto jira = f.circuit("jira_api");
    const auto odd = f.circuit("a/b \"c\"");

    CHECK(f.read("/policies/jira_api").size() == 2);
    CHECK(f.read("/policies/jira_api?kind=retry").size() == 1);
    CHECK(f.read("/policies?name=jira_api").size() == 2);
    CHECK(f.read("/policies?kind=circuit_breaker").size() == 2);
    CHECK(f.read("/policies?kind=bulkhead").empty());
    CHECK(f.read("/policies/a%2Fb%20%22c%22")[0]["name"] == "a/b \"c\"");
    CHECK(f.read("/policies?name=a%2Fb+%22c%22").size() == 1);
    CHECK(f.status("/policies/nope") == 404);
    CHECK(f.status("/policies/jira_api?kind=timeout") == 404);
    CHECK(f.status("/policies/jira_api/x") == 404);
    CHECK(f.status("/policies/") == 404);
}

TEST_CASE("policies are read page by page, by the links that each page gives", "[monitoring_api]") {
    shown_fixture f;
    std::vector<rs::circuit_breaker> circuits;
    for (const char* name : {"a/b", "c d", "e"}) circuits.push_back(f.circuit(name));
    const rs::retry retry({.name = "e"}, f.reg);

    std::vector<std::string> names;
    std::string query = "?limit=1";
    for (int pages = 0; !query.empty() && pages < 10; ++pages) {
        const auto r = f.get("/policies" + query);
        const json page = json::parse(r.body);
        REQUIRE(page.size() == 1);
        names.push_back(page[0]["kind"].get<std::string>() + "/" + page[0]["name"].get<std::string>());
        const auto link = r.headers.find("Link");
        query.clear();
        if (link == r.headers.end()) continue;
        REQUIRE(link->second.starts_with("<?"));
        REQUIRE(link->second.ends_with(R"(>; rel="next")"));
        query = link->second.substr(1, link->second.find('>') - 1);
    }

    CHECK(names == std::vector<std::string>{"circuit_breaker/a/b", "circuit_breaker/c d", "circuit_breaker/e",
                                            "retry/e"});
    CHECK(f.get("/policies?limit=2&kind=circuit_breaker").headers.at("Link") ==
          R"(<?after=circuit_breaker/c%20d&limit=2&kind=circuit_breaker>; rel="next")");
    // With a kind, a name alone will do; such a name may have a slash.
    CHECK(f.read("/policies?kind=circuit_breaker&after=a/b")[0]["name"] == "c d");
    CHECK(f.read("/policies?kind=circuit_breaker&after=circuit_breaker/a/b")[0]["name"] == "c d");
    CHECK(f.read("/policies?after=circuit_breaker/e").size() == 1);
    CHECK(f.read("/policies?after=retry/e").empty());
    CHECK_FALSE(f.get("/policies?limit=4").headers.contains("Link"));
    for (const char* wrong :
         {"?limit=0", "?limit=-1", "?limit=x", "?limit=100001", "?after=e", "?after=a&after=b"})
        CHECK(f.status("/policies" + std::string(wrong)) == 400);
    CHECK(f.status("/policies/e?limit=1") == 400);
}

TEST_CASE("long bodies come in pieces where the server can send them", "[monitoring_api]") {
    shown_fixture f;
    std::vector<rs::circuit_breaker> circuits;
    for (int i = 0; i < 500; ++i) circuits.push_back(f.circuit("circuit_" + std::to_string(i)));
    const rs::monitoring_api api(f.reg, {.events = f.log});

    for (const char* target : {"/api/v1/resilience/policies", "/metrics"}) {
        INFO(target);
        const rs::http_request request{.method = "GET", .target = target};
        const auto whole = api.handle(request);
        const auto pieces = api.handle(request, rs::body_form::pieces);
        REQUIRE(pieces.pieces);
        CHECK_FALSE(whole.pieces);
        CHECK(pieces.body.empty());

        std::string all;
        std::size_t longest = 0;
        pieces.pieces([&](std::string_view piece) {
            longest = std::max(longest, piece.size());
            all += piece;
            return true;
        });
        CHECK(all == whole.body);
        CHECK(longest < 80'000);
        CHECK(all.size() > 200'000);

        int given = 0; // to a client that has gone
        pieces.pieces([&](std::string_view) { return ++given < 2; });
        CHECK(given == 2);
    }
    CHECK_FALSE(api.handle({.method = "GET", .target = "/metrics?limit=50"}, rs::body_form::pieces).pieces);
    CHECK_FALSE(api.handle({.method = "HEAD", .target = "/metrics"}, rs::body_form::pieces).pieces);
}

TEST_CASE("queries that nobody can mean are refused", "[monitoring_api][H-MON-08]") {
    const shown_fixture f;
    for (const char* path : {"/policies?size=1",
                             "/policies?kind=a&kind=b",
                             "/policies?kind=%zz",
                             "/policies/x?name=y",
                             "/policies?kind=%",
                             "/events?since=-1",
                             "/events?since=x",
                             "/events?since=1.5",
                             "/events?since=0x1",
                             "/events?since=99999999999999999999",
                             "/events?since=%00",
                             "/events?limit=0",
                             "/events?limit=1001",
                             "/events?limit=-5",
                             "/events?limit=10&limit=20",
                             "/events?kind=nope",
                             "/events?delay=1",
                             "/events/stream?limit=5",
                             "/events?=",
                             "/policies?%00=1"}) {
        INFO(path);
        CHECK(f.status(path) == 400);
    }
    for (const char* path :
         {"/policies?", "/policies?&&", "/events?since=", "/events?since=18446744073709551615"}) {
        INFO(path);
        CHECK(f.status(path) == 200);
    }
}

TEST_CASE("error texts are shown only where the service says so, and after redact",
          "[monitoring_api][H-CB-37]") {
    shown_fixture f;
    const auto circuit = f.circuit("jira_api", 1);
    fail_with(circuit, "token=secret");
    const auto texts = [&](rs::monitoring_options options) {
        const json policy = f.read("/policies/jira_api", options);
        const json happened = f.read("/events?kind=state_changed", options);
        return std::pair(policy[0]["statistics"]["last_error"], happened["events"][0]["error"]);
    };

    CHECK(texts({}) == std::pair(json(), json()));
    CHECK(texts({.show_errors = true}) == std::pair(json("token=secret"), json("token=secret")));
    CHECK(texts({.show_errors = true, .redact = [](std::string_view t) {
                     return std::string(t.substr(0, 6));
                 }}) == std::pair(json("token="), json("token=")));
    const json hidden("[the redaction failed]");
    CHECK(texts({.show_errors = true, .redact = [](std::string_view) -> std::string { throw 1; }}) ==
          std::pair(hidden, hidden));
    CHECK(f.read("/policies/jira_api")[0]["statistics"]["last_error_type"] == "std::runtime_error");
}

TEST_CASE("events are read page by page", "[monitoring_api]") {
    shown_fixture f;
    const auto circuit = f.circuit("jira_api");
    const auto other = f.circuit("confluence_api");
    circuit.force_open("first");
    other.force_open();
    circuit.reset();

    const json all = f.read("/events");
    REQUIRE(all["events"].size() == 3);
    CHECK(all["events"][0]["number"] == 1);
    CHECK(all["events"][0]["kind"] == "state_changed");
    CHECK(all["events"][0]["policy"] == "jira_api");
    CHECK(all["events"][0]["to"] == "forced_open");
    CHECK(all["events"][0]["reason"] == "first");
    CHECK(all["next"] == 4);
    CHECK(all["missed"] == 0);

    CHECK(f.read("/events?since=4")["events"].empty());
    CHECK(f.read("/events?since=3")["events"].size() == 1);
    CHECK(f.read("/events?since=1&limit=2")["next"] == 3);
    CHECK(f.read("/events?name=jira_api")["events"].size() == 2);
    CHECK(f.read("/events?kind=call_rejected")["events"].empty());

    CHECK(f.read("/events?limit=2")["events"][0]["number"] ==
          2); // the newest, unless it is said from where on
    CHECK(f.read("/events?since=1&limit=2")["events"][0]["number"] == 1);

    for (int i = 0; i < 8; ++i) other.reset();
    CHECK(f.read("/events?since=1")["missed"] == 3); // the log holds eight
    CHECK(f.read("/events?since=1")["events"][0]["number"] == 4);
    // A number from before the service began anew: all of this log is new then.
    CHECK(f.read("/events?since=1000")["events"].size() == 8);
}

TEST_CASE("a service that keeps no events says so", "[monitoring_api]") {
    rs::registry reg;
    const rs::monitoring_api api(reg);
    for (const char* path : {"/events", "/events/stream", "/events?since=1"}) {
        const auto r = api.handle({.method = "GET", .target = std::string("/api/v1/resilience") + path});
        CHECK(r.status == 404);
        CHECK(r.body.find("monitoring_options.events") != std::string::npos);
    }
}

TEST_CASE("the page of the dashboard is HTML that loads nothing from elsewhere", "[monitoring_api]") {
    shown_fixture f;
    const rs::monitoring_api api(f.reg, {.dashboard = "<!doctype html><title>x</title>"});

    const auto r = api.handle({.method = "GET", .target = "/dashboard?x=1"});

    CHECK(r.status == 200);
    CHECK(r.content_type == "text/html; charset=utf-8");
    CHECK(r.body == "<!doctype html><title>x</title>");
    CHECK(r.headers.at("Content-Security-Policy").starts_with("default-src 'none';"));
    CHECK(r.headers.at("X-Content-Type-Options") == "nosniff");
    CHECK(api.handle({.method = "POST", .target = "/dashboard"}).status == 405);
    CHECK(rs::monitoring_api(f.reg).handle({.method = "GET", .target = "/dashboard"}).status == 404);
}

TEST_CASE("hostile requests get a 4xx and valid JSON", "[monitoring_api][H-MON-01][H-MON-11]") {
    shown_fixture f;
    const auto circuit = f.circuit("jira_api");
    const rs::monitoring_api api(
        f.reg, {.events = f.log, .control = true, .authorize = [](const rs::http_request&) { return true; }});
    const std::vector<std::string> pieces{"/api/v1/resilience",
                                          "/",
                                          "circuit-breakers",
                                          "policies",
                                          "events",
                                          "stream",
                                          "%2F",
                                          "%",
                                          "%00",
                                          "..",
                                          "?",
                                          "&",
                                          "=",
                                          "since",
                                          "kind",
                                          "jira_api",
                                          "\"",
                                          "\\",
                                          "\xFF",
                                          "\xC3\x28",
                                          std::string(1, '\0'),
                                          "\r\n",
                                          "<script>",
                                          "#",
                                          "reset",
                                          "open-for",
                                          "+",
                                          "-1",
                                          "18446744073709551616"};
    const std::vector<std::string> methods{"GET", "HEAD", "POST", "PATCH", "DELETE", "\xFF"};
    std::mt19937 random(
        7); // NOLINT(cert-msc51-cpp,bugprone-random-generator-seed): the same requests each time
    for (int i = 0; i < 20'000; ++i) {
        std::string target = random() % 4 == 0 ? "" : "/api/v1/resilience/";
        for (auto n = random() % 7; n > 0; --n) target += pieces[random() % pieces.size()];
        const std::string& method = methods[random() % methods.size()];
        const auto r =
            api.handle({.method = method, .target = target, .body = pieces[random() % pieces.size()]});
        INFO(method << " " << target << " -> " << r.status << " " << r.body);
        REQUIRE((r.status == 200 || (r.status >= 400 && r.status < 500)));
        if (r.content_type == "application/json" && method != "HEAD") REQUIRE(json::accept(r.body));
    }
    CHECK(circuit.state() == rs::circuit_state::closed); // none came with the header that commands need
}

} // namespace
