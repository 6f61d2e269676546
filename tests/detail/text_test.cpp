// SPDX-License-Identifier: Apache-2.0
#include <resilience/detail/text.hpp>

#include <resilience/call/failure.hpp>

#include "support/catch.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <latch>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace text_tests {

struct hull_breach {};
template <class T, std::size_t N>
struct crate {};
template <std::size_t N>
struct numbered {};

} // namespace text_tests

namespace {

namespace rs = resilience;
using rs::detail::demangled;
using rs::detail::type_name;
using namespace std::chrono_literals;

TEST_CASE("a type's name is the same the first time and afterwards", "[text]") {
    struct local_error {};

    for (int times = 0; times < 3; ++times) {
        CHECK(type_name(typeid(int)) == "int");
        CHECK(type_name(typeid(text_tests::hull_breach)) == "text_tests::hull_breach");
        CHECK(type_name(typeid(text_tests::crate<int, 3>)) == "text_tests::crate<int, 3ul>");
        CHECK(type_name(typeid(rs::circuit_open_error)) == "resilience::circuit_open_error");
        CHECK(type_name(typeid(text_tests::crate<rs::timeout_error, 1>)) ==
              "text_tests::crate<resilience::timeout_error, 1ul>");
        CHECK(type_name(typeid(local_error)).ends_with("::local_error"));
        CHECK(demangled("no name of a type") == "no name of a type");
    }
}

TEST_CASE("a name is found by its characters, wherever they lie", "[text]") {
    std::string mangled = "N4ship11hull_breachE"; // one plugin's, and then another's at the same place
    CHECK(demangled(mangled.c_str()) == "ship::hull_breach");
    CHECK(demangled(std::string(mangled).c_str()) == "ship::hull_breach");

    mangled.replace(mangled.find("hull_breach"), 11, "lost_anchor");
    CHECK(demangled(mangled.c_str()) == "ship::lost_anchor");
}

template <std::size_t... N>
auto many_types(std::index_sequence<N...>) {
    return std::array<const std::type_info*, sizeof...(N)>{&typeid(text_tests::numbered<N>)...};
}

TEST_CASE("more types than are remembered, and very long names, have their names", "[text]") {
    const auto types = many_types(std::make_index_sequence<600>{});
    for (int times = 0; times < 2; ++times) {
        for (std::size_t n = 0; n < types.size(); ++n)
            CHECK(type_name(*types[n]) == "text_tests::numbered<" + std::to_string(n) + "ul>");
    }

    const std::string word(700, 'x');
    const std::string mangled = "N4ship700" + word + "E";
    CHECK(demangled(mangled.c_str()) == "ship::" + word);
    CHECK(demangled(mangled.c_str()) == "ship::" + word);
}

TEST_CASE("threads that meet new types together read their names", "[text]") {
    const auto types = many_types(std::make_index_sequence<200>{});
    constexpr std::size_t count = 4;
    std::array<std::vector<std::string>, count> read;
    std::latch all_are_here(count);
    std::vector<std::thread> threads;
    for (auto& mine : read) {
        threads.emplace_back([&] {
            all_are_here.arrive_and_wait();
            for (const auto* type : types) {
                // A name of this test alone, so that it is new to all.
                const std::string name = "N5fleet" + std::string(type->name()).substr(1);
                mine.push_back(demangled(name.c_str()));
            }
        });
    }
    for (auto& t : threads) t.join();

    const std::set<std::vector<std::string>> different(read.begin(), read.end());
    REQUIRE(different.size() == 1);
    CHECK(read[0][7] == "fleet::text_tests::numbered<7ul>");
}

TEST_CASE("durations are told in the unit that people use", "[text]") {
    using rs::detail::duration_text;
    CHECK(duration_text(0ns) == "0ns");
    CHECK(duration_text(999ns) == "999ns");
    CHECK(duration_text(1us) == "1us");
    CHECK(duration_text(999'999ns) == "999us");
    CHECK(duration_text(350ms) == "350ms");
    CHECK(duration_text(1s) == "1s");
    CHECK(duration_text(2'480ms) == "2.4s");
    CHECK(duration_text(10h) == "36000s");
    CHECK(duration_text(-7us) == "-7us");
    CHECK(duration_text(-1'500ms) == "-1.5s");
    CHECK(duration_text(std::chrono::nanoseconds::max()) == "9223372036.8s");
    CHECK(duration_text(std::chrono::nanoseconds::min()) == "-9223372036.8s");
}

TEST_CASE("each refusal has its words, with a name and without", "[text]") {
    using rs::errc;
    const auto said = [](errc code, const char* name, rs::duration back, const char* reason = nullptr) {
        return rs::rejection{.code = code,
                             .policy = rs::detail::name(name),
                             .retry_after = back,
                             .amount = 3'000'000,
                             .reason = reason}
            .message();
    };
    CHECK(said(errc::circuit_open, "db", 5s) == "circuit 'db' is open; next probe in 5s");
    CHECK(said(errc::circuit_open, "", -1ns) == "circuit is open");
    CHECK(said(errc::circuit_open, "db", -1ns, "is closing") == "circuit 'db' is closing");
    CHECK(said(errc::timed_out, "db", 5s) == "timeout 'db': no result within 3ms");
    CHECK(said(errc::timed_out, "", -1ns, "too late") == "timeout: too late");
    CHECK(said(errc::bulkhead_full, "db", 5ms) == "bulkhead 'db' is full; try again in 5ms");
    CHECK(said(errc::rate_limited, "", 0ns) == "rate limiter has no permit; next permit in 0ns");
    CHECK(said(errc::throttled, "db", -1ns) == "throttle 'db' refuses this attempt");
    CHECK(said(errc::limit_exceeded, "db", 1s) == "limiter 'db' has no place; try again in 1s");
    CHECK(said(errc::cancelled, "db", 1s) == "call cancelled before it had an outcome");
    CHECK(said(errc::cancelled, "db", 1s, "stopped") == "stopped");
    CHECK(said(errc::retries_exhausted, "db", 1s, "unused") == "retry 'db': all 3000000 attempts failed");
    CHECK(said(errc::workers_exhausted, "db", 1s) ==
          "timeout 'db' has too many abandoned calls still running (3000000 at most)");
    CHECK(said(errc::workers_exhausted, "", 1s, "is full") == "timeout is full");
}

} // namespace
