// SPDX-License-Identifier: Apache-2.0
// Results that hold a value or an error, where the error's type says more of itself than that it is one.
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/recorder.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <exception>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

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

/// An exception that says of itself whether it was sent, stale, final, or its verdict.
struct unsent : std::runtime_error, rs::not_sent_carrier {
    unsent() : std::runtime_error("unsent") {}
    bool not_sent() const noexcept override { return true; }
};
struct stale : std::runtime_error, rs::stale_connection_carrier {
    stale() : std::runtime_error("stale") {}
    bool stale_connection() const noexcept override { return true; }
};
struct final_error : std::runtime_error, rs::hint_carrier {
    final_error() : std::runtime_error("final") {}
    bool forbids_retry() const noexcept override { return true; }
};
struct judged : std::runtime_error, rs::verdict_carrier {
    explicit judged(rs::verdict v) : std::runtime_error("judged"), says(v) {}
    rs::verdict verdict() const noexcept override { return says; }
    rs::verdict says;
};

/// All that policies make of an error: attempts, delays, the circuit's counts and the words of the last event.
std::string made_of(const std::exception_ptr& error, bool is_thrown) {
    world w;
    auto config = support::plain(3);
    config.idempotency = rs::idempotency::unsafe;
    const rs::retry unsafe(config, w.reg);
    const rs::retry safe(support::plain(3), w.reg);
    const rs::circuit_breaker circuit({.name = "c", .failure_threshold = 99}, w.reg);
    const rs::testing::recorder events(w.reg);
    unsigned made = 0;
    const auto call = [&](const rs::retry& retry) {
        (void)(retry | circuit).try_call([&]() -> tl::expected<int, std::exception_ptr> {
            ++made;
            if (is_thrown) std::rethrow_exception(error);
            return tl::unexpected(error);
        });
    };
    call(unsafe);
    std::string told = std::to_string(made);
    call(safe);
    told += " " + std::to_string(made);
    for (const auto& slept : w.clock.slept()) told += " " + std::to_string(slept.count());
    const auto s = circuit.stats();
    told += " " + std::to_string(s.successes) + "/" + std::to_string(s.failures) + "/" +
            std::to_string(s.ignored);
    if (s.last_error) told += " " + s.last_error->type + " " + s.last_error->message;
    if (const auto last = events.last())
        told += " " + last->error_type + " " + last->error + " " + last->reason;
    return told;
}

TEST_CASE("an error that is an exception is judged as if it had been thrown", "[result]") {
    const auto nested = [] {
        try {
            try {
                throw support::http_error(404);
            } catch (...) {
                std::throw_with_nested(std::runtime_error("while loading"));
            }
        } catch (...) {
            return std::current_exception();
        }
    };
    const std::vector<std::exception_ptr> errors{
        std::make_exception_ptr(std::runtime_error("down")),
        std::make_exception_ptr(support::http_error(404)),
        std::make_exception_ptr(support::http_error(429, 7s)),
        std::make_exception_ptr(support::http_error(503, 17s)),
        std::make_exception_ptr(unsent()),
        std::make_exception_ptr(stale()),
        std::make_exception_ptr(final_error()),
        std::make_exception_ptr(judged(rs::verdict::success)),
        std::make_exception_ptr(judged(rs::verdict::ignored)),
        std::make_exception_ptr(judged(rs::verdict::failure)),
        std::make_exception_ptr(std::system_error(std::make_error_code(std::errc::operation_canceled))),
        std::make_exception_ptr(std::system_error(std::make_error_code(std::errc::connection_refused))),
        std::make_exception_ptr(std::bad_alloc()),
        std::make_exception_ptr(42),
        nested(),
    };

    for (const auto& error : errors) CHECK(made_of(error, false) == made_of(error, true));
}

TEST_CASE("predicates see the exception in a result, and the result", "[result]") {
    using held = tl::expected<int, std::exception_ptr>;
    world w;
    auto config = support::at_once(3);
    SECTION("by its type") { config.retry_if = rs::not_on<std::logic_error>(); }
    SECTION("by a nested type") { config.retry_if = !rs::on<std::invalid_argument>(); }
    SECTION("by the value") {
        config.retry_if = rs::on_result<held>([](const held& h) { return h.error() == nullptr; });
        config.retry_if = config.retry_if && !rs::on<std::logic_error>();
    }
    const rs::retry retry(config, w.reg);
    unsigned made = 0;

    const held last = retry([&]() -> held {
        ++made;
        return tl::unexpected(std::make_exception_ptr(std::invalid_argument("id")));
    });

    CHECK(made == 1);
    CHECK_THROWS_AS(std::rethrow_exception(last.error()), std::invalid_argument);
    const auto out = retry.try_call(
        []() -> held { return tl::unexpected(std::make_exception_ptr(std::invalid_argument("id"))); });
    CHECK(out.error().as<std::logic_error>() != nullptr);
    CHECK(out.error().value<held>() != nullptr);
    CHECK(out.error().exception() == nullptr);
}

TEST_CASE("a result whose error is no exception after all has only failed", "[result]") {
    world w;
    const rs::retry retry(support::at_once(3), w.reg);
    const auto out = retry.try_call(
        []() -> tl::expected<int, std::exception_ptr> { return tl::unexpected(std::exception_ptr()); });

    CHECK(retry.stats().failed_attempts == 3);
    CHECK(out.error().message().starts_with("failing value of type"));
    CHECK(out.error().cause() == nullptr);
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
