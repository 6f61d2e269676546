// SPDX-License-Identifier: Apache-2.0
// Pooled connections that died while nobody used them: repeated at once, and counted by no circuit.
#include <resilience/abandoning_timeout.hpp>
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/outcome.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
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
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::circuit_state;
using support::at_once;
using support::heard;
using support::plain;
using support::world;

struct dead_connection : std::runtime_error, rs::stale_connection_carrier {
    explicit dead_connection(bool is_stale = true)
        : std::runtime_error("server closed the connection"), stale(is_stale) {}
    bool stale_connection() const noexcept override { return stale; }
    bool stale;
};

/// A pool whose connections died with the server, which is up again or not.
struct dead_pool {
    int dead = 0;
    bool is_up = true;
    int asked = 0;

    int ask() {
        ++asked;
        if (dead > 0) {
            --dead;
            throw dead_connection();
        }
        if (!is_up) throw std::runtime_error("connection refused");
        return 42;
    }
};

struct stale_answer {
    int status = 200;
    bool is_stale = false;
    friend std::optional<int> http_status_of(const stale_answer& a) {
        return a.status == 0 ? std::nullopt : std::optional(a.status);
    }
    friend bool was_stale(const stale_answer& a) noexcept { return a.is_stale; }
};
/// Known to the library by was_stale alone.
struct bare_answer {
    int rows = 0;
    friend bool was_stale(const bare_answer& a) noexcept { return a.rows < 0; }
};

TEST_CASE("a failure tells that its connection was stale, as exception, value and nested",
          "[failure][H-USE-17]") {
    const auto of = [](auto f) {
        rs::outcome<void> out;
        out.run_and_store(f);
        return out.error();
    };
    const auto nested = of([] {
        try {
            throw dead_connection();
        } catch (...) {
            std::throw_with_nested(std::runtime_error("while asking"));
        }
    });
    const stale_answer answer{0, true};
    const bare_answer bare{-1};

    CHECK(of([] { throw dead_connection(); }).stale_connection());
    CHECK_FALSE(of([] { throw dead_connection(false); }).stale_connection());
    CHECK_FALSE(of([] { throw std::runtime_error("down"); }).stale_connection());
    CHECK(nested.stale_connection());
    CHECK(rs::detail::describe(answer).stale_connection());
    CHECK(rs::detail::describe(answer).kept().stale_connection());
    CHECK(rs::detail::describe(bare).stale_connection());
    CHECK(rs::result_traits<bare_answer>::can_fail);
    CHECK(rs::result_traits<bare_answer>::judge(bare) == rs::verdict::failure);
    CHECK(rs::result_traits<bare_answer>::judge({1}) == rs::verdict::success);
    CHECK(rs::retry_traits::known_not_sent(nested));
    CHECK_FALSE(rs::failure(rs::rejection{.code = rs::errc::circuit_open}).stale_connection());
    CHECK_FALSE(rs::failure().stale_connection());
}

TEST_CASE("a stale connection is repeated at once, without attempt, delay or budget", "[retry][H-USE-17]") {
    world w;
    auto c = plain(2);
    c.budget =
        rs::retry_budget(rs::token_budget_config{.max_tokens = 1, .token_ratio = 0.1}); // pays for nothing
    const rs::retry retry(c, w.reg);
    const auto check = [&](const char* form, const auto& call) {
        INFO(form);
        dead_pool pool{.dead = 8};
        std::string attempts;
        CHECK(call([&](rs::call_context& ctx) {
                  attempts += std::to_string(ctx.attempt());
                  return pool.ask();
              }) == 42);
        CHECK(attempts == "111111111");
    };
    const rs::any_pipeline any(retry);
    check("call", [&](auto f) { return retry(f); });
    check("try_call", [&](auto f) { return retry.try_call(f).value(); });
    check("wrap", [&](auto f) { return retry.wrap(f)(); });
    check("named", [&](auto f) { return retry.named("ask")(f); });
    check("with", [&](auto f) { return retry.with({.deadline = w.clock.now() + 1s})(f); });
    check("any_pipeline", [&](auto f) { return any(f); });
    check("timeout", [&](auto f) { return (retry | rs::timeout(1s, w.reg))(f); });
    check("unsafe", [&](auto f) { return retry.with({.idempotency = rs::idempotency::unsafe})(f); });

    const auto s = retry.stats();
    CHECK(w.clock.slept().empty());
    CHECK(s.transparent_repeats == 8 * 8);
    CHECK(s.retries == 0);
    CHECK(s.failed_attempts == 0);
    CHECK(s.succeeded_at_once == 8);
    CHECK(s.budget_exhausted == 0);
}

TEST_CASE("values say it too", "[retry][H-USE-17]") {
    world w;
    const rs::retry retry(plain(1), w.reg);
    int asked = 0;

    CHECK(retry([&] { return stale_answer{200, ++asked < 5}; }).status == 200);
    CHECK(asked == 5);
    asked = 0;
    CHECK(retry([&] { return bare_answer{++asked < 5 ? -1 : asked}; }).rows == 5);
    asked = 0;
    auto never_repeats = plain(1);
    never_repeats.max_transparent = 0;
    const rs::retry inner(never_repeats, w.reg);
    CHECK(retry([&] {
              return rs::outcome<int>(inner.try_call([&] {
                  if (++asked < 9) throw dead_connection();
                  return asked;
              }));
          }).value() == 9);
}

TEST_CASE("a call repeats at most max_transparent times, then by its rules", "[retry][H-USE-17]") {
    for (const unsigned most : {0U, 1U, 8U}) {
        world w;
        auto c = plain(3);
        c.max_transparent = most;
        const rs::retry retry(c, w.reg);
        dead_pool pool{.dead = 1'000};

        CHECK_THROWS_AS(retry([&] { return pool.ask(); }), dead_connection);

        CHECK(pool.asked == static_cast<int>(3 + most));
        CHECK(w.clock.slept() == std::vector<rs::duration>{1s, 2s});
        CHECK(retry.stats().transparent_repeats == most);
        CHECK(retry.stats().failed_attempts == 3);
    }
}

TEST_CASE("retries inside of one call share its repeats", "[retry][H-USE-17]") {
    world w;
    dead_pool pool{.dead = 1'000};

    (void)(rs::retry(at_once(2), w.reg) | rs::retry(at_once(2), w.reg)).try_call([&] { return pool.ask(); });

    CHECK(pool.asked == 2 * 2 + 8);
}

TEST_CASE("calls inside of a call share its repeats", "[retry][H-USE-17]") {
    world w;
    const rs::retry re(at_once(3), w.reg);
    auto once = at_once(3);
    once.nested = rs::nested_retry::outermost_only;
    const rs::retry inner(once, w.reg);
    const rs::timeout limit(1h, w.reg);
    const rs::abandoning_timeout abandons(1h, w.reg);
    int n = 0;
    const auto dies = [&]() -> int {
        ++n;
        throw dead_connection();
    };
    const auto dead_answer = [&] {
        ++n;
        return stale_answer{0, true};
    };
    const auto check = [&](const char* form, int expected, const auto& call) {
        for (int again = 0; again < 2; ++again) { // one call leaves nothing to the next
            INFO(form);
            n = 0;
            try {
                (void)call();
            } catch (const dead_connection&) {}
            CHECK(n == expected);
        }
    };
    const auto nested = [&](const auto& outer, const auto& within) {
        return outer([&] { return within(dies); });
    };
    check("three deep", 27 + 8, [&] { return re([&] { return nested(re, re); }); });
    check("three deep, values", 27 + 8,
          [&] { return re([&] { return re([&] { return re(dead_answer); }); }); });
    check("inner outermost_only", 3 + 8, [&] { return nested(re, inner); });
    check("outer has a context", 9 + 8, [&] { return nested(re | limit, re); });
    check("inner has a context", 9 + 8, [&] { return nested(re, re | limit); });
    check("on a worker", 9 + 8, [&] { return nested(re | abandons, re); });
    check("around a worker", 9 + 8, [&] { return nested(re, re | abandons); });
    check("try_call", 9 + 8, [&] { return re.try_call([&] { return re.try_call(dies).value(); }); });
    check("with", 9 + 8, [&] { return re([&](rs::call_context& ctx) { return re.with(ctx)(dies); }); });
    check("inherits nothing", 9 + 8,
          [&] { return re([&] { return re.with({.inherit = rs::inherit::nothing})(dies); }); });
    check("a limit between them inherits nothing", 9 + 8, [&] {
        return re([&] { return limit.with({.inherit = rs::inherit::nothing})([&] { return re(dies); }); });
    });
    check("four deep", 81 + 8, [&] { return re([&] { return nested(re | limit, re | re); }); });
    check("another exception on the way", 9 + 8, [&] {
        return re([&]() -> int {
            try {
                return re(dies);
            } catch (const dead_connection&) {
                throw dead_connection();
            }
        });
    });
}

TEST_CASE("calls that are not inside of a retry's attempt have repeats of their own", "[retry][H-USE-17]") {
    world w;
    const rs::retry re(at_once(1), w.reg);
    const auto fails = [](int dead, const auto& call) {
        dead_pool pool{.dead = dead};
        return call([&] { return pool.ask(); }).has_failure();
    };
    const auto own = [&] { return fails(8, [&](auto ask) { return re.try_call(ask); }); };

    CHECK_FALSE(own());
    CHECK_FALSE(own());
    const rs::timeout limit(1h, w.reg);
    limit([&] {
        CHECK_FALSE(own());
        CHECK_FALSE(own());
        re([&] { CHECK_FALSE(own()); });
        re([&] { CHECK_FALSE(own()); });
    });
    re([&] {
        CHECK_FALSE(own());
        CHECK(own()); // the call around both has used its repeats
        const rs::outside_of_calls scope;
        CHECK_FALSE(own());
        re([&] { CHECK_FALSE(own()); });
    });
    CHECK_FALSE(own());
}

TEST_CASE("repeats are known to the rest of the attempt, and to no later call", "[retry][H-USE-17]") {
    world w;
    const rs::retry re(at_once(1), w.reg);
    const rs::timeout limit(1h, w.reg);
    const auto limited = re | limit;
    const auto has_repeats = [&] {
        dead_pool pool{.dead = 1};
        return re.try_call([&] { return pool.ask(); }).has_value();
    };
    const auto use_up = [&] {
        dead_pool pool{.dead = 8};
        return re([&] { return pool.ask(); });
    };
    const auto check = [&](const auto& first, const auto& second) {
        for (int again = 0; again < 2; ++again) {
            re([&] {
                first(use_up);
                CHECK_FALSE(second(has_repeats));
                {
                    const rs::outside_of_calls scope;
                    CHECK(re(has_repeats));
                }
                CHECK_FALSE(second(has_repeats));
            });
            CHECK(second(has_repeats));
        }
    };
    const auto bare = [&](const auto& f) { return f(); };
    const auto with_options = [&](const auto& f) { return re.with({.inherit = rs::inherit::nothing})(f); };

    check(bare, bare);
    check(re, re);
    check(limited, re);
    check(re, limited);
    check(with_options, limited);
    check(limit, with_options);
    limit([&] { check(re, limited); });
    re([&] {
        CHECK_THROWS_AS(re([&]() -> int { use_up(), throw std::runtime_error("down"); }), std::runtime_error);
    });
    CHECK(re(has_repeats));
}

TEST_CASE("retry_if and nested retries have no say in it", "[retry][H-USE-17]") {
    world w;
    auto c = plain(3);
    int questions = 0;
    c.retry_if = [&](const rs::failure&) { return ++questions < 0; };
    c.nested = rs::nested_retry::outermost_only;
    const auto guard = rs::retry(at_once(1), w.reg) | rs::retry(c, w.reg);
    dead_pool pool{.dead = 5};

    CHECK(guard([&] { return pool.ask(); }) == 42);
    CHECK(questions == 0);
}

TEST_CASE("a stop, the deadline and max_elapsed end the repeats", "[retry][H-USE-17]") {
    world w;
    dead_pool pool{.dead = 1'000};
    std::stop_source stop;
    const auto stops = [&] {
        if (pool.asked == 3) stop.request_stop();
        return pool.ask();
    };
    const auto slow = [&] {
        w.clock.advance(1s);
        return pool.ask();
    };

    (void)rs::retry(plain(9), w.reg).with({.stop_token = stop.get_token()}).try_call(stops);
    CHECK(std::exchange(pool.asked, 0) == 4);
    (void)rs::retry(plain(9), w.reg).with({.deadline = w.clock.now() + 3s}).try_call(slow);
    CHECK(std::exchange(pool.asked, 0) == 3);
    auto c = plain(9);
    c.max_elapsed = 3s;
    (void)rs::retry(c, w.reg).try_call(slow);
    CHECK(pool.asked == 3);
}

TEST_CASE("no circuit counts a stale connection, inside, outside or alone", "[circuit_breaker][H-USE-17]") {
    world w;
    rs::circuit_breaker_config c{.failure_threshold = 1};
    c.record_if = rs::on<dead_connection>(); // has no say
    const rs::circuit_breaker breaker(c, w.reg);
    const rs::retry retry(at_once(2), w.reg);
    const auto check = [&](const char* form, const auto& guard) {
        INFO(form);
        dead_pool pool{.dead = 1'000};
        (void)guard.try_call([&] { return pool.ask(); });
        (void)guard.try_call([] { return stale_answer{0, true}; });
        (void)guard.try_call([] { return bare_answer{-1}; });
        CHECK(breaker.state() == circuit_state::closed);
    };
    check("alone", breaker);
    check("inside", retry | breaker);
    check("outside", breaker | retry);
    check("any_pipeline", rs::any_pipeline(retry, breaker));
    auto wraps = at_once(2);
    wraps.wrap_exhausted = true;
    check("outside of a wrapper", breaker | rs::retry(wraps, w.reg));
    rs::outcome<int> out;
    const auto dies = []() -> int { throw dead_connection(); };
    out.run_and_store(dies);
    breaker.try_acquire()->settle(out);
    breaker.try_acquire()->failure(out.error());

    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().failures == 0);
    CHECK(breaker.stats().ignored > 0);
}

TEST_CASE("a pool of dead connections does not keep the circuit of a recovered server open",
          "[retry][circuit_breaker][H-USE-17]") {
    world w;
    const rs::circuit_breaker breaker(
        {.failure_threshold = 5, .success_threshold = 2, .recovery_timeout = 200ms}, w.reg);
    const auto guard = rs::retry(plain(3), w.reg) | breaker;
    dead_pool pool{.dead = 0, .is_up = false};
    const auto ask = [&] { return pool.ask(); };
    while (breaker.state() != circuit_state::open) (void)guard.try_call(ask);

    pool = {.dead = 16, .is_up = true};
    w.clock.advance(200ms);
    int failed = 0;
    for (int i = 0; i < 4; ++i) failed += guard.try_call(ask) ? 0 : 1;

    CHECK(failed <= 1); // 8 repeats for each: two calls empty the pool
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().trips == 1);
}

TEST_CASE("a probe that meets a stale connection gives its place back", "[circuit_breaker][H-USE-17]") {
    world w;
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 1s}, w.reg);
    dead_pool pool{.dead = 0, .is_up = false};
    const auto ask = [&] { return pool.ask(); };
    (void)breaker.try_call(ask);
    pool = {.dead = 16, .is_up = true};
    w.clock.advance(1s);

    for (int i = 0; i < 16; ++i) {
        (void)breaker.try_call(ask);
        CHECK(breaker.state() == circuit_state::half_open);
    }
    CHECK(breaker.try_call(ask).has_value());
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(breaker.stats().rejected == 0);
}

TEST_CASE("a stale connection is not the call's first failure", "[retry][H-USE-17]") {
    world w;
    const rs::retry retry(at_once(2), w.reg);
    const heard h(w.reg);
    int calls = 0;

    const auto out = retry.try_call([&] {
        if (++calls <= 3) throw dead_connection();
        throw std::runtime_error(calls == 4 ? "40001" : "25P02");
    });

    REQUIRE(out.error().first() != nullptr);
    CHECK(out.error().first()->message() == "40001");
    CHECK(h.count(rs::event_kind::attempt_failed) == 2);
}

TEST_CASE("an event tells of each transparent repeat", "[retry][H-USE-17]") {
    world w;
    const rs::retry retry(at_once(3), w.reg);
    const heard h(w.reg);
    int calls = 0;

    retry.named("ask")([&] {
        if (++calls == 2) throw std::runtime_error("down");
        if (calls < 5) throw dead_connection();
        return 0;
    });

    const auto told = h.of(rs::event_kind::repeated_transparently);
    REQUIRE(told.size() == 3);
    CHECK(told.front().attempt == 1);
    CHECK(told.back().attempt == 2);
    CHECK(told.back().max_attempts == 3);
    CHECK(told.back().operation == "ask");
    CHECK(told.back().error == dead_connection().what());
    CHECK_FALSE(told.back().delay);
    CHECK(h.count(rs::event_kind::attempt_failed) == 1);
    CHECK(rs::event_kind_of("repeated_transparently") == rs::event_kind::repeated_transparently);
}

TEST_CASE("a server that is down behind a dead pool is still found to be down",
          "[circuit_breaker][H-USE-17]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 2}, w.reg);
    dead_pool pool{.dead = 3, .is_up = false};

    (void)(rs::retry(at_once(2), w.reg) | breaker).try_call([&] { return pool.ask(); });

    CHECK(pool.asked == 5);
    CHECK(breaker.state() == circuit_state::open);
}

TEST_CASE("a fallback answers only once the repeats are used up", "[fallback][H-USE-17]") {
    world w;
    const auto guard = rs::fallback(7) | rs::retry(at_once(1), w.reg);
    dead_pool few{.dead = 8};
    dead_pool many{.dead = 9};

    CHECK(guard([&] { return few.ask(); }) == 42);
    CHECK(guard([&] { return many.ask(); }) == 7);
}

} // namespace
