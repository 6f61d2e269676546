// SPDX-License-Identifier: Apache-2.0
#include <resilience/environment/policy_core.hpp>

#include <resilience/any_pipeline.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/cap.hpp"
#include "support/catch.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::cap;
using support::cap_config;
using support::world;

static_assert(rs::policy<cap>);

TEST_CASE("a policy of a user's joins pipelines, and its handles share one state",
          "[policy_core][user_policy]") {
    world w;
    const cap one({.name = "search", .max_calls = 2}, w.reg);
    const cap same({.name = "search", .max_calls = 2}, w.reg);
    const auto guard = rs::retry(support::at_once(2), w.reg) | one;
    const rs::any_pipeline any(rs::retry(support::at_once(2), w.reg), same);

    guard([] {});
    any([] {});
    const auto refused = guard.try_call([] {});

    CHECK(refused.error().code() == rs::errc::limit_exceeded);
    CHECK(refused.error().message() == "limiter 'search' has no place");
    CHECK(same.stats().admitted == 2);
    CHECK(same.stats().rejected == 1);
    REQUIRE(w.reg.find<cap>("search"));
    CHECK(w.reg.find<cap>("search")->stats().rejected == 1);
    CHECK_FALSE(w.reg.find<cap>("other"));
    CHECK(w.reg.policies("cap", "search").size() == 1);
}

TEST_CASE("policies of other registries do not mix with a user's", "[policy_core][user_policy]") {
    world w, other;
    const cap limit({.max_calls = 2}, w.reg);

    CHECK_THROWS_AS(rs::retry(support::plain(), other.reg) | limit, std::invalid_argument);
    CHECK_NOTHROW(rs::retry(support::plain(), w.reg) | limit);
}

TEST_CASE("a name that exists with another config is refused by field and both values", "[policy_core]") {
    world w;
    const cap first({.name = "search", .max_calls = 3, .pause = 2s}, w.reg);
    const rs::retry retry({.name = "jira_api"}, w.reg);
    const auto again = [&](cap_config c) {
        c.name = "search";
        return cap(c, w.reg);
    };

    CHECK_THROWS_WITH(rs::retry({.name = "jira_api", .max_attempts = 5}, w.reg),
                      "retry 'jira_api' exists already with another max_attempts (3, not 5)");
    CHECK_THROWS_WITH(rs::retry({.name = "jira_api", .max_elapsed = 1500ms}, w.reg),
                      "retry 'jira_api' exists already with another max_elapsed (unset, not 1500ms)");
    CHECK_THROWS_WITH(rs::retry({.name = "jira_api", .retry_if = rs::on<std::logic_error>()}, w.reg),
                      "retry 'jira_api' exists already with another retry_if");
    CHECK_THROWS_WITH(again({.max_calls = 5, .pause = 2s}),
                      "cap 'search' exists already with another max_calls (3, not 5)");
    CHECK_THROWS_WITH(again({.max_calls = 3}),
                      "cap 'search' exists already with another pause (2s, not unset)");
    CHECK_THROWS_WITH(again({.max_calls = 3, .pause = 2s, .warn_at = 0.5}),
                      "cap 'search' exists already with another warn_at (0.9, not 0.5)");
    CHECK_THROWS_WITH(again({.max_calls = 3, .pause = 2s, .then = support::when_full::warn}),
                      "cap 'search' exists already with another then (refuse, not warn)");
    CHECK_NOTHROW(again({.max_calls = 3, .pause = 2s}));
}

TEST_CASE("an update is for what begins then, and nothing of it is done if it is not valid",
          "[policy_core]") {
    world w;
    const support::heard heard(w.reg);
    const cap limit({.name = "search", .max_calls = 1, .labels = {{"team", "tickets"}}}, w.reg);
    const cap_config& before = limit.config();

    limit.update({.name = "search", .max_calls = 2, .labels = {{"team", "tickets"}}});

    CHECK(limit.config().max_calls == 2);
    REQUIRE(heard.events.size() == 1);
    CHECK(heard.events[0].kind == rs::event_kind::policy_updated);
    CHECK(heard.events[0].policy_kind == "cap");
    CHECK(heard.events[0].policy == "search");
    CHECK(heard.events[0].labels == rs::labels_type{{"team", "tickets"}});
    CHECK(before.max_calls == 1); // kept for calls in flight
    CHECK_THROWS_WITH(limit.update({.name = "search", .max_calls = 0}),
                      "cap 'search': cap_config.max_calls is 0; it must be 1 or more");
    CHECK_THROWS_WITH(limit.update({.name = "find", .max_calls = 3}),
                      "cap_config.name is 'find'; the name of cap 'search' is fixed");
    CHECK_THROWS_WITH(rs::timeout({.name = "t", .limit = 1s}, w.reg).update({.name = "u", .limit = 1s}),
                      "timeout_config.name is 'u'; the name of timeout 't' is fixed");
    CHECK(limit.config().max_calls == 2);
    CHECK(heard.events.size() == 1);
    CHECK_NOTHROW(
        cap({.name = "search", .max_calls = 1, .labels = {{"team", "tickets"}}}, w.reg)); // as declared
}

/// Of the least that there can be: no fields, no statistics, no labels, nothing to validate.
struct bare_config {
    static constexpr std::string_view policy_kind = "cap";
    std::string name{};
};
void fields(bare_config&, auto&&) {}
class bare_core final : public rs::policy_core<bare_core, bare_config> {
public:
    using policy_core::policy_core;
};
class bare : public rs::policy_handle<bare_core> {
public:
    using policy_handle::policy_handle;
};

TEST_CASE("a policy needs no more than a name", "[policy_core]") {
    world w;
    const bare one({.name = "search"}, w.reg);
    const bare same({.name = "search"}, w.reg);

    one.update({.name = "search"});

    CHECK_THROWS_WITH(one.update({.name = "find"}),
                      "cap_config.name is 'find'; the name of cap 'search' is fixed");
    CHECK(w.reg.policies().size() == 1);
    CHECK(w.reg.policies()[0].statistics.empty());
}

TEST_CASE("two types that call themselves by one kind are found out", "[policy_core]") {
    world w;
    const cap first({.name = "search"}, w.reg);

    CHECK_THROWS_AS(bare({.name = "search"}, w.reg), std::logic_error);
    CHECK_THROWS_AS(w.reg.find<bare>("search"), std::logic_error);
    CHECK_NOTHROW(bare({.name = "find"}, w.reg));
    CHECK(w.reg.find<cap>("search"));
}

} // namespace
