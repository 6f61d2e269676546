// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>
#include <resilience/event.hpp>
#include <resilience/registry.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI { namespace testing {

/// Keeps every event of a registry from its construction on, in the order in which they were delivered,
/// until it is destroyed. Thread-safe.
class recorder {
public:
    explicit recorder(registry& where = registry::global())
        : subscription_(where.subscribe([this](const event& e) { keep(e); })) {}
    recorder(const recorder&) = delete;
    recorder& operator=(const recorder&) = delete;

    std::vector<event> events() const {
        const detail::lock_guard lock(mutex_);
        return events_;
    }
    std::vector<event> of_kind(event_kind kind) const {
        std::vector<event> chosen;
        const detail::lock_guard lock(mutex_);
        for (const event& e : events_) {
            if (e.kind == kind) chosen.push_back(e);
        }
        return chosen;
    }
    /// Only the kinds, to check the order.
    std::vector<event_kind> kinds() const {
        return each<event_kind>([](const event& e) { return e.kind; });
    }
    /// The names of kinds, which a failed comparison prints in clear.
    std::vector<std::string> names() const {
        return each<std::string>([](const event& e) { return to_string(e.kind); });
    }
    std::size_t count(event_kind kind) const { return of_kind(kind).size(); }
    std::size_t size() const {
        const detail::lock_guard lock(mutex_);
        return events_.size();
    }
    bool empty() const { return size() == 0; }
    std::optional<event> last() const {
        const detail::lock_guard lock(mutex_);
        return events_.empty() ? std::nullopt : std::optional(events_.back());
    }
    /// Forgets all events so far and goes on recording.
    void clear() {
        const detail::lock_guard lock(mutex_);
        events_.clear();
    }

private:
    void keep(const event& e) {
        const detail::lock_guard lock(mutex_);
        events_.push_back(e);
    }
    template <class T, class F>
    std::vector<T> each(F&& f) const {
        std::vector<T> all;
        const detail::lock_guard lock(mutex_);
        all.reserve(events_.size());
        for (const event& e : events_) all.emplace_back(f(e));
        return all;
    }

    mutable detail::mutex mutex_;
    std::vector<event> events_; // guarded by mutex_
    subscription subscription_; // last member: it is destroyed before the members that it writes to
};

}}} // namespace resilience::RESILIENCE_ABI::testing
