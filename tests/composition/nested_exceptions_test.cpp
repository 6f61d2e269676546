// SPDX-License-Identifier: Apache-2.0
// What an exception nests counts: for the default rules, for predicates, and for what a failure tells of itself.
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <new>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <utility>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::at_once;
using support::http_error;
using support::plain;
using support::world;

/// Throws `outer` around an exception that `inner` throws.
template <class E>
[[noreturn]] void throw_around(E outer, const std::function<void()>& inner) {
    try {
        inner();
    } catch (...) {
        std::throw_with_nested(std::move(outer));
    }
    throw std::logic_error("nothing was thrown");
}
template <class E>
std::function<void()> wrapped_in(E outer, std::function<void()> inner) {
    return [outer, inner] { throw_around(outer, inner); };
}
template <class E>
std::function<void()> that_throws(E e) {
    return [e] { throw e; };
}
/// The failure of a call that runs `f` alone.
rs::failure failed_with(const std::function<void()>& f) {
    rs::outcome<void> out;
    out.run_and_store(f);
    return out.error();
}
std::function<void()> fetching(std::function<void()> inner) {
    return wrapped_in(std::runtime_error("while fetching"), std::move(inner));
}
std::system_error code_error(std::errc code) { return std::system_error(std::make_error_code(code)); }

struct page_missing : std::runtime_error {
    page_missing() : std::runtime_error("no such page") {}
};
/// No std::exception, as some libraries throw.
struct no_std_error {
    int number;
};
struct unsent_error : std::runtime_error, rs::not_sent_carrier {
    unsent_error() : std::runtime_error("not sent") {}
    bool not_sent() const noexcept override { return true; }
};

struct nested_dead : std::runtime_error, rs::stale_connection_carrier {
    nested_dead() : std::runtime_error("connection reset") {}
    bool stale_connection() const noexcept override { return true; }
};
struct nested_verdict : std::runtime_error, rs::verdict_carrier {
    explicit nested_verdict(rs::verdict own) : std::runtime_error("judged"), own_verdict(own) {}
    rs::verdict verdict() const noexcept override { return own_verdict; }
    rs::verdict own_verdict;
};
struct nested_push_back : std::runtime_error, rs::hint_carrier {
    nested_push_back() : std::runtime_error("push-back -1") {}
    bool forbids_retry() const noexcept override { return true; }
};
/// An answer of HTTP whose code says that it was cancelled.
struct cancelled_answer : std::system_error, rs::http_carrier {
    cancelled_answer() : std::system_error(std::make_error_code(std::errc::operation_canceled)) {}
    int http_status() const noexcept override { return 503; }
};
rs::circuit_open_error a_refusal() { return {rs::errc::circuit_open, "db", "circuit 'db' is open", 30s}; }

/// check(guard, policies...) in every form of a pipeline.
template <class Check>
void in_every_pipeline(world& w, const rs::retry& retry, const rs::circuit_breaker& breaker, Check check) {
    check("retry | breaker", retry | breaker);
    check("breaker | retry", breaker | retry);
    check("with a timeout", retry | breaker | rs::timeout(1s, w.reg));
    check("any_pipeline", rs::any_pipeline(retry, breaker));
}

TEST_CASE("a failure tells what the exceptions nested in it tell", "[failure][H-USE-14]") {
    const auto missing = failed_with(fetching(fetching(that_throws(http_error(404, 7s)))));
    const auto refused = failed_with(fetching(that_throws(code_error(std::errc::connection_refused))));
    const auto unsent = failed_with(fetching(that_throws(unsent_error())));
    const auto stopped = failed_with(fetching(that_throws(code_error(std::errc::operation_canceled))));

    CHECK(missing.http_status() == 404);
    CHECK(missing.retry_after() == rs::duration{7s});
    REQUIRE(missing.as<http_error>() != nullptr);
    CHECK(std::string(missing.as<http_error>()->what()) == "HTTP 404");
    CHECK(missing.message() == "while fetching");
    CHECK(refused.code() == std::errc::connection_refused);
    CHECK(rs::retry_traits::known_not_sent(refused));
    CHECK(unsent.not_sent() == true);
    CHECK(rs::retry_traits::known_not_sent(unsent));
    CHECK(stopped.is_cancellation());
    CHECK(rs::default_verdict(stopped) == rs::verdict::ignored);
    CHECK(rs::default_verdict(failed_with(fetching(that_throws(std::bad_alloc())))) == rs::verdict::ignored);
    REQUIRE(missing.cause() != nullptr);
    CHECK(missing.cause()->message() == "while fetching");
}

TEST_CASE("the outermost exception that has an answer gives it", "[failure][H-USE-14]") {
    const auto busy = failed_with(wrapped_in(http_error(503), that_throws(http_error(404, 7s))));
    const auto broken = failed_with(
        wrapped_in(code_error(std::errc::io_error), that_throws(code_error(std::errc::operation_canceled))));
    const auto mixed = failed_with(wrapped_in(code_error(std::errc::io_error), that_throws(http_error(404))));
    const auto unset = failed_with(wrapped_in(std::system_error(std::error_code()),
                                              that_throws(code_error(std::errc::connection_refused))));

    CHECK(busy.http_status() == 503);
    CHECK(busy.as<http_error>()->http_status() == 503);
    CHECK(busy.retry_after() == rs::duration{7s}); // the outer one has none
    CHECK(broken.code() == std::errc::io_error);
    CHECK_FALSE(broken.is_cancellation());
    CHECK(mixed.code() == std::errc::io_error);
    CHECK(mixed.http_status() == 404);
    CHECK(unset.code() == std::errc::connection_refused);
}

TEST_CASE("the outermost exception that states something is the one that is judged", "[verdict][H-USE-14]") {
    using rs::verdict;
    const auto cancelled = that_throws(code_error(std::errc::operation_canceled));
    const auto missing = that_throws(http_error(404));
    const auto refused = that_throws(a_refusal());
    const auto no_memory = that_throws(std::bad_alloc());
    struct {
        const char* name;
        std::function<void()> f;
        verdict health;
        bool is_retried;
    } const rows[] = {
        {"503 around a cancellation", wrapped_in(http_error(503), cancelled), verdict::failure, true},
        {"404 around a cancellation", wrapped_in(http_error(404), cancelled), verdict::success, false},
        {"429 around a cancellation", wrapped_in(http_error(429), cancelled), verdict::ignored, true},
        {"503 around a refusal", wrapped_in(http_error(503), refused), verdict::failure, true},
        {"404 around a time-out",
         wrapped_in(http_error(404), that_throws(rs::timeout_error(rs::errc::timed_out, "db", "late"))),
         verdict::success, false},
        {"503 around 404", wrapped_in(http_error(503), missing), verdict::failure, true},
        {"404 around 503", wrapped_in(http_error(404), that_throws(http_error(503))), verdict::success,
         false},
        {"404 around a verdict", wrapped_in(http_error(404), that_throws(nested_verdict(verdict::failure))),
         verdict::success, false},
        {"503 around a lack of memory", wrapped_in(http_error(503), no_memory), verdict::failure, true},
        {"a lack of memory around 404", wrapped_in(std::bad_alloc(), missing), verdict::ignored, false},
        {"a cancellation around 503",
         wrapped_in(code_error(std::errc::operation_canceled), that_throws(http_error(503))),
         verdict::ignored, false},
        {"a cancellation around a verdict",
         wrapped_in(code_error(std::errc::operation_canceled), that_throws(nested_verdict(verdict::failure))),
         verdict::ignored, false},
        {"a refusal around 503", wrapped_in(a_refusal(), that_throws(http_error(503))), verdict::ignored,
         false},
        {"a verdict around a cancellation", wrapped_in(nested_verdict(verdict::failure), cancelled),
         verdict::failure, true},
        {"a verdict around 503", wrapped_in(nested_verdict(verdict::success), that_throws(http_error(503))),
         verdict::success, false},
        {"a code that says nothing around 404", wrapped_in(code_error(std::errc::io_error), missing),
         verdict::success, false},
        {"a code that says nothing around a cancellation",
         wrapped_in(code_error(std::errc::io_error), cancelled), verdict::failure, true},
        {"no answer around a cancellation", wrapped_in(http_error(0), cancelled), verdict::ignored, false},
        {"no answer around 404", wrapped_in(http_error(0), missing), verdict::failure, true},
        {"words around 503 around a cancellation", fetching(wrapped_in(http_error(503), cancelled)),
         verdict::failure, true},
        {"words around a cancellation around 503",
         fetching(wrapped_in(code_error(std::errc::operation_canceled), that_throws(http_error(503)))),
         verdict::ignored, false},
        {"503 around words around a cancellation", wrapped_in(http_error(503), fetching(cancelled)),
         verdict::failure, true},
        {"an answer whose own code is a cancellation", that_throws(cancelled_answer()), verdict::ignored,
         false},
    };

    for (const auto& row : rows) {
        INFO(row.name);
        const auto why = failed_with(row.f);
        CHECK(rs::default_verdict(why) == row.health);
        CHECK(rs::is_retried_by_default(why) == row.is_retried);
    }
}

TEST_CASE("a cancellation that an answer nests is none to any policy",
          "[retry][circuit_breaker][fallback][H-USE-14]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 99}, w.reg);
    const rs::retry retry(at_once(3), w.reg);
    const auto busy = wrapped_in(http_error(503), that_throws(code_error(std::errc::operation_canceled)));
    std::uint64_t failures = 0;
    in_every_pipeline(w, retry, breaker, [&](const char* name, const auto& guard) {
        INFO(name);
        CHECK_FALSE(guard.try_call(busy));
        CHECK(breaker.stats().failures > failures);
        failures = breaker.stats().failures;
    });
    breaker.try_acquire()->settle(rs::retry(at_once(1), w.reg).try_call(busy));
    std::stop_source stop;
    const rs::timeout limit(1s, w.reg);
    const auto stopped = limit.with({.stop_token = stop.get_token()}).try_call([&] {
        stop.request_stop();
        w.clock.advance(1s);
        busy();
    });

    CHECK(retry.stats().retries == 8);
    CHECK(breaker.stats().failures == failures + 1);
    CHECK(breaker.stats().ignored == 0);
    CHECK((rs::fallback([] {}) | retry).try_call(busy).has_value());
    CHECK(stopped.error().has_timed_out());
}

TEST_CASE("a throttle inside of a cancellation asks for no break", "[circuit_breaker][H-USE-14]") {
    world w;
    const auto cancelled =
        wrapped_in(code_error(std::errc::operation_canceled), that_throws(http_error(429)));
    const auto throttled = fetching(that_throws(http_error(429)));
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .break_duration_of = [](const rs::failure&) { return rs::duration{5s}; }},
        w.reg);

    (void)breaker.try_call(cancelled);
    CHECK(breaker.state() == rs::circuit_state::closed);
    (void)breaker.try_call(throttled);
    CHECK(breaker.state() == rs::circuit_state::open);
}

TEST_CASE("an answer around retries_exhausted is judged by itself", "[retry][H-USE-14]") {
    world w;
    auto c = at_once(2);
    c.wrap_exhausted = true;
    const rs::retry inner(c, w.reg);
    const auto down = [&] { inner(that_throws(std::runtime_error("down"))); };

    CHECK(rs::default_verdict(failed_with(wrapped_in(http_error(404), down))) == rs::verdict::success);
    CHECK(rs::default_verdict(failed_with(wrapped_in(nested_verdict(rs::verdict::ignored), down))) ==
          rs::verdict::ignored);
    CHECK(rs::default_verdict(failed_with(fetching(down))) == rs::verdict::failure);
}

TEST_CASE("what is nested in an answer says nothing of what was sent", "[retry][H-USE-14][H-USE-17]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 99}, w.reg);
    const rs::retry retry(at_once(2), w.reg);
    const auto unsafe = [&](const std::function<void()>& f) {
        int calls = 0;
        (void)(retry | breaker).with({.idempotency = rs::idempotency::unsafe}).try_call([&] {
            ++calls;
            f();
        });
        return calls;
    };
    const auto answered = [](std::function<void()> inner) { return wrapped_in(http_error(503), inner); };
    const auto judged = [](std::function<void()> inner) {
        return wrapped_in(nested_verdict(rs::verdict::failure), inner);
    };
    const auto refused = that_throws(code_error(std::errc::connection_refused));

    CHECK(unsafe(answered(that_throws(unsent_error()))) == 1);
    CHECK(unsafe(answered(refused)) == 1);
    CHECK(unsafe(answered(that_throws(a_refusal()))) == 1);
    CHECK(unsafe(answered(that_throws(nested_dead()))) == 1);
    CHECK(unsafe(fetching(answered(that_throws(nested_dead())))) == 1);
    CHECK(breaker.stats().failures == 5);
    // A verdict, and the lack of an answer, say nothing of it.
    CHECK(unsafe(judged(refused)) == 2);
    CHECK(unsafe(judged(that_throws(unsent_error()))) == 2);
    CHECK(unsafe(wrapped_in(http_error(0), refused)) == 2);
    // An answer may say of itself that it was made before the request was taken.
    CHECK(unsafe(wrapped_in(unsent_error(), that_throws(http_error(503)))) == 2);
}

TEST_CASE("a stale connection is none to who wraps it in a statement of its own",
          "[retry][circuit_breaker][H-USE-17]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 99}, w.reg);
    const rs::retry retry(at_once(1), w.reg);
    const auto dead = that_throws(nested_dead());
    const auto calls = [&](const std::function<void()>& f) {
        int made = 0;
        (void)(retry | breaker).try_call([&] {
            ++made;
            f();
        });
        return made;
    };

    CHECK(calls(fetching(dead)) == 9); // transparent
    CHECK(calls(wrapped_in(code_error(std::errc::io_error), dead)) == 9);
    CHECK(breaker.stats().failures == 0);
    CHECK(calls(wrapped_in(http_error(503), dead)) == 1);
    CHECK(calls(wrapped_in(nested_verdict(rs::verdict::failure), dead)) == 1);
    CHECK(breaker.stats().failures == 2);
    CHECK(calls(wrapped_in(http_error(404), dead)) == 1);
    CHECK(breaker.stats().successes == 1);
    CHECK(calls(wrapped_in(code_error(std::errc::operation_canceled), dead)) == 1);
}

TEST_CASE("a hint around one that forbids to try again is the one that counts", "[retry][H-USE-14]") {
    const auto forbids = that_throws(nested_push_back());

    CHECK(failed_with(fetching(forbids)).forbids_retry());
    CHECK(failed_with(wrapped_in(http_error(503), forbids)).forbids_retry()); // it says nothing of it
    CHECK_FALSE(failed_with(wrapped_in(http_error(503, 5s), forbids)).forbids_retry());
    CHECK(failed_with(wrapped_in(http_error(503, 5s), forbids)).retry_after() == rs::duration{5s});
    CHECK(failed_with(wrapped_in(nested_push_back(), that_throws(http_error(503, 5s)))).forbids_retry());
}

TEST_CASE("exceptions that are no std::exception nest, and are nested", "[failure][H-USE-14]") {
    const auto outside = failed_with(wrapped_in(no_std_error{1}, that_throws(http_error(404))));
    const auto inside = failed_with(fetching(that_throws(no_std_error{2})));
    const auto text = failed_with(fetching(that_throws(std::string("40001"))));
    const auto number = failed_with(fetching(that_throws(42)));

    CHECK(outside.as<no_std_error>()->number == 1);
    CHECK(outside.http_status() == 404);
    REQUIRE(inside.as<no_std_error>() != nullptr);
    CHECK(inside.as<no_std_error>()->number == 2);
    REQUIRE(text.as<std::string>() != nullptr);
    CHECK(*text.as<std::string>() == "40001");
    REQUIRE(number.as<int>() != nullptr);
    CHECK(*number.as<int>() == 42);
    CHECK(number.as<long>() == nullptr);
}

/// Nests what is being handled where it is made, or nothing.
struct made_anywhere : std::runtime_error, std::nested_exception {
    made_anywhere() : std::runtime_error("made anywhere") {}
};

TEST_CASE("a chain that is empty, endless or very long is looked at as far as it is sensible",
          "[failure][H-USE-14]") {
    std::function<void()> deep = that_throws(http_error(404));
    for (int i = 0; i < 10; ++i) deep = fetching(deep);
    std::function<void()> abyss = that_throws(http_error(404));
    for (int i = 0; i < 500; ++i) abyss = fetching(abyss);

    CHECK(failed_with(that_throws(made_anywhere())).http_status() == std::nullopt);
    CHECK(failed_with(that_throws(made_anywhere())).cause() == nullptr);
    CHECK(failed_with(deep).http_status() == 404);
    CHECK(failed_with(abyss).http_status() == std::nullopt);
    CHECK(failed_with(abyss).message() == "while fetching");

    const auto ring = std::make_exception_ptr(made_anywhere());
    made_anywhere* bitten = nullptr;
    try {
        std::rethrow_exception(ring);
    } catch (made_anywhere& e) {
        bitten = &e;
        static_cast<std::nested_exception&>(e) = std::nested_exception(); // itself
    }
    if (bitten->nested_ptr() == ring) { // a copy where rethrowing copies
        const rs::failure endless(ring);
        CHECK(endless.http_status() == std::nullopt);
        CHECK(endless.as<http_error>() == nullptr);
        CHECK(rs::default_verdict(endless) == rs::verdict::failure);
    }
    static_cast<std::nested_exception&>(*bitten) = made_anywhere(); // lets go of itself
}

TEST_CASE("predicates find the type of a nested exception", "[predicate][H-USE-14]") {
    const auto missing = failed_with(fetching(that_throws(page_missing())));
    const auto is_missing = rs::on<page_missing>();
    const auto not_missing = rs::not_on<page_missing>();

    CHECK(is_missing(missing));
    CHECK_FALSE(not_missing(missing));
    CHECK(rs::on<http_error>([](const http_error& e) { return e.http_status() == 404; })(
        failed_with(fetching(that_throws(http_error(404))))));
    CHECK(rs::on<rs::circuit_open_error>()(
        failed_with(fetching(that_throws(rs::circuit_open_error(rs::errc::circuit_open, "db", "open"))))));
}

TEST_CASE("a nested 404 is not retried, and opens no circuit", "[retry][circuit_breaker][H-USE-14]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 5}, w.reg);
    const rs::retry retry(plain(3), w.reg);
    in_every_pipeline(w, retry, breaker, [&](const char* name, const auto& guard) {
        INFO(name);
        int calls = 0;
        for (int i = 0; i < 20; ++i) {
            (void)guard.try_call([&] {
                ++calls;
                throw_around(std::runtime_error("while fetching"), that_throws(http_error(404)));
            });
        }
        CHECK(calls == 20);
        CHECK(breaker.state() == rs::circuit_state::closed);
    });
    CHECK(retry.stats().retries == 0);
}

TEST_CASE("nested cancellations trip no circuit, are not retried and get no fallback",
          "[retry][circuit_breaker][fallback][H-USE-14]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 5}, w.reg);
    const rs::retry retry(plain(3), w.reg);
    const auto cancelled = fetching(that_throws(code_error(std::errc::operation_canceled)));
    in_every_pipeline(w, retry, breaker, [&](const char* name, const auto& guard) {
        INFO(name);
        for (int i = 0; i < 20; ++i) (void)guard.try_call(cancelled);
        CHECK(breaker.state() == rs::circuit_state::closed);
    });
    CHECK(breaker.stats().failures == 0);
    CHECK(retry.stats().retries == 0);
    const auto answered = rs::fallback([] {}) | retry;
    CHECK(answered.try_call(cancelled).has_failure());
}

TEST_CASE("a permit judges what an outcome nests", "[circuit_breaker][H-USE-14]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    rs::outcome<void> out;
    out.run_and_store(fetching(that_throws(code_error(std::errc::operation_canceled))));

    breaker.try_acquire()->settle(out);

    CHECK(breaker.stats().ignored == 1);
    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("a nested hint is the least delay", "[retry][H-USE-14]") {
    world w;
    const rs::retry retry(plain(2), w.reg);

    (void)retry.try_call(fetching(that_throws(http_error(503, 7s))));

    REQUIRE(w.clock.slept().size() == 1);
    CHECK(w.clock.slept().front() >= rs::duration{7s});
}

TEST_CASE("an unsafe call is repeated after a nested failure that was not sent", "[retry][H-USE-14]") {
    world w;
    const rs::retry retry(at_once(2), w.reg);
    const auto unsafe = [&](const std::function<void()>& f) {
        int calls = 0;
        (void)retry.with({.idempotency = rs::idempotency::unsafe}).try_call([&] {
            ++calls;
            f();
        });
        return calls;
    };

    CHECK(unsafe(fetching(that_throws(unsent_error()))) == 2);
    CHECK(unsafe(fetching(that_throws(code_error(std::errc::connection_refused)))) == 2);
    CHECK(unsafe(fetching(that_throws(std::runtime_error("reset")))) == 1);
}

/// Calls `outer` around a retry that makes two attempts of `f` and wraps the last failure, in one pipeline and by
/// calls inside of calls. Returns the attempts that were made.
template <class Outer>
std::pair<int, int> around_a_wrapper(world& w, const Outer& outer, const std::function<void()>& f) {
    auto c = at_once(2);
    c.wrap_exhausted = true;
    c.retry_if = [](const rs::failure&) { return true; };
    const rs::retry wrapping(c, w.reg);
    int in_one = 0;
    int inside = 0;
    (void)(outer | wrapping).try_call([&] {
        ++in_one;
        f();
    });
    (void)outer.try_call([&] {
        wrapping([&] {
            ++inside;
            f();
        });
    });
    return {in_one, inside};
}

TEST_CASE("our own retries_exhausted hides nothing of what it wraps", "[retry][H-USE-14]") {
    world w;
    const rs::retry outer(at_once(3), w.reg);
    using made = std::pair<int, int>;

    CHECK(around_a_wrapper(w, outer, that_throws(http_error(404))) == made{2, 2});
    CHECK(around_a_wrapper(w, outer, that_throws(code_error(std::errc::operation_canceled))) == made{2, 2});
    CHECK(around_a_wrapper(w, outer, that_throws(std::bad_alloc())) == made{2, 2});
    CHECK(around_a_wrapper(w, outer, that_throws(http_error(503))) == made{6, 6});
    CHECK(around_a_wrapper(w, outer, that_throws(std::runtime_error("down"))) == made{6, 6});

    auto c = at_once(3);
    c.retry_if = rs::on<page_missing>();
    const rs::retry by_type(c, w.reg);
    CHECK(around_a_wrapper(w, by_type, that_throws(page_missing())) == made{6, 6});
    CHECK(around_a_wrapper(w, by_type, that_throws(std::runtime_error("down"))) == made{2, 2});
}

TEST_CASE("cancellations inside of retries_exhausted trip no circuit", "[circuit_breaker][H-USE-14]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);

    around_a_wrapper(w, breaker, that_throws(code_error(std::errc::operation_canceled)));
    CHECK(breaker.state() == rs::circuit_state::closed);
    CHECK(breaker.stats().ignored == 2);
    around_a_wrapper(w, breaker, that_throws(std::runtime_error("down")));
    CHECK(breaker.state() == rs::circuit_state::open);
}

TEST_CASE("retries_exhausted itself, the last failure in it and its code are all found",
          "[retry][H-USE-14]") {
    world w;
    auto c = at_once(2);
    c.wrap_exhausted = true;
    const rs::retry retry(c, w.reg);
    const auto out = retry.try_call(that_throws(http_error(503, 7s)));
    const auto thrown = failed_with([&] { retry(that_throws(http_error(503, 7s))); });

    for (const rs::failure* why : {&out.error(), &thrown}) {
        CHECK(why->code() == rs::errc::retries_exhausted);
        CHECK(why->http_status() == 503);
        CHECK(why->retry_after() == rs::duration{7s});
        CHECK(why->as<http_error>() != nullptr);
        CHECK(rs::on<http_error>()(*why));
        CHECK(rs::on<rs::retries_exhausted_error>()(*why));
        CHECK_FALSE(rs::on<rs::circuit_open_error>()(*why));
        CHECK(why->is_real());
    }
}

TEST_CASE("a time-out inside of retries_exhausted is found by its type", "[retry][timeout][H-USE-14]") {
    world w;
    auto c = at_once(2);
    c.wrap_exhausted = true;
    const auto guard = rs::retry(c, w.reg) | rs::timeout(1s, w.reg);
    const auto slow = [&] { w.clock.advance(2s); };
    const auto out = guard.try_call(slow);
    const auto thrown = failed_with([&] { guard(slow); });

    CHECK(rs::on<rs::timeout_error>()(out.error()));
    CHECK(rs::on<rs::timeout_error>()(thrown));
    CHECK_FALSE(rs::on<rs::cancelled_error>()(out.error()));
    CHECK(rs::default_verdict(thrown) == rs::verdict::failure);
}

TEST_CASE("an inner circuit's refusal that the caller wraps stays a refusal", "[circuit_breaker][H-USE-14]") {
    world w;
    const rs::circuit_breaker inner({.recovery_timeout = 30s}, w.reg);
    const rs::circuit_breaker outer({.failure_threshold = 1}, w.reg);
    const rs::retry retry(plain(3), w.reg);
    inner.open_for(30s);
    const auto ask = fetching([&] { inner([] {}); });

    const auto out = (retry | outer).try_call(ask);

    CHECK(out.error().code() == rs::errc::circuit_open);
    CHECK(out.error().retry_after() == rs::duration{30s});
    CHECK(inner.stats().rejected == 1);
    CHECK(outer.state() == rs::circuit_state::closed);
}

TEST_CASE("an exception that make_exception nests is found by its type", "[timeout][H-USE-14]") {
    world w;
    rs::timeout_config c{.limit = 1s};
    c.make_exception = [](const rs::failure&) {
        std::exception_ptr made;
        try {
            throw_around(std::runtime_error("slow"), that_throws(page_missing()));
        } catch (...) {
            made = std::current_exception();
        }
        return made;
    };
    auto r = at_once(3);
    r.retry_if = rs::on<page_missing>();
    int calls = 0;

    (void)(rs::retry(r, w.reg) | rs::timeout(c, w.reg)).try_call([&] {
        ++calls;
        w.clock.advance(2s);
    });

    CHECK(calls == 3);
}

/// An answer that tells whether it was sent.
struct unsure_answer {
    int status = 200;
    bool is_unsent = false;
    friend std::optional<int> http_status_of(const unsure_answer& a) { return a.status; }
    friend std::optional<rs::duration> retry_after_of(const unsure_answer&) { return rs::duration{7s}; }
    friend bool was_not_sent(const unsure_answer& a) noexcept { return a.is_unsent; }
};

TEST_CASE("retries_exhausted hides nothing of a returned value, thrown or not", "[retry][H-USE-14]") {
    world w;
    auto c = at_once(2);
    c.wrap_exhausted = true;
    c.respect_retry_after = false;
    const rs::retry retry(c, w.reg);
    for (const bool unsent : {true, false}) {
        const auto answer = [unsent] { return unsure_answer{503, unsent}; };
        const auto out = retry.try_call(answer);
        const auto thrown = failed_with([&] { retry(answer); });
        const auto of_value =
            failed_with([&] { (void)rs::retry(at_once(1), w.reg).try_call(answer).value(); });

        for (const rs::failure* why : {&out.error(), &thrown, &of_value}) {
            CHECK(why->http_status() == 503);
            CHECK(why->retry_after() == rs::duration{7s});
            CHECK(why->not_sent() == unsent);
            CHECK(rs::retry_traits::known_not_sent(*why) == unsent);
        }
        CHECK(of_value.type_name().ends_with("unsure_answer"));
    }
}

} // namespace
