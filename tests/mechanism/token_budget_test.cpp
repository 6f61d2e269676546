// SPDX-License-Identifier: Apache-2.0
#include <resilience/mechanism/token_budget.hpp>

#include "support/catch.hpp"
#include "support/numbers.hpp"

#include <cstdint>
#include <limits>
#include <string>

namespace {

namespace rs = resilience;
using support::nan;

constexpr auto most = std::numeric_limits<std::uint64_t>::max();

TEST_CASE("retries are permitted while more than half of the tokens are left", "[token_budget]") {
    rs::token_budget budget{{.max_tokens = 10, .token_ratio = 0.1}};
    CHECK(budget.available() == 10.0);
    CHECK(budget.permits_retry());

    for (int i = 0; i < 4; ++i) budget.failed();
    CHECK(budget.available() == 6.0);
    CHECK(budget.permits_retry());

    budget.failed();
    CHECK(budget.available() == 5.0);
    CHECK_FALSE(budget.permits_retry());

    budget.succeeded();
    CHECK(budget.available() == 5.1);
    CHECK(budget.permits_retry());
}

TEST_CASE("half of an odd number of tokens is not rounded", "[token_budget]") {
    rs::token_budget budget{{.max_tokens = 3, .token_ratio = 0.5}};
    budget.failed();
    CHECK(budget.permits_retry()); // 2 of 3

    budget.failed();
    budget.succeeded();
    CHECK_FALSE(budget.permits_retry()); // 1.5 of 3

    rs::token_budget smallest{{.max_tokens = 1, .token_ratio = 0.5}};
    CHECK(smallest.permits_retry());
    smallest.failed();
    smallest.succeeded();
    CHECK_FALSE(smallest.permits_retry()); // 0.5 of 1
}

TEST_CASE("tokens stay between none and max_tokens", "[token_budget][H-RT-18]") {
    rs::token_budget budget{{.max_tokens = 10, .token_ratio = 0.1}};

    budget.succeeded(1000);
    CHECK(budget.available() == 10.0);
    for (int i = 0; i < 1000; ++i) budget.failed();
    CHECK(budget.available() == 0.0);
    budget.succeeded(most);
    CHECK(budget.available() == 10.0);
    budget.failed();
    budget.succeeded(most / 100 + 1); // whose product is beyond 64 bits by a little
    CHECK(budget.available() == 10.0);
    budget.failed();
    budget.succeeded(0);
    CHECK(budget.available() == 9.0);
}

TEST_CASE("fifty successes at 0.1 are exactly five tokens", "[token_budget][H-RT-18]") {
    rs::token_budget budget{{.max_tokens = 10, .token_ratio = 0.1}};
    for (int i = 0; i < 10; ++i) budget.failed();

    for (int i = 0; i < 50; ++i) budget.succeeded();
    CHECK(budget.available() == 5.0);
    CHECK_FALSE(budget.permits_retry());

    budget.succeeded();
    CHECK(budget.permits_retry());
}

TEST_CASE("decimals beyond the third are ignored and none before it are lost", "[token_budget][H-RT-18]") {
    const auto gained = [](double ratio) {
        rs::token_budget budget{{.max_tokens = 1000, .token_ratio = ratio}};
        for (int i = 0; i < 1000; ++i) budget.failed();
        budget.succeeded(100);
        return budget.available();
    };

    CHECK(gained(0.5466) == 54.6);
    CHECK(gained(0.5469999) == 54.6);
    for (int thousandths = 1; thousandths <= 2000; ++thousandths) {
        REQUIRE(gained(thousandths / 1000.0) == thousandths / 10.0);
    }
}

TEST_CASE("a token budget is refused with its field, value and range", "[token_budget][H-RT-23]") {
    struct row {
        rs::token_budget_config config;
        std::string message;
    };
    const row table[] = {
        {{}, ""},
        {{.max_tokens = 1}, ""},
        {{.max_tokens = 1000}, ""},
        {{.token_ratio = 0.001}, ""},
        {{.token_ratio = 1000}, ""},
        {{.max_tokens = 0}, "token_budget_config.max_tokens is 0; it must be in [1, 1000]"},
        {{.max_tokens = 1001}, "token_budget_config.max_tokens is 1001; it must be in [1, 1000]"},
        {{.token_ratio = 0}, "token_budget_config.token_ratio is 0.000000; it must be in [0.001, 1000]"},
        {{.token_ratio = 0.0009}, "token_budget_config.token_ratio is 0.000900; it must be in [0.001, 1000]"},
        {{.token_ratio = -1}, "token_budget_config.token_ratio is -1.000000; it must be in [0.001, 1000]"},
        {{.token_ratio = 1000.5},
         "token_budget_config.token_ratio is 1000.500000; it must be in [0.001, 1000]"},
        {{.token_ratio = nan}, "token_budget_config.token_ratio is nan; it must be in [0.001, 1000]"},
    };

    for (const row& r : table) CHECK(validate(r.config) == r.message);
}

} // namespace
