// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"
#include "support/world.hpp"

#include <resilience/abandoning_timeout.hpp>
#include <resilience/bulkhead.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/fallback.hpp>
#include <resilience/outside_of_calls.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/recorder.hpp>
#include <resilience/testing/virtual_clock.hpp>
#include <resilience/timeout.hpp>

#include <pthread.h>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::testing::virtual_clock;

namespace {

/// A registry in virtual time. Its clock outlives the workers: they are waited for.
struct worker_world {
    virtual_clock clock;
    rs::registry reg{clock};

    rs::abandoning_timeout timeout(rs::duration limit, std::uint32_t max_abandoned = 64) {
        made_.push_back(rs::abandoning_timeout({.limit = limit, .max_abandoned = max_abandoned}, reg));
        return made_.back();
    }
    rs::duration passed() const { return clock.now() - virtual_clock::start_time; }
    void wait_for_workers() const {
        for (const auto& t : made_) {
            while (t.stats().abandoned_running > 0) std::this_thread::yield();
        }
    }
    ~worker_world() { wait_for_workers(); }

private:
    std::vector<rs::abandoning_timeout> made_;
};

/// Takes this long on the virtual clock, and cannot be stopped.
auto takes(virtual_clock& clock, rs::duration length, int result = 1) {
    return [&clock, length, result] {
        clock.advance(length);
        return result;
    };
}

/// Hangs until it is told to go on; then everything of it is let go of.
struct hanging {
    std::shared_ptr<std::latch> go_on = std::make_shared<std::latch>(1);
    virtual_clock* clock;
    rs::duration length;

    int operator()() const {
        clock->advance(length);
        go_on->wait();
        return 1;
    }
};

TEST_CASE("the callable runs on a worker and its result comes back", "[abandoning_timeout]") {
    worker_world w;
    const auto timeout = w.timeout(2s);
    const auto here = std::this_thread::get_id();

    const auto there = timeout([] { return std::this_thread::get_id(); });

    CHECK(there != here);
    CHECK(timeout([](int a, const std::string& b) { return b + std::to_string(a); }, 3, std::string("x")) ==
          "x3");
    CHECK(w.passed() == 0s);
    CHECK(timeout.stats().calls == 2);
    CHECK(timeout.stats().timed_out == 0);
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("waiting for a worker does not move a virtual clock", "[abandoning_timeout]") {
    worker_world w;
    const auto timeout = w.timeout(2s);
    std::latch begun(1), go_on(1);
    std::thread other([&] {
        begun.wait();
        w.clock.advance(2s - 1ns);
        go_on.count_down();
    });

    const int result = timeout([&] {
        begun.count_down();
        go_on.wait();
        return 7;
    });

    other.join();
    CHECK(result == 7);
    CHECK(w.passed() == 2s - 1ns);
    CHECK(w.clock.slept().empty());
}

TEST_CASE("the call times out at exactly the limit", "[abandoning_timeout][H-TO-06]") {
    const auto limit = GENERATE(rs::duration{1ns}, rs::duration{999us}, rs::duration{2s}, rs::duration{3h});
    worker_world w;
    const auto timeout = w.timeout(limit);

    CHECK(timeout(takes(w.clock, limit - 1ns)) == 1);
    const auto late = timeout.try_call(takes(w.clock, limit));

    REQUIRE_FALSE(late.has_value());
    CHECK(late.error().code() == rs::errc::timed_out);
    CHECK(timeout.stats().timed_out == 1);
}

TEST_CASE("the limit passes while the callable goes on", "[abandoning_timeout][H-TO-02]") {
    worker_world w;
    rs::testing::recorder events(w.reg);
    const auto timeout = w.timeout(2s);
    const hanging work{.clock = &w.clock, .length = 3s};

    const auto late = timeout.named("search").try_call(work); // returns, though the work does not

    REQUIRE_FALSE(late.has_value());
    CHECK(late.error().code() == rs::errc::timed_out);
    CHECK(late.error().message() == "timeout: no result within 2s");
    CHECK(timeout.stats().abandoned_running == 1);
    CHECK(timeout.stats().late_results == 0);
    REQUIRE(events.kinds() == std::vector{rs::event_kind::timed_out, rs::event_kind::call_abandoned});
    for (const auto& e : events.events()) {
        CHECK(e.policy_kind == "abandoning_timeout");
        CHECK(e.operation == "search");
        CHECK(e.at == virtual_clock::start_time + 2s);
        CHECK(e.wall == virtual_clock::start_wall_time + 2s);
        CHECK(e.delay == 2s);
    }

    work.go_on->count_down();
    w.wait_for_workers();
    CHECK(timeout.stats().late_results == 1);
}

TEST_CASE("abandoned work undoes something, also through an abandoning timeout",
          "[abandoning_timeout][H-USE-07]") {
    worker_world w;
    const auto timeout = w.timeout(2s);
    const auto client = w.timeout(5s);
    const auto undone = std::make_shared<std::atomic<int>>(0);

    const auto late = timeout.try_call([&w, client, undone] {
        const auto undo = [undone] { ++*undone; };
        w.clock.advance(3s);
        (void)client.try_call(undo);
        client.with({.inherit = rs::inherit::nothing})(undo);
        rs::retry({}, w.reg).with({.inherit = rs::inherit::nothing})(undo);
        const rs::outside_of_calls scope;
        client(undo);
    });
    w.wait_for_workers();

    CHECK(late.error().code() == rs::errc::timed_out);
    CHECK(*undone == 3);
}

TEST_CASE("silent work is given up, live work is not", "[abandoning_timeout][H-USE-16]") {
    worker_world w;
    rs::testing::recorder events(w.reg);
    const rs::abandoning_timeout timeout({.name = "pdf", .limit = 60s, .idle = 10s}, w.reg);
    const rs::abandoning_timeout endless({.idle = 10s}, w.reg);
    const auto streams = [&w](std::vector<rs::duration> gaps) {
        return [&w, gaps = std::move(gaps)](rs::call_context& ctx) {
            for (const rs::duration gap : gaps) {
                w.clock.advance(gap);
                ctx.progress();
            }
            return ctx.stop_token().stop_requested() ? 2 : 1;
        };
    };
    const std::vector<rs::duration> three_minutes(20, 9s);

    CHECK(timeout(streams({9s, 9s, 9s})) == 1);
    CHECK(endless(streams(three_minutes)) == 1);
    CHECK(timeout.try_call(streams(three_minutes)).error().message() ==
          "timeout 'pdf': no result within 60s");
    while (timeout.stats().abandoned_running > 0) std::this_thread::yield(); // that one tells of its overrun
    const auto silent = timeout.try_call(streams({9s, 10s, 1s}));
    CHECK(silent.error().code() == rs::errc::timed_out);
    CHECK(silent.error().message() == "timeout 'pdf': silence for 10s");
    while (timeout.stats().abandoned_running > 0) std::this_thread::yield();
    CHECK(timeout.stats().timed_out == 2);
    CHECK(events.events().back().delay == 10s);
    CHECK(events.events().back().kind == rs::event_kind::call_abandoned);
}

TEST_CASE("work on a worker tells the timeouts around it of progress", "[abandoning_timeout][H-USE-16]") {
    worker_world w;
    const auto inner = w.timeout(1h);
    const auto guard = rs::timeout({.name = "outer", .idle = 10s}, w.reg) | inner;
    const auto streams = [&w](rs::duration last) {
        return [&w, last](rs::call_context& ctx) {
            CHECK(ctx.remaining() == 10s);
            for (int i = 0; i < 3; ++i) {
                w.clock.advance(9s);
                ctx.progress();
            }
            w.clock.advance(last);
            return 1;
        };
    };

    CHECK(guard(streams(9s)) == 1);
    const auto silent = guard.try_call(streams(10s));

    CHECK(silent.error().code() == rs::errc::timed_out);
    CHECK(silent.error().message() == "timeout 'outer': silence for 10s");
    CHECK(guard.get<0>().stats().timed_out == 1);
}

TEST_CASE("the stop token of silent work is requested at the end of its silence",
          "[abandoning_timeout][H-USE-16]") {
    worker_world w;
    const rs::abandoning_timeout timeout({.limit = 60s, .idle = 10s}, w.reg);
    const auto seen = std::make_shared<std::atomic<int>>(0);

    (void)timeout.try_call([&w, seen](rs::call_context& ctx) {
        const std::stop_token stop = ctx.stop_token();
        w.clock.advance(9s);
        ctx.progress();
        w.clock.advance(10s - 1ns);
        if (!stop.stop_requested()) ++*seen;
        w.clock.advance(1ns);
        if (stop.stop_requested() && !ctx.stop_requested()) ++*seen;
    });
    while (timeout.stats().abandoned_running > 0) std::this_thread::yield();
    CHECK(*seen == 2);

    std::stop_source caller;
    const auto stopped =
        timeout.with({.stop_token = caller.get_token()}).try_call([&caller] { caller.request_stop(); });
    CHECK(stopped.error().code() == rs::errc::cancelled);
    while (timeout.stats().abandoned_running > 0) std::this_thread::yield();
}

TEST_CASE("a callable that listens is stopped at the limit", "[abandoning_timeout]") {
    worker_world w;
    const auto timeout = w.timeout(2s);
    std::promise<std::pair<bool, rs::time_point>> ended;

    const auto late = timeout.try_call([&w, &ended](rs::call_context& ctx) {
        const bool in_full = ctx.clock().sleep_until(ctx.clock().now() + 3s, ctx.stop_token());
        ended.set_value({in_full, w.clock.now()});
    });

    CHECK(late.error().code() == rs::errc::timed_out);
    const auto [in_full, at] = ended.get_future().get();
    CHECK_FALSE(in_full);
    CHECK(at == virtual_clock::start_time + 2s);
}

TEST_CASE("the callable's context knows the call", "[abandoning_timeout]") {
    worker_world w;
    const auto timeout = w.timeout(2s);
    std::string name = "a name that is too long to be kept in place";
    const hanging gate{.clock = &w.clock, .length = 0s};
    std::promise<std::string> seen;

    const auto late = timeout.named(name).try_call([&w, &seen, gate](rs::call_context& ctx) {
        CHECK(ctx.deadline() == virtual_clock::start_time + 2s);
        CHECK(ctx.remaining() == 2s);
        CHECK(ctx.attempt() == 1);
        CHECK(rs::call_context::current() == &ctx);
        w.clock.advance(2s);
        gate();
        seen.set_value(std::string(ctx.operation()));
    });

    name.assign(name.size(), '!');
    gate.go_on->count_down();
    CHECK(late.error().code() == rs::errc::timed_out);
    CHECK(seen.get_future().get() == "a name that is too long to be kept in place");
}

TEST_CASE("work on a worker has the call's priority, cost and correlation, also once it is given up",
          "[abandoning_timeout][call_options]") {
    worker_world w;
    const rs::testing::recorder log(w.reg);
    const auto timeout = w.timeout(1s);
    const rs::retry inner(support::at_once(2), w.reg);
    const rs::call_options said{.priority = rs::priority::high, .cost = 7, .correlation = "req-7"};

    const auto seen = timeout.with(said)([](rs::call_context& ctx) {
        return std::string(ctx.correlation()) + " " + std::to_string(ctx.cost()) +
               (ctx.priority() == rs::priority::high ? " high" : "");
    });
    CHECK(seen == "req-7 7 high");

    (void)timeout.with(said).try_call([inner] { (void)inner.try_call([]() -> int { throw 1; }); });
    REQUIRE_FALSE(log.empty());
    for (const auto& e : log.events()) CHECK(e.correlation == "req-7");
}

TEST_CASE("work that was given up keeps its place in a bulkhead until it ends, and is seen there",
          "[abandoning_timeout][bulkhead]") {
    worker_world w;
    const rs::bulkhead places({.max_concurrent = 1}, w.reg);
    const auto guard = w.timeout(1s) | places;
    const hanging work{.clock = &w.clock, .length = 2s};

    CHECK_FALSE(guard.try_call(work));
    CHECK(places.stats().running == 1);
    CHECK(places.stats().zombies == 1);
    const auto refused = guard.try_call([] { return 2; });
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == rs::errc::bulkhead_full);
    CHECK(places.stats().zombies == 1);

    work.go_on->count_down();
    w.wait_for_workers();
    CHECK(places.stats().running == 0);
    CHECK(places.stats().zombies == 0);
    CHECK(guard([&] { return places.stats().zombies; }) == 0);
}

TEST_CASE("work that finished first wins over the limit, exceptions included",
          "[abandoning_timeout][H-TO-04]") {
    worker_world w;
    const auto timeout = w.timeout(2s);

    const auto failed = timeout.try_call([&w]() -> int {
        w.clock.advance(2s - 1ns);
        throw std::runtime_error("the real error");
    });

    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().as<std::runtime_error>() != nullptr);
    CHECK(failed.error().message() == "the real error");
    CHECK_THROWS_AS(timeout([]() -> int { throw 42; }), int);
    CHECK(timeout.stats().timed_out == 1); // the first came in the last instant of its limit
    CHECK(timeout.stats().late_results == 0);
}

TEST_CASE("a stop callback that waits for the work does not hold up whoever gives the call up",
          "[abandoning_timeout][H-TO-02]") {
    worker_world w;
    const auto timeout = w.timeout(2s);
    std::stop_source stop;
    const bool by_caller = GENERATE(false, true);
    const auto go_on = std::make_shared<std::latch>(1);
    const auto requested = std::make_shared<std::atomic<bool>>(false);
    const auto work = [&w, &stop, by_caller, go_on, requested](rs::call_context& ctx) {
        const std::stop_callback waits(ctx.stop_token(), [go_on] { go_on->wait(); });
        if (by_caller) stop.request_stop();
        else w.clock.advance(2s);
        *requested = by_caller || ctx.stop_token().stop_requested();
        go_on->wait();
    };

    const auto ended = timeout.with({.stop_token = stop.get_token()}).try_call(work);

    CHECK(ended.error().code() == (by_caller ? rs::errc::cancelled : rs::errc::timed_out));
    CHECK(timeout.stats().abandoned_running == 1);
    go_on->count_down();
    w.wait_for_workers();
    CHECK(*requested); // in virtual time, at once
    CHECK(timeout.stats().late_results == 1);
}

TEST_CASE("a call that was given up counts as running as long as its stop callbacks do",
          "[abandoning_timeout][H-TO-09]") {
    worker_world w;
    const auto timeout = w.timeout(2s, 1);
    struct kept {
        std::latch begun{1}, go_on{1};
        std::optional<std::stop_callback<std::function<void()>>> callback;
    };
    const auto k = std::make_shared<kept>();

    const auto late = timeout.try_call([&w, k](rs::call_context& ctx) {
        k->callback.emplace(ctx.stop_token(), [k = k.get()] {
            k->begun.count_down();
            k->go_on.wait();
        });
        w.clock.advance(2s);
    });

    CHECK(late.error().code() == rs::errc::timed_out);
    k->begun.wait();
    while (timeout.stats().late_results == 0) std::this_thread::yield(); // the work has ended
    CHECK(timeout.stats().abandoned_running == 1);
    CHECK(timeout.try_call([] {}).error().code() == rs::errc::workers_exhausted);
    k->go_on.count_down();
    w.wait_for_workers();
    CHECK(timeout.try_call([] {}).has_value());
}

/// A run without a caller, to play all orders of its ends.
template <class F>
auto run_of(worker_world& w, F& f) {
    auto core = std::make_shared<rs::detail::abandoning_timeout_core>(
        rs::abandoning_timeout_config{.limit = 2s}, w.reg);
    const rs::call_context caller(w.clock, w.reg.env().get());
    const auto make = [&f] {
        return
            [f](rs::outcome<int>& out, rs::call_context& ctx) { out.run_and_store([&] { return f(ctx); }); };
    };
    auto run =
        std::make_shared<rs::detail::typed_run<int, decltype(make)>>(core, caller, w.clock.now() + 2s, make);
    return std::pair(core, run);
}
using run_end = rs::detail::abandonable_run::end;

/// Whoever asked an abandoned one to stop may come back a little later than the work.
template <class Core>
std::uint64_t running_at_last(const Core& core) {
    while (core.stats().abandoned_running > 0) std::this_thread::yield();
    return core.stats().abandoned_running;
}

TEST_CASE("whoever comes first ends the call, the other one is silent",
          "[abandoning_timeout][H-TO-03][H-TO-04]") {
    worker_world w;
    auto f = [](rs::call_context&) -> int { throw std::runtime_error("the real error"); };
    const auto other = GENERATE(run_end::limit, run_end::stopped);

    SECTION("the work, though the limit passes before anybody looks") {
        const auto [core, run] = run_of(w, f);

        run->run();
        CHECK_FALSE(run->abandon_and_wait(other));
        run->tell();

        CHECK(run->wait(rs::time_point::max()) == run_end::finished);
        rs::outcome<int> out;
        run->take(out);
        CHECK(out.error().message() == "the real error");
        CHECK(core->stats().abandoned_running == 0);
        CHECK(core->stats().late_results == 0);
    }
    SECTION("the limit, while the work runs") {
        bool stopped = false;
        std::function<void()> during;
        auto g = [&](rs::call_context& ctx) {
            during();
            stopped = ctx.stop_token().stop_requested();
            return 1;
        };
        const auto [core, run] = run_of(w, g);
        during = [&, c = core.get(), r = run.get()] {
            CHECK(r->abandon_and_wait(other));
            CHECK_FALSE(r->abandon_and_wait(run_end::limit));
            CHECK(c->stats().abandoned_running == 1);
        };

        run->run();

        CHECK(stopped);
        CHECK(run->wait(rs::time_point::max()) == other);
        CHECK(running_at_last(*core) == 0);
        CHECK(core->stats().late_results == 1);
    }
}

TEST_CASE("work that was given up before its worker came to it is not begun",
          "[abandoning_timeout][H-TO-07]") {
    worker_world w;
    int runs = 0;
    auto f = [&](rs::call_context&) { return ++runs; };
    const auto [core, run] = run_of(w, f);

    CHECK(run->abandon_and_wait(run_end::limit));
    CHECK(core->stats().abandoned_running == 1);
    run->run();

    CHECK(runs == 0);
    CHECK(running_at_last(*core) == 0);
    CHECK(core->stats().late_results == 0);
}

TEST_CASE("the worker of a call that has returned is idle", "[abandoning_timeout]") {
    worker_world w;
    const rs::abandoning_timeout timeout(2s, w.reg);
    const auto& pool = rs::detail::worker_pool::instance();
    CHECK(timeout([] { return 1; }) == 1);
    const std::size_t idle = pool.idle();

    // A worker that came late would make the next call begin a second one.
    for (int call = 0; call < 1000; ++call) {
        REQUIRE(timeout([&] { return pool.idle(); }) == idle - 1);
        REQUIRE(pool.idle() == idle);
    }
}

/// A policy that takes a second before it lets the attempt begin.
struct slow_start {
    struct call {
        virtual_clock* clock;
        rs::admission admit(rs::call_context&) {
            clock->advance(1s);
            return rs::admission::go();
        }
        rs::settlement settle(const rs::attempt_result&, rs::call_context&) {
            return rs::settlement::finish();
        }
    };
    call begin(rs::call_context&) const { return {clock}; }
    virtual_clock* clock;
};

TEST_CASE("an attempt whose deadline has passed times out without a worker",
          "[abandoning_timeout][H-TO-07]") {
    worker_world w;
    rs::testing::recorder events(w.reg);
    const auto timeout = w.timeout(2s);
    const auto late_start = slow_start{&w.clock} | timeout;
    std::atomic<int> runs{0};
    const auto work = [&runs] { return ++runs; };

    CHECK(late_start.with({.deadline = w.clock.now() + 1s + 1ns}).call(work) == 1);
    const auto none = late_start.with({.deadline = w.clock.now() + 1s}).try_call(work);

    CHECK(none.error().code() == rs::errc::timed_out);
    CHECK(none.error().message() == "timeout: the call's deadline passed before the attempt began");
    CHECK(runs == 1);
    CHECK(timeout.stats().timed_out == 1);
    CHECK(timeout.stats().abandoned_running == 0);
    CHECK(events.kinds() == std::vector{rs::event_kind::timed_out});
}

TEST_CASE("a listener that is told of a time-out has time for calls of its own", "[abandoning_timeout]") {
    worker_world w;
    const auto timeout = w.timeout(2s);
    const rs::retry retry(support::plain(), w.reg);
    const bool under_a_retry = GENERATE(false, true);
    int told = 0;
    const auto listening = w.reg.subscribe([&](const rs::event& e) {
        if (e.kind == rs::event_kind::timed_out) told += retry([] { return 1; });
    });
    const auto late = [&w] { w.clock.advance(2s); };

    if (under_a_retry) (void)(retry | timeout).with({.deadline = w.clock.now() + 1s}).try_call(late);
    else (void)timeout.with({.deadline = w.clock.now() + 1s}).try_call(late);

    CHECK(told == 1);
}

TEST_CASE("a call without an end waits for ever", "[abandoning_timeout][H-TO-05][H-CPP-01]") {
    worker_world w;
    const auto limit = GENERATE(rs::duration::max(), rs::duration::max() - 1ns);
    const auto timeout = w.timeout(limit);

    const int result = timeout([&w](rs::call_context& ctx) {
        CHECK(ctx.deadline() == rs::time_point::max());
        CHECK(ctx.remaining() == rs::duration::max());
        w.clock.advance(24h * 365 * 100);
        return 5;
    });

    CHECK(result == 5);
}

TEST_CASE("an earlier deadline of the call ends the wait", "[abandoning_timeout]") {
    worker_world w;
    const auto timeout = w.timeout(10s);
    const hanging work{.clock = &w.clock, .length = 3s};

    SECTION("given with the call") {
        const auto late = timeout.with({.deadline = w.clock.now() + 2s}).try_call(work);

        CHECK(late.error().code() == rs::errc::timed_out);
        CHECK(late.error().message() == "timeout: no result within 2s (the caller's deadline)");
    }
    SECTION("of a timeout further out") {
        rs::testing::recorder events(w.reg);

        const auto late = (rs::timeout(2s, w.reg) | timeout).try_call(work);

        CHECK(late.error().code() == rs::errc::timed_out);
        CHECK(events.events().at(0).at == virtual_clock::start_time + 2s);
    }
    SECTION("of an enclosing call on the same thread") {
        const auto late =
            rs::timeout(2s, w.reg).try_call([&] { return timeout.try_call(work).error().code(); });

        CHECK_FALSE(late.has_value()); // the outer one judges its own lateness
        CHECK(timeout.stats().timed_out == 1);
    }
    work.go_on->count_down();
}

TEST_CASE("calls inside of the work inherit its deadline and its stop token", "[abandoning_timeout]") {
    worker_world w;
    const auto outer = w.timeout(2s);
    const auto inner = w.timeout(10s);
    std::promise<std::error_code> seen;
    const hanging work{.clock = &w.clock, .length = 3s};

    const auto late =
        outer.try_call([&seen, inner, work] { seen.set_value(inner.try_call(work).error().code()); });

    CHECK(late.error().code() == rs::errc::timed_out);
    const auto code = seen.get_future().get();
    CHECK((code == rs::errc::timed_out || code == rs::errc::cancelled)); // both fall on that moment
    work.go_on->count_down();
}

TEST_CASE("the caller's stop request ends the wait at once and reaches the callable",
          "[abandoning_timeout]") {
    worker_world w;
    rs::testing::recorder events(w.reg);
    const auto timeout = w.timeout(2s);
    std::stop_source stop;
    const auto seen = std::make_shared<std::latch>(1);
    const auto work = [&stop, seen](rs::call_context& ctx) {
        const std::stop_callback told(ctx.stop_token(), [&] { seen->count_down(); });
        stop.request_stop();
        seen->wait();
    };

    const auto cancelled = timeout.with({.stop_token = stop.get_token()}).try_call(work);

    CHECK(cancelled.error().code() == rs::errc::cancelled);
    seen->wait();
    CHECK(w.passed() == 0s);
    CHECK(timeout.stats().cancelled == 1);
    CHECK(timeout.stats().timed_out == 0);
    CHECK(events.kinds() == std::vector{rs::event_kind::call_abandoned});
    w.wait_for_workers();
    CHECK(timeout.stats().late_results == 1);
    CHECK(timeout.with({.stop_token = stop.get_token()}).try_call([] { return 1; }).error().code() ==
          rs::errc::cancelled);
}

TEST_CASE("no more calls than max_abandoned run past their limit", "[abandoning_timeout][H-TO-09]") {
    worker_world w;
    rs::testing::recorder events(w.reg);
    const auto timeout = w.timeout(1ms, 8);
    const hanging work{.clock = &w.clock, .length = 1ms};
    int timed_out = 0, rejected = 0, others = 0;

    for (int i = 0; i < 10'000; ++i) {
        const auto code = timeout.try_call(work).error().code();
        ++(code == rs::errc::timed_out ? timed_out : code == rs::errc::workers_exhausted ? rejected : others);
    }

    CHECK(timed_out == 8);
    CHECK(rejected == 9'992);
    CHECK(others == 0);
    CHECK(timeout.stats().calls == 8);
    CHECK(timeout.stats().rejected == 9'992);
    CHECK(timeout.stats().abandoned_running == 8);
    CHECK(events.count(rs::event_kind::call_rejected) == 9'992);
    CHECK_THROWS_AS(timeout(work), rs::workers_exhausted_error);
    CHECK(timeout.try_call(work).error().message() ==
          "timeout has too many abandoned calls still running (8 at most)");

    work.go_on->count_down();
    w.wait_for_workers();
    CHECK(timeout.stats().late_results == 8);
    CHECK(timeout([] { return 3; }) == 3);
}

TEST_CASE("a late result is destroyed on its worker", "[abandoning_timeout]") {
    struct result {
        std::shared_ptr<std::promise<std::thread::id>> destroyed;
        result(std::shared_ptr<std::promise<std::thread::id>> p) : destroyed(std::move(p)) {}
        result(result&&) = default;
        ~result() {
            if (destroyed) destroyed->set_value(std::this_thread::get_id());
        }
    };
    worker_world w;
    const auto timeout = w.timeout(2s);
    auto worker = std::make_shared<std::promise<std::thread::id>>();
    auto destroyed = std::make_shared<std::promise<std::thread::id>>();

    const auto late = timeout.try_call([&w, worker, destroyed] {
        worker->set_value(std::this_thread::get_id());
        w.clock.advance(2s);
        return result(destroyed);
    });

    CHECK(late.error().code() == rs::errc::timed_out);
    CHECK(worker->get_future().get() == destroyed->get_future().get());
}

TEST_CASE("when a call returns in time nothing of its copies is left", "[abandoning_timeout][H-CPP-23]") {
    worker_world w;
    const auto timeout = w.timeout(2s);
    const auto kept = std::make_shared<int>(5);

    for (int i = 0; i < 100; ++i) {
        REQUIRE(timeout([kept](const std::shared_ptr<int>& p) { return *p; }, kept) == 5);
        REQUIRE(kept.use_count() == 1);
    }
}

TEST_CASE("every attempt has copies of its own", "[abandoning_timeout][H-TO-01]") {
    worker_world w;
    const auto timeout = w.timeout(2s);
    const auto retried =
        rs::retry({.max_attempts = 3, .base_delay = 1s, .jitter = rs::jitter::none}, w.reg) | timeout;
    std::atomic<int> attempts{0};
    std::string argument = "abc";
    std::vector<int> counts;
    auto f = [&attempts, &counts, own = 0](std::string& text) mutable {
        ++own;
        counts.push_back(own);
        text += "!";
        if (++attempts < 3) throw std::runtime_error("again");
        return text;
    };

    CHECK(retried(f, argument) == "abc!");

    CHECK(attempts == 3);
    CHECK(counts == std::vector{1, 1, 1});
    CHECK(argument == "abc");
}

TEST_CASE("the shapes of callables and arguments", "[abandoning_timeout]") {
    struct client {
        int base = 1;
        int plus(int n) const { return base + n; }
    };
    static int global = 3;
    worker_world w;
    const auto timeout = w.timeout(2s);

    SECTION("what is passed as an rvalue to the outermost policy is moved") {
        CHECK(timeout([p = std::make_unique<int>(4)] { return *p; }) == 4);
        CHECK(timeout([](const std::unique_ptr<int>& p) { return *p; }, std::make_unique<int>(5)) == 5);
        auto moved = [p = std::make_unique<int>(6)](rs::call_context&) { return *p; };
        CHECK(timeout.named("x").call(std::move(moved)) == 6);
    }
    SECTION("what is passed as an lvalue is copied") {
        std::string text = "abc";
        auto f = [text](std::string& s) { return text + s; };
        CHECK(timeout(f, text) == "abcabc");
        CHECK(f(text) == "abcabc");
    }
    SECTION("with a policy further out, rvalues are copied") {
        const auto twice =
            rs::retry({.max_attempts = 2, .base_delay = 0s, .jitter = rs::jitter::none}, w.reg) | timeout;
        std::atomic<int> attempts{0};
        const auto result = twice(
            [&attempts, text = std::string("abc")](std::string& s) {
                if (++attempts == 1) throw std::runtime_error("again");
                return text + s;
            },
            std::string("def"));
        CHECK(result == "abcdef");
    }
    SECTION("functions, members, arrays, references") {
        client c;
        CHECK(timeout(+[](int n) { return n; }, 2) == 2);
        CHECK(timeout(&client::plus, c, 2) == 3);
        CHECK(timeout(&client::plus, &c, 3) == 4);
        CHECK(timeout(&client::base, std::ref(c)) == 1);
        CHECK(timeout([](const char(&text)[4]) { return std::string(text); }, "abc") == "abc");
        char buffer[4] = "def";
        CHECK(timeout([&buffer](char* text) { return text != buffer && std::string_view(text) == "def"; },
                      buffer));
        int out = 0;
        timeout([](int& to) { to = 9; }, std::ref(out));
        CHECK(out == 9);
    }
    SECTION("void, references, results that cannot be copied or made from nothing") {
        timeout([] { ++global; });
        int& reference = timeout([]() -> int& { return global; });
        CHECK(&reference == &global);
        STATIC_REQUIRE(std::is_same_v<decltype(timeout([]() -> int& { return global; })), int&>);
        CHECK(*timeout([] { return std::make_unique<int>(7); }) == 7);
    }
    SECTION("wrapped") {
        const auto plus = timeout.wrap(&client::plus);
        auto counting = timeout.wrap([n = 0]() mutable { return ++n; });
        CHECK(plus(client{5}, 1) == 6);
        CHECK(counting() == 1);
        CHECK(counting() == 1); // every call runs a copy
        CHECK((rs::fallback(0) | timeout).wrap([](std::unique_ptr<int>& p) {
            return p ? 1 : 0;
        })(std::ref(*std::make_unique<std::unique_ptr<int>>())) == 0);
    }
}

TEST_CASE("policies further in run on the worker, those further out on the caller", "[abandoning_timeout]") {
    worker_world w;
    rs::testing::recorder events(w.reg);
    const auto timeout = w.timeout(10s);
    std::atomic<int> attempts{0};
    const auto fails = [&attempts]() -> int {
        ++attempts;
        throw std::runtime_error("x");
    };

    SECTION("a retry inside sleeps there, and stops when it is abandoned") {
        const rs::retry retry(
            {.max_attempts = 100, .base_delay = 4s, .max_delay = 4s, .jitter = rs::jitter::none}, w.reg);

        const auto late = (timeout | retry).try_call(fails);

        w.wait_for_workers();
        CHECK_FALSE(late.has_value());
        // A delay that does not fit in the deadline is not begun: the real failure comes out, at 8 s.
        CHECK(late.error().message() == "x");
        CHECK(attempts == 3);
        CHECK(w.passed() == 8s);
    }
    SECTION("a retry outside begins anew at every limit") {
        const rs::retry retry({.max_attempts = 3, .base_delay = 1s, .jitter = rs::jitter::none}, w.reg);
        const auto f = [&attempts](rs::call_context& ctx) {
            ++attempts;
            ctx.clock().sleep_until(rs::saturating_add(ctx.clock().now(), 1h), ctx.stop_token());
            return static_cast<int>(ctx.attempt());
        };

        const auto late = (retry | timeout).try_call(f);

        CHECK(late.error().code() == rs::errc::timed_out);
        CHECK(attempts == 3);
        CHECK(w.passed() == 10s + 1s + 10s + 2s + 10s);
    }
    SECTION("a breaker outside counts timeouts, one inside the late outcome") {
        const rs::circuit_breaker outside({.failure_threshold = 5}, w.reg),
            inside({.failure_threshold = 5}, w.reg);

        const auto late = (outside | timeout | inside).try_call(takes(w.clock, 11s));
        w.wait_for_workers();

        CHECK(late.error().code() == rs::errc::timed_out);
        CHECK(outside.stats().failures == 1);
        CHECK(inside.stats().successes == 1);
    }
    SECTION("a fallback further out answers") {
        CHECK((rs::fallback(8) | timeout).call(takes(w.clock, 11s)) == 8);
    }
    SECTION("an abandoning timeout inside another") {
        const auto inner = w.timeout(2s);

        const auto late = (timeout | inner).try_call(takes(w.clock, 3s));

        CHECK(late.error().code() == rs::errc::timed_out);
        CHECK(inner.stats().timed_out == 1);
        CHECK(timeout.stats().timed_out == 0);
    }
}

TEST_CASE("a policy may be let go of by its own callable", "[abandoning_timeout][H-CPP-23]") {
    worker_world w;
    auto timeout = std::make_unique<rs::abandoning_timeout>(2s, w.reg);
    const auto watched = *timeout; // for its numbers alone

    SECTION("in time") {
        CHECK((*timeout)([&] {
                  timeout.reset();
                  return 4;
              }) == 4);
    }
    SECTION("late") {
        const auto late = timeout->try_call([&] {
            timeout.reset();
            w.clock.advance(2s);
        });
        CHECK(late.error().code() == rs::errc::timed_out);
    }
    CHECK(timeout == nullptr);
    while (watched.stats().abandoned_running > 0) std::this_thread::yield();
}

TEST_CASE("make_exception says what is thrown", "[abandoning_timeout]") {
    worker_world w;
    const rs::abandoning_timeout timeout(
        {.name = "slow",
         .limit = 2s,
         .make_exception =
             [](const rs::failure& why) { return std::make_exception_ptr(std::logic_error(why.message())); }},
        w.reg);

    CHECK_THROWS_WITH(timeout(takes(w.clock, 2s)), "timeout 'slow': no result within 2s");
    CHECK_THROWS_AS(timeout(takes(w.clock, 2s)), std::logic_error);
    while (timeout.stats().abandoned_running > 0) std::this_thread::yield();
}

TEST_CASE("a make_exception that throws leaves it at a timeout_error", "[abandoning_timeout]") {
    worker_world w;
    const rs::abandoning_timeout timeout(
        {.limit = 2s,
         .make_exception = [](const rs::failure&) -> std::exception_ptr { throw std::logic_error("no"); }},
        w.reg);

    CHECK_THROWS_AS(timeout(takes(w.clock, 3s)), rs::timeout_error);
    while (timeout.stats().abandoned_running > 0) std::this_thread::yield();
}

TEST_CASE("a bad config is refused, naming field, value and range", "[abandoning_timeout]") {
    worker_world w;

    CHECK_THROWS_WITH(rs::abandoning_timeout(0s, w.reg),
                      "abandoning_timeout_config.limit is 0ns; it must be more than 0");
    CHECK_THROWS_AS(rs::abandoning_timeout(-1ns, w.reg), std::invalid_argument);
    CHECK_THROWS_WITH(rs::abandoning_timeout({.limit = 1s, .max_abandoned = 0}, w.reg),
                      "abandoning_timeout_config.max_abandoned is 0; it must be at least 1");
}

TEST_CASE("a name leads to one shared policy", "[abandoning_timeout]") {
    worker_world w;
    const rs::abandoning_timeout one({.name = "slow", .limit = 2s}, w.reg);
    const rs::abandoning_timeout same({.name = "slow", .limit = 2s}, w.reg);

    one([] {});

    CHECK(same.stats().calls == 1);
    CHECK(w.reg.find<rs::abandoning_timeout>("slow")->stats().calls == 1);
    CHECK(w.reg.policies().at(0).kind == "abandoning_timeout");
    CHECK_THROWS_WITH(rs::abandoning_timeout({.name = "slow", .limit = 3s}, w.reg),
                      "abandoning_timeout 'slow' exists already with another limit (2s, not 3s)");

    one.update({.name = "slow", .limit = 4s});
    CHECK(same(takes(w.clock, 3s)) == 1);
    CHECK_THROWS_AS(one.update({.name = "other", .limit = 4s}), std::invalid_argument);
    CHECK_THROWS_AS(one.update({.name = "slow", .limit = 0s}), std::invalid_argument);
}

TEST_CASE("an update is told", "[abandoning_timeout]") {
    worker_world w;
    const rs::abandoning_timeout timeout({.name = "slow", .limit = 2s}, w.reg);
    const rs::testing::recorder events(w.reg);

    timeout.update({.name = "slow", .limit = 3s});

    CHECK(events.count(rs::event_kind::policy_updated) == 1);
}

TEST_CASE("a refusal says why", "[abandoning_timeout]") {
    rs::rejection refused{.code = rs::errc::workers_exhausted, .amount = 64};
    CHECK(refused.message() == "timeout has too many abandoned calls still running (64 at most)");

    refused.reason = "has no thread to run on";
    CHECK(refused.message() == "timeout has no thread to run on");
}

// g++'s sanitizer takes the reference to a forced unwind, which has no object, for one to null.
#if !defined(__SANITIZE_ADDRESS__) && RESILIENCE_FORCED_UNWIND
TEST_CASE("a callable that ends its worker's thread ends the call, too", "[abandoning_timeout][H-TO-08]") {
    worker_world w;
    const auto timeout = w.timeout(2s);

    const auto ended = timeout.try_call([]() -> int { pthread_exit(nullptr); });

    CHECK(ended.error().code() == rs::errc::cancelled);
    CHECK(ended.error().message() == "the callable ended its thread");
    CHECK(timeout.stats().abandoned_running == 0);
    CHECK(timeout([] { return 2; }) == 2);
}
#endif

struct thrower {
    struct call {
        rs::admission admit(rs::call_context&) { throw std::length_error("of a policy"); }
        rs::settlement settle(const rs::attempt_result&, rs::call_context&) {
            return rs::settlement::finish();
        }
    };
    call begin(rs::call_context&) const { return {}; }
};

TEST_CASE("what a policy further in throws comes out of the call", "[abandoning_timeout]") {
    worker_world w;
    const auto timeout = w.timeout(2s);

    CHECK_THROWS_AS((timeout | thrower{})([] { return 1; }), std::length_error);
}

TEST_CASE("the lease of a circuit's probe lasts as long as the limit inside",
          "[abandoning_timeout][H-USE-21]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 5s, .probe_lease = 60s}, reg);
    (void)breaker.try_call([] { throw std::runtime_error("down"); });
    clock.advance(5s);

    (breaker | rs::abandoning_timeout(120s, reg))([&clock, breaker] {
        clock.advance(90s);
        (void)breaker.try_acquire(); // whose arrival would end a lease that is over
    });

    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("a probe whose work makes progress on a worker keeps its place",
          "[abandoning_timeout][H-USE-16][H-USE-21]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::circuit_breaker breaker({.failure_threshold = 1,
                                       .success_threshold = 1,
                                       .recovery_timeout = 5s,
                                       .half_open_max_calls = 1,
                                       .probe_lease = 3s},
                                      reg);
    const auto idle_alone = breaker | rs::abandoning_timeout({.idle = 10s}, reg);
    const auto under_another = breaker | rs::timeout({.idle = 10s}, reg) | rs::abandoning_timeout(1h, reg);
    const auto probe = [&](const auto& guard) {
        (void)breaker.try_call([] { throw std::runtime_error("down"); });
        clock.advance(5s);
        return guard.try_call([&clock, breaker](rs::call_context& ctx) {
            for (int i = 0; i < 10; ++i) {
                clock.advance(9s);
                ctx.progress();
                CHECK_FALSE(breaker.try_acquire());
            }
        });
    };

    CHECK(probe(idle_alone));
    CHECK(breaker.state() == rs::circuit_state::closed);
    CHECK(probe(under_another));
    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("a probe keeps its place while a call inside of it makes progress on a worker",
          "[abandoning_timeout]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::circuit_breaker breaker({.failure_threshold = 1,
                                       .success_threshold = 1,
                                       .recovery_timeout = 5s,
                                       .half_open_max_calls = 1,
                                       .probe_lease = 3s},
                                      reg);
    const auto outer = breaker | rs::timeout({.idle = 10s}, reg);
    const rs::abandoning_timeout inner(1h, reg);
    (void)breaker.try_call([] { throw std::runtime_error("down"); });
    clock.advance(5s);

    outer([&] {
        inner([&clock, breaker](rs::call_context& ctx) {
            for (int i = 0; i < 10; ++i) {
                clock.advance(9s);
                ctx.progress();
                CHECK_FALSE(breaker.try_acquire());
            }
        });
    });

    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("progress of abandoned work extends no lease", "[abandoning_timeout]") {
    rs::testing::virtual_clock clock;
    rs::registry reg{clock};
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 5s, .probe_lease = 3s}, reg);
    const rs::abandoning_timeout limit({.limit = 20s, .idle = 10s}, reg);
    (void)breaker.try_call([] { throw std::runtime_error("down"); });
    clock.advance(5s);
    std::atomic<bool> may_go_on = false;

    const auto out = (breaker | limit).try_call([&](rs::call_context& ctx) {
        clock.advance(10s); // given up
        while (!may_go_on.load()) std::this_thread::yield();
        ctx.progress();
    });
    CHECK_FALSE(out);
    may_go_on = true;
    while (limit.stats().abandoned_running > 0) std::this_thread::yield();

    CHECK(breaker.state() == rs::circuit_state::open);
    CHECK(breaker.stats().late_results == 0);
}

} // namespace
