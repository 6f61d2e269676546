// SPDX-License-Identifier: Apache-2.0
// Events that several threads put in and deliver at once.
//
// Breaks of the header that were made by hand and were found:
//   a thread delivers whoever else is delivering
//   the batch taken once instead of until nothing is left
//   the deliverer leaves after it has let go of the mutex
#include "schedules/explore.hpp"

#include <resilience/detail/event_outbox.hpp>

namespace {

namespace sync = resilience::detail;
using schedules::explore;
using schedules::plain;
using schedules::together;

/// Its events are numbered under its mutex, so that their order is known.
struct numbering_owner {
    sync::mutex mutex;
    sync::event_outbox<int> outbox;
    int numbered = 0;      // guarded by mutex
    plain<int> told{0};    // written by the thread that delivers
    plain<bool> telling{}; // likewise

    void put() {
        const sync::lock_guard lock(mutex);
        outbox.put_locked([&] { return ++numbered; });
    }
    void deliver() {
        outbox.deliver(mutex, [&](int number) { tell(number); });
    }
    void tell(int number) {
        EXPECT(!telling.get());
        telling.set(true);
        schedules::step();
        EXPECT(number == told.get() + 1);
        told.set(number);
        telling.set(false);
    }
};

TEST_CASE("of threads that put in events, one delivers at a time, in order, and none is forgotten",
          "[event_outbox][events]") {
    const auto scenario = [](int threads) {
        return [=] {
            numbering_owner owner;
            const auto put_and_deliver = [&] {
                owner.put();
                owner.deliver();
            };
            const auto put_two_and_deliver = [&] {
                owner.put();
                put_and_deliver();
            };

            if (threads == 2) together(put_and_deliver, put_two_and_deliver);
            else together(put_and_deliver, put_two_and_deliver, put_and_deliver);

            EXPECT(owner.told.get() == owner.numbered);
            EXPECT(owner.outbox.is_empty_locked());
        };
    };

    explore("two threads with three events", {.within = {3, 0}}, scenario(2));
    explore("three threads with four events", {.within = {2, 0}}, scenario(3));
    explore("three threads with four events", {.random = 2000}, scenario(3));
}

} // namespace
