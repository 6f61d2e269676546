// SPDX-License-Identifier: Apache-2.0
// The cases that the library's Python predecessor was tested with, group by group, and more of each kind.
// Those of its REST endpoints are in endpoints_test.cpp.
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include <resilience/testing/fixed_random.hpp>
#include <resilience/testing/scripted.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::testing::scripted;

using durations = std::vector<rs::duration>;

rs::testing::throws<std::runtime_error> failing(const char* text = "down") {
    return rs::testing::throws(std::runtime_error(text));
}

struct environment {
    rs::testing::virtual_clock clock;
    rs::registry registry{clock};

    /// The delays of a retry whose attempts all fail.
    durations delays(rs::retry_config config) {
        const auto before = clock.slept().size();
        config.budget = rs::retry_budget::unlimited();
        const scripted<int> always = scripted<int>{failing()}.repeat_last();
        CHECK_THROWS(rs::retry(std::move(config), registry)(always));
        auto all = clock.slept();
        all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(before));
        return all;
    }
    void fail(const rs::circuit_breaker& breaker, int times = 1) {
        for (int i = 0; i < times; ++i)
            CHECK_THROWS_AS(breaker(scripted<int>{failing()}), std::runtime_error);
    }
    void succeed(const rs::circuit_breaker& breaker, int times = 1) {
        for (int i = 0; i < times; ++i) CHECK(breaker(scripted<int>{1}) == 1);
    }
};

rs::circuit_breaker_config external_api() {
    return {.name = "external_api", .failure_threshold = 3, .success_threshold = 2, .recovery_timeout = 30s};
}

// Back-off: 5 cases.

TEST_CASE("seed, back-off: exponential delays double", "[seed]") {
    environment env;

    CHECK(env.delays({.max_attempts = 5, .base_delay = 1s, .jitter = rs::jitter::none}) ==
          durations{1s, 2s, 4s, 8s});
    CHECK(env.delays({.max_attempts = 4, .base_delay = 1s, .multiplier = 3.0, .jitter = rs::jitter::none}) ==
          durations{1s, 3s, 9s});
}

TEST_CASE("seed, back-off: linear delays grow by base_delay", "[seed]") {
    environment env;

    CHECK(env.delays({.max_attempts = 5,
                      .base_delay = 1s,
                      .strategy = rs::backoff::linear,
                      .jitter = rs::jitter::none}) == durations{1s, 2s, 3s, 4s});
}

TEST_CASE("seed, back-off: constant delays stay the same", "[seed]") {
    environment env;

    CHECK(env.delays({.max_attempts = 5,
                      .base_delay = 2s,
                      .strategy = rs::backoff::constant,
                      .jitter = rs::jitter::none}) == durations{2s, 2s, 2s, 2s});
}

TEST_CASE("seed, back-off: no delay is longer than max_delay", "[seed]") {
    environment env;
    for (const auto strategy : {rs::backoff::constant, rs::backoff::linear, rs::backoff::exponential}) {
        const auto all = env.delays({.max_attempts = 100,
                                     .base_delay = 3s,
                                     .max_delay = 10s,
                                     .strategy = strategy,
                                     .jitter = rs::jitter::proportional});
        REQUIRE(all.size() == 99);
        CHECK(*std::max_element(all.begin(), all.end()) <= 10s);
    }
    CHECK(env.delays({.max_attempts = 6, .base_delay = 1s, .max_delay = 5s, .jitter = rs::jitter::none}) ==
          durations{1s, 2s, 4s, 5s, 5s});
}

TEST_CASE("seed, back-off: jitter makes delays random, from nothing to the full delay", "[seed]") {
    environment env;
    const auto all = env.delays({.max_attempts = 101,
                                 .base_delay = 1s,
                                 .strategy = rs::backoff::constant,
                                 .jitter = rs::jitter::full});

    CHECK(std::set(all.begin(), all.end()).size() > 90);
    CHECK(*std::min_element(all.begin(), all.end()) < 250ms);
    CHECK(*std::max_element(all.begin(), all.end()) > 750ms);
    CHECK(*std::max_element(all.begin(), all.end()) <= 1s);
}

// Retry: 8 cases.

TEST_CASE("seed, retry: a call that succeeds at once is made once", "[seed]") {
    environment env;
    const scripted<std::string> api{"data"};

    CHECK(rs::retry({}, env.registry)(api) == "data");
    CHECK(api.calls() == 1);
    CHECK(env.clock.slept().empty());
}

TEST_CASE("seed, retry: a call that fails twice succeeds at the third attempt", "[seed]") {
    environment env;
    const scripted<std::string> api{failing(), failing(), "data"};

    CHECK(rs::retry({.max_attempts = 3}, env.registry)(api) == "data");
    CHECK(api.calls() == 3);
}

TEST_CASE("seed, retry: after max_attempts the last exception goes out", "[seed]") {
    environment env;
    const scripted<int> api{failing("first"), failing("second"), failing("third"), 4};

    CHECK_THROWS_WITH(rs::retry({.max_attempts = 3}, env.registry)(api), "third");
    CHECK(api.calls() == 3);
}

TEST_CASE("seed, retry: only the exceptions that are named are retried", "[seed]") {
    environment env;
    const rs::retry retry({.retry_if = rs::on<std::runtime_error>()}, env.registry);
    const scripted<int> retried{failing(), 1};
    const scripted<int> not_retried{rs::testing::throws(std::logic_error("bug")), 1};

    CHECK(retry(retried) == 1);
    CHECK_THROWS_AS(retry(not_retried), std::logic_error);
    CHECK(not_retried.calls() == 1);
}

TEST_CASE("seed, retry: a condition of one's own decides, as by the status of an HTTP error", "[seed]") {
    struct http_error : std::runtime_error {
        explicit http_error(int s) : std::runtime_error("HTTP " + std::to_string(s)), status(s) {}
        int status;
    };
    environment env;
    const rs::retry retry(
        {.retry_if = !rs::on<http_error>([](const http_error& e) { return e.status == 404; })}, env.registry);
    const scripted<int> missing{rs::testing::throws(http_error(404)), 1};
    const scripted<int> unavailable{rs::testing::throws(http_error(503)), 1};

    CHECK_THROWS_AS(retry(missing), http_error);
    CHECK(missing.calls() == 1);
    CHECK(retry(unavailable) == 1);
}

TEST_CASE("seed, retry: max_attempts of 1 never retries", "[seed]") {
    environment env;
    const scripted<int> api{failing(), 1};

    CHECK_THROWS_AS(rs::retry({.max_attempts = 1}, env.registry)(api), std::runtime_error);
    CHECK(api.calls() == 1);
}

TEST_CASE("seed, retry: a decorated function takes its arguments as before, at every attempt", "[seed]") {
    environment env;
    std::vector<std::string> seen;
    const auto greet = rs::retry({}, env.registry).wrap([&](const std::string& name, int number) {
        seen.push_back(name + std::to_string(number));
        if (seen.size() < 3) throw std::runtime_error("down");
        return seen.back();
    });

    CHECK(greet("Ada", 7) == "Ada7");
    CHECK(seen == std::vector<std::string>{"Ada7", "Ada7", "Ada7"});
}

TEST_CASE("seed, retry: each failed attempt is reported with what the logs need", "[seed]") {
    environment env;
    std::vector<rs::event> failed;
    const auto listening = env.registry.subscribe([&](const rs::event& e) {
        if (e.kind == rs::event_kind::attempt_failed) failed.push_back(e);
    });
    const rs::retry retry({.base_delay = 1s, .jitter = rs::jitter::none}, env.registry);

    CHECK_THROWS(retry.named("fetch_data")(scripted<int>{failing(), failing(), failing()}));

    REQUIRE(failed.size() == 3);
    for (unsigned i = 0; i < 3; ++i) {
        CHECK(failed[i].operation == "fetch_data");
        CHECK(failed[i].attempt == i + 1);
        CHECK(failed[i].max_attempts == 3);
        CHECK(failed[i].error_type == "std::runtime_error");
    }
    CHECK(failed[0].delay == rs::duration(1s));
    CHECK(failed[1].delay == rs::duration(2s));
    CHECK_FALSE(failed[2].delay.has_value());
}

TEST_CASE("seed, retry: the synchronous call also serves functions without a result and member functions",
          "[seed]") {
    struct repository {
        int calls = 0;
        void save() {
            if (++calls < 2) throw std::runtime_error("down");
        }
    };
    environment env;
    repository r;

    rs::retry({}, env.registry)(&repository::save, r);

    CHECK(r.calls == 2);
}

TEST_CASE("seed, retry: settings that make no sense are refused by name", "[seed]") {
    environment env;

    CHECK_THROWS_WITH(rs::retry({.max_attempts = 0}, env.registry),
                      "retry_config.max_attempts is 0; it must be 1 or more (1: never retry)");
    CHECK_THROWS_AS(rs::retry({.base_delay = -1s}, env.registry), std::invalid_argument);
}

// Circuit breaker: 7 cases.

TEST_CASE("seed, circuit breaker: it begins closed and lets calls pass", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);

    env.succeed(breaker, 10);

    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("seed, circuit breaker: it opens at failure_threshold", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);

    env.fail(breaker, 2);
    CHECK(breaker.state() == rs::circuit_state::closed);

    env.fail(breaker);
    CHECK(breaker.state() == rs::circuit_state::open);
}

TEST_CASE("seed, circuit breaker: open, it refuses without making the call", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    env.fail(breaker, 3);
    const scripted<int> api{1};

    CHECK_THROWS_AS(breaker(api), rs::circuit_open_error);
    CHECK(api.calls() == 0);
}

TEST_CASE("seed, circuit breaker: after recovery_timeout it is half-open", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    env.fail(breaker, 3);

    env.clock.advance(30s - 1ns);
    CHECK_THROWS_AS(breaker(scripted<int>{1}), rs::circuit_open_error);

    env.clock.advance(1ns);
    env.succeed(breaker);
    CHECK(breaker.state() == rs::circuit_state::half_open);
}

TEST_CASE("seed, circuit breaker: half-open, success_threshold successes close it", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    env.fail(breaker, 3);
    env.clock.advance(30s);

    env.succeed(breaker, 2);

    CHECK(breaker.state() == rs::circuit_state::closed);
    env.fail(breaker, 2); // the count begins anew
    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("seed, circuit breaker: half-open, one failure opens it again", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    env.fail(breaker, 3);
    env.clock.advance(30s);
    env.succeed(breaker);

    env.fail(breaker);

    CHECK(breaker.state() == rs::circuit_state::open);
    CHECK_THROWS_AS(breaker(scripted<int>{1}), rs::circuit_open_error);
}

TEST_CASE("seed, circuit breaker: a fallback answers while it is open", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    const auto guard = rs::fallback(-1) | breaker;
    env.fail(breaker, 3);
    const scripted<int> api{1};

    CHECK(guard(api) == -1);
    CHECK(api.calls() == 0);
}

TEST_CASE("seed, circuit breaker: failures older than failure_window do not count", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    env.fail(breaker, 2);

    env.clock.advance(60s);
    env.fail(breaker, 2);
    CHECK(breaker.state() == rs::circuit_state::closed);

    env.clock.advance(60s - 1ns);
    env.fail(breaker);
    CHECK(breaker.state() == rs::circuit_state::open);
}

TEST_CASE("seed, circuit breaker: reset closes it by hand", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    env.fail(breaker, 3);

    breaker.reset("the vendor called");

    env.succeed(breaker);
    CHECK(breaker.stats().reason == "the vendor called");
}

TEST_CASE("seed, circuit breaker: the same name is the same circuit, whoever asks", "[seed]") {
    environment env;
    const rs::circuit_breaker one(external_api(), env.registry);
    const rs::circuit_breaker other(external_api(), env.registry);

    env.fail(one, 3);

    CHECK_THROWS_AS(other(scripted<int>{1}), rs::circuit_open_error);
    CHECK(env.registry.find<rs::circuit_breaker>("external_api")->state() == rs::circuit_state::open);
}

// Statistics: 2 cases.

TEST_CASE("seed, statistics: a snapshot counts successes, failures, rejections and trips", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    const auto opened = env.clock.wall_now();
    env.succeed(breaker, 4);
    env.fail(breaker, 3);
    CHECK_FALSE(breaker.try_acquire().has_value());

    const auto stats = breaker.stats();
    CHECK(stats.name == "external_api");
    CHECK(stats.state == rs::circuit_state::open);
    CHECK(stats.failure_count == 3);
    CHECK(stats.failure_threshold == 3);
    CHECK(stats.success_count == 0);
    CHECK(stats.success_threshold == 2);
    CHECK(stats.opened_at == opened);
    CHECK(stats.last_failure_time == opened);
    CHECK(stats.calls == 7);
    CHECK(stats.successes == 4);
    CHECK(stats.failures == 3);
    CHECK(stats.rejected == 1);
    CHECK(stats.trips == 1);
    REQUIRE(stats.last_error.has_value());
    CHECK(stats.last_error->type == "std::runtime_error");
    CHECK(stats.last_error->message == "down");
}

TEST_CASE("seed, statistics: the registry knows all circuits by name", "[seed]") {
    environment env;
    const rs::circuit_breaker jira({.name = "jira_api"}, env.registry);
    const rs::circuit_breaker confluence({.name = "confluence_api"}, env.registry);
    const rs::circuit_breaker nobodys({}, env.registry);
    env.succeed(jira, 3);

    const auto all = env.registry.circuit_breakers();
    REQUIRE(all.size() == 2);
    CHECK(all[0].name == "confluence_api");
    CHECK(all[1].name == "jira_api");
    CHECK(all[1].success_count == 3);
    CHECK(env.registry.circuit_breaker("jira_api")->failure_threshold == 5);
    CHECK_FALSE(env.registry.circuit_breaker("nobody").has_value());
}

TEST_CASE("seed, statistics: a retry counts calls, attempts and what became of them", "[seed]") {
    environment env;
    const rs::retry retry({}, env.registry);
    retry(scripted<int>{1});
    retry(scripted<int>{failing(), 1});
    CHECK_THROWS(retry(scripted<int>{failing(), failing(), failing()}));

    const auto stats = retry.stats();
    CHECK(stats.calls == 3);
    CHECK(stats.succeeded_at_once == 1);
    CHECK(stats.succeeded_after_retry == 1);
    CHECK(stats.failed_after_retry == 1);
    CHECK(stats.failed_attempts == 4);
    CHECK(stats.retries == 3);
    CHECK(stats.exhausted == 1);
}

// Timeout: 3 cases.

TEST_CASE("seed, timeout: a call in time returns its value", "[seed]") {
    environment env;
    const rs::timeout limit(2s, env.registry);
    const scripted<int> api(env.clock, {rs::testing::after(1s, 1), rs::testing::after(2s, 2)});

    CHECK(limit(api) == 1);
    CHECK(limit(api) == 2);
}

TEST_CASE("seed, timeout: a call beyond its limit fails", "[seed]") {
    environment env;
    const rs::timeout limit({.name = "search", .limit = 2s}, env.registry);
    const scripted<int> api(env.clock, {rs::testing::after(2s + 1ns, 1)});

    try {
        limit(api);
        FAIL("it was in time");
    } catch (const rs::timeout_error& e) {
        CHECK(e.code() == rs::errc::timed_out);
        CHECK(e.code() == std::errc::timed_out);
        CHECK(e.policy() == "search");
        CHECK(std::string(e.what()) == "timeout 'search': no result within 2s");
    }
}

TEST_CASE("seed, timeout: what is thrown can be an exception of one's own", "[seed]") {
    struct too_slow : std::runtime_error {
        using std::runtime_error::runtime_error;
    };
    environment env;
    const rs::timeout limit(
        {.limit = 2s,
         .make_exception =
             [](const rs::failure& why) { return std::make_exception_ptr(too_slow(why.message())); }},
        env.registry);
    const scripted<int> api(env.clock, {rs::testing::after(3s, 1)});

    CHECK_THROWS_AS(limit(api), too_slow);
}

TEST_CASE("seed, timeout: the callable learns how much time is left", "[seed]") {
    environment env;
    const rs::timeout limit(2s, env.registry);

    limit([&](rs::call_context& ctx) {
        CHECK(ctx.remaining() == 2s);
        env.clock.advance(500ms);
        CHECK(ctx.remaining() == 1500ms);
    });
}

// Integration: 3 cases.

TEST_CASE("seed, integration: retry around circuit breaker, each attempt counts", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    const auto guard = rs::retry({}, env.registry) | breaker;
    const scripted<int> api{failing(), failing(), 1};

    CHECK(guard(api) == 1);

    CHECK(api.calls() == 3);
    CHECK(breaker.stats().failure_count == 2);
    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("seed, integration: an open circuit is not retried", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    const auto guard = rs::retry({.max_attempts = 10}, env.registry) | breaker;
    const scripted<int> api = scripted<int>{failing()}.repeat_last();

    CHECK_THROWS_AS(guard(api), std::runtime_error); // the third attempt trips it
    CHECK(api.calls() == 3);
    const auto slept = env.clock.slept().size();

    CHECK_THROWS_AS(guard(api), rs::circuit_open_error);
    CHECK(api.calls() == 3);
    CHECK(env.clock.slept().size() == slept);
}

TEST_CASE("seed, integration: a condition that says yes to all but 404 does not wait for an open circuit",
          "[seed]") {
    struct http_error : std::runtime_error {
        using std::runtime_error::runtime_error;
    };
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    const rs::retry retry({.retry_if = !rs::on<http_error>()}, env.registry);
    env.fail(breaker, 3);
    const scripted<int> api = scripted<int>{1}.repeat_last();

    CHECK_THROWS_AS((retry | breaker)(api), rs::circuit_open_error);
    CHECK_THROWS_AS(retry([&] { return breaker(api); }),
                    rs::circuit_open_error); // thrown by another pipeline
    CHECK(env.clock.slept().empty());

    env.clock.advance(30s - 1ns); // less than the delay before the retry, which then finds it willing
    CHECK((retry | breaker)(api) == 1);
}

TEST_CASE("seed, integration: retry around circuit breaker around timeout", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    const auto guard = rs::retry({.base_delay = 1s, .jitter = rs::jitter::none}, env.registry) | breaker |
                       rs::timeout(2s, env.registry);
    const scripted<int> api(env.clock, {rs::testing::after(5s, 1), failing(), rs::testing::after(1s, 3)});

    CHECK(guard(api) == 3);

    CHECK(api.calls() == 3);
    CHECK(breaker.stats().failures == 2); // one was late, one failed
}

TEST_CASE("seed, integration: circuit breaker around retry, each call counts", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    const auto guard = breaker | rs::retry({}, env.registry);
    const scripted<int> api = scripted<int>{failing()}.repeat_last();

    CHECK_THROWS_AS(guard(api), std::runtime_error);

    CHECK(api.calls() == 3);
    CHECK(breaker.stats().failure_count == 1);
}

TEST_CASE("seed, integration: a service recovers after its outage", "[seed]") {
    environment env;
    const rs::circuit_breaker breaker(external_api(), env.registry);
    const auto guard = rs::retry({}, env.registry) | breaker;
    const scripted<int> api = scripted<int>{failing(), failing(), failing(), failing(), 1}.repeat_last();

    CHECK_THROWS_AS(guard(api), std::runtime_error);
    env.clock.advance(30s);
    CHECK_THROWS_AS(guard(api), std::runtime_error); // the probe fails
    env.clock.advance(30s);
    CHECK(guard(api) == 1);
    CHECK(guard(api) == 1);

    CHECK(breaker.state() == rs::circuit_state::closed);
    CHECK(breaker.stats().trips == 1);
    CHECK(api.calls() == 6);
}

} // namespace
