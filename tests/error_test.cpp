// SPDX-License-Identifier: Apache-2.0
#include <resilience/call/failure.hpp>
#include <resilience/error.hpp>

#include "support/catch.hpp"

#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

constexpr rs::errc all_codes[] = {
    rs::errc::circuit_open, rs::errc::timed_out,         rs::errc::bulkhead_full,
    rs::errc::rate_limited, rs::errc::throttled,         rs::errc::limit_exceeded,
    rs::errc::cancelled,    rs::errc::retries_exhausted, rs::errc::workers_exhausted};

static_assert(std::is_nothrow_copy_constructible_v<rs::error> &&
              std::is_nothrow_copy_assignable_v<rs::error>);
static_assert(std::is_base_of_v<std::system_error, rs::error>);
static_assert(std::is_error_code_enum_v<rs::errc>);

TEST_CASE("codes belong to the category resilience and are numbered from 1 as documented", "[error]") {
    int number = 0;
    for (const rs::errc code : all_codes) {
        const std::error_code c = code;
        CHECK(c.value() == ++number);
        CHECK(std::string_view(c.category().name()) == "resilience");
        CHECK(&c.category() == &rs::error_category());
        CHECK_FALSE(c.message().empty());
        CHECK(static_cast<bool>(c));
    }
    CHECK(std::error_code(99, rs::error_category()).message() == "unknown resilience error");
}

TEST_CASE("codes equal the conditions of std::errc that portable code asks for", "[error]") {
    const auto is = [](rs::errc code, std::errc condition) { return std::error_code(code) == condition; };

    CHECK(is(rs::errc::timed_out, std::errc::timed_out));
    CHECK(is(rs::errc::cancelled, std::errc::operation_canceled));
    for (const rs::errc code : {rs::errc::circuit_open, rs::errc::bulkhead_full, rs::errc::rate_limited,
                                rs::errc::throttled, rs::errc::limit_exceeded, rs::errc::workers_exhausted}) {
        CHECK(is(code, std::errc::resource_unavailable_try_again));
        CHECK_FALSE(is(code, std::errc::timed_out));
        CHECK_FALSE(is(code, std::errc::operation_canceled));
    }
    CHECK_FALSE(is(rs::errc::retries_exhausted, std::errc::resource_unavailable_try_again));
    CHECK_FALSE(is(rs::errc::retries_exhausted, std::errc::timed_out));
}

TEST_CASE("what() is the message alone", "[error]") {
    const rs::error e(rs::errc::circuit_open, "jira", "circuit 'jira' is open");

    CHECK(std::string(e.what()) == "circuit 'jira' is open");
    CHECK(e.policy() == "jira");
    CHECK(e.code() == rs::errc::circuit_open);
    CHECK_FALSE(e.retry_after());
}

TEST_CASE("a copy shares nothing that the original takes with it", "[error]") {
    std::exception_ptr kept;
    {
        rs::error original(rs::errc::timed_out, "jira", "late", 2s);
        const rs::error copy = original;
        kept = std::make_exception_ptr(copy);
    }
    try {
        std::rethrow_exception(kept);
    } catch (const rs::error& e) {
        CHECK(std::string(e.what()) == "late");
        CHECK(e.policy() == "jira");
        CHECK(e.retry_after() == rs::duration{2s});
    }
}

template <class E>
bool thrown_for(rs::errc code) {
    try {
        rs::failure(rs::rejection{.code = code}).rethrow();
    } catch (const E& e) {
        return e.code() == code;
    } catch (...) {
        return false;
    }
}

TEST_CASE("each code is thrown as a type of its own", "[error]") {
    CHECK(thrown_for<rs::circuit_open_error>(rs::errc::circuit_open));
    CHECK(thrown_for<rs::timeout_error>(rs::errc::timed_out));
    CHECK(thrown_for<rs::bulkhead_full_error>(rs::errc::bulkhead_full));
    CHECK(thrown_for<rs::rate_limited_error>(rs::errc::rate_limited));
    CHECK(thrown_for<rs::throttled_error>(rs::errc::throttled));
    CHECK(thrown_for<rs::limit_exceeded_error>(rs::errc::limit_exceeded));
    CHECK(thrown_for<rs::cancelled_error>(rs::errc::cancelled));
    CHECK(thrown_for<rs::retries_exhausted_error>(rs::errc::retries_exhausted));
    CHECK(thrown_for<rs::workers_exhausted_error>(rs::errc::workers_exhausted));
    for (const rs::errc code : all_codes) {
        CHECK(thrown_for<rs::error>(code));
        CHECK(thrown_for<std::system_error>(code));
    }
}

TEST_CASE("each throw of a rejection is an object of its own", "[error][H-CB-38][H-CPP-06]") {
    const rs::failure open(rs::rejection{.code = rs::errc::circuit_open});
    const auto thrown = [&]() -> std::exception_ptr {
        try {
            open.rethrow();
        } catch (...) {
            return std::current_exception();
        }
    };
    const auto address = [](const std::exception_ptr& p) -> const void* {
        try {
            std::rethrow_exception(p);
        } catch (const rs::error& e) {
            return &e;
        }
    };
    const auto one = thrown();
    const auto other = thrown();

    CHECK(address(one) != address(other));
}

TEST_CASE("messages say which policy, why, and when to come back", "[error]") {
    const rs::detail::name jira("jira_api");
    const auto message = [&](rs::rejection r) { return rs::failure(r).message(); };

    CHECK(message({.code = rs::errc::circuit_open, .policy = jira, .retry_after = 2400ms}) ==
          "circuit 'jira_api' is open; next probe in 2.4s");
    CHECK(message({.code = rs::errc::circuit_open}) == "circuit is open");
    CHECK(message({.code = rs::errc::circuit_open, .policy = jira, .reason = "is forced open"}) ==
          "circuit 'jira_api' is forced open");
    CHECK(message({.code = rs::errc::timed_out, .policy = jira, .amount = rs::duration{2s}.count()}) ==
          "timeout 'jira_api': no result within 2s");
    CHECK(message({.code = rs::errc::bulkhead_full, .policy = jira}) == "bulkhead 'jira_api' is full");
    CHECK(message({.code = rs::errc::rate_limited, .policy = jira, .retry_after = 350ms}) ==
          "rate limiter 'jira_api' has no permit; next permit in 350ms");
    CHECK(message({.code = rs::errc::throttled}) == "throttle refuses this attempt");
    CHECK(message({.code = rs::errc::limit_exceeded}) == "limiter has no place");
    CHECK(message({.code = rs::errc::retries_exhausted, .policy = jira, .amount = 3}) ==
          "retry 'jira_api': all 3 attempts failed");
    CHECK_THAT(message({.code = rs::errc::workers_exhausted, .policy = jira, .amount = 64}),
               Catch::Matchers::Contains("jira_api") && Catch::Matchers::Contains("64"));
    CHECK_FALSE(message({.code = rs::errc::cancelled}).empty());
}

TEST_CASE("a thrown rejection carries policy, message and the time to come back", "[error]") {
    const rs::detail::name jira("jira_api");
    try {
        rs::failure(rs::rejection{.code = rs::errc::circuit_open, .policy = jira, .retry_after = 2400ms})
            .rethrow();
        FAIL("did not throw");
    } catch (const rs::circuit_open_error& e) {
        CHECK(e.policy() == "jira_api");
        CHECK(e.retry_after() == rs::duration{2400ms});
        CHECK(std::string(e.what()) == "circuit 'jira_api' is open; next probe in 2.4s");
        CHECK(e.code() == std::errc::resource_unavailable_try_again);
    }
}

} // namespace
