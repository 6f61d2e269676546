// SPDX-License-Identifier: Apache-2.0
// The cooperative timeout.
#include <resilience/any_pipeline.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/scripted.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/heard.hpp"
#include "support/world.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using rs::testing::after;
using rs::testing::scripted;
using rs::testing::throws;
using support::heard;
using support::world;

/// Returns 1 after `latency`, without a look at its context.
auto slow(world& w, rs::duration latency) {
    return [&w, latency] {
        w.clock.advance(latency);
        return 1;
    };
}

TEST_CASE("a value at the limit is in time, one tick later it is not", "[timeout][H-TO-04]") {
    world w;
    const rs::timeout timeout{2s, w.reg};

    CHECK(timeout(slow(w, 2s - 1ns)) == 1);
    CHECK(timeout(slow(w, 2s)) == 1);
    CHECK_THROWS_AS(timeout(slow(w, 2s + 1ns)), rs::timeout_error);
}

TEST_CASE("a late value is reported by name, limit and code, and dropped", "[timeout]") {
    world w;
    const rs::timeout timeout{{.name = "jira", .limit = 2s}, w.reg};

    try {
        timeout(slow(w, 3s));
        FAIL("did not throw");
    } catch (const rs::timeout_error& e) {
        CHECK(e.code() == rs::errc::timed_out);
        CHECK(e.code() == std::errc::timed_out);
        CHECK(e.policy() == "jira");
        CHECK(std::string(e.what()) == "timeout 'jira': no result within 2s");
    }
    CHECK(timeout.try_call(slow(w, 3s)).error().code() == rs::errc::timed_out);
}

TEST_CASE("a late value is returned as an error where the type can carry one", "[timeout]") {
    world w;
    const rs::timeout timeout{2s, w.reg};

    const auto result = timeout([&]() -> tl::expected<int, std::error_code> {
        w.clock.advance(3s);
        return 1;
    });

    CHECK(result.error() == rs::errc::timed_out);
}

TEST_CASE("keep_late lets a late value through and counts it", "[timeout]") {
    world w;
    const rs::timeout timeout{{.limit = 2s, .keep_late = true}, w.reg};
    const heard h{w.reg};

    CHECK(timeout(slow(w, 3s)) == 1);
    CHECK(timeout(slow(w, 1s)) == 1);

    CHECK(timeout.stats().kept_late == 1);
    CHECK(timeout.stats().in_time == 1);
    CHECK(timeout.stats().timed_out == 0);
    CHECK(h.events.empty());
}

TEST_CASE("a failure that comes late stays the failure that it is", "[timeout][H-TO-04]") {
    world w;
    const rs::timeout timeout{2s, w.reg};
    using result = tl::expected<int, std::string>;

    CHECK_THROWS_WITH(
        timeout(scripted<int>{w.clock, {after(3s, throws(std::runtime_error("the real one")))}}),
        "the real one");
    const auto value = timeout([&]() -> result {
        w.clock.advance(3s);
        return tl::unexpected<std::string>("the real one");
    });
    CHECK(value.error() == "the real one");
    CHECK(timeout.stats().timed_out == 2);
    CHECK(timeout.stats().failed == 0);
}

TEST_CASE("an attempt that times out is retried, and counted by a circuit breaker", "[timeout]") {
    world w;
    const rs::circuit_breaker breaker{{.failure_threshold = 5}, w.reg};
    const auto guard = rs::retry(support::at_once(3), w.reg) | breaker | rs::timeout(2s, w.reg);
    const scripted<int> f{w.clock, {after(3s, 1), after(3s, 2), after(1s, 3)}};

    CHECK(guard(f) == 3);
    CHECK(breaker.stats().failures == 2);
    CHECK(breaker.stats().successes == 1);
}

TEST_CASE("the callable sees the limit as its deadline and the time that remains", "[timeout]") {
    world w;
    const rs::timeout timeout{2s, w.reg};
    const auto began = w.clock.now();

    timeout([&](rs::call_context& ctx) {
        CHECK(ctx.deadline() == began + 2s);
        CHECK(ctx.remaining() == 2s);
        w.clock.advance(1500ms);
        CHECK(ctx.remaining() == 500ms);
        w.clock.advance(500ms);
        CHECK(ctx.remaining() == 0s);
    });
}

TEST_CASE("each attempt has the whole limit of a timeout inside of the retry", "[timeout]") {
    world w;
    const auto guard = rs::retry(support::plain(3), w.reg) | rs::timeout(2s, w.reg);
    std::vector<rs::duration> remaining;

    (void)guard.try_call([&](rs::call_context& ctx) {
        remaining.push_back(ctx.remaining());
        w.clock.advance(1s);
        throw std::runtime_error("down");
    });

    CHECK(remaining == std::vector<rs::duration>{2s, 2s, 2s});
}

TEST_CASE("attempts share the limit of a timeout outside of the retry", "[timeout][H-TO-12]") {
    world w;
    const auto guard =
        rs::timeout(4s, w.reg) | rs::retry(support::plain(5), w.reg); // attempts at 0s, 2s; the next at 5s
    std::vector<rs::duration> remaining;

    const auto result = guard.try_call([&](rs::call_context& ctx) {
        remaining.push_back(ctx.remaining());
        w.clock.advance(1s);
        throw std::runtime_error("down");
    });

    CHECK(result.error().message() == "down"); // the real error, not the limit
    CHECK(remaining == std::vector<rs::duration>{4s, 2s});
    CHECK(w.clock.slept() == std::vector<rs::duration>{1s});
}

TEST_CASE("an inner deadline is never later than an outer one", "[timeout][H-TO-12]") {
    world w;
    const auto began = w.clock.now();
    const auto deadline_under = [&](const auto& guard) {
        return guard([](rs::call_context& ctx) { return ctx.deadline(); });
    };

    CHECK(deadline_under(rs::timeout(1s, w.reg) | rs::timeout(5s, w.reg)) == began + 1s);
    CHECK(deadline_under(rs::timeout(5s, w.reg) | rs::timeout(1s, w.reg)) == began + 1s);
    CHECK(rs::timeout(5s, w.reg).with({.deadline = began + 1s})(
              [](rs::call_context& ctx) { return ctx.deadline(); }) == began + 1s);
    CHECK(rs::timeout(1s, w.reg).with({.deadline = began + 5s})(
              [](rs::call_context& ctx) { return ctx.deadline(); }) == began + 1s);
}

TEST_CASE("of nested timeouts the one whose limit passed is reported", "[timeout][H-TO-12]") {
    world w;
    const rs::timeout tight{{.name = "tight", .limit = 1s}, w.reg};
    const rs::timeout wide{{.name = "wide", .limit = 5s}, w.reg};

    CHECK((wide | tight).try_call(slow(w, 2s)).error().policy() == "tight");
    CHECK((tight | wide).try_call(slow(w, 2s)).error().policy() == "tight");
    CHECK((wide | tight).try_call(slow(w, 6s)).error().policy() == "tight");
    CHECK(wide.stats().timed_out == 0);
}

TEST_CASE("a context is as it was outside of the timeout once that has settled", "[timeout]") {
    struct watcher {
        std::vector<rs::time_point>* seen;
        struct call {
            std::vector<rs::time_point>* seen;
            rs::admission admit(rs::call_context&) { return rs::admission::go(); }
            rs::settlement settle(const rs::attempt_result&, rs::call_context& ctx) {
                seen->push_back(ctx.deadline());
                return rs::settlement::finish();
            }
        };
        call begin(rs::call_context&) const { return {seen}; }
    };
    world w;
    std::vector<rs::time_point> seen;
    const auto began = w.clock.now();

    (rs::timeout(9s, w.reg) | watcher{&seen} | rs::timeout(1s, w.reg))([] {});

    CHECK(seen == std::vector<rs::time_point>{began + 9s});
}

TEST_CASE("the stop token is requested at the deadline, not before", "[timeout]") {
    world w;
    const rs::timeout timeout{{.limit = 2s, .keep_late = true}, w.reg};

    timeout([&](rs::call_context& ctx) {
        const auto token = ctx.stop_token();
        w.clock.advance(2s - 1ns);
        CHECK_FALSE(token.stop_requested());
        w.clock.advance(1ns);
        CHECK(token.stop_requested());
        CHECK_FALSE(ctx.stop_requested()); // nobody but the clock asked
    });
}

TEST_CASE("what its stop token ends at the deadline has timed out, and was not cancelled", "[timeout]") {
    world w;
    const rs::circuit_breaker inside{{}, w.reg};
    const rs::circuit_breaker outside{{}, w.reg};
    const rs::timeout limit{{.name = "limit", .limit = 2s}, w.reg};
    const rs::retry retry{support::at_once(2), w.reg};
    const heard h{w.reg};
    const auto until_stopped = [&](rs::call_context& ctx) -> int {
        w.clock.sleep_until(w.clock.now() + 1h, ctx.stop_token());
        throw std::system_error(std::make_error_code(std::errc::operation_canceled));
    };
    const auto guard = retry | outside | limit | inside;

    SECTION("at the limit") {
        const auto o = guard.try_call(until_stopped);

        CHECK(o.error().message() == "timeout 'limit': no result within 2s");
        CHECK(limit.stats().timed_out == 2);
        CHECK(h.count(rs::event_kind::timed_out) == 2);
        CHECK(outside.stats().failures == 2);
        CHECK(inside.stats().failures == 2);
    }
    SECTION("at the call's own deadline") {
        const auto o = inside.with({.deadline = w.clock.now() + 1s}).try_call(until_stopped);

        CHECK(o.error().code() == rs::errc::timed_out);
        CHECK(inside.stats().failures == 1);
    }
    SECTION("at an outer limit: not that of the inner one") {
        const rs::timeout outer{{.name = "outer", .limit = 3s}, w.reg};
        const auto o = (outer | guard).try_call(until_stopped);

        CHECK(o.error().policy() == "outer");
        CHECK(limit.stats().timed_out == 1);
        CHECK(limit.stats().failed == 1);
        CHECK(inside.stats().failures == 2);
    }
    SECTION("in an any_pipeline") {
        CHECK(rs::any_pipeline(guard).try_call(until_stopped).error().code() == rs::errc::timed_out);
        CHECK(inside.stats().failures == 2);
    }
    SECTION("the caller's own request stays one") {
        std::stop_source stop;
        const auto asks = w.clock.call_at(w.clock.now() + 1s, [&] { stop.request_stop(); });
        const auto o = guard.with({.stop_token = stop.get_token()}).try_call(until_stopped);

        CHECK(o.error().is_cancellation());
        CHECK(limit.stats().timed_out == 0);
        CHECK(inside.stats().ignored == 1);
    }
    SECTION("a failure of another kind stays what it is") {
        const auto o = guard.try_call([&](rs::call_context& ctx) -> int {
            w.clock.sleep_until(w.clock.now() + 1h, ctx.stop_token());
            throw std::runtime_error("the real one");
        });

        CHECK(o.error().message() == "the real one");
        CHECK(limit.stats().timed_out == 2);
    }
}

TEST_CASE("the stop token is requested when the caller asks, and keeps to the tightest deadline",
          "[timeout]") {
    world w;
    std::stop_source stop;
    const auto guard = rs::timeout({.limit = 1s, .keep_late = true}, w.reg) |
                       rs::timeout({.limit = 5s, .keep_late = true}, w.reg);

    guard.with({.stop_token = stop.get_token()})([&](rs::call_context& ctx) {
        const auto token = ctx.stop_token();
        CHECK_FALSE(token.stop_requested());
        stop.request_stop();
        CHECK(token.stop_requested());
    });
    guard([&](rs::call_context& ctx) {
        const auto token = ctx.stop_token();
        w.clock.advance(1s);
        CHECK(token.stop_requested());
    });
}

TEST_CASE("a stop token of an attempt does not outlive it in timers", "[timeout][H-TO-10]") {
    world w;
    const rs::timeout timeout{2s, w.reg};

    for (int i = 0; i < 1'000; ++i) {
        timeout([&](rs::call_context& ctx) {
            (void)ctx.stop_token();
            (void)ctx.stop_token();
            CHECK(w.clock.pending_timers() == 1);
        });
        (void)timeout.try_call([](rs::call_context& ctx) {
            (void)ctx.stop_token();
            throw std::runtime_error("down");
        });
        CHECK(w.clock.pending_timers() == 0);
    }
}

TEST_CASE("who does not ask for the stop token arms no timer", "[timeout][H-TO-10]") {
    world w;

    rs::timeout(2s, w.reg)([&](rs::call_context& ctx) {
        (void)ctx.remaining();
        CHECK(w.clock.pending_timers() == 0);
    });
}

TEST_CASE("a stop callback may end itself, and be ended, while the stop is requested", "[timeout][H-TO-11]") {
    world w;
    const rs::timeout timeout{{.limit = 2s, .keep_late = true}, w.reg};
    int ran = 0;

    timeout([&](rs::call_context& ctx) {
        std::optional<std::stop_callback<std::function<void()>>> itself;
        std::optional<std::stop_callback<std::function<void()>>> other;
        itself.emplace(ctx.stop_token(), [&] {
            ++ran;
            other.reset();
            itself.reset();
        });
        other.emplace(ctx.stop_token(), [&] {
            ++ran;
            other.reset();
        });
        w.clock.advance(2s);
    });

    CHECK(ran >= 1);
}

TEST_CASE("a limit without end is no deadline at all", "[timeout][H-TO-05]") {
    world w;
    const rs::timeout timeout{rs::duration::max(), w.reg};

    timeout([&](rs::call_context& ctx) {
        CHECK(ctx.deadline() == rs::time_point::max());
        CHECK(ctx.remaining() == rs::duration::max());
        CHECK_FALSE(ctx.stop_token().stop_possible());
        w.clock.advance(24h * 365 * 100);
    });

    CHECK(timeout.stats().in_time == 1);
}

TEST_CASE("limits of a nanosecond and of odd fractions are kept exactly", "[timeout][H-TO-06]") {
    for (const rs::duration limit : {rs::duration{1ns}, rs::duration{999us}, rs::duration{1500us}}) {
        world w;
        const rs::timeout timeout{limit, w.reg};

        CHECK(timeout(slow(w, limit)) == 1);
        CHECK_THROWS_AS(timeout(slow(w, limit + 1ns)), rs::timeout_error);
    }
}

TEST_CASE("on a coarse clock nothing is late early, and at most a tick late", "[timeout][H-TO-06]") {
    for (const rs::duration phase : {0ms, 1ms, 3ms}) {
        world w;
        w.clock.set_coarse_resolution(4ms, phase);
        const rs::timeout long_limit{400ms, w.reg}; // a tick is 1 % of it
        const rs::timeout short_limit{399ms, w.reg};

        CHECK(long_limit(slow(w, 400ms)) == 1);
        CHECK_THROWS_AS(long_limit(slow(w, 404ms + 1ns)), rs::timeout_error);
        CHECK(short_limit(slow(w, 399ms)) == 1);
        CHECK_THROWS_AS(short_limit(slow(w, 399ms + 1ns)), rs::timeout_error);
    }
}

TEST_CASE("the exact clock is read only where the coarse one cannot tell", "[timeout]") {
    world w;
    w.clock.set_coarse_resolution(4ms);
    const rs::timeout timeout{1s, w.reg};

    timeout([] {});

    CHECK(w.clock.now_reads() == w.clock.coarse_reads());
    CHECK(w.clock.now_reads() == 2);
}

TEST_CASE("make_exception decides what is thrown, told what happened", "[timeout]") {
    world w;
    std::string told;
    const rs::timeout timeout{{.name = "jira",
                               .limit = 2s,
                               .make_exception =
                                   [&](const rs::failure& why) {
                                       told = why.message();
                                       return std::make_exception_ptr(std::domain_error("mine"));
                                   }},
                              w.reg};

    CHECK_THROWS_AS(timeout(slow(w, 3s)), std::domain_error);
    CHECK(told == "timeout 'jira': no result within 2s");
    const auto result = timeout.try_call(slow(w, 3s));
    CHECK(result.error().code() == rs::errc::timed_out);
    CHECK(result.error().as<std::domain_error>() != nullptr);
}

TEST_CASE("a make_exception that gives nothing, or throws, leaves timeout_error", "[timeout][H-RT-24]") {
    world w;
    const rs::timeout nothing{
        {.limit = 2s, .make_exception = [](const rs::failure&) { return std::exception_ptr(); }}, w.reg};
    const rs::timeout throwing{
        {.limit = 2s, .make_exception = [](const rs::failure&) -> std::exception_ptr { throw 42; }}, w.reg};

    CHECK_THROWS_AS(nothing(slow(w, 3s)), rs::timeout_error);
    CHECK_THROWS_AS(throwing(slow(w, 3s)), rs::timeout_error);
    CHECK(throwing.try_call(slow(w, 3s)).error().code() == rs::errc::timed_out);
}

TEST_CASE("a timed-out attempt is one event", "[timeout]") {
    world w;
    const rs::timeout timeout{{.name = "jira", .limit = 2s}, w.reg};
    const heard h{w.reg};

    (void)timeout.named("search").try_call(slow(w, 3s));

    REQUIRE(h.events.size() == 1);
    CHECK(h.events[0].kind == rs::event_kind::timed_out);
    CHECK(h.events[0].policy_kind == "timeout");
    CHECK(h.events[0].policy == "jira");
    CHECK(h.events[0].operation == "search");
    CHECK(h.events[0].delay == rs::duration{2s});
    CHECK(h.events[0].error_type == "resilience::timeout_error");
}

TEST_CASE("a limit that is not positive is refused", "[timeout][H-RT-23]") {
    world w;

    CHECK_THROWS_AS(rs::timeout(0s, w.reg), std::invalid_argument);
    CHECK_THROWS_WITH(rs::timeout(-1ns, w.reg),
                      Contains("timeout_config.limit") && Contains("-1ns") && Contains("more than 0"));
    CHECK_THROWS_AS(rs::timeout(rs::timeout_config{}, w.reg), std::invalid_argument);
    CHECK_NOTHROW(rs::timeout(1ns, w.reg));
}

TEST_CASE("timeouts of one name share their state, if their configs agree", "[timeout][H-CPP-20]") {
    world w;
    const rs::timeout one{{.name = "jira", .limit = 2s}, w.reg};
    const rs::timeout other{{.name = "jira", .limit = 2s}, w.reg};
    const rs::timeout copy = one;

    one([] {});
    other([] {});
    copy([] {});

    CHECK(one.stats().calls == 3);
    CHECK(one.stats().name == "jira");
    CHECK_THROWS_WITH(rs::timeout({.name = "jira", .limit = 3s}, w.reg), Contains("limit"));
    CHECK_THROWS_WITH(rs::timeout({.name = "jira", .limit = 2s, .keep_late = true}, w.reg),
                      Contains("keep_late"));
}

TEST_CASE("an update holds for later calls; one in flight keeps to its limit", "[timeout]") {
    world w;
    const rs::timeout timeout{{.name = "jira", .limit = 2s}, w.reg};

    CHECK(timeout([&] {
              timeout.update({.name = "jira", .limit = 1s});
              w.clock.advance(2s);
              return 1;
          }) == 1);
    CHECK_THROWS_WITH(timeout([&] {
                          timeout.update({.name = "jira", .limit = 9s, .keep_late = true});
                          w.clock.advance(3s);
                      }),
                      "timeout 'jira': no result within 1s");
    CHECK(timeout(slow(w, 10s)) == 1);
    CHECK_THROWS_AS(timeout.update({.name = "jira", .limit = 0s}), std::invalid_argument);
    CHECK_THROWS_WITH(timeout.update({.name = "other", .limit = 1s}), Contains("name"));
    CHECK(timeout.config().limit == 9s);
}

TEST_CASE("statistics count every attempt once", "[timeout]") {
    world w;
    const rs::timeout timeout{2s, w.reg};

    (void)timeout.try_call(slow(w, 1s));
    (void)timeout.try_call(slow(w, 3s));
    (void)timeout.try_call([] { throw 42; });

    const auto s = timeout.stats();
    CHECK(s.calls == 3);
    CHECK(s.in_time == 1);
    CHECK(s.timed_out == 1);
    CHECK(s.failed == 1);
    CHECK(s.kept_late == 0);
}

TEST_CASE("a callable is never shown more than the limit, on a coarse clock neither", "[timeout]") {
    world w;
    w.clock.set_coarse_resolution(8ms);
    w.clock.advance(3ms);
    const rs::timeout outer{3s, w.reg};
    const rs::timeout inner{2s, w.reg};

    (outer | inner)([&](rs::call_context& ctx) { CHECK(ctx.remaining() == 2s); });
    outer([&](rs::call_context& ctx) {
        CHECK(ctx.remaining() == 3s);
        inner.with(ctx)([&](rs::call_context& c) { CHECK(c.remaining() == 2s); });
        w.clock.advance(1s);
        CHECK(ctx.remaining() <= 2s + 8ms);
        CHECK(ctx.remaining() >= 2s);
    });
}

TEST_CASE("a clock that goes backwards times nothing out", "[timeout]") {
    world w;
    const rs::timeout timeout{2s, w.reg};

    CHECK(timeout([&](rs::call_context& ctx) {
              w.clock.set_back(1h);
              CHECK(ctx.remaining() == 2s); // never more than the limit
              return 1;
          }) == 1);
}

} // namespace
