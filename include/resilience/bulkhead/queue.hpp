// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/bulkhead/config.hpp>
#include <resilience/call/armed_stop.hpp>
#include <resilience/call/call_options.hpp>
#include <resilience/call/time.hpp>
#include <resilience/call/waiter.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A call in a bulkhead: it waits, or has a place, and is listed in either case.
struct bulkhead_entry : waiter {
    /// The room's answer since the call joined the queue.
    enum class answer : std::uint8_t { none, place, evicted, expired, refused };
    enum class part : std::uint8_t { none, waits, runs, passes }; // passes: runs in an open place

    time_point since{};        // waits since then; with a place: has it since then
    time_point until{};        // the end of its wait, which is no later than its deadline
    duration waited{0};        // for its place
    std::uint32_t process = 0; // in which it waits or has its place
    answer told = answer::none;
    part now = part::none; // as its own call knows; not guarded
    resilience::priority level = resilience::priority::normal;
    std::uint8_t age = 0;                   // the priorities that it has gained; the queue's
    const stop_at_deadline* work = nullptr; // that the call is part of, if a worker runs it
};

/// The calls that wait, by priority and age: a call gains a priority every half of max_wait, so that none starves. A list
/// has the calls of one priority and one age, in the order of their coming, so that whoever is first or last is at an end
/// of one. Guarded by the bulkhead's mutex.
class bulkhead_queue {
public:
    std::uint64_t size() const noexcept { return size_; }

    /// Throws, and changes nothing, if there is no memory to arm `e`.
    void push(bulkhead_entry& e) {
        e.age = 0;
        list_of(e).calls.push_back(e);
        ++list_of(e).size;
        ++size_;
    }
    void remove(bulkhead_entry& e) noexcept {
        if (!e.is_queued()) return;
        list_of(e).calls.remove(e);
        --list_of(e).size;
        --size_;
    }
    /// Gives all the priority that they have by now. To be called before the functions below.
    void age(time_point now, duration half_of_max_wait) noexcept;
    /// The call that is served first, and the one that is served last; null if none waits.
    bulkhead_entry* first(bool newest_first) noexcept;
    bulkhead_entry* last(bool newest_first) noexcept;
    /// The place in the order of service that a call of that priority would get; the first is 1.
    std::uint64_t position_of(resilience::priority level, bool newest_first) const noexcept;
    /// A call that has waited for longer than that; null if there is none.
    bulkhead_entry* older_than(duration wait, time_point now) noexcept;
    /// Any call; null if none waits.
    bulkhead_entry* any() noexcept { return first(false); }
    /// The priority that it has by now.
    static std::size_t rank(const bulkhead_entry& e) noexcept {
        return static_cast<std::size_t>(e.level) + e.age;
    }
    /// Forgets all without touching them: they are of another process.
    void forget() noexcept {
        for (list& l : lists_) l.calls.forget(), l.size = 0;
        size_ = 0;
    }

private:
    static constexpr std::size_t levels = 5, ages = 3; // no call waits for longer than max_wait
    struct list {
        waiter_queue calls;
        std::uint64_t size = 0;
    };

    static bulkhead_entry* entry(waiter* w) noexcept { return static_cast<bulkhead_entry*>(w); }
    list& list_of(const bulkhead_entry& e) noexcept {
        return lists_[static_cast<std::size_t>(e.level) * ages + e.age];
    }
    static std::size_t rank_of(std::size_t list) noexcept { return list / ages + list % ages; }

    std::array<list, levels * ages> lists_; // by priority, then by age
    std::uint64_t size_ = 0;
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION void bulkhead_queue::age(time_point now, duration half_of_max_wait) noexcept {
    if (size_ == 0 || half_of_max_wait <= duration{0}) return;
    for (std::size_t i = 0; i < lists_.size(); ++i) {
        const std::size_t age = i % ages;
        if (age + 1 == ages) continue;
        const duration due = half_of_max_wait * static_cast<duration::rep>(age + 1);
        for (auto* e = entry(lists_[i].calls.front()); e != nullptr && elapsed_between(e->since, now) >= due;
             e = entry(lists_[i].calls.front())) {
            lists_[i].calls.remove(*e);
            --lists_[i].size;
            ++e->age;
            lists_[i + 1].calls.list(*e);
            ++lists_[i + 1].size;
        }
    }
}
RESILIENCE_FUNCTION bulkhead_entry* bulkhead_queue::first(bool newest_first) noexcept {
    bulkhead_entry* best = nullptr;
    for (list& l : lists_) {
        auto* const e = entry(newest_first ? l.calls.back() : l.calls.front());
        if (e == nullptr) continue;
        const bool is_before =
            best == nullptr || rank(*e) > rank(*best) ||
            (rank(*e) == rank(*best) && (newest_first ? e->since > best->since : e->since < best->since));
        if (is_before) best = e;
    }
    return best;
}
RESILIENCE_FUNCTION bulkhead_entry* bulkhead_queue::last(bool newest_first) noexcept {
    bulkhead_entry* worst = nullptr;
    for (list& l : lists_) {
        auto* const e = entry(newest_first ? l.calls.front() : l.calls.back());
        if (e == nullptr) continue;
        const bool is_behind =
            worst == nullptr || rank(*e) < rank(*worst) ||
            (rank(*e) == rank(*worst) && (newest_first ? e->since < worst->since : e->since > worst->since));
        if (is_behind) worst = e;
    }
    return worst;
}
RESILIENCE_FUNCTION std::uint64_t bulkhead_queue::position_of(resilience::priority level,
                                                              bool newest_first) const noexcept {
    const auto mine = static_cast<std::size_t>(level);
    std::uint64_t before = 0;
    for (std::size_t i = 0; i < lists_.size(); ++i) {
        if (newest_first ? rank_of(i) > mine : rank_of(i) >= mine) before += lists_[i].size;
    }
    return before + 1;
}
RESILIENCE_FUNCTION bulkhead_entry* bulkhead_queue::older_than(duration wait, time_point now) noexcept {
    for (list& l : lists_) {
        auto* const oldest = entry(l.calls.front());
        if (oldest != nullptr && elapsed_between(oldest->since, now) > wait) return oldest;
    }
    return nullptr;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
