// SPDX-License-Identifier: Apache-2.0
#include <resilience/call/result_traits.hpp>
#include <resilience/outcome.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <system_error>

/// ok() says whether it is; known to the library by one line.
struct my_status {
    bool good;
    bool ok() const { return good; }
};
/// The same without the line.
struct unknown_status {
    bool good;
    bool ok() const { return good; }
};
template <>
inline constexpr bool resilience::enable_status_like<my_status> = true;

/// Known by a specialisation.
struct my_answer {
    int n;
};
template <>
struct resilience::result_traits<my_answer> {
    static constexpr bool can_fail = true;
    static verdict judge(const my_answer& a) { return a.n < 0 ? verdict::failure : verdict::success; }
    static std::error_code code(const my_answer& a) noexcept { return {-a.n, std::generic_category()}; }
    static std::string message(const my_answer& a) { return "answer " + std::to_string(a.n); }
};

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::http_answer;

template <class R>
rs::verdict judged(const R& r) {
    return rs::result_traits<R>::judge(r);
}

/// As boost::outcome has it: no unexpected_type, made from an error code.
struct code_result {
    code_result(int v) : value_(v) {}            // NOLINT(google-explicit-constructor)
    code_result(std::error_code c) : code_(c) {} // NOLINT(google-explicit-constructor)
    bool has_value() const { return value_.has_value(); }
    const std::error_code& error() const { return code_; }
    std::optional<int> value_;
    std::error_code code_;
};

static_assert(!rs::result_traits<int>::can_fail);
static_assert(!rs::result_traits<bool>::can_fail);
static_assert(!rs::result_traits<std::string>::can_fail);
static_assert(!rs::result_traits<std::optional<int>>::can_fail);
static_assert(!rs::result_traits<unknown_status>::can_fail);
static_assert(rs::result_traits<my_status>::can_fail);
static_assert(rs::result_traits<tl::expected<int, std::string>>::can_fail);
static_assert(rs::result_traits<tl::expected<void, int>>::can_fail);
static_assert(rs::result_traits<std::error_code>::can_fail);
static_assert(rs::result_traits<std::errc>::can_fail);
static_assert(rs::result_traits<http_answer>::can_fail);
static_assert(rs::result_traits<code_result>::can_fail);

static_assert(rs::detail::carries_errors<tl::expected<int, std::error_code>>);
static_assert(rs::detail::carries_errors<tl::expected<int, rs::error>>);
static_assert(rs::detail::carries_errors<code_result>);
static_assert(rs::detail::carries_errors<std::error_code>);
static_assert(!rs::detail::carries_errors<tl::expected<int, std::string>>);
static_assert(!rs::detail::carries_errors<tl::expected<int, int>>);
static_assert(!rs::detail::carries_errors<int>);

TEST_CASE("any value of an ordinary type is a success", "[result_traits]") {
    CHECK(judged(0) == rs::verdict::success);
    CHECK(judged(false) == rs::verdict::success);
    CHECK(judged(std::optional<int>{}) == rs::verdict::success);
    CHECK(judged(unknown_status{false}) == rs::verdict::success);
}

TEST_CASE("an expected-like without a value is a failure", "[result_traits]") {
    using result = tl::expected<int, std::string>;
    const result bad = tl::unexpected<std::string>("no");

    CHECK(judged(result(0)) == rs::verdict::success);
    CHECK(judged(bad) == rs::verdict::failure);
    CHECK(rs::result_traits<result>::message(bad) == "no");
    CHECK_FALSE(rs::result_traits<result>::code(bad));
    CHECK(judged(code_result(1)) == rs::verdict::success);
    CHECK(judged(code_result(std::make_error_code(std::errc::io_error))) == rs::verdict::failure);
}

TEST_CASE("the error inside an expected-like gives code and message", "[result_traits]") {
    const auto io = std::make_error_code(std::errc::io_error);
    const tl::expected<int, std::error_code> of_code = tl::unexpected(io);
    const tl::expected<int, rs::error> of_error =
        tl::unexpected(rs::error(rs::errc::timed_out, "jira", "late"));
    struct plain {};
    const tl::expected<int, plain> of_plain = tl::unexpected(plain{});

    CHECK(rs::detail::describe(of_code).code() == io);
    CHECK(rs::detail::describe(of_code).message() == io.message());
    CHECK(rs::detail::describe(of_error).code() == rs::errc::timed_out);
    CHECK(rs::detail::describe(of_error).message() == "late");
    CHECK_THAT(rs::detail::describe(of_plain).message(), Catch::Matchers::Contains("plain"));
}

TEST_CASE("error codes are failures where they are not zero", "[result_traits]") {
    CHECK(judged(std::error_code()) == rs::verdict::success);
    CHECK(judged(std::make_error_code(std::errc::io_error)) == rs::verdict::failure);
    CHECK(judged(std::errc{}) == rs::verdict::success);
    CHECK(judged(std::errc::io_error) == rs::verdict::failure);
    CHECK(rs::result_traits<std::errc>::code(std::errc::io_error) == std::errc::io_error);
}

TEST_CASE("a status-like type that opted in fails where it is not ok()", "[result_traits]") {
    CHECK(judged(my_status{true}) == rs::verdict::success);
    CHECK(judged(my_status{false}) == rs::verdict::failure);
}

TEST_CASE("a specialisation decides for its type", "[result_traits]") {
    const my_answer bad{-5};

    CHECK(judged(my_answer{1}) == rs::verdict::success);
    CHECK(judged(bad) == rs::verdict::failure);
    CHECK(rs::detail::describe(bad).message() == "answer -5");
    CHECK(rs::detail::describe(bad).code().value() == 5);
}

TEST_CASE("HTTP answers are judged by status, boundaries included", "[result_traits][H-USE-09][H-USE-10]") {
    using rs::http_verdict;
    using rs::is_retried_status;
    for (const int bad : {408, 425, 500, 502, 503, 504, 506, 599, 600}) {
        CHECK(http_verdict(bad) == rs::verdict::failure);
        CHECK(is_retried_status(bad));
    }
    for (const int ours : {400, 401, 403, 404, 407, 409, 413, 424, 426, 428, 430, 499, 501, 505}) {
        CHECK(http_verdict(ours) == rs::verdict::success);
        CHECK_FALSE(is_retried_status(ours));
    }
    for (const int good : {100, 200, 204, 301, 304, 399}) {
        CHECK(http_verdict(good) == rs::verdict::success);
        CHECK_FALSE(is_retried_status(good));
    }
    CHECK(http_verdict(429) == rs::verdict::ignored);
    CHECK(is_retried_status(429));
    CHECK(http_verdict(std::nullopt) == rs::verdict::failure);
    CHECK(is_retried_status(std::nullopt));
    CHECK(judged(http_answer{0}) == rs::verdict::failure);
    CHECK(judged(http_answer{404}) == rs::verdict::success);
}

TEST_CASE("403, 409 and 413 with a hint are throttles, other 4xx keep their meaning",
          "[result_traits][H-USE-13]") {
    for (const int status : {403, 409, 413}) {
        CHECK(rs::is_retried_status(status, 0s));
        CHECK(rs::http_verdict(status, 5s) == rs::verdict::ignored);
        CHECK(judged(http_answer{status, 5s}) == rs::verdict::failure);
        CHECK(judged(http_answer{status}) == rs::verdict::success);
    }
    for (const int status : {400, 404, 422, 501}) {
        CHECK_FALSE(rs::is_retried_status(status, 5s));
        CHECK(rs::http_verdict(status, 5s) == rs::verdict::success);
    }
}

TEST_CASE("a failing HTTP answer shows status, hint and text", "[result_traits]") {
    const http_answer busy{503, 7s};
    const http_answer none{0};
    const http_answer odd{503, -7s};

    CHECK(rs::detail::describe(busy).http_status() == 503);
    CHECK(rs::detail::describe(busy).retry_after() == rs::duration{7s});
    CHECK(rs::detail::describe(busy).message() == "HTTP 503");
    CHECK_FALSE(rs::detail::describe(none).http_status());
    CHECK(rs::detail::describe(none).message() == "no HTTP answer");
    CHECK_FALSE(rs::detail::describe(odd).retry_after());
}

TEST_CASE("a rejection becomes a value of the types that can carry it", "[result_traits]") {
    const rs::failure late(
        rs::rejection{.code = rs::errc::timed_out, .policy = rs::detail::name("jira"), .retry_after = 2s});

    CHECK(rs::detail::carry<tl::expected<int, std::error_code>>(late).error() == rs::errc::timed_out);
    CHECK(rs::detail::carry<code_result>(late).error() == rs::errc::timed_out);
    CHECK(rs::detail::carry<std::error_code>(late) == rs::errc::timed_out);
    CHECK(rs::detail::carry<std::errc>(late) == std::errc::timed_out);
    const auto full = rs::detail::carry<tl::expected<int, rs::error>>(late);
    CHECK(full.error().code() == rs::errc::timed_out);
    CHECK(full.error().policy() == "jira");
    CHECK(full.error().retry_after() == rs::duration{2s});
}

/// Failing values of types that answer one question each beside the one for their code.
struct says_forbidden : std::error_code {
    bool has_value() const { return false; }
    std::error_code error() const { return *this; }
    friend bool forbids_retry(const says_forbidden&) noexcept { return true; }
};
struct says_unsent : says_forbidden {
    friend bool was_not_sent(const says_unsent&) noexcept { return true; }
    friend void forbids_retry(const says_unsent&) = delete;
};
struct says_stale : says_forbidden {
    friend bool was_stale(const says_stale&) noexcept { return true; }
    friend void forbids_retry(const says_stale&) = delete;
};
struct says_when : says_forbidden {
    friend std::optional<rs::duration> retry_after_of(const says_when&) { return 7s; }
    friend void forbids_retry(const says_when&) = delete;
};
struct says_unsafe : says_forbidden {
    friend std::optional<rs::idempotency> idempotency_of(const says_unsafe&) noexcept {
        return rs::idempotency::unsafe;
    }
    friend void forbids_retry(const says_unsafe&) = delete;
};

TEST_CASE("only a value whose type answers no other question is known by its code alone", "[result_traits]") {
    const auto alone = [](const auto& r) { return rs::detail::describe(r).has_code_alone(); };
    const rs::outcome<int> held(rs::detail::fill, [](rs::outcome<int>& out) {
        out.fail(rs::rejection{.code = rs::errc::timed_out});
    });

    CHECK(alone(std::make_error_code(std::errc::io_error)));
    CHECK(alone(std::errc::io_error));
    CHECK(alone(my_status{false}));
    CHECK(alone(code_result(std::make_error_code(std::errc::io_error))));
    CHECK(alone(tl::expected<int, std::error_code>(tl::unexpect, std::make_error_code(std::errc::io_error))));
    CHECK_FALSE(alone(says_forbidden{}));
    CHECK_FALSE(alone(says_unsent{}));
    CHECK_FALSE(alone(says_stale{}));
    CHECK_FALSE(alone(says_when{}));
    CHECK_FALSE(alone(says_unsafe{}));
    CHECK_FALSE(alone(http_answer{503}));
    CHECK_FALSE(alone(my_answer{-1}));
    CHECK_FALSE(alone(held));
    CHECK(rs::detail::describe(says_forbidden{}).forbids_retry());
    CHECK(rs::detail::describe(says_unsent{}).not_sent() == true);
    CHECK(rs::detail::describe(says_stale{}).stale_connection());
    CHECK(rs::detail::describe(says_when{}).retry_after() == rs::duration{7s});
    CHECK(rs::detail::describe(says_unsafe{}).idempotency() == rs::idempotency::unsafe);
}

} // namespace
