// SPDX-License-Identifier: Apache-2.0
#include "simulated/world.hpp"

#include <resilience/timeout.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace simulated;
using namespace std::chrono_literals;

using durations = std::vector<rs::duration>;

constexpr int primary_stepped_down = 189;

TEST_CASE("four methods of the session repository reach MongoDB, once each") {
    world w;

    CHECK(w.sessions.create_session("s1", "{}") == "{}");
    CHECK(w.sessions.ensure_session_exists("s1"));
    w.sessions.get_session_history("s1", 10);
    w.sessions.update_session("s1", "{}");

    CHECK(w.mongodb_server.requests() ==
          std::vector<std::string>{"insert s1 {}", "find s1", "find s1 messages 10", "update s1 {}"});
    CHECK(w.clock.slept().empty());
}

TEST_CASE("an election of MongoDB is waited for, in half the time that HTTP services get") {
    world w;
    w.mongodb_server.then(status(primary_stepped_down));
    w.mongodb_server.then(refuses_connection());
    w.mongodb_server.then(ok(R"(["message"])"));

    CHECK(w.sessions.get_session_history("s1") == R"(["message"])");

    CHECK(w.mongodb_server.request_count() == 3);
    CHECK(w.clock.slept() == durations{250ms, 500ms});
}

TEST_CASE("after three attempts MongoDB's last error goes out unchanged") {
    world w;
    w.mongodb_server.then(resets_connection(), 2);
    w.mongodb_server.then(status(primary_stepped_down));

    try {
        w.sessions.update_session("s1", "{}");
        FAIL("it has not failed");
    } catch (const mongodb_error& e) {
        CHECK(e.code() == primary_stepped_down);
    }
    CHECK(w.mongodb_server.request_count() == 3);
}

TEST_CASE("MongoDB has no circuit: it is asked again however often it fails") {
    world w;
    w.mongodb_server.otherwise(status(primary_stepped_down));

    for (int i = 0; i < 10; ++i) CHECK_THROWS_AS(w.sessions.create_session("s1", "{}"), mongodb_error);

    CHECK(w.mongodb_server.request_count() == 30);
    CHECK_FALSE(w.registry.circuit_breaker("mongodb").has_value());
    CHECK(w.registry.find<rs::retry>("mongodb")->stats().exhausted == 10);
}

TEST_CASE("a MongoDB that hangs is given up at the caller's deadline") {
    world w;
    const rs::timeout request_limit(2s, w.registry);
    const auto began = w.clock.now();
    w.mongodb_server.then(status(primary_stepped_down));
    w.mongodb_server.then(hangs());

    CHECK_THROWS_AS(request_limit([&] { return w.sessions.ensure_session_exists("s1"); }), transport_error);

    CHECK(w.clock.now() - began == 2s);
    CHECK(w.mongodb_server.request_count() == 2);
}

} // namespace
