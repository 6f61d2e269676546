// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/circuit_breaker.hpp>
#include <resilience/monitoring_api.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

const std::string root = "/api/v1/resilience";

struct api_fixture {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    rs::monitoring_api api{reg};
    std::vector<rs::circuit_breaker> breakers{};

    const rs::circuit_breaker& add(std::string name) {
        return breakers.emplace_back(
            rs::circuit_breaker_config{.name = std::move(name), .failure_threshold = 5}, reg);
    }
    rs::http_response get(const std::string& path) const {
        return api.handle({.method = "GET", .target = root + path});
    }
};

std::string percent_encoded(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        ((out += '%') += digits[byte >> 4U]) += digits[byte & 0xFU];
    }
    return out;
}

TEST_CASE("the four endpoints answer with their bodies", "[monitoring_api]") {
    api_fixture f;
    f.add("jira_api");
    f.add("confluence_api").force_open();

    const auto all = f.get("/circuit-breakers");
    CHECK(all.status == 200);
    CHECK(all.content_type == "application/json");
    CHECK(all.body == rs::to_json(f.reg.circuit_breakers()));
    CHECK(all.body.starts_with(R"({"confluence_api":{"state":"forced_open",)"));

    const auto one = f.get("/circuit-breakers/jira_api");
    CHECK(one.status == 200);
    CHECK(
        one.body ==
        R"({"state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"success_threshold":2,"opened_at":null,"last_failure_time":null})");

    CHECK(
        f.get("/health").body ==
        R"({"status":"degraded","timestamp":"2024-01-08T20:00:00.000000Z","total_circuits":2,"circuits_by_state":{"closed":1,"open":1,"half_open":0},"open_circuits":["confluence_api"]})");
    CHECK(
        f.get("/summary").body ==
        R"([{"name":"confluence_api","state":"forced_open","failure_count":0,"failure_threshold":5,"success_count":0,"success_threshold":2,"health_percentage":0.0},)"
        R"({"name":"jira_api","state":"closed","failure_count":0,"failure_threshold":5,"success_count":0,"success_threshold":2,"health_percentage":100.0}])");
}

TEST_CASE("a registry without circuits is healthy and its lists are empty", "[monitoring_api]") {
    const api_fixture f;

    CHECK(f.get("/circuit-breakers").body == "{}");
    CHECK(f.get("/summary").body == "[]");
    CHECK(f.get("/health").body.starts_with(R"({"status":"healthy",)"));
}

TEST_CASE("an unknown name is 404 with an error object", "[monitoring_api]") {
    const api_fixture f;

    const auto r = f.get("/circuit-breakers/no%22pe");

    CHECK(r.status == 404);
    CHECK(r.content_type == "application/json");
    CHECK(r.body == R"({"error":{"code":"not_found","message":"no circuit breaker is named 'no\"pe'"}})");
}

TEST_CASE("an unknown path is 404, whatever the method", "[monitoring_api]") {
    api_fixture f;
    f.add("jira_api");
    for (const char* path :
         {"/", "/nope", "/healthy", "/health/", "/Health", "//health", "/circuit-breakers/",
          "/circuit-breakers//", "/circuit-breakersjira_api", "/circuit-breakers/jira_api/",
          "/circuit-breakers/jira_api/reset", "/circuit-breakers/../health", "/./health"}) {
        INFO(path);
        CHECK(f.get(path).status == 404);
        CHECK(f.api.handle({.method = "POST", .target = root + path}).status == 404);
    }
    for (const char* target : {"", "/", "*", "/api/v1/resilienc", "/api/v1/resilience2/health",
                               "api/v1/resilience/health", "/x/api/v1/resilience/health"}) {
        INFO(target);
        CHECK(f.api.handle({.method = "GET", .target = target}).status == 404);
    }
}

TEST_CASE("other methods are 405 and told what is allowed", "[monitoring_api][H-MON-07]") {
    api_fixture f;
    const auto& breaker = f.add("jira_api");
    for (const char* method :
         {"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "", "get", "GET ", "RESET"}) {
        for (const char* path : {"/circuit-breakers", "/circuit-breakers/jira_api", "/circuit-breakers/nope",
                                 "/health", "/summary"}) {
            INFO(method << " " << path);
            const auto r =
                f.api.handle({.method = method, .target = root + path, .body = R"({"state":"open"})"});
            CHECK(r.status == 405);
            CHECK(r.headers.at("Allow") == "GET, HEAD");
            CHECK(r.headers.at("allow") == "GET, HEAD");
            CHECK(r.body.starts_with(R"({"error":{"code":"method_not_allowed",)"));
        }
    }
    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("HEAD is GET without the body", "[monitoring_api]") {
    const api_fixture f;

    const auto r = f.api.handle({.method = "HEAD", .target = root + "/health"});

    CHECK(r.status == 200);
    CHECK(r.content_type == "application/json");
    CHECK(r.body.empty());
    CHECK(f.api.handle({.method = "HEAD", .target = root + "/nope"}).status == 404);
}

TEST_CASE("answers are neither stored nor taken for HTML", "[monitoring_api][H-MON-01]") {
    api_fixture f;
    f.add("<script>alert(1)</script>");

    const auto r = f.get("/circuit-breakers");

    CHECK(r.content_type == "application/json");
    CHECK(r.headers.at("X-Content-Type-Options") == "nosniff");
    CHECK(r.headers.at("Cache-Control") == "no-store");
    CHECK(r.headers.at("Cross-Origin-Resource-Policy") == "same-origin");
}

TEST_CASE("names of any bytes round-trip when percent-encoded", "[monitoring_api][H-MON-11]") {
    api_fixture f;
    for (const std::string& name :
         {std::string("a/b"), std::string("100%"), std::string("%2F"), std::string(".."),
          std::string("../health"), std::string("Zürich 🚀"), std::string("a?b#c"), std::string("a b+c"),
          std::string("\n\"\\"), std::string("nul\0nul", 7), std::string("\xFF\xFE")}) {
        INFO(name);
        f.add(name);
        const auto r = f.get("/circuit-breakers/" + percent_encoded(name));
        CHECK(r.status == 200);
        CHECK(r.body.starts_with(R"({"state":"closed",)"));
    }
    CHECK(f.get("/circuit-breakers/a%2fb").status == 200);
    CHECK(f.get("/circuit-breakers/a/b").status == 404);
    CHECK(f.get("/circuit-breakers/%252F").status == 200);
    CHECK(f.get("/circuit-breakers/a b+c").status == 200);
    CHECK(f.get("/circuit-breakers/a%20b%20c").status == 404); // a plus is a plus
}

TEST_CASE("a name is one segment: an encoded slash leads nowhere else", "[monitoring_api][H-MON-11]") {
    api_fixture f;
    f.add("health");

    CHECK(f.get("/circuit-breakers/..%2fhealth").status == 404);
    CHECK(f.get("/circuit-breakers/%2e%2e%2fhealth").status == 404);
    CHECK(f.get("/circuit-breakers/nul%00nul").status == 404);
    CHECK(f.get("/circuit-breakers/health%00").status == 404);
}

TEST_CASE("broken escapes are 400", "[monitoring_api][H-MON-08]") {
    const api_fixture f;
    for (const char* name : {"%", "%2", "a%", "%zz", "%2G", "%G2", "%%20", "% 20", "%-1", "%+1", "%0x"}) {
        INFO(name);
        const auto r = f.get(std::string("/circuit-breakers/") + name);
        CHECK(r.status == 400);
        CHECK(r.body.starts_with(R"({"error":{"code":"bad_request",)"));
    }
}

TEST_CASE("arguments that a resource does not have are refused, whatever they hold",
          "[monitoring_api][H-MON-08]") {
    api_fixture f;
    f.add("jira_api");
    for (const char* path : {"", "/health", "/summary", "/circuit-breakers", "/circuit-breakers/jira_api",
                             "/policies", "/policies/jira_api"}) {
        for (const char* query : {"?x=1", "?delay=-1", "?delay=99999999999999999999", "?a=1&a=2&a=3", "?%zz",
                                  "?%00", "?x#y", "?/nope"}) {
            INFO(path << query);
            const auto r = f.get(std::string(path) + query);
            CHECK(r.status == 400);
            CHECK(r.body.starts_with(R"({"error":{"code":"bad_request",)"));
        }
        for (const char* query : {"?", "?&", "#top", "#top?x=1", "?_=1764531000123", "?_=1&_=2"}) {
            INFO(path << query);
            CHECK(f.get(std::string(path) + query).status == 200);
            CHECK(f.get(std::string(path) + query).body == f.get(path).body);
        }
    }
    CHECK(f.get("/health?" + std::string(1'000'000, 'x')).body.size() < 300);
    CHECK(f.get("/health?detail=true").body ==
          rs::error_json("bad_request", "argument 'detail' is unknown or given twice; there are details"));
    CHECK(f.get("/summary?sort=name").body ==
          rs::error_json("bad_request", "argument 'sort' is unknown or given twice; there are none"));
}

TEST_CASE("a liveness probe is answered whatever its query is", "[monitoring_api]") {
    const api_fixture f;

    for (const char* query : {"", "?", "?x=1", "?%zz", "?verbose&verbose"})
        CHECK(f.get("/live" + std::string(query)).body == R"({"status":"alive"})");
}

TEST_CASE("an endless name is not sent back in full", "[monitoring_api][H-MON-08]") {
    const api_fixture f;

    const auto long_name = f.get("/circuit-breakers/" + std::string(400, 'x'));
    const auto endless = f.get("/circuit-breakers/" + std::string(1'000'000, 'x'));

    CHECK(long_name.status == 404);
    CHECK(long_name.body.size() < 300);
    CHECK(endless.status == 414);
    CHECK(endless.body.size() < 300);
}

TEST_CASE("no bytes at all make it throw", "[monitoring_api]") {
    api_fixture f;
    f.add("jira_api");
    static_assert(noexcept(f.api.handle({})));
    std::uint32_t state = 4711;
    const auto random = [&] { return (state = state * 1664525U + 1013904223U) >> 16U; };
    constexpr std::string_view likely = "/%?#.\0circuit-breakers/health2fF";
    for (int i = 0; i < 20'000; ++i) {
        std::string target = i % 2 == 0 ? root + "/circuit-breakers/" : root;
        std::string method = i % 3 == 0 ? "GET" : "";
        for (auto n = random() % 20; n > 0; --n)
            target += random() % 2 == 0 ? static_cast<char>(random()) : likely[random() % likely.size()];
        if (i % 3 == 1) method = std::string(1, static_cast<char>(random()));
        const auto r = f.api.handle({.method = method, .target = target});
        REQUIRE((r.status == 200 || r.status == 400 || r.status == 404 || r.status == 405));
    }
}

TEST_CASE("without a registry the API shows the global one", "[monitoring_api]") {
    const rs::monitoring_api api;

    CHECK(api.handle({.method = "GET", .target = root + "/health"}).status == 200);
}

} // namespace
