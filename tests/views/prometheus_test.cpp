// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/abandoning_timeout.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/monitoring_api.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/prometheus.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/virtual_clock.hpp>
#include <resilience/timeout.hpp>

#include <chrono>
#include <cstddef>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

/// Counts the reads of the exact clock: a circuit's statistics take one.
class counting_clock : public rs::testing::virtual_clock {
public:
    rs::time_point now() const noexcept override {
        ++reads;
        return virtual_clock::now();
    }
    mutable int reads = 0;
};

struct prometheus_fixture {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};

    /// The value of a sample as it stands in the text; empty if there is none.
    std::string value(const std::string& sample) const {
        const std::string text = "\n" + rs::to_prometheus(reg);
        const std::string before = "\nresilience_" + sample + " ";
        const auto at = text.find(before);
        if (at == std::string::npos) return {};
        const auto from = at + before.size();
        return text.substr(from, text.find('\n', from) - from);
    }
};

void fail(const auto& policy) {
    (void)policy.try_call([] { throw std::runtime_error("HTTP 503"); });
}

TEST_CASE("a registry's metrics are written family by family", "[prometheus]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::retry retry(
        {.name = "jira_api", .max_attempts = 2, .base_delay = 500ms, .jitter = rs::jitter::none}, reg);
    const rs::circuit_breaker breaker({.name = "jira_api",
                                       .failure_rate_threshold = 0.5,
                                       .window = rs::count_window{10},
                                       .minimum_calls = 4},
                                      reg);
    const rs::timeout timeout({.name = "jira_api", .limit = 2s}, reg);
    const auto guard = retry | breaker | timeout;

    guard([] {});
    fail(guard);                                      // two attempts, half a second apart
    (void)guard.try_call([&] { clock.advance(3s); }); // too late: three failures of four trip it
    clock.advance(1500ms);
    (void)guard.try_call([] {}); // refused

    CHECK(rs::to_prometheus(reg) ==
          R"(# HELP resilience_circuitbreaker_state 1 for the state that the circuit is in, 0 for the others.
# TYPE resilience_circuitbreaker_state gauge
resilience_circuitbreaker_state{name="jira_api",state="closed"} 0
resilience_circuitbreaker_state{name="jira_api",state="open"} 1
resilience_circuitbreaker_state{name="jira_api",state="half_open"} 0
resilience_circuitbreaker_state{name="jira_api",state="forced_open"} 0
resilience_circuitbreaker_state{name="jira_api",state="disabled"} 0
resilience_circuitbreaker_state{name="jira_api",state="metrics_only"} 0
# HELP resilience_circuitbreaker_calls_total Calls that were admitted and ended, by verdict.
# TYPE resilience_circuitbreaker_calls_total counter
resilience_circuitbreaker_calls_total{name="jira_api",kind="successful"} 1
resilience_circuitbreaker_calls_total{name="jira_api",kind="failed"} 3
resilience_circuitbreaker_calls_total{name="jira_api",kind="ignored"} 0
# HELP resilience_circuitbreaker_calls_seconds How long calls took; only their count without slow_call_duration.
# TYPE resilience_circuitbreaker_calls_seconds histogram
resilience_circuitbreaker_calls_seconds_count{name="jira_api",kind="successful"} 1
resilience_circuitbreaker_calls_seconds_count{name="jira_api",kind="failed"} 3
resilience_circuitbreaker_calls_seconds_count{name="jira_api",kind="ignored"} 0
# HELP resilience_circuitbreaker_not_permitted_calls_total Calls that the circuit refused.
# TYPE resilience_circuitbreaker_not_permitted_calls_total counter
resilience_circuitbreaker_not_permitted_calls_total{name="jira_api",kind="not_permitted"} 1
# HELP resilience_circuitbreaker_buffered_calls Results that the circuit's rules count now.
# TYPE resilience_circuitbreaker_buffered_calls gauge
resilience_circuitbreaker_buffered_calls{name="jira_api",kind="successful"} 0
resilience_circuitbreaker_buffered_calls{name="jira_api",kind="failed"} 0
# HELP resilience_circuitbreaker_max_buffered_calls Results that the circuit's rules count at most; absent for a window of time.
# TYPE resilience_circuitbreaker_max_buffered_calls gauge
resilience_circuitbreaker_max_buffered_calls{name="jira_api"} 10
# HELP resilience_circuitbreaker_slow_calls Slow calls in the rate window; whether they failed is not kept.
# TYPE resilience_circuitbreaker_slow_calls gauge
resilience_circuitbreaker_slow_calls{name="jira_api",kind="any"} 0
# HELP resilience_circuitbreaker_failure_rate Failures in the rate window in percent; -1 below minimum_calls.
# TYPE resilience_circuitbreaker_failure_rate gauge
resilience_circuitbreaker_failure_rate{name="jira_api"} -1
# HELP resilience_circuitbreaker_slow_call_rate Slow calls in the rate window in percent; -1 below minimum_calls.
# TYPE resilience_circuitbreaker_slow_call_rate gauge
resilience_circuitbreaker_slow_call_rate{name="jira_api"} -1
# HELP resilience_circuitbreaker_trips_total Times that the circuit went from closed to open.
# TYPE resilience_circuitbreaker_trips_total counter
resilience_circuitbreaker_trips_total{name="jira_api"} 1
# HELP resilience_circuitbreaker_state_transitions_total Changes of the circuit's state.
# TYPE resilience_circuitbreaker_state_transitions_total counter
resilience_circuitbreaker_state_transitions_total{name="jira_api"} 1
# HELP resilience_circuitbreaker_time_in_state_seconds Time since the circuit's last change of state.
# TYPE resilience_circuitbreaker_time_in_state_seconds gauge
resilience_circuitbreaker_time_in_state_seconds{name="jira_api"} 1.5
# HELP resilience_circuitbreaker_late_results_total Results of calls that began in an earlier state.
# TYPE resilience_circuitbreaker_late_results_total counter
resilience_circuitbreaker_late_results_total{name="jira_api"} 0
# HELP resilience_circuitbreaker_slow_results_total Results that took longer than slow_call_duration.
# TYPE resilience_circuitbreaker_slow_results_total counter
resilience_circuitbreaker_slow_results_total{name="jira_api"} 0
# HELP resilience_retry_calls_total Calls that ended, by how.
# TYPE resilience_retry_calls_total counter
resilience_retry_calls_total{name="jira_api",kind="successful_without_retry"} 1
resilience_retry_calls_total{name="jira_api",kind="successful_with_retry"} 0
resilience_retry_calls_total{name="jira_api",kind="failed_without_retry"} 2
resilience_retry_calls_total{name="jira_api",kind="failed_with_retry"} 1
# HELP resilience_timelimiter_calls_total Attempts under a timeout that ended, by how.
# TYPE resilience_timelimiter_calls_total counter
resilience_timelimiter_calls_total{name="jira_api",kind="successful"} 1
resilience_timelimiter_calls_total{name="jira_api",kind="failed"} 2
resilience_timelimiter_calls_total{name="jira_api",kind="timeout"} 1
# HELP resilience_retry_attempts_total Attempts of calls that ended, and all retries.
# TYPE resilience_retry_attempts_total counter
resilience_retry_attempts_total{name="jira_api"} 5
# HELP resilience_retry_failed_attempts_total Attempts that failed.
# TYPE resilience_retry_failed_attempts_total counter
resilience_retry_failed_attempts_total{name="jira_api"} 3
# HELP resilience_retry_retries_total Attempts beyond the first of their call.
# TYPE resilience_retry_retries_total counter
resilience_retry_retries_total{name="jira_api"} 1
# HELP resilience_retry_nested_retries_total Retries made inside another retry: the amplification.
# TYPE resilience_retry_nested_retries_total counter
resilience_retry_nested_retries_total{name="jira_api"} 0
# HELP resilience_retry_transparent_repeats_total Repeats after stale connections, which are no attempts.
# TYPE resilience_retry_transparent_repeats_total counter
resilience_retry_transparent_repeats_total{name="jira_api"} 0
# HELP resilience_retry_exhausted_total Calls that failed with max_attempts made.
# TYPE resilience_retry_exhausted_total counter
resilience_retry_exhausted_total{name="jira_api"} 1
# HELP resilience_retry_budget_exhausted_total Retries that the budget did not pay for.
# TYPE resilience_retry_budget_exhausted_total counter
resilience_retry_budget_exhausted_total{name="jira_api"} 0
# HELP resilience_retry_budget_left Retries that the budget would pay for now; absent if unlimited.
# TYPE resilience_retry_budget_left gauge
resilience_retry_budget_left{name="jira_api"} 99.8
# HELP resilience_retry_delay_seconds_total Delays before retries, added up as scheduled.
# TYPE resilience_retry_delay_seconds_total counter
resilience_retry_delay_seconds_total{name="jira_api"} 0.5
# HELP resilience_timeout_in_flight Attempts that run now.
# TYPE resilience_timeout_in_flight gauge
resilience_timeout_in_flight{name="jira_api"} 0
# HELP resilience_timeout_overrun_total Attempts that ran for more than twice their limit.
# TYPE resilience_timeout_overrun_total counter
resilience_timeout_overrun_total{name="jira_api"} 0
# HELP resilience_timeout_longest_overrun_seconds The longest time by which an attempt outran its limit.
# TYPE resilience_timeout_longest_overrun_seconds gauge
resilience_timeout_longest_overrun_seconds{name="jira_api"} 1
# HELP resilience_rejections_total Attempts that a policy refused.
# TYPE resilience_rejections_total counter
resilience_rejections_total{policy_kind="circuit_breaker",name="jira_api"} 1
# HELP resilience_predicate_errors_total Predicates and callbacks of the user's that threw.
# TYPE resilience_predicate_errors_total counter
resilience_predicate_errors_total{policy_kind="circuit_breaker",name="jira_api"} 0
resilience_predicate_errors_total{policy_kind="retry",name="jira_api"} 0
# HELP resilience_fallback_calls_total Failures that a fallback took the place of (used), or tried to (failed).
# TYPE resilience_fallback_calls_total counter
resilience_fallback_calls_total{kind="used"} 0
resilience_fallback_calls_total{kind="failed"} 0
# HELP resilience_fallback_predicate_errors_total Predicates of fallbacks that threw.
# TYPE resilience_fallback_predicate_errors_total counter
resilience_fallback_predicate_errors_total 0
# HELP resilience_listener_errors_total Events that a subscriber lost since it threw, or for want of memory.
# TYPE resilience_listener_errors_total counter
resilience_listener_errors_total 0
)");
}

TEST_CASE("a registry without policies has only the totals that have no name", "[prometheus]") {
    const prometheus_fixture f;

    CHECK(rs::to_prometheus(f.reg).starts_with("# HELP resilience_fallback_calls_total "));
    CHECK(f.value("fallback_calls_total{kind=\"used\"}") == "0");
    CHECK(f.value("listener_errors_total") == "0");
}

TEST_CASE("the text is the same whatever the order of creation", "[prometheus]") {
    const auto text = [](const std::vector<std::string>& names) {
        prometheus_fixture f;
        std::vector<rs::circuit_breaker> breakers;
        for (const auto& name : names) breakers.emplace_back(rs::circuit_breaker_config{.name = name}, f.reg);
        return rs::to_prometheus(f.reg);
    };

    CHECK(text({"a", "b", "c"}) == text({"c", "a", "b"}));
}

TEST_CASE("exactly one state of a circuit is 1, and it is the right one", "[prometheus]") {
    prometheus_fixture f;
    const rs::circuit_breaker c({.name = "c", .failure_threshold = 1, .recovery_timeout = 30s}, f.reg);
    const auto state = [&] {
        std::string is;
        for (const char* s : {"closed", "open", "half_open", "forced_open", "disabled", "metrics_only"}) {
            const auto v = f.value(std::string("circuitbreaker_state{name=\"c\",state=\"") + s + "\"}");
            CHECK((v == "0" || v == "1"));
            if (v == "1") is += s;
        }
        return is;
    };

    CHECK(state() == "closed");
    fail(c);
    CHECK(state() == "open");
    f.clock.advance(30s);
    {
        const auto probe = c.try_acquire();
        CHECK(state() == "half_open");
    }
    c.force_open();
    CHECK(state() == "forced_open");
    c.disable();
    CHECK(state() == "disabled");
    c.metrics_only();
    CHECK(state() == "metrics_only");
    CHECK(f.value("circuitbreaker_state_transitions_total{name=\"c\"}") == "5");
    CHECK(f.value("circuitbreaker_trips_total{name=\"c\"}") == "1");
}

TEST_CASE("rates are percentages of the window from minimum_calls on, and its results are shown",
          "[prometheus][H-USE-23]") {
    prometheus_fixture f;
    const rs::circuit_breaker c({.name = "c",
                                 .failure_rate_threshold = 0.9,
                                 .slow_call_duration = 1s,
                                 .slow_call_rate_threshold = 0.9,
                                 .window = rs::count_window{100}},
                                f.reg);
    CHECK(f.value("circuitbreaker_failure_rate{name=\"c\"}") == "-1");
    CHECK(f.value("circuitbreaker_slow_call_rate{name=\"c\"}") == "-1");

    for (int i = 0; i < 7; ++i) fail(c);
    for (int i = 0; i < 12; ++i) c([] {});
    CHECK(f.value("circuitbreaker_failure_rate{name=\"c\"}") == "-1"); // 19 calls are too few to judge
    CHECK(f.value("circuitbreaker_slow_call_rate{name=\"c\"}") == "-1");
    CHECK(f.value("circuitbreaker_buffered_calls{name=\"c\",kind=\"failed\"}") == "7");
    c([] {});
    CHECK(f.value("circuitbreaker_failure_rate{name=\"c\"}") == "35");
    for (int i = 0; i < 79; ++i) c([] {});
    c([&] { f.clock.advance(2s); });

    CHECK(f.value("circuitbreaker_failure_rate{name=\"c\"}") == "7");
    CHECK(f.value("circuitbreaker_slow_call_rate{name=\"c\"}") == "1");
    CHECK(f.value("circuitbreaker_buffered_calls{name=\"c\",kind=\"successful\"}") == "93");
    CHECK(f.value("circuitbreaker_buffered_calls{name=\"c\",kind=\"failed\"}") == "7");
    CHECK(f.value("circuitbreaker_max_buffered_calls{name=\"c\"}") == "100");
    CHECK(f.value("circuitbreaker_slow_calls{name=\"c\",kind=\"any\"}") == "1");
    CHECK(f.value("circuitbreaker_slow_results_total{name=\"c\"}") == "1");
}

TEST_CASE("a circuit that looks for slow calls shows how long all of them took", "[prometheus]") {
    prometheus_fixture f;
    const rs::circuit_breaker c({.name = "c", .slow_call_duration = 1s, .slow_call_rate_threshold = 0.9},
                                f.reg);
    const auto seconds = [&](const std::string& part, const std::string& labels) {
        return f.value("circuitbreaker_calls_seconds_" + part + "{name=\"c\"," + labels + "}");
    };

    c([&] { f.clock.advance(25ms); });
    c([&] { f.clock.advance(2s); });
    (void)c.try_call([&] {
        f.clock.advance(30s);
        throw std::runtime_error("HTTP 503");
    });
    { const auto ignored = c.try_acquire(); }

    CHECK(seconds("bucket", "kind=\"successful\",le=\"0.01\"") == "0");
    CHECK(seconds("bucket", "kind=\"successful\",le=\"0.025\"") == "1");
    CHECK(seconds("bucket", "kind=\"successful\",le=\"2.5\"") == "2");
    CHECK(seconds("bucket", "kind=\"successful\",le=\"+Inf\"") == "2");
    CHECK(seconds("sum", "kind=\"successful\"") == "2.025");
    CHECK(seconds("count", "kind=\"successful\"") == "2");
    CHECK(seconds("bucket", "kind=\"failed\",le=\"10\"") == "0");
    CHECK(seconds("bucket", "kind=\"failed\",le=\"+Inf\"") == "1");
    CHECK(seconds("sum", "kind=\"failed\"") == "30");
    CHECK(seconds("count", "kind=\"ignored\"") == "1");
    CHECK(seconds("sum", "kind=\"ignored\"").empty());
}

TEST_CASE("calls are timed from the update on that asks for slow ones", "[prometheus]") {
    prometheus_fixture f;
    const rs::circuit_breaker c({.name = "c"}, f.reg);
    c([] {});
    CHECK_FALSE(c.stats().latencies.has_value());
    CHECK(f.value("circuitbreaker_calls_seconds_count{name=\"c\",kind=\"successful\"}") == "1");
    CHECK(f.value("circuitbreaker_calls_seconds_sum{name=\"c\",kind=\"successful\"}").empty());

    c.update({.name = "c", .slow_call_duration = 1s, .slow_call_rate_threshold = 0.9});
    c([&] { f.clock.advance(100ms); });

    CHECK(c.stats().latencies->successes.calls() == 1);
    CHECK(c.stats().latencies->successes.sum() == 100ms);
    CHECK(c.stats().successes == 2);
}

TEST_CASE("a circuit that counts failures alone shows those, up to its threshold", "[prometheus]") {
    prometheus_fixture f;
    const rs::circuit_breaker c({.name = "c", .failure_threshold = 5}, f.reg);
    c([] {});
    fail(c);
    fail(c);

    CHECK(f.value("circuitbreaker_buffered_calls{name=\"c\",kind=\"failed\"}") == "2");
    CHECK(f.value("circuitbreaker_buffered_calls{name=\"c\",kind=\"successful\"}").empty());
    CHECK(f.value("circuitbreaker_max_buffered_calls{name=\"c\"}") == "5");
    CHECK(f.value("circuitbreaker_failure_rate{name=\"c\"}") == "-1");
}

TEST_CASE("a window of time has no most", "[prometheus]") {
    prometheus_fixture f;
    const rs::circuit_breaker c(
        {.name = "c", .failure_rate_threshold = 0.9, .window = rs::time_window{10s}, .minimum_calls = 2},
        f.reg);
    c([] {});
    fail(c);

    CHECK(f.value("circuitbreaker_buffered_calls{name=\"c\",kind=\"successful\"}") == "1");
    CHECK(f.value("circuitbreaker_failure_rate{name=\"c\"}") == "50");
    CHECK(f.value("circuitbreaker_max_buffered_calls{name=\"c\"}").empty());
}

TEST_CASE("delays before retries add up in seconds", "[prometheus][retry]") {
    prometheus_fixture f;
    const rs::retry r({.name = "r", .max_attempts = 3, .base_delay = 250ms, .jitter = rs::jitter::none},
                      f.reg);
    const rs::retry unlimited({.name = "u", .base_delay = 0s, .budget = rs::retry_budget::unlimited()},
                              f.reg);
    fail(r);
    fail(unlimited);

    CHECK(r.stats().total_delay == 750ms);
    CHECK(unlimited.stats().total_delay == 0s);
    CHECK(f.value("retry_delay_seconds_total{name=\"r\"}") == "0.75");
    CHECK(f.value("retry_attempts_total{name=\"r\"}") == "3");
    CHECK(f.value("retry_failed_attempts_total{name=\"r\"}") == "3");
    CHECK(f.value("retry_retries_total{name=\"r\"}") == "2");
    CHECK(f.value("retry_budget_left{name=\"r\"}") != "");
    CHECK(f.value("retry_budget_left{name=\"u\"}").empty());
}

TEST_CASE("values that came late and were kept are successful calls", "[prometheus][timeout]") {
    prometheus_fixture f;
    const rs::timeout t({.name = "t", .limit = 1s, .keep_late = true}, f.reg);
    t([] {});
    t([&] { f.clock.advance(2s); });

    CHECK(f.value("timelimiter_calls_total{name=\"t\",kind=\"successful\"}") == "2");
    CHECK(f.value("timelimiter_calls_total{name=\"t\",kind=\"timeout\"}") == "0");
}

TEST_CASE("timeouts of both kinds and one name have families of their own", "[prometheus][timeout]") {
    rs::registry reg;
    const rs::timeout t({.name = "t", .limit = 1s}, reg);
    const rs::abandoning_timeout a({.name = "t", .limit = 10s}, reg);
    a([] {});

    const std::string text = rs::to_prometheus(reg);
    CHECK(text.find("resilience_timelimiter_calls_total{name=\"t\",kind=\"successful\"} 0\n") != text.npos);
    CHECK(text.find("resilience_abandoning_timeout_calls_total{name=\"t\"} 1\n") != text.npos);
    CHECK(text.find("resilience_abandoning_timeout_abandoned_workers{name=\"t\"} 0\n") != text.npos);
    CHECK(text.find("resilience_rejections_total{policy_kind=\"abandoning_timeout\",name=\"t\"} 0\n") !=
          text.npos);
}

TEST_CASE("fallbacks are counted by the registry of the call that they are part of",
          "[prometheus][fallback]") {
    prometheus_fixture f;
    const rs::retry once({.max_attempts = 1}, f.reg);
    const auto throwing = [](const rs::failure&) -> bool { throw std::runtime_error("predicate"); };
    fail(rs::fallback([] {}) | once);
    fail(rs::fallback([] { throw std::runtime_error("no other answer"); }) | once);
    fail(rs::fallback_if(throwing, [] {}) | once);

    const auto counted = f.reg.fallbacks();
    CHECK(counted.used == 1);
    CHECK(counted.failed == 1);
    CHECK(counted.predicate_errors == 1);
    CHECK(f.value("fallback_calls_total{kind=\"used\"}") == "1");
    CHECK(f.value("fallback_calls_total{kind=\"failed\"}") == "1");
    CHECK(f.value("fallback_predicate_errors_total") == "1");
}

TEST_CASE("listeners that throw are counted", "[prometheus]") {
    prometheus_fixture f;
    const auto subscription = f.reg.subscribe([](const rs::event&) { throw std::runtime_error("listener"); });
    const rs::circuit_breaker c({.name = "c"}, f.reg);
    c.force_open();

    CHECK(f.value("listener_errors_total") == "1");
}

TEST_CASE("names of any bytes stay in their quotes", "[prometheus][H-MON-01]") {
    const std::vector<std::pair<std::string, std::string>> names{
        {"plain", "plain"},
        {"\"} 1\nforged{a=\"", "\\\"} 1\\nforged{a=\\\""},
        {"back\\slash\\", "back\\\\slash\\\\"},
        {"\\n", "\\\\n"},
        {"tab\t cr\r", "tab\t cr\r"},
        {std::string("nul\0nul", 7), std::string("nul\0nul", 7)},
        {"Z\xC3\xBCrich", "Z\xC3\xBCrich"},
        {"\xFF", "\xEF\xBF\xBD"},
        {"cut \xE2\x82", "cut \xEF\xBF\xBD\xEF\xBF\xBD"}};
    for (const auto& [name, written] : names) {
        INFO(written);
        prometheus_fixture f;
        const rs::circuit_breaker c({.name = name}, f.reg);
        const std::string text = rs::to_prometheus(f.reg);
        CHECK(text.find("\nresilience_circuitbreaker_trips_total{name=\"" + written + "\"} 0\n") !=
              text.npos);
        CHECK(text.find("\nforged") == text.npos);
    }
}

TEST_CASE("every line is a comment or a sample, and a family's samples stand together", "[prometheus]") {
    prometheus_fixture f;
    const rs::circuit_breaker a({.name = "a\n# TYPE x counter\n"}, f.reg);
    const rs::circuit_breaker b({.name = "b"}, f.reg);
    const rs::retry r({.name = "b"}, f.reg);

    std::istringstream lines(rs::to_prometheus(f.reg));
    std::set<std::string> families;
    std::string family;
    for (std::string line; std::getline(lines, line);) {
        INFO(line);
        if (line.starts_with("# HELP ")) {
            family = line.substr(7, line.find(' ', 7) - 7);
            CHECK(families.insert(family).second);
        } else if (line.starts_with("# ")) {
            CHECK(line.starts_with("# TYPE " + family + " "));
        } else {
            CHECK(line.starts_with(family));
        }
    }
    CHECK(families.size() > 20);
}

TEST_CASE("labels of a policy stand on all of its samples, and on no other's", "[prometheus][labels]") {
    prometheus_fixture f;
    const rs::labels_type labels{{"team", "tickets"}, {"note", "a \"b\"\n"}};
    const rs::circuit_breaker c({.name = "labelled",
                                 .failure_rate_threshold = 0.5,
                                 .slow_call_duration = 1s,
                                 .slow_call_rate_threshold = 0.5,
                                 .labels = labels},
                                f.reg);
    const rs::retry r({.name = "labelled", .labels = labels}, f.reg);
    const rs::timeout t({.name = "labelled", .limit = 1s, .labels = labels}, f.reg);
    const rs::abandoning_timeout a({.name = "labelled", .limit = 1s, .labels = labels}, f.reg);
    const rs::circuit_breaker other({.name = "plain"}, f.reg);
    const rs::retry other_retry({.name = "plain"}, f.reg);
    (r | c | t)([] {});

    std::istringstream lines(rs::to_prometheus(f.reg));
    std::size_t labelled = 0;
    for (std::string line; std::getline(lines, line);) {
        INFO(line);
        const bool has_labels = line.find("team=\"tickets\",note=\"a \\\"b\\\"\\n\"}") != line.npos;
        CHECK(has_labels == (line.find("name=\"labelled\"") != line.npos));
        labelled += has_labels ? 1 : 0;
    }
    CHECK(labelled > 40);
}

TEST_CASE("labels that metrics have of their own are no policy's", "[prometheus][labels]") {
    prometheus_fixture f;
    const rs::circuit_breaker c({.name = "x", .slow_call_duration = 1s, .slow_call_rate_threshold = 0.5},
                                f.reg);
    const rs::retry r({.name = "x"}, f.reg);
    const rs::timeout t({.name = "x", .limit = 1s}, f.reg);
    const rs::abandoning_timeout a({.name = "x", .limit = 1s}, f.reg);

    const std::string text = rs::to_prometheus(f.reg) + rs::to_prometheus(rs::alert_stats{});
    std::set<std::string> used;
    for (auto at = text.find("=\""); at != text.npos; at = text.find("=\"", at + 1)) {
        const auto before = text.find_last_of("{,", at);
        used.insert(text.substr(before + 1, at - before - 1));
    }

    CHECK(used.size() == 6);
    for (const std::string& label : used) {
        INFO(label);
        CHECK_FALSE(rs::validate(rs::retry_config{.labels = {{label, "x"}}}).empty());
    }
}

TEST_CASE("the prefix is what all names begin with", "[prometheus]") {
    prometheus_fixture f;
    const rs::circuit_breaker c({.name = "c"}, f.reg);

    const std::string text = rs::to_prometheus(f.reg, {.prefix = "resilience4j"});

    CHECK(text.find("\nresilience4j_circuitbreaker_state{name=\"c\",state=\"closed\"} 1\n") != text.npos);
    CHECK(text.find("resilience_") == text.npos);
}

TEST_CASE("a prefix that no metric may begin with is refused, by its name, value and range", "[prometheus]") {
    const prometheus_fixture f;
    for (const char* prefix : {"a", "_", "A9_z"}) CHECK_NOTHROW(rs::to_prometheus(f.reg, {.prefix = prefix}));
    for (const std::string& prefix :
         {std::string(), std::string("9a"), std::string("a-b"), std::string("a b"), std::string("a\n"),
          std::string("a:b"), std::string("\xC3\xBC"), std::string("a\0", 2), std::string(100'000, '-')}) {
        CHECK_THROWS_AS(rs::to_prometheus(f.reg, {.prefix = prefix}), std::invalid_argument);
        CHECK(rs::validate(rs::prometheus_options{.prefix = prefix}).size() < 300);
    }
    CHECK(
        rs::validate({.prefix = "a-b"}) ==
        "prometheus_options.prefix is 'a-b'; it must be letters, digits and underscores (at least one), and "
        "not begin with a digit");
    rs::registry reg;
    CHECK_THROWS_AS(rs::monitoring_api(reg, {.prometheus = {.prefix = ""}}), std::invalid_argument);
}

TEST_CASE("a scrape of 500 circuits reads each of them once", "[prometheus]") {
    counting_clock clock;
    rs::registry reg{clock};
    std::vector<rs::circuit_breaker> breakers;
    for (int i = 0; i < 500; ++i)
        breakers.emplace_back(
            rs::circuit_breaker_config{.name = "c" + std::to_string(i), .failure_rate_threshold = 0.5}, reg);
    clock.reads = 0;

    const std::string text = rs::to_prometheus(reg);

    CHECK(clock.reads == 500);
    std::size_t circuits = 0;
    constexpr std::string_view sample = "\nresilience_circuitbreaker_trips_total{";
    for (auto at = text.find(sample); at != text.npos; at = text.find(sample, at + 1)) ++circuits;
    CHECK(circuits == 500);
}

TEST_CASE("/metrics answers in the text format", "[prometheus][monitoring_api]") {
    prometheus_fixture f;
    const rs::circuit_breaker c({.name = "c"}, f.reg);
    const rs::monitoring_api api(f.reg, {.prometheus = {.prefix = "mine"}});

    const auto r = api.handle({.method = "GET", .target = "/metrics?_=1"});

    CHECK(r.status == 200);
    CHECK(r.content_type == "text/plain; version=0.0.4; charset=utf-8");
    CHECK(r.headers.at("Cache-Control") == "no-store");
    CHECK(r.body == rs::to_prometheus(f.reg, {.prefix = "mine"}));
    CHECK(api.handle({.method = "HEAD", .target = "/metrics"}).status == 200);
    CHECK(api.handle({.method = "HEAD", .target = "/metrics"}).body.empty());
    CHECK(api.handle({.method = "POST", .target = "/metrics"}).status == 405);
    CHECK(api.handle({.method = "POST", .target = "/metrics"}).headers.at("Allow") == "GET, HEAD");
    for (const char* other : {"/metrics/", "/metricsx", "/Metrics", "/api/v1/resilience/metrics"})
        CHECK(api.handle({.method = "GET", .target = other}).status == 404);
}

TEST_CASE("a scrape in parts has every sample once", "[prometheus][monitoring_api]") {
    prometheus_fixture f;
    const rs::circuit_breaker a({.name = "a"}, f.reg);
    const rs::circuit_breaker b({.name = "b"}, f.reg);
    const rs::retry retry({.name = "a"}, f.reg);
    const rs::monitoring_api api(f.reg, {.events = std::make_shared<rs::event_log>(f.reg),
                                         .alerts = [] { return rs::alert_stats{}; }});
    const auto scrape = [&](const std::string& query) {
        return api.handle({.method = "GET", .target = "/metrics" + query});
    };
    const auto samples = [](const std::string& text) {
        std::vector<std::string> all;
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);) {
            if (!line.starts_with('#')) all.push_back(line.substr(0, line.rfind(' ')));
        }
        std::ranges::sort(all);
        return all;
    };

    auto parts = samples(scrape("?limit=1").body);
    for (const char* query : {"?limit=1&after=circuit_breaker/a", "?limit=1&after=circuit_breaker/b"}) {
        for (auto& each : samples(scrape(query).body)) parts.push_back(std::move(each));
    }
    std::ranges::sort(parts);
    CHECK(parts == samples(scrape("").body));
    CHECK(scrape("?limit=1").headers.at("Link") == R"(<?after=circuit_breaker/a&limit=1>; rel="next")");
    CHECK(scrape("?kind=retry").body.find("circuitbreaker_state") == std::string::npos);
    CHECK(scrape("?kind=retry").body.find("listener_errors") == std::string::npos);
    CHECK(scrape("?kind=circuit_breaker&name=b").body.find("name=\"a\"") == std::string::npos);
    CHECK(scrape("?kind=circuit_breaker&name=b").body.find("name=\"b\"") != std::string::npos);
    CHECK(scrape("?limit=x").status == 400);
    CHECK(scrape("?limit=1&limit=2").status == 400);
    CHECK(scrape("?kinds=retry").body ==
          rs::error_json("bad_request",
                         "argument 'kinds' is unknown or given twice; there are kind, name, after, limit"));
}

TEST_CASE("the alerts' metrics stand after the policies', and what became of them adds up",
          "[prometheus][monitoring_api]") {
    const rs::alert_stats stats{.seen = 28,
                                .sent = 10,
                                .deduplicated = 7,
                                .rate_limited = 6,
                                .dropped = 5,
                                .failed = 4,
                                .failed_sends = 3,
                                .waiting = 2};
    const std::string text =
        "# HELP mine_alerts_seen_total Events that were alerts.\n"
        "# TYPE mine_alerts_seen_total counter\n"
        "mine_alerts_seen_total 28\n"
        "# HELP mine_alerts_total Alerts that wait no more, by what became of them.\n"
        "# TYPE mine_alerts_total counter\n"
        "mine_alerts_total{outcome=\"sent\"} 10\n"
        "mine_alerts_total{outcome=\"deduplicated\"} 7\n"
        "mine_alerts_total{outcome=\"dropped\"} 5\n"
        "mine_alerts_total{outcome=\"failed\"} 4\n"
        "# HELP mine_alerts_waiting Alerts that wait to be sent or tried again.\n"
        "# TYPE mine_alerts_waiting gauge\n"
        "mine_alerts_waiting 2\n"
        "# HELP mine_alerts_rate_limited_total Alerts that had to wait for the rate limit.\n"
        "# TYPE mine_alerts_rate_limited_total counter\n"
        "mine_alerts_rate_limited_total 6\n"
        "# HELP mine_alert_failed_sends_total Tries to send an alert that failed.\n"
        "# TYPE mine_alert_failed_sends_total counter\n"
        "mine_alert_failed_sends_total 3\n";
    CHECK(rs::to_prometheus(stats, {.prefix = "mine"}) == text);
    CHECK_THROWS_AS(rs::to_prometheus(stats, {.prefix = "1"}), std::invalid_argument);

    prometheus_fixture f;
    const rs::monitoring_api api(f.reg, {.prometheus = {.prefix = "mine"}, .alerts = [&] { return stats; }});
    const std::string policies = rs::to_prometheus(f.reg, {.prefix = "mine"});
    CHECK(api.handle({.method = "GET", .target = "/metrics"}).body == policies + text);

    const rs::monitoring_api broken(f.reg,
                                    {.prometheus = {.prefix = "mine"},
                                     .alerts = []() -> rs::alert_stats { throw std::runtime_error("x"); }});
    CHECK(broken.handle({.method = "GET", .target = "/metrics"}).body == policies);
}

} // namespace
