// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/detail/name.hpp>
#include <resilience/detail/striped_readers.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/environment/registered_policy.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#if RESILIENCE_BODIES
#include <algorithm>
#include <functional>
#include <stdexcept>
#include <utility>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The named policies of a registry: found by kind and name without a mutex, and read in their order under one. No policy is
/// destroyed while it is held.
class policy_table {
public:
    policy_table() = default;
    policy_table(const policy_table&) = delete;
    policy_table& operator=(const policy_table&) = delete;
    ~policy_table();

    /// Null if there is none.
    std::shared_ptr<registered_policy> find(std::string_view kind, std::string_view name) const;
    /// `made`, or the one that was listed meanwhile. Throws std::length_error if the table is full.
    std::shared_ptr<registered_policy> list(std::string_view kind, std::string_view name,
                                            std::shared_ptr<registered_policy> made);
    /// Unlists every policy of that name; false if there was none.
    bool remove(std::string_view name);
    policy_page page(const policy_query& wanted) const;
    /// Calls f(policy) for each under the mutex, in the order of kinds and names.
    template <class F>
    void each(const F& f) const {
        const lock_guard lock(mutex_);
        for (const listing* one : in_order_) f(one->policy);
    }
    void set_capacity(std::size_t capacity);

private:
    struct listing {
        std::size_t hash;
        detail::name kind;
        detail::name name;
        std::shared_ptr<registered_policy> policy;

        bool is(std::string_view wanted_kind, std::string_view wanted_name) const noexcept {
            return name.str() == wanted_name && kind.str() == wanted_kind;
        }
    };
    /// Open-addressed; a power of two, at least a half of which is null.
    using index = std::vector<listing*>;

    static std::size_t hash_of(std::string_view kind, std::string_view name) noexcept;
    static void put(index& into, listing* one) noexcept;
    /// As a reader, or with the mutex.
    std::shared_ptr<registered_policy> look_up(std::size_t hash, std::string_view kind,
                                               std::string_view name) const noexcept;
    /// With the mutex: where a policy of that kind and name is in the order, or belongs.
    std::size_t place_of(std::string_view kind, std::string_view name) const noexcept;

    mutable detail::mutex mutex_;
    mutable striped_readers readers_;
    index by_hash_ = index(8); // read by readers; written under mutex_ with readers kept out, as are listings
    std::vector<listing*> in_order_{}; // owns them; by kind and name; guarded by mutex_
    std::size_t capacity_ = 10'000;    // guarded by mutex_
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION policy_table::~policy_table() {
    for (const listing* one : in_order_) delete one;
}

// Kinds that share a name differ in length, most of them; others have the same hash and follow one another.
RESILIENCE_FUNCTION std::size_t policy_table::hash_of(std::string_view kind, std::string_view name) noexcept {
    return std::hash<std::string_view>{}(name) + kind.size();
}
RESILIENCE_FUNCTION std::shared_ptr<registered_policy> policy_table::look_up(
    std::size_t hash, std::string_view kind, std::string_view name) const noexcept {
    const std::size_t mask = by_hash_.size() - 1;
    for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
        const listing* const one = by_hash_[at];
        if (one == nullptr) return nullptr;
        if (one->hash == hash && one->is(kind, name)) return one->policy;
    }
}
RESILIENCE_FUNCTION std::shared_ptr<registered_policy> policy_table::find(std::string_view kind,
                                                                          std::string_view name) const {
    const std::size_t hash = hash_of(kind, name);
    if (const striped_readers::reading undisturbed(readers_); undisturbed) [[likely]]
        return look_up(hash, kind, name);
    const lock_guard lock(mutex_);
    return look_up(hash, kind, name);
}

RESILIENCE_COLD RESILIENCE_FUNCTION void policy_table::put(index& into, listing* one) noexcept {
    std::size_t at = one->hash & (into.size() - 1);
    while (into[at] != nullptr) at = (at + 1) & (into.size() - 1);
    into[at] = one;
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::shared_ptr<registered_policy> policy_table::list(
    std::string_view kind, std::string_view name, std::shared_ptr<registered_policy> made) {
    const std::size_t hash = hash_of(kind, name);
    // Before the lock: so it is destroyed after it.
    std::unique_ptr<listing> fresh(
        new listing{hash, detail::name(kind), detail::name(name), std::move(made)});
    index larger;
    const lock_guard lock(mutex_);
    if (auto known = look_up(hash, kind, name)) return known;
    if (in_order_.size() >= capacity_) {
        detail::raise(std::length_error("registry: no more than " + std::to_string(capacity_) +
                                        " named policies; refused '" + std::string(name) + "'"));
    }
    // Allocations first: they may throw before anything changes.
    if (2 * in_order_.size() >= by_hash_.size()) {
        larger = index(2 * by_hash_.size());
        for (listing* one : in_order_) put(larger, one);
    }
    in_order_.insert(in_order_.begin() + static_cast<std::ptrdiff_t>(place_of(kind, name)), fresh.get());
    const striped_readers::writing alone(readers_);
    if (!larger.empty()) by_hash_.swap(larger);
    put(by_hash_, fresh.get());
    return fresh.release()->policy;
}
RESILIENCE_COLD RESILIENCE_FUNCTION bool policy_table::remove(std::string_view name) {
    std::vector<std::shared_ptr<registered_policy>> gone; // destroyed after the lock is released
    const lock_guard lock(mutex_);
    std::size_t count = 0;
    for (const listing* one : in_order_) count += one->name.str() == name ? std::size_t{1} : std::size_t{0};
    if (count == 0) return false;
    gone.reserve(count); // may throw: before anything changes
    const striped_readers::writing alone(readers_);
    std::fill(by_hash_.begin(), by_hash_.end(), nullptr);
    auto kept = in_order_.begin();
    for (listing* one : in_order_) {
        if (one->name.str() == name) {
            gone.push_back(std::move(one->policy));
            delete one;
        } else {
            put(by_hash_, one);
            *kept++ = one;
        }
    }
    in_order_.erase(kept, in_order_.end());
    return true;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void policy_table::set_capacity(std::size_t capacity) {
    const lock_guard lock(mutex_);
    capacity_ = capacity;
}

RESILIENCE_FUNCTION policy_page policy_table::page(const policy_query& wanted) const {
    policy_page found;
    const listing* last = nullptr;
    const lock_guard lock(mutex_);
    std::size_t at = place_of(wanted.after_kind, wanted.after_name);
    if (at < in_order_.size() && in_order_[at]->is(wanted.after_kind, wanted.after_name)) ++at;
    if (wanted.name.empty()) found.policies.reserve(std::min(in_order_.size() - at, wanted.limit));
    for (; at < in_order_.size(); ++at) {
        const listing& one = *in_order_[at];
        if (!wanted.kind.empty() && one.kind.str() != wanted.kind) continue;
        if (!wanted.name.empty() && one.name.str() != wanted.name) continue;
        found.has_more = found.policies.size() == wanted.limit;
        if (found.has_more) break;
        found.policies.push_back(one.policy);
        last = &one;
    }
    if (last != nullptr) {
        found.last_kind = last->kind.str();
        found.last_name = last->name.str();
    }
    return found;
}
RESILIENCE_FUNCTION std::size_t policy_table::place_of(std::string_view kind,
                                                       std::string_view name) const noexcept {
    std::size_t first = 0, end = in_order_.size();
    while (first < end) {
        const std::size_t middle = first + (end - first) / 2;
        const int order = in_order_[middle]->kind.str().compare(kind);
        if (order < 0 || (order == 0 && in_order_[middle]->name.str() < name)) first = middle + 1;
        else end = middle;
    }
    return first;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
