// SPDX-License-Identifier: Apache-2.0
// How log lines can be shaped, ranked and thinned out; what they say by default is in spdlog_test.cpp.
#include "support/catch.hpp"

#include <resilience/circuit_breaker.hpp>
#include <resilience/retry.hpp>
#include <resilience/spdlog.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <spdlog/sinks/base_sink.h>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
namespace level = spdlog::level;
using lines = std::vector<std::string>;

/// Keeps lines as `level|text`.
class line_sink : public spdlog::sinks::base_sink<std::mutex> {
public:
    lines all;

protected:
    void sink_it_(const spdlog::details::log_msg& msg) override {
        const auto name = level::to_string_view(msg.level);
        all.push_back(std::string(name.data(), name.size()) + "|" +
                      std::string(msg.payload.data(), msg.payload.size()));
    }
    void flush_() override {}
};

struct fixture {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    std::shared_ptr<line_sink> sink = std::make_shared<line_sink>();
    std::shared_ptr<spdlog::logger> logger = std::make_shared<spdlog::logger>("test", sink);
    rs::subscription logging;

    explicit fixture(rs::log_options options = {}) {
        logger->set_level(level::info);
        logging = rs::log_events(reg, logger, std::move(options));
    }
    void publish(const rs::event& e, int times = 1) const {
        for (int i = 0; i < times; ++i) reg.env()->publish(e);
    }
    /// The lines since the last time.
    lines written() const { return std::exchange(sink->all, {}); }
};

rs::event failed_attempt(std::string error = "down") {
    rs::event e{.kind = rs::event_kind::attempt_failed, .policy_kind = "retry", .policy = "jira_api"};
    e.attempt = 1;
    e.max_attempts = 3;
    e.delay = 830ms;
    e.error = std::move(error);
    return e;
}
rs::event opened_event() {
    rs::event e{
        .kind = rs::event_kind::state_changed, .policy_kind = "circuit_breaker", .policy = "jira_api"};
    e.to = rs::circuit_state::open;
    e.delay = 30s;
    e.failure_count = 5;
    e.generation = 2;
    return e;
}
const std::string failed_line =
    "warning|Attempt 1/3 failed function=jira_api retry_delay=0.83s policy=jira_api error=down";

std::string refusal_of_options(const rs::log_options& options) {
    fixture f;
    try {
        (void)rs::log_events(f.reg, f.logger, options);
    } catch (const std::invalid_argument& e) {
        return e.what();
    }
    return "none";
}

} // namespace

TEST_CASE("lines of JSON have the sentence as message and the fields as typed values", "[spdlog]") {
    fixture f({.format = rs::log_format::json});

    f.publish(failed_attempt("server is \"down\"\n"));
    f.publish(opened_event());
    rs::event last = failed_attempt();
    last.attempt = 3;
    last.delay.reset();
    last.operation = "search_issues";
    last.retry_depth = 1;
    f.publish(last);

    CHECK(
        f.written() ==
        lines{
            R"(warning|{"message":"Attempt 1/3 failed","function":"jira_api","retry_delay":0.83,"policy":"jira_api","error":"server is \"down\"\n"})",
            R"(warning|{"message":"Circuit breaker 'jira_api' opened","circuit_name":"jira_api","failure_count":5,"from":"closed","to":"open","recovery_timeout":30,"generation":2})",
            R"(warning|{"message":"Attempt 3/3 failed","function":"search_issues","retry_delay":null,"policy":"jira_api","retry_depth":1,"error":"down"})"});
}

TEST_CASE("no text breaks a line of JSON, or disguises it on a terminal", "[spdlog][H-MON-01]") {
    fixture f({.longest_text = 40, .format = rs::log_format::json});
    auto e = opened_event();
    e.policy = "a'b\"c\\\n\x1b[2J\xFF\xE2\x80\xAE";
    e.error = std::string(100, 'x');

    f.publish(e);

    CHECK(
        f.written() ==
        lines{
            R"(warning|{"message":"Circuit breaker 'a\\'b\"c\\\\\\n\\u001b[2J)"
            "\xEF\xBF\xBD"
            R"(\\u202e' opened","circuit_name":"a'b\"c\\\n\u001b[2J)"
            "\xEF\xBF\xBD"
            R"(\u202e","failure_count":5,"last_error":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...","from":"closed","to":"open","recovery_timeout":30,"generation":2})"});
}

TEST_CASE("fields that are not wanted are left out, in both formats", "[spdlog]") {
    fixture f({.leave_out = {"policy", "retry_delay", "generation", "from", "to"}});
    f.publish(failed_attempt());
    f.publish(opened_event());
    CHECK(f.written() == lines{"warning|Attempt 1/3 failed function=jira_api error=down",
                               "warning|Circuit breaker 'jira_api' opened circuit_name=jira_api "
                               "failure_count=5 recovery_timeout=30s"});

    fixture json(
        {.format = rs::log_format::json, .leave_out = {"function", "policy", "retry_delay", "error"}});
    json.publish(failed_attempt());
    CHECK(json.written() == lines{R"(warning|{"message":"Attempt 1/3 failed"})"});
}

TEST_CASE("levels may be chosen per event, and off writes nothing", "[spdlog]") {
    fixture f({.level_of = [](const rs::event& e) {
        if (e.kind == rs::event_kind::state_changed) return level::critical;
        return e.attempt == 1 ? level::off : rs::default_log_level(e);
    }});
    f.publish(opened_event());
    f.publish(failed_attempt());
    auto second = failed_attempt();
    second.attempt = 2;
    f.publish(second);

    const auto all = f.written();
    REQUIRE(all.size() == 2);
    CHECK(all[0].starts_with("critical|Circuit breaker 'jira_api' opened"));
    CHECK(all[1].starts_with("warning|Attempt 2/3 failed"));
}

TEST_CASE("a level_of that throws loses the line and disturbs no call", "[spdlog][H-EV-02]") {
    fixture f({.level_of = [](const rs::event&) -> level::level_enum { throw 42; }});
    const rs::retry retry({.max_attempts = 2, .base_delay = 0s}, f.reg);
    int calls = 0;

    CHECK(retry([&] {
              if (++calls < 2) throw std::runtime_error("down");
              return calls;
          }) == 2);

    CHECK(f.written().empty());
    CHECK(f.reg.listener_errors() > 0);
}

TEST_CASE("by default no line is left out", "[spdlog]") {
    fixture f;
    f.publish(failed_attempt(), 10'000);
    CHECK(f.written() == lines(10'000, failed_line));
}

TEST_CASE("of many events of a kind the first of each period are written, with the number of those left out",
          "[spdlog]") {
    fixture f({.sample = rs::log_sampling{.first = 2, .then_every = 0, .period = 1s}});

    f.publish(failed_attempt(), 10);
    CHECK(f.written() == lines{failed_line, failed_line});

    f.clock.advance(1s - 1ns);
    f.publish(failed_attempt());
    CHECK(f.written().empty());

    f.clock.advance(1ns);
    f.publish(failed_attempt(), 3);
    CHECK(f.written() == lines{failed_line + " suppressed=9", failed_line});
}

TEST_CASE("then each so manieth is written", "[spdlog]") {
    fixture f({.format = rs::log_format::json,
               .leave_out = {"function", "policy", "retry_delay", "error"},
               .sample = rs::log_sampling{.first = 1, .then_every = 4}});

    f.publish(failed_attempt(), 9);

    CHECK(f.written() == lines{R"(warning|{"message":"Attempt 1/3 failed"})",
                               R"(warning|{"message":"Attempt 1/3 failed","suppressed":3})",
                               R"(warning|{"message":"Attempt 1/3 failed","suppressed":3})"});
}

TEST_CASE("kinds are counted apart, changes of state and lines below the level not at all", "[spdlog]") {
    fixture f({.sample = rs::log_sampling{.first = 1}});
    const rs::event updated{.kind = rs::event_kind::policy_updated, .policy_kind = "retry"};
    const rs::event rejected{.kind = rs::event_kind::call_rejected, .policy_kind = "bulkhead"};

    f.publish(rejected, 100); // debug: below the logger's level
    f.publish(failed_attempt(), 5);
    f.publish(updated, 5);
    f.publish(opened_event(), 5);
    CHECK(f.written().size() == 1 + 1 + 5);

    f.logger->set_level(level::debug);
    f.publish(rejected);
    const auto all = f.written();
    REQUIRE(all.size() == 1);
    CHECK(all[0] == "debug|Call rejected by bulkhead policy_kind=bulkhead retry_after=none");
}

TEST_CASE("threads leave out as many as they tell", "[spdlog]") {
    fixture f({.sample = rs::log_sampling{.first = 10, .then_every = 7}});
    constexpr int each = 2'000;
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t) threads.emplace_back([&] { f.publish(failed_attempt(), each); });
    }
    f.clock.advance(1s);
    f.publish(failed_attempt());

    const auto all = f.written();
    std::uint64_t told = all.size();
    for (const auto& line : all) {
        const auto at = line.find(" suppressed=");
        if (at != std::string::npos) told += std::stoull(line.substr(at + 12));
    }
    CHECK(told == 4 * each + 1);
    CHECK(all.size() == 10 + (4 * each - 10) / 7 + 1);
}

TEST_CASE("labels of a policy are fields of its lines, in either format, unless they are left out",
          "[spdlog][labels]") {
    rs::event e = opened_event();
    e.labels = rs::shared_labels({{"team", "tickets"}, {"note", "a b\n"}});
    const auto line = [&](rs::log_options options) {
        const fixture f(std::move(options));
        f.publish(e);
        return f.written().at(0);
    };

    CHECK(line({}).ends_with(" generation=2 labels.team=tickets labels.note=\"a b\\n\""));
    CHECK(line({.format = rs::log_format::json})
              .ends_with(R"("generation":2,"labels.team":"tickets","labels.note":"a b\n"})"));
    CHECK(line({.leave_out = {"labels"}}).ends_with(" generation=2"));
    CHECK(line({.leave_out = {"generation"}}).find(" labels.team=tickets") != std::string::npos);
}

TEST_CASE("bad options are refused with field, value and range", "[spdlog]") {
    CHECK(refusal_of_options({}) == "none");
    CHECK(refusal_of_options({.leave_out = {"function", "funktion"}}) ==
          "log_options.leave_out has 'funktion'; it must be names of fields");
    CHECK(refusal_of_options({.leave_out = {"message"}}) ==
          "log_options.leave_out has 'message'; it must be names of fields");
    CHECK(refusal_of_options({.sample = rs::log_sampling{.first = 0}}) ==
          "log_options.sample.first is 0; it must be 1 or more");
    CHECK(refusal_of_options({.sample = rs::log_sampling{.period = 0s}}) ==
          "log_options.sample.period is 0ns; it must be more than 0");
}
