// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/circuit_breaker.hpp>
#include <resilience/json.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <chrono>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

constexpr rs::wall_time wall = rs::testing::virtual_clock::start_wall_time; // 2024-01-08T20:00:00Z
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

std::string quoted(std::string_view text) {
    return "\"" + rs::detail::escaped(text, '"', rs::detail::escaping::json) + "\"";
}
std::string number(double d) {
    rs::detail::json_writer json;
    json.value(d);
    return json.take();
}
rs::circuit_breaker_stats quiet(std::string name) {
    rs::circuit_breaker_stats c;
    c.name = std::move(name);
    c.failure_threshold = 5;
    c.success_threshold = 2;
    return c;
}

TEST_CASE("times are ISO 8601 in UTC with microseconds, rounded down", "[json]") {
    CHECK(rs::iso_8601(wall) == "2024-01-08T20:00:00.000000Z");
    CHECK(rs::iso_8601(wall + 1us) == "2024-01-08T20:00:00.000001Z");
    CHECK(rs::iso_8601(wall + 999ns) == "2024-01-08T20:00:00.000000Z");
    CHECK(rs::iso_8601(wall + 3h + 59min + 59s + 999'999us) == "2024-01-08T23:59:59.999999Z");
    CHECK(rs::iso_8601(wall + 4h) == "2024-01-09T00:00:00.000000Z");
    CHECK(rs::iso_8601(rs::wall_time{}) == "1970-01-01T00:00:00.000000Z");
    CHECK(rs::iso_8601(rs::wall_time{} - 1ns) == "1969-12-31T23:59:59.999999Z");
    CHECK(rs::iso_8601(rs::wall_time{std::chrono::sys_days{std::chrono::year{2024} / 2 / 29}}) ==
          "2024-02-29T00:00:00.000000Z");
    CHECK(rs::iso_8601(rs::wall_time::max()) == "2262-04-11T23:47:16.854775Z");
    CHECK(rs::iso_8601(rs::wall_time::min()) == "1677-09-21T00:12:43.145224Z");
}

TEST_CASE("numbers that are none become null", "[json][H-MON-02]") {
    CHECK(number(nan) == "null");
    CHECK(number(infinity) == "null");
    CHECK(number(-infinity) == "null");
    CHECK(number(100) == "100.0");
    CHECK(number(0) == "0.0");
    CHECK(number(0.1) == "0.1");
    CHECK(number(1e300) == "1e+300");

    rs::circuit_summary summary{"x", rs::circuit_state::closed, 0, 5, 0, 2, nan};
    CHECK(rs::to_json(summary).ends_with("\"health_percentage\":null}"));
    CHECK(rs::to_json(rs::policy_snapshot{"k", "n", {{"rate", nan}, {"unknown", -1.0}}}) ==
          R"({"kind":"k","name":"n","statistics":{"rate":null,"unknown":null}})");
}

TEST_CASE("quotes, backslashes and controls are escaped", "[json][H-MON-01]") {
    CHECK(quoted("jira_api") == R"("jira_api")");
    CHECK(quoted("a\"b\\c/d") == R"("a\"b\\c/d")");
    CHECK(quoted("\b\f\n\r\t") == R"("\b\f\n\r\t")");
    CHECK(quoted(std::string_view("\0\x01\x1f\x20\x7f", 5)) == "\"\\u0000\\u0001\\u001f \x7f\"");
    CHECK(quoted("<b>&'") == "\"<b>&'\"");
    CHECK(quoted("Zürich 東京 🚀") == "\"Zürich 東京 🚀\"");
}

TEST_CASE("bytes that are no UTF-8 become the replacement character", "[json][H-MON-01]") {
    const std::string r = "\xEF\xBF\xBD";

    CHECK(quoted("a\xFF"
                 "b") == "\"a" + r + "b\"");
    CHECK(quoted("\x80") == "\"" + r + "\"");
    CHECK(quoted("\xC3") == "\"" + r + "\"");
    CHECK(quoted("\xE6\x9D") == "\"" + r + r + "\"");
    CHECK(quoted("\xC0\xAF") == "\"" + r + r + "\"");                 // overlong slash
    CHECK(quoted("\xE0\x80\xAF") == "\"" + r + r + r + "\"");         // overlong slash
    CHECK(quoted("\xED\xA0\x80") == "\"" + r + r + r + "\"");         // surrogate
    CHECK(quoted("\xF4\x90\x80\x80") == "\"" + r + r + r + r + "\""); // beyond U+10FFFF
    CHECK(quoted("\xF5\x80\x80\x80") == "\"" + r + r + r + r + "\"");
    CHECK(quoted("\xF0\x9F\x9A\"") == "\"" + r + r + r + "\\\"\""); // a cut character swallows no quote
    CHECK(quoted("\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF") ==
          "\"\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF\"");
}

TEST_CASE("a text is clipped between characters", "[json][H-CB-37]") {
    using rs::detail::clipped;

    CHECK(clipped("abc", 3) == "abc");
    CHECK(clipped("abcd", 3) == "abc");
    CHECK(clipped("ab\xC3\xBC", 3) == "ab");
    CHECK(clipped("a\xF0\x9F\x9A\x80", 4) == "a");
    CHECK(clipped("\x80\x80\x80\x80\x80\x80", 5).size() >= 2);
    CHECK(clipped("abc", 0).empty());
}

TEST_CASE("the list of circuits has the promised keys in their order", "[json]") {
    auto broken = quiet("jira_api");
    broken.state = rs::circuit_state::open;
    broken.failure_count = 5;
    broken.opened_at = wall;
    broken.last_failure_time = wall - 1us;

    CHECK(rs::to_json(std::vector<rs::circuit_breaker_stats>{}) == "{}");
    CHECK(
        rs::to_json(std::vector{quiet("confluence_api"), broken}) ==
        R"({"confluence_api":{"state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"opened_at":null,"last_failure_time":null},)"
        R"("jira_api":{"state":"open","failure_count":5,"failure_threshold":5,"success_count":0,"opened_at":"2024-01-08T20:00:00.000000Z","last_failure_time":"2024-01-08T19:59:59.999999Z"}})");
}

TEST_CASE("a single circuit has the promised keys in their order", "[json]") {
    auto c = quiet("jira_api");
    c.success_count = 3;

    CHECK(
        rs::to_json(c) ==
        R"({"state":"closed","failure_count":0,"failure_threshold":5,"success_count":3,"success_threshold":2,"opened_at":null,"last_failure_time":null})");
}

TEST_CASE("health has the promised keys in their order", "[json]") {
    rs::health_report report;
    report.timestamp = wall;
    CHECK(
        rs::to_json(report) ==
        R"({"status":"healthy","timestamp":"2024-01-08T20:00:00.000000Z","total_circuits":0,"circuits_by_state":{"closed":0,"open":0,"half_open":0},"open_circuits":[]})");

    report.status = "degraded";
    report.total_circuits = 5;
    report.closed = 2;
    report.open = 2;
    report.half_open = 1;
    report.open_circuits = {"a\"b", "jira_api"};
    CHECK(
        rs::to_json(report) ==
        R"({"status":"degraded","timestamp":"2024-01-08T20:00:00.000000Z","total_circuits":5,"circuits_by_state":{"closed":2,"open":2,"half_open":1},"open_circuits":["a\"b","jira_api"]})");
}

TEST_CASE("the summary has the promised keys in their order", "[json]") {
    const std::vector<rs::circuit_summary> all{
        {"confluence_api", rs::circuit_state::half_open, 5, 5, 1, 2, 50.0},
        {"jira_api", rs::circuit_state::closed, 0, 5, 0, 2, 100.0}};

    CHECK(rs::to_json(std::vector<rs::circuit_summary>{}) == "[]");
    CHECK(
        rs::to_json(all) ==
        R"([{"name":"confluence_api","state":"half_open","failure_count":5,"failure_threshold":5,"success_count":1,"success_threshold":2,"health_percentage":50.0},)"
        R"({"name":"jira_api","state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"success_threshold":2,"health_percentage":100.0}])");
}

TEST_CASE("policies have their statistics under one key", "[json]") {
    const rs::policy_snapshot p{
        "retry",
        "jira_api",
        {{"calls", std::uint64_t{7}}, {"budget_left", 99.5}, {"word", std::string("x\n")}}};

    CHECK(rs::to_json(p) ==
          R"({"kind":"retry","name":"jira_api","statistics":{"calls":7,"budget_left":99.5,"word":"x\n"}})");
    CHECK(
        rs::to_json(std::vector{p, rs::policy_snapshot{"timeout", "t", {}}}) ==
        R"([{"kind":"retry","name":"jira_api","statistics":{"calls":7,"budget_left":99.5,"word":"x\n"}},{"kind":"timeout","name":"t","statistics":{}}])");
}

TEST_CASE("an event has its delay in seconds, and null for what it does not have", "[json]") {
    rs::event e{.kind = rs::event_kind::attempt_failed,
                .policy_kind = "retry",
                .policy = "jira_api",
                .operation = "search"};
    e.attempt = 1;
    e.max_attempts = 3;
    e.delay = 1500ms;
    e.error_type = "std::runtime_error";
    e.error = "down\n";
    e.wall = wall;
    CHECK(
        rs::to_json(e) ==
        R"({"kind":"attempt_failed","policy_kind":"retry","policy":"jira_api","operation":"search","attempt":1,"max_attempts":3,"retry_depth":0,"delay":1.5,"from":null,"to":null,"failure_count":0,"success_count":0,"error_type":"std::runtime_error","error":"down\n","reason":null,"timestamp":"2024-01-08T20:00:00.000000Z","generation":0})");

    e.correlation = "req-7\"";
    CHECK(rs::to_json(e).find(R"("operation":"search","correlation":"req-7\"","attempt":1)") !=
          std::string::npos);

    rs::event change{.kind = rs::event_kind::state_changed, .policy_kind = "circuit_breaker"};
    change.to = rs::circuit_state::open;
    CHECK(
        rs::to_json(change).find(
            R"("policy":null,"operation":null,"attempt":0,"max_attempts":0,"retry_depth":0,"delay":null,"from":"closed","to":"open")") !=
        std::string::npos);

    rs::event updated{.kind = rs::event_kind::policy_updated, .policy_kind = "circuit_breaker"};
    CHECK(rs::to_json(updated).find(R"("from":null,"to":null)") != std::string::npos);
}

TEST_CASE("an error is an object with a code and a message", "[json]") {
    CHECK(rs::error_json("not_found", "no \"x\"") ==
          R"({"error":{"code":"not_found","message":"no \"x\""}})");
}

TEST_CASE("a real circuit's bodies follow it through a trip", "[json]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::circuit_breaker breaker{{.name = "jira_api", .failure_threshold = 1, .recovery_timeout = 30s},
                                      reg};

    clock.advance(1s);
    breaker.try_acquire()->failure();

    CHECK(
        rs::to_json(reg.circuit_breakers()) ==
        R"({"jira_api":{"state":"open","failure_count":1,"failure_threshold":1,"success_count":0,"opened_at":"2024-01-08T20:00:01.000000Z","last_failure_time":"2024-01-08T20:00:01.000000Z"}})");
    CHECK(
        rs::to_json(reg.health()) ==
        R"({"status":"critical","timestamp":"2024-01-08T20:00:01.000000Z","total_circuits":1,"circuits_by_state":{"closed":0,"open":1,"half_open":0},"open_circuits":["jira_api"]})");
}

#if defined(NLOHMANN_JSON_VERSION_MAJOR)
TEST_CASE("whatever bytes a name is made of, a strict parser reads the same text back", "[json][H-MON-01]") {
    std::uint32_t state = 12345;
    const auto byte = [&] { return static_cast<char>((state = state * 1664525U + 1013904223U) >> 24U); };
    for (int i = 0; i < 3000; ++i) {
        std::string name;
        for (int length = i % 12; length > 0; --length) name += byte();
        auto circuit = quiet(name);
        circuit.last_failure_time = wall;

        const std::string text = rs::to_json(std::vector{circuit});
        INFO(text);
        const auto parsed = nlohmann::json::parse(text);
        REQUIRE(parsed.size() == 1);
        CHECK(parsed.begin().value()["failure_threshold"] == 5);
        bool valid = true;
        try {
            (void)nlohmann::json(name).dump();
        } catch (const nlohmann::json::type_error&) {
            valid = false;
        }
        CHECK((parsed.begin().key() == name) == valid);
    }
}

TEST_CASE("every policy's real snapshot is JSON", "[json]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::circuit_breaker breaker{{.name = "jira_api", .failure_rate_threshold = 0.5}, reg};
    const rs::retry retry{{.name = "jira_api"}, reg};

    const auto parsed = nlohmann::json::parse(rs::to_json(reg.policies()));

    REQUIRE(parsed.size() == 2);
    CHECK(parsed[0]["kind"] == "circuit_breaker");
    CHECK(parsed[0]["statistics"]["state"] == "closed");
    CHECK(parsed[0]["statistics"]["failure_rate"].is_null());
    CHECK(parsed[1]["kind"] == "retry");
    CHECK(parsed[1]["statistics"]["calls"] == 0);
}
#endif

TEST_CASE("a text as JSON is quoted and escaped", "[json]") {
    CHECK(rs::json_text("") == R"("")");
    CHECK(rs::json_text("a\"b\\c\n\xFF") == "\"a\\\"b\\\\c\\n\xEF\xBF\xBD\"");
}

TEST_CASE("an event shows a call's first failure where there was another", "[json][H-USE-15]") {
    rs::event e{.kind = rs::event_kind::retries_exhausted, .error_type = "pg_error", .error = "25P02"};
    CHECK(rs::to_json(e).find("first_error") == std::string::npos);
    e.first_error_type = "pg_error";
    e.first_error = "4\"0001";

    CHECK(
        rs::to_json(e).find(
            R"("error_type":"pg_error","error":"25P02","first_error_type":"pg_error","first_error":"4\"0001","reason")") !=
        std::string::npos);
}

} // namespace
