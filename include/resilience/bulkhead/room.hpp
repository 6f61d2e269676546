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
#include <limits>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A call in a bulkhead: it waits, or has a place, and is listed in either case.
struct bulkhead_entry : waiter {
    /// The room's answer since the call joined the queue.
    enum class answer : std::uint8_t { none, place, evicted, expired };

    time_point since{}; // waits since then; with a place: has it since then
    time_point until{}; // the end of its wait, which is no later than its deadline
    answer told = answer::none;
    enum class part : std::uint8_t {
        none,
        waits,
        runs
    } now = part::none; // as its own call knows; not guarded
    resilience::priority level = resilience::priority::normal;
    const stop_at_deadline* work = nullptr; // that the call is part of, if a worker runs it
};

/// Tells if the queue stands: the smallest wait of the last interval was longer than the target (CoDel's rule, as in
/// Facebook's adaptive LIFO).
class standing_queue {
public:
    /// A call got its place after this wait.
    void left_after(duration wait, time_point now, const bulkhead_config& c) noexcept {
        smallest_ = std::min(smallest_, wait);
        if (now < ends_) return;
        stands_ = smallest_ > c.codel_target;
        smallest_ = duration::max();
        ends_ = saturating_add(now, c.codel_interval);
    }
    bool stands() const noexcept { return stands_; }

private:
    duration smallest_ = duration::max(); // of this interval
    time_point ends_ = time_point::min(); // of this interval
    bool stands_ = false;
};

/// The places of a bulkhead and its queue: who gets in, who waits, who is next. Pure: the time is an argument, and the
/// bulkhead's mutex guards it.
class bulkhead_room {
public:
    enum class entered : std::uint8_t { has_place, waits, full, too_late };

    std::uint64_t running() const noexcept { return running_; }
    std::uint64_t queued() const noexcept { return queued_; }

    /// `e` gets a place, or joins the queue, or neither. Sets `evicted` to the entry that left the queue for it; else to
    /// null. Throws, and changes nothing, if there is no memory to arm `e`.
    entered enter(bulkhead_entry& e, time_point now, time_point deadline, const bulkhead_config& c,
                  bulkhead_entry*& evicted);
    /// Takes a place, if one is free and nobody waits.
    bool take(const bulkhead_config& c) noexcept {
        if (queued_ > 0 || running_ >= c.max_concurrent) return false;
        ++running_;
        return true;
    }
    /// Takes a place that there may not be.
    void take_anyway() noexcept { ++running_; }
    void enter_anyway(bulkhead_entry& e, time_point now) noexcept {
        take_anyway();
        places_.list(e);
        e.since = now;
        e.told = bulkhead_entry::answer::place;
    }
    /// A place is given back that was held since then. next() hands it on.
    void give(time_point since, time_point now) noexcept {
        --running_;
        const duration held = elapsed_between(since, now);
        // Each call changes the mean by an eighth, so that it follows a dependency that has become slow.
        if (knows_hold_) mean_hold_ += (held - mean_hold_) / 8;
        else mean_hold_ = held, knows_hold_ = true;
    }
    void give(bulkhead_entry& e, time_point now) noexcept {
        places_.remove(e);
        give(e.since, now);
    }
    /// A place is given back that no attempt had.
    void give_unused(bulkhead_entry& e) noexcept {
        places_.remove(e);
        --running_;
    }
    /// Places of attempts that an abandoning timeout further out has given up.
    std::uint64_t zombies() noexcept {
        std::uint64_t all = 0;
        for (waiter* w = places_.front(); w != nullptr; w = places_.after(*w)) {
            const auto* const work = entry(w)->work;
            all += work != nullptr && work->abandoned.load(std::memory_order_relaxed) ? 1 : 0;
        }
        return all;
    }
    void leave(bulkhead_entry& e) noexcept {
        if (!e.is_queued()) return;
        queue_of(e).remove(e);
        --queued_;
    }
    /// Takes the next entry out of the queue that has an answer now, and sets it: a place, or that it has waited for too
    /// long. Null if there is none. Called until then.
    bulkhead_entry* next(time_point now, const bulkhead_config& c) noexcept;

    /// How long a call that comes now has to wait for its place behind `position` - 1 others; negative: not known.
    duration wait_at(std::uint64_t position, const bulkhead_config& c) const noexcept {
        if (!knows_hold_ || c.max_concurrent == 0) return duration{-1};
        const auto most = std::numeric_limits<duration::rep>::max();
        const auto held = mean_hold_.count();
        if (held > 0 && position > static_cast<std::uint64_t>(most / held)) return duration::max();
        return duration{held * static_cast<duration::rep>(position) / c.max_concurrent};
    }

private:
    static constexpr std::size_t levels = 5;
    using queues = std::array<waiter_queue, levels>;

    waiter_queue& queue_of(const bulkhead_entry& e) noexcept {
        return waiting_[static_cast<std::size_t>(e.level)];
    }
    /// Newest first, within a level.
    bool takes_newest(const bulkhead_config& c) const noexcept {
        return c.order == queue_order::lifo || (c.order == queue_order::adaptive && codel_.stands());
    }
    static bulkhead_entry* entry(waiter* w) noexcept { return static_cast<bulkhead_entry*>(w); }
    /// The level of an entry by now: it gains one every half of max_wait, so that none starves.
    static std::uint64_t level_by(const bulkhead_entry& e, time_point now,
                                  const bulkhead_config& c) noexcept {
        const duration half = c.max_wait / 2;
        const duration waited = elapsed_between(e.since, now);
        return static_cast<std::uint64_t>(e.level) +
               (half > duration{0} ? static_cast<std::uint64_t>(waited / half) : 0);
    }
    /// The first entry by `comes_before`, of those that may be it: oldest first, they are at the front of their levels.
    bulkhead_entry* first_of(time_point now, const bulkhead_config& c) noexcept;
    /// The entry that would be served last.
    bulkhead_entry* last_of(time_point now, const bulkhead_config& c) noexcept;
    std::uint64_t position_of(resilience::priority level, time_point now, const bulkhead_config& c) noexcept;
    bulkhead_entry* pop(bulkhead_entry& e, bulkhead_entry::answer told) noexcept {
        leave(e);
        e.told = told;
        return &e;
    }

    queues waiting_; // each oldest first
    waiter_queue places_;
    std::uint64_t queued_ = 0;
    std::uint64_t running_ = 0;
    duration mean_hold_{0};
    bool knows_hold_ = false;
    standing_queue codel_;
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION bulkhead_room::entered bulkhead_room::enter(bulkhead_entry& e, time_point now,
                                                                time_point deadline, const bulkhead_config& c,
                                                                bulkhead_entry*& evicted) {
    evicted = nullptr;
    e.since = now;
    if (take(c)) {
        places_.list(e);
        e.told = bulkhead_entry::answer::place;
        if (c.order == queue_order::adaptive) codel_.left_after(duration{0}, now, c);
        return entered::has_place;
    }
    if (c.max_concurrent == 0 || c.max_queue == 0 || c.max_wait == duration{0}) return entered::full;
    if (deadline != time_point::max() &&
        wait_at(position_of(e.level, now, c), c) > elapsed_between(now, deadline))
        return entered::too_late;
    bulkhead_entry* victim = nullptr;
    if (queued_ >= c.max_queue) {
        victim = last_of(now, c);
        if (victim == nullptr || level_by(*victim, now, c) >= static_cast<std::uint64_t>(e.level))
            return entered::full;
    }
    const bool is_short = c.order == queue_order::adaptive && codel_.stands();
    e.until =
        std::min(deadline, saturating_add(now, is_short ? std::min(c.max_wait, c.codel_target) : c.max_wait));
    e.told = bulkhead_entry::answer::none;
    queue_of(e).push_back(e);
    ++queued_;
    if (victim != nullptr) evicted = pop(*victim, bulkhead_entry::answer::evicted);
    return entered::waits;
}
RESILIENCE_FUNCTION bulkhead_entry* bulkhead_room::next(time_point now, const bulkhead_config& c) noexcept {
    if (queued_ == 0) return nullptr;
    if (c.order == queue_order::adaptive && codel_.stands()) { // cuts waits to the target
        for (waiter_queue& level : waiting_) {
            bulkhead_entry* const oldest = entry(level.front());
            if (oldest != nullptr && elapsed_between(oldest->since, now) > c.codel_target)
                return pop(*oldest, bulkhead_entry::answer::expired);
        }
    }
    if (running_ >= c.max_concurrent) return nullptr;
    bulkhead_entry* const first = first_of(now, c);
    if (now >= first->until) return pop(*first, bulkhead_entry::answer::expired); // never runs what is late
    if (c.order == queue_order::adaptive) codel_.left_after(elapsed_between(first->since, now), now, c);
    ++running_;
    pop(*first, bulkhead_entry::answer::place);
    places_.list(*first);
    return first;
}
RESILIENCE_FUNCTION bulkhead_entry* bulkhead_room::first_of(time_point now,
                                                            const bulkhead_config& c) noexcept {
    const bool newest = takes_newest(c);
    bulkhead_entry* first = nullptr;
    const auto look = [&](bulkhead_entry& e) {
        if (first == nullptr) return void(first = &e);
        const auto mine = level_by(e, now, c), theirs = level_by(*first, now, c);
        if (mine != theirs ? mine > theirs : newest ? e.since >= first->since : e.since < first->since)
            first = &e;
    };
    for (waiter_queue& level : waiting_) {
        for (waiter* w = level.front(); w != nullptr; w = newest ? level.after(*w) : nullptr) look(*entry(w));
    }
    return first;
}
RESILIENCE_FUNCTION bulkhead_entry* bulkhead_room::last_of(time_point now,
                                                           const bulkhead_config& c) noexcept {
    const bool newest = takes_newest(c);
    bulkhead_entry* last = nullptr;
    const auto look = [&](bulkhead_entry& e) {
        if (last == nullptr) return void(last = &e);
        const auto mine = level_by(e, now, c), theirs = level_by(*last, now, c);
        if (mine != theirs ? mine < theirs : newest ? e.since < last->since : e.since >= last->since)
            last = &e;
    };
    for (waiter_queue& level : waiting_) {
        if (newest) {
            for (waiter* w = level.front(); w != nullptr; w = level.after(*w)) look(*entry(w));
        } else if (waiter* const w = level.back()) {
            look(*entry(w));
        }
    }
    return last;
}
RESILIENCE_FUNCTION std::uint64_t bulkhead_room::position_of(resilience::priority level, time_point now,
                                                             const bulkhead_config& c) noexcept {
    const auto mine = static_cast<std::uint64_t>(level);
    const bool newest = takes_newest(c);
    std::uint64_t before = 0;
    for (waiter_queue& others : waiting_) {
        for (waiter* w = others.front(); w != nullptr; w = others.after(*w)) {
            const auto theirs = level_by(*entry(w), now, c);
            before += (newest ? theirs > mine : theirs >= mine) ? 1 : 0;
        }
    }
    return before + 1;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
