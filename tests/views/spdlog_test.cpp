// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

#include <resilience/abandoning_timeout.hpp>
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/spdlog.hpp>
#include <resilience/testing/virtual_clock.hpp>
#include <resilience/timeout.hpp>

#include <pthread.h>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <spdlog/sinks/base_sink.h>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
namespace level = spdlog::level;

/// Keeps lines as `level|text`.
class memory_sink : public spdlog::sinks::base_sink<std::mutex> {
public:
    std::vector<std::string> lines;
    std::function<void()> on_line;

protected:
    void sink_it_(const spdlog::details::log_msg& msg) override {
        const auto name = level::to_string_view(msg.level);
        lines.push_back(std::string(name.data(), name.size()) + "|" +
                        std::string(msg.payload.data(), msg.payload.size()));
        if (on_line) on_line();
    }
    void flush_() override {}
};

struct log_fixture {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    std::shared_ptr<memory_sink> sink = std::make_shared<memory_sink>();
    std::shared_ptr<spdlog::logger> logger = std::make_shared<spdlog::logger>("test", sink);

    log_fixture() { logger->set_level(level::info); }
    rs::event stamped(rs::event e) const {
        e.wall = rs::testing::virtual_clock::start_wall_time;
        return e;
    }
    /// The line for an event that no policy of ours has to cause.
    std::string line(const rs::event& e, rs::log_options options = {}) {
        logger->set_level(level::trace);
        const auto logging = rs::log_events(reg, logger, std::move(options));
        reg.env()->publish(e);
        return sink->lines.empty() ? "" : sink->lines.back();
    }
};

rs::event failed(std::string error) {
    rs::event e{.kind = rs::event_kind::attempt_failed,
                .policy_kind = "retry",
                .policy = "jira_api",
                .operation = "search_issues"};
    e.attempt = 1;
    e.max_attempts = 3;
    e.delay = 1s;
    e.error_type = "std::runtime_error";
    e.error = std::move(error);
    return e;
}

TEST_CASE("failed attempts, recovery and exhaustion are logged with the words and keys that people grep for",
          "[spdlog]") {
    log_fixture f;
    const rs::retry retry{{.name = "jira_api", .base_delay = 1s, .jitter = rs::jitter::none}, f.reg};
    const auto logging = rs::log_events(f.reg, f.logger);
    int calls = 0;

    retry.named("search_issues")([&] {
        if (++calls < 2) throw std::runtime_error("server is down");
    });
    CHECK_THROWS(retry.named("get_issue")([]() -> int { throw std::runtime_error("down"); }));

    CHECK(
        f.sink->lines ==
        std::vector<std::string>{
            R"(warning|Attempt 1/3 failed function=search_issues error_type=std::runtime_error retry_delay=1s policy=jira_api error="server is down")",
            R"(info|Attempt 2/3 succeeded function=search_issues policy=jira_api)",
            R"(warning|Attempt 1/3 failed function=get_issue error_type=std::runtime_error retry_delay=1s policy=jira_api error=down)",
            R"(warning|Attempt 2/3 failed function=get_issue error_type=std::runtime_error retry_delay=2s policy=jira_api error=down)",
            R"(error|All 3 attempts failed function=get_issue error_type=std::runtime_error policy=jira_api last_error=down reason=max_attempts)"});
}

TEST_CASE("a circuit is logged through trip, probe and recovery", "[spdlog]") {
    log_fixture f;
    const rs::circuit_breaker breaker{
        {.name = "jira_api", .failure_threshold = 2, .success_threshold = 1, .recovery_timeout = 30s}, f.reg};
    const auto logging = rs::log_events(f.reg, f.logger);
    const auto fail = []() -> int { throw std::runtime_error("HTTP 503"); };

    CHECK_THROWS(breaker(fail));
    CHECK_THROWS(breaker(fail));
    CHECK_THROWS_AS(breaker(fail), rs::circuit_open_error);
    f.clock.advance(30s);
    breaker([] {});
    breaker.force_open("maintenance");

    REQUIRE(f.sink->lines.size() == 4);
    CHECK(f.sink->lines[0].starts_with(
        R"(warning|Circuit breaker 'jira_api' opened circuit_name=jira_api failure_count=2 last_error="HTTP 503" error_type=std::runtime_error from=closed to=open recovery_timeout=30s)"));
    CHECK(f.sink->lines[1].starts_with(
        "info|Circuit breaker 'jira_api' half-opened circuit_name=jira_api failure_count=2"));
    CHECK(f.sink->lines[2].starts_with("info|Circuit breaker 'jira_api' closed circuit_name=jira_api"));
    CHECK(
        f.sink->lines[3].starts_with("warning|Circuit breaker 'jira_api' forced open circuit_name=jira_api"));
    CHECK(f.sink->lines[3].find("reason=maintenance") != std::string::npos);
}

TEST_CASE("durations have three significant digits", "[spdlog]") {
    log_fixture f;
    const auto shown = [&](rs::duration delay) {
        const std::string line =
            f.line({.kind = rs::event_kind::call_rejected, .policy_kind = "bulkhead", .delay = delay});
        return line.substr(line.find("retry_after=") + 12);
    };

    CHECK(shown(833333333ns) == "0.833s");
    CHECK(shown(2400ms) == "2.4s");
    CHECK(shown(12345ms) == "12.3s");
    CHECK(shown(99949ms) == "99.9s");
    CHECK(shown(123456ms) == "123s");
    CHECK(shown(1234567ms) == "1235s");
    CHECK(shown(1500us) == "0.0015s");
    CHECK(shown(0ns) == "0s");
}

TEST_CASE("every other kind of event has its line and level", "[spdlog]") {
    log_fixture f;
    const auto line = [&](rs::event e) { return f.line(e); };
    using kind = rs::event_kind;

    auto scheduled = failed("down");
    scheduled.kind = kind::retry_scheduled;
    scheduled.attempt = 2;
    CHECK(line(scheduled).starts_with(
        "debug|Attempt 2/3 scheduled function=search_issues error_type=std::runtime_error retry_delay=1s"));

    auto budget = failed("down");
    budget.kind = kind::budget_exhausted;
    CHECK(
        line(budget).starts_with("warning|Retry budget exhausted after attempt 1/3 function=search_issues"));

    auto repeated = failed("closed by the server");
    repeated.kind = kind::repeated_transparently;
    CHECK(line(repeated).starts_with(
        "debug|Attempt 1/3 repeated, its connection was stale function=search_issues "
        "error_type=std::runtime_error"));

    CHECK(line({.kind = kind::would_have_tripped, .policy_kind = "circuit_breaker", .policy = "jira_api"})
              .starts_with("warning|Circuit breaker 'jira_api' would have opened circuit_name=jira_api "
                           "failure_count=0"));

    CHECK(line({.kind = kind::call_rejected,
                .policy_kind = "circuit_breaker",
                .policy = "jira_api",
                .operation = "get",
                .delay = 2400ms}) ==
          "debug|Call rejected by circuit_breaker 'jira_api' function=get policy_kind=circuit_breaker "
          "policy=jira_api retry_after=2.4s");
    CHECK(line({.kind = kind::call_rejected, .policy_kind = "bulkhead"}) ==
          "debug|Call rejected by bulkhead policy_kind=bulkhead retry_after=none");

    CHECK(line({.kind = kind::timed_out,
                .policy_kind = "timeout",
                .policy = "t",
                .operation = "get",
                .delay = 2s}) == "warning|Call timed out function=get policy_kind=timeout policy=t limit=2s");
    CHECK(line({.kind = kind::call_abandoned, .policy_kind = "abandoning_timeout"})
              .starts_with("warning|Call abandoned, it is still running"));
    CHECK(line({.kind = kind::fallback_used, .policy_kind = "fallback", .error = "down"}) ==
          "info|Fallback used policy_kind=fallback error=down");
    CHECK(line({.kind = kind::policy_updated, .policy_kind = "retry", .policy = "jira_api"}) ==
          "info|Config of retry 'jira_api' updated function=jira_api policy_kind=retry policy=jira_api");
}

TEST_CASE("each line of a call that said so has its correlation", "[spdlog][call_options]") {
    log_fixture f;
    rs::event e{.kind = rs::event_kind::call_rejected, .policy_kind = "bulkhead", .correlation = "req 7"};
    CHECK(f.line(e) ==
          R"(debug|Call rejected by bulkhead policy_kind=bulkhead retry_after=none correlation="req 7")");
    e = failed("down");
    e.correlation = "req-7";
    CHECK(f.line(e).ends_with(" correlation=req-7"));
    CHECK(f.line(e, {.leave_out = {"correlation"}}).ends_with(" error=down"));
    e = {.kind = rs::event_kind::state_changed, .policy_kind = "circuit_breaker", .correlation = "req-7"};
    CHECK(f.line(e).ends_with(" generation=0 correlation=req-7"));
}

TEST_CASE("no text forges a line, a field or a terminal command", "[spdlog][H-MON-01]") {
    log_fixture f;
    auto e = failed(
        "a\nAttempt 9/9 failed\r\x1b[2J\" error_type=x \x7f \xC2\x9B \xE2\x80\xAE \xE2\x80\xA8 \xFF \\");
    e.operation = "f error=x\n";
    e.policy = "p\"q";

    const std::string line = f.line(e);

    CHECK(
        line ==
        R"(warning|Attempt 1/3 failed function="f error=x\n" error_type=std::runtime_error retry_delay=1s policy="p\"q")"
        R"( error="a\nAttempt 9/9 failed\r\u001b[2J\" error_type=x \u007f \u009b \u202e \u2028 )"
        "\xEF\xBF\xBD"
        R"( \\")");

    rs::event circuit{
        .kind = rs::event_kind::state_changed, .policy_kind = "circuit_breaker", .policy = "x' opened\ny"};
    circuit.to = rs::circuit_state::open;
    CHECK(f.line(circuit).starts_with(
        R"(warning|Circuit breaker 'x\' opened\ny' opened circuit_name="x' opened\ny" )"));
    CHECK(f.line(failed("")).find("error=") == std::string::npos);
    CHECK(f.line(failed("{} {0} %v")).ends_with(R"(error="{} {0} %v")"));
}

TEST_CASE("long texts are cut", "[spdlog][H-CB-37]") {
    log_fixture f;

    CHECK(f.line(failed(std::string(1'000'000, 'x'))).size() < 700);
    CHECK(f.line(failed("12345678"), {.longest_text = 4}).ends_with(R"(error="1234...")"));
    CHECK(f.line(failed("1234"), {.longest_text = 4}).ends_with("error=1234"));
    auto e = failed("x");
    e.kind = rs::event_kind::call_rejected;
    e.policy = std::string(1'000'000, 'p');
    CHECK(f.line(e).size() < 2'000);
}

TEST_CASE("redact sees the whole text of every error before it is written", "[spdlog][H-CB-37]") {
    log_fixture f;
    std::string seen;
    const rs::log_options options{.redact =
                                      [&](std::string_view text) {
                                          seen = text;
                                          return std::string("token=***");
                                      },
                                  .longest_text = 100};
    const std::string secret = std::string(200, ' ') + "token=abc";

    CHECK(f.line(failed(secret), options).ends_with(R"(error="token=***")"));
    CHECK(seen == secret);

    rs::event e{.kind = rs::event_kind::state_changed,
                .policy_kind = "circuit_breaker",
                .policy = "x",
                .error = secret};
    e.to = rs::circuit_state::open;
    CHECK(f.line(e, options).find(R"(last_error="token=***")") != std::string::npos);
}

// The sanitizer for undefined behaviour (it comes with the one for addresses) takes the reference to a forced unwind,
// which has no object, for one to null.
#if !SANITIZED_ADDRESS
TEST_CASE("a thread may end inside a redact", "[spdlog][H-CPP-11]") {
    log_fixture f;
    bool ends = true;
    bool returned = false;
    const auto logging = rs::log_events(f.reg, f.logger, {.redact = [&](std::string_view) -> std::string {
                                            if (ends) pthread_exit(nullptr);
                                            return "***";
                                        }});
    const rs::event e = failed("token=abc");

    std::thread([&] {
        f.reg.env()->publish(e);
        returned = true;
    }).join();

    CHECK_FALSE(returned);
    CHECK(f.sink->lines.empty());
    ends = false;
    f.reg.env()->publish(e);
    REQUIRE(f.sink->lines.size() == 1);
    CHECK(f.sink->lines[0].ends_with("error=\"***\""));
}
#endif

TEST_CASE("a redact that throws hides the text and disturbs nobody", "[spdlog][H-EV-02]") {
    log_fixture f;
    const rs::log_options options{.redact = [](std::string_view) -> std::string { throw 42; }};

    const std::string line = f.line(failed("token=abc"), options);

    CHECK(line.ends_with(R"(error="[the redaction failed]")"));
    CHECK(line.find("abc") == std::string::npos);
    CHECK(f.reg.listener_errors() == 0);
}

TEST_CASE("a sink that throws disturbs no call", "[spdlog][H-EV-02]") {
    log_fixture f;
    f.logger->set_error_handler([](const std::string&) {});
    const rs::retry retry{{.base_delay = 1s}, f.reg};
    const auto logging = rs::log_events(f.reg, f.logger);
    const auto second_time_lucky = [&] {
        int calls = 0;
        return retry([&] {
            if (++calls < 2) throw std::runtime_error("down");
            return calls;
        });
    };

    f.sink->on_line = [] { throw std::runtime_error("disk full"); };
    CHECK(second_time_lucky() == 2);
    CHECK(f.sink->lines.size() == 2);

    f.sink->on_line = [] { throw 42; };
    CHECK(second_time_lucky() == 2);
    CHECK(f.sink->lines.size() == 4);
    f.sink->on_line = nullptr;
    CHECK(second_time_lucky() == 2);
    CHECK(f.sink->lines.size() == 6);
}

TEST_CASE("a sink that uses the registry's own policies does not wait for itself", "[spdlog][H-EV-01]") {
    log_fixture f;
    const rs::circuit_breaker breaker{{.name = "log_server", .failure_threshold = 1}, f.reg};
    const auto logging = rs::log_events(f.reg, f.logger);
    f.sink->on_line = [&] { // under the sink's lock
        if (auto permit = breaker.try_acquire()) permit->failure();
    };

    f.reg.env()->publish(failed("down"));

    CHECK(breaker.state() == rs::circuit_state::open);
    CHECK(f.sink->lines.size() == 1);
}

TEST_CASE("a line below the logger's level is not even made", "[spdlog]") {
    log_fixture f;
    f.logger->set_level(level::err);
    int redacted = 0;
    const auto logging = rs::log_events(f.reg, f.logger, {.redact = [&](std::string_view text) {
                                            ++redacted;
                                            return std::string(text);
                                        }});

    f.reg.env()->publish(failed("down"));

    CHECK(f.sink->lines.empty());
    CHECK(redacted == 0);
}

TEST_CASE("logging ends with the subscription, and needs a logger", "[spdlog]") {
    log_fixture f;
    { const auto logging = rs::log_events(f.reg, f.logger); }

    f.reg.env()->publish(failed("down"));

    CHECK(f.sink->lines.empty());
    CHECK_THROWS_AS(rs::log_events(f.reg, nullptr), std::invalid_argument);
}

TEST_CASE("a final failure is one line, whatever ended the call", "[spdlog]") {
    const auto lines_of = [](rs::retry_config c, unsigned attempts) {
        log_fixture f;
        f.logger->set_level(level::trace);
        c.name = "pay";
        c.base_delay = 0s;
        const rs::retry retry(c, f.reg);
        std::vector<std::string> failures;
        const auto logging = rs::log_events(f.reg, f.logger);
        CHECK_THROWS(retry([]() -> int { throw std::runtime_error("down"); }));
        for (const auto& each : f.sink->lines)
            if (each.find("scheduled") == std::string::npos) failures.push_back(each);
        CHECK(failures.size() == attempts);
        return failures.empty() ? "" : failures.back();
    };
    rs::retry_config no_budget{.max_attempts = 9};
    no_budget.budget = rs::retry_budget(rs::token_budget_config{.max_tokens = 1, .token_ratio = 0.1});
    rs::retry_config not_retryable;
    not_retryable.retry_if = rs::on<std::logic_error>();

    CHECK(lines_of({.max_attempts = 3}, 3).starts_with("error|All 3 attempts failed function=pay "));
    CHECK(lines_of({.max_attempts = 1}, 1).starts_with("warning|Attempt 1/1 failed function=pay "));
    CHECK(
        lines_of(no_budget, 1).starts_with("warning|Retry budget exhausted after attempt 1/9 function=pay "));
    CHECK(lines_of(not_retryable, 1).starts_with("warning|Attempt 1/3 failed function=pay "));
}

/// The lines of a call of `policies`, from info on; the callable is told the number of the attempt.
template <class Make>
std::vector<std::string> lines_of_call(const Make& policies, const std::function<int(log_fixture&, int)>& f) {
    log_fixture w;
    const auto call = policies(w);
    const auto logging = rs::log_events(w.reg, w.logger);
    int attempts = 0;
    (void)call.try_call([&](rs::call_context&) { return f(w, ++attempts); });
    std::vector<std::string> sentences;
    for (const auto& line : w.sink->lines) sentences.push_back(line.substr(0, line.find(" function=")));
    for (auto& each : sentences) each = each.substr(0, each.find(" policy_kind="));
    return sentences;
}
rs::retry_config three_at_once() {
    return {.name = "pay", .base_delay = 0s, .budget = rs::retry_budget::unlimited()};
}

TEST_CASE("a final failure is one line in any order of policies", "[spdlog]") {
    using lines = std::vector<std::string>;
    const auto too_late = [](log_fixture& w, int) {
        w.clock.advance(1100ms);
        return 0;
    };
    const auto gives_up = [](log_fixture& w, int) -> int {
        w.clock.advance(1s);
        throw std::runtime_error("canceling statement");
    };
    const auto down = [](log_fixture&, int) -> int { throw std::runtime_error("down"); };
    const auto retry = [](log_fixture& w) { return rs::retry{three_at_once(), w.reg}; };
    const auto limit = [](log_fixture& w) { return rs::timeout(1s, w.reg); };
    const lines attempts{"warning|Attempt 1/3 failed", "warning|Attempt 2/3 failed",
                         "error|All 3 attempts failed"};

    SECTION("a timeout alone") {
        CHECK(lines_of_call(limit, too_late) == lines{"warning|Call timed out"});
        CHECK(lines_of_call(limit, gives_up) == lines{"warning|Call timed out"});
        CHECK(lines_of_call(limit, down).empty());
    }
    SECTION("a timeout inside of a retry") {
        const auto both = [&](log_fixture& w) { return retry(w) | limit(w); };
        CHECK(lines_of_call(both, too_late) == attempts);
        CHECK(lines_of_call(both, gives_up) == attempts);
        CHECK(lines_of_call(both, [&](log_fixture& w, int n) { return n < 3 ? too_late(w, n) : 0; }) ==
              lines{attempts[0], attempts[1], "info|Attempt 3/3 succeeded"});
        const auto with_circuit = [&](log_fixture& w) {
            return retry(w) | rs::circuit_breaker{{.name = "c", .failure_threshold = 99}, w.reg} | limit(w);
        };
        CHECK(lines_of_call(with_circuit, too_late) == attempts);
    }
    SECTION("a timeout inside of a retry that makes one attempt, or has no budget") {
        const auto once = [&](log_fixture& w) {
            auto c = three_at_once();
            c.max_attempts = 1;
            return rs::retry{c, w.reg} | limit(w);
        };
        CHECK(lines_of_call(once, too_late) == lines{"warning|Attempt 1/1 failed"});
        const auto poor = [&](log_fixture& w) {
            auto c = three_at_once();
            c.budget = rs::retry_budget(rs::token_budget_config{.max_tokens = 1, .token_ratio = 0.1});
            return rs::retry{c, w.reg} | limit(w);
        };
        CHECK(lines_of_call(poor, too_late) == lines{"warning|Retry budget exhausted after attempt 1/3"});
    }
    SECTION("a timeout around a retry") {
        const auto around = [&](log_fixture& w) { return rs::timeout(2s, w.reg) | retry(w); };
        CHECK(lines_of_call(around, down) == attempts);
        // The second attempt ends at the limit: the retry tells of it, and gives up.
        CHECK(lines_of_call(around, gives_up) == lines{attempts[0], attempts[1]});
        CHECK(lines_of_call(around, [](log_fixture& w, int) {
                  w.clock.advance(2100ms);
                  return 0; // a value, which came late
              }) == lines{"warning|Call timed out"});
    }
    SECTION("a timeout around the last attempt of a retry") {
        const auto around = [&](log_fixture& w) { return rs::timeout(3s, w.reg) | retry(w); };
        CHECK(lines_of_call(around, gives_up) == attempts);
    }
    SECTION("timeouts around and inside") {
        const auto three = [&](log_fixture& w) { return rs::timeout(2500ms, w.reg) | retry(w) | limit(w); };
        CHECK(lines_of_call(three, too_late) == attempts);
        const auto two = [&](log_fixture& w) { return rs::timeout(1100ms, w.reg) | limit(w); };
        CHECK(lines_of_call(two, [](log_fixture& w, int) {
                  w.clock.advance(1200ms);
                  return 0;
              }) == lines{"warning|Call timed out"});
    }
    SECTION("a retry inside of a retry") {
        const auto twice = [&](log_fixture& w) {
            auto c = three_at_once();
            c.name = "inner";
            c.max_attempts = 2;
            return retry(w) | rs::retry{c, w.reg} | limit(w);
        };
        const auto told = lines_of_call(twice, too_late);
        REQUIRE(told.size() == 6); // three first attempts of the inner one
        CHECK(told[1] == attempts[0]);
        CHECK(told[3] == attempts[1]);
        CHECK(told[4] == "warning|Attempt 1/2 failed");
        CHECK(told[5] == attempts[2]);
    }
    SECTION("a fallback") {
        const auto rescued = [&](log_fixture& w) { return rs::fallback(1) | retry(w) | limit(w); };
        CHECK(lines_of_call(rescued, too_late) ==
              lines{attempts[0], attempts[1], attempts[2], "info|Fallback used"});
        const auto in_vain = [&](log_fixture& w) {
            return rs::fallback([]() -> int { throw std::runtime_error("no cache"); }) | retry(w) | limit(w);
        };
        CHECK(lines_of_call(in_vain, too_late) == attempts);
        // The value of the fallback comes late: a failure of its own.
        const auto late = [&](log_fixture& w) {
            return limit(w) | rs::fallback([&w] {
                       w.clock.advance(1100ms);
                       return 1;
                   }) |
                   retry(w);
        };
        CHECK(lines_of_call(late, down) ==
              lines{attempts[0], attempts[1], attempts[2], "info|Fallback used", "warning|Call timed out"});
    }
    SECTION("work on a worker") {
        const auto fails_after = [](rs::duration time) {
            return [time](log_fixture& w, int) -> int {
                w.clock.advance(time);
                throw std::runtime_error("canceling statement");
            };
        };
        const auto worker = [](log_fixture& w) { return rs::abandoning_timeout(1s, w.reg); };
        CHECK(lines_of_call(worker, fails_after(999900us)) == lines{"warning|Call timed out"});
        const auto around = [&](log_fixture& w) { return worker(w) | retry(w); };
        CHECK(lines_of_call(around, fails_after(333300us)) == attempts);
        const auto inside = [&](log_fixture& w) {
            return retry(w) | rs::abandoning_timeout(9s, w.reg) | limit(w);
        };
        CHECK(lines_of_call(inside, too_late) == attempts);
    }
    SECTION("policies put together at run time") {
        const auto any = [&](log_fixture& w) {
            rs::any_pipeline all;
            all.add(retry(w));
            all.add(limit(w));
            return all;
        };
        CHECK(lines_of_call(any, too_late) == attempts);
    }
}

TEST_CASE("work that is given up at its limit has one line, which says that it still runs", "[spdlog]") {
    log_fixture f;
    const rs::abandoning_timeout limit(1s, f.reg);
    const rs::retry retry{three_at_once(), f.reg};
    const auto logging = rs::log_events(f.reg, f.logger);
    const auto lines_of = [&](const auto& call) {
        f.sink->lines.clear();
        (void)call.try_call([&] { f.clock.advance(1100ms); });
        while (limit.stats().abandoned_running > 0) std::this_thread::yield();
        std::vector<std::string> sentences;
        for (const auto& line : f.sink->lines)
            sentences.push_back(line.substr(0, line.find(' ', line.find(' ') + 1)));
        return sentences;
    };

    CHECK(lines_of(limit) == std::vector<std::string>{"warning|Call abandoned,"});
    CHECK(lines_of(retry | limit) ==
          std::vector<std::string>{"warning|Call abandoned,", "warning|Attempt 1/3",
                                   "warning|Call abandoned,", "warning|Attempt 2/3",
                                   "warning|Call abandoned,", "error|All 3"});
}

TEST_CASE("a call inside of another has its own final line", "[spdlog]") {
    log_fixture f;
    const rs::retry outer{three_at_once(), f.reg};
    const rs::timeout inner(1s, f.reg);
    const auto logging = rs::log_events(f.reg, f.logger);

    outer([&] {
        const auto out = inner.named("primary").try_call([&] { f.clock.advance(2s); });
        CHECK_FALSE(out.has_value()); // and the secondary answers
    });

    REQUIRE(f.sink->lines.size() == 1);
    CHECK(f.sink->lines[0].starts_with("warning|Call timed out function=primary"));
}

TEST_CASE("the lines of attempts say that they timed out, also where the error is the client's own",
          "[spdlog]") {
    log_fixture f;
    const auto call = rs::retry{three_at_once(), f.reg} | rs::timeout(1s, f.reg);
    const auto logging = rs::log_events(f.reg, f.logger);

    (void)call.try_call([&](rs::call_context&) {
        f.clock.advance(1s);
        throw std::runtime_error("canceling statement");
    });

    REQUIRE(f.sink->lines.size() == 3);
    for (const auto& line : f.sink->lines)
        CHECK(line.find(" error_type=std::runtime_error timed_out=true ") != std::string::npos);
}

TEST_CASE("the line of a final failure shows the call's first, redacted too", "[spdlog][H-USE-15]") {
    const auto last_line = [](rs::log_options options) {
        log_fixture f;
        const rs::retry retry{{.name = "pay", .max_attempts = 2, .base_delay = 0s}, f.reg};
        const auto logging = rs::log_events(f.reg, f.logger, std::move(options));
        int calls = 0;
        CHECK_THROWS(retry([&] {
            if (++calls == 1) throw std::range_error("40001 token=abc");
            throw std::runtime_error("25P02");
        }));
        REQUIRE(f.sink->lines.size() == 2);
        CHECK(f.sink->lines[0].find("first_error") == std::string::npos);
        return f.sink->lines[1];
    };

    CHECK(
        last_line({}) ==
        R"(error|All 2 attempts failed function=pay error_type=std::runtime_error policy=pay last_error=25P02 first_error_type=std::range_error first_error="40001 token=abc" reason=max_attempts)");
    CHECK(last_line({.redact = [](std::string_view) { return std::string("***"); }}).find("abc") ==
          std::string::npos);
    CHECK(last_line({.leave_out = {"first_error", "first_error_type"}}).find("40001") == std::string::npos);
}

} // namespace
