// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/http/retry_after.hpp>

#include <chrono>
#include <optional>
#include <string>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using wall = std::chrono::system_clock;

constexpr std::chrono::sys_seconds at(int y, unsigned m, unsigned d, std::chrono::seconds time = 0s) {
    return std::chrono::sys_days{std::chrono::year{y} / static_cast<int>(m) / static_cast<int>(d)} + time;
}
constexpr wall::time_point now = at(2024, 1, 8, 20h);

std::optional<rs::duration> parsed(std::string_view text, wall::time_point when = now) {
    return rs::parse_retry_after(text, when);
}

TEST_CASE("a number of seconds is a delay", "[retry_after]") {
    CHECK(parsed("0") == 0s);
    CHECK(parsed("120") == 120s);
    CHECK(parsed("007") == 7s);
    CHECK(parsed(" \t30  ") == 30s);
    static_assert(rs::parse_retry_after("5", now) == rs::duration{5s});
}

TEST_CASE("more seconds than a duration holds are no delay", "[retry_after][H-RT-08]") {
    CHECK(parsed("9223372036") == 9223372036s);
    CHECK(parsed("9223372037") == std::nullopt);
    CHECK(parsed("99999999999999") == std::nullopt);
    CHECK(parsed("18446744073709551617") == std::nullopt);
    CHECK(parsed(std::string(100'000, '9')) == std::nullopt);
}

TEST_CASE("signs, NaN and junk are no delay", "[retry_after][H-RT-08]") {
    for (const char* junk : {"",    " ",  "-5",  "+5",   "-1.5", ".5",  "5.",   "1.5.2", "1,5",  "NaN", "nan",
                             "inf", "-0", "1e3", "0x10", "5s",   "5 5", "soon", "5;q=1", "\xFF", "1\n"}) {
        INFO(junk);
        CHECK(parsed(junk) == std::nullopt);
    }
    CHECK(parsed(std::string_view("5\0", 2)) == std::nullopt);
}

TEST_CASE("a fraction of a second is rounded up", "[retry_after][H-USE-13]") {
    CHECK(parsed("1.5") == 2s);
    CHECK(parsed("1.0") == 1s);
    CHECK(parsed("0.001") == 1s);
    CHECK(parsed("0.000") == 0s);
    CHECK(parsed("9223372036.5") == std::nullopt);
    CHECK(rs::parse_retry_after_ms("1500") == 1500ms);
    CHECK(rs::parse_retry_after_ms(" 0.25 ") == 1ms);
    CHECK(rs::parse_retry_after_ms("-1") == std::nullopt);
    CHECK(rs::parse_retry_after_ms("99999999999999") == std::nullopt);
}

TEST_CASE("a date of ISO 8601 is a delay from now", "[retry_after][H-USE-13]") {
    CHECK(parsed("2024-01-08T20:02:00Z") == 120s);
    CHECK(parsed("2024-01-08t20:02:00z") == 120s);
    CHECK(parsed("2024-01-08 20:02:00") == 120s);
    CHECK(parsed("2024-01-08T20:02:00.000Z") == 120s);
    CHECK(parsed("2024-01-08T20:02:00.001Z") == 121s);
    CHECK(parsed("2024-01-08T21:32:00+01:30") == 120s);
    CHECK(parsed("2024-01-08T18:32:00.5-0130") == 121s);
    CHECK(parsed("2024-01-08T19:59:00Z") == 0s);
    CHECK(parsed("2024-01-08T20:02:00Z", now + 250ms) == 119750ms);
}

TEST_CASE("a number that is a moment near now is one since 1970", "[retry_after][H-USE-13]") {
    const auto epoch = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();

    CHECK(parsed(std::to_string(epoch + 120)) == 120s);
    CHECK(parsed(std::to_string(epoch - 120)) == 0s);
    CHECK(parsed(std::to_string(epoch + 120) + ".5") == 121s);
    CHECK(parsed(std::to_string((epoch + 120) * 1000)) == 120s);
    CHECK(parsed(std::to_string((epoch + 119) * 1000 + 1)) == 120s);
    CHECK(parsed("86400") == 24h);
    CHECK(parsed("31536000") == 365 * 24h);
}

TEST_CASE("each of the three forms of an HTTP date is a delay from now", "[retry_after]") {
    CHECK(parsed("Mon, 08 Jan 2024 20:02:00 GMT") == 120s);
    CHECK(parsed("Monday, 08-Jan-24 20:02:00 GMT") == 120s);
    CHECK(parsed("Mon Jan  8 20:02:00 2024") == 120s);
    CHECK(parsed("Wed Jan 10 20:00:00 2024") == 48h);
    CHECK(parsed("Thu, 29 Feb 2024 20:00:00 GMT") == 52 * 24h);
    CHECK(rs::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", now) == at(1994, 11, 6, 8h + 49min + 37s));
    CHECK(rs::parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", now) == at(1994, 11, 6, 8h + 49min + 37s));
    CHECK(rs::parse_http_date("Sun Nov  6 08:49:37 1994", now) == at(1994, 11, 6, 8h + 49min + 37s));
}

TEST_CASE("a date that has passed is no delay at all, not a negative one", "[retry_after][H-RT-08]") {
    CHECK(parsed("Mon, 08 Jan 2024 19:59:59 GMT") == 0s);
    CHECK(parsed("Mon, 08 Jan 2024 20:00:00 GMT") == 0s);
    CHECK(parsed("Mon, 08 Jan 2024 20:00:01 GMT") == 1s);
    CHECK(parsed("Thu, 01 Jan 1970 00:00:00 GMT") == 0s);
    CHECK(parsed("Sat, 01 Jan 0000 00:00:00 GMT") == 0s);
    CHECK(parsed("Mon, 08 Jan 2024 20:00:01 GMT", now + 250ms) == 750ms);
    CHECK(parsed("Mon, 08 Jan 2024 20:00:00 GMT", now + 250ms) == 0s);
}

TEST_CASE("a date that is too far away for a duration is no delay", "[retry_after][H-RT-08]") {
    CHECK(parsed("Fri, 31 Dec 9999 23:59:59 GMT") == std::nullopt);
    CHECK(parsed("Fri, 31 Dec 2300 23:59:59 GMT").has_value());
}

TEST_CASE("dates at the ends of the clock's range neither overflow nor wrap", "[retry_after][H-RT-08]") {
    CHECK(parsed("Mon, 08 Jan 2024 20:00:00 GMT", wall::time_point::max()) == 0s);
    CHECK(parsed("Mon, 08 Jan 2024 20:00:00 GMT", wall::time_point::min()) == std::nullopt);
    CHECK(parsed("Monday, 08-Jan-24 20:02:00 GMT", wall::time_point::max()).has_value());
    CHECK(parsed("Thu, 01 Jan 1970 00:00:01 GMT", wall::time_point{} - 500ms) == 1500ms);
}

TEST_CASE("dates that do not exist are no delay", "[retry_after]") {
    CHECK(parsed("Thu, 30 Feb 2024 20:00:00 GMT") == std::nullopt);
    CHECK(parsed("Wed, 29 Feb 2023 20:00:00 GMT") == std::nullopt);
    CHECK(parsed("Mon, 00 Jan 2024 20:00:00 GMT") == std::nullopt);
    CHECK(parsed("Mon, 08 Jan 2024 24:00:00 GMT") == std::nullopt);
    CHECK(parsed("Mon, 08 Jan 2024 20:60:00 GMT") == std::nullopt);
    CHECK(parsed("Mon, 08 Jan 2024 20:00:61 GMT") == std::nullopt);
    CHECK(parsed("Mon, 08 Jan 2024 20:00:60 GMT") == 60s);
}

TEST_CASE("dates in other forms are no delay", "[retry_after]") {
    for (const char* junk :
         {"2024-01-08", "2024-01-08T20:02", "2024-01-08T20:02:00.Z", "2024-01-08T20:02:00+1",
          "2024-1-8T20:02:00Z", "2024-02-30T20:02:00Z", "2024-01-08T20:02:00ZZ", "Mon, 08 Jan 2024 20:02:00",
          "Mon, 08 Jan 2024 20:02:00 UTC", "Mon, 08 Jan 2024 20:02:00 GMT+1", "Mon, 8 Jan 2024 20:02:00 GMT",
          "mon, 08 jan 2024 20:02:00 gmt", "Mon,08 Jan 2024 20:02:00 GMT", "Mon, 08 Jan 24 20:02:00 GMT",
          "Monday, 08-Jan-2024 20:02:00 GMT", "Mon Jan 8 20:02:00 2024", "Mon Jan  8 20:02:00 2024 GMT",
          "Mon", "Mon, "}) {
        INFO(junk);
        CHECK(parsed(junk) == std::nullopt);
    }
}

TEST_CASE("a year of two digits is at most 50 years ahead", "[retry_after]") {
    const auto year_of = [](std::string_view text, wall::time_point when) {
        return static_cast<int>(std::chrono::year_month_day{
            std::chrono::floor<std::chrono::days>(*rs::parse_http_date(text, when))}
                                    .year());
    };

    CHECK(year_of("Monday, 08-Jan-74 00:00:00 GMT", now) == 2074);
    CHECK(year_of("Monday, 31-Dec-74 00:00:00 GMT", now) == 1974);
    CHECK(year_of("Monday, 08-Jan-75 00:00:00 GMT", now) == 1975);
    CHECK(year_of("Monday, 08-Jan-00 00:00:00 GMT", now) == 2000);
    CHECK(year_of("Monday, 08-Jan-99 00:00:00 GMT", now) == 1999);
    CHECK(year_of("Monday, 08-Jan-05 00:00:00 GMT", at(2099, 6, 1)) == 2105);
    CHECK(rs::parse_http_date("Monday, 29-Feb-24 00:00:00 GMT", now) == at(2024, 2, 29));
    CHECK(rs::parse_http_date("Monday, 29-Feb-23 00:00:00 GMT", now) == std::nullopt);
}

} // namespace
