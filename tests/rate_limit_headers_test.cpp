// SPDX-License-Identifier: Apache-2.0
#include <resilience/http/rate_limit_headers.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using header = std::pair<std::string, std::string>;

const std::chrono::system_clock::time_point now{1'800'000'000s};

/// "remaining/reset/retry", each a number or -.
std::string read(const std::vector<header>& headers) {
    const rs::server_limit limit = rs::server_limit_in(headers, now);
    const auto seconds = [](std::optional<rs::duration> d) {
        return d ? std::to_string(std::chrono::duration_cast<std::chrono::seconds>(*d).count()) : "-";
    };
    return (limit.remaining ? std::to_string(*limit.remaining) : "-") + "/" + seconds(limit.reset_after) +
           "/" + seconds(limit.retry_after);
}

TEST_CASE("a server's limit is read from its headers", "[rate_limiter]") {
    CHECK(read({}) == "-/-/-");
    CHECK(read({{"RateLimit", R"("default";r=50;t=30)"}}) == "50/30/-");
    CHECK(read({{"ratelimit", R"( "burst" ; r=7 ; t=5 , "day";r=100;t=3600 )"}}) == "7/5/-");
    CHECK(read({{"RateLimit", R"("a";r=0;t=5, "b";r=0;t=60)"}}) == "0/60/-");
    CHECK(read({{"RateLimit", R"("a";r=9;t=5)"}, {"RateLimit", R"("b";r=3;t=60)"}}) == "3/60/-");
    CHECK(read({{"RateLimit", R"("odd;r=1, \"t=2";r=50;t=30)"}}) == "50/30/-"); // quoted
    CHECK(read({{"RateLimit", R"("p";r=5)"}, {"RateLimit-Policy", R"("p";q=100;w=60)"}}) == "5/60/-");
    CHECK(read({{"RateLimit-Policy", R"("p";q=100;w=60)"}}) == "-/-/-");
    CHECK(read({{"RateLimit", "limit=100, remaining=50, reset=5"}}) == "50/5/-");
    CHECK(read({{"RateLimit-Remaining", "12"}, {"RateLimit-Reset", "34"}}) == "12/34/-");
    CHECK(read({{"X-RateLimit-Remaining", "12"}, {"X-RateLimit-Reset", "1800000090"}}) ==
          "12/90/-"); // since 1970
    CHECK(read({{"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", "90"}}) == "0/90/90");
    CHECK(read({{"Retry-After", "17"}}) == "-/-/17");
    CHECK(read({{"Retry-After", "17"}, {"RateLimit", R"("a";r=0;t=5)"}}) == "0/5/17");
    CHECK(read({{"RateLimit-Remaining", "12"}}) == "12/-/-");
}

TEST_CASE("what cannot be read of a server's limit is left out", "[rate_limiter]") {
    for (const char* text : {"", ";", ",", "r", "r=", "=5", "r=x", "r=-5", "\"", "\"\\", "r=\"5\"", "q=5;w=5",
                             "r==5", "r=99999999999999999999999"})
        CHECK(read({{"RateLimit", text}}) == "-/-/-");
    CHECK(read({{"RateLimit-Remaining", "many"}, {"RateLimit-Reset", "soon"}}) == "-/-/-");
    CHECK(read({{"RateLimit", "r=5;t=never"}}) == "5/-/-");
    const std::map<std::string, std::string> other{{"RateLimit", "r=5;t=6"}};
    CHECK(rs::server_limit_in(other, now).remaining == 5U);
    CHECK(rs::server_limit_of(support::http_error(429, 3s)).retry_after == rs::duration{3s});
    CHECK(!rs::server_limit_of(support::http_error(500)).retry_after);
}

} // namespace
