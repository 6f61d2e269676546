// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_breaker/config.hpp>
#include <resilience/circuit_breaker/moment.hpp>
#include <resilience/circuit_breaker/published_state.hpp>
#include <resilience/circuit_breaker/success_counts.hpp>
#include <resilience/circuit_breaker/verdicts.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/policy.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/circuit_breaker/circuit.hpp>
#include <resilience/circuit_breaker/events.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// The shared state of a circuit breaker: lock, clock and notification around the pure circuit. Successes
/// while closed are counted without the lock; other results are settled under it. Functions whose names end
/// in _locked are called with mutex_ held.
class breaker_core final : public policy_core<breaker_core, circuit_breaker_config> {
public:
    breaker_core(circuit_breaker_config made_with, const registry& where);
    RESILIENCE_FUNCTION ~breaker_core() override;

    circuit_breaker_stats stats() const;

    published_state published() const noexcept { return published_.get(); }
    circuit_state state() const noexcept {
        const circuit_state seen = published().state();
        return seen == circuit_state::half_open ? state_by_now() : seen;
    }
    time_point now() const noexcept;

    /// Sets `permit` and returns true, or sets `why`.
    bool admit(breaker_permit& permit, rejection& why, time_point deadline);
    /// Refuses if published state and coarse clock are enough to be sure that the circuit stays open.
    RESILIENCE_INLINE bool surely_open(rejection& why) noexcept {
        if (!published_.surely_open(clock(), tick_, why)) return false;
        why.policy = label();
        successes_.take_rejected();
        return true;
    }
    void publish_rejected(const rejection& why, std::string_view operation) const;

    /// Counts a success, if the circuit has not moved on since its admission and keeps no window.
    RESILIENCE_INLINE void succeed(published_state admitted, time_point start) noexcept {
        const published_state seen = published_.peek();
        if (seen == admitted && seen.needs_count_only()) [[likely]]
            successes_.take(seen.generation());
        else success_slow_path({admitted, start});
    }
    bool success_slow_path(const breaker_permit& permit) noexcept;
    /// Judges a result by the config that the call began under. Runs the user's code, and settles nothing.
    breaker_judgement judge(const breaker_permit& permit, const attempt_result& result);
    breaker_judgement judge_as_failure(const breaker_permit& permit, const failure* why);
    breaker_settlement settle(const breaker_permit& permit, breaker_judgement&& j) noexcept;
    breaker_settlement ignore(const breaker_permit& permit, duration hint = {}) noexcept;
    /// Makes a probe's lease end at `until`, unless it ends later. False if the permit is late. Events wait for deliver().
    bool renew(breaker_permit& permit, time_point until) noexcept;
    void deliver() noexcept;

    void command(const circuit_command& c, std::string_view reason);

private:
    friend policy_core;
    struct guarded;

    /// Keeps state and counts, and judges them by the new rules under the same lock.
    void apply(circuit_breaker_config next);
    /// Runs `work(moment)` under the mutex, and publishes the state that it left. True if events wait.
    template <class Work>
    bool quietly(Work&& work);
    template <class Work>
    void locked(Work&& work) {
        if (quietly(work)) deliver();
    }
    /// `work(moment)` tells if the result counted.
    template <class Work>
    breaker_settlement settle_locked(const Work& work);
    published_state encode_locked() const noexcept;
    void publish_locked() noexcept;
    const circuit_breaker_config& config_of(const breaker_permit& permit) const noexcept;
    bool success_unlocked(const breaker_permit& permit) noexcept;
    bool success_under_mutex(const breaker_permit& permit) noexcept;
    /// Leaves a half-open circuit as a timer would have. No core is const: they are made by enrolled().
    circuit_state state_by_now() const noexcept;

    const duration tick_;                                      // of the coarse clock
    atomic<std::uint64_t> predicate_errors_{0};                // only grows; relaxed: a count orders nothing
    RESILIENCE_NO_UNIQUE_ADDRESS success_counts successes_{0}; // only its _locked functions need mutex_
    // Closed calls read what follows, on the last line of successes_, and write none of it.
    std::uint8_t flags_;        // of the config; guarded by mutex_
    state_publisher published_; // written under mutex_
    const std::unique_ptr<guarded> guarded_;
};

#if RESILIENCE_BODIES
/// Guarded by the core's mutex, except the delivery of events. Reading the circuit moves its window.
struct breaker_core::guarded {
    explicit guarded(breaker_core& core)
        : events(core, core.rules_cell()),
          circuit(core.config(), core.successes_, events, core.clock().now()) {}

    circuit_events events;
    detail::circuit circuit;
};

RESILIENCE_FUNCTION breaker_core::breaker_core(circuit_breaker_config made_with, const registry& where)
    : policy_core(std::move(made_with), where), tick_(clock().coarse_resolution()),
      flags_(static_cast<std::uint8_t>(flags_of(config()))), guarded_(std::make_unique<guarded>(*this)) {
    publish_locked();
}
RESILIENCE_FUNCTION breaker_core::~breaker_core() = default;
RESILIENCE_COLD RESILIENCE_FUNCTION time_point breaker_core::now() const noexcept { return clock().now(); }
RESILIENCE_FUNCTION void breaker_core::publish_rejected(const rejection& why,
                                                        std::string_view operation) const {
    guarded_->events.publish_rejected(why, operation, state());
}
RESILIENCE_FUNCTION breaker_judgement breaker_core::judge(const breaker_permit& permit,
                                                          const attempt_result& result) {
    return detail::judge(result, config_of(permit));
}
RESILIENCE_FUNCTION breaker_judgement breaker_core::judge_as_failure(const breaker_permit& permit,
                                                                     const failure* why) {
    return detail::judge_as_failure(why, config_of(permit));
}
template <class Work>
bool breaker_core::quietly(Work&& work) {
    const bool has_jitter = config().recovery_backoff.has_value();
    const moment at{now(), has_jitter ? env_->random().uniform() : 0.0};
    const lock_guard lock(mutex_);
    const struct publication { // also if `work` ran out of memory, since it may have changed the state before
        breaker_core& core;
        ~publication() { core.publish_locked(); }
    } at_end{*this};
    work(at);
    return guarded_->events.are_waiting_locked();
}
template <class Work>
breaker_settlement breaker_core::settle_locked(const Work& work) {
    breaker_settlement done;
    locked([&](const moment& at) { done = {work(at), guarded_->circuit.next_probe()}; });
    return done;
}
/// A listener may destroy the last handle, so the core keeps itself alive meanwhile.
RESILIENCE_COLD RESILIENCE_FUNCTION void breaker_core::deliver() noexcept {
    const auto keep = shared_from_this();
    guarded_->events.deliver(mutex_);
}
RESILIENCE_FUNCTION published_state breaker_core::encode_locked() const noexcept {
    const detail::circuit& c = guarded_->circuit;
    return {c.state(), flags_ | flags_of(c.fill()), rules_cell().version(), c.generation()};
}
RESILIENCE_FUNCTION void breaker_core::publish_locked() noexcept {
    const published_state next = encode_locked();
    if (next != published_.peek()) published_.publish_locked(next, guarded_->circuit.opens_until());
}
RESILIENCE_FUNCTION void breaker_core::command(const circuit_command& c, std::string_view reason) {
    locked([&](const moment& at) { guarded_->circuit.command(c, reason, at); });
}
RESILIENCE_COLD RESILIENCE_FUNCTION void breaker_core::apply(circuit_breaker_config next) {
    locked([&](const moment& at) {
        auto windows = guarded_->circuit.windows_for(next); // without memory nothing changes
        replace(std::move(next));
        guarded_->circuit.update(config(), std::move(windows), at);
        flags_ = static_cast<std::uint8_t>(flags_of(config()));
    });
}

RESILIENCE_FUNCTION const circuit_breaker_config& breaker_core::config_of(
    const breaker_permit& permit) const noexcept {
    const std::uint16_t version = permit.admitted.config_version();
    if (const auto* const in_force = rules_cell().get_if(version)) return *in_force;
    const lock_guard lock(mutex_);
    return rules_cell().of_version(version);
}
RESILIENCE_COLD RESILIENCE_FUNCTION bool breaker_core::admit(breaker_permit& permit, rejection& why,
                                                             time_point deadline) {
    permit.admitted = published();
    if (permit.admitted.admits_all()) {
        if (permit.admitted.has(published_state::timed)) permit.start = now();
        return true;
    }
    if (surely_open(why)) return false;
    bool is_admitted = false;
    locked([&](const moment& at) {
        const auto given = guarded_->circuit.admit(at, deadline);
        is_admitted = given.how != admission_kind::refused;
        if (is_admitted) {
            permit = {encode_locked(), at.now, given.lease_end};
        } else {
            why = {.code = errc::circuit_open,
                   .policy = label(),
                   .retry_after = given.retry_after,
                   .reason = reason_to_refuse(guarded_->circuit.state(), given.retry_after)};
            successes_.take_rejected();
        }
    });
    return is_admitted;
}

/// True if counting the success settled it.
RESILIENCE_INLINE bool breaker_core::success_unlocked(const breaker_permit& permit) noexcept {
    const published_state seen = published();
    const std::uint64_t generation = permit.admitted.generation();
    if (seen.generation() != generation) return false;
    const bool is_disabled = seen.state() == circuit_state::disabled; // only totals are kept
    if (!is_disabled) {
        if (seen.needs_mutex() || permit.admitted.needs_mutex()) return false;
        if (seen.has(published_state::counts_results)) return successes_.take_position(generation);
        if (seen.has(published_state::counts_by_time)) {
            // The exact time is at most a tick later. Only if that may be in the next bucket, it is read.
            return successes_.take_bucket(generation, saturating_add(clock().coarse_now(), tick_)) ||
                   (tick_ > duration{0} && successes_.take_bucket(generation, now()));
        }
    }
    successes_.take(generation);
    return true;
}
RESILIENCE_NOINLINE RESILIENCE_FUNCTION bool breaker_core::success_under_mutex(
    const breaker_permit& permit) noexcept {
    const auto& c = config_of(permit);
    bool counted = true;
    locked([&](const moment& at) {
        counted = guarded_->circuit.succeed(permit, timing_of(permit, c, at.now), at);
    });
    return counted;
}
// Out of line, though not cold: with a rate rule, every success comes here.
RESILIENCE_NOINLINE RESILIENCE_FUNCTION bool breaker_core::success_slow_path(
    const breaker_permit& permit) noexcept {
    return success_unlocked(permit) || success_under_mutex(permit);
}

RESILIENCE_COLD RESILIENCE_FUNCTION breaker_settlement breaker_core::settle(const breaker_permit& permit,
                                                                            breaker_judgement&& j) noexcept {
    if (j.predicate_threw) predicate_errors_.fetch_add(1, std::memory_order_relaxed);
    if (j.what == verdict::success) return {success_slow_path(permit)};
    if (j.what == verdict::ignored) return ignore(permit, j.hint);
    const auto& c = config_of(permit);
    return settle_locked([&](const moment& at) {
        return guarded_->circuit.fail(permit, timing_of(permit, c, at.now), std::move(j), at);
    });
}
RESILIENCE_COLD RESILIENCE_FUNCTION breaker_settlement breaker_core::ignore(const breaker_permit& permit,
                                                                            duration hint) noexcept {
    successes_.take_ignored();
    const published_state seen = published(); // a probe's admission is visible to its own call
    if (seen.state() != circuit_state::half_open && seen.generation() == permit.admitted.generation())
        return {}; // no place to give back
    return settle_locked([&](const moment& at) { return guarded_->circuit.ignore(permit, at, hint); });
}
RESILIENCE_COLD RESILIENCE_FUNCTION bool breaker_core::renew(breaker_permit& permit,
                                                             time_point until) noexcept {
    bool counts = true;
    quietly([&](const moment& at) { counts = guarded_->circuit.renew(permit, until, at); });
    return counts;
}
RESILIENCE_COLD RESILIENCE_FUNCTION circuit_state breaker_core::state_by_now() const noexcept {
    if (published().state() == circuit_state::half_open && config().half_open_quiet) {
        auto& self = const_cast<breaker_core&>(*this);
        self.locked([&](const moment& at) { self.guarded_->circuit.catch_up(at); });
    }
    return published().state();
}

RESILIENCE_COLD RESILIENCE_FUNCTION circuit_breaker_stats breaker_core::stats() const {
    (void)state_by_now();
    const time_point at = now();
    circuit_breaker_stats s;
    s.name = name();
    s.ignored = successes_.ignored();
    s.rejected = successes_.rejected();
    s.predicate_errors = predicate_errors_.load(std::memory_order_relaxed);
    const wall_time wall = clock().wall_now();
    std::optional<noted_failure> last;
    {
        const lock_guard lock(mutex_);
        if (const auto* failure = guarded_->circuit.describe(s, at, wall)) last = failure->copy();
    }
    s.calls = s.successes + s.failures + s.ignored;
    if (last) s.last_error = last->texts();
    return s;
}
#endif

}
RESILIENCE_INSTANTIATE(class policy_core<detail::breaker_core, circuit_breaker_config>)
RESILIENCE_INSTANTIATE(std::shared_ptr<detail::breaker_core> enrolled<detail::breaker_core>(
    registry&, const circuit_breaker_config&))
}} // namespace resilience::RESILIENCE_ABI::detail
