// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/bulkhead/config.hpp>
#include <resilience/bulkhead/hand_over.hpp>
#include <resilience/bulkhead/room.hpp>
#include <resilience/call/rejection.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/policy.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// A place that is held by hand.
struct bulkhead_place {
    time_point since;
    std::uint32_t process;
};

/// The shared state of a bulkhead: lock, clock, counts, events and wake-ups around the room. A call's answer is counted when
/// the call learns of it.
class bulkhead_core final : public policy_core<bulkhead_core, bulkhead_config> {
public:
    bulkhead_core(bulkhead_config made_with, const registry& where);

    bulkhead_stats stats() const;

    /// Answers a call that asks for the first time, or after its park.
    admission admit(bulkhead_entry& e, call_context& ctx);
    /// The call of `e` ends, whether it has a place, waits, or neither.
    void leave(bulkhead_entry& e) noexcept;
    /// A place by hand. Empty: there is none, which counts as a rejection.
    std::optional<bulkhead_place> try_take();
    void give_back(const bulkhead_place& place) noexcept;

private:
    friend policy_core;
    using answer = bulkhead_entry::answer;
    enum class cause : std::uint8_t { none, full, too_late, evicted, expired, stopped };
    /// The answer to a call. With dry_run a call may go and have a cause to be refused.
    struct reply {
        enum class kind : std::uint8_t { go, park, refuse };
        kind what = kind::go;
        cause why = cause::none;
        duration retry_after{-1};
    };
    void apply(bulkhead_config next);
    /// Locks, does `work(now)`, and then gives what is free to those who wait, one after the other, each woken without the
    /// lock. The first is chosen under the lock of `work`, so that no place is free in between.
    template <class Work>
    void hand_on_after(const Work& work) noexcept;
    reply first_answer_locked(bulkhead_entry& e, time_point now, const call_context& ctx);
    reply later_answer_locked(bulkhead_entry& e, time_point now, const call_context& ctx);
    reply refused_locked(cause why) noexcept;
    /// A call that waited does not run: what it was told.
    answer give_up_locked(bulkhead_entry& e) noexcept;
    void count_admitted_locked(duration waited) noexcept;
    void forget_parents_locked() const noexcept;
    bool ends_in_parent_locked(std::uint32_t process) const noexcept {
        forget_parents_locked();
        return process != process_;
    }
    admission refuse(const reply& r, call_context& ctx) const;
    void tell_refused(event_kind what, const rejection& why, const call_context* ctx) const;

    // All guarded by mutex_. Looking through the room is no change.
    mutable bulkhead_room room_;
    const number_of_process number_{};
    mutable std::uint32_t process_ = number_.get(); // whose calls the room has
    bulkhead_stats counted_;                        // totals alone
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION bulkhead_core::bulkhead_core(bulkhead_config made_with, const registry& where)
    : policy_core(std::move(made_with), where) {}
RESILIENCE_COLD RESILIENCE_FUNCTION bulkhead_stats bulkhead_core::stats() const {
    bulkhead_stats s;
    {
        const lock_guard lock(mutex_);
        forget_parents_locked();
        s = counted_;
        s.max_concurrent = config().max_concurrent;
        s.running = room_.running();
        s.max_running = room_.most_running();
        s.zombies = room_.zombies();
        s.queued = room_.queued();
    }
    s.name = name();
    s.available = s.max_concurrent > s.running ? s.max_concurrent - s.running : 0;
    return s;
}
RESILIENCE_FUNCTION void bulkhead_core::count_admitted_locked(duration waited) noexcept {
    ++counted_.admitted;
    counted_.total_wait += std::min(waited, duration::max() - counted_.total_wait);
}
/// In a forked child, once: calls of the parent's threads are not here, and lie on stacks that are used again.
RESILIENCE_FUNCTION void bulkhead_core::forget_parents_locked() const noexcept {
    if (process_ == number_.get()) return;
    room_.forget();
    process_ = number_.get();
}
RESILIENCE_FUNCTION bulkhead_core::reply bulkhead_core::refused_locked(cause why) noexcept {
    if (why == cause::stopped) {
        ++counted_.cancelled;
        return {reply::kind::refuse, why};
    }
    ++counted_.rejected;
    switch (why) {
    case cause::full: ++counted_.rejected_full; break;
    case cause::too_late: ++counted_.rejected_late; break;
    case cause::evicted: ++counted_.evicted; break;
    default: ++counted_.expired; break;
    }
    return {reply::kind::refuse, why, room_.wait_at(room_.queued() + 1, config())};
}

RESILIENCE_FUNCTION admission bulkhead_core::admit(bulkhead_entry& e, call_context& ctx) {
    const time_point now = clock().now();
    reply r;
    bool hands_on = false;
    {
        const lock_guard lock(mutex_);
        const bool had_place = e.told == answer::place;
        if (e.now == bulkhead_entry::part::none) r = first_answer_locked(e, now, ctx);
        else r = later_answer_locked(e, now, ctx);
        hands_on = had_place ? r.what != reply::kind::go : room_.owes_answer();
    }
    if (hands_on) hand_on_after([](time_point) {});
    e.now = r.what == reply::kind::go     ? bulkhead_entry::part::runs
            : r.what == reply::kind::park ? bulkhead_entry::part::waits
                                          : bulkhead_entry::part::none;
    if (r.why != cause::none) return refuse(r, ctx);
    return r.what == reply::kind::go ? admission::go() : admission::park(e, e.until);
}
RESILIENCE_FUNCTION bulkhead_core::reply bulkhead_core::first_answer_locked(bulkhead_entry& e, time_point now,
                                                                            const call_context& ctx) {
    forget_parents_locked();
    const bulkhead_config& c = config();
    e.process = process_;
    e.level = ctx.priority();
    e.work = ctx.covered_by();
    if (ctx.stop_requested()) return refused_locked(cause::stopped);
    if (now >= ctx.deadline()) return refused_locked(cause::too_late); // nobody makes way for it
    reply r;
    if (c.dry_run) {
        if (room_.refuses_next(c)) r = refused_locked(cause::full);
        r.what = reply::kind::go;
        room_.enter_anyway(e, now);
    } else {
        switch (room_.enter(e, now, ctx.deadline(), c)) {
        case bulkhead_room::entered::has_place: break;
        case bulkhead_room::entered::waits: r.what = reply::kind::park; break;
        case bulkhead_room::entered::full: return refused_locked(cause::full);
        case bulkhead_room::entered::too_late: return refused_locked(cause::too_late);
        }
    }
    if (r.what == reply::kind::go) count_admitted_locked(duration{0});
    return r;
}
/// The call was parked, and asks again.
RESILIENCE_FUNCTION bulkhead_core::reply bulkhead_core::later_answer_locked(bulkhead_entry& e, time_point now,
                                                                            const call_context& ctx) {
    if (ends_in_parent_locked(e.process)) return refused_locked(cause::expired);
    const bool is_stopped = ctx.stop_requested();
    if (e.told == answer::place && !is_stopped && now < ctx.deadline()) {
        count_admitted_locked(e.waited);
        return {};
    }
    if (e.told == answer::none && !is_stopped && now < e.until) { // woken for nothing
        e.arm();
        return {reply::kind::park};
    }
    switch (give_up_locked(e)) {
    case answer::evicted: return refused_locked(cause::evicted);
    case answer::refused: return refused_locked(cause::full);
    default: break;
    }
    return refused_locked(is_stopped ? cause::stopped : cause::expired);
}
RESILIENCE_FUNCTION bulkhead_entry::answer bulkhead_core::give_up_locked(bulkhead_entry& e) noexcept {
    if (e.told == answer::place) room_.give_unused(e); // late calls never run
    else room_.leave(e);
    return std::exchange(e.told, answer::none);
}
RESILIENCE_FUNCTION void bulkhead_core::leave(bulkhead_entry& e) noexcept {
    const auto was = std::exchange(e.now, bulkhead_entry::part::none);
    if (was == bulkhead_entry::part::none) return;
    hand_on_after([&](time_point now) {
        if (ends_in_parent_locked(e.process)) return;
        if (was == bulkhead_entry::part::runs) {
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
        const lock_guard lock(mutex_);
        if (is_first) work(now);
        if (is_deep) return;
        bulkhead_entry* const e = room_.next(now, config());
        again = e != nullptr;
        if (again) next = e->wake();
    }
}
RESILIENCE_FUNCTION std::optional<bulkhead_place> bulkhead_core::try_take() {
    const time_point now = clock().now();
    reply r;
    bulkhead_place place{now, 0};
    {
        const lock_guard lock(mutex_);
        forget_parents_locked();
        place.process = process_;
        if (!room_.take(config())) {
            r = refused_locked(cause::full);
            if (config().dry_run) r.what = reply::kind::go, room_.take_anyway();
        }
        if (r.what == reply::kind::go) count_admitted_locked(duration{0});
    }
    if (r.why == cause::none) return place;
    const rejection why{
        .code = errc::bulkhead_full, .policy = label(), .retry_after = r.retry_after, .reason = "is full"};
    const bool lets_pass = r.what == reply::kind::go;
    tell_refused(lets_pass ? event_kind::would_have_rejected : event_kind::call_rejected, why, nullptr);
    return lets_pass ? std::optional(place) : std::nullopt;
}
RESILIENCE_FUNCTION void bulkhead_core::give_back(const bulkhead_place& place) noexcept {
    hand_on_after([&](time_point now) {
        if (!ends_in_parent_locked(place.process)) room_.give(place.since, now);
    });
}
RESILIENCE_COLD RESILIENCE_FUNCTION void bulkhead_core::apply(bulkhead_config next) {
    {
        const lock_guard lock(mutex_);
        replace(std::move(next));
    }
    hand_on_after([&](time_point) { forget_parents_locked(); }); // a larger limit, none, or a dry run
}
RESILIENCE_COLD RESILIENCE_FUNCTION admission bulkhead_core::refuse(const reply& r, call_context& ctx) const {
    if (r.why == cause::stopped) return admission::reject(rejection{.code = errc::cancelled});
    constexpr const char* words[] = {nullptr, "is full", "has no place before the call's deadline",
                                     "gave the call's place in its queue to one of higher priority",
                                     "had no place for the call in time"};
    const rejection why{.code = errc::bulkhead_full,
                        .policy = label(),
                        .retry_after = r.retry_after,
                        .reason = words[static_cast<std::size_t>(r.why)]};
    const bool lets_pass = r.what == reply::kind::go;
    tell_refused(lets_pass ? event_kind::would_have_rejected : event_kind::call_rejected, why, &ctx);
    return lets_pass ? admission::go() : admission::reject(why);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void bulkhead_core::tell_refused(event_kind what, const rejection& why,
                                                                     const call_context* ctx) const {
    if (!has_listeners()) return;
    const auto alive = shared_from_this(); // a listener may destroy the last handle
    const auto describe_more = [&](event& e) {
        e.delay = why.retry_after >= duration{0} ? std::optional(why.retry_after) : std::nullopt;
        e.reason = why.reason;
    };
    const failure told(why);
    if (ctx != nullptr) return publish(what, *ctx, &told, describe_more);
    env_->tell([&] {
        event e = event_of(what);
        describe(e, told);
        describe_more(e);
        return e;
    });
}
#endif

}
RESILIENCE_INSTANTIATE(class policy_core<detail::bulkhead_core, bulkhead_config>)
RESILIENCE_INSTANTIATE(
    std::shared_ptr<detail::bulkhead_core> enrolled<detail::bulkhead_core>(registry&, const bulkhead_config&))
}} // namespace resilience::RESILIENCE_ABI
