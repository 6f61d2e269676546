// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/detail/timer_queue.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::detail::timer_queue;

namespace {

constexpr timer_queue::moment start{1000s};

TEST_CASE("a function runs at its moment and not a tick before", "[timer_queue]") {
    timer_queue queue;
    int runs = 0;
    queue.add(start + 5s, [&] { ++runs; });

    CHECK_FALSE(queue.run_due(start + 5s - 1ns));
    CHECK(runs == 0);

    CHECK(queue.run_due(start + 5s));
    CHECK(runs == 1);
    CHECK_FALSE(queue.run_due(start + 5s));
    CHECK(queue.size() == 0);
}

TEST_CASE("functions run in the order of their moments, equal ones as they were added", "[timer_queue]") {
    timer_queue queue;
    std::string order;
    queue.add(start + 2s, [&] { order += 'c'; });
    queue.add(start + 1s, [&] { order += 'a'; });
    queue.add(start + 1s, [&] { order += 'b'; });
    CHECK(queue.next() == start + 1s);

    while (queue.run_due(start + 2s)) {}

    CHECK(order == "abc");
    CHECK(queue.next() == timer_queue::moment::max());
}

TEST_CASE("the moment max never comes", "[timer_queue][H-CPP-01]") {
    timer_queue queue;
    queue.add(timer_queue::moment::max(), [] { throw std::logic_error("it came"); });

    CHECK_FALSE(queue.run_due(timer_queue::moment::max()));
    CHECK(queue.size() == 1);
}

TEST_CASE("a cancelled function is destroyed and never runs", "[timer_queue]") {
    timer_queue queue;
    auto state = std::make_shared<int>(0);
    const auto ticket = queue.add(start, [state] { ++*state; });

    queue.cancel(ticket);

    CHECK(state.use_count() == 1);
    CHECK_FALSE(queue.run_due(start));
    CHECK(*state == 0);
}

TEST_CASE("cancelling what has run, or was cancelled, does nothing", "[timer_queue]") {
    timer_queue queue;
    const auto ran = queue.add(start, [] {});
    queue.run_due(start);
    const auto cancelled = queue.add(start, [] {});
    queue.cancel(cancelled);
    int runs = 0;
    queue.add(start, [&] { ++runs; });

    queue.cancel(ran);
    queue.cancel(cancelled);

    CHECK(queue.run_due(start));
    CHECK(runs == 1);
}

TEST_CASE("a function may add, cancel, look and drive: no lock is held", "[timer_queue]") {
    timer_queue queue;
    std::string order;
    const auto other = queue.add(start + 1s, [&] { order += 'x'; });
    queue.add(start, [&] {
        queue.cancel(other);
        queue.add(start, [&] { order += 'b'; });
        order += 'a';
        CHECK(queue.size() == 1);
        CHECK(queue.run_due(start));
        order += 'c';
    });

    while (queue.run_due(start + 1s)) {}

    CHECK(order == "abc");
}

TEST_CASE("a function that cancels itself goes on", "[timer_queue]") {
    timer_queue queue;
    std::optional<timer_queue::ticket> self;
    bool finished = false;
    self = queue.add(start, [&] {
        queue.cancel(*self);
        finished = true;
    });

    queue.run_due(start);

    CHECK(finished);
}

TEST_CASE("the destructor of a function may cancel: no lock is held", "[timer_queue]") {
    struct canceller {
        timer_queue& queue;
        timer_queue::ticket ticket;
        ~canceller() { queue.cancel(ticket); }
    };
    timer_queue queue;
    const auto other = queue.add(start, [] {});
    const auto holder = queue.add(start + 1s, [c = std::make_shared<canceller>(queue, other)] {});
    const auto third = queue.add(start + 3s, [] {});
    queue.add(start + 2s, [c = std::make_shared<canceller>(queue, third)] {});

    queue.cancel(holder);
    CHECK(queue.size() == 2);

    queue.run_due(start + 2s);
    CHECK(queue.size() == 0);
}

TEST_CASE("cancelling waits until the function has ended on another thread", "[timer_queue]") {
    timer_queue queue;
    std::atomic<bool> running{false}, release{false}, finished{false}, cancelling{false}, too_early{false};
    const auto ticket = queue.add(start, [&] {
        running = true;
        while (!release) std::this_thread::yield();
        finished = true;
    });
    std::thread runner([&] { queue.run_due(start); });
    while (!running) std::this_thread::yield();
    std::thread canceller([&] {
        cancelling = true;
        queue.cancel(ticket);
        too_early = !finished;
    });
    while (!cancelling) std::this_thread::yield();

    for (int i = 0; i < 10'000; ++i) std::this_thread::yield();
    release = true;
    canceller.join();
    runner.join();

    CHECK_FALSE(too_early);
}

TEST_CASE("a function that throws has ended: its ticket can be cancelled on another thread",
          "[timer_queue]") {
    timer_queue queue;
    const auto ticket = queue.add(start, [] { throw std::runtime_error("x"); });

    CHECK_THROWS_AS(queue.run_due(start), std::runtime_error);

    std::thread([&] { queue.cancel(ticket); }).join();
    CHECK_FALSE(queue.run_due(start));
}

TEST_CASE("the runner is started by the first add, again if that failed, and once", "[timer_queue]") {
    static int starts;
    starts = 0;
    timer_queue queue([](timer_queue&) {
        if (++starts == 1) throw std::runtime_error("no thread");
    });

    CHECK_THROWS_AS(queue.add(start, [] {}), std::runtime_error);
    CHECK(queue.size() == 0);
    queue.add(start, [] {});
    queue.add(start, [] {});

    CHECK(starts == 2);
    CHECK(queue.size() == 2);
}

TEST_CASE("a queue that numbers from elsewhere knows none of another's tickets", "[timer_queue][H-CPP-04]") {
    timer_queue parents;
    const auto inherited = parents.add(start, [] {});
    timer_queue childs(nullptr, 1U << 20U);
    const auto own = childs.add(start, [] {});

    childs.cancel(inherited);
    CHECK(childs.size() == 1);

    childs.cancel(own);
    CHECK(childs.size() == 0);
    CHECK(parents.size() == 1);
}

} // namespace
