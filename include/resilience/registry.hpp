// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/system_random.hpp>
#include <resilience/call/system_time.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/environment/environment.hpp>
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
            if (auto found = lookup(Policy::kind, name))
                return Policy(as<typename Policy::core_type>(std::move(found)));
        return std::nullopt;
    }
    /// Unlists every policy of that name; false if there was none. Handles and calls go on.
    bool remove(std::string_view name);

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
    void set_capacity(std::size_t capacity);

    // For policies.

    const std::shared_ptr<detail::environment>& env() const noexcept { return env_; }

    /// Policies as policies() shows them. Copies only pointers under the lock, so that snapshots are taken outside of it.
    std::vector<std::shared_ptr<registered_policy>> listed(std::string_view kind = {},
                                                           std::string_view name = {}) const {
        return page({.kind = std::string(kind), .name = std::string(name)}).policies;
    }
    /// The policies that the query selects, likewise. A policy that is listed or removed between two pages is in the later
    /// one or is not; the others are neither lost nor repeated.
    policy_page page(const policy_query& wanted) const;

    /// The policy of that name, else a new one made by `make`, which is called with no lock held. If two
    /// threads make it at once, the first to list it wins. Unnamed policies are private and never listed. See enrolled().
    template <class State, class Make>
    std::shared_ptr<State> enroll(std::string_view name, Make&& make) {
        if (name.empty()) return make();
        auto found = lookup(State::policy_kind, name);
        if (!found) found = list(State::policy_kind, name, make());
        return as<State>(std::move(found));
    }

private:
    struct listing {
        detail::name kind;
        detail::name name;
        std::shared_ptr<registered_policy> policy;
    };

    static detail::atomic<registry*>& global_slot() noexcept {
        // Invariant: null, then one registry for ever.
        static constinit detail::atomic<registry*> slot{nullptr};
        return slot;
    }
    /// With mutex_: where a policy of that kind and name is listed, or belongs.
    std::size_t place_of(std::string_view kind, std::string_view name) const noexcept;
    bool is_listed_at(std::size_t place, std::string_view kind, std::string_view name) const noexcept {
        return place < listed_.size() && listed_[place].kind.str() == kind &&
               listed_[place].name.str() == name;
    }
    std::shared_ptr<registered_policy> lookup(std::string_view kind, std::string_view name) const;
    /// `made`, or the one that was listed meanwhile; then `made` dies after the lock is released.
    std::shared_ptr<registered_policy> list(std::string_view kind, std::string_view name,
                                            std::shared_ptr<registered_policy> made);
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
    mutable detail::mutex mutex_;
    std::vector<listing> listed_;   // by kind and name; guarded by mutex_
    std::size_t capacity_ = 10'000; // guarded by mutex_
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION registry::registry(time_source& clock, random_source& random)
    : env_(std::make_shared<detail::environment>(clock, random)) {}

RESILIENCE_FUNCTION registry& registry::global() {
    // Acquire: pairs with the release of the thread that set it, so that the registry is seen whole.
    if (registry* adopted = global_slot().load(std::memory_order_acquire)) return *adopted;
    static registry& own = *new registry;
    registry* none = nullptr;
    global_slot().compare_exchange_strong(none, &own, std::memory_order_acq_rel, std::memory_order_acquire);
    return *global_slot().load(std::memory_order_acquire);
}
RESILIENCE_FUNCTION void registry::adopt_global(registry& other) {
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
    const auto found = lookup("circuit_breaker", name);
    return found ? found->circuit() : std::nullopt;
}
RESILIENCE_FUNCTION std::vector<policy_snapshot> registry::policies(std::string_view kind,
                                                                    std::string_view name) const {
    std::vector<policy_snapshot> all;
    for (const auto& each : listed(kind, name)) all.push_back(each->snapshot());
    return all;
}
RESILIENCE_FUNCTION bool registry::remove(std::string_view name) {
    std::vector<std::shared_ptr<registered_policy>> gone; // destroyed after the lock is released
    const detail::lock_guard lock(mutex_);
    std::size_t kept = 0;
    for (const listing& each : listed_) kept += each.name.str() == name ? std::size_t{0} : std::size_t{1};
    gone.reserve(listed_.size() - kept); // may throw: before anything changes
    kept = 0;
    for (listing& each : listed_) {
        if (each.name.str() == name) gone.push_back(std::move(each.policy));
        else std::swap(listed_[kept++], each);
    }
    listed_.erase(listed_.begin() + static_cast<std::ptrdiff_t>(kept), listed_.end());
    return !gone.empty();
}

RESILIENCE_FUNCTION health_report registry::health() const {
    health_report report;
    report.timestamp = clock().wall_now();
    std::vector<std::shared_ptr<registered_policy>> others;
    {
        const detail::lock_guard lock(mutex_);
        for (const listing& each : listed_) {
            const glance seen = each.policy->look();
            if (seen == glance::closed_circuit) ++report.closed;
            if (seen == glance::other) others.push_back(each.policy);
        }
    }
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
RESILIENCE_FUNCTION void registry::set_capacity(std::size_t capacity) {
    const detail::lock_guard lock(mutex_);
    capacity_ = capacity;
}

RESILIENCE_FUNCTION policy_page registry::page(const policy_query& wanted) const {
    policy_page found;
    const listing* last = nullptr;
    const detail::lock_guard lock(mutex_);
    std::size_t at = place_of(wanted.after_kind, wanted.after_name);
    if (is_listed_at(at, wanted.after_kind, wanted.after_name)) ++at;
    if (wanted.name.empty()) found.policies.reserve(std::min(listed_.size() - at, wanted.limit));
    for (; at < listed_.size(); ++at) {
        const listing& each = listed_[at];
        if (!wanted.kind.empty() && each.kind.str() != wanted.kind) continue;
        if (!wanted.name.empty() && each.name.str() != wanted.name) continue;
        found.has_more = found.policies.size() == wanted.limit;
        if (found.has_more) break;
        found.policies.push_back(each.policy);
        last = &each;
    }
    if (last != nullptr) {
        found.last_kind = last->kind.str();
        found.last_name = last->name.str();
    }
    return found;
}
RESILIENCE_FUNCTION std::size_t registry::place_of(std::string_view kind,
                                                   std::string_view name) const noexcept {
    std::size_t first = 0, end = listed_.size();
    while (first < end) {
        const std::size_t middle = first + (end - first) / 2;
        const int order = listed_[middle].kind.str().compare(kind);
        if (order < 0 || (order == 0 && listed_[middle].name.str() < name)) first = middle + 1;
        else end = middle;
    }
    return first;
}
RESILIENCE_FUNCTION std::shared_ptr<registered_policy> registry::lookup(std::string_view kind,
                                                                        std::string_view name) const {
    const detail::lock_guard lock(mutex_);
    const std::size_t place = place_of(kind, name);
    return is_listed_at(place, kind, name) ? listed_[place].policy : nullptr;
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::shared_ptr<registered_policy> registry::list(
    std::string_view kind, std::string_view name, std::shared_ptr<registered_policy> made) {
    const detail::name its_kind(kind), its_name(name);
    const detail::lock_guard lock(mutex_);
    const std::size_t place = place_of(kind, name);
    if (is_listed_at(place, kind, name)) return listed_[place].policy;
    if (listed_.size() >= capacity_) {
        detail::raise(std::length_error("registry: no more than " + std::to_string(capacity_) +
                                        " named policies; refused '" + std::string(name) + "'"));
    }
    listed_.insert(listed_.begin() + static_cast<std::ptrdiff_t>(place), listing{its_kind, its_name, made});
    return made;
}
RESILIENCE_FUNCTION void registry::require_type(const registered_policy& policy, const char* type) {
    if (std::strcmp(typeid(policy).name(), type) != 0) refuse_type(policy);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void registry::refuse_type(const registered_policy& policy) {
    detail::raise(std::logic_error("registry: policies of two types are of the kind '" +
                                   std::string(policy.kind()) + "'"));
}
#endif

}} // namespace resilience::RESILIENCE_ABI
