// SPDX-License-Identifier: Apache-2.0
#include <resilience/call/call_context.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "composition/every_policy.hpp"
#include "support/catch.hpp"
#include "support/world.hpp"

#include <chrono>
#include <ratio>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::world;

TEST_CASE("a context without limits says so", "[call_context]") {
    world w;
    rs::call_context ctx(w.clock);

    CHECK(ctx.attempt() == 1);
    CHECK(ctx.deadline() == rs::time_point::max());
    CHECK(ctx.remaining() == rs::duration::max());
    CHECK(ctx.operation().empty());
    CHECK(ctx.idempotency() == rs::idempotency::safe);
    CHECK(ctx.retry_depth() == 0);
    CHECK_FALSE(ctx.stop_requested());
    CHECK_FALSE(ctx.stop_token().stop_possible());
    CHECK(w.clock.now_reads() == 0);
}

TEST_CASE("a call inside of one that is cancelled does not begin", "[call_context]") {
    world w;
    rs::call_context around(w.clock);
    around.cancel();
    const rs::detail::enclosing_call here(around);
    const auto never = []() -> int { throw std::logic_error("it ran"); };

    CHECK(rs::retry(support::plain(), w.reg).try_call(never).error().code() == rs::errc::cancelled);
    CHECK((rs::retry(support::plain(), w.reg) | rs::timeout(2s, w.reg)).try_call(never).error().code() ==
          rs::errc::cancelled);
}

TEST_CASE("remaining is never negative", "[call_context]") {
    world w;
    rs::call_context ctx(w.clock);
    ctx.apply({.deadline = w.clock.now() + 1s});

    w.clock.advance(1s - 1ns);
    CHECK(ctx.remaining() == 1ns);
    w.clock.advance(1ns);
    CHECK(ctx.remaining() == 0s);
    w.clock.advance(1h);
    CHECK(ctx.remaining() == 0s);
}

/// What a client that counts in D is told when `left` is left of a call.
template <class D>
D told(rs::duration left, D cap = D::max()) {
    world w;
    rs::call_context ctx(w.clock);
    if (left != rs::duration::max()) ctx.apply({.deadline = rs::saturating_add(w.clock.now(), left)});
    return ctx.remaining_as<D>(cap);
}

TEST_CASE("remaining_as rounds up and never says 0, which means for ever to many clients",
          "[call_context][H-USE-04]") {
    CHECK(told<std::chrono::milliseconds>(900us) == 1ms);
    CHECK(told<std::chrono::milliseconds>(1ns) == 1ms);
    CHECK(told<std::chrono::milliseconds>(0ns) == 1ms);
    CHECK(told<std::chrono::milliseconds>(-1h) == 1ms);
    CHECK(told<std::chrono::milliseconds>(1ms) == 1ms);
    CHECK(told<std::chrono::milliseconds>(1ms + 1ns) == 2ms);
    CHECK(told<std::chrono::seconds>(1999ms) == 2s);
    CHECK(told<std::chrono::hours>(1s) == 1h);
    CHECK(told<std::chrono::nanoseconds>(0s) == 1ns);
    CHECK(told<std::chrono::nanoseconds>(7ns) == 7ns);
}

TEST_CASE("remaining_as is at most its cap, and the cap where nothing limits the call",
          "[call_context][H-USE-04]") {
    using std::chrono::milliseconds;

    CHECK(told<milliseconds>(2s, 1s) == 1s);
    CHECK(told<milliseconds>(2s, 2s) == 2s);
    CHECK(told<milliseconds>(2s, 3s) == 2s);
    CHECK(told<milliseconds>(rs::duration::max(), 30s) == 30s);
    CHECK(told<milliseconds>(rs::duration::max()) == milliseconds::max());
    CHECK(told<milliseconds>(2s, 0s) == 1ms);
    CHECK(told<milliseconds>(2s, -5s) == 1ms);
    CHECK(told<milliseconds>(rs::duration::max(), 0s) == 1ms);
}

TEST_CASE("remaining_as fits into every type that counts", "[call_context][H-USE-04]") {
    using int_ms = std::chrono::duration<int, std::milli>;
    using small = std::chrono::duration<signed char, std::milli>;
    using unsigned_us = std::chrono::duration<unsigned long long, std::micro>;
    using unsigned_short = std::chrono::duration<unsigned short>;
    using picoseconds = std::chrono::duration<long long, std::pico>;
    using frames = std::chrono::duration<int, std::ratio<1, 60>>;
    const rs::duration longest = rs::duration::max() - 1ns;

    CHECK(told<int_ms>(24h * 365) == int_ms::max());
    CHECK(told<int_ms>(rs::duration::max()) == int_ms::max());
    CHECK(told<int_ms>(900us).count() == 1);
    CHECK(told<small>(128ms).count() == 127);
    CHECK(told<small>(126ms + 1ns).count() == 127);
    CHECK(told<unsigned_us>(1500ns).count() == 2);
    CHECK(told<unsigned_us>(rs::duration::max()) == unsigned_us::max());
    CHECK(told<unsigned_short>(65535s + 1ns) == unsigned_short::max());
    CHECK(told<picoseconds>(3ns).count() == 3000);
    CHECK(told<picoseconds>(longest / 4) == picoseconds::max());
    CHECK(told<frames>(1s).count() == 60);
    CHECK(told<frames>(1s + 1ns).count() == 61);
    CHECK(told<std::chrono::years>(24h).count() == 1);
}

TEST_CASE("a client that counts in fractions is told what is left, and never 0", "[call_context][H-USE-04]") {
    using fractions = std::chrono::duration<double>;

    CHECK(told<fractions>(1500ms).count() == 1.5);
    CHECK(told<fractions>(500ms).count() == 0.5);
    CHECK(told<fractions>(0ns).count() > 0);
    CHECK(told<fractions>(0ns).count() < 1e-8);
    CHECK(told<fractions>(rs::duration::max(), 30s).count() == 30);
    CHECK(told<fractions>(2s, 1s).count() == 1);
}

TEST_CASE("system_deadline is the deadline on the system's clock, and does not wrap",
          "[call_context][H-USE-05]") {
    using wall = std::chrono::system_clock;
    world w;
    rs::call_context ctx(w.clock);

    CHECK(ctx.system_deadline() == wall::time_point::max());
    ctx.apply({.deadline = rs::time_point::max() - 1ns});
    // The end of the range of a clock that counts in nanoseconds; one of coarser units goes on for longer.
    CHECK(ctx.system_deadline() > w.clock.wall_now() + std::chrono::hours{24 * 365 * 200});
    if (std::ratio_less_equal_v<wall::period, std::nano>)
        CHECK(ctx.system_deadline() == wall::time_point::max());
    ctx.apply({.deadline = w.clock.now() + 1500ms});
    CHECK(ctx.system_deadline() == w.clock.wall_now() + 1500ms);
    w.clock.advance(1s);
    CHECK(ctx.system_deadline() == w.clock.wall_now() + 500ms);
    w.clock.advance(1s);
    CHECK(ctx.system_deadline() == w.clock.wall_now());
}

TEST_CASE("attempts are numbered and calls are named", "[call_context]") {
    world w;
    const rs::retry retry{support::at_once(3), w.reg};
    std::vector<std::string> seen;

    (void)retry.named("search").try_call([&](rs::call_context& ctx) {
        seen.push_back(std::string(ctx.operation()) + std::to_string(ctx.attempt()));
        throw std::runtime_error("down");
    });

    CHECK(seen == std::vector<std::string>{"search1", "search2", "search3"});
}

TEST_CASE("the caller's wishes reach the callable, on every way through the driver", "[call_context]") {
    world w;
    const rs::retry retry{support::at_once(2), w.reg};
    const auto deadline = w.clock.now() + 5s;
    std::stop_source stop;
    unsigned calls = 0;

    (void)retry
        .with({.deadline = deadline, .stop_token = stop.get_token(), .idempotency = rs::idempotency::unsafe})
        .named("create")
        .try_call([&](rs::call_context& ctx) {
            ++calls;
            CHECK(ctx.deadline() == deadline);
            CHECK(ctx.remaining() == 5s);
            CHECK(ctx.operation() == "create");
            CHECK(ctx.idempotency() == rs::idempotency::unsafe);
            CHECK(ctx.retry_depth() == 1);
            CHECK(ctx.stop_token().stop_possible());
            throw std::system_error(std::make_error_code(std::errc::connection_refused));
        });

    CHECK(calls == 2);
}

TEST_CASE("the context's clock is its registry's", "[call_context]") {
    world w;

    rs::retry(support::plain(), w.reg)([&](rs::call_context& ctx) { CHECK(&ctx.clock() == &w.clock); });
}

TEST_CASE("calls on one thread inherit the deadline of the call around them", "[call_context]") {
    world w;
    const rs::retry inner{support::plain(3), w.reg};
    const auto began = w.clock.now();

    rs::timeout(5s, w.reg)([&] {
        inner([&](rs::call_context& ctx) { CHECK(ctx.deadline() == began + 5s); });
        inner.with({.deadline = began + 9s})(
            [&](rs::call_context& ctx) { CHECK(ctx.deadline() == began + 5s); });
        inner.with({.deadline = began + 2s})(
            [&](rs::call_context& ctx) { CHECK(ctx.deadline() == began + 2s); });
        (inner | rs::timeout(1s, w.reg))([&](rs::call_context& ctx) { CHECK(ctx.deadline() == began + 1s); });
        (inner | rs::timeout(9s, w.reg))([&](rs::call_context& ctx) { CHECK(ctx.deadline() == began + 5s); });
    });
    inner([&](rs::call_context& ctx) { CHECK(ctx.deadline() == rs::time_point::max()); });
}

TEST_CASE("an inherited deadline ends the inner retries", "[call_context][H-RT-11]") {
    for (const auto& [limit, calls] :
         {std::pair{rs::duration{1s + 1ns}, 2U}, std::pair{rs::duration{1s}, 1U}}) {
        world w;
        const rs::retry inner{support::plain(2), w.reg};
        unsigned made = 0;

        (void)rs::timeout(limit, w.reg).try_call([&] {
            (void)inner.try_call([&] {
                ++made;
                throw std::runtime_error("down");
            });
        });

        CHECK(made == calls);
        CHECK(w.clock.slept() == std::vector<rs::duration>(calls - 1, 1s));
    }
}

TEST_CASE("a call inside of one whose time is up is not begun, with or without a context of its own",
          "[call_context][H-TO-07]") {
    world w;
    const rs::retry inner{support::plain(3), w.reg};
    int ran = 0;

    (void)rs::timeout(1s, w.reg).try_call([&] {
        w.clock.advance(1s);
        CHECK(inner.try_call([&] { ++ran; }).error().code() == rs::errc::timed_out);
        CHECK(inner.try_call([&](rs::call_context&) { ++ran; }).error().code() == rs::errc::timed_out);
    });

    CHECK(ran == 0);
}

TEST_CASE("a call inside of one that was stopped is cancelled", "[call_context][H-RT-12]") {
    world w;
    const rs::retry outer{support::plain(1), w.reg};
    const rs::retry inner{support::plain(3), w.reg};
    std::stop_source stop;
    int ran = 0;

    outer.with({.stop_token = stop.get_token()})([&] {
        inner([&] { ++ran; });
        stop.request_stop();
        CHECK(inner.try_call([&] { ++ran; }).error().code() == rs::errc::cancelled);
        CHECK(inner.try_call([&](rs::call_context&) { ++ran; }).error().code() == rs::errc::cancelled);
    });

    CHECK(ran == 1);
}

TEST_CASE("an inherited stop request wakes the inner sleep", "[call_context][H-RT-12]") {
    world w;
    const rs::retry outer{support::plain(1), w.reg};
    const rs::retry inner{support::plain(3), w.reg};
    std::stop_source stop;
    const auto began = w.clock.now();
    const auto timer = w.clock.call_at(began + 300ms, [&] { stop.request_stop(); });

    (void)outer.with({.stop_token = stop.get_token()}).try_call([&] {
        inner([] { throw std::runtime_error("down"); });
    });

    CHECK(w.clock.now() - began == 300ms);
}

TEST_CASE("a stop token of its own does not cut a call off from the one around it",
          "[call_context][H-RT-12]") {
    for (const bool outer_stops : {true, false}) {
        world w;
        const rs::retry outer{support::plain(1), w.reg};
        const rs::retry inner{support::plain(3), w.reg};
        std::stop_source callers_stop_token;
        std::stop_source inner_stop;
        const auto began = w.clock.now();
        const auto timer = w.clock.call_at(
            began + 300ms, [&] { (outer_stops ? callers_stop_token : inner_stop).request_stop(); });

        (void)outer.with({.stop_token = callers_stop_token.get_token()}).try_call([&] {
            inner.with({.stop_token = inner_stop.get_token()})([] { throw std::runtime_error("down"); });
        });

        CHECK(w.clock.now() - began == 300ms);
    }
}

TEST_CASE("a context can be handed on to a call on another thread", "[call_context]") {
    world w;
    const rs::retry outer{support::plain(1), w.reg};
    const rs::retry inner{support::plain(3), w.reg};
    std::stop_source stop;
    const auto deadline = w.clock.now() + 5s;

    outer.with({.deadline = deadline, .stop_token = stop.get_token()})([&](rs::call_context& ctx) {
        std::thread([&] {
            inner([&](rs::call_context& alone) { CHECK(alone.deadline() == rs::time_point::max()); });
            inner.with(ctx)([&](rs::call_context& handed) {
                CHECK(handed.deadline() == deadline);
                CHECK(handed.retry_depth() == 2);
                CHECK(handed.stop_token().stop_possible());
            });
        }).join();
    });
}

/// Undoes something when it goes, as a transaction or a lock does.
template <class Undo>
struct rollback {
    Undo undo;
    ~rollback() { undo(); }
};
template <class Undo>
rollback(Undo) -> rollback<Undo>;

constexpr auto apart = rs::inherit::nothing;

TEST_CASE("a rollback runs although the limit of the call around it has struck", "[call_context][H-USE-07]") {
    support::with_each([](const auto& client) {
        world w;
        int undone = 0;
        const auto undo = [&] { ++undone; };
        const auto wrapped = client.with({.inherit = apart}).wrap(undo);

        (void)rs::timeout(1s, w.reg).try_call([&] {
            const rollback at_the_end{[&] {
                (void)client.try_call(undo);
                CHECK(undone == 0); // nothing else gets through
                client.with({.inherit = apart})(undo);
                client.with({.inherit = apart}).call(undo);
                CHECK(client.with({.inherit = apart}).named("undo").try_call(undo));
                client.named("undo").with({.inherit = apart})(undo);
                wrapped();
            }};
            w.clock.advance(2s);
            throw std::runtime_error("down");
        });

        CHECK(undone == 5);
    });
}

TEST_CASE("a rollback runs although the caller has cancelled the call around it",
          "[call_context][H-USE-07]") {
    support::with_each([](const auto& client) {
        for (const rs::inherit which : {rs::inherit::nothing, rs::inherit::deadline_only}) {
            world w;
            std::stop_source stop;
            int undone = 0;
            const auto undo = [&](rs::call_context& ctx) {
                ++undone;
                CHECK_FALSE(ctx.stop_requested());
                CHECK_FALSE(ctx.stop_token().stop_requested());
            };

            (void)rs::retry(support::plain(), w.reg)
                .with({.deadline = w.clock.now() + 1h, .stop_token = stop.get_token()})
                .try_call([&] {
                    const rollback at_the_end{[&] {
                        CHECK_FALSE(client.try_call(undo));
                        client.with({.inherit = which})(undo);
                    }};
                    stop.request_stop();
                    throw std::runtime_error("down");
                });

            CHECK(undone == 1);
        }
    });
}

TEST_CASE("a call that inherits the deadline only is over with the call around it",
          "[call_context][H-USE-07]") {
    world w;
    const rs::retry client{support::plain(), w.reg};
    const auto began = w.clock.now();

    (void)rs::timeout(1s, w.reg).try_call([&] {
        client.with({.inherit = rs::inherit::deadline_only})(
            [&](rs::call_context& ctx) { CHECK(ctx.deadline() == began + 1s); });
        client.with({.deadline = began + 300ms, .inherit = rs::inherit::deadline_only})(
            [&](rs::call_context& ctx) { CHECK(ctx.deadline() == began + 300ms); });
        w.clock.advance(1s);
        CHECK(client.with({.inherit = rs::inherit::deadline_only}).try_call([] {}).error().code() ==
              rs::errc::timed_out);
    });
}

TEST_CASE("a call that inherits nothing has its own limits, and calls inside of it have these",
          "[call_context][H-USE-07]") {
    world w;
    std::stop_source outers;
    std::stop_source own;
    const rs::retry client{support::plain(), w.reg};
    const auto began = w.clock.now();

    rs::timeout(1s, w.reg).with({.stop_token = outers.get_token()})([&](rs::call_context& around) {
        client.with({.inherit = apart})([&](rs::call_context& ctx) {
            CHECK(ctx.deadline() == rs::time_point::max());
            CHECK_FALSE(ctx.stop_token().stop_possible());
            CHECK(rs::call_context::current() == &ctx);
            client([](rs::call_context& inside) { CHECK(inside.deadline() == rs::time_point::max()); });
        });
        client.with({.deadline = began + 7s, .stop_token = own.get_token(), .inherit = apart})([&] {
            client([&](rs::call_context& inside) {
                CHECK(inside.deadline() == began + 7s);
                own.request_stop();
                CHECK(inside.stop_requested());
            });
        });
        (client | rs::timeout(5s, w.reg)).with({.inherit = apart})([&](rs::call_context& ctx) {
            CHECK(ctx.deadline() == began + 5s);
        });
        client.with(around).with({.inherit = apart})(
            [](rs::call_context& ctx) { CHECK(ctx.deadline() == rs::time_point::max()); });
        client.with({.inherit = rs::inherit::deadline_only}).with(around)([&](rs::call_context& ctx) {
            CHECK(ctx.deadline() == began + 1s);
            outers.request_stop();
            CHECK_FALSE(ctx.stop_requested());
        });
        CHECK(rs::call_context::current() == &around);
    });
}

TEST_CASE("a call that inherits no retry depth is the outermost", "[call_context][H-USE-07]") {
    for (const rs::inherit which : {rs::inherit::all, rs::inherit::deadline_only, rs::inherit::nothing}) {
        world w;
        auto config = support::at_once(3);
        config.nested = rs::nested_retry::outermost_only;
        const rs::retry inner(config, w.reg);
        const rs::retry outer(support::at_once(2), w.reg);
        const bool inherits = which == rs::inherit::all;
        int attempts = 0;
        const auto fails = [&](rs::call_context& ctx) {
            ++attempts;
            CHECK(ctx.retry_depth() == (inherits ? 2U : 1U));
            throw std::runtime_error("down");
        };

        outer([&] { (void)inner.with({.inherit = which}).try_call(fails); }); // on the fast path
        (outer | rs::timeout(1s, w.reg))([&] { (void)inner.with({.inherit = which}).try_call(fails); });

        CHECK(attempts == (inherits ? 2 : 6));
    }
}

TEST_CASE("current() is the call that runs on this thread, and none after it", "[call_context]") {
    world w;
    const auto guard = rs::retry(support::plain(1), w.reg) | rs::timeout(5s, w.reg);

    CHECK(rs::call_context::current() == nullptr);
    guard([&](rs::call_context& ctx) {
        CHECK(rs::call_context::current() == &ctx);
        (void)guard.try_call([&](rs::call_context& nested) {
            CHECK(rs::call_context::current() == &nested);
            throw std::runtime_error("down");
        });
        CHECK(rs::call_context::current() == &ctx);
    });
    CHECK(rs::call_context::current() == nullptr);
    (void)guard.try_call([] { throw 42; });
    CHECK(rs::call_context::current() == nullptr);
}

TEST_CASE("of a call around it on another clock, the time that is left is inherited", "[call_context]") {
    world outer;
    world inner;
    inner.clock.advance(24h * 365);
    const auto inner_began = inner.clock.now();

    rs::timeout(5s, outer.reg)([&] {
        outer.clock.advance(2s);
        rs::retry(support::plain(),
                  inner.reg)([&](rs::call_context& ctx) { CHECK(ctx.deadline() == inner_began + 3s); });
    });
}

TEST_CASE("a stop token that is asked for after the deadline is requested already", "[call_context]") {
    world w;
    const rs::timeout timeout({.limit = 2s, .keep_late = true}, w.reg);

    CHECK(timeout([&](rs::call_context& ctx) {
        w.clock.advance(2s);
        return ctx.stop_token().stop_requested();
    }));
}

TEST_CASE("what narrow replaced can be put back", "[call_context]") {
    world w;
    rs::call_context ctx(w.clock);
    const auto began = w.clock.now();

    auto wide = ctx.narrow(began + 9s);
    (void)ctx.stop_token();
    CHECK(w.clock.pending_timers() == 1);
    auto tight = ctx.narrow(began + 1s);
    CHECK(ctx.deadline() == began + 1s);
    auto later = ctx.narrow(began + 5s);
    CHECK(ctx.deadline() == began + 1s);

    ctx.restore(std::move(later));
    ctx.restore(std::move(tight));
    CHECK(ctx.deadline() == began + 9s);
    ctx.restore(std::move(wide));
    CHECK(ctx.deadline() == rs::time_point::max());
    CHECK(w.clock.pending_timers() == 0);
}

} // namespace
