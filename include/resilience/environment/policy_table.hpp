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
        for (std::size_t i = 0; i < count_; ++i) f(in_order()[i]->policy);
    }
    void set_capacity(std::size_t capacity);

private:
    struct listing {
        std::size_t hash;
        detail::name kind;
        detail::name name;
        std::shared_ptr<registered_policy> policy;
        listing* next_gone = nullptr; // of those that are removed together

        bool is(std::string_view wanted_kind, std::string_view wanted_name) const noexcept {
            return name.str() == wanted_name && kind.str() == wanted_kind;
        }
    };
    static std::size_t hash_of(std::string_view kind, std::string_view name) noexcept;
    /// So many places in which listings stand by their hashes: a power of two, of which a half is null.
    std::size_t places() const noexcept { return 2 * room_; }
    static listing** with_room_for(std::size_t room) { return new listing*[3 * room]{}; }
    void put(listing* one) noexcept;
    void take_out(const listing* one) noexcept;
    /// As a reader, or with the mutex.
    std::shared_ptr<registered_policy> look_up(std::size_t hash, std::string_view kind,
                                               std::string_view name) const noexcept;
    /// With the mutex: where a policy of that kind and name is in the order, or belongs.
    std::size_t place_of(std::string_view kind, std::string_view name) const noexcept;

    mutable detail::mutex mutex_;
    mutable striped_readers readers_;
    // Two arrays in one piece of memory. places() listings by their hashes, open-addressed: read by readers; written under
    // mutex_ with readers kept out, as are room_ and each listing. Then room for room_ listings in the order of kinds and
    // names, of which there are count_: guarded by mutex_ alone. Owns them.
    std::size_t room_ = 4;
    listing** by_hash_ = with_room_for(room_);
    std::size_t count_ = 0;
    listing** in_order() const noexcept { return by_hash_ + places(); }
    std::size_t capacity_ = 10'000;
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION policy_table::~policy_table() {
    for (std::size_t i = 0; i < count_; ++i) delete in_order()[i];
    delete[] by_hash_;
}

// Kinds that share a name differ in length, most of them; others have the same hash and follow one another.
RESILIENCE_FUNCTION std::size_t policy_table::hash_of(std::string_view kind, std::string_view name) noexcept {
    return std::hash<std::string_view>{}(name) + kind.size();
}
RESILIENCE_FUNCTION std::shared_ptr<registered_policy> policy_table::look_up(
    std::size_t hash, std::string_view kind, std::string_view name) const noexcept {
    const std::size_t mask = places() - 1;
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

RESILIENCE_COLD RESILIENCE_FUNCTION void policy_table::put(listing* one) noexcept {
    const std::size_t mask = places() - 1;
    std::size_t at = one->hash & mask;
    while (by_hash_[at] != nullptr) at = (at + 1) & mask;
    by_hash_[at] = one;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void policy_table::take_out(const listing* one) noexcept {
    const std::size_t mask = places() - 1;
    std::size_t at = one->hash & mask;
    while (by_hash_[at] != one) at = (at + 1) & mask;
    // A later one moves to the gap if that is on the way from where it belongs.
    for (std::size_t next = (at + 1) & mask; by_hash_[next] != nullptr; next = (next + 1) & mask) {
        if (((next - by_hash_[next]->hash) & mask) < ((next - at) & mask)) continue;
        by_hash_[at] = by_hash_[next];
        at = next;
    }
    by_hash_[at] = nullptr;
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::shared_ptr<registered_policy> policy_table::list(
    std::string_view kind, std::string_view name, std::shared_ptr<registered_policy> made) {
    const std::size_t hash = hash_of(kind, name);
    // Before the lock: so it is destroyed after it.
    std::unique_ptr<listing> fresh(
        new listing{hash, detail::name(kind), detail::name(name), std::move(made)});
    const lock_guard lock(mutex_);
    if (auto known = look_up(hash, kind, name)) return known;
    if (count_ >= capacity_) {
        detail::raise(std::length_error("registry: no more than " + std::to_string(capacity_) +
                                        " named policies; refused '" + std::string(name) + "'"));
    }
    listing** const larger = count_ == room_ ? with_room_for(2 * room_) : nullptr;
    const std::size_t place = place_of(kind, name);
    const striped_readers::writing alone(readers_);
    if (larger != nullptr) {
        listing** const before = by_hash_;
        listing** const ordered = in_order();
        by_hash_ = larger;
        room_ *= 2;
        for (std::size_t i = 0; i < count_; ++i) put(in_order()[i] = ordered[i]);
        delete[] before;
    }
    put(fresh.get());
    for (std::size_t i = count_++; i > place; --i) in_order()[i] = in_order()[i - 1];
    in_order()[place] = fresh.get();
    return fresh.release()->policy;
}
RESILIENCE_COLD RESILIENCE_FUNCTION bool policy_table::remove(std::string_view name) {
    listing* gone = nullptr; // destroyed after the lock is released
    {
        const lock_guard lock(mutex_);
        std::size_t kept = 0;
        for (std::size_t i = 0; i < count_; ++i) {
            listing* const one = in_order()[i];
            if (one->name.str() == name) {
                one->next_gone = gone;
                gone = one;
            } else {
                in_order()[kept++] = one;
            }
        }
        count_ = kept;
        if (gone == nullptr) return false;
        const striped_readers::writing alone(readers_);
        for (const listing* one = gone; one != nullptr; one = one->next_gone) take_out(one);
    }
    while (const listing* const one = gone) {
        gone = one->next_gone;
        delete one;
    }
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
    if (at < count_ && in_order()[at]->is(wanted.after_kind, wanted.after_name)) ++at;
    if (wanted.name.empty()) found.policies.reserve(std::min(count_ - at, wanted.limit));
    for (; at < count_; ++at) {
        const listing& one = *in_order()[at];
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
RESILIENCE_COLD RESILIENCE_FUNCTION std::size_t policy_table::place_of(std::string_view kind,
                                                                       std::string_view name) const noexcept {
    std::size_t first = 0, end = count_;
    while (first < end) {
        const std::size_t middle = first + (end - first) / 2;
        const int order = in_order()[middle]->kind.str().compare(kind);
        if (order < 0 || (order == 0 && in_order()[middle]->name.str() < name)) first = middle + 1;
        else end = middle;
    }
    return first;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
