// SPDX-License-Identifier: Apache-2.0
// Work on threads that nobody joins: handed over once, claimed once.
//
// Breaks of the headers that were made by hand and were found:
//   worker: waits without looking for work; given work after the lock; left among the idle ones
//   run: claimed under two locks; the caller told before the claim; a wake-up taken for an end; the end asked for,
//   then claimed
#include "schedules/explore.hpp"
#include "schedules/world.hpp"

#include <resilience/abandoning_timeout.hpp>

#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

namespace {

namespace rs = resilience;
using rs::detail::worker_pool;
using schedules::explore;
using schedules::plain;
using schedules::together;
using schedules::world;
using namespace std::chrono_literals;

/// For each execution.
void begin_with_an_empty_pool() { ++rs::detail::processes; }

struct counted_job final : worker_pool::job {
    counted_job(int& runs, int n) : runs_(runs), number_(n) {}
    void run() override {
        EXPECT(number_.get() > 0);
        schedules::step();
        ++runs_;
    }
    void tell() noexcept override {}
    int& runs_;
    plain<int> number_;
};

TEST_CASE("every job is run once, by a thread that waits or a new one", "[worker_pool][H-TO-07][H-CPP-14]") {
    const auto scenario = [] {
        begin_with_an_empty_pool();
        int runs = 0;
        const auto start = [&](int n) {
            worker_pool::instance().start(std::make_shared<counted_job>(runs, n));
        };

        together([&] { start(1); },
                 [&] {
                     start(2);
                     start(3);
                 });

        schedules::rest();
        EXPECT(runs == 3);
        const auto idle = worker_pool::instance().idle();
        EXPECT(idle >= 1 && idle <= 3);
        start(4);
        schedules::rest();
        EXPECT(runs == 4 && worker_pool::instance().idle() == idle); // no new thread
    };

    explore("three jobs by two threads", {.within = {1, 0}}, scenario);
    explore("three jobs by two threads", {.random = 5000}, scenario);
}

TEST_CASE("of an end, a limit and a stop exactly one counts", "[abandoning_timeout][H-TO-03][H-TO-04]") {
    const auto scenario = [](bool limit_comes, bool stop_comes) {
        return [=] {
            begin_with_an_empty_pool();
            world w;
            w.clock.steady = !limit_comes && !stop_comes;
            const rs::abandoning_timeout limit(1s, w.reg);
            std::stop_source stop;
            struct work {
                plain<int> answer{42};
                bool ran = false;
            };
            const auto state = std::make_shared<work>();
            std::optional<rs::outcome<int>> out;
            const auto call = [&] {
                out.emplace(limit.with({.stop_token = stop.get_token()}).try_call([state] {
                    state->ran = true;
                    return state->answer.get();
                }));
                if (out->has_value()) EXPECT(out->value() == 42);
                EXPECT(state->answer.get() == 42);
            };
            const auto let_time_pass = [&] { w.clock.advance(1s); };
            const auto request = [&] {
                const schedules::undivided at_once;
                stop.request_stop();
            };

            if (limit_comes && stop_comes) together(call, let_time_pass, request);
            else if (limit_comes) together(call, let_time_pass);
            else if (stop_comes) together(call, request);
            else call();

            schedules::rest();
            const auto s = limit.stats();
            const bool late = !out->has_value() && out->error().code() == rs::errc::timed_out;
            const bool cancelled = !out->has_value() && out->error().code() == rs::errc::cancelled;
            EXPECT(out->has_value() + late + cancelled == 1);
            const bool begun = s.calls == 1; // else it was stopped before
            EXPECT(begun || cancelled);
            EXPECT(s.timed_out == late && s.cancelled == (begun && cancelled));
            EXPECT(s.abandoned_running == 0);
            EXPECT(s.late_results == (state->ran && !out->has_value()));
            EXPECT(state.use_count() == 1);
        };
    };

    explore("end and limit", {.within = {2, 0}}, scenario(true, false));
    explore("end and limit", {.within = {1, 1}}, scenario(true, false));
    explore("end and stop", {.within = {2, 0}}, scenario(false, true));
    explore("end and stop", {.within = {1, 1}}, scenario(false, true));
    explore("end, limit and stop", {.within = {1, 0}}, scenario(true, true));
    explore("end, limit and stop", {.random = 5000}, scenario(true, true));
    explore("end and limit, in real time", {.within = {1, 1}}, scenario(false, false));
    explore("end and limit, in real time", {.random = 3000}, scenario(false, false));
}

TEST_CASE("a caller that comes back finds what the worker left", "[abandoning_timeout][H-TO-01][H-CPP-14]") {
    const auto scenario = [] {
        begin_with_an_empty_pool();
        world w;
        const rs::abandoning_timeout limit(1s, w.reg);
        const auto call = [&](int n) {
            const auto out = limit.try_call([n] { return plain<int>(n); });
            EXPECT(out.value().get() == n);
        };

        together([&] { call(1); },
                 [&] {
                     call(2);
                     call(3);
                 });

        EXPECT(limit.stats().calls == 3);
    };

    explore("three calls by two threads", {.within = {1, 0}}, scenario);
    explore("three calls by two threads", {.random = 3000}, scenario);
}

TEST_CASE("the worker of a call that has returned is idle, whatever comes first",
          "[abandoning_timeout][H-TO-09]") {
    const auto scenario = [] {
        begin_with_an_empty_pool();
        world w;
        const rs::abandoning_timeout limit(1s, w.reg);

        (void)limit.try_call([] { return 1; });
        EXPECT(worker_pool::instance().idle() == 1);
        (void)limit.try_call([] { return 2; }); // on the same
        EXPECT(worker_pool::instance().idle() == 1);
    };

    explore("two calls, one after the other", {.within = {2, 0}}, scenario);
}

} // namespace
