// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/system_random.hpp>
#include <resilience/call/system_time.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/environment/environment.hpp>
#include <resilience/environment/policy_table.hpp>
#include <resilience/environment/registered_policy.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The environment of policies: clock, randomness, names, events and statistics. Thread-safe.
/// Policies with a name are listed here by kind and name until they are removed or the registry is destroyed.
/// Either only unlists them: the handles own the policy's state and the environment.
class RESILIENCE_VISIBLE registry {
public:
    /// A registry with the machine's clock and randomness.
    registry() : registry(system_time(), system_random()) {}
    /// `clock` must outlive every policy made here. `registry r{virtual_clock}` is how tests get time.
    explicit registry(time_source& clock) : registry(clock, system_random()) {}
    registry(time_source& clock, random_source& random);
    template <int = 0>
    explicit registry(...) = delete; // resilience: a registry is made with a time_source that outlives it
    registry(const registry&) = delete;
    registry& operator=(const registry&) = delete;

    /// The registry of policies that were given no other. One per process, never destroyed.
    static registry& global();
    /// Makes `other` the global registry of this linkage unit. For plugins loaded with local symbols, which
    /// call it before they make a policy. Throws std::logic_error if a different one is in use already.
    static void adopt_global(registry& other);

    time_source& clock() const noexcept { return env_->clock(); }
    random_source& random() const noexcept { return env_->random(); }

    /// Snapshots of all circuit breakers, sorted by name.
    std::vector<circuit_breaker_stats> circuit_breakers() const;
    std::optional<circuit_breaker_stats> circuit_breaker(std::string_view name) const;
    /// Snapshots of policies of all kinds, sorted by kind and name.
    std::vector<policy_snapshot> policies() const { return policies({}, {}); }
    /// Snapshots of the policies of that kind and name. An empty argument matches all.
    std::vector<policy_snapshot> policies(std::string_view kind, std::string_view name) const;
    /// A handle to an existing policy, for instance find<circuit_breaker>("jira_api").
    template <class Policy>
    std::optional<Policy> find(std::string_view name) const {
        static_assert(detail::has_core<Policy>, "resilience: find<P>(name) needs a policy with a config");
        if constexpr (detail::has_core<Policy>)
            if (auto found = table_.find(Policy::kind, name))
                return Policy(as<typename Policy::core_type>(std::move(found)));
        return std::nullopt;
    }
    /// Unlists every policy of that name; false if there was none. Handles and calls go on.
    bool remove(std::string_view name) { return table_.remove(name); }

    health_report health() const;
    /// A summary of each circuit, sorted by name.
    std::vector<circuit_summary> summary() const;

    /// Calls `f` for every event from now on, on the thread that causes it and with no lock held. `f` may call any
    /// policy or registry. If it throws, it misses that event, which is counted in listener_errors().
    [[nodiscard]] subscription subscribe(std::function<void(const event&)> f);
    template <class F>
        requires(!detail::is_subscriber<F>)
    subscription subscribe(F&&) = delete; // resilience: it takes a const event&, and can be copied
    /// Events that a subscriber missed because it threw, and events for which memory was missing.
    std::uint64_t listener_errors() const noexcept { return env_->hub.errors(); }

    /// The counts of all fallbacks in calls with a policy of this registry. Fallbacks have no names.
    fallback_stats fallbacks() const noexcept { return env_->fallbacks.read(); }

    /// The number of named policies that may exist; making one more throws std::length_error. Use names for few
    /// things: with a name made of a URL or a user the list would grow without end.
    void set_capacity(std::size_t capacity) { table_.set_capacity(capacity); }

    // For policies.

    const std::shared_ptr<detail::environment>& env() const noexcept { return env_; }

    /// Policies as policies() shows them. Copies only pointers under the lock, so that snapshots are taken outside of it.
    std::vector<std::shared_ptr<registered_policy>> listed(std::string_view kind = {},
                                                           std::string_view name = {}) const {
        return page({.kind = std::string(kind), .name = std::string(name)}).policies;
    }
    /// The policies that the query selects, likewise. A policy that is listed or removed between two pages is in the later
    /// one or is not; the others are neither lost nor repeated.
    policy_page page(const policy_query& wanted) const { return table_.page(wanted); }

    /// The policy of that name, else a new one made by `make`, which is called with no lock held. If two
    /// threads make it at once, the first to list it wins. Unnamed policies are private and never listed. See enrolled().
    template <class State, class Make>
    std::shared_ptr<State> enroll(std::string_view name, Make&& make) {
        if (name.empty()) return make();
        auto found = table_.find(State::policy_kind, name);
        if (!found) found = table_.list(State::policy_kind, name, make());
        return as<State>(std::move(found));
    }

private:
    static detail::atomic<registry*>& global_slot() noexcept {
        // Invariant: null, then one registry for ever.
        static constinit detail::atomic<registry*> slot{nullptr};
        return slot;
    }
    /// Throws unless the policy is of the type of that name. Two types that call themselves by one kind are a mistake of
    /// the program's. By the types' names: shared objects may each have a std::type_info of their own.
    static void require_type(const registered_policy& policy, const char* type);
    [[noreturn]] static void refuse_type(const registered_policy& policy);
    template <class State>
    static std::shared_ptr<State> as(std::shared_ptr<registered_policy> found) {
        if constexpr (std::is_final_v<State>) require_type(*found, typeid(State).name());
        else if (dynamic_cast<State*>(found.get()) == nullptr) refuse_type(*found);
        return std::static_pointer_cast<State>(std::move(found));
    }

    std::shared_ptr<detail::environment> env_;
    detail::policy_table table_;
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION registry::registry(time_source& clock, random_source& random)
    : env_(std::make_shared<detail::environment>(clock, random)) {}

RESILIENCE_COLD RESILIENCE_FUNCTION registry& registry::global() {
    // Acquire: pairs with the release of the thread that set it, so that the registry is seen whole.
    if (registry* adopted = global_slot().load(std::memory_order_acquire)) return *adopted;
    // Never a guard to wait at: see detail::immortal.
    registry* winner = nullptr;
    auto* const mine = new registry;
    if (global_slot().compare_exchange_strong(winner, mine, std::memory_order_acq_rel,
                                              std::memory_order_acquire))
        return *mine;
    delete mine;
    return *winner;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void registry::adopt_global(registry& other) {
    registry* none = nullptr;
    if (!global_slot().compare_exchange_strong(none, &other, std::memory_order_acq_rel) && none != &other) {
        detail::raise(std::logic_error("registry: adopt_global must come before the first use of global()"));
    }
}

RESILIENCE_FUNCTION std::vector<circuit_breaker_stats> registry::circuit_breakers() const {
    std::vector<circuit_breaker_stats> all;
    for (const auto& each : listed()) {
        if (auto stats = each->circuit()) all.push_back(std::move(*stats));
    }
    return all;
}
RESILIENCE_FUNCTION std::optional<circuit_breaker_stats> registry::circuit_breaker(
    std::string_view name) const {
    const auto found = table_.find("circuit_breaker", name);
    return found ? found->circuit() : std::nullopt;
}
RESILIENCE_FUNCTION std::vector<policy_snapshot> registry::policies(std::string_view kind,
                                                                    std::string_view name) const {
    std::vector<policy_snapshot> all;
    for (const auto& each : listed(kind, name)) all.push_back(each->snapshot());
    return all;
}
RESILIENCE_FUNCTION health_report registry::health() const {
    health_report report;
    report.timestamp = clock().wall_now();
    std::vector<std::shared_ptr<registered_policy>> others;
    table_.each([&](const std::shared_ptr<registered_policy>& each) {
        const glance seen = each->look();
        if (seen == glance::closed_circuit) ++report.closed;
        if (seen == glance::other) others.push_back(each);
    });
    report.total_circuits = report.closed;
    for (const auto& each : others)
        if (auto stats = each->circuit()) detail::count(*std::move(stats), report);
    if (report.open > 0) report.status = report.open * 2 > report.total_circuits ? "critical" : "degraded";
    return report;
}
RESILIENCE_FUNCTION std::vector<circuit_summary> registry::summary() const {
    std::vector<circuit_summary> all;
    for (auto& c : circuit_breakers()) {
        all.push_back({std::move(c.name), c.state, c.failure_count, c.failure_threshold, c.success_count,
                       c.success_threshold, health_percentage(c.state)});
    }
    return all;
}

RESILIENCE_FUNCTION subscription registry::subscribe(std::function<void(const event&)> f) {
    if (!f) detail::raise(std::invalid_argument("registry: subscribe needs a function"));
    return {std::shared_ptr<detail::event_hub>(env_, &env_->hub), env_->hub.add(std::move(f))};
}
RESILIENCE_FUNCTION void registry::require_type(const registered_policy& policy, const char* type) {
    const char* const its = typeid(policy).name();
    if (its != type && std::strcmp(its, type) != 0) refuse_type(policy);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void registry::refuse_type(const registered_policy& policy) {
    detail::raise(std::logic_error("registry: policies of two types are of the kind '" +
                                   std::string(policy.kind()) + "'"));
}
#endif

}} // namespace resilience::RESILIENCE_ABI
