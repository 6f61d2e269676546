// SPDX-License-Identifier: Apache-2.0
// Results that hold a value or an error, where the error's type says more of itself than that it is one.
#include <resilience/circuit_breaker.hpp>
#include <resilience/retry.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <optional>
#include <string>

namespace clients {

/// The error of a client of HTTP.
struct http_problem {
    std::optional<int> status{};
    std::optional<resilience::duration> hint{};
    bool sent = true;
    bool stale = false;
    bool is_final = false;
};
std::optional<int> http_status_of(const http_problem& p) { return p.status; }
std::optional<resilience::duration> retry_after_of(const http_problem& p) { return p.hint; }
bool was_not_sent(const http_problem& p) noexcept { return !p.sent; }
bool was_stale(const http_problem& p) noexcept { return p.stale; }
bool forbids_retry(const http_problem& p) noexcept { return p.is_final; }

/// One with a text.
struct told_problem {
    int status;
    std::string message() const { return "no such issue"; }
};
int http_status_of(const told_problem& p) { return p.status; }

} // namespace clients

namespace {

using namespace std::chrono_literals;
namespace rs = resilience;
using clients::http_problem;
using clients::told_problem;
using support::world;
using page = tl::expected<int, http_problem>;

/// Calls a client that always has this problem, three times at most, and counts its requests.
template <class Problem>
unsigned requests(world& w, const Problem& problem, rs::idempotency which = rs::idempotency::safe) {
    auto config = support::at_once(3);
    config.idempotency = which;
    unsigned made = 0;
    const auto last = rs::retry(config, w.reg)([&]() -> tl::expected<int, Problem> {
        ++made;
        return tl::unexpected(problem);
    });
    CHECK_FALSE(last.has_value());
    return made;
}
unsigned requests(const http_problem& problem, rs::idempotency which = rs::idempotency::safe) {
    world w;
    return requests(w, problem, which);
}

TEST_CASE("the status of an error is that of its result", "[result][H-USE-09]") {
    CHECK(requests({.status = 404}) == 1);
    CHECK(requests({.status = 501}) == 1);
    CHECK(requests({.status = 429}) == 3);
    CHECK(requests({.status = 503}) == 3);
    CHECK(requests({}) == 3);
    CHECK(requests({.status = 409}) == 1);
    CHECK(requests({.status = 409, .hint = 0s}) == 3);
}

TEST_CASE("a result without a value is a failure, whatever its error's status", "[result]") {
    CHECK(requests({.status = 200}) == 3);

    world w;
    const rs::circuit_breaker circuit({.failure_threshold = 1}, w.reg);
    (void)circuit([]() -> page { return tl::unexpected(http_problem{.status = 200}); });
    CHECK(circuit.state() == rs::circuit_state::open);
}

TEST_CASE("a server whose error comes in a result is alive", "[result][H-USE-09]") {
    world w;
    const rs::circuit_breaker circuit({.failure_threshold = 1, .success_threshold = 1}, w.reg);
    const auto get = [&](int status) {
        (void)circuit([&]() -> page { return tl::unexpected(http_problem{.status = status}); });
    };

    get(404);
    get(429);
    CHECK(circuit.state() == rs::circuit_state::closed);
    get(503);
    REQUIRE(circuit.state() == rs::circuit_state::open);
    w.clock.advance(31s);
    get(404);
    CHECK(circuit.state() == rs::circuit_state::closed);
}

TEST_CASE("the hint of an error is that of its result", "[result][H-USE-13]") {
    world w;

    CHECK(requests(w, http_problem{.status = 503, .hint = 17s}) == 3);

    for (const auto slept : w.clock.slept()) CHECK(slept >= 17s);
    CHECK(w.clock.slept().size() == 2);
    CHECK(requests({.status = 503, .is_final = true}) == 1);
}

TEST_CASE("an error tells of its result if anything was sent", "[result]") {
    CHECK(requests({}, rs::idempotency::unsafe) == 1);
    CHECK(requests({.sent = false}, rs::idempotency::unsafe) == 3);
    CHECK(requests({.stale = true}) == 1 + 8 + 2);
}

TEST_CASE("an outcome tells what the error of the result in it tells", "[result]") {
    world w;
    const rs::retry inner(support::at_once(1), w.reg);
    const rs::retry outer(support::at_once(3), w.reg);
    unsigned made = 0;

    (void)outer([&] {
        return inner.try_call([&]() -> page {
            ++made;
            return tl::unexpected(http_problem{.status = 503, .is_final = true});
        });
    });

    CHECK(made == 1);
}

TEST_CASE("a result with a value is asked for its value alone", "[result]") {
    world w;
    const rs::retry retry(support::at_once(3), w.reg);
    unsigned made = 0;

    CHECK(retry([&]() -> page { return ++made; }).value() == 1);

    CHECK(made == 1);
    CHECK(retry.stats().succeeded_at_once == 1);
}

TEST_CASE("a result has the text of its error, else its status", "[result]") {
    world w;
    const rs::retry retry(support::at_once(1), w.reg);
    const auto told =
        retry.try_call([]() -> tl::expected<int, told_problem> { return tl::unexpected(told_problem{500}); });
    const auto bare = retry.try_call([]() -> page { return tl::unexpected(http_problem{.status = 500}); });

    CHECK(told.error().message() == "no such issue");
    CHECK(bare.error().message() == "HTTP 500");
}

} // namespace
