// SPDX-License-Identifier: Apache-2.0
#include <resilience/detail/immortal.hpp>

#include "support/catch.hpp"

#include <latch>
#include <thread>

namespace {

namespace rs = resilience;

struct counted {
    explicit counted(int n) : number(n) { ++alive; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() { --alive; }

    int number;
    static inline int alive = 0;
};

TEST_CASE("what is immortal is made once, at first use", "[immortal]") {
    static constinit rs::detail::immortal<counted> one;
    const int before = counted::alive;

    counted& first = one.get([] { return counted(1); });
    counted& again = one.get([] { return counted(2); });

    CHECK(&first == &again);
    CHECK(first.number == 1);
    CHECK(counted::alive == before + 1);
}

TEST_CASE("a thread does not wait for another that makes what is immortal", "[immortal]") {
    static constinit rs::detail::immortal<counted> one;
    const int before = counted::alive;
    std::latch making(1), made(1);
    counted* found_late = nullptr;
    std::thread late([&] {
        found_late = &one.get([&] {
            making.count_down();
            made.wait(); // as a thread that a forked child does not have
            return counted(1);
        });
    });

    making.wait();
    counted& mine = one.get([] { return counted(2); });
    made.count_down();
    late.join();

    CHECK(mine.number == 2);
    CHECK(found_late == &mine);
    CHECK(counted::alive == before + 1); // the late one's is destroyed
}

} // namespace
