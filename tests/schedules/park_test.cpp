// SPDX-License-Identifier: Apache-2.0
// Calls that are parked and woken, give up, are stopped or destroyed at the same moment.
//
// Breaks of the headers that were made by hand and were found:
//   a wake-up that comes before the sleep is forgotten (waiter::park makes a new stop source)
//   a call that gives up does not hand on what it was given (turnstile's leave() without give_locked())
//   a wake-up is done by the waiter itself, which may be gone (wake_up keeps a pointer to it)
#include "schedules/explore.hpp"
#include "schedules/sleeping_clock.hpp"
#include "schedules/world.hpp"
#include "support/turnstile.hpp"

#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using schedules::explore;
using schedules::together;
using support::turnstile;

struct parking_world {
    explicit parking_world(unsigned places) : gate(places, 1s) {}

    schedules::sleeping_clock clock{};
    schedules::half random{};
    rs::registry reg{clock, random};
    turnstile gate;
    rs::pipeline<turnstile, rs::retry> guard = rs::pipeline{gate} | rs::retry({.max_attempts = 1}, reg);
    rs::detail::atomic<int> inside{0};

    /// True if it ran.
    bool call(const rs::call_options& options = {}) {
        return guard.with(options)
            .try_call([&] {
                EXPECT(inside.fetch_add(1) == 0);
                inside.fetch_sub(1);
            })
            .has_value();
    }
    void give() { (void)gate.give(); }
    void at_rest(unsigned places) {
        EXPECT(gate.free() == places);
        EXPECT(!gate.has_waiters());
    }
};

TEST_CASE("a place that is given while a call gives up, is stopped or comes to its deadline is not lost",
          "[park]") {
    enum class by { nothing, until, deadline, stop };
    const auto scenario = [](by how) {
        return [how] {
            parking_world w(1);
            EXPECT(w.gate.take());
            std::stop_source stop;
            rs::call_options options{.stop_token = stop.get_token()};
            if (how == by::deadline) options.deadline = w.clock.now() + 1ms;
            bool ran = false;
            const auto waits = [&] { ran = w.call(options); };
            const auto gives = [&] { w.give(); };
            const auto ends = [&] {
                if (how == by::stop) stop.request_stop();
                else w.clock.pass_all_time();
            };

            if (how == by::nothing) together(waits, gives);
            else together(waits, gives, ends);

            EXPECT(ran || how != by::nothing);
            w.at_rest(1);
        };
    };

    explore("wake", {.within = {4, 1}}, scenario(by::nothing));
    for (const auto how : {by::until, by::deadline, by::stop}) {
        explore("wake and end", {.within = {1, 1}}, scenario(how));
        explore("wake and end", {.random = 3000}, scenario(how));
    }
}

TEST_CASE("two calls that wait for one place run one after the other", "[park]") {
    const auto scenario = [] {
        parking_world w(1);
        EXPECT(w.gate.take());
        bool one = false, other = false;

        together([&] { one = w.call(); }, [&] { other = w.call(); }, [&] { w.give(); });

        EXPECT(one && other);
        w.at_rest(1);
    };

    explore("two waiters, one place", {.within = {2, 0}}, scenario);
    explore("two waiters, one place", {.random = 5000}, scenario);
}

TEST_CASE("two calls that give up while a place is given leave it free", "[park]") {
    const auto scenario = [] {
        parking_world w(1);
        EXPECT(w.gate.take());

        together([&] { (void)w.call(); }, [&] { (void)w.call(); }, [&] { w.give(); },
                 [&] { w.clock.pass_all_time(); });

        w.at_rest(1);
    };

    explore("two waiters give up", {.random = 5000}, scenario);
}

TEST_CASE("a per-call object that is destroyed while it is woken hands its place on", "[park]") {
    const auto scenario = [] {
        parking_world w(1);
        EXPECT(w.gate.take());
        rs::call_context first_ctx(w.clock), second_ctx(w.clock);
        std::unique_ptr<turnstile::call> first(new turnstile::call(w.gate.begin(first_ctx)));
        turnstile::call second(w.gate.begin(second_ctx));
        EXPECT(first->admit(first_ctx).what() == rs::admission::kind::park);
        EXPECT(second.admit(second_ctx).what() == rs::admission::kind::park);

        together([&] { first.reset(); }, [&] { w.give(); });

        EXPECT(second.admit(second_ctx).what() == rs::admission::kind::go);
    };

    explore("destroyed and woken", {.within = {3, 1}}, scenario);
}

} // namespace
