// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/bulkhead/config.hpp>
#include <resilience/bulkhead/open_places.hpp>
#include <resilience/bulkhead/queue.hpp>
#include <resilience/call/time.hpp>
#include <resilience/call/waiter.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

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
    std::uint64_t queued() const noexcept { return queue_.size(); }
    std::uint64_t most_running() const noexcept { return most_running_; }

    /// `e` gets a place, or joins the queue, for which another may have to leave it, or neither. Throws, and changes
    /// nothing, if there is no memory to arm `e`.
    entered enter(bulkhead_entry& e, time_point now, time_point deadline, const bulkhead_config& c);
    /// True if an entry has made way, and next() will give it.
    bool owes_answer() const noexcept { return !evicted_.empty(); }
    /// Takes a place, if one is free and nobody waits.
    bool take(time_point now, const bulkhead_config& c) noexcept {
        if (queued() > 0 || running_ >= c.max_concurrent) return false;
        take_anyway();
        if (c.order == queue_order::adaptive) codel_.left_after(duration{0}, now, c);
        return true;
    }
    /// Takes a place that there may not be.
    void take_anyway() noexcept { most_running_ = std::max(most_running_, ++running_); }
    void enter_anyway(bulkhead_entry& e, time_point now) noexcept {
        take_anyway();
        settle_in(e, now);
    }
    /// True if a call that comes now would be refused: it would find no place, and none in the queue. With dry_run there is
    /// no queue: all who would wait have places.
    bool refuses_next(const bulkhead_config& c) const noexcept {
        if (queued() == 0 && running_ < c.max_concurrent) return false;
        return !lets_wait(c) || running_ + queued() >= std::uint64_t{c.max_concurrent} + c.max_queue;
    }
    /// A place is given back that is not in the room's list. next() hands it on.
    void give(const bulkhead_place& place, time_point now) noexcept {
        --running_;
        note_hold(place, now);
    }
    void note_hold(const bulkhead_place& place, time_point now) noexcept {
        if (place.since == bulkhead_place::not_measured) return;
        const duration held = elapsed_between(place.since, now);
        // Each call changes the mean by an eighth, so that it follows a dependency that has become slow.
        if (knows_hold_) mean_hold_ += (held - mean_hold_) / 8;
        else mean_hold_ = held, knows_hold_ = true;
    }
    void give(bulkhead_entry& e, time_point now) noexcept {
        places_.remove(e);
        give({e.since, e.process}, now);
    }
    /// A place is given back that no attempt had.
    void give_unused(bulkhead_entry& e) noexcept {
        places_.remove(e);
        --running_;
    }
    /// So many have places now: some came and went without the room.
    void set_running(std::uint64_t running) noexcept {
        running_ = running;
        most_running_ = std::max(most_running_, running_);
    }
    /// Places of attempts that an abandoning timeout further out has given up.
    std::uint64_t zombies() noexcept {
        std::uint64_t all = 0;
        for (waiter* w = places_.front(); w != nullptr; w = places_.after(*w)) {
            const auto* const work = static_cast<bulkhead_entry*>(w)->work;
            all += work != nullptr && work->abandoned.load(std::memory_order_relaxed) ? 1U : 0U;
        }
        return all;
    }
    /// An entry that has no place goes.
    void leave(bulkhead_entry& e) noexcept {
        if (e.told == bulkhead_entry::answer::none) queue_.remove(e);
        else evicted_.remove(e);
    }
    /// Takes out the next entry that has an answer now, and sets it: that it made way, a place, or that it has waited for
    /// too long, or that there is none any more. Null if there is none. Called until then.
    bulkhead_entry* next(time_point now, const bulkhead_config& c) noexcept;

    /// How long a call that comes now has to wait for its place behind `position` - 1 others; negative: not known.
    duration wait_at(std::uint64_t position, const bulkhead_config& c) const noexcept {
        if (!knows_hold_ || c.max_concurrent == 0) return duration{-1};
        const auto most = std::numeric_limits<duration::rep>::max();
        const auto held = mean_hold_.count();
        if (held > 0 && position > static_cast<std::uint64_t>(most / held)) return duration::max();
        return duration{held * static_cast<duration::rep>(position) / c.max_concurrent};
    }
    /// In a forked child: all that wait or have a place are the parent's.
    void forget() noexcept {
        queue_.forget();
        evicted_.forget();
        places_.forget();
        running_ = 0;
    }

private:
    static bool lets_wait(const bulkhead_config& c) noexcept {
        return c.max_concurrent > 0 && c.max_queue > 0 && c.max_wait > duration{0};
    }
    /// Newest first, within a priority.
    bool takes_newest(const bulkhead_config& c) const noexcept {
        return c.order == queue_order::lifo || (c.order == queue_order::adaptive && codel_.stands());
    }
    bool cannot_wait(const bulkhead_entry& e, time_point now, time_point deadline,
                     const bulkhead_config& c) const noexcept;
    void settle_in(bulkhead_entry& e, time_point now) noexcept {
        places_.list(e);
        e.since = now;
        e.told = bulkhead_entry::answer::place;
    }
    bulkhead_entry* tell(bulkhead_entry& e, bulkhead_entry::answer told) noexcept {
        queue_.remove(e);
        e.told = told;
        return &e;
    }

    bulkhead_queue queue_;
    waiter_queue evicted_; // those that made way and are to be woken
    waiter_queue places_;
    std::uint64_t running_ = 0;
    std::uint64_t most_running_ = 0;
    duration mean_hold_{0};
    bool knows_hold_ = false;
    standing_queue codel_;
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION bool bulkhead_room::cannot_wait(const bulkhead_entry& e, time_point now,
                                                    time_point deadline,
                                                    const bulkhead_config& c) const noexcept {
    if (deadline == time_point::max()) return false;
    return wait_at(queue_.position_of(e.level, takes_newest(c)), c) > elapsed_between(now, deadline);
}
RESILIENCE_FUNCTION bulkhead_room::entered bulkhead_room::enter(bulkhead_entry& e, time_point now,
                                                                time_point deadline,
                                                                const bulkhead_config& c) {
    e.since = now;
    e.waited = duration{0};
    if (take(now, c)) {
        settle_in(e, now);
        return entered::has_place;
    }
    if (!lets_wait(c)) return entered::full;
    queue_.age(now, c.max_wait / 2);
    if (cannot_wait(e, now, deadline, c)) return entered::too_late;
    bulkhead_entry* victim = nullptr;
    if (queued() >= c.max_queue) {
        victim = queue_.last(takes_newest(c));
        if (victim == nullptr || bulkhead_queue::rank(*victim) >= static_cast<std::size_t>(e.level))
            return entered::full;
    }
    const bool is_short = c.order == queue_order::adaptive && codel_.stands();
    e.until =
        std::min(deadline, saturating_add(now, is_short ? std::min(c.max_wait, c.codel_target) : c.max_wait));
    e.told = bulkhead_entry::answer::none;
    queue_.push(e);
    if (victim != nullptr) evicted_.list(*tell(*victim, bulkhead_entry::answer::evicted));
    return entered::waits;
}
RESILIENCE_FUNCTION bulkhead_entry* bulkhead_room::next(time_point now, const bulkhead_config& c) noexcept {
    using answer = bulkhead_entry::answer;
    if (waiter* const gone = evicted_.pop_front()) return static_cast<bulkhead_entry*>(gone);
    if (queued() == 0) return nullptr;
    if (c.max_concurrent == 0 && !c.dry_run) return tell(*queue_.any(), answer::refused);
    if (c.order == queue_order::adaptive && codel_.stands()) { // cuts waits to the target
        if (auto* const old = queue_.older_than(c.codel_target, now)) return tell(*old, answer::expired);
    }
    if (running_ >= c.max_concurrent && !c.dry_run) return nullptr;
    queue_.age(now, c.max_wait / 2);
    bulkhead_entry* const first = queue_.first(takes_newest(c));
    if (now >= first->until) return tell(*first, answer::expired); // never runs what is late
    first->waited = elapsed_between(first->since, now);
    if (c.order == queue_order::adaptive) codel_.left_after(first->waited, now, c);
    queue_.remove(*first);
    take_anyway();
    settle_in(*first, now);
    return first;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
