// SPDX-License-Identifier: Apache-2.0
// A policy of your own with a name, a config and statistics: described once, it is in the environment, in REST, in the
// metrics, in the log and on the dashboard.
#include <resilience/env.hpp>
#include <resilience/monitoring_api.hpp>
#include <resilience/resilience.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace rs = resilience;
using namespace std::chrono_literals;

struct quota_config {
    static constexpr std::string_view policy_kind = "quota";

    std::string name{};
    /// Successful calls and no more, as a supplier's contract may say.
    unsigned max_calls = 1000;
    /// Refused callers are told to come back after this.
    rs::duration come_back_after = 1h;
    rs::labels_type labels{};
};
static void fields(quota_config& c, auto&& visit) {
    visit("max_calls", c.max_calls);
    visit("come_back_after", c.come_back_after);
}
static std::string validate(const quota_config& c) {
    return c.max_calls > 0 ? "" : "quota_config.max_calls is 0; it must be 1 or more";
}

struct quota_stats {
    std::string name;
    std::uint64_t spent = 0;
    std::uint64_t rejected = 0;
};
static void statistics(const quota_stats& s, auto&& visit) {
    visit("spent", s.spent, rs::gauge{.help = "Calls that succeeded or are under way."});
    visit("rejected", s.rejected, rs::counter{.help = "Calls beyond the quota."});
}

/// What all handles of one quota share.
class quota_core final : public rs::policy_core<quota_core, quota_config> {
public:
    using policy_core::policy_core;

    quota_stats stats() const { return {name(), spent, rejected}; }

    std::atomic<std::uint64_t> spent{0};
    std::atomic<std::uint64_t> rejected{0};
};

class quota : public rs::policy_handle<quota_core> {
public:
    using policy_handle::policy_handle;

    class attempt {
    public:
        explicit attempt(std::shared_ptr<quota_core> core) : core_(std::move(core)) {}
        attempt(const attempt&) = delete;
        attempt& operator=(const attempt&) = delete;
        ~attempt() { give_back(); }

        rs::admission admit(rs::call_context& ctx) {
            taken_ = ++core_->spent <= core_->config().max_calls;
            if (taken_) return rs::admission::go();
            --core_->spent;
            ++core_->rejected;
            const rs::failure why(rs::rejection{.code = rs::errc::rate_limited,
                                                .policy = core_->label(),
                                                .retry_after = core_->config().come_back_after});
            core_->publish(rs::event_kind::call_rejected, ctx, &why,
                           [&](rs::event& e) { e.delay = core_->config().come_back_after; });
            return rs::admission::reject(why);
        }
        rs::settlement settle(const rs::attempt_result& result, rs::call_context&) {
            if (result.succeeded()) taken_ = false; // spent for good
            else give_back();
            return rs::settlement::finish();
        }

    private:
        void give_back() {
            if (std::exchange(taken_, false)) --core_->spent;
        }
        std::shared_ptr<quota_core> core_;
        bool taken_ = false;
    };
    attempt begin(rs::call_context&) const { return attempt(core_); }
};
static_assert(rs::policy<quota>);

int main() {
    // SUPPLIER_QUOTA_MAX_CALLS=5 would say otherwise.
    const quota_config declared{.name = "supplier", .max_calls = 2, .labels = {{"team", "orders"}}};
    const auto guard = rs::retry({.base_delay = 5ms}) | quota(rs::from_env("SUPPLIER", declared));

    for (int call = 1; call <= 3; ++call) {
        const auto result = guard.try_call([] {});
        std::cout << "call " << call << ": " << (result ? "done" : result.error().message()) << "\n";
    }

    const rs::monitoring_api api;
    std::cout << api.handle({.method = "GET", .target = "/api/v1/resilience/policies/supplier"}).body << "\n";
    const std::string metrics = api.handle({.method = "GET", .target = "/metrics"}).body;
    std::cout << metrics.substr(metrics.find("# HELP resilience_quota_spent"), 150) << "...\n";

    quota_config generous = declared;
    generous.max_calls = 10;
    rs::registry::global().find<quota>("supplier")->update(generous);
    std::cout << "after the update: " << (guard.try_call([] {}) ? "done" : "refused") << "\n";
}
