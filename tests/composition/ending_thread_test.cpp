// SPDX-License-Identifier: Apache-2.0
// A thread may end (pthread_exit, cancellation) inside any code of the user's that we run: the exception
// that unwinds it must be neither swallowed, which would end the program, nor leave anything behind.
#include <resilience/resilience.hpp>

#include <pthread.h>
#include <functional>
#include <optional>
#include <stdexcept>
#include <thread>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"
#include "support/world.hpp"

// The sanitizer for undefined behaviour (it comes with the one for addresses) takes the reference to a forced unwind,
// which has no object, for one to null. Not every C++ library lets one through a catch (...).
#if !SANITIZED_ADDRESS && RESILIENCE_FORCED_UNWIND

namespace rs = resilience;
using namespace std::chrono_literals;
using support::world;

namespace {

/// Runs f on a thread of its own. True if the thread ended inside of it.
template <class F>
bool ends_the_thread(F f) {
    bool returned = false;
    std::thread([&] {
        f();
        returned = true;
    }).join();
    return !returned;
}

int throws_no() { throw std::runtime_error("no"); }

} // namespace

TEST_CASE("a thread may end inside a predicate of a probe, whose place is free again",
          "[circuit_breaker][H-TO-08][H-CPP-11][H-CB-09]") {
    world w;
    bool end = false;
    const rs::circuit_breaker breaker({.failure_threshold = 1,
                                       .success_threshold = 1,
                                       .recovery_timeout = 5s,
                                       .record_if =
                                           [&](const rs::failure&) {
                                               if (end) pthread_exit(nullptr);
                                               return true;
                                           }},
                                      w.reg);
    CHECK_THROWS(breaker(throws_no));
    w.clock.advance(5s);
    end = true;
    bool by_permit = GENERATE(false, true);

    CHECK(ends_the_thread([&] {
        if (!by_permit) {
            (void)breaker.try_call(throws_no);
            return;
        }
        auto permit = breaker.try_acquire();
        REQUIRE(permit);
        permit->settle(rs::retry({.max_attempts = 1}, w.reg).try_call(throws_no));
    }));

    CHECK(breaker.state() == rs::circuit_state::half_open);
    CHECK(breaker([] { return 1; }) == 1);
    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("a thread may end inside a listener, and the next event is delivered",
          "[circuit_breaker][events][H-TO-08][H-CPP-11][H-EV-02]") {
    world w;
    int callbacks = 0;
    int heard = 0;
    const bool in_callback = GENERATE(false, true);
    const rs::circuit_breaker breaker({.failure_threshold = 1,
                                       .on_state_change =
                                           [&](const rs::event&) {
                                               if (++callbacks == 1 && in_callback) pthread_exit(nullptr);
                                           }},
                                      w.reg);
    auto listening = w.reg.subscribe([&](const rs::event& e) {
        if (e.kind == rs::event_kind::state_changed && ++heard == 1 && !in_callback) pthread_exit(nullptr);
    });

    CHECK(ends_the_thread([&] { (void)breaker.try_call(throws_no); }));
    CHECK(breaker.state() == rs::circuit_state::open);
    breaker.reset();

    CHECK(callbacks == 2);
    CHECK(heard == (in_callback ? 1 : 2));
    listening.end(); // does not wait for the delivery that never returned
}

/// A listener of one kind or the other that ends its thread where a circuit goes to that state.
struct ends_at {
    world& w;
    bool in_callback;
    rs::circuit_state to;
    bool awake = true;
    std::function<void(const rs::event&)> callback() const {
        return [this](const rs::event& e) {
            if (awake && in_callback && e.to == to) pthread_exit(nullptr);
        };
    }
    rs::subscription subscribe() const {
        return w.reg.subscribe([this](const rs::event& e) {
            if (awake && !in_callback && e.kind == rs::event_kind::state_changed && e.to == to)
                pthread_exit(nullptr);
        });
    }
};

TEST_CASE("a thread may end inside a listener that is told of a recovery",
          "[circuit_breaker][events][H-TO-08][H-CPP-11]") {
    world w;
    const ends_at listener{w, GENERATE(false, true), rs::circuit_state::closed};
    const bool by_permit = GENERATE(false, true);
    const rs::circuit_breaker breaker({.failure_threshold = 1,
                                       .success_threshold = 1,
                                       .recovery_timeout = 5s,
                                       .on_state_change = listener.callback()},
                                      w.reg);
    const auto listening = listener.subscribe();
    CHECK_THROWS(breaker(throws_no));
    w.clock.advance(5s);

    CHECK(ends_the_thread([&] {
        if (by_permit) breaker.try_acquire()->success();
        else (void)breaker.try_call([] { return 1; });
    }));

    CHECK(breaker.state() == rs::circuit_state::closed);
    CHECK(breaker.stats().successes == 1);
    CHECK(breaker.stats().ignored == 0);
    CHECK(breaker([] { return 1; }) == 1);
}

TEST_CASE(
    "a thread may end inside a listener that is told of a trip by a slow success, and leaves no policy "
    "unsettled",
    "[circuit_breaker][events][H-TO-08][H-CPP-11]") {
    world w;
    const ends_at listener{w, GENERATE(false, true), rs::circuit_state::open};
    const rs::circuit_breaker trips({.slow_call_duration = 1s,
                                     .slow_call_rate_threshold = 0.5,
                                     .minimum_calls = 1,
                                     .on_state_change = listener.callback()},
                                    w.reg);
    const rs::circuit_breaker other({}, w.reg);
    const auto listening = listener.subscribe();
    const auto slow = [&] {
        w.clock.advance(2s);
        return 1;
    };

    SECTION("alone") {
        CHECK(ends_the_thread([&] { (void)trips.try_call(slow); }));
    }
    SECTION("by a permit") {
        CHECK(ends_the_thread([&] {
            auto permit = trips.try_acquire();
            slow();
            permit->success();
        }));
    }
    SECTION("around another, which has yet to be settled") {
        CHECK(ends_the_thread([&] { (void)(trips | other).try_call(slow); }));
        CHECK(other.stats().successes + other.stats().ignored == 1);
    }
    SECTION("inside of another") {
        CHECK(ends_the_thread([&] { (void)(other | trips).try_call(slow); }));
        CHECK(other.stats().successes + other.stats().ignored == 1);
    }

    CHECK(trips.state() == rs::circuit_state::open);
    CHECK(trips.stats().slow == 1);
    CHECK(trips.stats().successes == 1);
    CHECK(trips.stats().ignored == 0);
}

TEST_CASE("a thread may end inside a listener that is told of a lost probe, found by one that is ignored",
          "[circuit_breaker][events][H-TO-08][H-CPP-11]") {
    world w;
    ends_at listener{w, GENERATE(false, true), rs::circuit_state::open, false};
    const rs::circuit_breaker breaker({.success_threshold = 2,
                                       .recovery_timeout = 5s,
                                       .probe_lease = 60s,
                                       .ignore_if = [](const rs::failure&) { return true; },
                                       .on_state_change = listener.callback()},
                                      w.reg);
    const auto listening = listener.subscribe();
    breaker.open_for(0s);
    const auto lost = breaker.try_acquire();
    REQUIRE(lost);
    listener.awake = true;

    CHECK(ends_the_thread([&] {
        (void)breaker.try_call([&]() -> int {
            w.clock.advance(60s);
            return throws_no();
        });
    }));

    CHECK(breaker.state() == rs::circuit_state::open);
    CHECK(breaker.stats().ignored == 1);
}

TEST_CASE("a thread may end inside what a retry and a fallback ask", "[retry][fallback][H-TO-08][H-CPP-11]") {
    world w;
    const auto end = [](auto&&...) -> bool { pthread_exit(nullptr); };
    const auto end_delay = [](unsigned, const rs::failure&) -> std::optional<rs::duration> {
        pthread_exit(nullptr);
    };

    CHECK(ends_the_thread([&] { (void)rs::retry({.retry_if = end}, w.reg).try_call(throws_no); }));
    CHECK(
        ends_the_thread([&] { (void)rs::retry({.delay_override = end_delay}, w.reg).try_call(throws_no); }));
    CHECK(ends_the_thread([&] { (void)rs::fallback_if(end, 1).try_call(throws_no); }));
    CHECK(ends_the_thread([&] {
        const auto answer = [](const rs::failure&) -> int { pthread_exit(nullptr); };
        (void)rs::fallback(answer).try_call(throws_no);
    }));
    CHECK(ends_the_thread([&] {
        const auto make = [](const rs::failure&) -> std::exception_ptr { pthread_exit(nullptr); };
        const rs::timeout limit({.limit = 1s, .make_exception = make}, w.reg);
        (void)limit.try_call([&] {
            w.clock.advance(2s);
            return 1;
        });
    }));
}

#endif
