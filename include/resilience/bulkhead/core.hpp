// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/bulkhead/config.hpp>
#include <resilience/bulkhead/room.hpp>
#include <resilience/call/rejection.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/policy.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// The shared state of a bulkhead: lock, clock, events and wake-ups around the room.
class bulkhead_core final : public policy_core<bulkhead_core, bulkhead_config> {
public:
    bulkhead_core(bulkhead_config made_with, const registry& where);

    bulkhead_stats stats() const;

    /// Answers a call that asks for the first time, or after its park.
    admission admit(bulkhead_entry& e, call_context& ctx);
    /// The call of `e` ends, whether it has a place, waits, or neither.
    void leave(bulkhead_entry& e) noexcept;
    /// A place by hand. Empty: there is none, which counts as a rejection; else since when it is held.
    std::optional<time_point> try_take();
    void give_back(time_point since) noexcept;

private:
    friend policy_core;
    using answer = bulkhead_entry::answer;

    void apply(bulkhead_config next);
    /// Gives what is free to those who wait, one after the other, each woken without the lock. Called without it.
    void hand_on() noexcept;
    wake_up hand_on_locked(time_point now, bool& again) noexcept;
    void count_admitted_locked(duration waited) noexcept;
    /// The answer to a call.
    struct reply {
        enum class kind : std::uint8_t { go, park, refuse };
        kind what = kind::go;
        const char* reason =
            nullptr; // of a refusal; null: the call was stopped. With `go`: of one that dry_run left out
        bool frees_place = false;
    };
    reply enter_locked(bulkhead_entry& e, time_point now, const call_context& ctx, wake_up& evicted);
    reply answer_locked(bulkhead_entry& e, time_point now, const call_context& ctx);
    admission refuse(const reply& r, duration retry_after, call_context& ctx) const;
    void tell_refused(event_kind what, const rejection& why, const call_context* ctx) const;

    // All guarded by mutex_.
    mutable bulkhead_room room_; // looking through it is no change
    std::uint64_t admitted_ = 0;
    std::uint64_t rejected_ = 0;
    std::uint64_t evicted_ = 0;
    std::uint64_t expired_ = 0;
    std::uint64_t cancelled_ = 0;
    std::uint64_t max_running_ = 0;
    duration total_wait_{0};
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION bulkhead_core::bulkhead_core(bulkhead_config made_with, const registry& where)
    : policy_core(std::move(made_with), where) {}

RESILIENCE_FUNCTION bulkhead_stats bulkhead_core::stats() const {
    bulkhead_stats s;
    s.name = name();
    const lock_guard lock(mutex_);
    s.max_concurrent = config().max_concurrent;
    s.running = room_.running();
    s.zombies = room_.zombies();
    s.queued = room_.queued();
    s.available = s.max_concurrent > s.running ? s.max_concurrent - s.running : 0;
    s.admitted = admitted_;
    s.rejected = rejected_;
    s.evicted = evicted_;
    s.expired = expired_;
    s.cancelled = cancelled_;
    s.max_running = max_running_;
    s.total_wait = total_wait_;
    return s;
}
RESILIENCE_FUNCTION void bulkhead_core::count_admitted_locked(duration waited) noexcept {
    ++admitted_;
    max_running_ = std::max(max_running_, room_.running());
    total_wait_ += waited;
}

RESILIENCE_FUNCTION admission bulkhead_core::admit(bulkhead_entry& e, call_context& ctx) {
    const time_point now = clock().now();
    duration retry_after{-1};
    wake_up evicted; // done after the unlocking
    reply r;
    {
        const lock_guard lock(mutex_);
        const bool is_first = e.told == answer::none && !e.is_queued();
        r = is_first ? enter_locked(e, now, ctx, evicted) : answer_locked(e, now, ctx);
        if (r.reason != nullptr) {
            ++rejected_;
            retry_after = room_.wait_at(room_.queued() + 1, config());
        }
    }
    e.now = r.what == reply::kind::go     ? bulkhead_entry::part::runs
            : r.what == reply::kind::park ? bulkhead_entry::part::waits
                                          : bulkhead_entry::part::none;
    if (r.frees_place) hand_on();
    if (r.reason != nullptr) return refuse(r, retry_after, ctx);
    switch (r.what) {
    case reply::kind::go: return admission::go();
    case reply::kind::park: return admission::park(e, e.until);
    case reply::kind::refuse: break;
    }
    return admission::reject(rejection{.code = errc::cancelled});
}
RESILIENCE_FUNCTION bulkhead_core::reply bulkhead_core::enter_locked(bulkhead_entry& e, time_point now,
                                                                     const call_context& ctx,
                                                                     wake_up& evicted) {
    const bulkhead_config& c = config();
    e.level = ctx.priority();
    e.work = ctx.covered_by();
    bulkhead_entry* victim = nullptr;
    reply r;
    if (c.dry_run) {
        const bool is_full = room_.running() >= std::uint64_t{c.max_concurrent} + c.max_queue;
        room_.enter_anyway(e, now);
        if (is_full) r.reason = "is full";
    } else {
        switch (room_.enter(e, now, ctx.deadline(), c, victim)) {
        case bulkhead_room::entered::has_place: break;
        case bulkhead_room::entered::waits: r.what = reply::kind::park; break;
        case bulkhead_room::entered::full: return {reply::kind::refuse, "is full"};
        case bulkhead_room::entered::too_late:
            return {reply::kind::refuse, "has no place before the call's deadline"};
        }
    }
    if (victim != nullptr) {
        ++evicted_;
        evicted = victim->wake();
    }
    if (r.what == reply::kind::go) count_admitted_locked(duration{0});
    return r;
}
/// The call was parked, and asks again.
RESILIENCE_FUNCTION bulkhead_core::reply bulkhead_core::answer_locked(bulkhead_entry& e, time_point now,
                                                                      const call_context& ctx) {
    const bool is_stopped = ctx.stop_requested();
    const answer told = e.told;
    reply r{reply::kind::refuse, "had no place for the call in time"};
    switch (told) {
    case answer::evicted: r.reason = "gave the call's place in its queue to one of higher priority"; break;
    case answer::expired: break; // the room has counted it
    case answer::place:
        if (!is_stopped && now < ctx.deadline()) return {};
        room_.give_unused(e); // late calls never run
        --admitted_;
        r.frees_place = true;
        break;
    case answer::none:
        if (!is_stopped && now < e.until) { // woken for nothing
            e.arm();
            return {reply::kind::park};
        }
        room_.leave(e);
        break;
    }
    e.told = answer::none;
    if (told == answer::evicted || told == answer::expired) return r;
    if (is_stopped) {
        ++cancelled_;
        r.reason = nullptr;
    } else {
        ++expired_;
    }
    return r;
}
RESILIENCE_FUNCTION void bulkhead_core::leave(bulkhead_entry& e) noexcept {
    const auto was = std::exchange(e.now, bulkhead_entry::part::none);
    if (was == bulkhead_entry::part::none) return;
    const time_point now = clock().now();
    {
        const lock_guard lock(mutex_);
        const bool has_place = std::exchange(e.told, answer::none) == answer::place;
        if (was == bulkhead_entry::part::runs) {
            room_.give(e, now);
        } else { // its call was ended while it waited, or its coroutine destroyed
            ++cancelled_;
            if (has_place) room_.give_unused(e), --admitted_;
            else room_.leave(e);
        }
        if (!has_place || room_.queued() == 0) return;
    }
    hand_on();
}
RESILIENCE_FUNCTION wake_up bulkhead_core::hand_on_locked(time_point now, bool& again) noexcept {
    bulkhead_entry* const e = room_.next(now, config());
    again = e != nullptr;
    if (!again) return {};
    if (e->told == answer::place) {
        count_admitted_locked(elapsed_between(e->since, now));
        e->since = now;
    } else {
        ++expired_;
    }
    return e->wake();
}
RESILIENCE_FUNCTION void bulkhead_core::hand_on() noexcept {
    for (bool again = true; again;) {
        wake_up next; // done after the unlocking
        const time_point now = clock().now();
        const lock_guard lock(mutex_);
        next = hand_on_locked(now, again);
    }
}
RESILIENCE_FUNCTION std::optional<time_point> bulkhead_core::try_take() {
    const time_point now = clock().now();
    rejection why{.code = errc::bulkhead_full, .policy = label(), .reason = "is full"};
    event_kind what = event_kind::call_rejected;
    {
        const lock_guard lock(mutex_);
        const bulkhead_config& c = config();
        if (room_.take(c)) {
            count_admitted_locked(duration{0});
            return now;
        }
        ++rejected_;
        why.retry_after = room_.wait_at(room_.queued() + 1, c);
        if (c.dry_run) {
            room_.take_anyway();
            count_admitted_locked(duration{0});
            what = event_kind::would_have_rejected;
        }
    }
    tell_refused(what, why, nullptr);
    return what == event_kind::would_have_rejected ? std::optional(now) : std::nullopt;
}
RESILIENCE_FUNCTION void bulkhead_core::give_back(time_point since) noexcept {
    const time_point now = clock().now();
    {
        const lock_guard lock(mutex_);
        room_.give(since, now);
        if (room_.queued() == 0) return;
    }
    hand_on();
}
RESILIENCE_COLD RESILIENCE_FUNCTION void bulkhead_core::apply(bulkhead_config next) {
    {
        const lock_guard lock(mutex_);
        replace(std::move(next));
    }
    hand_on(); // a larger limit
}
RESILIENCE_COLD RESILIENCE_FUNCTION admission bulkhead_core::refuse(const reply& r, duration retry_after,
                                                                    call_context& ctx) const {
    const rejection why{
        .code = errc::bulkhead_full, .policy = label(), .retry_after = retry_after, .reason = r.reason};
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
