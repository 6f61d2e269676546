// SPDX-License-Identifier: Apache-2.0
#include <resilience/environment/policy_table.hpp>

#include "support/catch.hpp"
#include "support/plain_policy.hpp"
#include "support/world.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace rs = resilience;
using rs::detail::policy_table;
using support::world;

/// Calls a function when it ends.
struct telling_policy final : rs::registered_policy {
    telling_policy(const world& w, std::function<void()> at_end)
        : registered_policy("telling", {}, w.reg.env()), at_end_(std::move(at_end)) {}
    telling_policy(const telling_policy&) = delete;
    telling_policy& operator=(const telling_policy&) = delete;
    ~telling_policy() override { at_end_(); }
    std::string_view kind() const noexcept override { return "telling"; }
    rs::policy_snapshot snapshot() const override { return {}; }

private:
    std::function<void()> at_end_;
};

std::shared_ptr<rs::registered_policy> a_policy(const world& w) {
    return std::make_shared<telling_policy>(w, [] {});
}

/// The calling thread has no stripe of its own, until the object ends.
class without_stripe {
public:
    without_stripe() { rs::detail::this_threads_stripe = {this, 0}; }
    without_stripe(const without_stripe&) = delete;
    without_stripe& operator=(const without_stripe&) = delete;
    ~without_stripe() { rs::detail::this_threads_stripe = before_; }

private:
    rs::detail::thread_stripe before_ = rs::detail::this_threads_stripe;
};

/// Kinds of one length and of others: those of one length have one hash for a name.
constexpr std::string_view kinds[] = {"aa", "bb", "c", "dddd"};

TEST_CASE("each of many policies is found by its kind and name, and no other is", "[policy_table]") {
    const world w;
    policy_table table;
    std::vector<std::pair<std::string, std::shared_ptr<rs::registered_policy>>> made;
    for (int i = 0; i < 300; ++i) {
        for (const std::string_view kind : kinds) {
            made.emplace_back("name " + std::to_string(i), a_policy(w));
            CHECK(table.list(kind, made.back().first, made.back().second) == made.back().second);
        }
    }

    bool all = true;
    for (std::size_t i = 0; i < made.size(); ++i)
        all = all && table.find(kinds[i % 4], made[i].first) == made[i].second;
    CHECK(all);
    CHECK(table.find("aa", "name 300") == nullptr);
    CHECK(table.find("cc", "name 1") == nullptr);
    CHECK(table.find("", "") == nullptr);
    CHECK(table.page({}).policies.size() == made.size());
}

TEST_CASE("what is left after some were removed is found, in its order", "[policy_table]") {
    const world w;
    policy_table table;
    for (int i = 0; i < 100; ++i) {
        for (const std::string_view kind : kinds) (void)table.list(kind, std::to_string(i), a_policy(w));
    }

    for (int i = 0; i < 100; i += 3) CHECK(table.remove(std::to_string(i)));

    bool all = true;
    for (int i = 0; i < 100; ++i) {
        for (const std::string_view kind : kinds)
            all = all && (table.find(kind, std::to_string(i)) == nullptr) == (i % 3 == 0);
    }
    CHECK(all);
    CHECK_FALSE(table.remove("0"));
    CHECK(table.page({}).policies.size() == 66 * 4);
    rs::policy_page page = table.page({.kind = "bb", .limit = 2});
    CHECK(page.last_name == "10");
    page = table.page({.kind = "bb", .after_kind = page.last_kind, .after_name = page.last_name, .limit = 2});
    CHECK(page.last_name == "13");
}

TEST_CASE("a name that is free again is given to another policy", "[policy_table]") {
    const world w;
    policy_table table;
    const auto first = a_policy(w), second = a_policy(w);

    CHECK(table.list("kind", "name", first) == first);
    CHECK(table.list("kind", "name", second) == first);
    CHECK(table.remove("name"));
    CHECK(table.find("kind", "name") == nullptr);
    CHECK(table.list("kind", "name", second) == second);
    CHECK(table.find("kind", "name") == second);
}

TEST_CASE("a full table refuses a name and stays as it is", "[policy_table]") {
    const world w;
    policy_table table;
    table.set_capacity(1);
    const auto first = a_policy(w);
    (void)table.list("kind", "first", first);

    CHECK_THROWS_AS(table.list("kind", "second", a_policy(w)), std::length_error);

    CHECK(table.find("kind", "second") == nullptr);
    CHECK(table.list("kind", "first", a_policy(w)) == first);
}

TEST_CASE("a policy that ends may use the table that it was in", "[policy_table]") {
    const world w;
    policy_table table;
    int ended = 0;
    const auto telling = [&] {
        return std::make_shared<telling_policy>(w, [&] {
            CHECK_FALSE(table.find("kind", "telling") == nullptr); // the other one
            CHECK_FALSE(table.remove("unknown"));
            (void)table.list("kind", "last words", a_policy(w));
            ++ended;
        });
    };
    (void)table.list("kind", "telling", a_policy(w));
    (void)table.list("kind", "removed", telling());

    CHECK(table.remove("removed"));
    CHECK(ended == 1);
    (void)table.list("kind", "telling", telling()); // the one that comes late
    CHECK(ended == 2);
    CHECK(table.find("kind", "last words"));
}

TEST_CASE("a thread without a stripe finds policies under the mutex", "[policy_table]") {
    const world w;
    policy_table table;
    const auto made = a_policy(w);
    (void)table.list("kind", "name", made);
    const without_stripe here;

    CHECK(table.find("kind", "name") == made);
    CHECK(table.find("kind", "other") == nullptr);
}

TEST_CASE("the table owns its policies", "[policy_table]") {
    const world w;
    std::weak_ptr<rs::registered_policy> seen;
    {
        policy_table table;
        seen = table.list("kind", "name", a_policy(w));
        CHECK_FALSE(seen.expired());
    }
    CHECK(seen.expired());
}

} // namespace
