// SPDX-License-Identifier: Apache-2.0
// Delivery of events: in order, once, and not after a subscription has ended.
//
// Breaks of the headers that were made by hand and were found:
//   journal: two threads deliver at once; `delivering_` cleared after the lock is let go
//   subscriber: `ended_in_` asked before `running_` is counted; end() does not wait, or waits for its own
//   thread too; nobody is woken
#include "schedules/explore.hpp"
#include "schedules/world.hpp"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using rs::circuit_state;
using schedules::explore;
using schedules::together;
using schedules::world;
using namespace std::chrono_literals;

TEST_CASE("changes of state are told in the order of generations, each once, whoever tells them",
          "[event][H-EV-03]") {
    const auto scenario = [](bool subscribes, int changers) {
        return [=] {
            world w;
            std::vector<std::uint64_t> told;
            bool inside = false;
            const auto note = [&](const rs::event& e) {
                EXPECT(!std::exchange(inside, true));
                told.push_back(e.generation);
                schedules::step();
                inside = false;
            };
            rs::circuit_breaker_config config{};
            if (!subscribes) config.on_state_change = note;
            const rs::circuit_breaker breaker(config, w.reg);
            rs::subscription listening;
            if (subscribes) listening = w.reg.subscribe(note);
            const auto change = [&] { breaker.force_open(); };

            if (changers == 3) together(change, change, change);
            else together([&] { change(), change(); }, change);

            EXPECT(told == std::vector<std::uint64_t>{2, 3, 4});
        };
    };

    explore("three changes by two threads, on_state_change", {}, scenario(false, 2));
    explore("three changes by two threads, subscribed", {}, scenario(true, 2));
    explore("three changes by three threads, subscribed", {.random = 3000}, scenario(true, 3));
}

TEST_CASE("what a listener changes is told after what it was told of", "[event][H-EV-01][H-EV-03]") {
    const auto scenario = [] {
        world w;
        std::vector<circuit_state> told;
        std::optional<rs::circuit_breaker> breaker;
        const auto listening = w.reg.subscribe([&](const rs::event& e) {
            told.push_back(e.to);
            if (e.to == circuit_state::forced_open) breaker->reset();
        });
        breaker.emplace(rs::circuit_breaker_config{}, w.reg);

        together([&] { breaker->force_open(); }, [&] { breaker->disable(); });

        const std::vector<circuit_state> one{circuit_state::forced_open, circuit_state::closed,
                                             circuit_state::disabled};
        const std::vector<circuit_state> two{circuit_state::forced_open, circuit_state::disabled,
                                             circuit_state::closed};
        const std::vector<circuit_state> three{circuit_state::disabled, circuit_state::forced_open,
                                               circuit_state::closed};
        EXPECT(told == one || told == two || told == three);
    };

    explore("a listener that resets", {}, scenario);
}

TEST_CASE("once a subscription has ended nobody is in its function, and nobody enters it",
          "[event][H-EV-04]") {
    const auto scenario = [](int tellers) {
        return [=] {
            world w;
            rs::detail::event_hub& hub = w.reg.env()->hub;
            auto alive = std::make_unique<int>(1); // what the function uses
            auto listening = w.reg.subscribe([&](const rs::event&) {
                EXPECT(alive != nullptr);
                schedules::step();
                EXPECT(alive != nullptr);
            });
            const auto tell = [&] { hub.deliver(rs::event{}); };
            const auto end = [&] {
                listening.end();
                alive.reset();
            };

            if (tellers == 1) together(tell, end);
            else together(tell, tell, end);
        };
    };

    explore("deliver and end", {.within = {3, 1}}, scenario(1));
    explore("two deliver and end", {.within = {2, 0}}, scenario(2));
}

TEST_CASE("a subscription may end inside its function, on one thread or two", "[event][H-EV-01][H-EV-04]") {
    // The first to come ends it; another one that is inside then is waited for.
    const auto scenario = [](bool end_outside_too) {
        return [=] {
            world w;
            rs::detail::event_hub& hub = w.reg.env()->hub;
            rs::subscription listening;
            rs::detail::mutex guard; // of `listening`: a subscription is no shared object
            bool ended = false;
            int entered = 0;
            const auto end = [&] {
                rs::subscription last;
                {
                    const rs::detail::lock_guard lock(guard);
                    last = std::move(listening);
                }
                last.end();
            };
            listening = w.reg.subscribe([&](const rs::event&) {
                EXPECT(!ended);
                ++entered;
                end();
            });
            const auto tell = [&] { hub.deliver(rs::event{}); };

            if (end_outside_too) together(tell, end);
            else together(tell, tell);

            ended = true;
            tell();
            EXPECT(entered <= 2);
        };
    };

    explore("end from inside and outside", {}, scenario(true));
    explore("end from inside, two threads", {}, scenario(false));
}

TEST_CASE("a listener may end another one's subscription", "[event][H-EV-01]") {
    const auto scenario = [] {
        world w;
        rs::detail::event_hub& hub = w.reg.env()->hub;
        rs::subscription second;
        bool is_over = false;
        const auto first = w.reg.subscribe([&](const rs::event& e) {
            if (e.attempt != 1) return;
            second.end();
            is_over = true;
        });
        second = w.reg.subscribe([&](const rs::event&) {
            EXPECT(!is_over);
            schedules::step();
            EXPECT(!is_over);
        });

        together([&] { hub.deliver({.attempt = 1}); }, [&] { hub.deliver({.attempt = 2}); });
        EXPECT(is_over);
    };

    explore("one listener ends another", {}, scenario);
}

} // namespace
