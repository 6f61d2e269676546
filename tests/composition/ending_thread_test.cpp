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
// which has no object, for one to null.
#if !SANITIZED_ADDRESS

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
