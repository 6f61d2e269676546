// SPDX-License-Identifier: Apache-2.0
// A forked child has one thread, and the memory as the others left it: what they held, nobody lets go of there.
#include <resilience/alert_sink.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/event_log.hpp>
#include <resilience/registry.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/virtual_clock.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <latch>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

// Sanitizers have threads and locks of their own that a forked child does not get whole.
#if !SANITIZED_THREAD && !SANITIZED_ADDRESS

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

/// Whether a child returns true from `f`; one that hangs is ended.
template <class F>
bool true_in_child(F f) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(f() ? 0 : 1);
    }
    int status = -1;
    while (waitpid(child, &status, 0) == -1 && errno == EINTR) {}
    return status == 0;
}

class threads_at_work {
public:
    threads_at_work(unsigned count, const std::function<void(std::uint64_t)>& work) {
        for (unsigned t = 0; t < count; ++t) {
            threads_.emplace_back([this, work, t] {
                for (std::uint64_t i = t; !over_; ++i) work(i);
            });
        }
    }
    ~threads_at_work() {
        over_ = true;
        for (auto& t : threads_) t.join();
    }

private:
    std::atomic<bool> over_{false};
    std::vector<std::thread> threads_;
};

std::errc fail() { return std::errc::io_error; }
std::errc succeed() { return {}; }

/// One of each of what takes a lock.
struct policies {
    rs::registry reg;
    std::atomic<std::uint64_t> heard{0};
    rs::subscription listening = reg.subscribe([this](const rs::event&) { ++heard; });
    rs::circuit_breaker closed{{.name = "closed", .failure_threshold = 65'536, .failure_window = 1ms}, reg};
    rs::circuit_breaker moving{{.name = "moving", .failure_threshold = 3, .recovery_timeout = 50us}, reg};
    rs::retry retry{{.name = "retry", .max_attempts = 2, .base_delay = 1us, .max_delay = 2us}, reg};

    /// False if something is not as it should be.
    bool use(std::uint64_t i) {
        (void)closed.try_call(&fail);
        (void)moving.try_call(&fail);
        (void)moving.try_call(&succeed);
        if (i % 4 != 0) return true;
        (void)retry.try_call(&fail);
        const std::string name = "n" + std::to_string(i % 64);
        const rs::retry made({.name = name}, reg);
        const bool found = reg.find<rs::circuit_breaker>("closed").has_value();
        const bool listed = reg.circuit_breakers().size() >= 2 && reg.policies().size() >= 3;
        reg.remove(name);
        return found && listed;
    }
};

TEST_CASE("a child forked while threads fail on its policies uses them all at once",
          "[stress][fork][H-CPP-04]") {
    policies all;
    const threads_at_work four(4, [&](std::uint64_t i) { all.use(i); });

    int bad = 0;
    for (int i = 0; i < 300; ++i) {
        const bool good = true_in_child([&] {
            const auto before = all.closed.stats().failures;
            const auto heard = all.heard.load();
            bool fine = true;
            for (std::uint64_t n = 0; n < 8; ++n) fine = all.use(n) && fine;
            const rs::circuit_breaker fresh({.name = "child", .failure_threshold = 1}, all.reg);
            (void)fresh.try_call(&fail);
            return fine && fresh.state() == rs::circuit_state::open && all.heard > heard &&
                   all.closed.stats().failures == before + 8 && all.closed.try_call(&succeed).has_value() &&
                   all.retry.try_call(&succeed).has_value() &&
                   (i % 10 != 0 || true_in_child([&] { return all.use(0); }));
        });
        if (!good) ++bad;
        if (bad == 3) break;
    }

    CHECK(bad == 0);
    CHECK(all.heard > 300);
}

TEST_CASE("a fork does not wait for long though there is always a thread that holds a mutex",
          "[stress][fork][H-CPP-04]") {
    const auto now = [] { return std::chrono::steady_clock::now(); };
    const auto end = now() + 5s; // a fork that comes last among such threads waits for as long
    std::array<rs::detail::mutex, 2> mutexes;
    std::atomic<std::size_t> turn{
        0}; // who lets go next, and takes it again while the other one holds its own
    const auto hold_in_turn = [&](std::size_t me) {
        while (now() < end && turn != 2) {
            const rs::detail::lock_guard lock(mutexes[me]);
            std::size_t mine = me;
            turn.compare_exchange_strong(mine, 1 - me);
            for (const auto late = now() + 10ms; turn == 1 - me && now() < late;) std::this_thread::yield();
        }
    };
    std::thread one(hold_in_turn, 0U), two(hold_in_turn, 1U);

    auto slowest = 0ns;
    for (int i = 0; i < 20; ++i) {
        const auto begin = now();
        const pid_t child = fork();
        if (child == 0) _exit(0);
        slowest = std::max<std::chrono::nanoseconds>(slowest, now() - begin);
        waitpid(child, nullptr, 0);
    }
    turn = 2;
    one.join();
    two.join();

    CHECK(slowest < 2s);
}

TEST_CASE("a child forked inside a listener returns from it, and goes on", "[stress][fork]") {
    policies all;
    const rs::circuit_breaker forking({.name = "forking", .failure_threshold = 1});
    std::optional<pid_t> child;
    const auto listening = rs::registry::global().subscribe([&](const rs::event&) {
        if (child) return;
        child = fork();
        if (child != 0) return;
        alarm(20);
        all.use(0);
        forking.disable(); // told once this returns
    });
    {
        const threads_at_work four(4, [&](std::uint64_t i) { all.use(i); });
        (void)forking.try_call(&fail);
        if (child == 0) {
            _exit(all.use(1) && forking.state() == rs::circuit_state::disabled ? 0 : 1);
        }
    }
    int status = -1;
    waitpid(*child, &status, 0);

    CHECK(status == 0);
}

TEST_CASE("a child forked inside a listener that another thread is ending returns from it",
          "[stress][fork][H-CPP-04]") {
    int bad = 0;
    for (int i = 0; i < 200 && bad < 3; ++i) {
        rs::registry reg;
        const rs::circuit_breaker forking({.name = "forking"}, reg);
        const rs::circuit_breaker leaving({.name = "leaving"}, reg);
        std::latch both_inside(2);
        std::atomic<bool> ending{false}, left{false};
        pid_t child = -1;
        auto listening = reg.subscribe([&](const rs::event& e) {
            both_inside.arrive_and_wait();
            if (e.policy == "leaving") {
                while (!ending) std::this_thread::yield();
                std::this_thread::sleep_for(200us); // so that the thread that ends it waits for both
                left = true;
                return; // wakes that thread, which looks, under its mutex, and waits on
            }
            while (!left) std::this_thread::yield();
            const auto until = std::chrono::steady_clock::now() + i % 20 * 1us;
            while (std::chrono::steady_clock::now() < until) {}
            child = fork();
            if (child == 0) alarm(5);
        });
        std::thread other([&] { leaving.disable(); });
        std::thread ender([&] {
            both_inside.wait();
            ending = true;
            listening.end();
        });
        forking.disable();
        if (child == 0) _exit(0);
        int status = -1;
        while (waitpid(child, &status, 0) == -1 && errno == EINTR) {}
        if (status != 0) ++bad;
        other.join();
        ender.join();
    }

    CHECK(bad == 0);
}

/// Keeps a thread inside a listener until it ends.
class thread_in_a_listener {
public:
    thread_in_a_listener(rs::registry& reg, const rs::circuit_breaker& breaker) {
        listening = reg.subscribe([this](const rs::event&) {
            if (std::this_thread::get_id() != thread_.get_id()) ++heard;
            else inside_.count_down(), over_.wait();
        });
        thread_ = std::thread([this, &breaker] {
            made_.wait();
            breaker.force_open();
        });
        made_.count_down();
        inside_.wait();
    }
    ~thread_in_a_listener() {
        over_.count_down();
        thread_.join();
    }
    thread_in_a_listener(const thread_in_a_listener&) = delete;
    thread_in_a_listener& operator=(const thread_in_a_listener&) = delete;

    std::atomic<int> heard{0};
    rs::subscription listening;

private:
    std::latch made_{1}, inside_{1}, over_{1};
    std::thread thread_;
};

TEST_CASE("a child forked while another thread is inside a listener is told on", "[stress][fork][H-CPP-04]") {
    rs::registry reg;
    const rs::circuit_breaker breaker({.failure_threshold = 1}, reg);
    thread_in_a_listener other(reg, breaker);

    CHECK(true_in_child([&] {
        breaker.disable();
        return other.heard == 1;
    }));
    breaker.disable();

    CHECK(other.heard == 0); // in the parent that thread is to tell it
}

TEST_CASE("a child's events are in the log that it inherits, whoever was writing and reading it",
          "[stress][fork][H-CPP-04]") {
    policies all;
    rs::event_log log(all.reg);
    int bad = 0;
    {
        const threads_at_work two(2, [&](std::uint64_t i) { all.use(i); });
        const threads_at_work readers(2, [&](std::uint64_t) { log.wait(log.last() + 1, 1s); });
        for (int i = 0; i < 200 && bad < 3; ++i) {
            const bool good = true_in_child([&] {
                const auto before = log.last();
                all.use(0);
                return log.last() > before && log.newest().entries.back().number == log.last();
            });
            if (!good) ++bad;
        }
    }

    CHECK(bad == 0);
}

TEST_CASE("a child forked while threads cause alerts calls on, though nobody sends there",
          "[stress][fork][H-CPP-04]") {
    policies all;
    const rs::alert_config every_event{.alert_if = [](const rs::event&) { return true; }};
    rs::alert_sink sink(all.reg, every_event, [](const rs::alert&) {});
    int bad = 0;
    {
        const threads_at_work two(2, [&](std::uint64_t i) { all.use(i); });
        for (int i = 0; i < 200 && bad < 3; ++i) {
            if (!true_in_child([&] { return all.use(0) && all.use(1); })) ++bad;
        }
    }

    CHECK(bad == 0);
}

/// What handlers of forks do, others than the library's, once they are asked to.
rs::circuit_breaker* used_by_handlers = nullptr;
void fail_and_change() {
    if (used_by_handlers == nullptr) return;
    (void)used_by_handlers->try_call(&fail);
    used_by_handlers->reset();
}
/// Comes before the library's: runs after it before a fork, and before it afterwards.
[[gnu::constructor(101)]] void early_handlers() {
    pthread_atfork(&fail_and_change, &fail_and_change, &fail_and_change);
}

TEST_CASE("handlers of forks may use policies, whether they are called before the library's or after",
          "[stress][fork][H-CPP-04]") {
    pthread_atfork(&fail_and_change, &fail_and_change, &fail_and_change);
    rs::registry reg;
    rs::circuit_breaker breaker({.failure_threshold = 65'536}, reg);
    std::uint64_t in_child = 0;
    {
        const threads_at_work four(
            4, [&](std::uint64_t i) { (void)breaker.try_call(i % 2 == 0 ? &fail : &succeed); });
        for (int i = 0; i < 50; ++i) {
            used_by_handlers = &breaker;
            in_child += true_in_child([&] {
                const auto before = breaker.stats().failures;
                (void)breaker.try_call(&fail);
                return breaker.stats().failures == before + 1;
            });
            used_by_handlers = nullptr;
        }
    }

    CHECK(in_child == 50);
}

TEST_CASE("a child does not take an attempt of its parent's for one that runs on for ever",
          "[stress][fork]") {
    rs::testing::virtual_clock clock;
    rs::registry reg(clock);
    const rs::timeout limit({.limit = 1s}, reg);
    std::latch begun(1);
    std::latch forked(1);
    std::thread hangs([&] {
        limit([&] {
            begun.count_down();
            forked.wait();
        });
    });
    begun.wait();

    const bool is_left_behind = true_in_child([&] {
        clock.advance(1h);
        const bool silent = limit.stats().overrun_total == 0 && limit.stats().longest_overrun == 0s;
        (void)limit.try_call([&] {
            clock.advance(3s);
            (void)limit.stats();
        });
        return silent && limit.stats().overrun_total == 1 && limit.stats().longest_overrun == 2s;
    });
    forked.count_down();
    hangs.join();

    CHECK(is_left_behind);
}

} // namespace

#endif
