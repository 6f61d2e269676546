// SPDX-License-Identifier: Apache-2.0
#include <resilience/detail/striped_counters.hpp>

#include <resilience/detail/config_cell.hpp>
#include <resilience/detail/striped_buckets.hpp>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <latch>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace rs = resilience;
using rs::detail::exclusive_stripes;

/// Runs `f(i)` on that many threads, all alive at once.
template <class F>
void on_threads(std::size_t count, F f) {
    std::latch all_are_here(static_cast<std::ptrdiff_t>(count));
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < count; ++i) {
        threads.emplace_back([&, i] {
            all_are_here.arrive_and_wait();
            f(i);
        });
    }
    for (auto& t : threads) t.join();
}

TEST_CASE("a counter sums what one thread added", "[striped_counters]") {
    rs::detail::striped_counters<3> counters;

    for (int i = 0; i < 1000; ++i) counters.add(0);
    counters.add(2);

    CHECK(counters.sum(0) == 1000);
    CHECK(counters.sum(1) == 0);
    CHECK(counters.sum(2) == 1);
}

TEST_CASE("sums are exact for more threads than there are stripes", "[striped_counters]") {
    rs::detail::striped_counters<2> counters;
    constexpr std::size_t threads = exclusive_stripes + 24;

    on_threads(threads, [&](std::size_t) {
        for (int i = 0; i < 1000; ++i) counters.add(1);
    });

    CHECK(counters.sum(1) == threads * 1000);
    CHECK(counters.sum(0) == 0);
}

TEST_CASE("a stripe that a thread leaves goes to a later one, with its counts", "[striped_counters]") {
    rs::detail::striped_counters<1> counters;
    std::vector<std::uint32_t> stripes;
    std::vector<bool> exclusive;

    for (int i = 0; i < 100; ++i) {
        std::thread([&] {
            counters.add(0);
            const auto mine = rs::detail::this_threads_stripe;
            stripes.push_back(mine.index);
            exclusive.push_back(mine.owner == &rs::detail::stripe_owners::instance());
        }).join();
    }

    CHECK(counters.sum(0) == 100);
    for (std::size_t i = 0; i < stripes.size(); ++i) {
        CHECK(exclusive[i]);
        CHECK(stripes[i] == stripes[0]);
    }
}

TEST_CASE("a thread that came when all stripes were taken shares one for good", "[striped_counters]") {
    rs::detail::striped_counters<1> counters;
    std::atomic<std::size_t> exclusive{0};
    std::atomic<std::size_t> sharing{0};
    constexpr std::size_t threads = exclusive_stripes + 4;
    std::latch all_have_counted(threads);

    on_threads(threads, [&](std::size_t) {
        counters.add(0);
        all_have_counted.arrive_and_wait();
        const auto mine = rs::detail::this_threads_stripe;
        if (mine.owner == &rs::detail::stripe_owners::instance()) ++exclusive;
        else ++sharing;
        if (mine.owner != &rs::detail::stripe_owners::instance()) counters.add(0);
    });

    CHECK(exclusive <= exclusive_stripes);
    CHECK(sharing >= 4);
    CHECK(counters.sum(0) == threads + sharing);
}

struct alignas(64) cell {
    std::uint64_t count = 0;
};

TEST_CASE("no two counters of different threads share a cache line", "[striped_counters][H-CPP-13]") {
    rs::detail::striped<cell> cells;
    std::vector<const cell*> of_thread(40);
    std::latch all_have_one(40);

    on_threads(40, [&](std::size_t i) {
        of_thread[i] = cells.mine();
        all_have_one.arrive_and_wait();
    });

    std::ranges::sort(of_thread, std::less<>{});
    CHECK(of_thread.front() != nullptr);
    CHECK(std::ranges::adjacent_find(of_thread) == of_thread.end());
    CHECK(alignof(rs::detail::striped_counters<8>) == 64);
    std::size_t seen = 0;
    cells.each([&](const cell& c, std::uint32_t) { seen += std::ranges::count(of_thread, &c) == 1 ? 1 : 0; });
    CHECK(seen == 40);
}

TEST_CASE("a counter is small until many threads come", "[striped_counters][H-WIN-14]") {
    CHECK(sizeof(rs::detail::striped_counters<8>) <= std::size_t{4} * 64);
}

/// A cell for which there is no memory.
struct alignas(64) homeless {
    static void* operator new[](std::size_t, std::align_val_t, const std::nothrow_t&) noexcept {
        return nullptr;
    }
    static void operator delete[](void*) noexcept {}
};

TEST_CASE("a thread for whose stripe there is no memory shares one", "[striped_counters]") {
    rs::detail::striped<homeless> stripes;
    std::latch both_are_here(2);
    std::atomic<int> without{0};

    on_threads(2, [&](std::size_t) {
        rs::detail::striped_counters<1>{}.add(0); // gives the thread its number
        const bool is_first = rs::detail::this_threads_stripe.index == 0;
        if ((stripes.mine() == nullptr) == !is_first) ++without;
        both_are_here.arrive_and_wait();
    });

    CHECK(without == 2);
}

/// The calling thread, beyond the exclusive stripes until the object ends.
class sharing_thread {
public:
    sharing_thread() { rs::detail::this_threads_stripe = {this, 0}; }
    sharing_thread(const sharing_thread&) = delete;
    sharing_thread& operator=(const sharing_thread&) = delete;
    ~sharing_thread() { rs::detail::this_threads_stripe = before_; }

private:
    rs::detail::thread_stripe before_ = rs::detail::this_threads_stripe;
};

/// A thread with a stripe of its own, then one that shares: every test of buckets holds for both.
void with_and_without_own_stripe(const std::function<void()>& test) {
    rs::detail::striped_counters<1>{}.add(0);
    REQUIRE(rs::detail::this_threads_stripe.owner == &rs::detail::stripe_owners::instance());
    test();
    const sharing_thread sharing;
    test();
}

TEST_CASE("a bucket counts until its end, and then has to be asked for", "[striped_buckets]") {
    with_and_without_own_stripe([] {
        rs::detail::striped_buckets<10> buckets;

        CHECK_FALSE(buckets.add(0, 1));
        buckets.enter(7, 100, 1);
        CHECK(buckets.add(50, 1));
        CHECK(buckets.add(99, 1));
        CHECK_FALSE(buckets.add(100, 1));
        buckets.enter(8, 200, 1);

        CHECK(buckets.sum(7, 7) == 3);
        CHECK(buckets.sum(7, 8) == 4);
        CHECK(buckets.sum(8, 8) == 1);
    });
}

TEST_CASE("ten buckets make a window, none of them from before the first", "[striped_buckets]") {
    with_and_without_own_stripe([] {
        rs::detail::striped_buckets<10> buckets;
        for (std::uint32_t number = 0; number < 30; ++number) buckets.enter(number, 10 * (number + 1), 1);

        CHECK(buckets.sum(0, 29) == 10);
        CHECK(buckets.sum(25, 29) == 5);
        CHECK(buckets.sum(0, 34) == 5);
        CHECK(buckets.sum(0, 1000) == 0);
    });
}

TEST_CASE("epochs of buckets may wrap", "[striped_buckets][H-WIN-05]") {
    with_and_without_own_stripe([] {
        rs::detail::striped_buckets<10> buckets;
        const std::uint32_t last = 3;
        for (std::uint32_t age = 10; age-- > 0;) buckets.enter(last - age, 0, 1);

        CHECK(buckets.sum(last - 9, last) == 10);
        CHECK(buckets.sum(last - 4, last) == 5);

        for (std::uint32_t age = 10; age-- > 0;) buckets.enter((1U << 31U) + last - age, 0, 1); // far beyond
        CHECK(buckets.sum((1U << 31U) + last - 9, (1U << 31U) + last) == 10);
    });
}

TEST_CASE("after renumber every thread asks for its bucket again", "[striped_buckets]") {
    with_and_without_own_stripe([] {
        rs::detail::striped_buckets<10> buckets;
        buckets.enter(7, 100, 1);
        REQUIRE(buckets.add(50, 1));

        buckets.renumber();
        CHECK_FALSE(buckets.add(50, 1));
        buckets.enter(20, 100, 1);
        CHECK(buckets.add(50, 1));

        CHECK(buckets.sum(20, 20) == 2);
    });
}

TEST_CASE("threads that share a stripe share its bucket, and none of an earlier generation gets it",
          "[striped_buckets][H-CB-15]") {
    rs::detail::striped_buckets<10> buckets;
    {
        const sharing_thread one;
        buckets.enter(7, 100, 5);
    }
    {
        const sharing_thread another;
        CHECK(buckets.add(50, 5));
        CHECK_FALSE(buckets.add(50, 4));
        CHECK_FALSE(buckets.add(50, 6));
        CHECK(buckets.add(50, 5 + (std::uint64_t{1} << 32U))); // only the lower half is kept
    }
    CHECK_FALSE(buckets.add(50, 5)); // on a stripe of its own

    CHECK(buckets.sum(7, 7) == 3);
}

TEST_CASE("a thread that slept for longer than the window takes nothing from the buckets of now",
          "[striped_buckets][H-WIN-04]") {
    rs::detail::striped_buckets<10> buckets;
    const sharing_thread sharing;
    buckets.enter(100, 10, 1);
    buckets.enter(84, 10, 1); // in the same place, sixteen buckets before

    CHECK(buckets.sum(91, 100) == 1);
}

TEST_CASE("a config cell keeps every config that was in force", "[config_cell]") {
    rs::detail::config_cell<std::string> cell{"first"};
    const std::string& first = cell.get();
    cell.replace("second");
    const std::string& second = cell.get();
    cell.replace("third");

    CHECK(first == "first");
    CHECK(second == "second");
    CHECK(cell.get() == "third");
    CHECK(cell.declared() == "first");
    CHECK(cell.version() == 2);
    CHECK(cell.of_version(0) == "first");
    CHECK(cell.of_version(1) == "second");
    CHECK(cell.of_version(2) == "third");
}

TEST_CASE("the versions of a config wrap, and mean the youngest that had the number", "[config_cell]") {
    rs::detail::config_cell<int> cell{0};
    for (int i = 1; i <= 65'540; ++i) cell.replace(i);

    CHECK(cell.version() == 4);
    CHECK(cell.of_version(4) == 65'540);
    CHECK(cell.of_version(3) == 65'539);
    CHECK(cell.of_version(5) == 5);
    CHECK(cell.declared() == 0);
}

// Sanitizers have threads and locks of their own that a forked child does not get whole.
#if !SANITIZED_THREAD && !SANITIZED_ADDRESS

TEST_CASE("a child forked while threads come and go counts on", "[striped_counters][H-CPP-04]") {
    rs::detail::striped_counters<1> counter;
    std::atomic<bool> end{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            while (!end) std::thread([&] { counter.add(0); }).join();
        });
    }

    for (int i = 0; i < 300; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(20); // ends a child that hangs
            const auto before = counter.sum(0);
            std::thread([&] { counter.add(0); }).join();
            _exit(counter.sum(0) == before + 1 ? 0 : 1);
        }
        int status = -1;
        waitpid(child, &status, 0);
        if (status != 0) {
            end = true;
            for (auto& t : threads) t.join();
        }
        REQUIRE(status == 0);
    }

    end = true;
    for (auto& t : threads) t.join();
}

#endif

} // namespace
