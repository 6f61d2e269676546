// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker/events.hpp>

#include "support/catch.hpp"
#include "support/plain_policy.hpp"
#include "support/world.hpp"

#include <chrono>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;
using rs::event_kind;
using rs::detail::noted_failure;
using namespace std::chrono_literals;

constexpr const noted_failure* no_failure = nullptr;

/// The events of a circuit named "db", and of whoever listens.
struct events_world : support::world {
    std::vector<rs::event> called_back;
    bool callback_throws = false;
    support::plain_policy policy{"db", reg, "circuit_breaker"};
    rs::detail::config_cell<rs::circuit_breaker_config> config{rs::circuit_breaker_config{}};
    rs::detail::circuit_events events{policy, config};
    rs::detail::mutex mutex;
    rs::detail::moment now{clock.now()};

    void set_callback() {
        config.replace({.on_state_change = [this](const rs::event& e) {
            called_back.push_back(e);
            if (callback_throws) throw 42;
        }});
    }
    void put(event_kind kind, std::uint64_t generation) {
        const rs::detail::lock_guard lock(mutex);
        events.put_locked(kind, now, [&](rs::event& e) {
            e.generation = generation;
            return no_failure;
        });
    }
};

TEST_CASE("an event that nobody would hear is not made", "[circuit_events]") {
    events_world w;
    int described = 0;
    const auto describe = [&](rs::event&) {
        ++described;
        return no_failure;
    };

    w.events.put_locked(event_kind::state_changed, w.now, describe);
    CHECK(described == 0);
    CHECK_FALSE(w.events.are_waiting_locked());

    w.set_callback();
    w.events.put_locked(event_kind::would_have_tripped, w.now,
                        describe); // the callback is for changes of state
    CHECK(described == 0);
    w.events.put_locked(event_kind::state_changed, w.now, describe);
    CHECK(described == 1);
    CHECK(w.events.are_waiting_locked());
}

TEST_CASE("events say whose they are and when, and are delivered to callback and listeners in order",
          "[circuit_events]") {
    events_world w;
    std::vector<rs::event> heard;
    const auto listening = w.reg.subscribe([&](const rs::event& e) { heard.push_back(e); });
    w.set_callback();

    w.put(event_kind::state_changed, 2);
    w.put(event_kind::would_have_tripped, 2);
    w.put(event_kind::state_changed, 3);
    CHECK(heard.empty());
    const auto wall = w.clock.wall_now();
    w.clock.advance(7s); // whoever delivers is late
    w.events.deliver(w.mutex);

    REQUIRE(heard.size() == 3);
    CHECK(heard[0].policy_kind == "circuit_breaker");
    CHECK(heard[0].policy == "db");
    CHECK(heard[0].at == w.now.now);
    CHECK(heard[0].wall == wall);
    CHECK(heard[1].kind == event_kind::would_have_tripped);
    CHECK(heard[2].generation == 3);
    REQUIRE(w.called_back.size() == 2);
    CHECK(w.called_back[0].generation == 2);
    CHECK(w.called_back[1].generation == 3);
}

TEST_CASE("what a callback throws, and an event that cannot be made, is counted", "[circuit_events]") {
    events_world w;
    w.set_callback();
    w.callback_throws = true;
    w.put(event_kind::state_changed, 2);

    w.events.deliver(w.mutex);
    CHECK(w.called_back.size() == 1);
    CHECK(w.reg.env()->hub.errors() == 1);

    w.events.put_locked(event_kind::state_changed, w.now,
                        [](rs::event&) -> const noted_failure* { throw std::bad_alloc(); });
    CHECK_FALSE(w.events.are_waiting_locked());
    CHECK(w.reg.env()->hub.errors() == 2);
}

TEST_CASE("a rejection is told at once, with its words", "[circuit_events]") {
    events_world w;
    std::vector<rs::event> heard;
    const auto listening = w.reg.subscribe([&](const rs::event& e) { heard.push_back(e); });

    w.events.publish_rejected({.code = rs::errc::circuit_open, .retry_after = 3s}, "get",
                              rs::circuit_state::open);
    w.events.publish_rejected({.code = rs::errc::circuit_open}, {}, rs::circuit_state::half_open);

    REQUIRE(heard.size() == 2);
    CHECK(heard[0].kind == event_kind::call_rejected);
    CHECK(heard[0].policy == "db");
    CHECK(heard[0].operation == "get");
    CHECK(heard[0].from == rs::circuit_state::open);
    CHECK(heard[0].to == rs::circuit_state::open);
    CHECK(heard[0].delay == 3s);
    CHECK(heard[0].error_type == "resilience::circuit_open_error");
    CHECK(heard[0].error == "circuit is open; next probe in 3s");
    CHECK(heard[1].to == rs::circuit_state::half_open);
    CHECK(heard[1].delay == rs::event{}.delay);
}

} // namespace
