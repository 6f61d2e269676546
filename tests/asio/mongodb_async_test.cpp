// SPDX-License-Identifier: Apache-2.0
#include "asio/mongodb_async.hpp"

#include <resilience/event.hpp>
#include <resilience/testing/recorder.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace simulated;
using namespace std::chrono_literals;
using support::net_world;
using support::started;

constexpr int primary_stepped_down = 189;

struct mongodb_world : net_world {
    fault_script server{clock};
    mongodb_async_session_repository sessions{mongodb_async_client(server, clock), reg};

    rs::retry_stats retries() const { return reg.find<rs::retry>("mongodb")->stats(); }
};

} // namespace

TEST_CASE("four coroutines of the session repository reach MongoDB, once each, together", "[asio][mongodb]") {
    mongodb_world w;
    w.server.otherwise(ok().after(100ms));

    const started created(w, w.sessions.create_session_async("s1", "{}"));
    const started exists(w, w.sessions.ensure_session_exists("s1"));
    const started history(w, w.sessions.get_session_history("s1", 10));
    const started updated(w, w.sessions.update_session_async("s1", "{}"));
    CHECK_FALSE(created.done());
    w.advance(100ms);

    CHECK(created.result() == "{}");
    CHECK(exists.result());
    CHECK(history.result() == "{}");
    CHECK(updated.done());
    CHECK(w.server.requests() ==
          std::vector<std::string>{"insert s1 {}", "find s1", "find s1 messages 10", "update s1 {}"});
    CHECK(w.retries().succeeded_at_once == 4);
}

TEST_CASE("while one coroutine waits for an election of MongoDB, others go on", "[asio][mongodb]") {
    mongodb_world w;
    w.server.then(status(primary_stepped_down));
    w.server.then(ok(R"(["other"])"));
    w.server.then(refuses_connection());
    w.server.then(ok(R"(["message"])"));
    const auto began = w.clock.now();

    const started waits(w, w.sessions.get_session_history("s1"));
    const started other(w, w.sessions.get_session_history("s2"));
    CHECK_FALSE(waits.done());
    CHECK(other.result() == R"(["other"])");
    w.advance(750ms - 1ns); // 250 ms, 500 ms
    CHECK_FALSE(waits.done());
    w.advance(1ns);

    CHECK(waits.result() == R"(["message"])");
    CHECK(w.clock.now() - began == 750ms);
    CHECK(w.retries().succeeded_after_retry == 1);
}

TEST_CASE("after three attempts a coroutine gives MongoDB's last error unchanged", "[asio][mongodb]") {
    mongodb_world w;
    rs::testing::recorder events(w.reg);
    w.server.then(resets_connection(), 2);
    w.server.then(status(primary_stepped_down));

    const started call(w, w.sessions.update_session_async("s1", "{}"));
    w.advance(1s);

    CHECK_THROWS_AS(call.result(), mongodb_error);
    CHECK(w.server.request_count() == 3);
    REQUIRE(events.count(rs::event_kind::retries_exhausted) == 1);
    CHECK(events.of_kind(rs::event_kind::retries_exhausted).front().operation == "update_session_async");
}

TEST_CASE("a coroutine whose MongoDB hangs is given up at the request's limit, and cancelled",
          "[asio][mongodb]") {
    mongodb_world w;
    const rs::timeout request_limit(2s, w.reg);
    w.server.then(status(primary_stepped_down));
    w.server.then(hangs());
    const auto request = [&] { return w.sessions.ensure_session_exists("s1"); };

    const started call(w, request_limit(request));
    w.advance(2s - 1ns);
    CHECK_FALSE(call.done());
    w.advance(1ns);

    CHECK_THROWS_AS(call.result(), rs::timeout_error);
    CHECK(w.server.request_count() == 2);
    CHECK(w.retries().calls == 1);
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("a client that goes away cancels its coroutine: MongoDB is not asked again", "[asio][mongodb]") {
    mongodb_world w;
    w.server.otherwise(status(primary_stepped_down));
    SECTION("in a delay") {
        const started call(w, w.sessions.create_session_async("s1", "{}"));
        call.cancel();
        w.advance(1min);
        CHECK_THROWS_AS(call.result(), mongodb_error);
        CHECK(w.server.request_count() == 1);
    }
    SECTION("in a request") {
        w.server.then(hangs());
        const started call(w, w.sessions.create_session_async("s1", "{}"));
        call.cancel();
        w.advance(1min);
        CHECK_THROWS_AS(call.result(), net_system_error);
        CHECK(w.server.request_count() == 1);
        CHECK(w.retries().failed_attempts == 1);
    }
}

TEST_CASE("two thousand coroutines outlast an outage of MongoDB on one thread, and make no retry storm",
          "[asio][mongodb]") {
    mongodb_world w;
    w.server.otherwise(status(primary_stepped_down));
    std::vector<started<std::string>> calls;
    for (int i = 0; i < 2'000; ++i) calls.emplace_back(w, w.sessions.get_session_history(std::to_string(i)));
    w.advance(200ms);
    w.server.otherwise(ok());
    w.advance(1s);

    const auto stats = w.retries();
    CHECK(stats.calls == 2'000);
    CHECK(stats.succeeded_after_retry + stats.failed_without_retry + stats.failed_after_retry == 2'000);
    CHECK(stats.succeeded_after_retry > 0);
    // The budget: a fifth of the calls, and ten a second.
    CHECK(stats.retries <= 2'000 / 5 + 20);
    CHECK(w.server.request_count() == 2'000 + stats.retries);
}
