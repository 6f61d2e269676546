// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/system_time.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/quote.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/event.hpp>
#include <resilience/registry.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Selects events of a log. A field that is empty matches every event.
struct event_filter {
    std::optional<event_kind> kind{};
    /// The policy's name.
    std::string policy{};

    bool matches(const event& e) const {
        return (!kind || e.kind == *kind) && (policy.empty() || e.policy == policy);
    }
};

/// Keeps the last events of a registry, numbered from 1, for views that show what happened. New events
/// replace the oldest. The log does not wait for readers; a reader that comes too late is told how many
/// events it missed. Changes of state and of configs have room of their own, so that the thousands of
/// refusals after a trip do not push them out.
///
/// A forked child keeps its events in the log that it inherits, and must not wait in it.
///
/// Thread-safe. While a reader copies (some microseconds per hundred events), threads that cause events wait
/// for it. While a log exists, its registry has a listener, so events are made: this costs failing and
/// refused calls some hundred nanoseconds each, and costs nothing for calls whose first attempt succeeds.
class event_log {
public:
    /// Enough events for the story of an outage; some hundred kilobytes.
    static constexpr std::size_t default_capacity = 1000;
    /// The most bytes of an error's text that are kept. The texts may be whole pages of HTML.
    static constexpr std::size_t longest_error = 4096;

    /// `capacity` is the number of events kept of each kind (changes, all others), from 1 to 100,000, all
    /// allocated here. Throws std::invalid_argument otherwise.
    explicit event_log(registry& where = registry::global(), std::size_t capacity = default_capacity)
        : changes_(checked(capacity)), others_(capacity),
          subscription_(where.subscribe([this](const event& e) { keep(e); })) {}
    event_log(const event_log&) = delete;
    event_log& operator=(const event_log&) = delete;

    struct entry {
        std::uint64_t number = 0;
        event what;
    };
    struct page {
        std::vector<entry> entries;
        /// Pass this as `since` to read on. It is the first event left out for lack of room in the page, or
        /// the next to come.
        std::uint64_t next = 1;
        /// At most this many events from `since` on were replaced before they could be read. If the filter
        /// names a kind, only events that share its room count.
        std::uint64_t missed = 0;
    };
    /// Reads at most `most` matching events with numbers from `since` on, oldest first. A `since` of 0 reads
    /// from the oldest event kept and counts none as missed.
    page read(std::uint64_t since = 1, const event_filter& filter = {},
              std::size_t most = default_capacity) const {
        page found;
        const bool from_any = since == 0; // from the oldest event kept
        since = std::max<std::uint64_t>(since, 1);
        const detail::lock_guard lock(mutex_);
        const bool only_changes = filter.kind && is_change(*filter.kind);
        const bool only_others = filter.kind && !is_change(*filter.kind);
        if (!only_others && !from_any) found.missed += changes_.missed(since);
        if (!only_changes && !from_any) found.missed += others_.missed(since);
        auto change = only_others ? changes_.end() : changes_.from(since);
        auto other = only_changes ? others_.end() : others_.from(since);
        found.next = std::max(since, last_ + 1);
        while (change != changes_.end() || other != others_.end()) {
            const bool is_next = other == others_.end() || (change != changes_.end() &&
                                                            changes_[change].number < others_[other].number);
            const entry& e = is_next ? changes_[change++] : others_[other++];
            if (!filter.matches(e.what)) continue;
            if (found.entries.size() == most) {
                found.next = e.number;
                break;
            }
            found.entries.push_back(e);
        }
        return found;
    }
    /// Reads the last `most` matching events, oldest first. None counts as missed.
    page newest(const event_filter& filter = {}, std::size_t most = default_capacity) const {
        page found = read(0, filter, std::numeric_limits<std::size_t>::max());
        if (found.entries.size() > most) {
            const auto surplus = static_cast<std::ptrdiff_t>(found.entries.size() - most);
            found.entries.erase(found.entries.begin(), found.entries.begin() + surplus);
        }
        return found;
    }
    /// The number of the newest event; 0 before the first.
    std::uint64_t last() const {
        const detail::lock_guard lock(mutex_);
        return last_;
    }
    /// Blocks until there is an event numbered `since` or later, `at_most` of real time has passed, or
    /// close() is called. True if there is such an event.
    bool wait(std::uint64_t since, duration at_most) const {
        const time_point until = saturating_add(system_time().now(), at_most);
        const reader here(*this);
        detail::unique_lock lock(waiting_);
        while (waits_for(since) && system_time().now() < until) added_.wait_until(lock, until);
        return last() >= since;
    }
    bool closed() const {
        const detail::lock_guard lock(mutex_);
        return closed_;
    }
    /// Wakes every waiting reader and lets no reader wait any more. For a server that shuts down.
    void close() {
        {
            const detail::lock_guard lock(mutex_);
            closed_ = true;
            if (!has_readers()) return;
        }
        wake();
    }

private:
    static std::size_t checked(std::size_t capacity) {
        constexpr std::size_t most = 100'000;
        if (capacity < 1 || capacity > most) {
            detail::raise(std::invalid_argument("event_log: capacity is " + std::to_string(capacity) +
                                                "; it must be in 1..100000"));
        }
        return capacity;
    }
    static bool is_change(event_kind kind) noexcept {
        return kind == event_kind::state_changed || kind == event_kind::policy_updated;
    }
    void keep(const event& e) {
        entry kept{0, e}; // afterwards the event it replaced: both are made and destroyed with no lock held
        for (std::string* text : {&kept.what.error, &kept.what.first_error})
            text->resize(detail::clipped(*text, longest_error).size());
        {
            const detail::lock_guard lock(mutex_);
            kept.number = ++last_;
            (is_change(e.kind) ? changes_ : others_).keep(kept);
            if (!has_readers()) return;
        }
        wake();
    }

    /// Registers a thread that waits.
    class reader {
    public:
        explicit reader(const event_log& log) : log_(log) {
            const detail::lock_guard lock(log.mutex_);
            ++log.readers_;
        }
        reader(const reader&) = delete;
        reader& operator=(const reader&) = delete;
        ~reader() {
            const detail::lock_guard lock(log_.mutex_);
            --log_.readers_;
        }

    private:
        const event_log& log_;
    };
    /// With mutex_. None in a forked child: a reader of the parent's may have held waiting_.
    bool has_readers() const noexcept { return readers_ != 0 && process_ == detail::process_number(); }
    bool waits_for(std::uint64_t since) const {
        const detail::lock_guard lock(mutex_);
        return last_ < since && !closed_;
    }
    void wake() const {
        {
            const detail::lock_guard lock(waiting_); // a reader has not checked yet, or waits already
        }
        added_.notify_all();
    }

    /// A ring of the last entries. Positions count from the first entry ever kept.
    class ring {
    public:
        explicit ring(std::size_t capacity) : entries_(capacity) {}

        /// Stores the entry and leaves the entry that it replaces in `e`.
        void keep(entry& e) {
            entry& place = entries_[kept_++ % entries_.size()];
            if (place.number != 0) newest_lost_ = place.number;
            std::swap(place, e);
        }
        const entry& operator[](std::uint64_t position) const { return entries_[position % entries_.size()]; }
        std::uint64_t end() const noexcept { return kept_; }
        /// The position of the first entry whose number is at least `since`.
        std::uint64_t from(std::uint64_t since) const {
            std::uint64_t low = lost(), high = kept_;
            while (low < high) {
                const std::uint64_t middle = low + (high - low) / 2;
                if ((*this)[middle].number < since) low = middle + 1;
                else high = middle;
            }
            return low;
        }
        /// The most entries from `since` on that can have been replaced. Numbers of the other ring may be
        /// among them.
        std::uint64_t missed(std::uint64_t since) const noexcept {
            return newest_lost_ < since ? 0 : std::min(lost(), newest_lost_ - since + 1);
        }

    private:
        std::uint64_t lost() const noexcept { return kept_ > entries_.size() ? kept_ - entries_.size() : 0; }

        std::vector<entry> entries_;
        std::uint64_t kept_ = 0;        // entries ever kept
        std::uint64_t newest_lost_ = 0; // the number of the newest replaced entry; 0: none
    };

    mutable detail::waitable_mutex waiting_; // for added_; taken before mutex_
    mutable detail::condition_variable added_;
    mutable detail::mutex mutex_;
    const std::uint32_t process_ = detail::process_number(); // the process whose threads may wait
    mutable std::uint64_t readers_ = 0;                      // guarded by mutex_, as are the members below
    ring changes_;
    ring others_;
    std::uint64_t last_ = 0;
    bool closed_ = false;
    subscription subscription_; // last member: it is destroyed before the members that it writes to
};

}} // namespace resilience::RESILIENCE_ABI
