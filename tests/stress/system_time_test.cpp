// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

#include <resilience/call/system_time.hpp>

#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

namespace rs = resilience;
using namespace std::chrono_literals;

#if SANITIZED_THREAD
// In a child forked while several threads run it cannot follow new ones ("dup thread with used id").
#define FORKING_TESTS 0
#else
#define FORKING_TESTS 1
#endif

namespace {

using clock_type = std::chrono::steady_clock;

rs::time_source& time() { return rs::system_time(); }

/// For what must happen but not at a certain time: real time passes while others work on it.
template <class Condition>
bool eventually(Condition condition, rs::duration within = 20s) {
    for (const auto end = clock_type::now() + within; clock_type::now() < end;) {
        if (condition()) return true;
        std::this_thread::sleep_for(1ms);
    }
    return condition();
}

/// Runs `f` in a forked child that has `limit` to return true.
template <class F>
bool true_in_child(F f, rs::duration limit) {
    const pid_t child = fork();
    if (child == 0) _exit(f() ? 0 : 1);
    int status = -1;
    const bool ended = eventually([&] { return waitpid(child, &status, WNOHANG) == child; }, limit);
    if (!ended) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void use_or_abort() {
    std::atomic<bool> fired{false};
    const auto timer = time().call_at(time().now() + 1ms, [&] { fired = true; });
    time().sleep_until(time().now() + 2ms, {});
    if (!eventually([&] { return fired.load(); })) std::abort();
}

/// Ends a child after its static destructors, before leak checkers that cannot stop a busy thread there.
struct last_of_a_child {
    bool in_child = false;
    ~last_of_a_child() {
        if (in_child) _exit(0);
    }
};
last_of_a_child last;

/// Uses the time after everything made later than this was destroyed.
struct late_user {
    ~late_user() { use_or_abort(); }
};
const late_user used_by_a_static_destructor; // of this program too, so its end is also a test

TEST_CASE("now is std::chrono::steady_clock", "[system_time]") {
    for (int i = 0; i < 1000; ++i) {
        const auto before = clock_type::now();
        const auto now = time().now();
        const auto after = clock_type::now();

        REQUIRE(before <= now);
        REQUIRE(now <= after);
    }
}

TEST_CASE("wall_now is std::chrono::system_clock", "[system_time]") {
    const auto difference = time().wall_now() - std::chrono::system_clock::now();

    CHECK(difference < 10s);
    CHECK(difference > -10s);
}

TEST_CASE("the coarse time is never ahead and seldom further behind than it says", "[system_time]") {
    constexpr int rounds = 100, reads = 1000;
    const auto resolution = time().coarse_resolution();
    CHECK(resolution < 50ms);
    int behind = 0;
    int ahead = 0;

    for (int i = 0; i < rounds * reads; ++i) {
        if (i % reads == 0) std::this_thread::sleep_for(1ms); // so that the rounds fall into many ticks
        const auto coarse_first = time().coarse_now();
        const auto now = time().now();
        const auto coarse_last = time().coarse_now();
        if (coarse_first > now) ++ahead;
        if (now - coarse_last > resolution) ++behind;
    }

    CHECK(ahead == 0);
    CHECK(behind < rounds * reads / 4); // only where a busy machine stalled
}

TEST_CASE("a sleep ends when its moment has come, not before", "[system_time]") {
    const std::stop_source stop;
    const std::stop_token token = GENERATE(false, true) ? stop.get_token() : std::stop_token{};
    const auto until = time().now() + 30ms;

    CHECK(time().sleep_until(until, token));

    CHECK(time().now() >= until);
}

TEST_CASE("a sleep until the past returns at once", "[system_time]") {
    std::stop_source stop;
    const auto begin = time().now();

    CHECK(time().sleep_until(begin, {}));
    CHECK(time().sleep_until(rs::time_point::min(), {}));
    CHECK(time().sleep_until(rs::time_point{}, stop.get_token()));
    CHECK(time().sleep_until(rs::time_point::min(), stop.get_token()));

    CHECK(time().now() - begin < 5s);
}

TEST_CASE("a sleep after a stop request returns false at once", "[system_time]") {
    std::stop_source stop;
    stop.request_stop();
    const auto begin = time().now();

    CHECK_FALSE(time().sleep_until(begin + 60s, stop.get_token()));
    CHECK_FALSE(time().sleep_until(begin - 60s, stop.get_token()));

    CHECK(time().now() - begin < 30s);
}

TEST_CASE("a stop request wakes a sleeper at once", "[system_time]") {
    const auto until = GENERATE(rs::saturating_add(time().now(), 1h), rs::time_point::max() - 1ns);
    std::stop_source stop;
    std::atomic<bool> in_full{true};
    std::thread sleeper([&] { in_full = time().sleep_until(until, stop.get_token()); });
    std::this_thread::sleep_for(20ms);

    const auto requested = time().now();
    stop.request_stop();
    sleeper.join();

    CHECK_FALSE(in_full);
    CHECK(time().now() - requested < 5s);
}

TEST_CASE("a sleep for ever lasts until the stop and costs no processor time", "[system_time][H-CPP-01]") {
    std::stop_source stop;
    std::atomic<bool> returned{false};
    std::atomic<bool> in_full{true};
    std::atomic<rs::duration::rep> busy{0};
    std::thread sleeper([&] {
        in_full = time().sleep_until(rs::saturating_add(time().now(), rs::duration::max()), stop.get_token());
        returned = true;
        timespec spent{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
        busy = rs::duration(std::chrono::seconds{spent.tv_sec} + std::chrono::nanoseconds{spent.tv_nsec})
                   .count();
    });

    std::this_thread::sleep_for(300ms);
    CHECK_FALSE(returned);
    stop.request_stop();
    sleeper.join();

    CHECK_FALSE(in_full);
    CHECK(rs::duration{busy.load()} < 100ms);
}

TEST_CASE("a sleep for ever without a stop token never ends, signals or not", "[system_time][H-CPP-01]") {
    const pid_t child = fork();
    if (child == 0) {
        struct sigaction ignore_it{};
        ignore_it.sa_handler = [](int) {};
        sigaction(SIGALRM, &ignore_it, nullptr);
        const itimerval often{{0, 10'000}, {0, 10'000}};
        setitimer(ITIMER_REAL, &often, nullptr);
        time().sleep_until(rs::time_point::max(), {});
        _exit(0);
    }
    std::this_thread::sleep_for(300ms);

    int status = 0;
    CHECK(waitpid(child, &status, WNOHANG) == 0);
    kill(child, SIGKILL);
    rusage usage{};
    CHECK(wait4(child, &status, 0, &usage) == child);
    CHECK(usage.ru_utime.tv_sec * 1'000'000 + usage.ru_utime.tv_usec < 150'000);
}

TEST_CASE("signals do not shorten a sleep", "[system_time]") {
    struct sigaction ignore_it{}, before{};
    ignore_it.sa_handler = [](int) {};
    sigaction(SIGALRM, &ignore_it, &before);
    const itimerval often{{0, 3'000}, {0, 3'000}};
    setitimer(ITIMER_REAL, &often, nullptr);
    std::stop_source stop;

    const auto until = time().now() + 60ms;
    CHECK(time().sleep_until(until, {}));
    CHECK(time().now() >= until);
    const auto next = time().now() + 60ms;
    CHECK(time().sleep_until(next, stop.get_token()));
    CHECK(time().now() >= next);

    const itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
    sigaction(SIGALRM, &before, nullptr);
}

TEST_CASE("a timer fires once, not before its moment, on another thread", "[system_time]") {
    const auto at = time().now() + 30ms;
    std::atomic<int> fired{0};
    std::atomic<bool> early{false};
    std::thread::id by;
    const auto timer = time().call_at(at, [&] {
        early = time().now() < at;
        by = std::this_thread::get_id();
        ++fired;
    });

    CHECK(eventually([&] { return fired > 0; }));

    CHECK_FALSE(early);
    CHECK(by != std::this_thread::get_id());
    std::this_thread::sleep_for(20ms);
    CHECK(fired == 1);
}

TEST_CASE("a timer for an earlier moment overtakes", "[system_time]") {
    std::atomic<bool> late{false}, soon{false};
    const auto base = time().now();
    const auto first = time().call_at(base + 1h, [&] { late = true; });
    std::this_thread::sleep_for(10ms); // the timer thread waits for the first by now
    const auto second = time().call_at(base + 20ms, [&] { soon = true; });

    CHECK(eventually([&] { return soon.load(); }));
    CHECK_FALSE(late);
}

TEST_CASE("timers for moments that have passed fire at once, for the end of time never",
          "[system_time][H-CPP-01]") {
    std::atomic<bool> past{false}, beginning{false}, never{false};
    const auto one = time().call_at(rs::time_point::max(), [&] { never = true; });
    const auto two = time().call_at(rs::time_point::max() - 1ns, [&] { never = true; });
    const auto three = time().call_at(time().now() - 1s, [&] { past = true; });
    const auto four = time().call_at(rs::time_point::min(), [&] { beginning = true; });

    CHECK(eventually([&] { return past && beginning; }));
    std::this_thread::sleep_for(20ms);
    CHECK_FALSE(never);
}

TEST_CASE("timers can be added and destroyed from inside a timer, itself included", "[system_time]") {
    std::atomic<bool> second{false}, third{false};
    std::optional<rs::timer> self, other, added;
    const auto at = time().now() + 20ms;
    other = time().call_at(at + 1h, [] {});
    std::atomic<bool> ready{false};
    self = time().call_at(at, [&] {
        while (!ready) std::this_thread::yield();
        self.reset();
        other.reset();
        added = time().call_at(time().now(), [&] { second = true; });
        third = true;
    });
    ready = true;

    CHECK(eventually([&] { return second && third; }));
}

TEST_CASE("once a timer is destroyed its function has ended or never runs", "[system_time]") {
    for (int i = 0; i < 300; ++i) {
        auto target = std::make_unique<std::atomic<int>>(0);
        {
            const auto timer =
                time().call_at(time().now() + i * 1us, [t = target.get()] { t->fetch_add(1); });
            if (i % 3 == 0) std::this_thread::sleep_for(i * 1us);
        }
        const int count = target->load();
        REQUIRE(count <= 1);
        target.reset(); // the sanitizers see a function that comes later
    }
}

TEST_CASE("destroying a timer waits for its function on the timer thread", "[system_time]") {
    std::atomic<bool> running{false}, release{false}, finished{false};
    std::optional<rs::timer> timer = time().call_at(time().now(), [&] {
        running = true;
        while (!release) std::this_thread::yield();
        finished = true;
    });
    REQUIRE(eventually([&] { return running.load(); }));
    std::thread later([&] {
        std::this_thread::sleep_for(20ms);
        release = true;
    });

    timer.reset();

    CHECK(finished);
    later.join();
}

TEST_CASE("threads may set and destroy timers at the same time", "[system_time]") {
    constexpr int rounds = 1000;
    std::atomic<int> fired{0}, wrong{0};
    std::vector<std::thread> threads;

    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            std::vector<rs::timer> kept;
            for (int i = 0; i < rounds; ++i) {
                kept.push_back(time().call_at(time().now() + (i * 7 + t) % 50 * 10us, [&] { ++fired; }));
                const auto cancelled = time().call_at(time().now() + 1h, [&] { ++wrong; });
            }
            while (fired < 4 * rounds) std::this_thread::yield();
        });
    }
    for (auto& thread : threads) thread.join();

    CHECK(fired == 4 * rounds);
    CHECK(wrong == 0);
}

TEST_CASE("the program's signals are not handled on the timer thread", "[system_time]") {
    const auto timer = time().call_at(time().now() + 1h, [] {}); // so there is a thread
    static std::atomic<int> handled;
    handled = 0;
    struct sigaction count{}, before{};
    count.sa_handler = [](int) { ++handled; };
    sigaction(SIGUSR1, &count, &before);
    sigset_t usr1, mask;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, &mask);

    kill(getpid(), SIGUSR1); // any thread that lets it through may take it: only ours is left
    std::this_thread::sleep_for(50ms);
    CHECK(handled == 0);

    pthread_sigmask(SIG_SETMASK, &mask, nullptr);
    CHECK(eventually([] { return handled == 1; }));
    sigaction(SIGUSR1, &before, nullptr);
}

#if defined(__linux__)

TEST_CASE("no thread that waits for a moment follows the wall clock", "[system_time][H-CPP-16]") {
    std::stop_source stop;
    std::atomic<bool> asleep{false};
    std::thread sleeper([&] {
        asleep = true;
        time().sleep_until(time().now() + 1h, stop.get_token());
    });
    const auto timer = time().call_at(time().now() + 1h, [] {});

    // The kernel shows each blocked thread's call: number, six arguments, two addresses.
    const auto waits_on = [](bool wall_clock) {
        int count = 0;
        for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
            std::ifstream file(task.path() / "syscall");
            long number = -1;
            std::uint64_t address = 0, operation = 0, value = 0, timeout = 0;
            file >> number >> std::hex >> address >> operation >> value >> timeout;
            const bool waits = file && number == SYS_futex && timeout != 0;
            if (waits && ((operation & FUTEX_CLOCK_REALTIME) != 0) == wall_clock) ++count;
        }
        return count;
    };
    const bool both_wait = eventually([&] { return waits_on(false) + waits_on(true) >= 2; }, 5s);
    const int on_wall_clock = waits_on(true);
    stop.request_stop();
    sleeper.join();

    if (!both_wait) WARN("the kernel does not show what threads wait for");
    CHECK(on_wall_clock == 0);
}

#endif

#if FORKING_TESTS

#if SANITIZED_ADDRESS
// Its allocator may stay locked by a thread that the child does not have.
constexpr int threads_at_work = 0;
#else
constexpr int threads_at_work = 4;
#endif

TEST_CASE("a forked child has timers and sleeps of its own, whatever the parent was doing",
          "[system_time][H-CPP-04]") {
    std::atomic<bool> end{false};
    std::atomic<int> sink{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < threads_at_work; ++t) {
        threads.emplace_back([&] {
            while (!end) {
                const auto soon = time().call_at(time().now(), [&] { ++sink; });
                const auto late = time().call_at(time().now() + 1h, [&] { ++sink; });
            }
        });
    }

    for (int i = 0; i < 30; ++i) {
        std::optional<rs::timer> inherited = time().call_at(time().now() + 1h, [] {});
        CHECK(true_in_child(
            [&] {
                std::atomic<bool> fired{false}, wrong{false};
                inherited.reset();
                const auto timer = time().call_at(time().now() + 1ms, [&] { fired = true; });
                {
                    const auto cancelled = time().call_at(time().now() + 5ms, [&] { wrong = true; });
                }
                std::stop_source stop;
                const bool slept = time().sleep_until(time().now() + 10ms, stop.get_token());
                const auto stopper = time().call_at(time().now() + 5ms, [&] { stop.request_stop(); });
                const bool woken = !time().sleep_until(rs::time_point::max(), stop.get_token());
                return slept && woken && fired && !wrong;
            },
            20s));
    }

    end = true;
    for (auto& thread : threads) thread.join();
}

TEST_CASE("the parent's timers do not fire in a forked child, but in the parent", "[system_time][H-CPP-04]") {
    std::atomic<bool> fired{false};
    const auto timer = time().call_at(time().now() + 200ms, [&] { fired = true; });

    const bool quiet_in_child = true_in_child(
        [&] {
            std::atomic<bool> own{false};
            const auto later = time().call_at(time().now() + 400ms, [&] { own = true; });
            return eventually([&] { return own.load(); }) && !fired;
        },
        20s);

    CHECK(quiet_in_child);
    CHECK(eventually([&] { return fired.load(); }));
}

TEST_CASE("a forked child of a forked child has timers too", "[system_time][H-CPP-04]") {
    const auto use = [] {
        std::atomic<bool> fired{false};
        const auto timer = time().call_at(time().now(), [&] { fired = true; });
        return eventually([&] { return fired.load(); });
    };

    CHECK(use());
    CHECK(true_in_child([&] { return use() && true_in_child(use, 20s) && use(); }, 40s));
}

TEST_CASE("a timer that was set before a fork ends none of the child's", "[system_time][H-CPP-04]") {
    // In a child, so that both timers are the first of their process.
    CHECK(true_in_child(
        [] {
            const auto at = time().now() + 50ms;
            std::optional<rs::timer> inherited = time().call_at(at, [] {});
            return true_in_child(
                [&] {
                    std::atomic<bool> fired{false};
                    const auto own = time().call_at(at, [&] { fired = true; });
                    inherited.reset();
                    return eventually([&] { return fired.load(); }, 5s);
                },
                20s);
        },
        40s));
}

TEST_CASE("the time can be used until the program's last moment", "[system_time][H-CPP-03]") {
    const bool exited_well = true_in_child(
        [] {
            last.in_child = true;
            std::atexit([] { use_or_abort(); });
            std::thread([] {
                for (;;) use_or_abort();
            }).detach();
            thread_local late_user of_the_last_thread;
            (void)of_the_last_thread;
            std::fclose(stdout); // what is buffered is the parent's to write
            std::exit(0);
            return false;
        },
        30s);

    CHECK(exited_well);
}

#endif

} // namespace
