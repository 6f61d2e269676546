// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/not_sent.hpp>
#include <resilience/call/rejection.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/policy.hpp>
#include <resilience/rate_limiter/config.hpp>
#include <resilience/rate_limiter/meter.hpp>
#include <resilience/rate_limiter/server_word.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// Permits that were taken, and their turn.
struct rate_claim {
    bool is_given = false;
    std::uint32_t generation = 0; // of the meter that gave them
    rate_turn turn{};             // of no permits if they need not go back
};

/// A call of a rate limiter: the part of its per-call object that the limiter's mutex guards.
struct rate_limiter_entry {
    enum class part : std::uint8_t { none, waits, runs };

    rate_claim claim{};
    time_point since{};        // when it came
    std::uint32_t process = 0; // in which it waits
    part now = part::none;
};

/// The shared state of a rate limiter: lock, clock, counts and events around the meter. A call is counted when it learns of
/// its answer.
class rate_limiter_core final : public policy_core<rate_limiter_core, rate_limiter_config> {
public:
    rate_limiter_core(rate_limiter_config made_with, const registry& where);

    rate_limiter_stats stats() const;

    /// Answers a call that asks for the first time, or after its wait.
    admission admit(rate_limiter_entry& e, call_context& ctx);
    /// The attempt has ended: permits of a request that was not sent go back.
    void settle(rate_limiter_entry& e, const attempt_result& result) noexcept;
    /// The call ends: permits go back if it still waits.
    void leave(rate_limiter_entry& e) noexcept;

    /// Permits by hand. Throws std::invalid_argument for 0 of them. None: they cost more than a burst, or would come after
    /// `max_wait`; that counts as a rejection.
    rate_claim claim(std::uint64_t n, duration max_wait, const char* what);
    void cancel(const rate_claim& claim) noexcept;
    void drain();
    void settle_cost(std::uint64_t taken, std::uint64_t actual);
    void observe(const server_limit& limit);

private:
    friend policy_core;
    using part = rate_limiter_entry::part;
    enum class refusal : std::uint8_t { none, stopped, cost, paused, late, rate };
    /// The answer to a call. With dry_run a call may go and have a reason to be refused.
    struct reply {
        part what = part::runs; // the call's from now on
        refusal why = refusal::none;
        duration until{-1}; // its turn, or when to try again
    };
    void apply(rate_limiter_config next);
    reply first_answer_locked(rate_limiter_entry& e, time_point now, const call_context& ctx);
    reply later_answer_locked(rate_limiter_entry& e, time_point now, const call_context& ctx);
    /// Takes permits for a turn that comes within `max_wait`, and before the deadline.
    reply ask_locked(rate_claim& claim, std::uint64_t n, time_point now, duration max_wait,
                     time_point deadline);
    reply refused_locked(refusal why, duration retry_after = duration{-1}) noexcept;
    void give_back_locked(rate_claim& claim, time_point now) noexcept;
    void count_admitted_locked(duration waited) noexcept;
    rejection told(const reply& r, const call_context* ctx) const;

    // All guarded by mutex_. Looking at the meter moves it to the present.
    mutable rate_meter meter_;
    std::uint32_t generation_ = 0; // of the meter
    const number_of_process number_{};
    std::uint32_t process_ = number_.get(); // in which `waiting` calls wait
    std::uint64_t waiting_ = 0;
    rate_limiter_stats counted_; // totals alone
    server_word server_;
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION rate_limiter_core::rate_limiter_core(rate_limiter_config made_with, const registry& where)
    : policy_core(std::move(made_with), where), meter_(config()) {}
RESILIENCE_COLD RESILIENCE_FUNCTION rate_limiter_stats rate_limiter_core::stats() const {
    const time_point now = clock().now();
    const auto wall = clock().wall_now();
    rate_limiter_stats s;
    {
        const lock_guard lock(mutex_);
        s = counted_;
        s.waiting = process_ == number_.get() ? waiting_ : 0;
        if (server_.is_paused(now)) {
            s.server_paused_until = wall + std::chrono::duration_cast<std::chrono::system_clock::duration>(
                                               elapsed_between(now, server_.paused_until()));
        } else {
            s.available = static_cast<std::uint64_t>(std::max<std::int64_t>(meter_.available(now), 0));
        }
    }
    s.name = name();
    return s;
}
RESILIENCE_FUNCTION void rate_limiter_core::count_admitted_locked(duration waited) noexcept {
    ++counted_.admitted;
    counted_.total_wait += std::min(waited, duration::max() - counted_.total_wait);
}
RESILIENCE_FUNCTION rate_limiter_core::reply rate_limiter_core::refused_locked(
    refusal why, duration retry_after) noexcept {
    if (why == refusal::stopped) ++counted_.cancelled;
    else ++counted_.rejected;
    if (why == refusal::cost) ++counted_.rejected_cost;
    if (why == refusal::paused) ++counted_.rejected_paused;
    return {part::none, why, retry_after};
}
RESILIENCE_FUNCTION void rate_limiter_core::give_back_locked(rate_claim& claim, time_point now) noexcept {
    if (claim.turn.permits == 0) return;
    if (claim.generation == generation_) meter_.give_back(now, claim.turn);
    else meter_.refund(now, claim.turn.permits); // by other rules since
    claim.turn.permits = 0;
}
RESILIENCE_FUNCTION rate_limiter_core::reply rate_limiter_core::ask_locked(rate_claim& claim, std::uint64_t n,
                                                                           time_point now, duration max_wait,
                                                                           time_point deadline) {
    if (n > meter_.burst()) return refused_locked(refusal::cost);
    const auto turn = meter_.look(now, server_.paused_until(), n);
    const duration wait = turn ? turn.wait : duration::max();
    if (!turn || wait > max_wait)
        return refused_locked(server_.is_paused(now) ? refusal::paused : refusal::rate, wait);
    if (wait > elapsed_between(now, deadline)) return refused_locked(refusal::late, wait);
    meter_.take(turn);
    claim = {true, generation_, turn};
    return {wait > duration{0} ? part::waits : part::runs, refusal::none, wait};
}

RESILIENCE_FUNCTION admission rate_limiter_core::admit(rate_limiter_entry& e, call_context& ctx) {
    const time_point now = clock().now();
    reply r;
    {
        const lock_guard lock(mutex_);
        if (process_ != number_.get()) { // a forked child, where none of the parent's calls wait
            process_ = number_.get();
            waiting_ = 0;
        }
        const bool waited = e.now == part::waits && e.process == process_;
        r = e.now == part::none ? first_answer_locked(e, now, ctx) : later_answer_locked(e, now, ctx);
        e.process = process_;
        if (r.what == part::waits && !waited) ++waiting_;
        if (r.what != part::waits && waited) --waiting_;
    }
    e.now = r.what;
    if (r.why == refusal::stopped) return admission::reject(rejection{.code = errc::cancelled});
    if (r.why != refusal::none) {
        const rejection why = told(r, &ctx);
        if (r.what == part::none) return admission::reject(why);
    }
    return r.what == part::waits ? admission::wait(r.until) : admission::go();
}
RESILIENCE_FUNCTION rate_limiter_core::reply rate_limiter_core::first_answer_locked(rate_limiter_entry& e,
                                                                                    time_point now,
                                                                                    const call_context& ctx) {
    const rate_limiter_config& c = config();
    e.since = now;
    if (ctx.stop_requested()) return refused_locked(refusal::stopped);
    if (now >= ctx.deadline()) return refused_locked(refusal::late);
    reply r = ask_locked(e.claim, c.weighted ? ctx.cost() : 1, now, c.max_wait, ctx.deadline());
    if (c.dry_run) r.what = part::runs;
    if (r.what == part::runs) count_admitted_locked(duration{0});
    return r;
}
/// The call has waited, and asks again.
RESILIENCE_FUNCTION rate_limiter_core::reply rate_limiter_core::later_answer_locked(rate_limiter_entry& e,
                                                                                    time_point now,
                                                                                    const call_context& ctx) {
    if (ctx.stop_requested() || now >= ctx.deadline()) {
        give_back_locked(e.claim, now);
        return refused_locked(ctx.stop_requested() ? refusal::stopped : refusal::late);
    }
    if (server_.is_paused(now)) { // since it came: a turn after that
        const std::uint64_t n = e.claim.turn.permits;
        give_back_locked(e.claim, now);
        const duration left = elapsed_between(now, saturating_add(e.since, config().max_wait));
        return ask_locked(e.claim, n, now, left, ctx.deadline());
    }
    if (now < e.claim.turn.moment)
        return {part::waits, refusal::none, elapsed_between(now, e.claim.turn.moment)};
    count_admitted_locked(elapsed_between(e.since, now));
    return {};
}
RESILIENCE_FUNCTION void rate_limiter_core::settle(rate_limiter_entry& e,
                                                   const attempt_result& result) noexcept {
    if (std::exchange(e.now, part::none) != part::runs || e.claim.turn.permits == 0) return;
    if (result.error() == nullptr || !retry_traits::known_not_sent(*result.error())) return;
    const time_point now = clock().now();
    const lock_guard lock(mutex_);
    give_back_locked(e.claim, now);
}
RESILIENCE_FUNCTION void rate_limiter_core::leave(rate_limiter_entry& e) noexcept {
    if (std::exchange(e.now, part::none) != part::waits) return;
    const time_point now = clock().now();
    const lock_guard lock(mutex_);
    if (e.process != number_.get()) return; // it waits in the parent
    --waiting_;
    ++counted_.cancelled;
    give_back_locked(e.claim, now);
}

RESILIENCE_FUNCTION rate_claim rate_limiter_core::claim(std::uint64_t n, duration max_wait,
                                                        const char* what) {
    if (n == 0) raise(std::invalid_argument(complaint(what, n, "1 or more")));
    const time_point now = clock().now();
    rate_claim made;
    reply r;
    {
        const lock_guard lock(mutex_);
        r = ask_locked(made, n, now, max_wait, time_point::max());
        if (config().dry_run) made.is_given = true, made.turn.moment = now, r.what = part::runs;
        if (made.is_given) count_admitted_locked(duration{0});
    }
    if (r.why != refusal::none) told(r, nullptr);
    return made;
}
RESILIENCE_FUNCTION void rate_limiter_core::cancel(const rate_claim& claim) noexcept {
    const time_point now = clock().now();
    const lock_guard lock(mutex_);
    rate_claim given = claim;
    ++counted_.cancelled;
    give_back_locked(given, now);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void rate_limiter_core::drain() {
    const time_point now = clock().now();
    const lock_guard lock(mutex_);
    if (const auto left = meter_.available(now); left > 0)
        meter_.charge(now, static_cast<std::uint64_t>(left));
}
RESILIENCE_FUNCTION void rate_limiter_core::settle_cost(std::uint64_t taken, std::uint64_t actual) {
    const time_point now = clock().now();
    const lock_guard lock(mutex_);
    if (actual > taken) meter_.charge(now, actual - taken);
    else meter_.refund(now, taken - actual);
}
RESILIENCE_FUNCTION void rate_limiter_core::observe(const server_limit& limit) {
    const rate_limiter_config& c = config();
    if (c.server_sync == server_sync::off) return;
    const duration pause = server_word::pause_in(limit, env_->random().uniform(), c.max_server_pause);
    const time_point now = clock().now();
    const lock_guard lock(mutex_);
    server_.pause(now, pause);
    const auto left = server_.left(limit, now);
    if (!left) return;
    const auto ours = static_cast<std::uint64_t>(std::max<std::int64_t>(meter_.available(now), 0));
    const std::uint64_t theirs = std::min(*left, meter_.burst());
    if (theirs < ours) meter_.charge(now, ours - theirs);
    else if (c.server_sync == server_sync::follow) meter_.refund(now, theirs - ours);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void rate_limiter_core::apply(rate_limiter_config next) {
    rate_meter made(next);
    const time_point now = clock().now();
    const lock_guard lock(mutex_);
    const rate_limiter_config& c = config();
    const bool is_same = c.permits == next.permits && c.per == next.per && c.kind == next.kind &&
                         burst_of(c) == burst_of(next);
    made.begin_with(meter_.available(now), now);
    replace(std::move(next));
    if (is_same) return;
    meter_ = std::move(made);
    ++generation_;
}
RESILIENCE_FUNCTION rejection rate_limiter_core::told(const reply& r, const call_context* ctx) const {
    constexpr const char* reasons[] = {nullptr,
                                       nullptr,
                                       "never gives so many permits at once",
                                       "waits for as long as the server asked",
                                       "has no permit before the call's deadline",
                                       nullptr};
    const rejection why{.code = errc::rate_limited,
                        .policy = label(),
                        .retry_after = r.until == duration::max() ? duration{-1} : r.until,
                        .reason = reasons[static_cast<std::uint8_t>(r.why)]};
    publish_refused(r.what == part::none ? event_kind::call_rejected : event_kind::would_have_rejected, why,
                    ctx);
    return why;
}
#endif

}
RESILIENCE_INSTANTIATE(class policy_core<detail::rate_limiter_core, rate_limiter_config>)
RESILIENCE_INSTANTIATE(std::shared_ptr<detail::rate_limiter_core> enrolled<detail::rate_limiter_core>(
    registry&, const rate_limiter_config&))
}} // namespace resilience::RESILIENCE_ABI
