// SPDX-License-Identifier: Apache-2.0
#include <resilience/circuit_breaker.hpp>
#include <resilience/event_log.hpp>
#include <resilience/retry.hpp>

#include "support/catch.hpp"
#include "support/world.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;
using support::at_once;
using support::world;

namespace {

std::vector<std::uint64_t> numbers(const rs::event_log::page& page) {
    std::vector<std::uint64_t> all;
    for (const auto& entry : page.entries) all.push_back(entry.number);
    return all;
}

/// Three events: two failed attempts with the retry between them... as a retry of two attempts tells them.
void fail_once(const rs::retry& retry) {
    (void)retry.try_call([] { throw std::runtime_error("no"); });
}

} // namespace

TEST_CASE("a log keeps the last events, numbered from one", "[event_log]") {
    world w;
    rs::event_log log(w.reg, 4);
    CHECK(log.read().entries.empty());
    CHECK(log.read().next == 1);
    const rs::retry retry(
        [] {
            auto config = at_once(2);
            config.name = "jira";
            return config;
        }(),
        w.reg);

    fail_once(retry); // attempt_failed, retry_scheduled, attempt_failed, retries_exhausted
    auto page = log.read();
    REQUIRE(numbers(page) == std::vector<std::uint64_t>{1, 2, 3, 4});
    CHECK(page.entries[0].what.kind == rs::event_kind::attempt_failed);
    CHECK(page.entries[0].what.policy == "jira");
    CHECK(page.entries[3].what.kind == rs::event_kind::retries_exhausted);
    CHECK(page.next == 5);
    CHECK(page.missed == 0);

    fail_once(retry);
    page = log.read(page.next);
    CHECK(numbers(page) == std::vector<std::uint64_t>{5, 6, 7, 8});
    CHECK(log.last() == 8);
}

TEST_CASE("a reader that comes late is told how much it missed", "[event_log]") {
    world w;
    rs::event_log log(w.reg, 4);
    const rs::retry retry(at_once(2), w.reg);
    for (int i = 0; i < 3; ++i) fail_once(retry);

    const auto late = log.read(3);
    CHECK(numbers(late) == std::vector<std::uint64_t>{9, 10, 11, 12});
    CHECK(late.missed == 6);
    CHECK(log.read(9).missed == 0);
    CHECK(log.read(0).missed == 0); // asked for what there is
    CHECK(log.read(100).entries.empty());
    CHECK(log.read(100).next == 100);
}

TEST_CASE("a reader chooses by kind and name, and gets pages", "[event_log]") {
    world w;
    rs::event_log log(w.reg);
    auto config = at_once(3);
    config.name = "a";
    const rs::retry a(config, w.reg);
    config.name = "b";
    const rs::retry b(config, w.reg);
    fail_once(a);
    fail_once(b);

    CHECK(numbers(log.read(1, {.kind = rs::event_kind::retries_exhausted})) ==
          std::vector<std::uint64_t>{6, 12});
    CHECK(numbers(log.read(1, {.kind = rs::event_kind::retries_exhausted, .policy = "b"})) ==
          std::vector<std::uint64_t>{12});
    const auto first = log.read(1, {.policy = "b"}, 2);
    CHECK(numbers(first) == std::vector<std::uint64_t>{7, 8});
    CHECK(first.next == 9); // the next that matches was left out
    CHECK(numbers(log.read(first.next, {.policy = "b"}, 2)) == std::vector<std::uint64_t>{9, 10});
}

TEST_CASE("a change of state outlives the refusals that follow it", "[event_log]") {
    world w;
    rs::event_log log(w.reg, 4);
    const rs::circuit_breaker circuit({.name = "jira", .failure_threshold = 1}, w.reg);
    fail_once(rs::retry(at_once(1), w.reg)); // one event
    (void)circuit.try_call([] { throw std::runtime_error("down"); });
    for (int i = 0; i < 1'000; ++i) (void)circuit.try_call([] {});

    const auto trips = log.read(1, {.kind = rs::event_kind::state_changed});
    CHECK(numbers(trips) == std::vector<std::uint64_t>{2});
    CHECK(trips.missed == 0);
    CHECK(trips.next == 1'003);
    const auto all = log.read(2);
    CHECK(numbers(all) == std::vector<std::uint64_t>{2, 999, 1'000, 1'001, 1'002});
    CHECK(all.missed == 997); // at most: 3 to 998, and the change among them
    CHECK(log.read(1, {.kind = rs::event_kind::call_rejected}).missed == 997);
    CHECK(numbers(log.newest({}, 2)) == std::vector<std::uint64_t>{1'001, 1'002});
    CHECK(log.newest({}, 2).next == 1'003);
}

TEST_CASE("no more of an error's text is kept than is of use", "[event_log]") {
    world w;
    rs::event_log log(w.reg);
    (void)rs::retry(at_once(1), w.reg).try_call([] {
        throw std::runtime_error(std::string(1'000'000, 'x'));
    });

    CHECK(log.read().entries.front().what.error == std::string(rs::event_log::longest_error, 'x'));
}

TEST_CASE("a log's capacity has a range", "[event_log]") {
    world w;
    CHECK_THROWS_WITH(rs::event_log(w.reg, 0), "event_log: capacity is 0; it must be in 1..100000");
    CHECK_THROWS_AS(rs::event_log(w.reg, 100'001), std::invalid_argument);
}

TEST_CASE("a waiting reader wakes for an event, or when the log is closed", "[event_log]") {
    world w;
    rs::event_log log(w.reg);
    const rs::retry retry(at_once(1), w.reg);
    std::thread teller([&] { fail_once(retry); });
    CHECK(log.wait(1, 1h));
    teller.join();
    CHECK(log.wait(1, 0s));
    CHECK_FALSE(log.wait(2, 0s));
    std::thread closer([&] { log.close(); });
    CHECK_FALSE(log.wait(2, 1h));
    closer.join();
    CHECK_FALSE(log.wait(2, 1h)); // nobody waits for a closed one
}
