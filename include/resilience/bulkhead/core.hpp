// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/bulkhead/config.hpp>
#include <resilience/bulkhead/hand_over.hpp>
#include <resilience/bulkhead/open_places.hpp>
#include <resilience/bulkhead/refusal.hpp>
#include <resilience/bulkhead/room.hpp>
#include <resilience/call/rejection.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/policy.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// The shared state of a bulkhead: lock, clock, counts, events and wake-ups around the room. An answer is counted when its
/// call learns of it.
class bulkhead_core final : public policy_core<bulkhead_core, bulkhead_config> {
public:
    bulkhead_core(bulkhead_config made_with, const registry& where);

    bulkhead_stats stats() const;

    /// Answers a call that asks for the first time, or after its park.
    admission admit(bulkhead_entry& e, call_context& ctx);
    /// The call of `e` ends, whether it has a place, waits, or neither.
    void leave(bulkhead_entry& e) noexcept;
    /// A place without the mutex. None: admit() may have one.
    RESILIENCE_INLINE bulkhead_place take() noexcept {
        const std::uint32_t process = number_.get();
        const auto taken = open_.take(process);
        if (taken == open_places::taken::one) [[likely]]
            return {.process = process};
        return taken == open_places::taken::none ? bulkhead_place{} : measured(process);
    }
    RESILIENCE_INLINE void give(const bulkhead_place& place) noexcept {
        if (place.process == number_.get() && place.since == bulkhead_place::not_measured && open_.give())
            [[likely]]
            return;
        give_slowly(place);
    }
    /// A place by hand. None counts as a rejection.
    bulkhead_place try_take();

private:
    friend policy_core;
    using answer = bulkhead_entry::answer;
    using part = bulkhead_entry::part;
    /// The answer to a call. With dry_run a call may go and have a cause to be refused.
    struct reply {
        part what = part::runs; // the call's from now on
        bulkhead_refusal why = bulkhead_refusal::none;
        duration retry_after{-1};
    };
    void apply(bulkhead_config next);
    /// The mutex, and all places closed to calls that come without it.
    class closed {
    public:
        explicit closed(const bulkhead_core& core);
        closed(const closed&) = delete;
        closed& operator=(const closed&) = delete;
        ~closed();

    private:
        const lock_guard<mutex> lock_;
        const bulkhead_core& core_;
    };
    RESILIENCE_NOINLINE bulkhead_place measured(std::uint32_t process) const noexcept {
        return {clock().now(), process};
    }
    void give_slowly(const bulkhead_place& place) noexcept;
    /// Locks, does `work(now)`, and then gives what is free to those who wait, one after the other, each woken without the
    /// lock. The first is chosen under the lock of `work`, so that no place is free in between.
    template <class Work>
    void hand_on_after(const Work& work) noexcept;
    reply first_answer_locked(bulkhead_entry& e, time_point now, const call_context& ctx);
    reply later_answer_locked(bulkhead_entry& e, time_point now, const call_context& ctx);
    reply refused_locked(bulkhead_refusal why) noexcept;
    /// A call that waited does not run: what it was told.
    answer give_up_locked(bulkhead_entry& e) noexcept;
    /// Listeners learn of it; the call does, too, unless dry_run lets it pass.
    rejection refusal(const reply& r, const call_context* ctx) const;

    const number_of_process number_{};
    mutable open_places open_;
    // All below guarded by mutex_. Looking through the room is no change.
    mutable bulkhead_room room_;
    mutable std::uint32_t process_ = number_.get(); // whose calls the room has
    mutable bulkhead_stats counted_;                // totals alone
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION bulkhead_core::bulkhead_core(bulkhead_config made_with, const registry& where)
    : policy_core(std::move(made_with), where) {}
RESILIENCE_COLD RESILIENCE_FUNCTION bulkhead_stats bulkhead_core::stats() const {
    bulkhead_stats s;
    {
        const closed alone(*this);
        s = counted_;
        s.max_concurrent = config().max_concurrent;
        s.running = room_.running();
        s.max_running = std::max(room_.most_running(), open_.most_running());
        s.zombies = room_.zombies();
        s.queued = room_.queued();
    }
    s.name = name();
    s.available = s.max_concurrent > s.running ? s.max_concurrent - s.running : 0;
    return s;
}
RESILIENCE_FUNCTION bulkhead_core::closed::closed(const bulkhead_core& core)
    : lock_(core.mutex_), core_(core) {
    const auto seen = core.open_.close();
    if (seen.was_open) core.room_.set_running(seen.running);
    core.counted_.admitted += seen.passed;
    if (core.process_ == core.number_.get()) return;
    core.room_.forget(); // in a forked child the parent's calls lie on stacks that are used again
    core.process_ = core.number_.get();
}
RESILIENCE_FUNCTION bulkhead_core::closed::~closed() {
    if (core_.room_.queued() > 0) return; // newcomers do not overtake
    core_.open_.open(core_.room_.running(), core_.config().max_concurrent, core_.process_);
}
RESILIENCE_FUNCTION bulkhead_core::reply bulkhead_core::refused_locked(bulkhead_refusal why) noexcept {
    count_refused(counted_, why);
    const bool comes_again = why != bulkhead_refusal::stopped;
    return {part::none, why, comes_again ? room_.wait_at(room_.queued() + 1, config()) : duration{-1}};
}

RESILIENCE_FUNCTION admission bulkhead_core::admit(bulkhead_entry& e, call_context& ctx) {
    const time_point now = clock().now();
    reply r;
    bool hands_on = false;
    {
        const closed alone(*this);
        const bool had_place = e.told == answer::place;
        if (e.now == part::none) r = first_answer_locked(e, now, ctx);
        else r = later_answer_locked(e, now, ctx);
        hands_on = had_place ? r.what != part::runs : room_.owes_answer();
    }
    if (hands_on) hand_on_after([](time_point) {});
    e.now = r.what;
    if (r.why == bulkhead_refusal::stopped) return admission::reject(rejection{.code = errc::cancelled});
    if (r.why != bulkhead_refusal::none) {
        const rejection why = refusal(r, &ctx);
        if (r.what == part::none) return admission::reject(why);
    }
    return r.what == part::runs ? admission::go() : admission::park(e, e.until);
}
RESILIENCE_FUNCTION bulkhead_core::reply bulkhead_core::first_answer_locked(bulkhead_entry& e, time_point now,
                                                                            const call_context& ctx) {
    const bulkhead_config& c = config();
    e.process = process_;
    e.level = ctx.priority();
    e.work = ctx.covered_by();
    if (ctx.stop_requested()) return refused_locked(bulkhead_refusal::stopped);
    if (now >= ctx.deadline()) return refused_locked(bulkhead_refusal::too_late); // nobody makes way for it
    reply r;
    if (c.dry_run) {
        if (room_.refuses_next(c)) r = refused_locked(bulkhead_refusal::full);
        r.what = part::runs;
        room_.enter_anyway(e, now);
    } else {
        using entered = bulkhead_room::entered;
        switch (room_.enter(e, now, ctx.deadline(), c)) {
        case entered::has_place: break;
        case entered::waits: r.what = part::waits; break;
        case entered::full: return refused_locked(bulkhead_refusal::full);
        case entered::too_late: return refused_locked(bulkhead_refusal::too_late);
        }
    }
    if (r.what == part::runs) count_admitted(counted_, duration{0});
    return r;
}
/// The call was parked, and asks again.
RESILIENCE_FUNCTION bulkhead_core::reply bulkhead_core::later_answer_locked(bulkhead_entry& e, time_point now,
                                                                            const call_context& ctx) {
    if (e.process != process_) return refused_locked(bulkhead_refusal::expired);
    const bool is_stopped = ctx.stop_requested();
    if (e.told == answer::place && !is_stopped && now < ctx.deadline()) {
        count_admitted(counted_, e.waited);
        return {};
    }
    if (e.told == answer::none && !is_stopped && now < e.until) { // woken for nothing
        e.arm();
        return {part::waits};
    }
    switch (give_up_locked(e)) {
    case answer::evicted: return refused_locked(bulkhead_refusal::evicted);
    case answer::refused: return refused_locked(bulkhead_refusal::full);
    default: break;
    }
    return refused_locked(is_stopped ? bulkhead_refusal::stopped : bulkhead_refusal::expired);
}
RESILIENCE_FUNCTION bulkhead_entry::answer bulkhead_core::give_up_locked(bulkhead_entry& e) noexcept {
    if (e.told == answer::place) room_.give_unused(e); // late calls never run
    else room_.leave(e);
    return std::exchange(e.told, answer::none);
}
RESILIENCE_FUNCTION void bulkhead_core::leave(bulkhead_entry& e) noexcept {
    const auto was = std::exchange(e.now, part::none);
    if (was == part::none) return;
    if (was == part::passes) return give({e.since, e.process});
    hand_on_after([&](time_point now) {
        if (e.process != process_) return;
        if (was == part::runs) {
            e.told = answer::none;
            return room_.give(e, now);
        }
        ++counted_.cancelled; // its call was ended while it waited, or its coroutine destroyed
        give_up_locked(e);
    });
}
template <class Work>
void bulkhead_core::hand_on_after(const Work& work) noexcept {
    const bool is_deep = hand_over::is_deep(this);
    const hand_over here(this);
    for (bool is_first = true, again = true; again; is_first = false) {
        wake_up next; // done after the unlocking
        const time_point now = clock().now();
        const closed alone(*this);
        if (is_first) work(now);
        if (is_deep) return;
        bulkhead_entry* const e = room_.next(now, config());
        again = e != nullptr;
        if (again) next = e->wake();
    }
}
RESILIENCE_FUNCTION bulkhead_place bulkhead_core::try_take() {
    if (const bulkhead_place open = take()) return open;
    bulkhead_place place{clock().now()};
    reply r;
    {
        const closed alone(*this);
        if (!room_.take(place.since, config())) {
            r = refused_locked(bulkhead_refusal::full);
            if (config().dry_run) r.what = part::runs, room_.take_anyway();
        }
        if (r.what == part::runs) {
            place.process = process_;
            count_admitted(counted_, duration{0});
        }
    }
    if (r.why != bulkhead_refusal::none) refusal(r, nullptr);
    return place;
}
RESILIENCE_FUNCTION void bulkhead_core::give_slowly(const bulkhead_place& place) noexcept {
    if (place.process != number_.get()) return; // the parent's, who has it
    if (place.since != bulkhead_place::not_measured && open_.give()) {
        const time_point now = clock().now();
        const lock_guard lock(mutex_);
        return room_.note_hold(place, now);
    }
    const auto alive = shared_from_this(); // a call that goes on may destroy the last handle
    hand_on_after([&](time_point now) { room_.give(place, now); });
}
RESILIENCE_COLD RESILIENCE_FUNCTION void bulkhead_core::apply(bulkhead_config next) {
    {
        const lock_guard lock(mutex_);
        replace(std::move(next));
    }
    hand_on_after([](time_point) {}); // a larger limit, none, or a dry run
}
RESILIENCE_FUNCTION rejection bulkhead_core::refusal(const reply& r, const call_context* ctx) const {
    const rejection why{.code = errc::bulkhead_full,
                        .policy = label(),
                        .retry_after = r.retry_after,
                        .reason = reason_of(r.why)};
    publish_refused(r.what == part::none ? event_kind::call_rejected : event_kind::would_have_rejected, why,
                    ctx);
    return why;
}
#endif

}
RESILIENCE_INSTANTIATE(class policy_core<detail::bulkhead_core, bulkhead_config>)
RESILIENCE_INSTANTIATE(
    std::shared_ptr<detail::bulkhead_core> enrolled<detail::bulkhead_core>(registry&, const bulkhead_config&))
}} // namespace resilience::RESILIENCE_ABI
