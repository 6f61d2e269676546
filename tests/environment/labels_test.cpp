// SPDX-License-Identifier: Apache-2.0
#include <resilience/environment/labels.hpp>

#include <resilience/abandoning_timeout.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using support::world;

rs::labels_type labels(int pairs) {
    rs::labels_type all;
    for (int i = 0; i < pairs; ++i) all.emplace_back("l" + std::to_string(i), "value");
    return all;
}

TEST_CASE("a policy has up to eight labels", "[labels]") {
    world w;

    CHECK(rs::validate(rs::retry_config{.labels = labels(8)}).empty());
    CHECK(rs::validate(rs::retry_config{.labels = labels(9)}) ==
          "retry_config.labels has 9 pairs; it must be at most 8");
    CHECK(rs::validate(rs::timeout_config{.limit = 1s, .labels = labels(9)})
              .starts_with("timeout_config.labels has 9 pairs"));
    CHECK(rs::validate(rs::abandoning_timeout_config{.limit = 1s, .labels = labels(9)})
              .starts_with("abandoning_timeout_config.labels has 9 pairs"));
    CHECK(rs::validate(rs::circuit_breaker_config{.labels = labels(9)})
              .starts_with("circuit_breaker_config.labels has 9 pairs"));
    CHECK_THROWS_AS(rs::retry({.labels = labels(9)}, w.reg), std::invalid_argument);
    CHECK_NOTHROW(rs::retry({.labels = labels(8)}, w.reg));
}

TEST_CASE("labels have the names that Prometheus takes, and none of ours", "[labels][H-MON-01]") {
    for (const char* good : {"team", "_", "a1", "A_b", "names", "_x"})
        CHECK(rs::validate(rs::retry_config{.labels = {{good, ""}}}).empty());
    for (const char* bad : {"", "1a", "a-b", "a b", "a.b", "__x", "\xC3\xBC", "a\"", "name", "kind",
                            "policy_kind", "state", "outcome", "le", "quantile"}) {
        INFO(bad);
        CHECK_THAT(rs::validate(rs::retry_config{.labels = {{bad, "x"}}}),
                   Contains(std::string("retry_config.labels has the name '") + bad + "'; it must be"));
    }
    CHECK(rs::validate(rs::retry_config{.labels = {{std::string(100'000, '-'), "x"}}}).size() < 400);
    CHECK(rs::validate(rs::retry_config{.labels = {{"team", "a"}, {"tier", "1"}, {"team", "a"}}}) ==
          "retry_config.labels has the name 'team' twice; it must be there once");
}

TEST_CASE("labels belong to what a name stands for: they are compared, and do not change", "[labels]") {
    world w;
    const rs::retry retry({.name = "jira", .labels = {{"team", "tickets"}}}, w.reg);

    CHECK_NOTHROW(rs::retry({.name = "jira", .labels = {{"team", "tickets"}}}, w.reg));
    CHECK_THROWS_WITH(rs::retry({.name = "jira", .labels = {{"team", "search"}}}, w.reg),
                      "retry 'jira' exists already with other labels ({team=tickets}, not {team=search})");
    CHECK_THROWS_WITH(rs::retry({.name = "jira"}, w.reg), Contains("({team=tickets}, not {})"));
    CHECK_THROWS_WITH(retry.update({.name = "jira"}),
                      "retry_config.labels is {}; the labels of retry 'jira' are fixed: {team=tickets}");
    CHECK_NOTHROW(retry.update({.name = "jira", .max_attempts = 5, .labels = {{"team", "tickets"}}}));
}

TEST_CASE("events and snapshots carry their policy's labels, also when it is gone", "[labels][event]") {
    world w;
    const support::heard heard(w.reg);
    const auto& kept = heard.events;
    std::optional<rs::retry> retry(rs::retry(
        {.name = "jira", .max_attempts = 1, .labels = {{"team", "tickets"}, {"tier", "1"}}}, w.reg));
    const rs::timeout limit({.name = "jira", .limit = 1s, .labels = {{"team", "search"}}}, w.reg);
    const rs::retry plain({.max_attempts = 1}, w.reg);

    (void)retry->try_call([] { throw std::runtime_error("down"); });
    (void)limit.try_call([&] { w.clock.advance(2s); });
    (void)plain.try_call([] { throw std::runtime_error("down"); });
    const auto snapshots = w.reg.policies();
    retry.reset();
    w.reg.remove("jira");

    REQUIRE(kept.size() == 3);
    CHECK(kept[0].labels == rs::labels_type{{"team", "tickets"}, {"tier", "1"}});
    CHECK(kept[0].labels.size() == 2);
    CHECK(kept[0].labels[1].second == "1");
    CHECK(kept[1].labels == rs::labels_type{{"team", "search"}});
    CHECK(kept[2].labels.empty());
    REQUIRE(snapshots.size() == 2);
    CHECK(snapshots[0].labels == rs::labels_type{{"team", "tickets"}, {"tier", "1"}});
    CHECK(snapshots[1].labels == rs::labels_type{{"team", "search"}});
}

TEST_CASE("all events of a circuit carry its labels", "[labels][event]") {
    world w;
    const support::heard heard(w.reg);
    const rs::labels_type labels{{"team", "tickets"}};
    const rs::circuit_breaker circuit({.name = "db", .failure_threshold = 1, .labels = labels}, w.reg);

    (void)circuit.try_call([] { throw std::runtime_error("down"); });
    (void)circuit.try_call([] {});
    (void)circuit.try_acquire();
    circuit.metrics_only();
    (void)circuit.try_call([] { throw std::runtime_error("down"); });
    circuit.update({.name = "db", .failure_threshold = 2, .labels = labels});

    REQUIRE(heard.events.size() == 6);
    CHECK(heard.events[4].kind == rs::event_kind::would_have_tripped);
    for (const rs::event& e : heard.events) {
        INFO(to_string(e.kind));
        CHECK(e.labels == labels);
    }
    CHECK(w.reg.policies().at(0).labels == labels);
}

} // namespace
