// SPDX-License-Identifier: Apache-2.0
// The first real failure of a call is kept where later ones hide it.
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/outcome.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <exception>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <utility>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::event_kind;
using rs::testing::scripted;
using rs::testing::throws;
using support::at_once;
using support::heard;
using support::http_answer;
using support::http_error;
using support::plain;
using support::world;

struct serialization_failure : std::runtime_error {
    serialization_failure() : std::runtime_error("40001") {}
};
struct transaction_aborted : std::runtime_error {
    transaction_aborted() : std::runtime_error("25P02") {}
};
/// As PostgreSQL: the first statement fails, and the transaction refuses all that follow.
scripted<int> aborted_transaction() {
    return scripted<int>{throws(serialization_failure()), throws(transaction_aborted())}.repeat_last();
}
rs::retry_config wrapping(unsigned attempts = 3) {
    auto c = at_once(attempts);
    c.wrap_exhausted = true;
    return c;
}

TEST_CASE("a call's failure tells of the first, which later ones hide", "[retry][H-USE-15]") {
    world w;
    const rs::retry retry(at_once(3), w.reg);
    const auto check = [](const char* form, const auto& out) {
        INFO(form);
        REQUIRE(out.has_failure());
        CHECK(out.error().message() == "25P02");
        REQUIRE(out.error().first() != nullptr);
        CHECK(out.error().first()->message() == "40001");
        CHECK(out.error().first()->type_name().ends_with("serialization_failure"));
        CHECK(out.error().first()->template as<serialization_failure>() != nullptr);
        CHECK_THROWS_AS(out.error().first()->rethrow(), serialization_failure);
    };

    check("try_call", retry.try_call(aborted_transaction()));
    check("with a circuit inside", (retry | rs::circuit_breaker({}, w.reg)).try_call(aborted_transaction()));
    check("with a circuit outside", (rs::circuit_breaker({}, w.reg) | retry).try_call(aborted_transaction()));
    check("with a timeout", (retry | rs::timeout(1s, w.reg)).try_call(aborted_transaction()));
    check("any_pipeline", rs::any_pipeline(retry).try_call(aborted_transaction()));
    check("named", retry.named("pay").try_call(aborted_transaction()));
    check("with options", retry.with({.deadline = w.clock.now() + 1s}).try_call(aborted_transaction()));
    const auto moved = retry.try_call(aborted_transaction());
    const rs::failure copied = moved.error();
    CHECK(copied.first()->message() == "40001");
    CHECK_THROWS_AS(retry(aborted_transaction()), transaction_aborted); // goes out unchanged
}

TEST_CASE("a first failure that is like the last is not told", "[retry][H-USE-15]") {
    world w;
    const rs::retry retry(at_once(3), w.reg);
    const auto down = throws(std::runtime_error("down"));

    CHECK(retry.try_call(scripted<int>{down, throws(serialization_failure()), down}).error().first() ==
          nullptr);
    CHECK(retry.try_call(scripted<int>{throws(std::bad_alloc())}).error().first() == nullptr);
    const auto other_type = retry.try_call(
        scripted<int>{throws(std::range_error("down")), throws(std::runtime_error("down"))}.repeat_last());
    REQUIRE(other_type.error().first() != nullptr);
    CHECK(other_type.error().first()->type_name() == "std::range_error");
    const auto other_text = retry.try_call(
        scripted<int>{throws(std::runtime_error("up")), throws(std::runtime_error("down"))}.repeat_last());
    REQUIRE(other_text.error().first() != nullptr);
    CHECK(other_text.error().first()->message() == "up");
}

TEST_CASE("exceptions of any type are kept, and what they nest", "[retry][H-USE-15]") {
    world w;
    const rs::retry retry(at_once(2), w.reg);
    int calls = 0;
    const auto out = retry.try_call([&] {
        if (++calls > 1) throw transaction_aborted();
        throw 40001;
    });
    calls = 0;
    const auto nested = retry.try_call([&] {
        if (++calls > 1) throw transaction_aborted();
        try {
            throw http_error(503, 7ms);
        } catch (...) {
            std::throw_with_nested(std::runtime_error("while paying"));
        }
    });

    REQUIRE(out.error().first() != nullptr);
    CHECK(*out.error().first()->as<int>() == 40001);
    REQUIRE(nested.error().first() != nullptr);
    CHECK(nested.error().first()->message() == "while paying");
    CHECK(nested.error().first()->http_status() == 503);
}

TEST_CASE("a failing value is kept by type, text and code after it is gone", "[retry][H-USE-15]") {
    world w;
    const rs::retry retry(at_once(3), w.reg);
    const auto first_of = [&]<class R>(R first, R then) {
        int calls = 0;
        std::optional<rs::failure> kept;
        {
            const auto out = retry.try_call([&] { return ++calls == 1 ? first : then; });
            REQUIRE(out.error().first() != nullptr);
            kept = *out.error().first();
            CHECK(out.error().template value<R>() != nullptr);
        }
        CHECK(kept->template value<R>() == nullptr);
        CHECK(kept->type() != nullptr);
        CHECK(*kept->type() == typeid(R));
        return *kept;
    };
    using of_text = tl::expected<int, std::string>;
    using of_code = tl::expected<int, std::error_code>;
    const auto io = std::make_error_code(std::errc::io_error);
    const auto reset = std::make_error_code(std::errc::connection_reset);
    const std::string long_text(100, 'x');

    CHECK(first_of(of_text(tl::unexpected(long_text)), of_text(tl::unexpected<std::string>("25P02")))
              .message() == long_text);
    CHECK(first_of(io, reset).message() == io.message());
    CHECK(first_of(io, reset).code() == io);
    CHECK(first_of(of_code(tl::unexpected(io)), of_code(tl::unexpected(reset))).message() == io.message());
    CHECK(first_of(std::errc::io_error, std::errc::connection_reset).code() == io);
    CHECK(first_of(http_answer{503, 7ms}, http_answer{500}).message() == "HTTP 503");
    CHECK(first_of(http_answer{503, 7ms}, http_answer{500}).http_status() == 503);
    CHECK(first_of(http_answer{503, 7ms}, http_answer{500}).retry_after() == rs::duration{7ms});
    CHECK_THROWS_AS(first_of(io, reset).rethrow(), std::system_error);
}

TEST_CASE("an outcome that an attempt returns is kept by the failure in it", "[retry][H-USE-15]") {
    world w;
    const rs::retry retry(at_once(2), w.reg);
    const rs::retry inner(at_once(1), w.reg);
    const auto f = aborted_transaction();

    const auto out = retry.try_call([&] { return inner.try_call(f); });

    REQUIRE(out.error().first() != nullptr);
    CHECK(out.error().first()->as<serialization_failure>() != nullptr);
}

TEST_CASE("a refusal is no real failure, a time-out is one", "[retry][H-USE-15]") {
    world w;
    auto c = plain(3);
    c.retry_if = [](const rs::failure&) { return true; };
    const rs::circuit_breaker breaker({}, w.reg);
    const rs::retry retry(c, w.reg);
    breaker.force_open();
    const auto released = w.clock.call_at(w.clock.now() + 500ms, [&] { breaker.reset(); });
    const auto refused_first = (retry | breaker).try_call(aborted_transaction());
    CHECK(refused_first.error().message() == "25P02");
    REQUIRE(refused_first.error().first() != nullptr);
    CHECK(refused_first.error().first()->message() == "40001");

    int calls = 0;
    const auto slow_first = (retry | rs::timeout(1s, w.reg)).try_call([&] {
        if (++calls > 1) throw transaction_aborted();
        w.clock.advance(2s);
    });
    REQUIRE(slow_first.error().first() != nullptr);
    CHECK(slow_first.error().first()->code() == rs::errc::timed_out);
    CHECK(slow_first.error().first()->message() == "timeout: no result within 1s");
}

TEST_CASE("a refusal that ends the call tells of the first failure besides the last",
          "[retry][circuit_breaker][H-USE-15]") {
    world w;
    const rs::circuit_breaker breaker({}, w.reg);
    const auto guard = rs::retry(plain(4), w.reg) | breaker;
    const auto open = w.clock.call_at(w.clock.now() + 2s, [&] { breaker.force_open(); });

    const auto out = guard.try_call(aborted_transaction());

    CHECK(out.error().code() == rs::errc::circuit_open);
    REQUIRE(out.error().cause() != nullptr);
    CHECK(out.error().cause()->message() == "25P02");
    REQUIRE(out.error().first() != nullptr);
    CHECK(out.error().first()->message() == "40001");
}

TEST_CASE("a call that ends while it waits tells of its first failure", "[retry][H-USE-15]") {
    world w;
    const rs::retry retry(plain(9), w.reg);
    std::stop_source stop;
    const auto stopping = w.clock.call_at(w.clock.now() + 1500ms, [&] { stop.request_stop(); });

    const auto stopped = retry.with({.stop_token = stop.get_token()}).try_call(aborted_transaction());
    const auto late = retry.with({.deadline = w.clock.now() + 2s}).try_call(aborted_transaction());

    for (const auto* out : {&stopped, &late}) {
        CHECK(out->error().message() == "25P02");
        REQUIRE(out->error().first() != nullptr);
        CHECK(out->error().first()->message() == "40001");
    }
}

TEST_CASE("each call, and each round of an inner retry, begins anew", "[retry][H-USE-15]") {
    world w;
    const rs::retry inner(at_once(2), w.reg);
    const auto guard = rs::retry(at_once(2), w.reg) | inner;
    const auto text = [](const char* t) { return throws(std::runtime_error(t)); };

    const auto out = guard.try_call(scripted<int>{text("1"), text("2"), text("3"), text("4")});
    CHECK(out.error().message() == "4");
    REQUIRE(out.error().first() != nullptr);
    CHECK(out.error().first()->message() == "1");
    const auto same_ends = guard.try_call(scripted<int>{text("1"), text("2"), text("3"), text("1")});
    CHECK(same_ends.error().first() == nullptr);

    (void)inner.try_call(scripted<int>{text("1"), text("2")});
    CHECK(inner.try_call(scripted<int>{text("3"), text("3")}).error().first() == nullptr);
}

TEST_CASE("retries_exhausted_error shows the first failure and the last", "[retry][H-USE-15]") {
    world w;
    auto c = wrapping();
    c.name = "pay";
    const rs::retry retry(c, w.reg);

    try {
        retry(aborted_transaction());
        FAIL("did not throw");
    } catch (const rs::retries_exhausted_error& e) {
        const std::string said = e.what();
        INFO(said);
        CHECK(said.starts_with("retry 'pay': all 3 attempts failed; first "));
        CHECK(said.find("serialization_failure: 40001; last ") != std::string::npos);
        CHECK(said.ends_with("transaction_aborted: 25P02"));
        CHECK_THROWS_AS(std::rethrow_if_nested(e), transaction_aborted);
        REQUIRE(e.first != nullptr);
        CHECK_THROWS_AS(std::rethrow_exception(e.first), serialization_failure);
    }
    try {
        retry(scripted<int>{throws(serialization_failure())}.repeat_last());
        FAIL("did not throw");
    } catch (const rs::retries_exhausted_error& e) {
        CHECK(std::string(e.what()) == "retry 'pay': all 3 attempts failed");
        CHECK(e.first == nullptr);
    }
    const auto out = retry.try_call(aborted_transaction());
    CHECK(out.error().message().ends_with("transaction_aborted: 25P02"));
    REQUIRE(out.error().first() != nullptr);
    CHECK(out.error().first()->message() == "40001");
}

TEST_CASE("retries_exhausted_error shows values that were returned", "[retry][H-USE-15]") {
    world w;
    const rs::retry retry(wrapping(2), w.reg);
    int calls = 0;

    try {
        retry([&] { return http_answer{++calls == 1 ? 503 : 500}; });
        FAIL("did not throw");
    } catch (const rs::retries_exhausted_error& e) {
        const std::string said = e.what();
        INFO(said);
        CHECK(said.find("http_answer: HTTP 503; last ") != std::string::npos);
        CHECK(said.ends_with("http_answer: HTTP 500"));
        const rs::failure first(e.first);
        CHECK(first.http_status() == 503);
    }
}

TEST_CASE("a call around one whose attempts ran out tells of that one's first failure", "[retry][H-USE-15]") {
    world w;
    const rs::retry outer(at_once(1), w.reg);
    const rs::retry twice(at_once(2), w.reg);
    const rs::retry inner(wrapping(2), w.reg);
    const heard h(w.reg);

    const auto once_out = outer.try_call([&] { return inner(aborted_transaction()); });
    REQUIRE(once_out.error().first() != nullptr);
    CHECK(once_out.error().first()->message() == "40001");

    const auto out = twice.try_call([&] { return inner(aborted_transaction()); });
    REQUIRE(out.error().first() != nullptr);
    CHECK(out.error().first()->message() == "40001");
}

TEST_CASE("events that end a call show its first failure, earlier ones do not", "[retry][event][H-USE-15]") {
    world w;
    auto c = at_once(3);
    const rs::retry retry(c, w.reg);
    const heard h(w.reg);

    (void)(rs::fallback(0) | retry).try_call(aborted_transaction());

    const auto failed = h.of(event_kind::attempt_failed);
    REQUIRE(failed.size() == 3);
    CHECK(failed[0].first_error.empty());
    CHECK(failed[1].first_error.empty());
    for (const auto& e :
         {failed[2], h.of(event_kind::retries_exhausted).at(0), h.of(event_kind::fallback_used).at(0)}) {
        INFO(to_string(e.kind));
        CHECK(e.error == "25P02");
        CHECK(e.first_error == "40001");
        CHECK(e.first_error_type.ends_with("serialization_failure"));
    }
    c.budget = rs::retry_budget(rs::token_budget_config{.max_tokens = 3, .token_ratio = 0.1});
    (void)rs::retry(c, w.reg).try_call(aborted_transaction());
    REQUIRE(h.count(event_kind::budget_exhausted) == 1);
    CHECK(h.of(event_kind::budget_exhausted)[0].attempt == 2);
    CHECK(h.of(event_kind::budget_exhausted)[0].first_error == "40001");
}

TEST_CASE("values that only retry_if takes for failures are told of in events", "[retry][event][H-USE-15]") {
    world w;
    auto c = at_once(2);
    c.retry_if = rs::on_result<int>([](int n) { return n < 0; }) || rs::on<std::exception>();
    const rs::retry retry(c, w.reg);
    const heard h(w.reg);

    const auto out = retry.try_call(scripted<int>{throws(serialization_failure()), -1});

    CHECK(out.has_value());
    CHECK(h.of(event_kind::retries_exhausted).at(0).first_error == "40001");
}

} // namespace
