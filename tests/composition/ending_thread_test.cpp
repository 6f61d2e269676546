// SPDX-License-Identifier: Apache-2.0
// A thread may end (pthread_exit, cancellation) inside a call: the exception that unwinds it must be neither swallowed,
// which would end the program, nor leave anything behind. It must not end inside a predicate or a listener.
#include <resilience/resilience.hpp>

#include <pthread.h>
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
int ends_thread() { pthread_exit(nullptr); }

} // namespace

TEST_CASE("a thread may end inside a call, which its circuits ignore", "[circuit_breaker]") {
    world w;
    const rs::circuit_breaker outer({}, w.reg);
    const rs::circuit_breaker inner({}, w.reg);
    const rs::retry retry(support::plain(), w.reg);

    SECTION("on the fast path") {
        CHECK(ends_the_thread([&] { (void)(outer | retry | inner).try_call(ends_thread); }));
        CHECK(inner.stats().failures == 0);
    }
    SECTION("after a failure") {
        int attempts = 0;
        CHECK(ends_the_thread([&] {
            (void)(outer | retry | inner).try_call([&] {
                return ++attempts == 1 ? throws_no() : ends_thread();
            });
        }));
        CHECK(inner.stats().failures == 1);
    }

    CHECK(outer.stats().ignored == 1);
    CHECK(outer.stats().calls == 1);
    CHECK(inner.stats().ignored == 1);
    CHECK((outer | retry | inner)([] { return 1; }) == 1);
}

TEST_CASE("a thread may end inside a probe, whose place is free again", "[circuit_breaker]") {
    world w;
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 5s}, w.reg);
    CHECK_THROWS(breaker(throws_no));
    w.clock.advance(5s);
    const bool by_permit = GENERATE(false, true);

    CHECK(ends_the_thread([&] {
        if (!by_permit) {
            (void)breaker.try_call(ends_thread);
            return;
        }
        auto permit = breaker.try_acquire();
        REQUIRE(permit);
        ends_thread();
    }));

    CHECK(breaker.state() == rs::circuit_state::half_open);
    CHECK(breaker.stats().ignored == 1);
    CHECK(breaker([] { return 1; }) == 1);
    CHECK(breaker.state() == rs::circuit_state::closed);
}

TEST_CASE("a thread may end inside a fallback's answer", "[fallback]") {
    const auto answer = [](const rs::failure&) -> int { pthread_exit(nullptr); };

    CHECK(ends_the_thread([&] { (void)rs::fallback(answer).try_call(throws_no); }));
}

#endif
