// SPDX-License-Identifier: Apache-2.0
// Timers that run while they are cancelled.
//
// Breaks of the headers that were made by hand and were found:
//   cancel() does not wait for the function, or waits for its own thread too
//   the run noted after the lock is let go
//   the runner not woken; when it wakes noted after another lock
#include "schedules/explore.hpp"

#include <resilience/detail/timer_queue.hpp>

#include <chrono>
#include <memory>

namespace {

namespace rs = resilience;
using rs::detail::timer_queue;
using schedules::explore;
using schedules::together;
using namespace std::chrono_literals;

constexpr timer_queue::moment at_once{1s};

TEST_CASE("a timer that has been cancelled neither runs nor will", "[timer_queue][H-TO-11][H-CB-18]") {
    const auto scenario = [](int drivers) {
        return [=] {
            timer_queue timers;
            auto alive = std::make_unique<int>(1); // what the function uses
            int ran = 0;
            const auto ticket = timers.add(at_once, [&] {
                EXPECT(alive != nullptr);
                schedules::step();
                EXPECT(alive != nullptr);
                ++ran;
            });
            const auto drive = [&] { (void)timers.run_due(at_once); };
            const auto cancel = [&] {
                timers.cancel(ticket);
                alive.reset();
            };

            if (drivers == 1) together(drive, cancel);
            else together(drive, drive, cancel);
            EXPECT(ran <= 1 && timers.size() == 0);
        };
    };

    explore("run and cancel", {.within = {3, 1}}, scenario(1));
    explore("two run, one cancels", {.within = {2, 0}}, scenario(2));
}

TEST_CASE("a timer may cancel itself while another thread cancels it", "[timer_queue][H-TO-11]") {
    const auto scenario = [] {
        timer_queue timers;
        timer_queue::ticket ticket;
        ticket = timers.add(at_once, [&] { timers.cancel(ticket); });

        together([&] { (void)timers.run_due(at_once); }, [&] { timers.cancel(ticket); });

        EXPECT(timers.size() == 0);
    };

    explore("cancelled from inside and outside", {.within = {3, 1}}, scenario);
}

TEST_CASE("the runner wakes for a timer that is sooner than what it waits for", "[timer_queue]") {
    const auto scenario = [] {
        auto* const timers = new timer_queue; // the runner never ends
        auto* const now = new timer_queue::moment(0s);
        rs::detail::thread([timers, now] { timers->run([now] { return *now; }); }).detach();
        rs::detail::mutex m;
        rs::detail::condition_variable cv;
        int ran = 0;
        const auto note = [&] {
            const rs::detail::lock_guard lock(m);
            ++ran;
            cv.notify_all();
        };
        (void)timers->add(timer_queue::moment::max(), note); // never
        *now = at_once;
        (void)timers->add(at_once, note);
        rs::detail::unique_lock lock(m);
        cv.wait(lock, [&] { return ran == 1; });
    };

    explore("a runner that waits, and a sooner timer", {.within = {3, 1}}, scenario);
}

} // namespace
