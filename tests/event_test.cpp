// SPDX-License-Identifier: Apache-2.0
#include <resilience/event.hpp>

#include <resilience/circuit_breaker.hpp>
#include <resilience/testing/recorder.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using circuits::circuit_world;
using circuits::fail;
using circuits::succeed;
using rs::circuit_state;
using rs::event_kind;
using namespace std::chrono_literals;

TEST_CASE("every kind of event and every state has a name of its own", "[event]") {
    std::set<std::string_view> names;
    for (int kind = 0; kind <= static_cast<int>(event_kind::policy_updated); ++kind) {
        names.insert(to_string(static_cast<event_kind>(kind)));
    }
    CHECK(names.size() == static_cast<std::size_t>(event_kind::policy_updated) + 1);
    CHECK(names.count("unknown") == 0);
    CHECK(to_string(event_kind::state_changed) == "state_changed");
    CHECK(to_string(static_cast<event_kind>(250)) == "unknown");

    std::set<std::string_view> states;
    for (int s = 0; s <= static_cast<int>(circuit_state::metrics_only); ++s) {
        states.insert(to_string(static_cast<circuit_state>(s)));
    }
    CHECK(states.size() == static_cast<std::size_t>(circuit_state::metrics_only) + 1);
    CHECK(to_string(static_cast<circuit_state>(250)) == "unknown");
}

TEST_CASE("a change of state is told with the numbers of the state that ended", "[event][H-WIN-16]") {
    circuit_world w;
    rs::testing::recorder log(w.reg);
    const auto breaker = w.make({.name = "db",
                                 .failure_threshold = 3,
                                 .success_threshold = 2,
                                 .recovery_timeout = 5s,
                                 .failure_window = 60s});
    succeed(breaker, 4);
    w.clock.advance(1s);
    fail(breaker, 3);
    w.clock.advance(5s);
    succeed(breaker, 2);

    const auto events = log.of_kind(event_kind::state_changed);
    REQUIRE(events.size() == 3);
    const rs::event& opened = events[0];
    CHECK(opened.policy_kind == "circuit_breaker");
    CHECK(opened.policy == "db");
    CHECK(opened.from == circuit_state::closed);
    CHECK(opened.to == circuit_state::open);
    CHECK(opened.failure_count == 3);
    CHECK(opened.success_count == 4);
    CHECK(opened.reason == "failure_threshold");
    CHECK(opened.error == "service is down");
    CHECK(opened.error_type == "circuits::service_down");
    CHECK(opened.delay == rs::duration(5s));
    CHECK(opened.generation == 2);
    CHECK(opened.at == rs::testing::virtual_clock::start_time + 1s);
    CHECK(opened.wall == rs::testing::virtual_clock::start_wall_time + 1s);

    CHECK(events[1].to == circuit_state::half_open);
    CHECK(events[1].reason == "recovery_timeout");
    CHECK(events[1].failure_count == 3);
    CHECK(events[1].at == rs::testing::virtual_clock::start_time + 6s);
    CHECK(events[2].to == circuit_state::closed);
    CHECK(events[2].success_count == 2);
    CHECK(events[2].failure_count == 3);
    CHECK(events[2].reason == "success_threshold");
}

TEST_CASE("a rejection is told with operation, error and the time to come back", "[event]") {
    circuit_world w;
    const auto breaker = w.make_open({.name = "db", .recovery_timeout = 5s});
    rs::testing::recorder log(w.reg);
    w.clock.advance(1s);

    (void)breaker.named("search").try_call([] {});
    (void)breaker.try_acquire();

    REQUIRE(log.size() == 2);
    const rs::event e = log.events()[0];
    CHECK(e.kind == event_kind::call_rejected);
    CHECK(e.policy == "db");
    CHECK(e.operation == "search");
    CHECK(e.delay == rs::duration(4s));
    CHECK(e.error_type == "resilience::circuit_open_error");
    CHECK(e.error == "circuit 'db' is open; next probe in 4s");
    CHECK(e.to == circuit_state::open);
    CHECK(e.at == w.clock.now());
    CHECK(log.events()[1].operation.empty());
    CHECK(e.error_type == rs::failure(rs::rejection{.code = rs::errc::circuit_open}).type_name());
}

TEST_CASE("a listener may drop the circuit whose refusal it hears of", "[event]") {
    circuit_world w;
    std::optional<rs::circuit_breaker> breaker(w.make_open({.recovery_timeout = 5s}));
    int heard = 0;
    const auto listening = w.reg.subscribe([&](const rs::event&) {
        ++heard;
        breaker.reset();
    });

    const auto answer = breaker->try_call([] { return 1; });

    CHECK(heard == 1);
    CHECK(answer.error().code() == rs::errc::circuit_open);
}

TEST_CASE("on_state_change is called for each change, and for nothing else", "[event]") {
    circuit_world w;
    std::vector<rs::event> told;
    const auto breaker = w.make({.name = "db",
                                 .failure_threshold = 1,
                                 .recovery_timeout = 5s,
                                 .on_state_change = [&](const rs::event& e) { told.push_back(e); }});
    fail(breaker);
    succeed(breaker);
    w.clock.advance(5s);
    succeed(breaker, 2);
    breaker.metrics_only();
    fail(breaker);

    REQUIRE(told.size() == 4);
    for (std::size_t i = 0; i < told.size(); ++i) {
        CHECK(told[i].kind == event_kind::state_changed);
        CHECK(told[i].generation == i + 2);
    }
    CHECK(told[3].to == circuit_state::metrics_only);
}

TEST_CASE("a subscriber hears of all policies of its registry, and of no other's", "[event]") {
    circuit_world w;
    circuit_world elsewhere;
    rs::testing::recorder log(w.reg);
    rs::testing::recorder second(w.reg);

    (void)w.make_open({.name = "one"});
    (void)w.make_open();
    (void)elsewhere.make_open({.name = "other"});

    CHECK(log.size() == 2);
    CHECK(second.size() == 2);
    CHECK(log.events()[1].policy.empty());
}

TEST_CASE("a subscription ends with its handle, and one moved lives on", "[event][H-EV-05]") {
    circuit_world w;
    const auto breaker = w.make();
    int heard = 0;
    {
        auto first = w.reg.subscribe([&](const rs::event&) { ++heard; });
        breaker.reset();
        rs::subscription moved = std::move(first);
        breaker.reset();
        CHECK(heard == 2);
        rs::subscription replaced = w.reg.subscribe([&](const rs::event&) { heard += 100; });
        replaced = std::move(moved); // the one that it held has ended
        breaker.reset();
        CHECK(heard == 3);
        replaced.end();
        breaker.reset();
        replaced.end();
    }
    breaker.reset();

    CHECK(heard == 3);
}

TEST_CASE("a subscription may outlive its registry", "[event][H-REG-05]") {
    rs::testing::virtual_clock clock;
    auto reg = std::make_unique<rs::registry>(clock);
    int heard = 0;
    auto subscription = reg->subscribe([&](const rs::event&) { ++heard; });
    const rs::circuit_breaker breaker({.name = "db"}, *reg);

    reg.reset();
    breaker.reset();
    subscription.end();
    breaker.reset();

    CHECK(heard == 1);
    auto other = std::make_unique<rs::registry>(clock);
    auto alone = other->subscribe([](const rs::event&) {});
    other.reset();
    alone.end(); // nothing else was left of it
}

TEST_CASE("subscribing needs a function", "[event]") {
    circuit_world w;
    CHECK_THROWS_AS(w.reg.subscribe(nullptr), std::invalid_argument);
}

TEST_CASE("a listener that throws changes no outcome, is counted, and does not silence others",
          "[event][H-EV-02]") {
    circuit_world w;
    const auto first = w.reg.subscribe([](const rs::event&) { throw std::runtime_error("listener"); });
    const auto second = w.reg.subscribe([](const rs::event&) { throw 42; });
    rs::testing::recorder log(w.reg);
    const auto breaker =
        w.make({.failure_threshold = 1,
                .success_threshold = 1,
                .recovery_timeout = 5s,
                .on_state_change = [](const rs::event&) { throw std::logic_error("callback"); }});

    CHECK_THROWS_AS(breaker([] { throw circuits::service_down(); }), circuits::service_down);
    CHECK(w.reg.listener_errors() == 3);
    CHECK_THROWS_AS(breaker([] {}), rs::circuit_open_error);
    CHECK(w.reg.listener_errors() == 5);
    w.clock.advance(5s);
    CHECK(breaker([] { return 7; }) == 7);
    CHECK(w.reg.listener_errors() == 11);
    CHECK(log.size() == 4);
    {
        const auto dropped = breaker.try_acquire();
        breaker.force_open();
    } // settled in a destructor

    CHECK(breaker.state() == circuit_state::forced_open);
}

/// Everything that a listener might do, at every event of a circuit's life.
void live_through(circuit_world& w, const rs::circuit_breaker& breaker) {
    fail(breaker, 2);
    w.clock.advance(30s);
    succeed(breaker, 3);
    breaker.force_open("test");
    succeed(breaker);
    breaker.metrics_only();
    fail(breaker, 2);
    breaker.disable();
    breaker.open_for(1s);
    { auto probe = breaker.try_acquire(); }
    breaker.reset();
}

TEST_CASE("a listener may do anything to the circuit and the registry", "[event][H-EV-01][H-REG-01]") {
    circuit_world w;
    std::optional<rs::circuit_breaker> breaker;
    std::vector<rs::subscription> added;
    rs::subscription self;
    int depth = 0;
    int heard = 0;
    const std::pair<const char*, std::function<void()>> verbs[] = {
        {"state", [&] { (void)breaker->state(); }},
        {"stats", [&] { (void)breaker->stats(); }},
        {"call", [&] { succeed(*breaker); }},
        {"failing call", [&] { fail(*breaker); }},
        {"try_acquire", [&] { (void)breaker->try_acquire(); }},
        {"reset", [&] { breaker->reset(); }},
        {"force_open", [&] { breaker->force_open(); }},
        {"disable", [&] { breaker->disable(); }},
        {"metrics_only", [&] { breaker->metrics_only(); }},
        {"open_for", [&] { breaker->open_for(1s); }},
        {"update", [&] { breaker->update({.name = "db", .failure_threshold = 2}); }},
        {"look at the registry",
         [&] {
             (void)w.reg.health();
             (void)w.reg.policies();
             (void)w.reg.find<rs::circuit_breaker>("db");
         }},
        {"make another", [&] { (void)w.make({.name = "other"}); }},
        {"remove", [&] { w.reg.remove("db"); }},
        {"subscribe", [&] { added.push_back(w.reg.subscribe([&](const rs::event&) { ++heard; })); }},
        {"unsubscribe itself", [&] { self.end(); }},
        {"unsubscribe another",
         [&] {
             if (!added.empty()) added.pop_back();
         }},
    };

    for (const auto& each : verbs) {
        const auto& name = each.first;
        const auto& verb = each.second;
        CAPTURE(name);
        w.reg.remove("db");
        breaker.emplace(w.make({.name = "db", .failure_threshold = 2}));
        heard = 0;
        self = w.reg.subscribe([&](const rs::event&) {
            ++heard;
            if (depth > 0 || heard > 200) return;
            ++depth;
            verb();
            --depth;
        });
        live_through(w, *breaker);
        CHECK(heard > 0);
        self.end();
        added.clear();
    }
}

TEST_CASE("on_state_change may drop the last handle", "[event][H-EV-01][H-CPP-23]") {
    circuit_world w;
    std::optional<rs::circuit_breaker> breaker;
    const auto make = [&] {
        breaker.emplace(w.make({.failure_threshold = 1,
                                .recovery_timeout = 5s,
                                .on_state_change = [&](const rs::event&) { breaker.reset(); }}));
    };

    make();
    breaker->reset();
    CHECK_FALSE(breaker);

    make();
    auto permit = breaker->try_acquire();
    permit->failure();
    CHECK_FALSE(breaker);

    rs::subscription listener;
    make();
    breaker->update({.failure_threshold = 1, .recovery_timeout = 5s});
    fail(rs::circuit_breaker(*breaker));
    w.clock.advance(5s);
    breaker.emplace(w.make_open({.recovery_timeout = 5s}));
    listener = w.reg.subscribe([&](const rs::event&) { breaker.reset(); });
    CHECK_FALSE(breaker->try_acquire());
    CHECK_FALSE(breaker);
    listener.end();
    breaker.emplace(w.make_ready({.recovery_timeout = 5s}));
    listener = w.reg.subscribe([&](const rs::event&) { breaker.reset(); });
    CHECK(breaker->try_acquire());
    CHECK_FALSE(breaker);
}

TEST_CASE("listeners added and removed during a delivery do not disturb it", "[event][H-EV-04]") {
    circuit_world w;
    const auto breaker = w.make();
    std::vector<rs::subscription> listeners;
    int early = 0;
    int late = 0;
    listeners.push_back(w.reg.subscribe([&](const rs::event&) {
        if (++early > 1) return;
        listeners.erase(listeners.begin() + 1, listeners.end()); // these are ended and hear nothing any more
        for (int i = 0; i < 20; ++i) listeners.push_back(w.reg.subscribe([&](const rs::event&) { ++late; }));
    }));
    int removed = 0;
    for (int i = 0; i < 3; ++i) listeners.push_back(w.reg.subscribe([&](const rs::event&) { ++removed; }));

    breaker.reset();
    CHECK(early == 1);
    CHECK(removed == 0);
    CHECK(late == 0);
    breaker.reset();
    CHECK(late == 20);
}

TEST_CASE("events caused inside of a listener come after the one that is being told", "[event][H-EV-03]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1});
    const auto listener = w.reg.subscribe([&](const rs::event& e) {
        if (e.to == circuit_state::open && e.kind == event_kind::state_changed) breaker.reset("at once");
    });
    rs::testing::recorder log(w.reg);

    for (int i = 0; i < 100; ++i) fail(breaker);

    const auto events = log.of_kind(event_kind::state_changed);
    REQUIRE(events.size() == 200);
    for (std::size_t i = 0; i < events.size(); ++i) {
        REQUIRE(events[i].generation == i + 2);
        if (i > 0) REQUIRE(events[i].from == events[i - 1].to);
    }
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("a listener that blocks does not hold up other callers", "[event][H-EV-06]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1, .recovery_timeout = 5s});
    std::mutex mutex;
    std::condition_variable changed;
    bool inside = false;
    bool release = false;
    std::vector<std::uint64_t> heard;
    const auto listener = w.reg.subscribe([&](const rs::event& e) {
        std::unique_lock lock(mutex);
        heard.push_back(e.generation);
        if (inside) return;
        inside = true;
        changed.notify_all();
        changed.wait(lock, [&] { return release; });
    });
    std::thread other([&] { breaker.reset(); });
    {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return inside; });
    }

    fail(breaker);
    CHECK(breaker.state() == circuit_state::open);
    breaker.reset();
    succeed(breaker);
    CHECK(breaker.stats().successes == 1);
    {
        const std::lock_guard lock(mutex);
        release = true;
    }
    changed.notify_all();
    other.join();

    CHECK(heard == std::vector<std::uint64_t>{2, 3, 4});
}

TEST_CASE("the end of a subscription waits for its function on another thread", "[event]") {
    circuit_world w;
    const auto breaker = w.make();
    std::mutex mutex;
    std::condition_variable changed;
    bool inside = false;
    bool release = false;
    bool returned = false;
    auto subscription = w.reg.subscribe([&](const rs::event&) {
        std::unique_lock lock(mutex);
        inside = true;
        changed.notify_all();
        changed.wait(lock, [&] { return release; });
        returned = true;
    });
    std::thread caller([&] { breaker.reset(); });
    std::thread helper([&] {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return inside; });
        release = true;
        changed.notify_all();
    });
    {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return inside; });
    }
    subscription.end();

    CHECK(returned);
    caller.join();
    helper.join();
}

TEST_CASE("without listeners no event is made", "[event]") {
    circuit_world w;
    const auto breaker = w.make({.failure_threshold = 1});
    fail(breaker);
    rs::testing::recorder log(w.reg);
    succeed(breaker);

    CHECK(log.count(event_kind::state_changed) == 0);
    CHECK(log.count(event_kind::call_rejected) == 1);
}

} // namespace
