// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>
#include <resilience/error.hpp>
#include <resilience/event.hpp>
#include <resilience/registry.hpp>
#include <resilience/system_time.hpp>
#include <resilience/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace resilience::inline RESILIENCE_ABI {

/// Which events of a log are wanted; what is empty does not matter.
struct event_filter {
    std::optional<event_kind> kind{};
    /// The policy's name.
    std::string policy{};

    bool matches(const event& e) const {
        return (!kind || e.kind == *kind) && (policy.empty() || e.policy == policy);
    }
};

/// The last events of a registry, numbered from 1; the oldest makes room for the next. For views that are asked what
/// happened: it never waits for a reader, and a reader that comes too late is told how much it missed.
///
/// Thread-safe. While a log exists its registry has a listener: events are made, which costs failing and refused
/// calls some hundred nanoseconds each, and calls that succeed at once nothing.
class event_log {
public:
    /// Enough for the story of an outage, less than a megabyte.
    static constexpr std::size_t default_capacity = 1000;

    /// `capacity`: 1 to 1,000,000 events, all allocated now; otherwise std::invalid_argument.
    explicit event_log(registry& where = registry::global(), std::size_t capacity = default_capacity)
        : ring_(checked(capacity)), subscription_(where.subscribe([this](const event& e) { keep(e); })) {}
    event_log(const event_log&) = delete;
    event_log& operator=(const event_log&) = delete;

    struct entry {
        std::uint64_t number;
        event what;
    };
    struct page {
        std::vector<entry> entries;
        /// What to ask for next; the number of the next event if none was left out for lack of room in the page.
        std::uint64_t next = 1;
        /// Events from `since` on that had made room before they could be read, whether they matched or not.
        std::uint64_t missed = 0;
    };
    /// Matching events whose number is at least `since`, oldest first, no more than `most`.
    page read(std::uint64_t since = 1, const event_filter& filter = {},
              std::size_t most = default_capacity) const {
        page found;
        const detail::lock_guard lock(mutex_);
        const std::uint64_t oldest = last_ < ring_.size() ? 1 : last_ - ring_.size() + 1;
        found.next = std::max({since, oldest, std::uint64_t{1}});
        found.missed = oldest > since && since > 0 ? oldest - since : 0;
        for (; found.next <= last_; ++found.next) {
            const event& e = ring_[found.next % ring_.size()];
            if (!filter.matches(e)) continue;
            if (found.entries.size() == most) return found;
            found.entries.push_back({found.next, e});
        }
        return found;
    }
    /// The number of the newest event; 0 before the first.
    std::uint64_t last() const {
        const detail::lock_guard lock(mutex_);
        return last_;
    }
    /// Blocks until there is an event numbered `since` or more (true), for `at_most` of real time, or until close().
    bool wait(std::uint64_t since, duration at_most) const {
        const time_point until = saturating_add(system_time().now(), at_most);
        detail::unique_lock lock(mutex_);
        while (last_ < since && !closed_ && system_time().now() < until) added_.wait_until(lock, until);
        return last_ >= since;
    }
    bool closed() const {
        const detail::lock_guard lock(mutex_);
        return closed_;
    }
    /// Wakes every waiting reader, and lets none wait any more: for a server that ends.
    void close() {
        {
            const detail::lock_guard lock(mutex_);
            closed_ = true;
        }
        added_.notify_all();
    }

private:
    static std::size_t checked(std::size_t capacity) {
        constexpr std::size_t most = 1'000'000;
        if (capacity < 1 || capacity > most) {
            detail::raise(std::invalid_argument("event_log: capacity is " + std::to_string(capacity) +
                                                "; it must be in 1..1000000"));
        }
        return capacity;
    }
    void keep(const event& e) {
        event kept = e; // and what it replaces: made and destroyed with no lock held
        {
            const detail::lock_guard lock(mutex_);
            std::swap(ring_[++last_ % ring_.size()], kept);
        }
        added_.notify_all();
    }

    mutable detail::mutex mutex_;
    mutable detail::condition_variable added_;
    std::vector<event> ring_; // guarded by mutex_, like those that follow
    std::uint64_t last_ = 0;
    bool closed_ = false;
    subscription subscription_; // last: it ends before what it writes to
};

} // namespace resilience::inline RESILIENCE_ABI
