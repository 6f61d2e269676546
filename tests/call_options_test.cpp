// SPDX-License-Identifier: Apache-2.0
// What a call says about itself: priority, cost, correlation.
#include <resilience/resilience.hpp>
#include <resilience/testing/recorder.hpp>

#include "composition/every_policy.hpp"
#include "support/catch.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::at_once;
using support::plain;
using support::world;

/// What a callable tells_of_its_call of its call.
std::string told_by(const rs::call_context& ctx) {
    std::string text;
    for (const auto& [word, priority] : words_of(rs::priority{})) {
        if (priority == ctx.priority()) text = word;
    }
    return text + " " + std::to_string(ctx.cost()) + " '" + std::string(ctx.correlation()) + "'";
}
constexpr auto tells_of_its_call = [](rs::call_context& ctx) { return told_by(ctx); };

/// The correlations of all events, in order.
std::string correlations_in(const rs::testing::recorder& log) {
    std::string all;
    for (const auto& e : log.events())
        all.append(to_string(e.kind)).append(":").append(e.correlation).append(" ");
    return all;
}

int fails_with_no() { throw std::runtime_error("no"); }

} // namespace

TEST_CASE("a call is of normal priority, costs 1 and has no correlation unless its caller says so",
          "[call_options]") {
    support::with_each([](const auto& guard) {
        CHECK(guard(tells_of_its_call) == "normal 1 ''");
        CHECK(guard.with({})(tells_of_its_call) == "normal 1 ''");
        CHECK(guard.with({.priority = rs::priority::critical, .cost = 1'200, .correlation = "req-7"})(
                  tells_of_its_call) == "critical 1200 'req-7'");
        CHECK(guard.named("op").with({.correlation = "req-8"}).wrap(tells_of_its_call)() ==
              "normal 1 'req-8'");
        CHECK(*guard.with({.priority = rs::priority::low}).try_call(tells_of_its_call) == "low 1 ''");
    });
}

TEST_CASE(
    "calls inside have the priority and the correlation of the call around them, but a cost of their own",
    "[call_options]") {
    support::with_each([](const auto& inner) {
        world w;
        const rs::retry outer(plain(), w.reg);
        using options = rs::call_options;
        const auto seen = [&](const options& own) {
            return outer.with({.priority = rs::priority::high, .cost = 9, .correlation = "req-7"})(
                [&] { return inner.with(own)(tells_of_its_call); });
        };

        CHECK(outer.with({.priority = rs::priority::high, .cost = 9, .correlation = "req-7"})(
                  [&] { return inner(tells_of_its_call); }) == "high 1 'req-7'");
        CHECK(seen({}) == "high 1 'req-7'");
        CHECK(seen({.priority = rs::priority::normal}) == "normal 1 'req-7'"); // said, so not inherited
        CHECK(seen({.cost = 3, .correlation = "step-2"}) == "high 3 'step-2'");
        CHECK(seen({.inherit = rs::inherit::deadline_only}) == "high 1 'req-7'");
        CHECK(seen({.inherit = rs::inherit::nothing}) == "normal 1 ''");
    });
}

TEST_CASE("a call two levels down inherits through one that says nothing, and a sibling does not",
          "[call_options]") {
    world w;
    const rs::retry retry(plain(), w.reg);
    const rs::circuit_breaker breaker({}, w.reg);

    const auto seen = retry.with({.correlation = "req-7"})([&] {
        return breaker([&] {
            return retry.with({.priority = rs::priority::low})([&] { return retry(tells_of_its_call); });
        });
    });

    CHECK(seen == "low 1 'req-7'");
    CHECK(retry(tells_of_its_call) == "normal 1 ''");
}

TEST_CASE("of a context that is handed on and the call around, the first is inherited from",
          "[call_options]") {
    world w;
    const rs::retry retry(plain(), w.reg);

    const auto seen =
        retry.with({.priority = rs::priority::low, .correlation = "handed on"})([&](rs::call_context& ctx) {
            return retry.with({.priority = rs::priority::high, .correlation = "around"})(
                [&] { return retry.with(ctx)(tells_of_its_call); });
        });

    CHECK(seen == "low 1 'handed on'");
}

TEST_CASE("an option out of its range is refused, and told with its range", "[call_options]") {
    world w;
    const rs::retry retry(plain(), w.reg);

    CHECK_THROWS_AS(retry.with({.cost = 0}), std::invalid_argument);
    CHECK(validate(rs::call_options{.cost = 0}) == "call_options.cost is 0; it must be 1 or more");
    CHECK_THROWS_AS(retry.named("op").with({.priority = static_cast<rs::priority>(5)}),
                    std::invalid_argument);
    CHECK(validate(rs::call_options{.priority = static_cast<rs::priority>(5)}) ==
          "call_options.priority is 5; it must be one of sheddable, low, normal, high, critical");
    CHECK(validate(rs::call_options{.priority = rs::priority::critical, .cost = UINT32_MAX}).empty());
}

TEST_CASE("every event of a call shows its correlation", "[call_options][event]") {
    world w;
    rs::testing::recorder log(w.reg);
    const auto guard = rs::fallback(0) | rs::retry(at_once(3), w.reg) |
                       rs::circuit_breaker({.failure_threshold = 2}, w.reg) | rs::timeout(1s, w.reg);

    CHECK(guard.with({.correlation = "req-7"})([&]() -> int {
        w.clock.advance(2s);
        return fails_with_no();
    }) == 0);

    CHECK(correlations_in(log) ==
          "timed_out:req-7 attempt_failed:req-7 retry_scheduled:req-7 timed_out:req-7 "
          "state_changed:req-7 attempt_failed:req-7 fallback_used:req-7 ");
    log.clear();
    CHECK(guard([] { return 1; }) == 0); // refused
    CHECK(correlations_in(log) == "call_rejected: fallback_used: ");
}

TEST_CASE("events of a circuit show whose call caused them", "[call_options][event]") {
    world w;
    rs::testing::recorder log(w.reg);
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 1s}, w.reg);
    const rs::retry around(plain(1), w.reg);
    const auto by = [&](std::string_view who) { return around.with({.correlation = std::string(who)}); };

    (void)by("trips").try_call([&] { (void)breaker.try_call(fails_with_no); });   // alone, without a walk
    (void)by("refused").try_call([&] { (void)breaker.try_call(fails_with_no); }); // without a context
    (void)breaker.with({.correlation = "refused too"}).try_call(fails_with_no);   // by the walk
    (void)by("by hand").try_call([&] { CHECK_FALSE(breaker.try_acquire()); });
    w.clock.advance(1s);
    (void)by("around").try_call([&] { (void)breaker.with({.correlation = "probes"}).try_call([] {}); });
    (void)by("permits").try_call([&] { breaker.try_acquire()->failure(); });
    breaker.reset();

    CHECK(correlations_in(log) ==
          "state_changed:trips call_rejected:refused call_rejected:refused too "
          "call_rejected:by hand state_changed:probes state_changed:probes "
          "state_changed:permits state_changed: ");
}

TEST_CASE("a reader of statistics lends its correlation to no other call", "[call_options][event]") {
    world w;
    rs::testing::recorder log(w.reg);
    const rs::timeout timeout({.limit = 1s}, w.reg);
    const rs::retry reader(plain(1), w.reg);

    (void)timeout.with({.correlation = "hangs"}).try_call([&] {
        w.clock.advance(5s);
        reader.with({.inherit = rs::inherit::nothing, .correlation = "reads"})(
            [&] { (void)timeout.stats(); });
    });

    REQUIRE(log.count(rs::event_kind::overran) == 1);
    CHECK(log.of_kind(rs::event_kind::overran)[0].correlation == "");
}

TEST_CASE("events show the first 256 bytes of a correlation, without cutting a character",
          "[call_options][event]") {
    world w;
    rs::testing::recorder log(w.reg);
    const rs::retry retry(at_once(2), w.reg);
    const std::string most(254, 'x');

    (void)retry.with({.correlation = most + "\xc3\xa4y"}).try_call(fails_with_no);
    REQUIRE(log.last());
    CHECK(log.last()->correlation == most + "\xc3\xa4");
    (void)retry.with({.correlation = most + "x\xc3\xa4"}).try_call(fails_with_no);
    CHECK(log.last()->correlation == most + "x");
}

TEST_CASE("pipelines made at run time carry what a call says, and a policy of a user's sees it",
          "[call_options]") {
    struct looks {
        struct call {
            std::string* to;
            rs::admission admit(rs::call_context& ctx) {
                *to = told_by(ctx);
                return rs::admission::go();
            }
            rs::settlement settle(const rs::attempt_result&, rs::call_context&) {
                return rs::settlement::finish();
            }
        };
        std::string* to;
        call begin(rs::call_context&) const { return {to}; }
    };
    world w;
    std::string seen;
    const rs::any_pipeline guard(rs::retry(plain(), w.reg), looks{&seen});

    guard.with({.priority = rs::priority::sheddable, .cost = 2, .correlation = "req-7"})([] {});

    CHECK(seen == "sheddable 2 'req-7'");
}
