// SPDX-License-Identifier: Apache-2.0
#include <resilience/http/retry_hints.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using headers = std::vector<std::pair<std::string, std::string>>;

constexpr std::chrono::system_clock::time_point noon =
    std::chrono::sys_days{std::chrono::year{2024} / 1 / 8} + 12h;

std::optional<rs::duration> hint(const headers& h) { return rs::retry_after_in(h, noon); }

TEST_CASE("a hint is read from the headers that servers give it in", "[retry_after][H-USE-13]") {
    CHECK(hint({}) == std::nullopt);
    CHECK(hint({{"Retry-After", "7"}}) == 7s);
    CHECK(hint({{"retry-AFTER", " 1.5 "}}) == 2s);
    CHECK(hint({{"Retry-After", "Mon, 08 Jan 2024 12:02:00 GMT"}}) == 120s);
    CHECK(hint({{"retry-after-ms", "1500"}}) == 1500ms);
    CHECK(hint({{"x-ms-retry-after-ms", "250"}}) == 250ms);
    CHECK(hint({{"Beta-Retry-After", "30"}}) == 30s);
    CHECK(hint({{"grpc-retry-pushback-ms", "40"}}) == 40ms);
    CHECK(hint({{"X-RateLimit-Reset", "60"}}) == 60s);
    CHECK(hint({{"X-RateLimit-Reset", "1704715320"}}) == 120s);
    CHECK(hint({{"X-RateLimit-Reset", "2024-01-08T12:02:00Z"}}) == 120s);
    CHECK(hint({{"Retry-After", "soon"}, {"Retry-Afters", "7"}, {"X-Retry-After", "7"}}) == std::nullopt);
    CHECK(rs::retry_after_in(std::multimap<std::string, std::string>{{"Retry-After", "7"}}, noon) == 7s);
}

TEST_CASE("of several hints the longest counts", "[retry_after][H-USE-13]") {
    CHECK(hint({{"Retry-After", "1"}, {"retry-after-ms", "1200"}}) == 1200ms);
    CHECK(hint({{"retry-after-ms", "900"}, {"Retry-After", "1"}, {"X-RateLimit-Reset", "1"}}) == 1s);
    CHECK(hint({{"Retry-After", "3"}, {"Retry-After", "9"}, {"Retry-After", "junk"}}) == 9s);
}

TEST_CASE("the moment when a quota begins anew is no hint while something of it is left",
          "[retry_after][H-USE-13]") {
    CHECK(hint({{"X-RateLimit-Reset", "60"}, {"X-RateLimit-Remaining", "4999"}}) == std::nullopt);
    CHECK(hint({{"X-RateLimit-Remaining", "4999"}, {"Retry-After", "5"}, {"X-RateLimit-Reset", "60"}}) == 5s);
    CHECK(hint({{"X-RateLimit-Reset", "60"}, {"X-RateLimit-Remaining", "0"}}) == 60s);
    CHECK(hint({{"X-RateLimit-Reset", "60"}, {"X-RateLimit-Remaining", "?"}}) == 60s);
}

TEST_CASE("a date is measured from the answer's own", "[retry_after][H-USE-13]") {
    const std::string an_hour_ahead = "Mon, 08 Jan 2024 13:00:00 GMT";

    CHECK(hint({{"Retry-After", "Mon, 08 Jan 2024 13:00:30 GMT"}, {"Date", an_hour_ahead}}) == 30s);
    CHECK(hint({{"X-RateLimit-Reset", "2024-01-08T13:00:30Z"}, {"date", an_hour_ahead}}) == 30s);
    CHECK(hint({{"Retry-After", "Mon, 08 Jan 2024 12:00:30 GMT"},
                {"Date", "Thu, 01 Jan 1970 00:00:00 GMT"}}) == 30s);
}

TEST_CASE("a push-back that is no number asks for no other attempt", "[retry_after][H-USE-13]") {
    const std::string text = GENERATE("abc", "-", "", "-5", "99999999999999999999", "12 s");
    CAPTURE(text);
    CHECK(rs::forbids_retry_in(headers{{"grpc-retry-pushback-ms", text}}));
}

TEST_CASE("a server may forbid to try again", "[retry_after][H-USE-13]") {
    CHECK(rs::forbids_retry_in(headers{{"Is-Retryable", "false"}}));
    CHECK(rs::forbids_retry_in(headers{{"is-retryable", " False "}}));
    CHECK(rs::forbids_retry_in(headers{{"grpc-retry-pushback-ms", "-1"}}));
    CHECK_FALSE(rs::forbids_retry_in(headers{{"Is-Retryable", "true"}}));
    CHECK_FALSE(rs::forbids_retry_in(headers{{"grpc-retry-pushback-ms", "0"}, {"Retry-After", "-1"}}));
    CHECK_FALSE(rs::forbids_retry_in(headers{{"grpc-retry-pushback-ms", " 40 "}}));
    CHECK_FALSE(rs::forbids_retry_in(headers{}));
}

} // namespace
