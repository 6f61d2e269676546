// SPDX-License-Identifier: Apache-2.0
#include <resilience/detail/immortal.hpp>

#include "support/catch.hpp"

#include <atomic>
#include <latch>
#include <thread>

namespace {

namespace rs = resilience;

struct counted {
    counted() { ++alive; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() { --alive; }

    static inline int alive = 0;
};

TEST_CASE("what is immortal is made once, at first use", "[immortal]") {
    static constinit rs::detail::immortal<counted> one;
    const int before = counted::alive;

    CHECK(&one.get() == &one.get());
    CHECK(counted::alive == before + 1);
}

/// The first thread that makes one waits in the middle of it, as a thread that a forked child does not have.
struct slow_at_first : counted {
    slow_at_first() : number(++made) {
        if (number != 1) return;
        making.count_down();
        go_on.wait();
    }

    const int number;
    static inline std::atomic<int> made{0};
    static inline std::latch making{1}, go_on{1};
};

TEST_CASE("a thread does not wait for another that makes what is immortal", "[immortal]") {
    static constinit rs::detail::immortal<slow_at_first> one;
    const int before = counted::alive;
    slow_at_first* found_late = nullptr;
    std::thread late([&] { found_late = &one.get(); });

    slow_at_first::making.wait();
    slow_at_first& mine = one.get();
    slow_at_first::go_on.count_down();
    late.join();

    CHECK(mine.number == 2);
    CHECK(found_late == &mine);
    CHECK(counted::alive == before + 1); // the late one's is destroyed
}

} // namespace
