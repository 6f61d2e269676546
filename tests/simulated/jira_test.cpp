// SPDX-License-Identifier: Apache-2.0
#include "simulated/world.hpp"

#include <resilience/fallback.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <functional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <vector>

namespace {

namespace rs = resilience;
using namespace simulated;
using namespace std::chrono_literals;

using durations = std::vector<rs::duration>;

/// The HTTP status that a call fails with; 0 if it does not fail.
int status_of(const std::function<void()>& call) {
    try {
        call();
        return 0;
    } catch (const http_error& e) {
        return e.http_status();
    }
}

/// Five failing attempts in two calls, 0.5 s, 1 s, 0 s and 0.5 s apart.
void trip(world& w) {
    w.jira_server.then(status(503), 5);
    CHECK(status_of([&] { w.jira.get_projects(); }) == 503);
    CHECK(status_of([&] { w.jira.get_projects(); }) == 503);
    REQUIRE(w.jira_circuit().state == rs::circuit_state::open);
}

TEST_CASE("six methods of Jira reach the server, once each") {
    world w;
    w.jira_server.otherwise(ok(R"({"name":"answer"})"));

    CHECK(w.jira.get_server_info() == R"({"name":"answer"})");
    w.jira.search_issues("project=A", 20);
    w.jira.get_issue("A-1");
    w.jira.create_issue(R"({"summary":"x"})");
    w.jira.get_projects();
    w.jira.get_issue_types();

    CHECK(w.jira_server.requests() ==
          std::vector<std::string>{"GET /rest/api/2/serverInfo",
                                   "GET /rest/api/2/search?jql=project=A&maxResults=20",
                                   "GET /rest/api/2/issue/A-1", R"(POST /rest/api/2/issue {"summary":"x"})",
                                   "GET /rest/api/2/project", "GET /rest/api/2/issuetype"});
    CHECK(w.clock.slept().empty());
    CHECK(w.jira_circuit().successes == 6);
}

TEST_CASE("a 503 is retried after a delay, and the answer is that of the attempt that succeeds") {
    world w;
    w.jira_server.then(status(503), 2);
    w.jira_server.then(ok(R"({"key":"A-1"})"));

    CHECK(w.jira.get_issue("A-1") == R"({"key":"A-1"})");

    CHECK(w.jira_server.request_count() == 3);
    CHECK(w.clock.slept() == durations{500ms, 1s});
}

TEST_CASE("a 404 is not retried") {
    world w;
    w.jira_server.then(status(404));

    CHECK(status_of([&] { w.jira.get_issue("A-404"); }) == 404);

    CHECK(w.jira_server.request_count() == 1);
    CHECK(w.clock.slept().empty());
}

TEST_CASE("twenty 404s leave jira_api closed") {
    world w;
    w.jira_server.otherwise(status(404));

    for (int i = 0; i < 20; ++i) CHECK(status_of([&] { w.jira.get_issue("A-404"); }) == 404);

    const auto circuit = w.jira_circuit();
    CHECK(circuit.state == rs::circuit_state::closed);
    CHECK(circuit.failure_count == 0);
    CHECK(circuit.successes == 20);
    CHECK(w.jira_server.request_count() == 20);
}

TEST_CASE("408, 425, 429 and 5xx are retried, other 4xx are not") {
    for (const int code : {408, 425, 429, 500, 502, 503, 504}) {
        world w;
        w.jira_server.then(status(code));

        CHECK(status_of([&] { w.jira.get_projects(); }) == 0);
        CHECK(w.jira_server.request_count() == 2);
    }
    for (const int code : {400, 401, 403, 404, 409, 410, 422}) {
        world w;
        w.jira_server.then(status(code));

        CHECK(status_of([&] { w.jira.get_projects(); }) == code);
        CHECK(w.jira_server.request_count() == 1);
    }
}

TEST_CASE("connections that fail and answers that break off are retried and recorded") {
    world w;
    w.jira_server.then(refuses_connection());
    w.jira_server.then(malformed());
    w.jira_server.then(ok());

    CHECK(w.jira.get_projects() == "{}");

    CHECK(w.jira_server.request_count() == 3);
    CHECK(w.jira_circuit().failure_count == 2);
}

TEST_CASE("the fifth 503 within a minute trips jira_api, and its retry stops there with that 503") {
    world w;
    w.jira_server.otherwise(status(503));

    CHECK(status_of([&] { w.jira.search_issues("project=A"); }) == 503);
    CHECK(w.jira_server.request_count() == 3);
    CHECK(w.jira_circuit().state == rs::circuit_state::closed);
    CHECK(w.jira_circuit().failure_count == 3);

    CHECK(status_of([&] { w.jira.search_issues("project=A"); }) == 503);
    CHECK(w.jira_server.request_count() == 5);
    CHECK(w.jira_circuit().state == rs::circuit_state::open);
    CHECK(w.jira_circuit().failure_count == 5);
    CHECK(w.clock.slept() == durations{500ms, 1s, 500ms}); // none before a third attempt of the second call
}

TEST_CASE("the fifth failing attempt trips it wherever in a call it falls") {
    for (const unsigned before : {2U, 3U, 4U}) { // single failing attempts before the call
        world w;
        for (unsigned i = 0; i < before; ++i) {
            w.jira_server.then(status(503));
            w.jira_server.then(ok());
            w.jira.get_projects();
        }
        REQUIRE(w.jira_circuit().state == rs::circuit_state::closed);
        const auto requests = w.jira_server.request_count();
        w.jira_server.otherwise(status(503));

        CHECK(status_of([&] { w.jira.get_projects(); }) == 503);

        CHECK(w.jira_server.request_count() - requests == 5 - before);
        CHECK(w.jira_circuit().state == rs::circuit_state::open);
    }
}

TEST_CASE("four failing attempts leave jira_api closed") {
    world w;
    w.jira_server.then(status(503), 3);
    CHECK(status_of([&] { w.jira.get_projects(); }) == 503);
    w.jira_server.then(status(503));
    w.jira.get_projects();

    CHECK(w.jira_circuit().state == rs::circuit_state::closed);
    CHECK(w.jira_circuit().failure_count == 4);
}

TEST_CASE("a failure counts for less than a minute") {
    const auto fail_four_times_then_wait = [](world& w, rs::duration wait) {
        w.jira_server.then(status(503), 4);
        CHECK(status_of([&] { w.jira.create_issue("{}"); }) == 503); // not retried: one failure a call
        const auto first = w.clock.now();
        for (int i = 0; i < 3; ++i) CHECK(status_of([&] { w.jira.create_issue("{}"); }) == 503);
        REQUIRE(w.clock.now() == first);
        w.clock.advance(wait);
        w.jira_server.then(status(503));
        CHECK(status_of([&] { w.jira.create_issue("{}"); }) == 503);
    };
    world just_in_time;
    fail_four_times_then_wait(just_in_time, 60s - 1ns);
    CHECK(just_in_time.jira_circuit().state == rs::circuit_state::open);

    world too_late;
    fail_four_times_then_wait(too_late, 60s);
    CHECK(too_late.jira_circuit().state == rs::circuit_state::closed);
    CHECK(too_late.jira_circuit().failure_count == 1);
}

TEST_CASE("a call to an open jira_api is refused without touching the client") {
    world w;
    trip(w);
    const auto requests = w.jira_server.request_count();
    const auto sleeps = w.clock.slept().size();

    try {
        w.jira.get_issue("A-1");
        FAIL("it was not refused");
    } catch (const rs::circuit_open_error& e) {
        CHECK(std::string(e.what()) == "circuit 'jira_api' is open; next probe in 30s");
        CHECK(e.policy() == "jira_api");
        CHECK(e.retry_after() == rs::duration(30s));
        CHECK(e.code() == rs::errc::circuit_open);
    }

    CHECK(w.jira_server.request_count() == requests);
    CHECK(w.clock.slept().size() == sleeps);
    CHECK(w.jira_circuit().rejected == 1);
}

TEST_CASE("all six methods share jira_api while Confluence and MongoDB go on") {
    world w;
    trip(w);
    const auto requests = w.jira_server.request_count();

    CHECK_THROWS_AS(w.jira.get_server_info(), rs::circuit_open_error);
    CHECK_THROWS_AS(w.jira.search_issues("project=A"), rs::circuit_open_error);
    CHECK_THROWS_AS(w.jira.get_issue("A-1"), rs::circuit_open_error);
    CHECK_THROWS_AS(w.jira.create_issue("{}"), rs::circuit_open_error);
    CHECK_THROWS_AS(w.jira.get_projects(), rs::circuit_open_error);
    CHECK_THROWS_AS(w.jira.get_issue_types(), rs::circuit_open_error);

    CHECK(w.jira_server.request_count() == requests);
    CHECK(w.confluence.get_spaces().status == 200);
    CHECK(w.sessions.ensure_session_exists("s1"));
    CHECK(w.confluence_circuit().state == rs::circuit_state::closed);
}

TEST_CASE("failures of different methods add up in jira_api") {
    world w;
    w.jira_server.otherwise(status(503));

    CHECK(status_of([&] { w.jira.get_issue("A-1"); }) == 503);
    CHECK(status_of([&] { w.jira.create_issue("{}"); }) == 503);
    CHECK(status_of([&] { w.jira.get_projects(); }) == 503);

    CHECK(w.jira_server.request_count() == 5); // three, one, and the fifth of all
    CHECK(w.jira_circuit().state == rs::circuit_state::open);
}

TEST_CASE("a second service in the same registry shares jira_api with the first") {
    world w;
    const jira_service another{jira_client(w.jira_server), w.registry};
    trip(w);

    CHECK_THROWS_AS(another.get_projects(), rs::circuit_open_error);
}

TEST_CASE("a fallback answers while jira_api is open") {
    world w;
    const auto cached = rs::fallback([](const rs::failure& why) {
        return why.code() == rs::errc::circuit_open ? std::string("from the cache") : std::string("sorry");
    });
    const auto search = [&] { return cached([&] { return w.jira.search_issues("project=A"); }); };
    w.jira_server.otherwise(ok(R"({"issues":[]})"));
    CHECK(search() == R"({"issues":[]})");

    trip(w);
    CHECK(search() == "from the cache");
    CHECK(cached.stats().used == 1);

    w.clock.advance(30s);
    CHECK(search() == R"({"issues":[]})");
}

TEST_CASE("after 30 s a probe goes through, and two successes close jira_api") {
    world w;
    trip(w);
    const auto requests = w.jira_server.request_count();

    w.clock.advance(30s - 1ns);
    CHECK_THROWS_AS(w.jira.get_projects(), rs::circuit_open_error);
    CHECK(w.jira_server.request_count() == requests);

    w.clock.advance(1ns);
    CHECK(w.jira_circuit().state == rs::circuit_state::open); // until a call comes
    CHECK(w.jira.get_projects() == "{}");
    CHECK(w.jira_circuit().state == rs::circuit_state::half_open);
    CHECK(w.jira_circuit().success_count == 1);

    CHECK(w.jira.get_issue_types() == "{}");
    CHECK(w.jira_circuit().state == rs::circuit_state::closed);
    CHECK(w.jira_circuit().failure_count == 0);
    CHECK(w.jira_server.request_count() == requests + 2);
}

TEST_CASE("a probe that fails opens jira_api for another 30 s, with a single request") {
    world w;
    trip(w);
    const auto requests = w.jira_server.request_count();
    w.clock.advance(30s);
    w.jira_server.then(status(503));

    CHECK(status_of([&] { w.jira.get_projects(); }) == 503);

    CHECK(w.jira_server.request_count() == requests + 1);
    CHECK(w.jira_circuit().state == rs::circuit_state::open);
    w.clock.advance(30s - 1ns);
    CHECK_THROWS_AS(w.jira.get_projects(), rs::circuit_open_error);
    w.clock.advance(1ns);
    CHECK(w.jira.get_projects() == "{}");
}

TEST_CASE("a server that answers is well: probes answered with 404 close the circuit") {
    world w;
    trip(w);
    w.clock.advance(30s);
    w.jira_server.then(status(404), 2);

    CHECK(status_of([&] { w.jira.get_issue("A-404"); }) == 404);
    CHECK(w.jira_circuit().state == rs::circuit_state::half_open);
    CHECK(w.jira_circuit().success_count == 1);
    CHECK(status_of([&] { w.jira.get_issue("A-404"); }) == 404);

    CHECK(w.jira_circuit().state == rs::circuit_state::closed);
}

TEST_CASE("an issue is not created twice: what may have been sent is not sent again") {
    for (const turn& sent : {status(503), status(429), resets_connection(), malformed()}) {
        world w;
        w.jira_server.then(sent);

        CHECK_THROWS(w.jira.create_issue("{}"));
        CHECK(w.jira_server.request_count() == 1);
    }
    world w;
    w.jira_server.then(refuses_connection(), 2);

    CHECK(w.jira.create_issue("{}") == "{}");
    CHECK(w.jira_server.request_count() == 3);
}

TEST_CASE("Jira's Retry-After is a floor for the delay, up to its cap of 10 s") {
    world w;
    w.jira_server.then(status(429).with_retry_after(10s));
    w.jira.get_projects();
    CHECK(w.clock.slept() == durations{10500ms}); // and a random share of base_delay

    w.jira_server.then(status(429).with_retry_after(100ms));
    w.jira.get_projects();
    CHECK(w.clock.slept() == durations{10500ms, 600ms});

    w.jira_server.then(status(429).with_retry_after(10s + 1ns));
    CHECK(status_of([&] { w.jira.get_projects(); }) == 429);
    CHECK(w.clock.slept() == durations{10500ms, 600ms});
}

TEST_CASE("a Jira that hangs is given up at the caller's deadline") {
    world w;
    const rs::timeout request_limit(5s, w.registry);
    const auto began = w.clock.now();
    w.jira_server.then(hangs());

    try {
        request_limit([&] { return w.jira.get_projects(); });
        FAIL("it has not failed");
    } catch (const transport_error& e) {
        CHECK(e.code() == std::errc::timed_out);
    }

    CHECK(w.clock.now() - began == 5s);
    CHECK(w.jira_server.request_count() == 1); // no time is left for another
    CHECK(w.jira_circuit().failure_count == 1);
}

TEST_CASE("a slow answer within the caller's deadline is an answer") {
    world w;
    const rs::timeout request_limit(5s, w.registry);

    w.jira_server.then(ok().after(5s));
    CHECK(request_limit([&] { return w.jira.get_projects(); }) == "{}");

    w.jira_server.then(ok().after(5s + 1ns));
    CHECK_THROWS_AS(request_limit([&] { return w.jira.get_projects(); }), transport_error);
}

TEST_CASE("a retry whose delay does not fit in the caller's deadline is not waited for") {
    world w;
    const rs::timeout request_limit(1400ms, w.registry);
    const auto began = w.clock.now();
    w.jira_server.otherwise(status(503));

    CHECK(status_of([&] { request_limit([&] { return w.jira.get_projects(); }); }) == 503);

    CHECK(w.jira_server.request_count() == 2); // after 0.5 s; the third would have come after 1.5 s
    CHECK(w.clock.now() - began == 500ms);
}

TEST_CASE("a caller who hangs up ends a hanging call at once, and jira_api does not mind") {
    world w;
    std::stop_source caller;
    const auto hang_up = w.clock.call_at(w.clock.now() + 2s, [&] { caller.request_stop(); });
    const auto began = w.clock.now();
    w.jira_server.then(hangs());
    const rs::retry request({.max_attempts = 1}, w.registry);

    const auto result = request.with({.stop_token = caller.get_token()}).try_call([&](rs::call_context&) {
        return w.jira.get_projects();
    });

    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code() == std::errc::operation_canceled);
    CHECK(w.clock.now() - began == 2s);
    CHECK(w.jira_server.request_count() == 1);
    CHECK(w.jira_circuit().failure_count == 0);
}

TEST_CASE("any exception of the client goes out unchanged") {
    world w;
    struct odd : std::logic_error {
        odd() : std::logic_error("odd"), number(42) {}
        int number;
    };
    w.jira_server.otherwise(throws(odd{}));

    try {
        w.jira.get_projects();
        FAIL("it has not failed");
    } catch (const odd& e) {
        CHECK(e.number == 42);
    }
    CHECK(w.jira_server.request_count() == 3);
}

TEST_CASE("events tell the story of an outage in order, with Jira's operations") {
    world w;
    std::vector<std::string> story;
    const auto listening = w.registry.subscribe([&](const rs::event& e) {
        std::string line = e.operation + " " + std::string(to_string(e.kind));
        if (e.kind == rs::event_kind::attempt_failed) {
            line += " " + std::to_string(e.attempt) + "/" + std::to_string(e.max_attempts) + " " + e.error;
        }
        if (e.kind == rs::event_kind::state_changed) {
            line += " " + std::string(to_string(e.from)) + " to " + std::string(to_string(e.to));
        }
        story.push_back(std::move(line));
    });

    trip(w);
    CHECK_THROWS_AS(w.jira.get_issue("A-1"), rs::circuit_open_error);

    CHECK(story == std::vector<std::string>{
                       "get_projects attempt_failed 1/3 HTTP 503", "get_projects retry_scheduled",
                       "get_projects attempt_failed 2/3 HTTP 503", "get_projects retry_scheduled",
                       "get_projects attempt_failed 3/3 HTTP 503", "get_projects retries_exhausted",
                       "get_projects attempt_failed 1/3 HTTP 503", "get_projects retry_scheduled",
                       " state_changed closed to open", "get_projects attempt_failed 2/3 HTTP 503",
                       "get_issue call_rejected"});
}

} // namespace
