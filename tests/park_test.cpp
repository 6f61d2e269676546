// SPDX-License-Identifier: Apache-2.0
// Calls that a policy parks, through both drivers.
#include <resilience/resilience.hpp>

#include "support/catch.hpp"
#include "support/lazy.hpp"
#include "support/turnstile.hpp"
#include "support/world.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;
using support::at_once;
using support::lazy;
using support::turnstile;
using support::world;

/// The two drivers: run() lets time pass until the call has ended.
struct blocking_calls {
    template <class View>
    static std::string run(world&, View&& view) {
        return said(std::forward<View>(view).try_call([] { return 1; }));
    }
    static std::string said(const rs::outcome<int>& out) {
        return out ? "ran" : out.error().code().message();
    }
};
struct task_calls {
    template <class View>
    static std::string run(world& w, View&& view) {
        auto task = std::forward<View>(view).try_call([]() -> lazy<int> { co_return 1; });
        task.start();
        w.clock.advance(1h);
        return blocking_calls::said(task.result());
    }
};
/// Calls check(driver, guard, gate): the gate alone, among others, and in a pipeline made at run time.
template <class Check>
void with_each_driver(Check check) {
    const auto with_guards = [&](auto driver) {
        for (const int shape : {0, 1, 2}) {
            world w;
            const turnstile gate(1, 10s);
            const rs::retry retry(at_once(1), w.reg);
            const rs::circuit_breaker breaker({}, w.reg);
            CAPTURE(shape);
            if (shape == 0) check(driver, w, rs::pipeline{gate} | rs::retry(at_once(1), w.reg), gate);
            if (shape == 1) check(driver, w, retry | breaker | gate | rs::timeout(1h, w.reg), gate);
            if (shape == 2) check(driver, w, rs::any_pipeline(retry, gate, breaker), gate);
        }
    };
    with_guards(blocking_calls{});
    with_guards(task_calls{});
}

} // namespace

TEST_CASE("a parked call runs at the moment when it is woken", "[park]") {
    with_each_driver([](auto driver, world& w, const auto& guard, const turnstile& gate) {
        REQUIRE(gate.take());
        rs::time_point ran_at{};
        const auto timer = w.clock.call_at(w.clock.now() + 3s, [&] {
            ran_at = w.clock.now();
            gate.give().now();
        });
        const auto begun = w.clock.now();

        CHECK(driver.run(w, guard.with({})) == "ran");

        CHECK(ran_at - begun == 3s);
        CHECK(gate.asked() == 2);
        CHECK(gate.free() == 1);
        CHECK_FALSE(gate.has_waiters());
        CHECK(w.clock.pending_timers() == 0);
    });
}

TEST_CASE("a park ends at its moment, not a tick before", "[park]") {
    with_each_driver([](auto driver, world& w, const auto& guard, const turnstile& gate) {
        REQUIRE(gate.take());
        bool waited_before = false, waited_after = true;
        const auto before =
            w.clock.call_at(w.clock.now() + 10s - 1ns, [&] { waited_before = gate.has_waiters(); });
        const auto after =
            w.clock.call_at(w.clock.now() + 10s + 1ns, [&] { waited_after = gate.has_waiters(); });

        CHECK(driver.run(w, guard.with({})) == "bulkhead is full");
        w.clock.advance(1s);

        CHECK(waited_before);
        CHECK_FALSE(waited_after);
        CHECK(gate.asked() == 2);
        gate.give().now();
        CHECK(gate.free() == 1);
    });
}

TEST_CASE("the call's deadline and a stop request end a park", "[park]") {
    with_each_driver([](auto driver, world& w, const auto& guard, const turnstile& gate) {
        REQUIRE(gate.take());
        std::stop_source stop;
        std::optional<rs::time_point> left_at;
        const auto look = [&] {
            if (!gate.has_waiters() && !left_at) left_at = w.clock.now();
        };
        const auto begun = w.clock.now();
        const auto at_three = w.clock.call_at(begun + 3s, [&] { stop.request_stop(); });
        const auto after_three = w.clock.call_at(begun + 3s + 1ns, look);
        CHECK(driver.run(w, guard.with({.stop_token = stop.get_token()})) == "bulkhead is full");
        w.clock.advance(1s);
        CHECK(left_at == begun + 3s + 1ns);

        left_at.reset();
        const auto again = w.clock.now();
        const auto before_four = w.clock.call_at(again + 4s - 1ns, look);
        const auto after_four = w.clock.call_at(again + 4s + 1ns, look);
        CHECK(driver.run(w, guard.with({.deadline = again + 4s})) == "bulkhead is full");
        w.clock.advance(1s);
        CHECK(left_at == again + 4s + 1ns);
        CHECK_FALSE(gate.has_waiters());
        CHECK(gate.asked() == 4);
    });
}

TEST_CASE("a call that a stop was requested for before it parked does not sleep", "[park]") {
    with_each_driver([](auto driver, world& w, const auto& guard, const turnstile& gate) {
        REQUIRE(gate.take());
        std::stop_source stop;
        struct stops_now {
            struct call {
                std::stop_source stop;
                rs::admission admit(rs::call_context&) {
                    stop.request_stop();
                    return rs::admission::go();
                }
                rs::settlement settle(const rs::attempt_result&, rs::call_context&) {
                    return rs::settlement::finish();
                }
            };
            std::stop_source stop;
            call begin(rs::call_context&) const { return {stop}; }
        };
        (void)guard;
        CHECK(driver.run(w, (rs::pipeline{stops_now{stop}} | rs::pipeline{gate})
                                .with({.stop_token = stop.get_token()})) == "bulkhead is full");

        CHECK(gate.asked() == 2); // the second time it leaves its queue
        CHECK_FALSE(gate.has_waiters());
        CHECK(w.clock.slept().empty());
    });
}

TEST_CASE(
    "a call that is over when it parks leaves the queue, and its next attempt gets an answer of its own",
    "[park]") {
    struct takes_its_time {
        struct call {
            bool has_waited = false;
            rs::admission admit(rs::call_context&) {
                return std::exchange(has_waited, !has_waited) ? rs::admission::go() : rs::admission::wait(2s);
            }
            rs::settlement settle(const rs::attempt_result&, rs::call_context&) {
                return rs::settlement::finish();
            }
        };
        call begin(rs::call_context&) const { return {}; }
    };
    const auto check = [](auto driver) {
        world w;
        const turnstile gate(1);
        REQUIRE(gate.take());
        rs::retry_config once_more = at_once(2);
        once_more.base_delay = 100s;
        once_more.retry_if = [](const rs::failure&) { return true; };
        const auto guard = rs::retry(once_more, w.reg) | rs::timeout(1s, w.reg) |
                           rs::pipeline{takes_its_time{}} | rs::pipeline{gate};
        std::optional<bool> waits;
        const auto looks = w.clock.call_at(w.clock.now() + 50s, [&] { waits = gate.has_waiters(); });
        const auto gives = w.clock.call_at(w.clock.now() + 60s, [&] { gate.give().now(); });

        CHECK(driver.run(w, guard.with({})) == "timed out"); // the second attempt, after its two seconds

        CHECK(waits == false);
        CHECK(gate.free() == 1);
    };
    check(blocking_calls{});
    check(task_calls{});
}

TEST_CASE("a wake-up with nothing to give parks the call again", "[park]") {
    with_each_driver([](auto driver, world& w, const auto& guard, const turnstile& gate) {
        REQUIRE(gate.take());
        const auto disturbs = w.clock.call_at(w.clock.now() + 2s, [&] { gate.disturb(); });
        const auto again = w.clock.call_at(w.clock.now() + 3s, [&] { gate.disturb(); });
        const auto gives = w.clock.call_at(w.clock.now() + 4s, [&] { gate.give().now(); });

        CHECK(driver.run(w, guard.with({})) == "ran");

        CHECK(gate.asked() == 4);
        CHECK(gate.free() == 1);
    });
}

TEST_CASE("a wake-up that was taken before a park and comes during it does not end it", "[park]") {
    rs::waiter w;
    w.arm();
    const std::stop_token first = w.park({});
    rs::wake_up late = w.wake();
    w.unpark();
    w.arm();
    const std::stop_token second = w.park({});

    late.now();

    CHECK(first.stop_requested());
    CHECK_FALSE(second.stop_requested());
}

TEST_CASE("a call that is over is not parked again by a policy that never looks", "[park]") {
    struct careless {
        class call : rs::waiter {
        public:
            explicit call(int& asked) : asked_(&asked) {}
            rs::admission admit(rs::call_context&) {
                ++*asked_;
                arm();
                return rs::admission::park(*this, rs::time_point::max());
            }
            rs::settlement settle(const rs::attempt_result&, rs::call_context&) {
                return rs::settlement::finish();
            }

        private:
            int* asked_;
        };
        int* asked;
        call begin(rs::call_context&) const { return call(*asked); }
    };
    const auto check = [](auto driver) {
        world w;
        int asked = 0;
        const auto guard = rs::pipeline{careless{&asked}} | rs::retry(at_once(1), w.reg);

        CHECK(driver.run(w, guard.with({.deadline = w.clock.now() + 5s})) == "timed out");
        CHECK(asked == 3);

        std::stop_source stop;
        const auto stops = w.clock.call_at(w.clock.now() + 5s, [&] { stop.request_stop(); });
        CHECK(driver.run(w, guard.with({.stop_token = stop.get_token()})) == "cancelled");
        CHECK(asked == 6);
    };
    check(blocking_calls{});
    check(task_calls{});
}

TEST_CASE("parked tasks get their places in the order in which they came", "[park]") {
    world w;
    const turnstile gate(2);
    const auto guard = rs::retry(at_once(1), w.reg) | gate;
    std::string order;
    int inside = 0, most = 0;
    const auto f = [&](char name) -> lazy<int> {
        order += name;
        most = std::max(most, ++inside);
        co_await support::pause(w.clock, 1ms);
        --inside;
        co_return 1;
    };

    std::vector<lazy<int>> tasks;
    for (char name = 'a'; name <= 'j'; ++name) tasks.push_back(guard([&f, name] { return f(name); }));
    for (auto& task : tasks) task.start();
    CHECK(order == "ab");
    w.clock.advance(1ms);
    CHECK(order == "abcd");
    w.clock.advance(1s);

    CHECK(order == "abcdefghij");
    CHECK(most == 2);
    CHECK(gate.free() == 2);
    for (auto& task : tasks) CHECK(task.result() == 1);
}

TEST_CASE("a parked task that is destroyed leaves the queue, and hands on what it was given in that instant",
          "[park]") {
    world w;
    const turnstile gate(1);
    const auto guard = rs::retry(at_once(1), w.reg) | gate;
    const auto f = []() -> lazy<int> { co_return 1; };
    REQUIRE(gate.take());

    std::optional<lazy<int>> gone(guard(f));
    gone->start();
    gone.reset();
    CHECK_FALSE(gate.has_waiters());

    std::optional<lazy<int>> first(guard(f));
    lazy<int> second = guard(f);
    first->start();
    second.start();
    {
        const rs::wake_up late = gate.give(); // to the first, which ends before it learns of that
        first.reset();
        CHECK(second.done());
    }
    CHECK(second.result() == 1);
    CHECK(gate.free() == 1);
    CHECK(w.clock.pending_timers() == 0);
}

TEST_CASE("a task that is cancelled while it is parked leaves the queue", "[park]") {
    world w;
    const turnstile gate(1);
    const auto guard = rs::retry(at_once(3), w.reg) | gate;
    REQUIRE(gate.take());
    std::stop_source owner;

    auto task = guard.try_call([]() -> lazy<int> { co_return 1; });
    task.stop_by(owner.get_token());
    task.start();
    CHECK(gate.has_waiters());
    owner.request_stop();

    REQUIRE(task.done());
    CHECK_FALSE(gate.has_waiters());
    gate.give().now();
    CHECK(gate.free() == 1);
}

TEST_CASE("the lease of a probe lasts as long as its park", "[park][circuit_breaker]") {
    world w;
    const turnstile gate(1, 1h);
    const rs::circuit_breaker breaker(
        {.failure_threshold = 1, .success_threshold = 1, .recovery_timeout = 1s, .probe_lease = 10s}, w.reg);
    breaker.open();
    w.clock.advance(1s);
    REQUIRE(gate.take());
    const auto gives = w.clock.call_at(w.clock.now() + 50min, [&] {
        CHECK_FALSE(breaker.try_acquire()); // the place of the probe is taken
        gate.give().now();
    });

    (breaker | gate)([] {});

    CHECK(breaker.state() == rs::circuit_state::closed);
    CHECK(breaker.stats().late_results == 0);
}

TEST_CASE("a queue of waiters keeps their order, whatever leaves it", "[park]") {
    rs::waiter_queue queue;
    rs::waiter a, b, c;
    const auto listed = [&] {
        std::string all;
        for (rs::waiter* w = queue.front(); w != nullptr; w = queue.after(*w))
            all += w == &a ? 'a' : w == &b ? 'b' : 'c';
        return all;
    };
    CHECK(queue.empty());
    CHECK(queue.front() == nullptr);
    CHECK(queue.back() == nullptr);
    CHECK(queue.pop_front() == nullptr);

    queue.push_back(b);
    queue.push_back(c);
    queue.push_front(a);
    CHECK(listed() == "abc");
    CHECK(queue.back() == &c);
    queue.remove(b);
    queue.remove(b);
    CHECK(listed() == "ac");
    CHECK_FALSE(b.is_queued());
    CHECK(queue.pop_front() == &a);
    CHECK(queue.pop_front() == &c);
    CHECK(queue.empty());
}

TEST_CASE("a wake-up is done once, by whoever holds it last", "[park]") {
    rs::waiter a;
    a.arm();
    const std::stop_token asleep = a.park({});
    rs::wake_up one = a.wake();
    rs::wake_up other = std::move(one);
    one.now();
    CHECK_FALSE(asleep.stop_requested());

    rs::waiter b;
    b.arm();
    const std::stop_token other_asleep = b.park({});
    other = b.wake(); // the first is done before
    CHECK(asleep.stop_requested());
    CHECK_FALSE(other_asleep.stop_requested());
    { const rs::wake_up last = std::move(other); }
    CHECK(other_asleep.stop_requested());
}
