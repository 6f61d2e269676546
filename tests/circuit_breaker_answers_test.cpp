// SPDX-License-Identifier: Apache-2.0
// What the answers of a server do to a circuit: answers that it dislikes, throttles, hints.
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using circuits::circuit_world;
using circuits::fail;
using rs::circuit_state;
using support::heard;
using support::http_answer;
using support::http_error;

/// Answers of a server, returned or thrown.
enum class as { value, exception };
void get(const rs::circuit_breaker& circuit, as how, int status, std::optional<rs::duration> hint = {}) {
    if (how == as::value) (void)circuit.try_call([&] { return http_answer{status, hint}; });
    else (void)circuit.try_call([&] { throw http_error(status, hint); });
}

TEST_CASE("answers of 404 close a half-open circuit", "[circuit_breaker][H-USE-09]") {
    const as how = GENERATE(as::value, as::exception);
    const int status = GENERATE(404, 400, 401, 403, 409, 422, 501, 505);
    circuit_world w;
    const auto circuit = w.make_ready();

    get(circuit, how, status);
    CHECK(circuit.state() == circuit_state::half_open);
    get(circuit, how, status);

    CHECK(circuit.state() == circuit_state::closed);
}

TEST_CASE("answers of 404 end a row of failures and fill a window as successes",
          "[circuit_breaker][H-USE-09]") {
    const as how = GENERATE(as::value, as::exception);
    circuit_world w;
    const auto row = w.make({.name = "row", .consecutive_failures = 3});
    const auto rate = w.make({.name = "rate", .failure_rate_threshold = 0.5, .minimum_calls = 4});

    for (const int status : {503, 503, 404, 503, 503}) get(row, how, status);
    for (const int status : {503, 404, 404, 501}) get(rate, how, status);

    CHECK(row.state() == circuit_state::closed);
    CHECK(rate.stats().failure_rate == 0.25);
}

TEST_CASE("what a server dislikes leaves the call as before: a value that is one, an exception",
          "[circuit_breaker][H-USE-09]") {
    circuit_world w;
    const auto guard = rs::retry(support::at_once(3), w.reg) | w.make();

    CHECK(guard.try_call([] { return http_answer{404}; }).has_value());
    CHECK_FALSE(guard.try_call([] { return http_answer{501}; }).has_value());
    CHECK(guard([] { return http_answer{501}; }).status == 501);
    CHECK_THROWS_AS(guard([] { throw http_error(404); }), http_error);
    CHECK_THROWS_AS(guard([] { throw http_error(505); }), http_error);
}

TEST_CASE("a throttle opens no circuit and closes none", "[circuit_breaker][H-USE-10]") {
    const as how = GENERATE(as::value, as::exception);
    const auto [status, hint] = GENERATE(std::pair<int, std::optional<rs::duration>>{429, std::nullopt},
                                         std::pair<int, std::optional<rs::duration>>{429, 0s},
                                         std::pair<int, std::optional<rs::duration>>{403, 0s});
    circuit_world w;
    const auto closed = w.make({.name = "closed", .failure_threshold = 1, .consecutive_failures = 1});
    const auto ready = w.make_ready({.name = "ready"});

    for (int i = 0; i < 20; ++i) get(closed, how, status, hint);
    for (int i = 0; i < 20; ++i) get(ready, how, status, hint);

    CHECK(closed.state() == circuit_state::closed);
    CHECK(closed.stats().ignored == 20);
    CHECK(ready.state() == circuit_state::half_open);
    CHECK(ready.stats().rejected == 0);
}

TEST_CASE("record_if may count a throttle", "[circuit_breaker][H-USE-10]") {
    const as how = GENERATE(as::value, as::exception);
    circuit_world w;
    const auto circuit =
        w.make({.failure_threshold = 2, .record_if = rs::default_rule() || [](const rs::failure& f) {
                    return f.http_status() == 429;
                }});

    get(circuit, how, 429);
    get(circuit, how, 503);

    CHECK(circuit.state() == circuit_state::open);
}

TEST_CASE("a probe that is answered by a throttle gives its place back, and the next one waits for the hint",
          "[circuit_breaker][H-USE-10]") {
    const as how = GENERATE(as::value, as::exception);
    circuit_world w;
    const auto circuit = w.make_ready({.name = "db", .success_threshold = 1});

    get(circuit, how, 429, 7s);
    CHECK(circuit.state() == circuit_state::half_open);
    CHECK(circuit.stats().retry_after == 7s);
    w.clock.advance(2s);
    CHECK(circuit.try_call([] {}).error().message() ==
          "circuit 'db' is half-open and waits for as long as the server asked; next probe in 5s");
    w.clock.advance(5s - 1ns);
    const auto early = circuit.try_call([] {});
    CHECK(early.error().retry_after() == rs::duration{1ns});
    w.clock.advance(1ns);
    CHECK_FALSE(circuit.stats().retry_after);
    get(circuit, how, 200);

    CHECK(circuit.state() == circuit_state::closed);
}

TEST_CASE("a half-open circuit refuses by the reason that holds at that moment",
          "[circuit_breaker][H-USE-10]") {
    circuit_world w;
    const heard h{w.reg};
    const auto circuit = w.make_ready({.name = "db", .success_threshold = 2, .half_open_max_calls = 2});
    auto first = circuit.try_acquire();
    const auto second = circuit.try_acquire();
    const auto refused = [&] { return circuit.try_call([] {}).error(); };

    CHECK(refused().message() == "circuit 'db' is half-open and all its probe places are taken");
    rs::outcome<http_answer> throttled;
    throttled.run_and_store([] { return http_answer{429, 7s}; });
    first->settle(throttled); // its place is free again, and not to be had
    const rs::failure held_back = refused();
    CHECK(held_back.message() ==
          "circuit 'db' is half-open and waits for as long as the server asked; next probe in 7s");
    CHECK(held_back.retry_after() == rs::duration{7s});
    const auto events = h.of(rs::event_kind::call_rejected);
    REQUIRE(events.size() == 2);
    CHECK(events[1].error == held_back.message());
    CHECK(events[1].delay == rs::duration{7s});
    CHECK(events[1].to == circuit_state::half_open);
    CHECK_THROWS_WITH(circuit([] {}), held_back.message());

    w.clock.advance(7s);
    first = circuit.try_acquire();
    CHECK(first);
    CHECK(refused().message() == "circuit 'db' is half-open and all its probe places are taken");
    CHECK_FALSE(refused().retry_after());
}

TEST_CASE("a hint to a probe is bounded by max_break", "[circuit_breaker][H-USE-10]") {
    circuit_world w;
    const auto circuit = w.make_ready({.success_threshold = 1, .max_break = 5s});

    get(circuit, as::value, 429, 24h);
    w.clock.advance(5s);

    CHECK(circuit.try_acquire());
}

TEST_CASE("a retry around a half-open circuit stops with the throttle if it would come too early",
          "[circuit_breaker][H-USE-10]") {
    circuit_world w;
    const auto circuit = w.make_ready();
    auto config = support::at_once(3);
    config.respect_retry_after = false;
    const auto guard = rs::retry(config, w.reg) | circuit;

    const auto answer = guard.try_call([] { return http_answer{429, 7s}; });

    CHECK(answer.error().http_status() == 429);
    CHECK(circuit.stats().rejected == 0);
}

TEST_CASE("a trip lasts at least as long as the hint of the failure that caused it",
          "[circuit_breaker][H-USE-11]") {
    const as how = GENERATE(as::value, as::exception);
    circuit_world w;
    const auto circuit = w.make({.failure_threshold = 2, .success_threshold = 1});

    get(circuit, how, 503);
    get(circuit, how, 503, 120s);
    CHECK(circuit.stats().retry_after == 120s);
    w.clock.advance(120s - 1ns);
    CHECK_FALSE(circuit.try_acquire());
    w.clock.advance(1ns);
    get(circuit, how, 503, 40s); // the probe fails: as long again as the server says
    CHECK(circuit.stats().retry_after == 40s);
    w.clock.advance(40s);
    get(circuit, how, 503, 10s);
    CHECK(circuit.stats().retry_after == 30s); // recovery_timeout is longer

    w.clock.advance(30s);
    get(circuit, how, 200);
    CHECK(circuit.state() == circuit_state::closed);
}

TEST_CASE("the break that a failure asks for is bounded by max_break", "[circuit_breaker][H-USE-11]") {
    circuit_world w;
    const auto asking = [](const rs::failure&) { return std::optional<rs::duration>(24h); };
    const auto hinted = w.make({.name = "hinted", .failure_threshold = 1});
    const auto short_ = w.make({.name = "short", .failure_threshold = 1, .max_break = 60s});
    const auto long_ =
        w.make({.name = "long", .failure_threshold = 1, .recovery_timeout = 1h, .max_break = 60s});
    const auto asked = w.make({.name = "asked", .break_duration_of = asking, .max_break = 60s});

    for (const auto& c : {hinted, short_, long_, asked}) get(c, as::exception, 503, 24h);

    CHECK(hinted.stats().retry_after == 10min);
    CHECK(short_.stats().retry_after == 60s);
    CHECK(long_.stats().retry_after == 1h);
    CHECK(asked.stats().retry_after == 60s);
}

TEST_CASE("a permit's failure has a hint, an update changes max_break, other trips have neither",
          "[circuit_breaker][H-USE-11]") {
    circuit_world w;
    rs::circuit_breaker_config config{.failure_threshold = 1};
    const auto circuit = w.make(config);
    const rs::failure busy(std::make_exception_ptr(http_error(503, 24h)));
    config.max_break = 45s;

    circuit.try_acquire()->failure(busy);
    CHECK(circuit.stats().retry_after == 10min);
    circuit.reset();
    circuit.update(config);
    circuit.try_acquire()->failure(busy);
    CHECK(circuit.stats().retry_after == 45s);
    circuit.reset();
    circuit.try_acquire()->failure();
    CHECK(circuit.stats().retry_after == 30s);
    circuit.open_for(5s);
    CHECK(circuit.stats().retry_after == 5s);
}

TEST_CASE("max_break must be more than 0", "[circuit_breaker][H-USE-11]") {
    CHECK(rs::validate(rs::circuit_breaker_config{.max_break = 0s}) ==
          "circuit_breaker_config.max_break is 0ns; it must be more than 0");
    CHECK(rs::validate(rs::circuit_breaker_config{.max_break = 1ns}).empty());
}

TEST_CASE("record_if and ignore_if see the same in values and in exceptions", "[circuit_breaker][H-USE-09]") {
    const rs::predicate is_404 = [](const rs::failure& f) { return f.http_status() == 404; };
    const rs::predicate any = [](const rs::failure&) { return true; };
    const auto none = rs::on_result<http_answer>([](const http_answer&) { return false; });
    const auto teapot = rs::on_result<http_answer>([](const http_answer& a) { return a.status == 418; }) ||
                        rs::on<http_error>([](const http_error& e) { return e.http_status() == 418; });
    struct row {
        rs::predicate record_if, ignore_if;
        std::vector<std::pair<int, rs::verdict>> verdicts;
    };
    constexpr auto good = rs::verdict::success, bad = rs::verdict::failure, nothing = rs::verdict::ignored;
    const std::vector<row> rows = {
        {{}, {}, {{200, good}, {404, good}, {429, nothing}, {501, good}, {503, bad}}},
        {is_404, {}, {{200, good}, {404, bad}, {429, good}, {503, good}}},
        {any, {}, {{200, good}, {404, bad}, {429, bad}, {501, bad}, {503, bad}}},
        {{}, is_404, {{200, good}, {404, nothing}, {503, bad}}},
        {{}, any, {{200, good}, {404, nothing}, {501, nothing}, {503, nothing}}},
        {rs::default_rule(), {}, {{200, good}, {404, good}, {429, nothing}, {501, good}, {503, bad}}},
        {rs::default_rule() || is_404, {}, {{200, good}, {404, bad}, {429, nothing}, {503, bad}}},
        {rs::default_rule() && !is_404, {}, {{200, good}, {404, good}, {429, nothing}, {503, bad}}},
        {none, {}, {{200, good}, {404, good}, {429, nothing}, {501, good}, {503, bad}}},
        {none || is_404, {}, {{200, good}, {404, bad}, {503, good}}},
        {teapot, {}, {{200, good}, {418, bad}, {404, good}, {503, good}}},
        {{}, !rs::default_rule(), {{200, good}, {404, nothing}, {503, bad}}},
        {{}, none, {{200, good}, {404, good}, {503, bad}}},
    };
    std::size_t number = 0;
    for (const row& r : rows) {
        for (const auto& [status, expected] : r.verdicts) {
            for (const as how : {as::value, as::exception}) {
                if (how == as::exception && status == 200) continue;
                CAPTURE(number, status, how == as::value);
                circuit_world w;
                const auto circuit =
                    w.make({.failure_threshold = 9, .record_if = r.record_if, .ignore_if = r.ignore_if});
                get(circuit, how, status);
                CHECK(circuit.stats().successes == (expected == good ? 1 : 0));
                CHECK(circuit.stats().failures == (expected == bad ? 1 : 0));
                CHECK(circuit.stats().ignored == (expected == nothing ? 1 : 0));
            }
        }
        ++number;
    }
}

TEST_CASE("a record_if of values alone leaves exceptions and time-outs to the default rule",
          "[circuit_breaker][H-USE-09]") {
    circuit_world w;
    const auto circuit =
        w.make({.failure_threshold = 9, .record_if = rs::on_result<int>([](int n) { return n < 0; })});

    fail(circuit);
    (void)circuit.try_call([] { throw http_error(404); });
    (void)circuit.try_call([] { throw http_error(429); });
    (void)circuit.try_call([] { throw rs::timeout_error(rs::errc::timed_out, "", "late"); });
    (void)circuit.try_call([] { return -1; });
    (void)circuit.try_call([] { return 1; });

    CHECK(circuit.stats().failures == 3);
    CHECK(circuit.stats().successes == 2);
    CHECK(circuit.stats().ignored == 1);
}

TEST_CASE("a refusal further in is no hint of the server's", "[circuit_breaker][H-USE-11]") {
    circuit_world w;
    const auto inner = w.make({.name = "inner", .recovery_timeout = 300s});
    const auto outer = w.make({.name = "outer", .success_threshold = 1, .recovery_timeout = 30s});
    outer.open();
    inner.open();
    w.clock.advance(31s);

    (void)outer.try_call([&] { return inner([] { return 1; }); });
    (void)outer.try_call([] { return 1; });

    CHECK(outer.state() == circuit_state::closed);
}

TEST_CASE("the hint of a trip is found behind exhausted retries", "[circuit_breaker][H-USE-11]") {
    const as how = GENERATE(as::value, as::exception);
    circuit_world w;
    const auto circuit = w.make({.name = "c", .failure_threshold = 1, .recovery_timeout = 30s});
    const rs::retry retry({.max_attempts = 2, .max_retry_after = 300s, .wrap_exhausted = true}, w.reg);
    const auto guard = circuit | retry;

    if (how == as::value) (void)guard.try_call([] { return http_answer{503, 120s}; });
    else (void)guard.try_call([] { throw http_error(503, 120s); });

    CHECK(circuit.stats().retry_after == 120s);
}

TEST_CASE("a value with a status of 0 or less is no answer", "[circuit_breaker][H-USE-09]") {
    const int status = GENERATE(0, -1);
    circuit_world w;
    const auto circuit = w.make({.name = "c", .failure_threshold = 1});

    get(circuit, as::value, status);

    CHECK(circuit.state() == circuit_state::open);
}

TEST_CASE("break_duration_of is asked about a throttle, too", "[circuit_breaker]") {
    const as how = GENERATE(as::value, as::exception);
    circuit_world w;
    const auto circuit =
        w.make({.name = "c", .break_duration_of = [](const rs::failure& f) { return f.retry_after(); }});

    get(circuit, how, 429);
    CHECK(circuit.state() == circuit_state::closed);
    get(circuit, how, 429, 5s);

    CHECK(circuit.stats().retry_after == 5s);
}

TEST_CASE("a throttle that ignore_if names asks for no break", "[circuit_breaker][H-USE-10]") {
    const as how = GENERATE(as::value, as::exception);
    circuit_world w;
    const auto circuit = w.make({.name = "c",
                                 .ignore_if = [](const rs::failure& f) { return f.http_status() == 429; },
                                 .break_duration_of = [](const rs::failure& f) { return f.retry_after(); }});

    get(circuit, how, 429, 5s);

    CHECK(circuit.state() == circuit_state::closed);
    CHECK(circuit.stats().ignored == 1);
}

TEST_CASE("a permit by hand is a probe for as long as the call around it may take", "[circuit_breaker]") {
    circuit_world w;
    const auto circuit =
        w.make({.name = "c", .success_threshold = 1, .recovery_timeout = 30s, .probe_lease = 60s});
    const rs::timeout limit({.limit = 500s}, w.reg);
    circuit.open();
    w.clock.advance(31s);

    limit([&] {
        auto probe = circuit.try_acquire();
        REQUIRE(probe);
        w.clock.advance(90s);
        CHECK(probe->success());
    });

    CHECK(circuit.state() == circuit_state::closed);
}

} // namespace
