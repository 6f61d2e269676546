// SPDX-License-Identifier: Apache-2.0
#include <resilience/mechanism/percent_budget.hpp>

#include "support/catch.hpp"
#include "support/moment.hpp"
#include "support/numbers.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using support::infinity;
using support::nan;
using namespace std::chrono_literals;

using support::at;

/// Takes retries until there is none; how many there were.
unsigned withdraw_all(rs::percent_budget& budget, rs::time_point now) {
    unsigned taken = 0;
    while (budget.withdraw(now) && taken < 1'000'000) ++taken;
    return taken;
}

TEST_CASE("without traffic the reserve is minimum_per_second for ttl", "[percent_budget][H-RT-15]") {
    rs::percent_budget budget{{}};

    CHECK(budget.available(at(0s)) == 100.0);
    CHECK(withdraw_all(budget, at(0s)) == 100);
    CHECK(budget.available(at(0s)) == 0.0);
    CHECK_FALSE(budget.withdraw(at(10s - 1ns)));
    CHECK(withdraw_all(budget, at(10s)) == 100);
    CHECK(withdraw_all(budget, at(19s)) == 0);
    CHECK(withdraw_all(budget, at(24h)) == 100);
}

TEST_CASE("calls pay ratio retries each, for ttl", "[percent_budget][H-RT-15]") {
    rs::percent_budget budget{{.ratio = 0.2, .minimum_per_second = 0}};

    budget.deposit(4, 1s, at(0s));
    CHECK_FALSE(budget.withdraw(at(0s)));
    budget.deposit(1, 1s, at(0s));
    CHECK(budget.withdraw(at(0s)));
    CHECK_FALSE(budget.withdraw(at(0s)));

    budget.deposit(50, 1s, at(1s));
    CHECK(budget.available(at(10s - 1ns)) == 10.0);
    CHECK(budget.available(at(11s - 1ns)) == 10.0);
    CHECK(budget.available(at(11s)) == 0.0);
}

TEST_CASE("retries are paid for ttl, even where the calls that paid are forgotten",
          "[percent_budget][H-RT-16]") {
    rs::percent_budget budget{{.ratio = 1.0, .minimum_per_second = 0}};
    budget.deposit(10, 1s, at(0s));
    CHECK(withdraw_all(budget, at(9s)) == 10);

    budget.deposit(10, 1s, at(10s));
    CHECK(budget.available(at(10s)) == 0.0);
    CHECK_FALSE(budget.withdraw(at(19s - 1ns)));
    CHECK(withdraw_all(budget, at(19s)) == 10);
}

TEST_CASE("any ratio pays exactly its thousandths", "[percent_budget][H-RT-18]") {
    for (int thousandths = 1; thousandths <= 2000; ++thousandths) {
        rs::percent_budget budget{{.ratio = thousandths / 1000.0, .minimum_per_second = 0}};

        budget.deposit(1000, 1s, at(0s));

        INFO(thousandths);
        REQUIRE(withdraw_all(budget, at(0s)) == static_cast<unsigned>(thousandths));
    }
}

TEST_CASE("n calls at the ratio m / n pay for m retries", "[percent_budget][H-USE-19]") {
    for (unsigned n = 1; n <= 30; ++n) {
        for (unsigned m = 1; m <= n; ++m) {
            rs::percent_budget budget{{.ratio = static_cast<double>(m) / n, .minimum_per_second = 0}};

            budget.deposit(n, 1s, at(0s));

            INFO(m << "/" << n);
            REQUIRE(withdraw_all(budget, at(0s)) == m);
            budget.deposit(n * 1'000ULL, 1s, at(0s));
            REQUIRE(withdraw_all(budget, at(0s)) == m * 1'000);
        }
    }
}

TEST_CASE("many small deposits are worth what they say", "[percent_budget][H-RT-18]") {
    rs::percent_budget budget{{.ratio = 0.1, .minimum_per_second = 0}};

    for (int i = 0; i < 9; ++i) budget.deposit(1, 1ms, at(0s));
    CHECK_FALSE(budget.withdraw(at(0s)));
    budget.deposit(1, 1ms, at(0s));
    CHECK(budget.withdraw(at(0s)));
    for (int i = 0; i < 1'000'000; ++i) budget.deposit(1, 1ms, at(0s));
    CHECK(budget.available(at(0s)) == 100'000.0);
}

TEST_CASE("a budget of nothing permits nothing, and is a number", "[percent_budget][H-RT-17]") {
    rs::percent_budget budget{{.ratio = 0, .minimum_per_second = 0}};

    CHECK_FALSE(budget.withdraw(at(0s)));
    CHECK(budget.available(at(0s)) == 0.0);
    budget.deposit(1'000'000, 1s, at(1s));
    CHECK_FALSE(budget.withdraw(at(1s)));
    budget.deposit(0, 0s, at(2s));
    budget.deposit(0, rs::duration::max(), at(2s));
    CHECK(budget.available(at(2s)) == 0.0);
}

TEST_CASE("calls longer ago than ttl pay nothing", "[percent_budget][H-RT-16]") {
    struct row {
        std::uint64_t calls;
        rs::duration since_last_look;
        double paid;
    };
    const row table[] = {
        {1000, 0s, 1000},
        {1000, 10s, 1000},
        {1000, 20s, 501},
        {1000, 1000s, 11},
        {1000, rs::duration::max(), 1},
        {1, 11s, 1},
        {1, 24h, 1},
        {0, 24h, 0},
        {2, 1000s, 1},
        {1000, -5s, 1000},
        {1000, 10s + 1ns, 1000},
    };

    for (const row& r : table) {
        rs::percent_budget budget{{.ratio = 1.0, .minimum_per_second = 0}};
        budget.deposit(r.calls, r.since_last_look, at(0s));

        INFO(r.calls << " calls in " << r.since_last_look.count() << "ns");
        CHECK(budget.available(at(0s)) == r.paid);
    }
}

TEST_CASE("the first retry after a quiet time is paid from calls of now", "[percent_budget][H-RT-16]") {
    rs::percent_budget budget{{.ratio = 1.0, .minimum_per_second = 0}};
    withdraw_all(budget, at(0s));

    budget.deposit(1, 1h, at(1h));

    CHECK(budget.withdraw(at(1h)));
    CHECK_FALSE(budget.withdraw(at(1h)));
}

TEST_CASE("sources that share a budget pay into one account", "[percent_budget]") {
    rs::percent_budget budget{{.ratio = 0.5, .minimum_per_second = 0}};

    budget.deposit(3, 5s, at(1s));
    budget.deposit(5, 7s, at(1s));

    CHECK(withdraw_all(budget, at(1s)) == 4);
}

TEST_CASE("numbers at the end of the range never wrap into debt", "[percent_budget][H-RT-18]") {
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    const double ratio = GENERATE(0.001, 0.2, 1000.0);
    const rs::duration since = GENERATE(rs::duration{1s}, rs::duration{11s}, rs::duration::max());
    rs::percent_budget budget{{.ratio = ratio, .minimum_per_second = 1e6, .ttl = 1h}};

    double before = budget.available(at(0s));
    for (int i = 0; i < 100; ++i) {
        budget.deposit(most, since, at(i * 1s));
        REQUIRE(budget.available(at(i * 1s)) >= before);
        REQUIRE(budget.withdraw(at(i * 1s)));
        before = budget.available(at(i * 1s)) - 1;
    }
}

TEST_CASE("a clock that goes backwards gives nothing twice", "[percent_budget][H-WIN-06]") {
    rs::percent_budget budget{{}};
    budget.deposit(0, 0s, at(90s)); // there are buckets before that of the retries
    CHECK(withdraw_all(budget, at(100s)) == 100);

    CHECK(withdraw_all(budget, at(0s)) == 0);
    CHECK(budget.available(at(0s)) == 0.0);
    CHECK(withdraw_all(budget, at(110s)) == 100);
}

TEST_CASE("reading changes nothing", "[percent_budget][H-WIN-09]") {
    rs::percent_budget budget{{}};
    withdraw_all(budget, at(0s));
    const rs::percent_budget& reader = budget;

    CHECK(reader.available(at(10s)) == 100.0);
    CHECK(reader.available(at(5s)) == 0.0);
    CHECK_FALSE(budget.withdraw(at(5s)));
}

TEST_CASE("the budget agrees with a list of all calls and retries on long random histories",
          "[percent_budget][H-RT-16][H-RT-18]") {
    const double ratio = GENERATE(0.2, 0.033, 1.0, 3.0);
    const double minimum = GENERATE(0.0, 1.7);
    const std::int64_t per_call = std::llround(ratio * 1000);
    const std::int64_t reserve = std::llround(minimum * 10 * 1000);
    rs::percent_budget budget{{.ratio = ratio, .minimum_per_second = minimum}};
    std::mt19937_64 engine{11};
    const auto below = [&](std::int64_t n) {
        return static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(n));
    };
    struct movement {
        std::int64_t second;
        std::int64_t thousandths;
    };
    std::vector<movement> all;
    rs::duration now = 0s;
    budget.deposit(0, 0s, at(now)); // where buckets begin
    unsigned given = 0;
    unsigned refused = 0;

    for (int step = 0; step < 20'000; ++step) {
        now += rs::duration{below(below(300) == 0 ? 30'000'000'000 : 400'000'000)};
        const std::int64_t second = now / 1s;
        const std::int64_t calls = below(6);
        budget.deposit(static_cast<std::uint64_t>(calls), 1s, at(now));
        all.push_back({second, calls * per_call});

        std::int64_t available = reserve;
        for (const movement& m : all) available += second - m.second < 10 ? m.thousandths : 0;
        if (budget.available(at(now)) != static_cast<double>(std::max<std::int64_t>(available, 0)) / 1000) {
            FAIL("step " << step << ": " << budget.available(at(now)) << ", not " << available << "/1000");
        }
        if (below(3) != 0) {
            const bool permitted = budget.withdraw(at(now));
            if (permitted != (available >= 1000)) FAIL("step " << step);
            if (permitted) all.push_back({second, -1000});
            ++(permitted ? given : refused);
        }
        std::erase_if(all, [&](const movement& m) { return second - m.second >= 10; });
    }
    CHECK(given > 100);
    if (ratio < 1.0 && minimum == 0.0) CHECK(refused > 100);
}

TEST_CASE("a config is refused with its field, value and range", "[percent_budget][H-RT-23]") {
    struct row {
        rs::percent_budget_config config;
        std::string message;
    };
    const row table[] = {
        {{}, ""},
        {{.ratio = 0, .minimum_per_second = 0}, ""},
        {{.ratio = 0.001}, ""},
        {{.ratio = 1000}, ""},
        {{.minimum_per_second = 1e6}, ""},
        {{.ttl = 100ms}, ""},
        {{.ttl = 1h}, ""},
        {{.ratio = -0.1}, "percent_budget_config.ratio is -0.100000; it must be 0 or in [0.001, 1000]"},
        {{.ratio = 0.0009}, "percent_budget_config.ratio is 0.000900; it must be 0 or in [0.001, 1000]"},
        {{.ratio = 1000.1}, "percent_budget_config.ratio is 1000.100000; it must be 0 or in [0.001, 1000]"},
        {{.ratio = nan}, "percent_budget_config.ratio is nan; it must be 0 or in [0.001, 1000]"},
        {{.ratio = infinity}, "percent_budget_config.ratio is inf; it must be 0 or in [0.001, 1000]"},
        {{.minimum_per_second = -1},
         "percent_budget_config.minimum_per_second is -1.000000; it must be in [0, 1000000]"},
        {{.minimum_per_second = 1e6 + 1},
         "percent_budget_config.minimum_per_second is 1000001.000000; it must be in [0, 1000000]"},
        {{.minimum_per_second = nan},
         "percent_budget_config.minimum_per_second is nan; it must be in [0, 1000000]"},
        {{.ttl = 100ms - 1ms}, "percent_budget_config.ttl is 99ms; it must be in [100ms, 1h]"},
        {{.ttl = 1h + 1s}, "percent_budget_config.ttl is 3601s; it must be in [100ms, 1h]"},
        {{.ttl = 0s}, "percent_budget_config.ttl is 0ns; it must be in [100ms, 1h]"},
        {{.ttl = -5s}, "percent_budget_config.ttl is -5s; it must be in [100ms, 1h]"},
    };

    for (const row& r : table) CHECK(validate(r.config) == r.message);
}

} // namespace
