// SPDX-License-Identifier: Apache-2.0
// A forked child has one thread, and the memory as the others left it: what they held, nobody lets go of there.
#include <resilience/circuit_breaker.hpp>
#include <resilience/registry.hpp>
#include <resilience/retry.hpp>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
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
        const bool listed = reg.circuit_breakers().size() == 2 && reg.policies().size() >= 3;
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
                   all.retry.try_call(&succeed).has_value();
        });
        if (!good) ++bad;
        if (bad == 3) break;
    }

    CHECK(bad == 0);
}

TEST_CASE("no fork waits for long while threads fail without a pause", "[stress][fork][H-CPP-04]") {
    rs::registry reg;
    const rs::circuit_breaker breaker({.failure_threshold = 65'536, .failure_window = 1ms}, reg);
    const threads_at_work eight(8, [&](std::uint64_t) { (void)breaker.try_call(&fail); });

    auto slowest = 0ns;
    for (int i = 0; i < 100; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        const pid_t child = fork();
        if (child == 0) _exit(0);
        slowest = std::max<std::chrono::nanoseconds>(slowest, std::chrono::steady_clock::now() - begin);
        waitpid(child, nullptr, 0);
    }

    CHECK(slowest < 2s); // a fork that comes last among so many readers never does
    CHECK(breaker.stats().failures > 100);
}

} // namespace

#endif
