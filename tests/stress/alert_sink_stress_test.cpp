// SPDX-License-Identifier: Apache-2.0
// An alert sink under threads, in real time: events while it is made, sends and ends.
#include <resilience/alert_sink.hpp>
#include <resilience/circuit_breaker.hpp>
#include <resilience/retry.hpp>

#include "support/catch.hpp"

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__has_feature)
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
// In a child forked while several threads run, TSan cannot follow new ones.
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

/// Threads that cause events until the end of the scope.
class callers {
public:
    callers(rs::registry& where, unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            threads_.emplace_back([&where, i](std::stop_token stop) {
                const rs::retry retry({.name = "r" + std::to_string(i), .max_attempts = 2, .base_delay = 0ns},
                                      where);
                const rs::circuit_breaker breaker(
                    {.name = "c" + std::to_string(i % 2), .failure_threshold = 1}, where);
                while (!stop.stop_requested()) {
                    (void)retry.try_call(
                        []() -> std::error_code { return std::make_error_code(std::errc::io_error); });
                    breaker.force_open();
                    breaker.reset();
                }
            });
        }
    }

private:
    std::vector<std::jthread> threads_;
};

TEST_CASE("sinks come and go while threads cause events", "[stress][alert_sink]") {
    rs::registry reg;
    const callers busy(reg, 4);
    std::atomic<bool> alive{false};
    std::atomic<unsigned> sent{0};
    unsigned after_the_end = 0;

    for (int i = 0; i < 200; ++i) {
        alive = true;
        {
            rs::alert_sink sink(
                reg,
                {.deduplicate_for = i % 2 == 0 ? 0s : 5min, .max_per_minute = 60'000, .queue_capacity = 4},
                [&](const rs::alert& a) {
                    if (!alive) ++after_the_end;
                    ++sent;
                    if (a.what.policy == "c1") throw std::runtime_error("receiver is down");
                });
            while (i % 3 != 0 && sink.stats().seen < 10) std::this_thread::yield();
            if (i % 3 == 1) sink.flush(1min);
        }
        alive = false;
    }

    CHECK(after_the_end == 0);
    CHECK(sent > 0);
    CHECK(reg.listener_errors() == 0);
}

TEST_CASE("every alert is sent, merged or counted as dropped", "[stress][alert_sink]") {
    rs::registry reg;
    std::atomic<std::uint64_t> told{0};
    rs::alert_sink sink(
        reg, {.deduplicate_for = 0s, .max_per_minute = 60'000, .burst = 10'000, .queue_capacity = 3},
        [&](const rs::alert& a) { told += 1 + a.held_back; });
    constexpr unsigned threads = 4;
    constexpr unsigned events = 2'000;

    {
        std::vector<std::jthread> all;
        for (unsigned t = 0; t < threads; ++t) {
            all.emplace_back([&, t] {
                for (unsigned i = 0; i < events; ++i) {
                    rs::event e{.kind = rs::event_kind::call_abandoned,
                                .policy_kind = "abandoning_timeout",
                                .policy = std::to_string((t + i) % 5)};
                    reg.env()->publish(std::move(e));
                }
            });
        }
    }
    CHECK(sink.flush(1min));

    const auto s = sink.stats();
    CHECK(s.seen == threads * events);
    CHECK(s.waiting == 0);
    CHECK(s.failed == 0);
    CHECK(s.sent + s.deduplicated + s.dropped == s.seen);
    CHECK(told <= s.seen);
    CHECK(told >= s.sent + s.deduplicated);
}

#if !UNDER_TSAN
TEST_CASE("a forked child sends nothing by its parent's sink, and may have one of its own",
          "[stress][alert_sink]") {
    rs::registry reg;
    const pid_t parent = getpid();
    std::atomic<unsigned> sent{0};
    rs::alert_sink sink(reg, {}, [&](const rs::alert&) {
        if (getpid() != parent) std::abort();
        ++sent;
    });
    const rs::event e{.kind = rs::event_kind::call_abandoned, .policy_kind = "abandoning_timeout"};
    reg.env()->publish(e);
    REQUIRE(sink.flush(1min));

    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        reg.env()->publish(e);
        std::promise<void> arrived;
        rs::alert_sink own(reg, {}, [&](const rs::alert&) { arrived.set_value(); });
        reg.env()->publish(e);
        arrived.get_future().get();
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(sent == 1);
}
#endif

} // namespace
