// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a test of interleavings is written with:
//
//     schedules::explore("two adders", {}, [] {
//         rs::detail::atomic<int> n{0};
//         schedules::together([&] { n.fetch_add(1); }, [&] { n.fetch_add(1); });
//         EXPECT(n.load() == 2);
//     });
//
// The body runs once per schedule, from a fresh start each time, and must do the same after the same
// choices: no real time, no addresses, nothing kept from one execution to the next.

#include "schedules/scheduler.hpp"
#include "support/catch.hpp"

#include <sched.h>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iomanip>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace schedules {

struct options {
    bounds within{};
    /// If not 0: that many random executions instead of all within the bounds.
    std::size_t random = 0;
    std::uint64_t seed = 1;
    scheduler::limits limits{};
    /// An exhaustive exploration that is not over by then fails: its bounds are too wide.
    std::size_t most = 2'000'000;
};

struct result {
    std::size_t explored = 0;
    std::string failure; // empty if every execution kept what it promised
    std::string schedule;
    std::string story;
};

/// One execution. A failed one's threads are stuck: it is never destroyed.
inline std::unique_ptr<scheduler> execute(strategy& how, const options& o,
                                          const std::function<void()>& body) {
    static std::uint32_t executions = 0;
    auto s = std::make_unique<scheduler>(++executions, how, o.limits);
    s->run(body);
    return s;
}

/// Threads that run one at a time are passed on faster on one processor: twice to four times.
inline void stay_on_one_processor() {
#if defined(__linux__)
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(static_cast<unsigned>(sched_getcpu()), &here);
    (void)sched_setaffinity(0, sizeof here, &here);
#endif
}

inline result search(const options& o, const std::function<void()>& body) {
    stay_on_one_processor();
    result r;
    const auto note = [&](std::unique_ptr<scheduler> s) {
        ++r.explored;
        if (s->failure().empty()) return true;
        r.failure = s->failure();
        r.schedule = s->schedule();
        r.story = s->story();
        (void)s.release();
        return false;
    };
    // What is made once per process is made first, by an execution that nobody interrupts.
    exhaustive ordinary({0, 0});
    auto first = execute(ordinary, o, body);
    const std::size_t length = first->choices();
    if (!note(std::move(first))) return r;

    if (const char* asked = std::getenv("RESILIENCE_SCHEDULE"); asked != nullptr) {
        replayed again(asked);
        auto s = execute(again, o, body);
        std::cout << s->story() << (s->failure().empty() ? "kept all promises" : s->failure()) << '\n';
        note(std::move(s));
    } else if (o.random != 0) {
        randomised some(o.seed, o.random, length);
        do {
            if (!note(execute(some, o, body))) break;
        } while (some.next());
    } else {
        exhaustive all(o.within);
        do {
            if (!note(execute(all, o, body))) break;
            if (all.strays()) r.failure = "the same choices led elsewhere: the scenario is not deterministic";
            else if (r.explored > o.most) r.failure = "too many schedules";
        } while (r.failure.empty() && all.next());
    }
    return r;
}

/// Fails the test case at the first schedule that breaks a promise, and prints it.
inline void explore(std::string_view name, const options& o, const std::function<void()>& body) {
    const auto begun = std::chrono::steady_clock::now();
    const result r = search(o, body);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    std::ostringstream line;
    line << std::setw(7) << r.explored << " schedules: " << name << " (";
    if (o.random != 0) line << "random from seed " << o.seed;
    else line << o.within.preemptions << " preemptions, " << o.within.oddities << " oddities";
    std::cout << line.str() << "), " << std::fixed << std::setprecision(2) << took.count() << " s"
              << std::endl;
    static struct sum {
        std::size_t explored = 0;
        ~sum() { std::cout << "schedules: " << explored << " explored" << std::endl; }
    } all;
    all.explored += r.explored;
    if (!r.failure.empty()) {
        FAIL(name << ": " << r.failure << "\nRESILIENCE_SCHEDULE='" << r.schedule << "'\n" << r.story);
    }
    SUCCEED();
}

/// Runs all of them at once and returns when all have ended. In an execution only.
template <class... F>
void together(F&&... functions) {
    scheduler& s = *this_thread->owner;
    s.join({&s.start(std::function<void()>(std::forward<F>(functions)))...});
}

/// Others may run here.
inline void step(const site& at = site::current()) {
    if (this_thread != nullptr) this_thread->owner->point("step", at);
}

/// Returns when all others have ended or wait for something.
inline void rest() { this_thread->owner->rest(); }

/// What runs in its scope is interrupted only where it blocks, and goes on as soon as it can: for what has
/// locks inside that the scheduler does not see (std::stop_source).
class undivided {
public:
    undivided() noexcept { ++this_thread->undivided; }
    undivided(const undivided&) = delete;
    undivided& operator=(const undivided&) = delete;
    ~undivided() {
        if (this_thread != nullptr) --this_thread->undivided;
    }
};

inline void expect(bool condition, const char* what, const site& at = site::current()) {
    if (condition) return;
    this_thread->owner->fail("line " + std::to_string(at.line()) + ": not so: " + what);
}
#define EXPECT(...) ::schedules::expect(static_cast<bool>(__VA_ARGS__), #__VA_ARGS__)

/// Data that is no atomic. Reading or writing it when the last write does not happen before fails the
/// execution: a data race.
template <class T>
class plain {
public:
    plain() : plain(T{}) {}
    explicit plain(T value) : value_(std::move(value)) { wrote(); }
    plain(const plain& other) : plain(other.get()) {}
    plain(plain&& other) : plain(other.get()) {}
    plain& operator=(const plain& other) {
        set(other.get());
        return *this;
    }
    plain& operator=(plain&& other) {
        set(other.get());
        return *this;
    }
    ~plain() = default;

    const T& get(const site& at = site::current()) const {
        require_ordered("read", at);
        return value_;
    }
    void set(T value, const site& at = site::current()) {
        require_ordered("written", at);
        value_ = std::move(value);
        wrote();
    }
    friend bool operator==(const plain& a, const plain& b) { return a.get() == b.get(); }

private:
    void require_ordered(const char* what, const site& at) const {
        if (this_thread == nullptr) return;
        scheduler& s = *this_thread->owner;
        if (s.values().is_ordered(this_thread->seen, place_)) return;
        s.fail("line " + std::to_string(at.line()) + ": data is " + what + " in a race with its last write");
    }
    void wrote() {
        if (this_thread == nullptr) return;
        this_thread->owner->values().write(this_thread->seen, place_, 0, 0, std::memory_order_relaxed);
    }

    T value_;
    mutable place place_{};
};

} // namespace schedules
