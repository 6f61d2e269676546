// SPDX-License-Identifier: Apache-2.0
#include <resilience/registry.hpp>

#include <resilience/circuit_breaker.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include "support/catch.hpp"
#include "support/circuits.hpp"
#include "support/plain_policy.hpp"
#include "support/world.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using circuits::circuit_world;
using circuits::fail;
using circuits::succeed;
using rs::circuit_state;
using support::plain_policy;
using namespace std::chrono_literals;

TEST_CASE("circuit_breakers are listed by name, unnamed ones are not", "[registry]") {
    circuit_world w;
    const auto b = w.make({.name = "b"});
    const auto c = w.make({.name = "c"});
    const auto a = w.make({.name = "a"});
    const auto hidden = w.make();
    const rs::retry retry({.name = "b"}, w.reg);

    const auto all = w.reg.circuit_breakers();
    REQUIRE(all.size() == 3);
    CHECK(all[0].name == "a");
    CHECK(all[1].name == "b");
    CHECK(all[2].name == "c");
    CHECK(w.reg.policies().size() == 4);
    CHECK(w.reg.policies()[3].kind == "retry");
}

TEST_CASE("policies are read page by page, by kinds and names", "[registry]") {
    circuit_world w;
    std::vector<rs::circuit_breaker> circuits;
    for (const char* name : {"c", "a", "b"}) circuits.push_back(w.make({.name = name}));
    const rs::retry retry({.name = "b"}, w.reg);
    const auto texts = [](const rs::policy_page& page) {
        std::string all;
        for (const auto& each : page.policies)
            all.append(all.empty() ? "" : " ").append(each->kind()).append("/").append(each->name());
        return all;
    };

    rs::policy_query query{.limit = 2};
    auto page = w.reg.page(query);
    CHECK(texts(page) == "circuit_breaker/a circuit_breaker/b");
    CHECK(page.has_more);
    CHECK(page.last_kind == "circuit_breaker");
    CHECK(page.last_name == "b");

    query.after_kind = page.last_kind;
    query.after_name = page.last_name;
    (void)w.reg.remove("b"); // the last of the former page is gone, and a retry of a later one
    const auto late = w.make({.name = "bb"});
    page = w.reg.page(query);
    CHECK(texts(page) == "circuit_breaker/bb circuit_breaker/c");
    CHECK_FALSE(page.has_more);

    query.after_kind = page.last_kind;
    query.after_name = page.last_name;
    page = w.reg.page(query);
    CHECK(page.policies.empty());
    CHECK(page.last_kind.empty());
    CHECK(texts(w.reg.page({.kind = "circuit_breaker", .name = "c"})) == "circuit_breaker/c");
    CHECK(texts(w.reg.page({.name = "c", .after_kind = "circuit_breaker", .after_name = "c"})).empty());
    CHECK(texts(w.reg.page({.after_kind = "zzz"})).empty());
    CHECK(w.reg.page({.limit = 0}).policies.empty());
    CHECK(w.reg.page({.limit = 0}).has_more);
}

TEST_CASE("a circuit is found by its name", "[registry]") {
    circuit_world w;
    const auto made = w.make_open({.name = "db"});

    const auto found = w.reg.find<rs::circuit_breaker>("db");
    REQUIRE(found);
    CHECK(found->state() == circuit_state::open);
    found->reset();
    CHECK(made.state() == circuit_state::closed);
    CHECK(w.reg.circuit_breaker("db")->name == "db");
    CHECK_FALSE(w.reg.find<rs::circuit_breaker>("other"));
    CHECK_FALSE(w.reg.find<rs::retry>("db"));
    CHECK_FALSE(w.reg.circuit_breaker("other"));
    CHECK_FALSE(w.reg.find<rs::circuit_breaker>(""));
}

TEST_CASE("names are keyed by kind", "[registry]") {
    circuit_world w;
    const auto breaker = w.make({.name = "jira"});
    const rs::retry retry({.name = "jira"}, w.reg);
    const rs::timeout timeout({.name = "jira", .limit = 1s}, w.reg);

    CHECK(w.reg.find<rs::circuit_breaker>("jira"));
    CHECK(w.reg.find<rs::retry>("jira"));
    CHECK(w.reg.find<rs::timeout>("jira"));
    CHECK(w.reg.policies().size() == 3);
    CHECK(w.reg.remove("jira"));
    CHECK(w.reg.policies().empty());
}

TEST_CASE("a registry keeps the characters of names", "[registry][H-CPP-22]") {
    circuit_world w;
    std::optional<rs::circuit_breaker> breaker;
    {
        std::string name = "a name that is too long for the small string optimisation";
        breaker.emplace(w.make({.name = name}));
        std::fill(name.begin(), name.end(), 'x');
    }

    CHECK(breaker->name() == "a name that is too long for the small string optimisation");
    CHECK(w.reg.circuit_breaker(breaker->name()));
}

TEST_CASE("a removed circuit goes on for its holders, and its name is free", "[registry][H-REG-04]") {
    circuit_world w;
    const auto old = w.make({.name = "db", .failure_threshold = 2});
    fail(old);

    CHECK(w.reg.remove("db"));
    CHECK_FALSE(w.reg.remove("db"));
    CHECK(w.reg.circuit_breakers().empty());
    fail(old);
    CHECK(old.state() == circuit_state::open);

    const auto fresh = w.make({.name = "db", .failure_threshold = 9});
    CHECK(fresh.state() == circuit_state::closed);
    CHECK(w.reg.circuit_breakers().size() == 1);
    CHECK(w.reg.circuit_breaker("db")->failures == 0);
    CHECK(old.stats().failures == 2);
}

TEST_CASE("handles and permits outlive their registry", "[registry][H-REG-05]") {
    rs::testing::virtual_clock clock;
    auto reg = std::make_unique<rs::registry>(clock);
    const rs::circuit_breaker breaker({.name = "db", .failure_threshold = 2, .recovery_timeout = 5s}, *reg);
    auto permit = breaker.try_acquire();

    breaker([&] { reg.reset(); });
    permit->failure();
    fail(breaker);

    CHECK(breaker.state() == circuit_state::open);
    clock.advance(5s);
    CHECK(succeed(breaker, 2) == 2);
    CHECK(breaker.state() == circuit_state::closed);
}

TEST_CASE("a registry refuses names beyond its capacity, and only those", "[registry][H-REG-02]") {
    circuit_world w;
    w.reg.set_capacity(2);
    const auto a = w.make({.name = "a"});
    const auto b = w.make({.name = "b"});

    CHECK_THROWS_AS(w.make({.name = "c"}), std::length_error);
    CHECK_THROWS_WITH(w.make({.name = "c"}), Catch::Contains("2") && Catch::Contains("'c'"));
    w.make({.name = "a"});
    w.make();
    w.reg.remove("a");
    w.make({.name = "c"});
    CHECK_THROWS_AS(w.make({.name = "a"}), std::length_error);
    w.reg.set_capacity(3);
    w.make({.name = "a"});
}

TEST_CASE("the capacity is 10,000 unless it is set", "[registry][H-REG-02]") {
    circuit_world w;
    for (int i = 0; i < 10'000; ++i) (void)rs::timeout({.name = "t" + std::to_string(i), .limit = 1s}, w.reg);

    CHECK_THROWS_AS(rs::timeout({.name = "one more", .limit = 1s}, w.reg), std::length_error);
    CHECK(w.reg.policies().size() == 10'000);
}

TEST_CASE("a policy may be made while another is being made", "[registry][H-REG-01]") {
    circuit_world w;
    int built = 0;
    const auto make = [&](const auto& self, int depth) -> std::shared_ptr<plain_policy> {
        ++built;
        if (depth > 0) (void)w.reg.enroll<plain_policy>("same", [&] { return self(self, depth - 1); });
        (void)w.make({.name = "other"});
        return std::make_shared<plain_policy>("same", w.reg);
    };

    const auto outer = w.reg.enroll<plain_policy>("same", [&] { return make(make, 3); });

    CHECK(built == 4);
    CHECK(w.reg.enroll<plain_policy>("same", [&] { return make(make, 0); }) == outer);
    CHECK(w.reg.policies().size() == 2);
}

TEST_CASE("a policy that cannot be made leaves no name behind", "[registry]") {
    circuit_world w;

    CHECK_THROWS_AS(w.make({.name = "db", .success_threshold = 0}), std::invalid_argument);

    CHECK(w.reg.policies().empty());
    CHECK(w.make({.name = "db"}).state() == circuit_state::closed);
}

TEST_CASE("health goes by the share of open circuits", "[registry]") {
    circuit_world w;
    CHECK(w.reg.health().status == "healthy");
    CHECK(w.reg.health().total_circuits == 0);
    const auto a = w.make({.name = "a"});
    const auto b = w.make({.name = "b"});
    const auto c = w.make({.name = "c"});
    const auto d = w.make({.name = "d"});
    CHECK(w.reg.health().status == "healthy");

    c.force_open();
    auto report = w.reg.health();
    CHECK(report.status == "degraded");
    CHECK(report.closed == 3);
    CHECK(report.open == 1);
    CHECK(report.open_circuits == std::vector<std::string>{"c"});
    CHECK(report.timestamp == w.clock.wall_now());
    a.open_for(1h);
    CHECK(w.reg.health().status == "degraded"); // a half is not more than a half
    b.open_for(0s);
    report = w.reg.health();
    CHECK(report.status == "critical");
    CHECK(report.open_circuits == std::vector<std::string>{"a", "b", "c"});

    const auto probe = b.try_acquire();
    report = w.reg.health();
    CHECK(report.status == "degraded");
    CHECK(report.half_open == 1);
    a.disable();
    c.metrics_only();
    report = w.reg.health();
    CHECK(report.status == "healthy");
    CHECK(report.closed == 3);
    CHECK(report.total_circuits == 4);
}

/// A circuit that counts how often its statistics are made.
struct counted_circuit : plain_policy {
    counted_circuit(rs::registry& where, rs::glance as) : plain_policy("counted", where), seen(as) {}
    rs::glance look() const noexcept override { return seen; }
    std::optional<rs::circuit_breaker_stats> circuit() const override {
        ++asked;
        rs::circuit_breaker_stats s;
        s.name = "counted";
        s.state = circuit_state::half_open;
        return s;
    }
    rs::glance seen;
    mutable int asked = 0;
};

TEST_CASE("health makes no statistics of circuits that are closed, nor of what is none", "[registry]") {
    circuit_world w;
    const rs::retry no_circuit({.name = "r"}, w.reg);
    const auto policy = w.reg.enroll<plain_policy>(
        "counted", [&] { return std::make_shared<counted_circuit>(w.reg, rs::glance::closed_circuit); });
    auto& counted = dynamic_cast<counted_circuit&>(*policy);

    CHECK(w.reg.health().total_circuits == 1);
    CHECK(w.reg.health().closed == 1);
    counted.seen = rs::glance::no_circuit;
    CHECK(w.reg.health().total_circuits == 0);
    CHECK(counted.asked == 0);
    counted.seen = rs::glance::other;
    CHECK(w.reg.health().half_open == 1);
    CHECK(counted.asked == 1);
}

TEST_CASE("the summary has a line for each circuit", "[registry]") {
    circuit_world w;
    const auto b = w.make_ready({.name = "b", .success_threshold = 2, .recovery_timeout = 5s});
    succeed(b);
    const auto a = w.make({.name = "a", .failure_threshold = 7});
    succeed(a, 3);
    fail(a, 2);
    const auto c = w.make({.name = "c"});
    c.force_open();

    const auto lines = w.reg.summary();
    REQUIRE(lines.size() == 3);
    CHECK(lines[0].name == "a");
    CHECK(lines[0].state == circuit_state::closed);
    CHECK(lines[0].failure_count == 2);
    CHECK(lines[0].failure_threshold == 7);
    CHECK(lines[0].success_count == 3);
    CHECK(lines[0].success_threshold == 2);
    CHECK(lines[0].health_percentage == 100.0);
    CHECK(lines[1].health_percentage == 50.0);
    CHECK(lines[2].health_percentage == 0.0);
}

TEST_CASE("policies made without a registry live in the global one", "[registry]") {
    const rs::circuit_breaker breaker({.name = "registry_test.global"});

    CHECK(rs::registry::global().find<rs::circuit_breaker>("registry_test.global"));
    CHECK(&rs::registry::global() == &rs::registry::global());
    CHECK_NOTHROW(rs::registry::adopt_global(rs::registry::global()));
    rs::registry other;
    CHECK_THROWS_AS(rs::registry::adopt_global(other), std::logic_error);
    CHECK(rs::registry::global().remove("registry_test.global"));
}

/// Whose snapshot looks at the registry that it is taken for.
struct curious_policy : plain_policy {
    curious_policy(std::string_view name, rs::registry& where) : plain_policy(name, where), where_(&where) {}
    rs::policy_snapshot snapshot() const override {
        (void)rs::circuit_breaker({.name = "made meanwhile"}, *where_);
        return {"test", name(), {}};
    }
    std::optional<rs::circuit_breaker_stats> circuit() const override {
        (void)where_->find<rs::circuit_breaker>("made meanwhile");
        return std::nullopt;
    }

private:
    rs::registry* where_;
};

TEST_CASE("snapshots are taken while the names are not locked", "[registry][H-REG-06]") {
    circuit_world w;
    (void)w.reg.enroll<plain_policy>("curious",
                                     [&] { return std::make_shared<curious_policy>("curious", w.reg); });

    CHECK(w.reg.policies().size() == 1);
    CHECK(w.reg.policies().size() == 2);
    CHECK(w.reg.circuit_breakers().size() == 1);
}

struct leaves_late {
    std::unique_ptr<rs::circuit_breaker> breaker;
    ~leaves_late() {
        if (breaker) succeed(*breaker, 3);
    }
};

TEST_CASE("a circuit may be used from a thread_local's destructor", "[registry][H-CPP-03][H-CPP-12]") {
    circuit_world w;
    const auto breaker = w.make({.failure_rate_threshold = 0.5, .window = rs::time_window{60s}});

    std::thread([&] {
        static thread_local leaves_late first; // destroyed after what the first call makes
        first.breaker = std::make_unique<rs::circuit_breaker>(breaker);
        succeed(breaker);
    }).join();

    CHECK(breaker.stats().successes == 4);
    CHECK(breaker.stats().failure_rate == 0.0);
}

TEST_CASE("threads that count while they end give their stripes back", "[registry][H-CPP-12]") {
    circuit_world w;
    const auto breaker = w.make();

    for (std::uint32_t i = 0; i < 2 * rs::detail::exclusive_stripes; ++i) {
        std::thread([&] {
            static thread_local leaves_late first;
            first.breaker = std::make_unique<rs::circuit_breaker>(breaker);
            succeed(breaker);
        }).join();
    }
    bool has_stripe = false;
    std::thread([&] {
        succeed(breaker);
        has_stripe = rs::detail::this_threads_stripe.owner == &rs::detail::stripe_owners::instance();
    }).join();

    CHECK(has_stripe);
    CHECK(breaker.stats().successes == 2 * rs::detail::exclusive_stripes * 4 + 1);
}

/// Made before the global registry, so that it is destroyed when nothing of ours could be left.
const struct used_at_exit {
    ~used_at_exit() {
        const rs::circuit_breaker breaker({.name = "registry_test.at_exit", .failure_threshold = 1});
        fail(breaker);
        if (breaker.state() != circuit_state::open || breaker.stats().failures != 1) std::abort();
    }
} at_exit;

TEST_CASE("circuits may be used at the process's exit", "[registry][H-CPP-03]") {
    static const rs::circuit_breaker breaker({.name = "registry_test.atexit"});

    // What is checked comes later: in this handler and in the destructor above.
    REQUIRE(std::atexit([] {
                if (succeed(breaker) != 1 || !rs::registry::global().remove("registry_test.atexit"))
                    std::abort();
            }) == 0);
}

/// Two more types that call themselves `test`: one that nothing derives from, and one that is no base of the others.
struct last_policy final : plain_policy {
    using plain_policy::plain_policy;
};
struct other_policy : rs::registered_policy {
    static constexpr std::string_view policy_kind = "test";
    using rs::registered_policy::registered_policy;
    std::string_view kind() const noexcept override { return policy_kind; }
    rs::policy_snapshot snapshot() const override { return {}; }
};

TEST_CASE("a policy is listed by the name that it was enrolled under", "[registry]") {
    support::world w;
    for (const char* name : {"m", "z", "a"})
        (void)w.reg.enroll<plain_policy>(name,
                                         [&] { return std::make_shared<plain_policy>("its own", w.reg); });

    for (const char* name : {"a", "m", "z"}) {
        CHECK(w.reg.listed("test", name).size() == 1);
        CHECK(w.reg.enroll<plain_policy>(name, []() -> std::shared_ptr<plain_policy> { return nullptr; }));
    }
    CHECK(w.reg.remove("m"));
    CHECK(w.reg.listed().size() == 2);
}

TEST_CASE("policies of two types and one kind are not taken for one another", "[registry]") {
    support::world w;
    (void)w.reg.enroll<plain_policy>("same", [&] { return std::make_shared<plain_policy>("same", w.reg); });

    CHECK_THROWS_AS(
        w.reg.enroll<last_policy>("same", []() -> std::shared_ptr<last_policy> { return nullptr; }),
        std::logic_error);
    CHECK_THROWS_AS(
        w.reg.enroll<other_policy>("same", []() -> std::shared_ptr<other_policy> { return nullptr; }),
        std::logic_error);
    CHECK(w.reg.listed().size() == 1);
}

} // namespace
