// SPDX-License-Identifier: Apache-2.0
// The scheduler finds what it is there to find, and nothing else.
#include "schedules/explore.hpp"

#include <resilience/detail/sync.hpp>

#include <string>

namespace {

namespace sync = resilience::detail;
using schedules::bounds;
using schedules::plain;
using schedules::search;
using schedules::together;
constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;

/// What the exploration of `body` found; then the printed schedule must lead there again.
template <class F>
std::string found(F body, const schedules::options& o = {}) {
    const auto r = search(o, body);
    if (r.failure.empty()) return {};
    schedules::replayed again(r.schedule);
    auto s = schedules::execute(again, o, body);
    CHECK(s->failure() == r.failure);
    CHECK(s->story() == r.story);
    (void)s.release();
    return r.failure;
}

TEST_CASE("a lost update is found with one preemption and with none is not", "[scheduler]") {
    const auto body = [] {
        sync::atomic<int> n{0};
        const auto add = [&] { n.store(n.load(relaxed) + 1, relaxed); };
        together(add, add);
        EXPECT(n.load() == 2);
    };

    CHECK(found(body, {.within = {1, 0}}).find("n.load() == 2") != std::string::npos);
    CHECK(found(body, {.within = {0, 0}}).empty());
    CHECK(found(body, {.random = 200}).find("n.load() == 2") != std::string::npos);
}

TEST_CASE("all interleavings are counted", "[scheduler]") {
    // Two threads of three steps each (begin, step, step): 6!/(3! 3!) orders of their steps.
    const auto r = search({.within = {10, 0}}, [] {
        const auto two = [] {
            schedules::step();
            schedules::step();
        };
        together(two, two);
    });

    CHECK(r.failure.empty());
    CHECK(r.explored == 20 + 1); // and the one before
}

TEST_CASE("locks taken in two orders are a deadlock", "[scheduler]") {
    const auto body = [] {
        sync::mutex a;
        sync::mutex b;
        const auto in_order = [](sync::mutex& first, sync::mutex& second) {
            const sync::lock_guard one(first);
            const sync::lock_guard two(second);
        };
        together([&] { in_order(a, b); }, [&] { in_order(b, a); });
    };

    CHECK(found(body) ==
          "deadlock: T0 for others to end, T1 waits for a lock of T2, T2 waits for a lock of T1");
}

TEST_CASE("a loop without end is told from a long one", "[scheduler]") {
    const auto body = [] {
        sync::atomic<bool> go{false};
        together([&] {
            while (!go.load()) {}
        });
    };

    CHECK(found(body, {.limits = {.steps = 500}}) == "no end after 500 steps");
}

TEST_CASE("a notification before the wait, a wake-up for no reason and an early time-out are found",
          "[scheduler]") {
    const auto scenario = [](bool checks, bool loops, bool timed) {
        return [=] {
            sync::mutex m;
            sync::condition_variable cv;
            bool ready = false;
            together(
                [&] {
                    sync::unique_lock lock(m);
                    if (timed) (void)cv.wait_until(lock, 0);
                    else if (loops) cv.wait(lock, [&] { return ready; });
                    else if (!checks || !ready) cv.wait(lock);
                    EXPECT(ready);
                },
                [&] {
                    {
                        const sync::lock_guard lock(m);
                        ready = true;
                    }
                    cv.notify_one();
                });
        };
    };

    CHECK(found(scenario(false, false, false), {.within = {2, 0}}) ==
          "deadlock: T0 for others to end, T1 to be notified");
    CHECK(found(scenario(true, false, false), {.within = {2, 0}}).empty());
    CHECK(found(scenario(true, false, false), {.within = {2, 1}}).find("ready") != std::string::npos);
    CHECK(found(scenario(true, true, false), {.within = {2, 2}}).empty());
    CHECK(found(scenario(true, false, true)).find("ready") != std::string::npos);
}

TEST_CASE("of several that wait any one may be woken", "[scheduler]") {
    const auto body = [] {
        sync::mutex m;
        sync::condition_variable cv;
        int waiting = 0;
        int first = 0;
        bool go = false;
        const auto wait = [&](int me) {
            sync::unique_lock lock(m);
            ++waiting;
            cv.wait(lock, [&] { return go; });
            if (first == 0) first = me;
            cv.notify_one();
        };
        together([&] { wait(1); }, [&] { wait(2); },
                 [&] {
                     const sync::lock_guard lock(m);
                     go = waiting == 2;
                     if (!go) go = true;
                     else cv.notify_one();
                 });
        EXPECT(first != 2 || waiting != 2);
    };

    CHECK(found(body).find("first != 2") != std::string::npos);
}

TEST_CASE("a relaxed flag does not publish what was written before; release and acquire do", "[scheduler]") {
    const auto scenario = [](std::memory_order out, std::memory_order in, bool through_a_modification) {
        return [=] {
            plain<int> data;
            sync::atomic<int> flag{0};
            together(
                [&] {
                    data.set(42);
                    flag.store(1, out);
                },
                [&] {
                    if (through_a_modification) flag.fetch_add(1, relaxed);
                },
                [&] {
                    const int seen = flag.load(in);
                    if (seen == (through_a_modification ? 2 : 1)) EXPECT(data.get() == 42);
                });
        };
    };
    const auto races = [&](std::memory_order out, std::memory_order in, bool modified) {
        return found(scenario(out, in, modified), {.within = {2, 0}}).find("race") != std::string::npos;
    };

    CHECK(races(relaxed, relaxed, false));
    CHECK(races(relaxed, acquire, false));
    CHECK(races(release, relaxed, false));
    CHECK_FALSE(races(release, acquire, false));
    CHECK(races(relaxed, acquire, true));
    CHECK_FALSE(races(release, acquire, true)); // a read-modify-write goes on with the release sequence
}

TEST_CASE("stores may be seen late, and by each thread in the order in which they were made", "[scheduler]") {
    const auto store_buffers = [](std::memory_order out, std::memory_order in) {
        return [=] {
            sync::atomic<int> x{0};
            sync::atomic<int> y{0};
            int saw_x = 0;
            int saw_y = 0;
            together(
                [&] {
                    x.store(1, out);
                    saw_y = y.load(in);
                },
                [&] {
                    y.store(1, out);
                    saw_x = x.load(in);
                });
            EXPECT(saw_x == 1 || saw_y == 1);
        };
    };
    const auto coherence = [] {
        sync::atomic<int> x{0};
        together(
            [&] {
                for (int i = 1; i <= 3; ++i) x.store(i, relaxed);
            },
            [&] {
                int last = 0;
                for (int i = 0; i < 3; ++i) {
                    const int now = x.load(relaxed);
                    EXPECT(now >= last);
                    last = now;
                }
            });
        EXPECT(x.load(relaxed) == 3); // the threads have been joined
    };

    CHECK_FALSE(found(store_buffers(release, acquire)).empty());
    CHECK(found(store_buffers(release, acquire), {.within = {2, 0}}).empty());
    CHECK(found(store_buffers(std::memory_order_seq_cst, std::memory_order_seq_cst)).empty());
    CHECK(found(coherence, {.within = {2, 2}, .limits = {.every_load = true}}).empty());
}

TEST_CASE("the destructors of thread_locals are part of their threads", "[scheduler]") {
    static sync::mutex* gate = nullptr;
    static int inside = 0;
    struct visitor {
        ~visitor() {
            const sync::lock_guard lock(*gate);
            ++inside;
        }
    };
    const auto body = [] {
        sync::mutex m;
        gate = &m;
        inside = 0;
        const auto visit = [] {
            static thread_local visitor at_exit;
            (void)at_exit;
        };
        together(visit, visit);
        EXPECT(inside == 2);
    };

    CHECK(found(body).empty());
}

TEST_CASE("detached threads end with the execution, wherever they wait", "[scheduler]") {
    const auto body = [] {
        auto m = std::make_shared<sync::mutex>();
        auto cv = std::make_shared<sync::condition_variable>();
        sync::thread([m, cv] {
            sync::unique_lock lock(*m);
            for (;;) cv->wait(lock);
        }).detach();
        schedules::step();
    };

    CHECK(found(body).empty());
}

} // namespace
