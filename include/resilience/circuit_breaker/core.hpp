// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_breaker/circuit.hpp>
#include <resilience/circuit_breaker/config.hpp>
#include <resilience/circuit_breaker/events.hpp>
#include <resilience/circuit_breaker/moment.hpp>
#include <resilience/circuit_breaker/published_state.hpp>
#include <resilience/circuit_breaker/verdicts.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/policy.hpp>

#include <cstdint>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The shared state of a circuit breaker: lock, clock and notification around the pure circuit. Successes while closed
/// are counted without the lock; all else is settled under it. Functions whose names end in _locked are called with
/// mutex_ held.
class breaker_core final : public policy_core<breaker_core, circuit_breaker_config> {
public:
    breaker_core(circuit_breaker_config made_with, const registry& where)
        : policy_core(std::move(made_with), where), tick_(clock().coarse_resolution()),
          flags_(flags_of(config())), events_(*this, rules_cell()),
          circuit_(config(), events_, clock().wall_now()) {
        publish_locked();
    }

    circuit_breaker_stats stats() const;

    // Calls.

    published_state published() const noexcept { return published_.get(); }
    circuit_state state() const noexcept { return published().state(); }
    RESILIENCE_COLD time_point now() const noexcept { return clock().now(); }

    /// A permit, or why not.
    bool admit(breaker_permit& permit, rejection& why, time_point deadline);
    /// Refuses where published state and coarse clock are enough to be sure that the circuit stays open.
    RESILIENCE_INLINE bool surely_open(rejection& why) noexcept {
        if (!published_.surely_open(clock(), tick_, why)) return false;
        why.policy = label();
        circuit_.successes().take_rejected();
        return true;
    }
    void publish_rejected(const rejection& why, std::string_view operation) const {
        events_.publish_rejected(why, operation, state());
    }

    /// A success leaves a count, unless the circuit has moved on since it was admitted or keeps a window.
    RESILIENCE_INLINE void succeed(published_state admitted, time_point start) noexcept {
        const published_state seen = published_.peek();
        if (seen == admitted && seen.needs_count_only()) [[likely]]
            circuit_.successes().take(seen.generation());
        else success_slow_path({admitted, start});
    }
    void success_slow_path(const breaker_permit& permit) noexcept;
    /// The meaning of a result, by the config that the call began under. Runs code of the user's: the permit is still
    /// to be settled.
    breaker_judgement judge(const breaker_permit& permit, const attempt_result& result) {
        return counted(detail::judge(result, config_of(permit)));
    }
    breaker_judgement judge_as_failure(const breaker_permit& permit, const failure* why) {
        return counted(detail::judge_as_failure(why, config_of(permit)));
    }
    /// The moment before which nothing is admitted, if a failure left or found the circuit open; else min().
    time_point settle(const breaker_permit& permit, breaker_judgement j) noexcept;
    void ignore(const breaker_permit& permit) noexcept;

    // Commands.

    void command(breaker_state next, std::string_view reason) {
        locked([&](const moment& at) { circuit_.command(next, reason, at); });
    }
    void open_for(duration d, std::string_view reason) {
        locked([&](const moment& at) {
            circuit_.command(open_state{saturating_add(at.now, d), 1}, reason, at);
        });
    }

private:
    friend policy_core;
    /// An update keeps state and counts, and judges them by the new rules under the same lock.
    void apply(circuit_breaker_config next) {
        locked([&](const moment& at) {
            replace(std::move(next));
            circuit_.update(config(), at);
            flags_ = flags_of(config());
        });
    }

    moment read_moment() const noexcept {
        const bool has_jitter = config().recovery_backoff.has_value();
        return {now(), clock().wall_now(), has_jitter ? env_->random().uniform() : 0.0};
    }
    /// Runs `work(moment)` under the mutex and publishes the state that it left; then delivers the events that it put
    /// in.
    template <class Work>
    void locked(Work&& work) {
        const moment at = read_moment();
        bool has_news = false;
        {
            const lock_guard lock(mutex_);
            const publication_guard at_end{*this};
            work(at);
            has_news = events_.are_waiting_locked();
        }
        if (has_news) deliver();
    }
    /// A listener may drop the last handle: the core stays until all events are delivered.
    RESILIENCE_COLD void deliver() noexcept {
        const auto keep = shared_from_this();
        events_.deliver(mutex_);
    }
    /// Publishes also if `work` found no memory: what it did before has happened.
    struct publication_guard {
        breaker_core& core;
        ~publication_guard() { core.publish_locked(); }
    };
    published_state encode_locked() const noexcept {
        return {circuit_.state(), flags_ | flags_of(circuit_.fill()), rules_cell().version(),
                circuit_.generation()};
    }
    void publish_locked() noexcept {
        const published_state next = encode_locked();
        if (next != published_.peek()) published_.publish_locked(next, circuit_.opens_until());
    }

    const circuit_breaker_config& config_of(const breaker_permit& permit) const noexcept {
        const std::uint16_t version = permit.admitted.config_version();
        if (const auto* const in_force = rules_cell().get_if(version)) return *in_force;
        const lock_guard lock(mutex_);
        return rules_cell().of_version(version);
    }
    breaker_judgement counted(breaker_judgement j) noexcept {
        if (j.predicate_threw) predicate_errors_.fetch_add(1, std::memory_order_relaxed);
        return j;
    }
    bool success_unlocked(const breaker_permit& permit) noexcept;
    void success_under_mutex(const breaker_permit& permit) noexcept;
    time_point record_failure(const breaker_permit& permit, breaker_judgement j) noexcept;

    // Closed calls read the line that begins here, and write none of it.
    alignas(64) state_publisher published_;     // written under mutex_
    const duration tick_;                       // of the coarse clock
    std::uint64_t flags_;                       // of the config; guarded by mutex_
    atomic<std::uint64_t> predicate_errors_{0}; // only ever added to; relaxed: a count orders nothing
    circuit_events events_;                     // guarded by mutex_, but for delivery
    mutable detail::circuit circuit_; // guarded by mutex_, but for successes(); reading moves its window
};

RESILIENCE_COLD inline bool breaker_core::admit(breaker_permit& permit, rejection& why, time_point deadline) {
    permit.admitted = published();
    if (permit.admitted.admits_all()) {
        if (permit.admitted.has(published_state::timed)) permit.start = now();
        return true;
    }
    if (surely_open(why)) return false;
    bool is_admitted = false;
    locked([&](const moment& at) {
        const auto given = circuit_.admit(at, deadline);
        is_admitted = given.how != admission_kind::refused;
        if (is_admitted) {
            permit = {encode_locked(), at.now, given.lease_end};
        } else {
            why = {.code = errc::circuit_open,
                   .policy = label(),
                   .retry_after = given.retry_after,
                   .reason = reason_to_refuse(circuit_.state())};
            circuit_.successes().take_rejected();
        }
    });
    return is_admitted;
}

/// True if a success could be settled by counting it.
RESILIENCE_INLINE bool breaker_core::success_unlocked(const breaker_permit& permit) noexcept {
    const published_state seen = published();
    success_counts& successes = circuit_.successes();
    const std::uint64_t generation = permit.admitted.generation();
    if (seen.generation() != generation) return false;
    const bool is_disabled = seen.state() == circuit_state::disabled; // only totals are kept
    if (!is_disabled) {
        if (seen.needs_mutex() || permit.admitted.needs_mutex()) return false;
        if (seen.has(published_state::counts_results)) return successes.take_position(generation);
        if (seen.has(published_state::counts_by_time))
            return successes.take_bucket(generation, clock().coarse_now());
    }
    successes.take(generation);
    return true;
}
RESILIENCE_NOINLINE inline void breaker_core::success_under_mutex(const breaker_permit& permit) noexcept {
    const auto& c = config_of(permit);
    locked([&](const moment& at) { circuit_.succeed(permit, timing_of(permit, c, at.now), at); });
}
/// Out of line, though not cold: where windows are kept, every success comes here.
RESILIENCE_NOINLINE inline void breaker_core::success_slow_path(const breaker_permit& permit) noexcept {
    if (!success_unlocked(permit)) success_under_mutex(permit);
}

RESILIENCE_COLD inline time_point breaker_core::settle(const breaker_permit& permit,
                                                       breaker_judgement j) noexcept {
    switch (j.what) {
    case verdict::success: success_slow_path(permit); break;
    case verdict::ignored: ignore(permit); break;
    case verdict::failure: return record_failure(permit, std::move(j));
    }
    return time_point::min();
}
RESILIENCE_COLD inline time_point breaker_core::record_failure(const breaker_permit& permit,
                                                               breaker_judgement j) noexcept {
    const auto& c = config_of(permit);
    time_point not_before = time_point::min();
    locked([&](const moment& at) {
        circuit_.fail(permit, timing_of(permit, c, at.now), std::move(j), at);
        if (circuit_.state() == circuit_state::open) not_before = circuit_.opens_until();
    });
    return not_before;
}
RESILIENCE_COLD inline void breaker_core::ignore(const breaker_permit& permit) noexcept {
    circuit_.successes().take_ignored();
    const published_state seen = published(); // if the call is a probe, its admission is seen here
    if (seen.state() != circuit_state::half_open && seen.generation() == permit.admitted.generation())
        return; // no place to give back
    locked([&](const moment& at) { circuit_.ignore(permit, at); });
}

inline circuit_breaker_stats breaker_core::stats() const {
    const time_point at = now();
    circuit_breaker_stats s;
    s.name = name();
    s.ignored = circuit_.successes().ignored();
    s.rejected = circuit_.successes().rejected();
    s.predicate_errors = predicate_errors_.load(std::memory_order_relaxed);
    const lock_guard lock(mutex_);
    circuit_.describe(s, at);
    s.calls = s.successes + s.failures + s.ignored;
    return s;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
