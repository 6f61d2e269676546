// SPDX-License-Identifier: Apache-2.0
// What a coroutine call costs in memory: its frame, and the objects in it. Counts every operator new of the program.
#include <resilience/resilience.hpp>

#include "asio/net.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <new>

// ThreadSanitizer of clang has an operator new of its own that no program can replace.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RESILIENCE_TEST_CANNOT_COUNT 1
#endif
#endif
#ifndef RESILIENCE_TEST_CANNOT_COUNT

namespace {

thread_local std::size_t made_here = 0;
thread_local std::size_t largest_made_here = 0;
thread_local std::size_t bytes_made_here = 0;

void* make(std::size_t size) {
    ++made_here;
    bytes_made_here += size;
    largest_made_here = std::max(largest_made_here, size);
    if (void* p = std::malloc(size == 0 ? 1 : size)) return p;
    throw std::bad_alloc();
}

} // namespace

void* operator new(std::size_t size) { return make(size); }
void* operator new[](std::size_t size) { return make(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return make(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return make(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }

namespace rs = resilience;
using namespace std::chrono_literals;
using support::net_world;
using support::plain;
using support::started;

#if defined(__GLIBCXX__) && defined(__x86_64__)
// Each byte of these lies in the frame of a coroutine call, or is written by a blocking one.
static_assert(sizeof(rs::call_context) <= 128);
static_assert(sizeof(rs::failure) <= 88);
static_assert(sizeof(rs::task_limit) <= 48);
static_assert(sizeof(rs::detail::task_request) <= 72);
static_assert(sizeof(rs::detail::retry_attempts) <= 80);
static_assert(sizeof(rs::circuit_breaker::attempt_state) <= 64);
static_assert(sizeof(rs::timeout::attempt_state) <= 72);
#endif

namespace {

/// What the last of some equal calls asked the system for.
struct asked_for {
    std::size_t times = 0;
    std::size_t most = 0; // bytes at once
    std::size_t bytes = 0;
};
template <class Guard>
asked_for asked_by_a_call_of(const Guard& guard) {
    net_world w;
    asked_for last;
    const auto calls = [&]() -> net::awaitable<int> {
        int sum = 0;
        for (int i = 0; i < 4; ++i) {
            made_here = largest_made_here = bytes_made_here = 0;
            sum += co_await guard([]() -> net::awaitable<int> { co_return 1; });
            last = {made_here, largest_made_here, bytes_made_here};
        }
        co_return sum;
    };
    CHECK(started(w, calls()).result() == 4);
    return last;
}

} // namespace

TEST_CASE("a coroutine call without a limit allocates nothing: Asio keeps its frame for the next", "[asio]") {
    support::world w;
    const rs::retry retry(plain(), w.reg);
    const rs::circuit_breaker breaker({}, w.reg);

    CHECK(asked_by_a_call_of(retry).times == 0);
    CHECK(asked_by_a_call_of(breaker).times == 0);
    CHECK(asked_by_a_call_of(retry | breaker).times == 0);
}

TEST_CASE("a coroutine call through a pipeline made at run time takes room for the policies that it has",
          "[asio][any_pipeline]") {
    support::world w;
    const rs::circuit_breaker breaker({}, w.reg);
    const rs::retry retry(plain(), w.reg);
    const std::size_t one = asked_by_a_call_of(rs::any_pipeline(retry)).bytes;
    const std::size_t two = asked_by_a_call_of(rs::any_pipeline(retry, breaker)).bytes;
    const std::size_t four = asked_by_a_call_of(rs::any_pipeline(retry, breaker, breaker, breaker)).bytes;

    CHECK(two - one <= 160);
    CHECK(two > one);
    CHECK(four - two == 2 * (two - one));
}

#if defined(__GNUC__) && !defined(__clang__) // others lay frames out in their own way
TEST_CASE("the frame of retry | circuit_breaker | timeout is no larger than what Asio keeps", "[asio]") {
    support::world w;
    const auto guard = rs::retry(plain(), w.reg) | rs::circuit_breaker({}, w.reg) | rs::timeout(1h, w.reg);

    CHECK(asked_by_a_call_of(guard).most <= 1020);
}
#endif

#endif
