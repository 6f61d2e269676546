// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/abandoning_timeout.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#define UNDER_ASAN 1
#else
#define UNDER_ASAN 0
#endif
// In a child forked while several threads run, TSan cannot follow new ones ("dup thread with used id").
#define FORKING_TESTS (!UNDER_TSAN)

namespace {

using clock_type = std::chrono::steady_clock;

/// For what must happen but not at a certain time: real time passes while others work on it.
template <class Condition>
bool eventually(Condition condition, rs::duration within = 30s) {
    for (const auto end = clock_type::now() + within; clock_type::now() < end;) {
        if (condition()) return true;
        std::this_thread::sleep_for(1ms);
    }
    return condition();
}

bool settled(const rs::abandoning_timeout& timeout) {
    return eventually([&] { return timeout.stats().abandoned_running == 0; });
}

void spin(rs::duration length) {
    for (const auto end = clock_type::now() + length; clock_type::now() < end;) {}
}

/// Forwards to the machine's time without saying that it is std::chrono::steady_clock.
class another_clock : public rs::time_source {
public:
    rs::time_point now() const noexcept override { return rs::system_time().now(); }
    std::chrono::system_clock::time_point wall_now() const noexcept override {
        return rs::system_time().wall_now();
    }
    bool sleep_until(rs::time_point until, std::stop_token stop) override {
        return rs::system_time().sleep_until(until, stop);
    }
    rs::timer call_at(rs::time_point at, std::function<void()> f) override {
        return rs::system_time().call_at(at, std::move(f));
    }
};

TEST_CASE("work that goes on ten times longer than the limit touches nothing of the caller",
          "[abandoning_timeout][H-TO-01]") {
    const rs::abandoning_timeout timeout(10ms);
    const auto retried = rs::retry({.max_attempts = 2, .base_delay = 1ms}) | timeout |
                         rs::retry({.max_attempts = 2, .base_delay = 1ms});
    std::atomic<std::uint64_t> begun{0}, finished{0}; // a worker that comes too late does not begin

    for (int round = 0; round < 6; ++round) {
        // On the heap and in a frame of its own, so that a late access is one to freed memory.
        auto caller = std::make_unique<std::thread>([&] {
            const std::string callers_text(100, 'a');
            const std::vector<int> callers_numbers(100, 1);
            char callers_buffer[] = "a text in the frame of the caller";
            auto f = [&begun, &finished, text = callers_text](const std::vector<int>& numbers, char* buffer,
                                                              rs::duration length) {
                ++begun;
                std::size_t sum = 0;
                for (const auto end = clock_type::now() + length; clock_type::now() < end;) {
                    for (const char c : text) sum += static_cast<std::size_t>(c == 'a');
                    for (const int n : numbers) sum += static_cast<std::size_t>(n);
                    sum += static_cast<std::size_t>(buffer[0] == 'a');
                    buffer[1] = ' ';
                    std::this_thread::sleep_for(1ms);
                }
                ++finished;
                return std::string(sum % 100, 'x');
            };
            const auto late = (round % 2 != 0 ? retried.try_call(f, callers_numbers, callers_buffer, 100ms)
                                              : timeout.try_call(f, callers_numbers, callers_buffer, 100ms));
            CHECK(late.error().code() == rs::errc::timed_out);
        });
        caller->join();
    }

    CHECK(settled(timeout));
    CHECK(finished > 0);
    CHECK(begun == finished);
    CHECK(timeout.stats().late_results == finished);
}

TEST_CASE("the caller is back at the limit, not at the end of the work", "[abandoning_timeout][H-TO-02]") {
    another_clock other;
    const bool steady = GENERATE(true, false);
    rs::registry reg{steady ? rs::system_time() : static_cast<rs::time_source&>(other)};
    const rs::abandoning_timeout timeout({.limit = 20ms}, reg);
    std::atomic<bool> go_on{false};
    const auto begin = clock_type::now();

    const auto late = timeout.try_call([&go_on] {
        for (const auto end = clock_type::now() + 60s; !go_on && clock_type::now() < end;)
            std::this_thread::sleep_for(1ms);
    });

    const auto took = clock_type::now() - begin;
    go_on = true;
    CHECK(late.error().code() == rs::errc::timed_out);
    CHECK(took >= 20ms);
    CHECK(took < 20s);
    CHECK(settled(timeout));
}

TEST_CASE("the caller is back at the limit, though a stop callback waits for what the work holds",
          "[abandoning_timeout][H-TO-02]") {
    another_clock other;
    const bool steady = GENERATE(true, false);
    rs::registry reg{steady ? rs::system_time() : static_cast<rs::time_source&>(other)};
    const rs::abandoning_timeout timeout({.limit = 100ms}, reg);
    std::atomic<bool> go_on{false}, begun{false}, asked{false};
    std::mutex held;

    const auto late = timeout.try_call([&](rs::call_context& ctx) {
        std::optional<std::stop_callback<std::function<void()>>> waits; // ends after the lock
        const std::lock_guard lock(held);
        waits.emplace(ctx.stop_token(), [&] {
            asked = true;
            const std::lock_guard after_the_work(held);
        });
        begun = true;
        for (const auto end = clock_type::now() + 60s; !go_on && clock_type::now() < end;)
            std::this_thread::sleep_for(1ms);
    });

    const bool still_held = !held.try_lock();
    if (!still_held) held.unlock();
    CHECK(late.error().code() == rs::errc::timed_out);
    CHECK((still_held || !begun)); // where the machine stalls the worker comes too late to begin
    if (begun) CHECK(eventually([&] { return asked.load(); }));
    go_on = true;
    CHECK(settled(timeout));
}

TEST_CASE("limits that the machine can hardly keep leak nothing", "[abandoning_timeout][H-TO-06][H-TO-07]") {
    const auto limit =
        GENERATE(rs::duration{1ns}, rs::duration{999ns}, rs::duration{20us}, rs::duration{999us});
    const rs::abandoning_timeout timeout({.limit = limit, .max_abandoned = 100'000});
    std::atomic<std::uint64_t> begun{0}, values{0};

    for (int i = 0; i < 300; ++i) {
        if (timeout.try_call([&begun] { ++begun; })) ++values;
    }

    CHECK(settled(timeout));
    const auto stats = timeout.stats();
    CHECK(stats.calls == 300);
    CHECK(values + stats.timed_out == 300);
    CHECK(begun == values + stats.late_results);
    if (limit == 999us) CHECK(values > 0); // it is no limit of 0
}

TEST_CASE("a limit without end is waited for without using the processor",
          "[abandoning_timeout][H-TO-05][H-CPP-01]") {
    const rs::abandoning_timeout timeout(
        GENERATE(rs::duration::max(), rs::duration::max() - 1ns, rs::duration{24h * 365 * 200}));
    const auto used = [] {
        timespec spent{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
        return std::chrono::seconds{spent.tv_sec} + std::chrono::nanoseconds{spent.tv_nsec};
    };
    const auto before = used();

    const int result = timeout([] {
        std::this_thread::sleep_for(200ms);
        return 5;
    });

    CHECK(result == 5);
    CHECK(used() - before < 100ms);
}

/// Counts what of it lives.
struct counted {
    static inline std::atomic<int> made{0}, alive{0};
    counted() { ++made, ++alive; }
    counted(counted&&) noexcept { ++alive; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() { --alive; }
};

TEST_CASE("when work, limit and stop request come together each call has one end and each result one owner",
          "[abandoning_timeout][H-TO-03]") {
    another_clock other;
    const bool steady = GENERATE(true, false);
    rs::registry reg{steady ? rs::system_time() : static_cast<rs::time_source&>(other)};
    const rs::abandoning_timeout timeout({.limit = 60us, .max_abandoned = 100'000}, reg);
    std::atomic<std::uint64_t> values{0}, timed_out{0}, cancelled{0}, failed{0}, others{0}, begun{0},
        rethrown{0}, gave_up{0}; // of those that failed: at the limit
    constexpr int threads = 3, rounds = 1500;
    counted::made = 0;

    std::vector<std::thread> callers;
    for (int t = 0; t < threads; ++t) {
        callers.emplace_back([&, t] {
            for (int i = 0; i < rounds; ++i) {
                std::stop_source stop;
                std::thread stopper;
                const bool stops = i % 8 == 0;
                if (stops) stopper = std::thread([&stop] { stop.request_stop(); });
                const auto length = 1us * ((i * 7 + t * 13) % 100);
                const auto out = timeout.with({.stop_token = stop.get_token()})
                                     .try_call([&begun, length, i](rs::call_context& ctx) {
                                         ++begun;
                                         const std::stop_callback told(ctx.stop_token(), [] {});
                                         spin(length);
                                         if (i % 5 == 0) throw std::runtime_error("the work's own");
                                         return counted{};
                                     });
                if (out) ++values;
                else if (out.error().code() == rs::errc::timed_out) ++timed_out;
                else if (out.error().code() == rs::errc::cancelled) ++cancelled;
                else if (out.error().template as<std::runtime_error>() != nullptr) ++failed;
                else ++others;
                if (!out && out.error().came_at_limit()) ++gave_up;
                if (stopper.joinable()) stopper.join();
            }
        });
    }
    for (auto& caller : callers) caller.join();

    CHECK(settled(timeout));
    const auto stats = timeout.stats();
    CHECK(others == 0);
    CHECK(values + timed_out + cancelled + failed == threads * rounds);
    CHECK(stats.timed_out == timed_out + gave_up);
    CHECK(stats.cancelled <=
          cancelled); // a call that was stopped before it began does not come to the policy
    CHECK(stats.calls - stats.cancelled == threads * rounds - cancelled);
    CHECK(begun == values + failed + stats.late_results);
    CHECK(counted::alive == 0);
    INFO("values " << values << " timed out " << timed_out << " cancelled " << cancelled);
    CHECK(values > 0);
    CHECK(timed_out > 0);
}

std::size_t threads_of_this_process() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& task : std::filesystem::directory_iterator("/proc/self/task")) ++count;
    return count;
}

TEST_CASE("workers are used again, and hanging ones are no more than allowed",
          "[abandoning_timeout][H-TO-09]") {
    const rs::abandoning_timeout timeout({.limit = 10s, .max_abandoned = 5});
    std::set<std::thread::id> workers;
    for (int i = 0; i < 1000; ++i) workers.insert(timeout([] { return std::this_thread::get_id(); }));
    CHECK(workers.size() < 100);

    const rs::abandoning_timeout hanging({.limit = 1ms, .max_abandoned = 5});
    const auto go_on = std::make_shared<std::atomic<bool>>(false);
    const auto before = threads_of_this_process();
    for (int i = 0; i < 10'000; ++i) {
        (void)hanging.try_call([go_on] {
            while (!*go_on) std::this_thread::sleep_for(1ms);
        });
    }

    CHECK(hanging.stats().abandoned_running == 5);
    CHECK(hanging.stats().calls < 1000); // 5, and those whose worker came too late to begin
    CHECK(hanging.stats().rejected == 10'000 - hanging.stats().calls);
    CHECK(threads_of_this_process() <= before + 10); // each may have had another that asked it to stop
    CHECK(timeout([] { return 1; }) == 1);           // other policies have workers still
    *go_on = true;
    CHECK(settled(hanging));
    CHECK(hanging([] { return 1; }) == 1);
}

#if !UNDER_TSAN && !UNDER_ASAN

long resident_pages() {
    std::ifstream file("/proc/self/statm");
    long all = 0, resident = 0;
    file >> all >> resident;
    return resident;
}

TEST_CASE("calls under one long-lived stop token leave nothing with it", "[abandoning_timeout][H-TO-10]") {
    const rs::abandoning_timeout timeout(10s);
    std::stop_source stop;
    const auto call = [&](int times) {
        for (int i = 0; i < times; ++i) timeout.with({.stop_token = stop.get_token()}).call([] {});
    };
    call(2'000);
    const long before = resident_pages();

    call(100'000);

    CHECK((resident_pages() - before) * sysconf(_SC_PAGESIZE) < 3'000'000);
}

#endif

TEST_CASE("a caller whose thread is cancelled leaves the work to itself", "[abandoning_timeout][H-TO-08]") {
    const rs::abandoning_timeout timeout(60s);
    struct shared {
        const rs::abandoning_timeout* timeout;
        std::atomic<bool> running{false}, go_on{false}, unwound{false}, caught{false};
    } s{.timeout = &timeout};
    pthread_t caller{};
    REQUIRE(pthread_create(
                &caller, nullptr,
                [](void* arg) -> void* {
                    auto& mine = *static_cast<shared*>(arg);
                    struct unwinding {
                        shared& call;
                        ~unwinding() { call.unwound = true; }
                    } const at_end{mine};
                    (void)mine.timeout->try_call([&mine] {
                        mine.running = true;
                        while (!mine.go_on) std::this_thread::sleep_for(1ms);
                    });
                    mine.caught = true;
                    return nullptr;
                },
                &s) == 0);
    REQUIRE(eventually([&] { return s.running.load(); }));

    pthread_cancel(caller);
    void* result = nullptr;
    pthread_join(caller, &result);

    CHECK(result == PTHREAD_CANCELED);
    CHECK(s.unwound);
    CHECK_FALSE(s.caught);
    CHECK(timeout.stats().abandoned_running == 1);
    s.go_on = true;
    CHECK(settled(timeout));
    CHECK(timeout([] { return 1; }) == 1);
}

#if FORKING_TESTS

/// Runs `f` in a forked child, which must end by itself with status 0.
template <class F>
bool good_in_child(F f, rs::duration limit = 60s) {
    // A worker that lets go of its last job may hold a sanitizer's allocator, which stays locked in the child.
    if (UNDER_ASAN) std::this_thread::sleep_for(50ms);
    const pid_t child = fork();
    if (child == 0) f();
    int status = -1;
    const bool ended = eventually([&] { return waitpid(child, &status, WNOHANG) == child; }, limit);
    if (!ended) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    INFO("the child " << (ended ? "ended" : "hung") << " with status " << status);
    CHECK(ended);
    CHECK(status == 0);
    return ended && status == 0;
}

void use_or_abort() {
    const rs::abandoning_timeout timeout(60s), hasty(1ms);
    if (timeout([] { return 3; }) != 3) std::abort();
    if (hasty.try_call([] { std::this_thread::sleep_for(50ms); })) std::abort();
}

/// Ends a child after its static destructors, before leak checkers that cannot stop a busy thread there.
struct last_of_a_child {
    bool in_child = false;
    ~last_of_a_child() {
        if (in_child) _exit(0);
    }
};
last_of_a_child last;
struct late_user {
    ~late_user() { use_or_abort(); }
};
const late_user used_by_a_static_destructor; // of this program too, so its end is also a test

TEST_CASE("it can be used at the very end of the program, while work runs on",
          "[abandoning_timeout][H-CPP-03]") {
    const rs::abandoning_timeout outlives(1ms);
    CHECK(good_in_child([&] {
        last.in_child = true;
        if (outlives.try_call([] {
                for (;;) std::this_thread::sleep_for(1ms);
            })) {
            std::abort();
        }
        std::thread([] {
            thread_local late_user used_when_the_thread_ends;
            (void)&used_when_the_thread_ends;
        }).join();
        std::atexit(use_or_abort);
        static const late_user another;
        (void)&another;
        std::exit(0);
    }));
}

TEST_CASE("a forked child has workers of its own, whatever its parent's are doing",
          "[abandoning_timeout][H-CPP-04]") {
    const rs::abandoning_timeout timeout(60s);
    const rs::abandoning_timeout hanging(1ms);
    std::atomic<bool> end{false};
    std::atomic<bool> begun{false};
    REQUIRE(eventually([&] { // where the machine stalls the worker comes too late to begin
        (void)hanging.try_call([&] {
            if (begun.exchange(true)) return; // one that came late hangs already
            while (!end) std::this_thread::sleep_for(1ms);
        });
        return begun.load();
    }));
    REQUIRE(eventually([&] { return hanging.stats().abandoned_running == 1; }));
    std::vector<std::thread> threads;
    // The sanitizer's allocator may stay locked by a thread that the child does not have.
    for (int t = 0; t < (UNDER_ASAN ? 0 : 3); ++t) {
        threads.emplace_back([&] {
            while (!end) timeout([] { return 1; });
        });
    }

    for (int i = 0; i < 20; ++i) {
        CHECK(good_in_child([&] {
            const bool works = timeout([] { return 3; }) == 3;
            // A machine that stalls makes this time out, never rejects it.
            const auto again = hanging.try_call([] { return 1; });
            const bool admitted = again || again.error().code() == rs::errc::timed_out;
            _exit(works && admitted ? 0 : 1);
        }));
    }

    CHECK(hanging.stats().abandoned_running == 1);
    end = true;
    for (auto& thread : threads) thread.join();
    CHECK(settled(hanging));
}

#endif

} // namespace
