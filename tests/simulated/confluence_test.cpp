// SPDX-License-Identifier: Apache-2.0
#include "simulated/world.hpp"

#include <resilience/fallback.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace simulated;
using namespace std::chrono_literals;

using durations = std::vector<rs::duration>;

TEST_CASE("four methods of Confluence reach the server, once each") {
    world w;

    CHECK(w.confluence.get_spaces().status == 200);
    w.confluence.get_pages_in_space("DOC");
    w.confluence.get_page_content("42");
    w.confluence.search_content("type=page");

    CHECK(w.confluence_server.requests() ==
          std::vector<std::string>{"GET /rest/api/space", "GET /rest/api/space/DOC/content/page",
                                   "GET /rest/api/content/42?expand=body.storage",
                                   "GET /rest/api/content/search?cql=type=page"});
    CHECK(w.confluence_circuit().successes == 4);
}

TEST_CASE("a failing value is retried, and the value of the attempt that succeeds is returned") {
    world w;
    w.confluence_server.then(status(502));
    w.confluence_server.then(refuses_connection());
    w.confluence_server.then(ok(R"({"id":"42"})"));

    const http_reply reply = w.confluence.get_page_content("42");

    CHECK(reply.status == 200);
    CHECK(reply.body == R"({"id":"42"})");
    CHECK(w.confluence_server.request_count() == 3);
    CHECK(w.clock.slept() == durations{500ms, 1s});
}

TEST_CASE("when all attempts fail the last value is returned, and nothing is thrown") {
    world w;
    w.confluence_server.then(status(500));
    w.confluence_server.then(status(502));
    w.confluence_server.then(status(503));

    CHECK(w.confluence.get_spaces().status == 503);
    CHECK(w.confluence_server.request_count() == 3);
}

TEST_CASE("a 404 is a value like any other: not retried, not recorded") {
    world w;
    w.confluence_server.otherwise(status(404));

    for (int i = 0; i < 20; ++i) CHECK(w.confluence.get_page_content("404").status == 404);

    CHECK(w.confluence_server.request_count() == 20);
    CHECK(w.confluence_circuit().state == rs::circuit_state::closed);
    CHECK(w.confluence_circuit().failure_count == 0);
    CHECK(w.confluence_circuit().successes == 20);
}

TEST_CASE("answers that break off are failures of the server, too") {
    world w;
    w.confluence_server.otherwise(malformed());

    CHECK(w.confluence.get_spaces().status == std::nullopt);

    CHECK(w.confluence_server.request_count() == 3);
    CHECK(w.confluence_circuit().failure_count == 3);
}

TEST_CASE("the fifth failing value trips confluence_api, and its retry stops there with that value") {
    world w;
    w.confluence_server.otherwise(status(503));
    CHECK(w.confluence.get_spaces().status == 503);
    CHECK(w.confluence.get_spaces().status == 503);

    CHECK(w.confluence_server.request_count() == 5);
    CHECK(w.confluence_circuit().state == rs::circuit_state::open);
    CHECK_THROWS_AS(w.confluence.get_pages_in_space("DOC"), rs::circuit_open_error);
    CHECK_THROWS_AS(w.confluence.get_page_content("42"), rs::circuit_open_error);
    CHECK_THROWS_AS(w.confluence.search_content("type=page"), rs::circuit_open_error);
    CHECK(w.confluence_server.request_count() == 5);
}

TEST_CASE("Confluence's outage leaves Jira alone, and ends after two probes") {
    world w;
    w.confluence_server.then(status(503), 5);
    w.confluence.get_spaces();
    w.confluence.get_spaces();
    REQUIRE(w.confluence_circuit().state == rs::circuit_state::open);

    CHECK(w.jira.get_projects() == "{}");
    CHECK(w.jira_circuit().state == rs::circuit_state::closed);

    w.clock.advance(30s);
    CHECK(w.confluence.get_spaces().status == 200);
    CHECK(w.confluence_circuit().state == rs::circuit_state::half_open);
    CHECK(w.confluence.get_spaces().status == 200);
    CHECK(w.confluence_circuit().state == rs::circuit_state::closed);
}

TEST_CASE("a fallback takes the place of failing values and of refusals, and leaves a 404 alone") {
    world w;
    const auto or_cached = rs::fallback([](const rs::failure& why) {
        return http_reply{200, why.code() == rs::errc::circuit_open ? "refused" : why.message(), {}};
    });
    const auto get_spaces = [&] { return or_cached([&] { return w.confluence.get_spaces(); }); };

    w.confluence_server.then(status(404));
    CHECK(get_spaces().status == 404);

    w.confluence_server.then(status(503), 5);
    CHECK(get_spaces().body == "HTTP 503");
    CHECK(get_spaces().body == "HTTP 503");
    CHECK(get_spaces().body == "refused");
    CHECK(or_cached.stats().used == 3);
}

TEST_CASE("Confluence's Retry-After in a value is a floor for the delay") {
    world w;
    w.confluence_server.then(status(429).with_retry_after(7s));

    CHECK(w.confluence.get_spaces().status == 200);
    CHECK(w.clock.slept() == durations{7500ms}); // and a random share of base_delay
}

TEST_CASE("a Confluence that hangs is given up at the caller's deadline, with a value") {
    world w;
    const rs::timeout request_limit(3s, w.registry);
    const auto began = w.clock.now();
    w.confluence_server.otherwise(hangs());

    const http_reply reply = request_limit([&] { return w.confluence.get_spaces(); });

    CHECK(reply.status == std::nullopt);
    CHECK(w.clock.now() - began == 3s);
    CHECK(w.confluence_server.request_count() == 1);
}

} // namespace
