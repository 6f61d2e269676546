// SPDX-License-Identifier: Apache-2.0
#include <resilience/mechanism/alert_filter.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;

namespace {

using filter = rs::alert_filter<std::string>;
using answer = filter::answer;

constexpr rs::time_point filter_start{1'000'000s};
constexpr filter::wall_time wall_start{1'704'744'000s};

/// Plenty of everything, so that each test limits one thing.
rs::alert_limits wide() { return {.quiet = 300s, .per_minute = 60, .burst = 1'000, .capacity = 100}; }

struct tester {
    explicit tester(const rs::alert_limits& limits) : f(limits) {}

    answer offer(rs::duration at, std::string_view key, std::string what, std::string_view group = {}) {
        return f.offer(key, group, what, filter_start + at, wall(at));
    }
    /// What goes out at that moment, as `what+held_back`.
    std::vector<std::string> taken(rs::duration at) {
        std::vector<std::string> all;
        while (auto t = f.take(filter_start + at)) {
            all.push_back(t->what + "+" + std::to_string(t->held_back));
            f.sent(*t);
        }
        return all;
    }
    /// Takes the next one, which reaches nobody. False: it is given up.
    bool fails(rs::duration at) {
        auto t = f.take(filter_start + at);
        REQUIRE(t);
        return f.failed(*t, filter_start + at);
    }
    static filter::wall_time wall(rs::duration at) {
        return wall_start + std::chrono::duration_cast<filter::wall_time::duration>(at);
    }
    rs::duration due() const { return f.next_due() - filter_start; }

    filter f;
};

using texts = std::vector<std::string>;

} // namespace

TEST_CASE("the first of a key goes out at once, those after it as one at the end of the quiet time",
          "[alert_filter]") {
    tester t(wide());

    CHECK(t.offer(0s, "a", "a1") == answer::waits);
    CHECK(t.taken(0s) == texts{"a1+0"});
    CHECK(t.offer(1s, "a", "a2") == answer::waits);
    CHECK(t.offer(2s, "a", "a3") == answer::merged);
    CHECK(t.offer(3s, "a", "a4") == answer::merged);
    CHECK(t.taken(300s - 1ns).empty());
    CHECK(t.due() == 300s);

    const auto last = t.f.take(filter_start + 300s);
    REQUIRE(last);
    CHECK(last->what == "a4");
    CHECK(last->held_back == 2);
    CHECK(last->first == t.wall(1s));
    CHECK(last->last == t.wall(3s));
    CHECK(t.f.deduplicated() == 2);
    CHECK(t.f.next_due() == rs::time_point::max());

    CHECK(t.offer(600s - 1ns, "a", "a5") == answer::waits);
    CHECK(t.taken(600s - 1ns).empty());
    CHECK(t.taken(600s) == texts{"a5+0"});
    CHECK(t.offer(900s, "a", "a6") == answer::waits);
    CHECK(t.taken(900s) == texts{"a6+0"});
}

TEST_CASE("keys do not hold back each other, and go out in the order in which they came", "[alert_filter]") {
    tester t(wide());

    t.offer(0s, "b", "b1");
    t.offer(0s, "a", "a1");
    t.offer(0s, "c", "c1");

    CHECK(t.taken(0s) == texts{"b1+0", "a1+0", "c1+0"});
}

TEST_CASE("without a quiet time each goes out, unless it comes while the one before waits",
          "[alert_filter]") {
    auto limits = wide();
    limits.quiet = 0s;
    tester t(limits);

    t.offer(0s, "a", "a1");
    CHECK(t.taken(0s) == texts{"a1+0"});
    t.offer(0s, "a", "a2");
    t.offer(0s, "a", "a3");
    CHECK(t.taken(0s) == texts{"a3+1"});
}

TEST_CASE("so many go out at once, the others one by one as tokens come", "[alert_filter]") {
    tester t({.quiet = 300s, .per_minute = 20, .burst = 3, .capacity = 100});
    for (const char* key : {"a", "b", "c", "d", "e"}) t.offer(0s, key, key);

    CHECK(t.taken(0s) == texts{"a+0", "b+0", "c+0"});
    CHECK(t.f.rate_limited() == 2);
    CHECK(t.due() == 3s);
    CHECK(t.taken(3s - 1ns).empty());
    CHECK(t.taken(3s) == texts{"d+0"});
    CHECK(t.taken(6s) == texts{"e+0"});
    CHECK(t.f.rate_limited() == 2);
    CHECK(t.f.deduplicated() == 0);

    // What is not used up adds up to the burst, no further.
    for (const char* key : {"f", "g", "h", "i"}) t.offer(600s, key, key);
    CHECK(t.taken(600s) == texts{"f+0", "g+0", "h+0"});
    CHECK(t.taken(603s) == texts{"i+0"});
}

TEST_CASE("one that waits for a token is one with its repetitions", "[alert_filter]") {
    tester t({.quiet = 300s, .per_minute = 1, .burst = 1, .capacity = 100});
    t.offer(0s, "a", "a1");
    CHECK(t.taken(0s) == texts{"a1+0"});

    t.offer(1s, "b", "b1");
    CHECK(t.taken(1s).empty());
    CHECK(t.offer(2s, "b", "b2") == answer::merged);

    CHECK(t.taken(60s) == texts{"b2+1"});
}

TEST_CASE("what finds no room is refused and counted, and told by the next of its key", "[alert_filter]") {
    auto limits = wide();
    limits.capacity = 2;
    tester t(limits);
    t.offer(0s, "a", "a1");
    CHECK(t.taken(0s) == texts{"a1+0"});
    t.offer(1s, "b", "b1");
    t.offer(1s, "c", "c1");

    CHECK(t.offer(2s, "a", "a2") == answer::refused);
    CHECK(t.offer(2s, "d", "d1") == answer::refused);
    CHECK(t.offer(2s, "b", "b2") == answer::merged);
    CHECK(t.f.dropped() == 2);
    CHECK(t.f.waiting() == 2);

    CHECK(t.taken(2s) == texts{"b2+1", "c1+0"});
    CHECK(t.offer(300s, "a", "a3") == answer::waits);
    CHECK(t.taken(300s) == texts{"a3+1"});
}

TEST_CASE("a change that is held gives way to a newer one of its group", "[alert_filter]") {
    struct row {
        const char* what;
        std::vector<std::pair<rs::duration, const char*>> changes;
        std::vector<std::pair<rs::duration, texts>> out;
    };
    const std::vector<row> table{
        {"open, closed: both at once",
         {{0s, "open"}, {30s, "closed"}},
         {{0s, {"open+0"}}, {30s, {"closed+0"}}, {900s, {}}}},
        {"closed again within the quiet time: told when that of closed ends",
         {{0s, "open"}, {30s, "closed"}, {40s, "open"}, {70s, "closed"}},
         {{0s, {"open+0"}}, {30s, {"closed+0"}}, {300s, {}}, {329s, {}}, {330s, {"closed+1"}}, {900s, {}}}},
        {"open in the end",
         {{0s, "open"}, {30s, "closed"}, {40s, "open"}, {70s, "closed"}, {80s, "open"}},
         {{0s, {"open+0"}}, {30s, {"closed+0"}}, {300s, {"open+2"}}, {900s, {}}}},
    };
    for (const auto& [what, changes, out] : table) {
        INFO(what);
        tester t(wide());
        auto change = changes.begin();
        for (const auto& [at, expected] : out) {
            for (; change != changes.end() && (change->first <= at || at == 300s); ++change) {
                t.offer(change->first, change->second, change->second, "jira");
                if (at < 300s) {
                    CHECK(t.taken(at) == expected);
                }
            }
            if (at >= 300s) {
                CHECK(t.taken(at) == expected);
            }
        }
        CHECK(t.f.waiting() == 0);
    }
}

TEST_CASE("a change that may go out does so, whatever follows it", "[alert_filter]") {
    tester t(wide());

    t.offer(0s, "open", "open", "jira");
    t.offer(0s, "closed", "closed", "jira");
    t.offer(0s, "open", "open again", "jira");

    CHECK(t.f.waiting() == 2);
    CHECK(t.taken(0s) == texts{"closed+0", "open again+1"});
}

TEST_CASE("one that merges into an entry that waits is its group's last word, too", "[alert_filter]") {
    SECTION("while the sender is slow") {
        tester t(wide());
        t.offer(0s, "open", "open1", "jira");
        REQUIRE(t.f.take(filter_start)); // on its way until 10s
        t.offer(2s, "closed", "closed2", "jira");
        t.offer(3s, "open", "open3", "jira");
        CHECK(t.offer(4s, "closed", "closed4", "jira") == answer::merged);

        CHECK(t.taken(10s) == texts{"closed4+2"});
        CHECK(t.taken(900s).empty());
    }
    SECTION("while there is no token") {
        tester t({.quiet = 300s, .per_minute = 1, .burst = 1, .capacity = 100});
        t.offer(0s, "other", "other", "confluence");
        CHECK(t.taken(0s) == texts{"other+0"});
        t.offer(1s, "open", "open1", "jira");
        t.offer(2s, "closed", "closed2", "jira");
        CHECK(t.offer(3s, "open", "open3", "jira") == answer::merged);

        CHECK(t.taken(60s) == texts{"closed2+0"});
        CHECK(t.taken(120s) == texts{"open3+1"});
    }
}

TEST_CASE("random stories of a circuit end with its last state", "[alert_filter]") {
    for (unsigned seed = 0; seed < 300; ++seed) {
        INFO("seed " << seed);
        std::mt19937 random(seed);
        const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
        tester t(
            {.quiet = below(3) * 150s, .per_minute = 1 + below(20), .burst = 1 + below(4), .capacity = 64});
        const auto slow = below(40) * 1s; // one takes the sender so long
        rs::time_point now = filter_start;
        rs::time_point free_at = filter_start;
        const bool trouble = below(2) == 0; // each third time it is not sent
        std::string last_sent;
        std::optional<filter::taken> on_its_way; // until free_at
        const auto send_until = [&](rs::time_point end) {
            for (;;) {
                const auto at = std::max({now, free_at, on_its_way ? free_at : t.f.next_due()});
                if (at > end) break;
                if (on_its_way) {
                    if (trouble && below(3) == 0) {
                        t.f.failed(*on_its_way, at);
                    } else {
                        last_sent = on_its_way->what;
                        t.f.sent(*on_its_way);
                    }
                }
                on_its_way = t.f.take(at);
                free_at = at + slow;
            }
            now = end;
        };
        for (int i = 0; i < 60; ++i) {
            send_until(now + below(60) * 1s);
            constexpr const char* states[] = {"open", "closed", "off"};
            t.offer(now - filter_start, states[below(3)], std::to_string(i), "jira");
            send_until(now);
        }

        send_until(now + 5000s);

        CHECK(last_sent == "59");
        CHECK(t.f.waiting() == 0);
    }
}

TEST_CASE("what reached nobody is tried again, after pauses that double up to a bound", "[alert_filter]") {
    tester t(wide());
    t.offer(0s, "a", "a1");

    rs::duration at = 0s;
    for (const rs::duration pause : {30s, 60s, 120s, 240s, 300s, 300s}) {
        CHECK(t.fails(at));
        CHECK(t.f.waiting() == 1);
        CHECK(t.due() == at + pause);
        at += pause;
    }

    CHECK(t.taken(at - 1ns).empty());
    const auto last = t.f.take(filter_start + at);
    REQUIRE(last);
    CHECK(last->what == "a1");
    CHECK(last->held_back == 0);
    CHECK(last->first == t.wall(0s));
    CHECK(last->last == t.wall(0s));
    t.f.sent(*last);

    // Once one went out the pauses begin anew.
    t.offer(at + 300s, "a", "a2");
    CHECK(t.fails(at + 300s));
    CHECK(t.due() == at + 330s);
}

TEST_CASE("it is given up after so many tries, and told by the next of its key", "[alert_filter]") {
    auto limits = wide();
    limits.tries = 2;
    tester t(limits);

    t.offer(0s, "a", "a1");
    CHECK(t.fails(0s));
    CHECK_FALSE(t.fails(30s));
    CHECK(t.f.waiting() == 0);

    // A newer one has tries of its own, also where it takes the place of one that waits for another.
    t.offer(90s, "a", "a2");
    CHECK(t.fails(90s));
    CHECK(t.offer(100s, "a", "a3") == answer::merged);
    CHECK(t.fails(300s));
    const auto next = t.f.take(filter_start + 600s);
    REQUIRE(next);
    CHECK(next->what == "a3");
    CHECK(next->held_back == 2);
    CHECK(next->first == t.wall(0s));
    CHECK(next->last == t.wall(100s));
    CHECK(t.f.deduplicated() == 1);
}

TEST_CASE("what came while one was not sent takes its place and counts it", "[alert_filter]") {
    tester t(wide());
    SECTION("one of its key") {
        t.offer(0s, "a", "a1");
        auto lost = t.f.take(filter_start);
        REQUIRE(lost);
        t.offer(1s, "a", "a2");

        CHECK(t.f.failed(*lost, filter_start + 2s));

        CHECK(t.f.waiting() == 1);
        CHECK(t.due() == 32s);
        CHECK(t.taken(32s) == texts{"a2+1"});
    }
    SECTION("a later change of its group") {
        t.offer(0s, "open", "open", "jira");
        auto lost = t.f.take(filter_start);
        REQUIRE(lost);
        t.offer(1s, "closed", "closed", "jira");

        CHECK(t.f.failed(*lost, filter_start + 2s));

        CHECK(t.taken(2s) == texts{"closed+1"});
    }
    SECTION("a later change, while it waits to be tried again") {
        t.offer(0s, "open", "open", "jira");
        CHECK(t.fails(0s));
        t.offer(1s, "closed", "closed", "jira");

        CHECK(t.taken(1s) == texts{"closed+1"});
    }
    SECTION("a later change, behind another of its key") {
        t.offer(0s, "open", "open1", "jira");
        auto lost = t.f.take(filter_start);
        REQUIRE(lost);
        t.offer(301s, "open", "open2", "jira"); // the sender is slow
        t.offer(302s, "closed", "closed3", "jira");

        CHECK(t.f.failed(*lost, filter_start + 303s));

        CHECK(t.taken(303s) == texts{"closed3+2"});
        CHECK(t.f.deduplicated() == 2);
        return;
    }
    CHECK(t.f.waiting() == 0);
    CHECK(t.f.deduplicated() == 1);
    CHECK(t.taken(900s).empty());
}

TEST_CASE("what reached nobody is given up where a later change has gone out", "[alert_filter]") {
    tester t(wide()); // and two that send
    t.offer(0s, "open", "open", "jira");
    auto lost = t.f.take(filter_start);
    REQUIRE(lost);
    t.offer(1s, "closed", "closed", "jira");
    CHECK(t.taken(1s) == texts{"closed+0"});

    CHECK_FALSE(t.f.failed(*lost, filter_start + 2s));

    CHECK(t.taken(900s).empty());
    t.offer(900s, "open", "again", "jira");
    CHECK(t.taken(900s) == texts{"again+1"});
}

TEST_CASE("what reached nobody and finds no room is dropped and counted", "[alert_filter]") {
    auto limits = wide();
    limits.capacity = 1;
    tester t(limits);
    t.offer(0s, "a", "a1");
    auto lost = t.f.take(filter_start);
    REQUIRE(lost);
    for (const char* key : {"b", "c", "d"}) { // the key of one on its way is not forgotten
        t.offer(1s, key, key);
        CHECK(t.taken(1s).size() == 1);
    }
    t.offer(1s, "e", "e");

    CHECK(t.f.failed(*lost, filter_start + 2s));

    CHECK(t.f.dropped() == 1);
    CHECK(t.taken(2s) == texts{"e+0"});
    t.offer(60s, "a", "a2");
    CHECK(t.taken(60s) == texts{"a2+1"});
}

TEST_CASE("memory is bounded: keys of which nothing waits are forgotten, the oldest first",
          "[alert_filter]") {
    auto limits = wide();
    limits.capacity = 2;
    tester t(limits);
    for (int i = 0; i < 4; ++i) {
        t.offer(i * 1s, "k" + std::to_string(i), "x");
        CHECK(t.taken(i * 1s).size() == 1);
    }

    t.offer(10s, "new", "x");
    CHECK(t.taken(10s) == texts{"x+0"});

    t.offer(11s, "k3", "x");
    CHECK(t.taken(11s).empty()); // remembered
    t.offer(12s, "k0", "y");
    CHECK(t.taken(12s) == texts{"y+0"}); // forgotten
}

TEST_CASE("limits at the ends of their ranges do not overflow", "[alert_filter]") {
    tester t({.quiet = rs::duration::max(), .per_minute = 1, .burst = ~0U, .capacity = 10});

    t.offer(0s, "a", "a1");
    CHECK(t.taken(0s) == texts{"a1+0"});
    t.offer(1s, "a", "a2");
    CHECK(t.taken(100'000h).empty());
    CHECK(t.f.next_due() == rs::time_point::max());
}
