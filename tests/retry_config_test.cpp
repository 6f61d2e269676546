// SPDX-License-Identifier: Apache-2.0
// Of a retry: what is refused, names, handles, updates.
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>

#include "support/catch.hpp"
#include "support/failing.hpp"
#include "support/world.hpp"

#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using rs::testing::scripted;
using rs::testing::throws;
using support::always_failing;
using support::plain;
using support::world;

rs::retry_config changed(const std::function<void(rs::retry_config&)>& change) {
    rs::retry_config c;
    change(c);
    return c;
}

TEST_CASE("an impossible retry_config is refused by field, value and range", "[retry][H-RT-23]") {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    constexpr double infinity = std::numeric_limits<double>::infinity();
    struct row {
        std::string field;
        std::string value;
        std::function<void(rs::retry_config&)> change;
    };
    const std::vector<row> rows = {
        {"max_attempts", "0", [](auto& c) { c.max_attempts = 0; }},
        {"base_delay", "-1ns", [](auto& c) { c.base_delay = -1ns; }},
        {"max_delay", "-1ns", [](auto& c) { c.max_delay = -1ns; }},
        {"multiplier", "0.99", [](auto& c) { c.multiplier = 0.99; }},
        {"multiplier", "nan", [](auto& c) { c.multiplier = nan; }},
        {"multiplier", "inf", [](auto& c) { c.multiplier = infinity; }},
        {"multiplier", "-2", [](auto& c) { c.multiplier = -2; }},
        {"jitter_ratio", "-0.01", [](auto& c) { c.jitter_ratio = -0.01; }},
        {"jitter_ratio", "1.01", [](auto& c) { c.jitter_ratio = 1.01; }},
        {"jitter_ratio", "nan", [](auto& c) { c.jitter_ratio = nan; }},
        {"max_elapsed", "0ns", [](auto& c) { c.max_elapsed = 0ns; }},
        {"max_elapsed", "-1ns", [](auto& c) { c.max_elapsed = -1ns; }},
        {"max_retry_after", "-1ns", [](auto& c) { c.max_retry_after = -1ns; }},
    };
    world w;
    for (const auto& r : rows) {
        const auto c = changed(r.change);
        const std::string complaint = rs::validate(c);

        CHECK_THAT(complaint,
                   Contains("retry_config." + r.field) && Contains(r.value) && Contains("must be"));
        CHECK_THROWS_AS(rs::retry(c, w.reg), std::invalid_argument);
        CHECK_THROWS_WITH(rs::retry(c, w.reg), complaint);
    }
}

TEST_CASE("the outermost values of a retry_config are accepted", "[retry][H-RT-23]") {
    const std::vector<std::function<void(rs::retry_config&)>> changes = {
        [](auto& c) { c.max_attempts = 1; },
        [](auto& c) { c.max_attempts = std::numeric_limits<unsigned>::max(); },
        [](auto& c) { c.base_delay = 0ns; },
        [](auto& c) { c.base_delay = rs::duration::max(); },
        [](auto& c) { c.max_delay = 0ns; },
        [](auto& c) { c.max_delay = rs::duration::max(); },
        [](auto& c) { c.multiplier = 1.0; },
        [](auto& c) { c.multiplier = 1e6; },
        [](auto& c) { c.jitter_ratio = 0.0; },
        [](auto& c) { c.jitter_ratio = 1.0; },
        [](auto& c) { c.max_elapsed = 1ns; },
        [](auto& c) { c.max_retry_after = 0ns; },
    };
    world w;
    for (const auto& change : changes) CHECK_NOTHROW(rs::retry(changed(change), w.reg));
}

TEST_CASE("a name with an equal config is a handle to the same retry", "[retry][H-CPP-20]") {
    world w;
    const rs::retry one{{.name = "jira", .max_attempts = 1}, w.reg};
    const rs::retry other{{.name = "jira", .max_attempts = 1}, w.reg};
    const rs::retry copy = one;

    (void)one.try_call(always_failing());
    (void)other.try_call(always_failing());
    (void)copy.try_call(always_failing());

    CHECK(one.stats().calls == 3);
    CHECK(other.stats().calls == 3);
    CHECK(copy.stats().name == "jira");
}

TEST_CASE("retries without a name are private", "[retry][H-CPP-20]") {
    world w;
    const rs::retry one{rs::retry_config{.max_attempts = 1}, w.reg};
    const rs::retry other{rs::retry_config{.max_attempts = 1}, w.reg};

    (void)one.try_call(always_failing());

    CHECK(one.stats().calls == 1);
    CHECK(other.stats().calls == 0);
    CHECK(w.reg.policies().empty());
}

TEST_CASE("a name with an unequal config is refused, naming the field", "[retry]") {
    struct row {
        std::string field;
        std::function<void(rs::retry_config&)> change;
    };
    const std::vector<row> rows = {
        {"max_attempts", [](auto& c) { c.max_attempts = 4; }},
        {"base_delay", [](auto& c) { c.base_delay = 2s; }},
        {"max_delay", [](auto& c) { c.max_delay = 2s; }},
        {"strategy", [](auto& c) { c.strategy = rs::backoff::linear; }},
        {"multiplier", [](auto& c) { c.multiplier = 3; }},
        {"jitter", [](auto& c) { c.jitter = rs::jitter::none; }},
        {"jitter_ratio", [](auto& c) { c.jitter_ratio = 0.1; }},
        {"max_elapsed", [](auto& c) { c.max_elapsed = 1s; }},
        {"retry_if", [](auto& c) { c.retry_if = rs::on<std::runtime_error>(); }},
        {"delay_override",
         [](auto& c) {
             c.delay_override = [](unsigned, const rs::failure&) { return std::optional<rs::duration>{}; };
         }},
        {"budget", [](auto& c) { c.budget = rs::retry_budget::unlimited(); }},
        {"respect_retry_after", [](auto& c) { c.respect_retry_after = false; }},
        {"max_retry_after", [](auto& c) { c.max_retry_after = 1s; }},
        {"nested", [](auto& c) { c.nested = rs::nested_retry::outermost_only; }},
        {"wrap_exhausted", [](auto& c) { c.wrap_exhausted = true; }},
    };
    world w;
    const rs::retry first{{.name = "jira"}, w.reg};
    for (const auto& r : rows) {
        auto c = changed(r.change);
        c.name = "jira";
        CHECK_THROWS_AS(rs::retry(c, w.reg), std::invalid_argument);
        CHECK_THROWS_WITH(rs::retry(c, w.reg), Contains("jira") && Contains(r.field));
    }
}

TEST_CASE("callables in a config are compared as far as can be known", "[retry][H-USE-24]") {
    world w;
    const rs::retry one{{.name = "jira", .retry_if = rs::on<std::runtime_error>()}, w.reg};

    CHECK_NOTHROW(rs::retry({.name = "jira", .retry_if = rs::on<std::runtime_error>()}, w.reg));
    CHECK_THROWS_WITH(rs::retry({.name = "jira", .retry_if = rs::on<std::logic_error>()}, w.reg),
                      "retry 'jira' exists already with another retry_if");
    CHECK_THROWS_AS(rs::retry({.name = "jira"}, w.reg), std::invalid_argument);
}

TEST_CASE("the order in which fields are set means nothing", "[retry][H-RT-22]") {
    world w;
    rs::retry_config forwards;
    forwards.name = "jira";
    forwards.strategy = rs::backoff::constant;
    forwards.base_delay = 2s;
    forwards.jitter = rs::jitter::equal;
    forwards.max_delay = 1s;
    rs::retry_config backwards;
    backwards.max_delay = 1s;
    backwards.jitter = rs::jitter::equal;
    backwards.base_delay = 2s;
    backwards.strategy = rs::backoff::constant;
    backwards.name = "jira";

    const rs::retry one{forwards, w.reg};
    CHECK_NOTHROW(rs::retry(backwards, w.reg));
    CHECK(one.config().jitter == rs::jitter::equal);
    CHECK(one.config().base_delay == 2s);
}

TEST_CASE("a retry keeps its own copy of its name", "[retry][H-CPP-22]") {
    world w;
    auto name = std::make_unique<std::string>("a name that is too long for the small string optimisation");
    const std::string expected = *name;
    const rs::retry retry{{.name = *name}, w.reg};
    name->assign(name->size(), '#');
    name.reset();

    CHECK(retry.name() == expected);
    CHECK(w.reg.find<rs::retry>(expected).has_value());
}

TEST_CASE("handles go on after their name is removed and their registry has ended", "[retry][H-CPP-23]") {
    rs::testing::virtual_clock clock;
    std::optional<rs::retry> retry;
    {
        rs::registry reg{clock};
        auto c = plain(2);
        c.name = "jira";
        retry.emplace(c, reg);
        CHECK(reg.remove("jira"));
        CHECK_FALSE(reg.find<rs::retry>("jira"));
    }
    const auto f = always_failing();

    (void)retry->try_call(f);

    CHECK(f.calls() == 2);
    CHECK(retry->stats().exhausted == 1);
}

TEST_CASE("a call goes on when its name is removed and other handles end meanwhile", "[retry][H-CPP-23]") {
    world w;
    auto c = plain(2);
    c.name = "jira";
    auto other = std::make_unique<rs::retry>(c, w.reg);
    const rs::retry retry = *other;
    unsigned calls = 0;

    CHECK_THROWS_WITH(retry([&] {
                          ++calls;
                          w.reg.remove("jira");
                          other.reset();
                          throw std::runtime_error("down");
                      }),
                      "down");

    CHECK(calls == 2);
}

TEST_CASE("an update holds for calls that begin after it", "[retry]") {
    world w;
    const rs::retry retry{plain(3), w.reg};
    auto once = plain(1);

    retry.update(once);
    const auto f = always_failing();
    (void)retry.try_call(f);

    CHECK(f.calls() == 1);
    CHECK(retry.config().max_attempts == 1);
}

TEST_CASE("a call in flight finishes under the rules that it began with", "[retry]") {
    for (const unsigned updated_at : {1U, 2U}) {
        world w;
        const rs::retry retry{plain(3), w.reg};
        unsigned calls = 0;

        (void)retry.try_call([&] {
            if (++calls == updated_at) retry.update(plain(1));
            throw std::runtime_error("down");
        });

        CHECK(calls == 3);
    }
}

TEST_CASE("an update that is invalid or renames changes nothing", "[retry]") {
    world w;
    const rs::retry retry{{.name = "jira", .max_attempts = 2}, w.reg};

    CHECK_THROWS_WITH(retry.update({.name = "jira", .max_attempts = 0}), Contains("max_attempts"));
    CHECK_THROWS_WITH(retry.update({.name = "confluence", .max_attempts = 5}), Contains("name"));

    CHECK(retry.config().max_attempts == 2);
}

TEST_CASE("a name is compared with the config it was declared with, not with its updates", "[retry]") {
    world w;
    const rs::retry retry{{.name = "jira", .max_attempts = 2}, w.reg};
    retry.update({.name = "jira", .max_attempts = 5});

    CHECK_NOTHROW(rs::retry({.name = "jira", .max_attempts = 2}, w.reg));
    CHECK_THROWS_AS(rs::retry({.name = "jira", .max_attempts = 5}, w.reg), std::invalid_argument);
}

TEST_CASE("a named retry shows in its registry with its numbers", "[retry]") {
    world w;
    const rs::retry retry{{.name = "jira", .max_attempts = 1}, w.reg};
    (void)retry.try_call(always_failing());

    const auto all = w.reg.policies();

    REQUIRE(all.size() == 1);
    CHECK(all[0].kind == "retry");
    CHECK(all[0].name == "jira");
    CHECK(all[0].statistics.at(0).name == "calls");
    CHECK(std::get<std::uint64_t>(all[0].statistics.at(0).value) == 1);
}

} // namespace
