// SPDX-License-Identifier: Apache-2.0
// Budgets that are paid from by several threads and policies.
//
// Breaks of the headers that were made by hand and were found:
//   percent budget: asked and taken under two locks; what was deposited not noted
#include "schedules/explore.hpp"
#include "schedules/world.hpp"

#include <resilience/retry.hpp>

#include <cstdint>
#include <system_error>

namespace {

namespace rs = resilience;
using schedules::explore;
using schedules::together;
using schedules::world;
using namespace std::chrono_literals;

rs::retry_config paid_from(const rs::retry_budget& budget) {
    return {.max_attempts = 3, .base_delay = 0s, .jitter = rs::jitter::none, .budget = budget};
}

TEST_CASE("a budget that two policies share is not overdrawn", "[retry_budget][H-RT-18]") {
    const auto scenario = [] {
        world w;
        // One retry in all: nothing by calls, a reserve of one.
        const rs::retry_budget budget(
            rs::percent_budget_config{.ratio = 0.0, .minimum_per_second = 1.0, .ttl = 1s});
        const rs::retry one(paid_from(budget), w.reg);
        const rs::retry two(paid_from(budget), w.reg);
        int attempts = 0;
        const auto call = [&](const rs::retry& retry) {
            (void)retry.try_call([&] {
                ++attempts;
                return std::errc::io_error;
            });
        };

        together([&] { call(one); }, [&] { call(two); });

        EXPECT(attempts == 3);
        const auto a = one.stats();
        const auto b = two.stats();
        EXPECT(a.retries + b.retries == 1 && a.calls + b.calls == 2);
        EXPECT(a.budget_exhausted + b.budget_exhausted == 2);
        EXPECT(a.budget_left == 0.0);
    };

    explore("two policies, one retry", {.within = {2, 0}}, scenario);
    explore("two policies, one retry", {.random = 2000}, scenario);
}

TEST_CASE("what two threads count is deposited once", "[retry_budget][H-RT-16][H-RT-18]") {
    const auto scenario = [] {
        world w;
        // A call pays for half a retry: both calls together for one.
        const rs::retry_budget budget(
            rs::percent_budget_config{.ratio = 0.5, .minimum_per_second = 0.0, .ttl = 1s});
        const rs::retry retry(paid_from(budget), w.reg);
        int attempts = 0;
        const auto call = [&] {
            (void)retry.try_call([&] {
                ++attempts;
                return std::errc::io_error;
            });
        };

        together(call, call);

        EXPECT(attempts <= 3);
        EXPECT(retry.stats().failed_attempts == static_cast<std::uint64_t>(attempts));
    };

    explore("two calls of one policy", {.within = {2, 0}}, scenario);
}

TEST_CASE("tokens that failures cost are taken once each", "[retry_budget][H-RT-18]") {
    const auto scenario = [](unsigned tokens, auto check) {
        return [=] {
            world w;
            const rs::retry_budget budget(rs::token_budget_config{.max_tokens = tokens, .token_ratio = 0.1});
            const rs::retry one(paid_from(budget), w.reg);
            const rs::retry two(paid_from(budget), w.reg);
            const auto call = [](const rs::retry& retry) {
                (void)retry.try_call([] { return std::errc::io_error; });
            };

            together([&] { call(one); }, [&] { call(two); });

            check(one.stats().failed_attempts + two.stats().failed_attempts, *one.stats().budget_left);
        };
    };
    const auto few = [](std::uint64_t failed, double left) {
        EXPECT(failed == 2 || failed == 3); // a retry above half of four tokens: none after two failures
        EXPECT(left == 0.0);
    };
    const auto enough = [](std::uint64_t failed, double left) {
        EXPECT(failed == 6);
        EXPECT(left == 1.0); // 14 - 6 - 7
    };

    explore("two policies, four tokens", {.within = {2, 0}}, scenario(4, few));
    explore("two policies, fourteen tokens", {.within = {1, 0}}, scenario(14, enough));
}

} // namespace
