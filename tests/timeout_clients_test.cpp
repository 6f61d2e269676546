// SPDX-License-Identifier: Apache-2.0
// Time limits as clients meet them: they give up by themselves, under names of their own.
#include <resilience/abandoning_timeout.hpp>
#include <resilience/any_pipeline.hpp>
#include <resilience/call/outcome_traits.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/heard.hpp"
#include "support/lazy.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <new>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::heard;
using support::lazy;
using support::world;

/// A client's own error for its own time-out.
struct gave_up : std::runtime_error {
    gave_up() : std::runtime_error("Timeout was reached") {}
};
/// A client that calls its own time-out a cancellation.
struct query_canceled : std::system_error {
    query_canceled() : std::system_error(std::make_error_code(std::errc::operation_canceled)) {}
};
const auto canceled = std::make_error_code(std::errc::operation_canceled);

/// Runs for that long, then throws an E.
template <class E = gave_up>
auto gives_up_after(world& w, rs::duration length) {
    return [&w, length]() -> int {
        w.clock.advance(length);
        throw E();
    };
}

template <class E>
lazy<int> task_that_gives_up(world& w, rs::duration length) {
    co_await support::pause(w.clock, length);
    throw E();
}

} // namespace

TEST_CASE("a client that gives up at its limit has timed out, and its own error comes out",
          "[timeout][H-USE-01]") {
    world w;
    const rs::timeout limit({.name = "jira", .limit = 2s}, w.reg);
    const heard h{w.reg};
    const auto length = GENERATE(rs::duration{2s}, rs::duration{2s + 1ns}, rs::duration{60s});

    CHECK_THROWS_AS(limit(gives_up_after(w, length)), gave_up);

    CHECK(limit.stats().timed_out == 1);
    CHECK(limit.stats().failed == 0);
    const auto events = h.of(rs::event_kind::timed_out);
    REQUIRE(events.size() == 1);
    CHECK(events[0].policy == "jira");
    CHECK(events[0].delay == rs::duration{2s});
    CHECK(events[0].error == "Timeout was reached");
    CHECK(events[0].reason == "no result within 2s");
}

TEST_CASE("a client that stops a little before its limit has timed out, one that stops sooner has failed",
          "[timeout][H-USE-03]") {
    struct row {
        rs::duration limit;
        rs::duration tick;
        rs::duration grace; // max(a tick, 1 %, 1 ms), at most half of the limit
    };
    const auto r = GENERATE(row{2s, 0ms, 20ms}, row{10min, 0ms, 6s}, row{50ms, 0ms, 1ms}, row{2ms, 0ms, 1ms},
                            row{100ms, 4ms, 4ms}, row{900us, 0ms, 450us}, row{400ms, 4ms, 4ms});
    world w;
    w.clock.set_coarse_resolution(r.tick);
    const rs::timeout limit(r.limit, w.reg);

    CHECK_THROWS_AS(limit(gives_up_after(w, r.limit - r.grace - 1ns)), gave_up);
    CHECK(limit.stats().failed == 1);
    w.clock.advance(1h - (r.limit - r.grace - 1ns)); // on a tick
    CHECK_THROWS_AS(limit(gives_up_after(w, r.limit - r.grace)), gave_up);
    CHECK(limit.stats().timed_out == 1);
}

TEST_CASE("whatever stands for a failure has timed out at the limit, and is returned as it is",
          "[timeout][H-USE-01]") {
    world w;
    const rs::timeout limit(2s, w.reg);
    const auto ends = [&](auto what) {
        w.clock.advance(2s);
        return what;
    };
    using expected = tl::expected<int, std::string>;

    CHECK(limit(ends, expected(tl::unexpected<std::string>("28"))).error() == "28");
    CHECK(limit(ends, std::make_error_code(std::errc::timed_out)) == std::errc::timed_out);
    CHECK(limit(ends, std::errc::operation_canceled) == std::errc::operation_canceled);
    CHECK(limit(ends, support::http_answer{.status = 504}).status == 504);
    CHECK_THROWS_AS(limit([&]() -> int {
                        w.clock.advance(2s);
                        throw 28;
                    }),
                    int);
    CHECK(limit.stats().timed_out == 5);
    CHECK(limit.stats().calls == 5);
}

TEST_CASE("a client's own time-out is retried and recorded as a time-out, and found by its type",
          "[timeout]") {
    world w;
    const rs::circuit_breaker inside({.failure_threshold = 100}, w.reg);
    const rs::circuit_breaker outside({.failure_threshold = 100}, w.reg);
    auto c = support::at_once(3);
    c.retry_if = rs::on<gave_up>();
    const auto guard = rs::retry(c, w.reg) | outside | rs::timeout(2s, w.reg) | inside;

    const auto o = guard.try_call(gives_up_after(w, 2s));

    CHECK(o.error().as<gave_up>() != nullptr);
    CHECK(o.error().has_timed_out());
    CHECK(outside.stats().failures == 3);
    CHECK(inside.stats().failures == 3);
}

TEST_CASE("a client that calls its own time-out a cancellation has timed out", "[timeout][H-USE-02]") {
    world w;
    const rs::timeout limit({.limit = 2s}, w.reg);
    const rs::circuit_breaker inside({.failure_threshold = 100}, w.reg);
    const rs::circuit_breaker outside({.failure_threshold = 100}, w.reg);
    const rs::retry retry(support::at_once(10), w.reg);
    const auto guard = retry | outside | limit | inside;
    const auto early = GENERATE(0ms, 1ms, 20ms);
    const bool takes_token = GENERATE(false, true);
    const bool at_run_time = GENERATE(false, true);
    const auto run = [&](const auto& f) {
        return at_run_time ? rs::any_pipeline(guard).try_call(f) : guard.try_call(f);
    };

    SECTION("by an exception") {
        const auto o = run([&](rs::call_context& ctx) -> int {
            if (takes_token) (void)ctx.stop_token();
            w.clock.advance(2s - early);
            throw query_canceled();
        });
        CHECK(o.error().as<query_canceled>() != nullptr); // of ours it is the cause
        CHECK_FALSE(o.error().is_cancellation());
    }
    SECTION("by a value") {
        const auto o = run([&](rs::call_context& ctx) -> std::error_code {
            if (takes_token) (void)ctx.stop_token();
            w.clock.advance(2s - early);
            return canceled;
        });
        CHECK_FALSE(o.error().is_cancellation());
    }
    CHECK(inside.stats().failures == 10);
    CHECK(outside.stats().failures == 10);
    CHECK(limit.stats().timed_out == 10);
    CHECK(retry.stats().failed_attempts == 10);
}

TEST_CASE("a circuit of a client that is cancelled at its limit opens", "[circuit_breaker][H-USE-02]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 10}, w.reg);
    const auto guard = breaker | rs::timeout(2s, w.reg);

    for (int i = 0; i < 10; ++i)
        CHECK_THROWS_AS(guard(gives_up_after<query_canceled>(w, 2s)), query_canceled);

    CHECK(breaker.state() == rs::circuit_state::open);
}

TEST_CASE("where our own stop request ended the attempt, its error is the cause of ours",
          "[timeout][H-USE-02]") {
    world w;
    std::string cause;
    const rs::timeout limit({.name = "jira",
                             .limit = 2s,
                             .make_exception =
                                 [&](const rs::failure& why) {
                                     if (why.cause() != nullptr) cause = why.cause()->type_name();
                                     return std::exception_ptr{};
                                 }},
                            w.reg);
    const auto until_stopped = [&](rs::call_context& ctx) -> int {
        w.clock.sleep_until(w.clock.now() + 1h, ctx.stop_token());
        throw query_canceled();
    };

    const auto o = limit.try_call(until_stopped);

    CHECK(o.error().message() == "timeout 'jira': no result within 2s");
    CHECK(o.error().as<query_canceled>() != nullptr);
    CHECK(rs::on<query_canceled>()(o.error()));
    CHECK(rs::on<rs::timeout_error>()(o.error()));
    CHECK_FALSE(rs::on<gave_up>()(o.error()));
    CHECK(cause.find("query_canceled") != std::string::npos);
    CHECK_THROWS_AS(limit(until_stopped), rs::timeout_error);
}

TEST_CASE("a cancellation that the caller asked for stays one, at the limit too", "[timeout][H-USE-02]") {
    world w;
    std::stop_source stop;
    const rs::timeout limit(2s, w.reg);
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const auto guard = rs::fallback(7) | rs::retry(support::at_once(3), w.reg) | breaker | limit;
    const auto length = GENERATE(1s, 2s, 3s);
    const auto f = [&]() -> int {
        w.clock.advance(1s);
        stop.request_stop();
        w.clock.advance(length - 1s);
        throw query_canceled();
    };

    SECTION("by the call's stop token") {
        CHECK(guard.with({.stop_token = stop.get_token()}).try_call(f).error().is_cancellation());
    }
    SECTION("by that of an enclosing call") {
        const auto outer = rs::timeout(1h, w.reg);
        CHECK_FALSE(outer.with({.stop_token = stop.get_token()}).try_call([&] { return guard(f); }));
    }
    CHECK(breaker.stats().ignored == 1);
    CHECK(limit.stats().timed_out == 0);
}

TEST_CASE("a cancellation that nobody asked for, before the limit, says nothing", "[timeout]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::timeout limit(2s, w.reg);

    CHECK_THROWS_AS((breaker | limit)(gives_up_after<query_canceled>(w, 2s - 21ms)), query_canceled);

    CHECK(breaker.stats().ignored == 1);
    CHECK(limit.stats().failed == 1);
}

TEST_CASE("what made no attempt has not timed out, whenever it says so", "[timeout][H-USE-01]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, w.reg);
    const rs::circuit_breaker open({}, w.reg);
    const rs::timeout limit(2s, w.reg);
    open.force_open();

    CHECK_THROWS_AS((breaker | limit)([&]() -> int {
                        w.clock.advance(2s - 1ms);
                        return open([] { return 1; });
                    }),
                    rs::circuit_open_error);
    CHECK_THROWS_AS((breaker | limit)(gives_up_after<std::bad_alloc>(w, 2s)), std::bad_alloc);

    CHECK(breaker.stats().ignored == 2);
    CHECK(limit.stats().timed_out == 1);
}

TEST_CASE("a client's time-out stays one where a policy further in puts another failure in its place",
          "[timeout][H-USE-01]") {
    world w;
    const rs::timeout limit({.name = "jira", .limit = 5s}, w.reg);
    const rs::circuit_breaker outside({.failure_threshold = 100}, w.reg);
    const heard h{w.reg};
    const bool at_run_time = GENERATE(false, true);
    const auto own_deadline = GENERATE(std::optional<rs::duration>{}, std::optional<rs::duration>{4s});
    const rs::duration length = own_deadline.value_or(5s);
    const auto early = GENERATE(rs::duration{0}, rs::duration{20ms}, rs::duration{1s});
    const auto fails = [&](const auto& inner, rs::duration attempt) {
        const auto run = [&](const auto& guard, const auto& f) {
            if (own_deadline) return guard.with({.deadline = w.clock.now() + *own_deadline}).try_call(f);
            return guard.try_call(f);
        };
        const auto guard = outside | limit | inner;
        const auto f = gives_up_after(w, attempt);
        return at_run_time ? run(rs::any_pipeline(guard), f) : run(guard, f);
    };
    const bool late = early < 1s;

    SECTION("a retry that says that it gave up") {
        auto twice = support::at_once(2);
        twice.wrap_exhausted = true;
        const auto o = fails(rs::retry(twice, w.reg), (length - early) / 2);
        CHECK(o.error().code() == rs::errc::retries_exhausted);
        CHECK(o.error().has_timed_out() == late);
    }
    SECTION("a fallback that fails") {
        const auto source = []() -> int { throw query_canceled(); };
        const auto o = fails(rs::fallback(source), length - early);
        CHECK(o.error().as<query_canceled>() != nullptr);
        CHECK(o.error().is_cancellation() != late);
    }
    SECTION("a fallback that takes the rest of the time, and fails") {
        const auto source = [&]() -> int {
            w.clock.advance(length - early - 1ms);
            throw std::runtime_error("no copy either");
        };
        const auto o = fails(rs::fallback(source), 1ms);
        CHECK(o.error().message() == "no copy either");
        CHECK(o.error().has_timed_out() == late);
    }
    CHECK(limit.stats().timed_out == (late ? 1 : 0));
    CHECK(limit.stats().failed == (late ? 0 : 1));
    CHECK(h.count(rs::event_kind::timed_out) == (late ? 1 : 0));
    if (late) CHECK(outside.stats().failures == 1);
}

TEST_CASE("one timeout counts an attempt whose time-out another failure has replaced",
          "[timeout][H-USE-01]") {
    world w;
    const rs::timeout wide({.name = "wide", .limit = 2s}, w.reg);
    const rs::timeout tight({.name = "tight", .limit = 2s}, w.reg);
    const heard h{w.reg};
    auto once = support::at_once(1);
    once.wrap_exhausted = true;
    const rs::retry wraps(once, w.reg);
    const auto until_stopped = [&](rs::call_context& ctx) -> int {
        w.clock.sleep_until(w.clock.now() + 1h, ctx.stop_token());
        throw query_canceled();
    };

    CHECK_FALSE((wide | wraps | tight).try_call(gives_up_after(w, 2s)));
    CHECK_FALSE((wide | tight | wraps).try_call(gives_up_after(w, 2s)));
    CHECK_FALSE((wide | wraps | tight).try_call(until_stopped));
    CHECK_FALSE((wide | tight | wraps).try_call(until_stopped));

    CHECK(tight.stats().timed_out == 4);
    CHECK(wide.stats().failed == 4);
    CHECK(h.count(rs::event_kind::timed_out) == 4);
}

TEST_CASE("a refusal and the caller's cancellation in an attempt's place have not timed out",
          "[timeout][H-USE-01][H-USE-02]") {
    world w;
    const rs::timeout limit(2s, w.reg);
    const rs::circuit_breaker breaker({}, w.reg);
    std::stop_source stop;

    SECTION("an open circuit refuses what the fallback asks for") {
        breaker.force_open();
        const auto source = [&] {
            w.clock.advance(1998ms);
            return breaker([] { return 7; });
        };
        const auto o = (limit | rs::fallback(source)).try_call(gives_up_after(w, 1ms));
        CHECK(o.error().code() == rs::errc::circuit_open);
    }
    SECTION("the caller ends the fallback") {
        const auto source = [&]() -> int {
            w.clock.advance(1s);
            stop.request_stop();
            throw query_canceled();
        };
        const auto o = (limit | rs::fallback(source))
                           .with({.stop_token = stop.get_token()})
                           .try_call(gives_up_after(w, 1s));
        CHECK(o.error().is_cancellation());
    }
    CHECK(limit.stats().timed_out == 0);
    CHECK(limit.stats().failed == 1);
}

TEST_CASE("a task's time-out stays one where a policy further in puts another failure in its place",
          "[task][timeout][H-USE-01]") {
    world w;
    const rs::timeout limit(5s, w.reg);
    const auto run = [&](auto task) {
        task.start();
        w.clock.advance(2500ms);
        w.clock.advance(2500ms);
        return task.result();
    };

    SECTION("a retry that says that it gave up") {
        auto twice = support::at_once(2);
        twice.wrap_exhausted = true;
        const auto o = run((limit | rs::retry(twice, w.reg)).try_call([&] {
            return task_that_gives_up<gave_up>(w, 2500ms);
        }));
        CHECK(o.error().has_timed_out());
    }
    SECTION("a fallback that fails") {
        const auto source = []() -> int { throw std::runtime_error("no copy either"); };
        const auto o = run((limit | rs::fallback(source)).try_call([&] {
            return task_that_gives_up<gave_up>(w, 5s - 1ms);
        }));
        CHECK(o.error().has_timed_out());
    }
    CHECK(limit.stats().timed_out == 1);
    CHECK(limit.stats().failed == 0);
}

TEST_CASE("of several limits the one that passed is told", "[timeout][H-USE-01][H-USE-06]") {
    world w;
    const rs::timeout limit({.name = "jira", .limit = 2s}, w.reg);
    const heard h{w.reg};
    const auto value_late = [&] {
        w.clock.advance(1ms);
        return 1;
    };
    const auto with_deadline = [&](const auto& guard, const auto& f) {
        return guard.with({.deadline = w.clock.now() + 900us}).try_call(f);
    };
    const auto told = [&] { return h.of(rs::event_kind::timed_out); };

    SECTION("the caller's, of a value") {
        const auto o = with_deadline(limit, value_late);
        CHECK(o.error().message() == "timeout 'jira': no result within 900us (the caller's deadline)");
        CHECK(told().at(0).error == o.error().message());
    }
    SECTION("the caller's, of a client's own error") {
        const auto o = with_deadline(limit, gives_up_after(w, 900us));
        CHECK(o.error().message() == "Timeout was reached");
        CHECK(told().at(0).reason == "no result within 900us (the caller's deadline)");
    }
    SECTION("the caller's, in a later attempt: the call had 900us") {
        int attempts = 0;
        const auto o = with_deadline(rs::retry(support::at_once(2), w.reg) | limit, [&] {
            if (++attempts > 1) return value_late();
            w.clock.advance(100us);
            throw gave_up();
        });
        CHECK(o.error().message() == "timeout 'jira': no result within 900us (the caller's deadline)");
    }
    SECTION("an enclosing call's") {
        const auto o = rs::timeout(900us, w.reg).try_call([&] { return limit.try_call(value_late); });
        CHECK_FALSE(o); // the outer one judges its own lateness
        CHECK(told().at(0).error == "timeout 'jira': no result within 900us (the enclosing call's deadline)");
    }
    SECTION("the caller's, told by nobody's name") {
        const rs::circuit_breaker breaker({}, w.reg);
        const auto o = with_deadline(breaker, [&](rs::call_context& ctx) -> int {
            w.clock.sleep_until(w.clock.now() + 1h, ctx.stop_token());
            throw query_canceled();
        });
        CHECK(o.error().message() == "timeout: no result within 900us (the caller's deadline)");
        CHECK(breaker.stats().failures == 1);
        return;
    }
    SECTION("the caller's, on a worker") {
        const rs::timeout wide(10s, w.reg);
        const rs::abandoning_timeout worker({.name = "jira", .limit = 2s}, w.reg);
        const auto o = with_deadline(worker, [&w]() -> int {
            w.clock.advance(899us);
            throw gave_up();
        });
        CHECK(o.error().message() == "Timeout was reached");
        CHECK(worker.stats().timed_out == 1);
        CHECK(told().at(0).reason == "no result within 900us (the caller's deadline)");
        return;
    }
    CHECK(limit.stats().timed_out == 1);
    CHECK(told().at(0).delay == rs::duration{900us});
}

TEST_CASE("a value that comes after the call's own deadline has timed out where a timeout stands around it",
          "[timeout][H-USE-06]") {
    world w;
    const rs::circuit_breaker breaker({}, w.reg);
    const rs::timeout limit(10s, w.reg);
    const rs::timeout keeps({.limit = 10s, .keep_late = true}, w.reg);
    const auto at = [&](rs::duration length) {
        return [&w, length] {
            w.clock.advance(length);
            return 1;
        };
    };
    const auto call = [&](const auto& guard, rs::duration length) {
        return guard.with({.deadline = w.clock.now() + 20ms}).try_call(at(length));
    };

    CHECK(call(limit, 20ms).value() == 1);
    CHECK_FALSE(call(limit, 20ms + 1ns));
    CHECK_FALSE(call(limit | breaker, 50ms));
    CHECK_FALSE(call(rs::retry(support::at_once(), w.reg) | breaker | limit, 50ms));
    CHECK_FALSE(call(rs::any_pipeline(limit), 50ms));
    CHECK(limit.stats().timed_out == 4);
    CHECK(limit.stats().in_time == 1);
    CHECK(breaker.stats().successes == 1); // inside of the timeout it saw a value
    CHECK(breaker.stats().failures == 1);
    CHECK(call(keeps, 50ms).value() == 1);
    CHECK(keeps.stats().kept_late == 1);
    CHECK(call(breaker, 50ms).value() == 1); // no timeout: the value is returned
}

TEST_CASE("a value that comes after the deadline of an enclosing call has timed out", "[timeout][H-USE-06]") {
    world w;
    const rs::timeout inner(10s, w.reg);
    const rs::timeout outer(20ms, w.reg);
    std::optional<rs::outcome<int>> seen;

    (void)outer.try_call([&] {
        seen.emplace(inner.try_call([&] {
            w.clock.advance(50ms);
            return 1;
        }));
    });

    CHECK_FALSE(*seen);
    CHECK(inner.stats().timed_out == 1);
    CHECK(outer.stats().timed_out == 1);
}

TEST_CASE("of nested timeouts one counts the attempt, whoever ended it", "[timeout][H-USE-01]") {
    world w;
    const rs::timeout wide({.name = "wide", .limit = 5s}, w.reg);
    const rs::timeout tight({.name = "tight", .limit = 2s}, w.reg);
    const heard h{w.reg};
    const auto deadline = GENERATE(1s, 2s, 1h);

    for (const auto length : {deadline == 1s ? rs::duration{1s} : rs::duration{2s}, rs::duration{60s}}) {
        const auto call = [&](const auto& guard) {
            CHECK_THROWS_AS(guard.with({.deadline = w.clock.now() + deadline})(gives_up_after(w, length)),
                            gave_up);
        };
        call(wide | tight);
        call(tight | wide);
    }

    CHECK(h.count(rs::event_kind::timed_out) == 4);
    CHECK(wide.stats().timed_out + tight.stats().timed_out == 4);
    CHECK(wide.stats().calls + tight.stats().calls == 8);
}

TEST_CASE("without a timeout the caller's deadline decides about failures", "[circuit_breaker][H-USE-02]") {
    world w;
    const rs::circuit_breaker breaker({.failure_threshold = 100}, w.reg);
    const auto guard = rs::fallback(7) | rs::retry(support::at_once(), w.reg) | breaker;
    const auto call = [&](rs::duration length) {
        return guard.with({.deadline = w.clock.now() + 2s})
            .try_call(gives_up_after<query_canceled>(w, length));
    };

    CHECK(call(2s).value() == 7); // it hung: the fallback answers
    CHECK(breaker.stats().failures == 1);
    CHECK_FALSE(call(1s));
    CHECK(breaker.stats().ignored == 1);
}

TEST_CASE("an outcome that an inner call gave keeps its time-out", "[circuit_breaker][H-USE-02]") {
    world w;
    const rs::circuit_breaker breaker({}, w.reg);
    const rs::timeout limit(2s, w.reg);

    const auto o = breaker.try_call([&] { return limit.try_call(gives_up_after<query_canceled>(w, 2s)); });

    CHECK_FALSE(o);
    CHECK(breaker.stats().failures == 1);
}

TEST_CASE("an exception of ours keeps the time-out of the call that it left", "[circuit_breaker][H-USE-02]") {
    world w;
    const rs::circuit_breaker outer({.failure_threshold = 99}, w.reg);
    const rs::retry again(support::at_once(3), w.reg);
    auto once = support::at_once(1);
    once.max_attempts = 2;
    once.wrap_exhausted = true;
    const auto wraps = rs::retry(once, w.reg) | rs::timeout(2s, w.reg);
    const rs::timeout limit(2s, w.reg);
    const auto length = GENERATE(1s, 2s);
    const bool late = length == 2s;
    const auto value = [&] {
        w.clock.advance(length);
        return canceled;
    };
    int rounds = 0;
    const auto check = [&](const auto& f) {
        rounds = 0;
        const auto before = outer.stats();
        const auto o = (again | outer).try_call([&] {
            ++rounds;
            f();
        });
        CHECK(rounds == (late ? 3 : 1));
        CHECK(outer.stats().failures - before.failures == (late ? 3 : 0));
        CHECK(outer.stats().ignored - before.ignored == (late ? 0 : 1));
        CHECK(o.error().is_cancellation() == !late);
        CHECK(o.error().has_timed_out() == late);
    };

    SECTION("a failing value where an exception is needed") {
        check([&] { (void)limit.try_call(value).value(); });
    }
    SECTION("that a caller throws on") {
        check([&] {
            try {
                (void)limit.try_call(value).value();
            } catch (...) {
                std::rethrow_exception(std::current_exception());
            }
        });
    }
    SECTION("retries_exhausted around the client's exception") {
        const auto repeated = [&](auto f) {
            auto c = once;
            c.retry_if = [](const rs::failure&) { return true; };
            (rs::retry(c, w.reg) | limit)(f);
        };
        check([&] { repeated(gives_up_after<query_canceled>(w, length)); });
    }
    SECTION("wrapped by the caller") {
        const auto o = (again | outer).try_call([&] {
            try {
                (void)limit.try_call(value).value();
            } catch (...) {
                std::throw_with_nested(std::runtime_error("while asking"));
            }
        });
        CHECK(outer.stats().failures == (late ? 3 : 0));
        CHECK(o.error().is_cancellation() == !late);
    }
}

/// An answer of HTTP, or a verdict, that is thrown.
struct well_at_the_limit : std::runtime_error, rs::verdict_carrier {
    well_at_the_limit() : std::runtime_error("judged") {}
    rs::verdict verdict() const noexcept override { return rs::verdict::success; }
};
struct missing_at_the_limit : support::http_error {
    missing_at_the_limit() : http_error(404) {}
};

TEST_CASE("an answer that is thrown in the last part of a limit has timed out, one that is returned has not",
          "[timeout][circuit_breaker][H-USE-01][H-USE-03]") {
    world w;
    const rs::timeout limit(2s, w.reg);
    const rs::circuit_breaker breaker({.failure_threshold = 99}, w.reg);
    const auto early = GENERATE(20ms + 1ns, 20ms, 0ns);
    const bool late = early <= 20ms;
    const auto guard = breaker | limit;
    const auto returned = [&](int status) {
        return [&w, &early, status] {
            w.clock.advance(2s - early);
            return support::http_answer{status};
        };
    };

    const auto thrown = guard.try_call(gives_up_after<missing_at_the_limit>(w, 2s - early));
    const auto judged = guard.try_call(gives_up_after<well_at_the_limit>(w, 2s - early));
    CHECK(thrown.error().has_timed_out() == late);
    CHECK(thrown.error().http_status() == 404); // the caller gets it as it is
    CHECK(judged.error().has_timed_out() == late);
    CHECK(breaker.stats().failures == (late ? 2 : 0));
    CHECK(breaker.stats().successes == (late ? 0 : 2));

    CHECK(guard.try_call(returned(404)).has_value());
    CHECK(guard.try_call(returned(503)).error().has_timed_out() == late); // a failing value is none
    CHECK(limit.stats().timed_out == (late ? 3 : 0));
    CHECK(breaker.stats().successes == (late ? 1 : 3));
}

TEST_CASE("a client's own exception leaves its call without a mark: the call around it goes by its own limit",
          "[circuit_breaker][H-USE-02]") {
    world w;
    const rs::circuit_breaker outer({.failure_threshold = 99}, w.reg);
    const rs::timeout inner(2s, w.reg);
    const auto ask = [&] { return inner(gives_up_after<query_canceled>(w, 2s)); };

    CHECK_FALSE(outer.try_call(ask));
    CHECK(inner.stats().timed_out == 1);
    CHECK(outer.stats().ignored == 1);

    CHECK_FALSE((outer | rs::timeout(2s, w.reg)).try_call(ask));
    CHECK_FALSE(outer.with({.deadline = w.clock.now() + 2s}).try_call(ask));
    CHECK_FALSE(outer.try_call([&] { return inner.try_call(gives_up_after<query_canceled>(w, 2s)); }));
    CHECK_FALSE((outer | inner).try_call(gives_up_after<query_canceled>(w, 2s)));
    CHECK(outer.stats().failures == 4);
}

TEST_CASE("a permit learns of the limit that its outcome came to", "[circuit_breaker][H-USE-02]") {
    world w;
    const rs::circuit_breaker breaker({}, w.reg);
    const rs::timeout limit(2s, w.reg);

    SECTION("from the outcome of a call with a limit") {
        auto permit = breaker.try_acquire();
        permit->settle(limit.try_call(gives_up_after<query_canceled>(w, 2s)));
    }
    SECTION("from the call that it is settled in") {
        limit([&] {
            auto permit = breaker.try_acquire();
            const rs::outcome<int> o(rs::detail::fill, [&](rs::outcome<int>& out) {
                const auto f = gives_up_after<query_canceled>(w, 2s);
                out.run_and_store(f);
            });
            permit->settle(o);
        });
    }
    CHECK(breaker.stats().failures == 1);
}

TEST_CASE("a task that gives up at its limit has timed out, and its own error comes out",
          "[task][timeout][H-USE-01][H-USE-02]") {
    world w;
    const rs::timeout limit(2s, w.reg);
    const rs::circuit_breaker breaker({}, w.reg);
    const auto early = GENERATE(0ms, 1ms, 20ms);
    const auto run = [&](auto task) {
        task.start();
        w.clock.advance(2s);
        return task.result();
    };

    const auto own =
        run((breaker | limit).try_call([&] { return task_that_gives_up<gave_up>(w, 2s - early); }));
    const auto named_canceled =
        run((breaker | limit).try_call([&] { return task_that_gives_up<query_canceled>(w, 2s - early); }));
    const auto no_timeout = run(breaker.with({.deadline = w.clock.now() + 2s}).try_call([&] {
        return task_that_gives_up<query_canceled>(w, 2s - early);
    }));

    CHECK(own.error().has_timed_out());
    if (early > 0ms) CHECK(own.error().as<gave_up>() != nullptr); // else the race was first
    if (early > 0ms) CHECK(named_canceled.error().as<query_canceled>() != nullptr);
    CHECK_FALSE(named_canceled.error().is_cancellation());
    CHECK_FALSE(no_timeout.error().is_cancellation());
    CHECK(limit.stats().timed_out == 2);
    CHECK(breaker.stats().failures == 3);
}

TEST_CASE("a task's value after the caller's deadline has timed out where a timeout stands around it",
          "[task][timeout][H-USE-06]") {
    world w;
    const rs::timeout limit({.name = "jira", .limit = 10s}, w.reg);
    const auto stubborn = [&]() -> lazy<int> {
        try {
            co_await support::pause(w.clock, 1h);
        } catch (const support::lazy_stopped&) { // it was asked to end, and gives a value all the same
        }
        co_return 7;
    };

    auto task = limit.with({.deadline = w.clock.now() + 20ms}).try_call(stubborn);
    task.start();
    w.clock.advance(20ms);

    CHECK(task.result().error().message() == "timeout 'jira': no result within 20ms (the caller's deadline)");
    CHECK(limit.stats().timed_out == 1);
}

TEST_CASE("an attempt on a worker that gives up at its limit has timed out",
          "[abandoning_timeout][H-USE-01][H-USE-02]") {
    world w;
    const rs::abandoning_timeout limit(2s, w.reg);
    const rs::circuit_breaker outside({}, w.reg);
    const rs::circuit_breaker inside({}, w.reg);
    const heard h{w.reg};

    const auto o = (outside | limit | inside).try_call([&w]() -> int {
        w.clock.advance(2s - 20ms);
        throw query_canceled();
    });

    CHECK(o.error().as<query_canceled>() != nullptr);
    CHECK(limit.stats().timed_out == 1);
    CHECK(h.count(rs::event_kind::timed_out) == 1);
    CHECK(outside.stats().failures == 1);
    CHECK(inside.stats().failures == 1);
}

TEST_CASE("work that ends as cancelled after it was given up is judged by who gave it up",
          "[abandoning_timeout][H-USE-02]") {
    world w;
    std::stop_source stop;
    const rs::abandoning_timeout limit(2s, w.reg);
    const rs::circuit_breaker inside({}, w.reg);
    const auto call = [&](rs::duration length, bool asks) {
        const auto o =
            (limit | inside).with({.stop_token = stop.get_token()}).try_call([&, length, asks]() -> int {
                w.clock.advance(length);
                if (asks) stop.request_stop();
                throw query_canceled();
            });
        while (limit.stats().abandoned_running > 0) std::this_thread::yield();
        return o.error().code();
    };

    CHECK(call(2s, false) == rs::errc::timed_out);
    CHECK(inside.stats().failures == 1);
    CHECK(call(1s, true) == rs::errc::cancelled);
    CHECK(inside.stats().ignored == 1);
}
