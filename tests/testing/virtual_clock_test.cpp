// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/pipeline.hpp>
#include <resilience/registry.hpp>
#include <resilience/retry.hpp>
#include <resilience/testing/virtual_clock.hpp>
#include <resilience/timeout.hpp>

#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using rs::testing::sleepers;
using rs::testing::virtual_clock;

namespace {

constexpr auto clock_start = virtual_clock::start_time;

TEST_CASE("every clock starts at the same moment, which is not zero", "[virtual_clock]") {
    const virtual_clock clock;

    CHECK(clock.now() == rs::time_point{1'000'000s});
    CHECK(clock.coarse_now() == clock.now());
    CHECK(clock.coarse_resolution() == 0s);
    const std::chrono::sys_days day = std::chrono::year{2024} / 1 / 8;
    CHECK(clock.wall_now() == day + 20h);
}

TEST_CASE("advance moves both times on", "[virtual_clock]") {
    virtual_clock clock;
    const auto wall = clock.wall_now();

    clock.advance(1500ms);

    CHECK(clock.now() == clock_start + 1500ms);
    CHECK(clock.wall_now() == wall + 1500ms);
}

TEST_CASE("the wall time can be set and goes on from there", "[virtual_clock]") {
    virtual_clock clock;
    const std::chrono::sys_days day = std::chrono::year{2030} / 6 / 1;
    clock.advance(1h);

    clock.set_wall(day);
    CHECK(clock.wall_now() == day);

    clock.advance(1s);
    CHECK(clock.wall_now() == day + 1s);
}

TEST_CASE("a negative advance is refused, zero is not", "[virtual_clock]") {
    virtual_clock clock;

    CHECK_THROWS_AS(clock.advance(-1ns), std::invalid_argument);
    CHECK_NOTHROW(clock.advance(0s));
    CHECK_THROWS_AS(clock.set_back(-1ns), std::invalid_argument);
    CHECK_THROWS_AS(clock.set_coarse_resolution(-1ns), std::invalid_argument);
    CHECK(clock.now() == clock_start);
}

TEST_CASE("set_back makes the clock go backwards", "[virtual_clock]") {
    virtual_clock clock;

    clock.set_back(3s);

    CHECK(clock.now() == clock_start - 3s);
    clock.advance(1s);
    CHECK(clock.now() == clock_start - 2s);
}

TEST_CASE("the time stops at the end of the range", "[virtual_clock][H-CPP-01]") {
    virtual_clock clock;

    clock.advance(rs::duration::max());

    CHECK(clock.now() == rs::time_point::max());
    CHECK(clock.wall_now() > virtual_clock::start_wall_time);
    clock.advance(1s);
    CHECK(clock.now() == rs::time_point::max());
}

TEST_CASE("the coarse time is the last tick", "[virtual_clock]") {
    virtual_clock clock;
    clock.set_coarse_resolution(4ms);
    CHECK(clock.coarse_resolution() == 4ms);

    clock.advance(4ms - 1ns);
    CHECK(clock.coarse_now() == clock_start);
    clock.advance(1ns);
    CHECK(clock.coarse_now() == clock_start + 4ms);
}

TEST_CASE("the ticks of the coarse time can be shifted", "[virtual_clock]") {
    virtual_clock clock;
    clock.set_coarse_resolution(4ms, 1ms);

    CHECK(clock.coarse_now() == clock_start - 3ms);
    clock.advance(1ms);
    CHECK(clock.coarse_now() == clock_start + 1ms);
    clock.set_back(2'000'000s);
    CHECK(clock.coarse_now() == clock_start + 1ms - 2'000'000s);
    clock.set_back(1ns);
    CHECK(clock.coarse_now() == clock_start - 3ms - 2'000'000s);
}

TEST_CASE("reads of the clock are counted", "[virtual_clock]") {
    virtual_clock clock;
    clock.advance(1s);
    clock.sleep_until(clock_start + 2s, {});
    (void)clock.wall_now();
    CHECK(clock.now_reads() == 0);

    (void)clock.now();
    (void)clock.coarse_now();
    (void)clock.coarse_now();

    CHECK(clock.now_reads() == 3);
    CHECK(clock.coarse_reads() == 2);
}

TEST_CASE("a timer fires at its moment and not a tick before", "[virtual_clock]") {
    virtual_clock clock;
    int fired = 0;
    const auto timer = clock.call_at(clock_start + 5s, [&] { ++fired; });

    clock.advance(5s - 1ns);
    CHECK(fired == 0);
    CHECK(clock.pending_timers() == 1);

    clock.advance(1ns);
    CHECK(fired == 1);
    CHECK(clock.pending_timers() == 0);

    clock.advance(1h);
    CHECK(fired == 1);
}

TEST_CASE("timers fire in order, each at its own time", "[virtual_clock]") {
    virtual_clock clock;
    std::vector<std::pair<char, rs::duration>> fired;
    const auto note = [&](char name) {
        return [&, name] { fired.emplace_back(name, clock.now() - clock_start); };
    };
    const auto c = clock.call_at(clock_start + 3s, note('c'));
    const auto a = clock.call_at(clock_start + 1s, note('a'));
    const auto b = clock.call_at(clock_start + 1s, note('b'));
    const auto late = clock.call_at(clock_start + 11s, note('x'));

    clock.advance(10s);

    CHECK(fired == std::vector<std::pair<char, rs::duration>>{{'a', 1s}, {'b', 1s}, {'c', 3s}});
    CHECK(clock.now() == clock_start + 10s);
}

TEST_CASE("timers that timers add fire in the same advance if they are due by then", "[virtual_clock]") {
    virtual_clock clock;
    std::vector<rs::duration> fired;
    std::vector<rs::timer> timers;
    const auto again = [&](const auto& self) -> void {
        fired.push_back(clock.now() - clock_start);
        timers.push_back(clock.call_at(clock.now() + 2s, [&self] { self(self); }));
    };
    timers.push_back(clock.call_at(clock_start + 2s, [&] { again(again); }));

    clock.advance(5s);

    CHECK(fired == std::vector<rs::duration>{2s, 4s});
    CHECK(clock.pending_timers() == 1);
    CHECK(clock.now() == clock_start + 5s);
}

TEST_CASE("a destroyed timer never fires", "[virtual_clock]") {
    virtual_clock clock;
    bool fired = false;
    {
        const auto timer = clock.call_at(clock_start + 1s, [&] { fired = true; });
    }

    clock.advance(2s);

    CHECK_FALSE(fired);
    CHECK(clock.pending_timers() == 0);
}

TEST_CASE("a timer may destroy itself, others, and move the time: no lock is held", "[virtual_clock]") {
    virtual_clock clock;
    std::optional<rs::timer> self, other;
    bool other_fired = false;
    other = clock.call_at(clock_start + 1s, [&] { other_fired = true; });
    self = clock.call_at(clock_start + 1s - 1ns, [&] {
        self.reset();
        other.reset();
        clock.advance(3s);
    });

    clock.advance(1s);

    CHECK_FALSE(other_fired);
    CHECK(clock.now() == clock_start + 4s - 1ns);
}

TEST_CASE("a timer that is overdue when it is added fires with the next movement", "[virtual_clock]") {
    virtual_clock clock;
    int fired = 0;
    const auto past = clock.call_at(clock_start - 1s, [&] { ++fired; });
    const auto present = clock.call_at(clock_start, [&] { ++fired; });
    CHECK(fired == 0);

    clock.advance(0s);

    CHECK(fired == 2);
    CHECK(clock.now() == clock_start);
}

TEST_CASE("a timer for the end of time never fires", "[virtual_clock][H-CPP-01]") {
    virtual_clock clock;
    bool fired = false;
    const auto timer = clock.call_at(rs::time_point::max(), [&] { fired = true; });

    clock.advance(rs::duration::max());

    CHECK_FALSE(fired);
    CHECK(clock.pending_timers() == 1);
}

TEST_CASE("what a timer throws comes out of advance", "[virtual_clock]") {
    virtual_clock clock;
    const auto timer = clock.call_at(clock_start + 1s, [] { throw std::runtime_error("x"); });

    CHECK_THROWS_AS(clock.advance(2s), std::runtime_error);
    CHECK(clock.now() == clock_start + 1s);
    clock.advance(1s);
    CHECK(clock.now() == clock_start + 2s);
}

TEST_CASE("a sleep moves the time to its end and is listed", "[virtual_clock]") {
    virtual_clock clock;

    CHECK(clock.sleep_until(clock_start + 2s, {}));
    CHECK(clock.now() == clock_start + 2s);
    CHECK(clock.sleep_until(clock_start + 5s, std::stop_source().get_token()));
    CHECK(clock.now() == clock_start + 5s);
    CHECK(clock.slept() == std::vector<rs::duration>{2s, 3s});
}

TEST_CASE("a sleep until a moment that has passed takes no time", "[virtual_clock]") {
    virtual_clock clock;

    CHECK(clock.sleep_until(clock_start - 1s, {}));
    CHECK(clock.sleep_until(rs::time_point::min(), {}));
    CHECK(clock.sleep_until(clock_start, {}));

    CHECK(clock.now() == clock_start);
    CHECK(clock.slept() == std::vector<rs::duration>{0s, 0s, 0s});
}

TEST_CASE("a sleep after a stop request does not begin", "[virtual_clock]") {
    virtual_clock clock;
    std::stop_source stop;
    stop.request_stop();

    CHECK_FALSE(clock.sleep_until(clock_start + 2s, stop.get_token()));
    CHECK_FALSE(clock.sleep_until(clock_start - 2s, stop.get_token()));

    CHECK(clock.now() == clock_start);
    CHECK(clock.slept().empty());
}

TEST_CASE("a sleep fires the timers on its way", "[virtual_clock]") {
    virtual_clock clock;
    rs::time_point fired{};
    const auto timer = clock.call_at(clock_start + 1s, [&] { fired = clock.now(); });

    CHECK(clock.sleep_until(clock_start + 2s, {}));

    CHECK(fired == clock_start + 1s);
    CHECK(clock.now() == clock_start + 2s);
}

TEST_CASE("a timer that requests the stop ends the sleep at its moment", "[virtual_clock]") {
    virtual_clock clock;
    std::stop_source stop;
    bool later = false;
    const auto first = clock.call_at(clock_start + 1s, [&] { stop.request_stop(); });
    const auto second = clock.call_at(clock_start + 2s, [&] { later = true; });

    SECTION("before the end of the sleep") {
        CHECK_FALSE(clock.sleep_until(clock_start + 5s, stop.get_token()));
    }
    SECTION("at the end of the sleep") { CHECK_FALSE(clock.sleep_until(clock_start + 1s, stop.get_token())); }
    SECTION("in a sleep without end") {
        CHECK_FALSE(clock.sleep_until(rs::time_point::max(), stop.get_token()));
    }

    CHECK(clock.now() == clock_start + 1s);
    CHECK_FALSE(later);
    CHECK(clock.slept().size() == 1);
}

TEST_CASE("a timer that requests the stop a tick after the sleep is too late", "[virtual_clock]") {
    virtual_clock clock;
    std::stop_source stop;
    const auto timer = clock.call_at(clock_start + 1s + 1ns, [&] { stop.request_stop(); });

    CHECK(clock.sleep_until(clock_start + 1s, stop.get_token()));
    CHECK_FALSE(stop.stop_requested());
}

TEST_CASE("a sleep for ever that nothing can end is refused", "[virtual_clock][H-CPP-01]") {
    virtual_clock clock(GENERATE(sleepers::advance_time, sleepers::wait));

    CHECK_THROWS_AS(clock.sleep_until(rs::time_point::max(), {}), std::logic_error);
}

TEST_CASE("a sleep for ever lasts until another thread requests the stop", "[virtual_clock][H-CPP-01]") {
    virtual_clock clock(GENERATE(sleepers::advance_time, sleepers::wait));
    std::stop_source stop;
    std::atomic<bool> in_full{true};
    std::thread thread([&] { in_full = clock.sleep_until(rs::time_point::max(), stop.get_token()); });
    clock.wait_for_sleepers(1);

    clock.advance(rs::duration::max());
    CHECK(clock.sleeping() == 1);

    stop.request_stop();
    thread.join();
    CHECK_FALSE(in_full);
    CHECK(clock.slept() == std::vector<rs::duration>{rs::duration::max()});
}

TEST_CASE("a sleeper that waits is woken when another thread brings the time, not a tick before",
          "[virtual_clock]") {
    virtual_clock clock(sleepers::wait);
    std::atomic<bool> in_full{false};
    std::thread thread([&] { in_full = clock.sleep_until(clock_start + 2s, {}); });
    clock.wait_for_sleepers(1);

    clock.advance(2s - 1ns);
    CHECK(clock.sleeping() == 1);
    CHECK_FALSE(in_full);

    clock.advance(1ns);
    CHECK(clock.sleeping() == 0);
    thread.join();
    CHECK(in_full);
    CHECK(clock.slept() == std::vector<rs::duration>{2s});
}

TEST_CASE("a sleeper that waits does not block for a moment that has passed", "[virtual_clock]") {
    virtual_clock clock(sleepers::wait);

    CHECK(clock.sleep_until(clock_start, {}));
    CHECK(clock.sleep_until(clock_start - 1s, {}));
}

TEST_CASE("a sleeper that waits is woken by its stop token alone", "[virtual_clock]") {
    virtual_clock clock(sleepers::wait);
    std::stop_source stop;
    std::atomic<int> stopped{0}, in_full{0};
    const auto sleep = [&](std::stop_token token) {
        ++(clock.sleep_until(clock_start + 2s, std::move(token)) ? in_full : stopped);
    };
    std::thread one([&] { sleep(stop.get_token()); });
    std::thread two([&] { sleep({}); });
    clock.wait_for_sleepers(2);

    stop.request_stop();
    one.join();
    CHECK(stopped == 1);
    CHECK(clock.sleeping() == 1);
    CHECK(clock.now() == clock_start);

    clock.advance(2s);
    two.join();
    CHECK(in_full == 1);
}

TEST_CASE("what ends a sleeper first counts, however far the time is moved at once", "[virtual_clock]") {
    virtual_clock clock(sleepers::wait);
    std::stop_source stop;
    const auto timer = clock.call_at(clock_start + 2s, [&] { stop.request_stop(); });
    std::atomic<int> before{-1}, same{-1}, after{-1};
    std::thread one([&] { before = clock.sleep_until(clock_start + 2s - 1ns, stop.get_token()); });
    std::thread two([&] { same = clock.sleep_until(clock_start + 2s, stop.get_token()); });
    std::thread three([&] { after = clock.sleep_until(clock_start + 2s + 1ns, stop.get_token()); });
    clock.wait_for_sleepers(3);

    clock.advance(1h);
    one.join();
    two.join();
    three.join();

    CHECK(before == 1);
    CHECK(same == 0); // as without threads: the timers of a moment come before the sleepers' end
    CHECK(after == 0);
}

TEST_CASE("threads may share a clock in every way", "[virtual_clock]") {
    virtual_clock clock;
    std::atomic<int> fired{0};
    std::vector<std::thread> threads;
    constexpr int rounds = 200;

    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < rounds; ++i) {
                const auto kept = clock.call_at(clock.now() + 1ms, [&] { ++fired; });
                {
                    const auto cancelled = clock.call_at(clock.coarse_now() + 1h, [&] { ++fired; });
                }
                clock.sleep_until(clock.now() + 1ms, {});
                clock.advance(1ms);
                (void)clock.wall_now();
            }
        });
    }
    for (auto& thread : threads) thread.join();

    CHECK(fired == 4 * rounds);
    CHECK(clock.pending_timers() == 0);
    CHECK(clock.slept().size() == 4 * rounds);
}

TEST_CASE("sleeps tells whose each sleep was", "[virtual_clock]") {
    virtual_clock clock;
    rs::registry reg{clock};
    const auto guard = rs::retry({.max_attempts = 2, .base_delay = 5s, .jitter = rs::jitter::none}, reg) |
                       rs::timeout(1min, reg);
    int attempt = 0;

    guard.named("fetch")([&] {
        clock.sleep_until(clock.now() + 2s, {});
        if (++attempt == 1) throw std::runtime_error("down");
    });
    clock.sleep_until(clock.now() + 1s, {});

    CHECK(clock.slept() == std::vector<rs::duration>{2s, 5s, 2s, 1s});
    const auto sleeps = clock.sleeps();
    REQUIRE(sleeps.size() == 4);
    using rs::testing::asked_by;
    CHECK((sleeps[0].asked_by == asked_by::code && sleeps[0].attempt == 1));
    CHECK(
        (sleeps[1].asked_by == asked_by::policy && sleeps[1].attempt == 1 && sleeps[1].operation == "fetch"));
    CHECK((sleeps[2].asked_by == asked_by::code && sleeps[2].attempt == 2 && sleeps[2].operation == "fetch"));
    CHECK((sleeps[3].asked_by == asked_by::code && sleeps[3].attempt == 0 && sleeps[3].operation.empty()));
}

} // namespace
