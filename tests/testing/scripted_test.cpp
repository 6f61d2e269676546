// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <resilience/testing/scripted.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using namespace rs::testing;

namespace {

TEST_CASE("a script plays its steps in order and counts the calls", "[scripted]") {
    scripted<int> f{7, throws(std::runtime_error("down")), runs([] { return 9; })};

    CHECK(f.calls() == 0);
    CHECK(f() == 7);
    CHECK_THROWS_AS(f(), std::runtime_error);
    CHECK(f() == 9);
    CHECK(f.calls() == 3);
}

TEST_CASE("a call beyond the script is a logic_error that is counted too", "[scripted]") {
    scripted<int> f{1};
    f();

    CHECK_THROWS_AS(f(), std::logic_error);
    CHECK(f.calls() == 2);
    CHECK_THROWS_AS(scripted<int>({})(), std::logic_error);
}

TEST_CASE("repeat_last plays the last step for ever", "[scripted]") {
    const auto f = scripted<int>{throws(std::runtime_error("down")), 5}.repeat_last();

    CHECK_THROWS_AS(f(), std::runtime_error);
    for (int i = 0; i < 3; ++i) CHECK(f() == 5);
    CHECK(f.calls() == 4);
}

TEST_CASE("after lets time pass on the script's clock before the step", "[scripted]") {
    virtual_clock clock;
    scripted<int> f{
        clock, {1, after(2s, 2), after(3s, throws(std::runtime_error("slow"))), after(1s, after(1s, 4))}};

    CHECK(f() == 1);
    CHECK(clock.slept().empty());
    CHECK(f() == 2);
    CHECK_THROWS_AS(f(), std::runtime_error);
    CHECK(f() == 4);
    CHECK(clock.slept() == std::vector<rs::duration>{2s, 3s, 2s});
}

TEST_CASE("a latency without end stays one", "[scripted]") {
    CHECK(step<int>(after(rs::duration::max(), after(1s, 1))).latency() == rs::duration::max());
}

TEST_CASE("after without a clock is refused when the script is made", "[scripted]") {
    CHECK_THROWS_AS((scripted<int>{1, after(1s, 2)}), std::invalid_argument);
    CHECK_NOTHROW(scripted<int>{after(0s, 2)});
}

TEST_CASE("copies share the script", "[scripted]") {
    scripted<int> f{1, 2};
    const std::function<int()> copy = f;

    CHECK(copy() == 1);
    CHECK(f() == 2);
    CHECK(f.calls() == 2);
}

TEST_CASE("a script may be called with anything", "[scripted]") {
    const scripted<int> f{1, 2};
    int lvalue = 0;

    CHECK(f(lvalue, "text", std::make_unique<int>(1)) == 1);
    CHECK(f(std::exception()) == 2);
}

TEST_CASE("scripts of void return and throw", "[scripted]") {
    int runs_seen = 0;
    scripted<void> f{returns(), throws(std::runtime_error("x")), runs([&] { ++runs_seen; })};
    static_assert(std::is_void_v<decltype(f())>);

    f();
    CHECK_THROWS_AS(f(), std::runtime_error);
    f();
    CHECK(runs_seen == 1);
}

TEST_CASE("a move-only value is played once", "[scripted]") {
    const auto f = scripted<std::unique_ptr<int>>{std::make_unique<int>(3)}.repeat_last();

    CHECK(*f() == 3);
    CHECK_THROWS_AS(f(), std::logic_error);
}

TEST_CASE("results that cannot be moved come from runs", "[scripted]") {
    struct pinned {
        int value;
        explicit pinned(int v) : value(v) {}
        pinned(pinned&&) = delete;
    };
    scripted<pinned> f{runs([] { return pinned(4); })};

    CHECK(f().value == 4);
}

TEST_CASE("references keep their identity", "[scripted]") {
    int target = 1;
    scripted<int&> f{target, returns<int&>(target)};

    CHECK(&f() == &target);
    CHECK(&f() == &target);
}

TEST_CASE("values convert, strings too", "[scripted]") {
    scripted<std::string> f{"text", returns("more")};

    CHECK(f() == "text");
    CHECK(f() == "more");
}

TEST_CASE("every throw is a fresh object", "[scripted][H-CPP-06]") {
    const auto f = scripted<int>{throws(std::runtime_error("x"))}.repeat_last();
    std::exception_ptr first, second;
    try {
        f();
    } catch (...) {
        first = std::current_exception();
    }
    try {
        f();
    } catch (...) {
        second = std::current_exception();
    }

    CHECK(first != nullptr);
    CHECK(first != second);
}

TEST_CASE("an exception_ptr is rethrown as what it holds", "[scripted]") {
    scripted<int> f{throws(std::make_exception_ptr(std::out_of_range("far")))};

    CHECK_THROWS_AS(f(), std::out_of_range);
}

TEST_CASE("threads share one script, each step played once", "[scripted]") {
    constexpr int threads = 4;
    scripted<int> f{1, 2, 4, 8};
    std::atomic<int> sum{0};
    std::vector<std::thread> callers;

    for (int i = 0; i < threads; ++i) callers.emplace_back([&] { sum += f(); });
    for (auto& caller : callers) caller.join();

    CHECK(sum == 15);
    CHECK(f.calls() == threads);
}

TEST_CASE("a script is made of any range of steps or values", "[scripted]") {
    const std::vector<int> values{1, 2, 3};
    std::vector<rs::testing::step<int>> steps;
    for (int i = 0; i < 2; ++i) steps.push_back(rs::testing::throws(std::runtime_error("down")));
    steps.push_back(7);

    const rs::testing::scripted<int> a(values);
    CHECK((a() == 1 && a() == 2 && a() == 3));
    const rs::testing::scripted<int> b(steps);
    CHECK_THROWS_AS(b(), std::runtime_error);
    CHECK_THROWS_AS(b(), std::runtime_error);
    CHECK(b() == 7);
    const rs::testing::scripted<int> c(values | std::views::transform([](int i) { return 10 * i; }));
    CHECK((c() == 10 && c() == 20));
    const rs::testing::scripted<std::vector<int>> whole{values}; // one value, not a range of them
    CHECK(whole() == values);
}

TEST_CASE("a script of a range has its latencies on the given clock", "[scripted]") {
    rs::testing::virtual_clock clock;
    const std::vector<rs::testing::step<int>> steps(3, rs::testing::after(2s, 1));

    const rs::testing::scripted<int> f(clock, steps);

    CHECK(f() + f() == 2);
    CHECK(clock.slept() == std::vector<rs::duration>{2s, 2s});
    CHECK_THROWS_AS(rs::testing::scripted<int>(steps), std::invalid_argument);
}

} // namespace
