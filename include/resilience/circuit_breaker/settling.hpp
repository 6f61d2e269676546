// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a circuit breaker does away from the closed, successful path.

#include <resilience/circuit_breaker/core.hpp>
#include <resilience/detail/returned.hpp>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// With mutex_. A probe whose lease is over has failed, whether or not anybody came by to see it.
inline void breaker_core::expire_leases(time_point at, wall_time wall, double uniform) {
    moved(machine_.expire(limits_of(config_.get()), at, uniform), at, wall, "probe_lease");
}

/// The config that the call began under.
inline const circuit_breaker_config& breaker_core::config_of(const breaker_permit& permit) const noexcept {
    const std::uint16_t version = breaker_word::version(permit.word);
    if (const auto* const in_force = config_.get_if(version)) return *in_force;
    const lock_guard lock(mutex_);
    return config_.of_version(version);
}

__attribute__((noinline)) inline void breaker_core::succeed_with_care(const breaker_permit& permit) {
    const std::uint64_t word = word_.load(std::memory_order_acquire);
    const bool same_epoch = breaker_word::generation(word) == breaker_word::generation(permit.word);
    const auto plain = breaker_word::state_mask | breaker_word::waiting | breaker_word::timed;
    if (same_epoch && ((word | permit.word) & plain) == 0) {
        const bool counted = (word & breaker_word::counted) != 0   ? count_in_window(permit)
                             : (word & breaker_word::by_time) != 0 ? count_in_time(permit)
                                                                   : true;
        if (counted) return counts_.add(success_in(breaker_word::generation(permit.word)));
    }
    if (same_epoch &&
        (word & breaker_word::state_mask) == static_cast<std::uint64_t>(circuit_state::disabled)) {
        return counts_.add(success_in(breaker_word::generation(permit.word)));
    }
    const auto& c = config_of(permit);
    const bool must_time = (permit.word & breaker_word::timed) != 0;
    const time_point at = now();
    const bool slow =
        must_time && c.slow_call_duration && elapsed_between(permit.start, at) > *c.slow_call_duration;
    record_success(permit, slow, at, env_->clock().wall_now());
}

/// Lock-free: a fast success only takes the next position. False if the epoch is another by now, or waits
/// for calls.
inline bool breaker_core::count_in_window(const breaker_permit& permit) noexcept {
    const std::uint64_t epoch = position_epoch(breaker_word::generation(permit.word), false);
    std::uint64_t seen = position_.load(std::memory_order_relaxed);
    while ((seen & ~position_mask) == epoch) {
        if (position_.compare_exchange_weak(seen, seen + 1, std::memory_order_relaxed)) return true;
    }
    return false;
}

/// Lock-free but for the first success in each bucket of a thread, or of those that share a stripe. One that is counted
/// without the lock while a failure looks at the window may be missed by it, and is judged with the next result. False
/// as above.
inline bool breaker_core::count_in_time(const breaker_permit& permit) noexcept {
    const std::uint64_t generation = breaker_word::generation(permit.word);
    const time_source& clock = env_->clock();
    const time_point coarse = clock.coarse_now();
    if (stripes_->add(coarse.time_since_epoch().count(), generation)) return true;
    const time_point at = clock.now();
    const lock_guard lock(mutex_);
    if (!is_current(permit) || waits_for_calls_) return false;
    const std::uint32_t bucket = rules_.bucket_at(at);
    if (wait_for_calls(waits(rates(at)))) { // with its old buckets the window has lost calls
        publish();
        return false;
    }
    stripes_->enter(bucket, rules_.end_of_bucket(bucket).time_since_epoch().count(), generation);
    return true;
}

RESILIENCE_COLD inline void breaker_core::record_success(const breaker_permit& permit, bool slow,
                                                         time_point at, wall_time wall) {
    const double uniform = draw();
    bool news = false;
    {
        const lock_guard lock(mutex_);
        if (latencies_ && (permit.word & breaker_word::timed) != 0)
            latencies_->successes.record(elapsed_between(permit.start, at));
        take_success(permit, slow, at, wall, uniform);
        news = journal_.has_events();
    }
    if (news) deliver();
}

/// With mutex_.
inline void breaker_core::take_success(const breaker_permit& permit, bool slow, time_point at, wall_time wall,
                                       double uniform) {
    if (slow) ++slow_;
    expire_leases(at, wall, uniform);
    if (!is_current(permit)) {
        ++late_results_;
        return counts_.add(late_success); // apart from the others: it must not break a row of failures
    }
    counts_.add(success_in(machine_.generation()));
    switch (machine_.state()) {
    case circuit_state::half_open:
        moved(machine_.settle(verdict::success, permit.lease_end, limits_of(config_.get()), at, {}, uniform),
              at, wall, "success_threshold");
        break;
    case circuit_state::closed:
    case circuit_state::metrics_only:
        if (!rules_.config().has_rates()) return;
        if (slow)
            rules_.record({.slow = true}, at,
                          position_.fetch_add(1, std::memory_order_relaxed) & position_mask,
                          successes_in_epoch());
        else if (rules_.config().has_time_window()) rules_.take_over(rules_.bucket_at(at), 1);
        else position_.fetch_add(1, std::memory_order_relaxed);
        if (slow || waits_for_calls_) judge_rules(at, wall, {}, uniform);
        break;
    default: break;
    }
}

/// What the config's predicates say of a result. They may throw.
inline verdict breaker_core::verdict_on(const attempt_result& result, const circuit_breaker_config& c) {
    if (result.succeeded()) {
        const bool asks = c.record_if.examines_values() || c.ignore_if.examines_values();
        if (!asks) return result.judged();
        const failure value = result.as_failure();
        if (c.ignore_if.examines_values() && c.ignore_if.of_value(value)) return verdict::ignored;
        return c.record_if.examines_values() && c.record_if.of_value(value) ? verdict::failure
                                                                            : result.judged();
    }
    const failure& why = *result.error();
    const auto usual = default_verdict(why);
    const auto code = why.code();
    const bool refused = usual == verdict::ignored &&
                         code.category() == resilience::error_category(); // detail has a class of that name
    if (why.is_cancellation() || refused) return verdict::ignored;
    if (c.ignore_if.has_value() && c.ignore_if(why)) return verdict::ignored;
    if (!c.record_if.has_value()) return usual;
    return c.record_if(why) ? verdict::failure : verdict::success;
}

RESILIENCE_COLD inline breaker_judgement breaker_core::judge(const breaker_permit& permit,
                                                             const attempt_result& result) {
    const auto& c = config_of(permit);
    breaker_judgement j{verdict::failure, {}, {}};
    const bool answered = returned([&] {
        j.what = verdict_on(result, c);
        if (j.what == verdict::failure && c.break_duration_of) {
            j.break_for = c.break_duration_of(result.succeeded() ? result.as_failure() : *result.error());
        }
    });
    if (!answered) { // a predicate's trouble must not lose the permit: the attempt is settled as a failure
        predicate_errors_.fetch_add(1, std::memory_order_relaxed);
        j.what = verdict::failure;
    }
    if (j.what == verdict::failure) j.texts = texts_of(result);
    return j;
}

RESILIENCE_COLD inline time_point breaker_core::settle(const breaker_permit& permit, breaker_judgement j) {
    switch (j.what) {
    case verdict::success: succeed(permit); break;
    case verdict::ignored: ignore(permit); break;
    case verdict::failure: return record_failure(permit, std::move(j));
    }
    return time_point::min();
}

RESILIENCE_COLD inline time_point breaker_core::record_failure(const breaker_permit& permit,
                                                               breaker_judgement j) {
    const auto& c = config_of(permit);
    const time_point at = now();
    const wall_time wall = env_->clock().wall_now();
    const double uniform = draw();
    const bool slow = (permit.word & breaker_word::timed) != 0 && c.slow_call_duration &&
                      elapsed_between(permit.start, at) > *c.slow_call_duration;
    time_point not_before = time_point::min();
    bool news = false;
    {
        const lock_guard lock(mutex_);
        if (latencies_ && (permit.word & breaker_word::timed) != 0)
            latencies_->failures.record(elapsed_between(permit.start, at));
        not_before = take_failure(permit, slow, std::move(j), at, wall, uniform);
        news = journal_.has_events();
    }
    if (news) deliver();
    return not_before;
}

/// With mutex_.
inline time_point breaker_core::take_failure(const breaker_permit& permit, bool slow, breaker_judgement j,
                                             time_point at, wall_time wall, double uniform) {
    ++failures_;
    if (slow) ++slow_;
    expire_leases(at, wall, uniform);
    if (!is_current(permit)) {
        ++late_results_; // and no more than that, but for what its caller is told
    } else if (machine_.state() != circuit_state::disabled) {
        journal_.last_failure_at = wall;
        journal_.keep(std::move(j.texts));
        count_failure(permit, slow, j.break_for, at, wall, uniform);
    }
    return machine_.state() == circuit_state::open ? machine_.opens_until() : time_point::min();
}

/// With mutex_, for a failure that counts.
inline void breaker_core::count_failure(const breaker_permit& permit, bool slow,
                                        std::optional<duration> break_for, time_point at, wall_time wall,
                                        double uniform) {
    if (machine_.state() == circuit_state::half_open) {
        moved(machine_.settle(verdict::failure, permit.lease_end, limits_of(config_.get()), at, break_for,
                              uniform),
              at, wall, "probe failed");
    } else {
        rules_.record({.failed = true, .slow = slow}, at,
                      position_.fetch_add(1, std::memory_order_relaxed) & position_mask,
                      successes_in_epoch());
        judge_rules(at, wall, break_for, uniform);
    }
}

inline breaker_judgement breaker_core::condemn(const breaker_permit& permit, const failure* why) {
    static const failure unknown;
    const auto& c = config_of(permit);
    breaker_judgement j{verdict::failure, {}, {}};
    if (why != nullptr && c.break_duration_of && !returned([&] { j.break_for = c.break_duration_of(*why); }))
        predicate_errors_.fetch_add(1, std::memory_order_relaxed); // as in judge()
    j.texts = texts_of(attempt_result(why != nullptr ? *why : unknown));
    return j;
}

RESILIENCE_COLD inline void breaker_core::ignore(const breaker_permit& permit) {
    counts_.add(ignored);
    const std::uint64_t seen = word(); // if it is a probe, its admission is seen here
    const bool may_be_probe =
        (seen & breaker_word::state_mask) == static_cast<std::uint64_t>(circuit_state::half_open);
    if (!may_be_probe && breaker_word::generation(seen) == breaker_word::generation(permit.word))
        return; // no place to give back
    const time_point at = may_be_probe ? now() : time_point::min();
    const wall_time wall = may_be_probe ? env_->clock().wall_now() : wall_time{};
    const double uniform = may_be_probe ? draw() : 0.0;
    bool news = false;
    {
        const lock_guard lock(mutex_);
        expire_leases(at, wall, uniform);
        if (!is_current(permit)) ++late_results_;
        else
            machine_.settle(verdict::ignored, permit.lease_end, limits_of(config_.get()), at, {},
                            uniform); // gives a place back
        news = journal_.has_events();
    }
    if (news) deliver();
}

}}} // namespace resilience::RESILIENCE_ABI::detail
