// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_breaker/config.hpp>
#include <resilience/circuit_breaker/events.hpp>
#include <resilience/circuit_breaker/history.hpp>
#include <resilience/circuit_breaker/moment.hpp>
#include <resilience/circuit_breaker/published_state.hpp>
#include <resilience/circuit_breaker/success_counts.hpp>
#include <resilience/circuit_breaker/verdicts.hpp>
#include <resilience/mechanism/breaker_machine.hpp>
#include <resilience/mechanism/breaker_rules.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The machine's part of a config, defaults filled in.
inline breaker_limits limits_of(const circuit_breaker_config& c) {
    return {c.success_threshold, c.half_open_max_calls.value_or(c.success_threshold), c.recovery_timeout,
            c.probe_lease, c.recovery_backoff};
}
inline breaker_rules_config rules_of(const circuit_breaker_config& c) {
    const bool other = c.consecutive_failures || c.failure_rate_threshold || c.slow_call_rate_threshold;
    auto threshold = c.failure_threshold;
    if (!threshold && !other) threshold = 5;
    return {threshold,
            c.failure_window,
            c.consecutive_failures,
            c.failure_rate_threshold,
            c.slow_call_rate_threshold,
            c.window,
            c.minimum_calls};
}

/// A circuit: applies admissions, results and commands to the machine, the rules, the counts of successes and
/// the history. Guarded by its owner's mutex. Reads no clock and calls no user code.
class circuit {
public:
    /// `successes` and `events` must outlive this.
    circuit(const circuit_breaker_config& config, success_counts& successes, circuit_events& events,
            wall_time now)
        : successes_(successes), limits_(limits_of(config)), max_break_(config.max_break),
          rules_(rules_of(config)), history_(now), events_(events) {
        successes_.begin_locked(machine_.generation());
        prepare(config);
    }

    circuit_state state() const noexcept { return machine_.state(); }
    std::uint64_t generation() const noexcept { return machine_.generation(); }
    window_fill fill() const noexcept { return successes_.fill_locked(); }
    time_point opens_until() const noexcept { return machine_.opens_until(); }
    time_point held_until() const noexcept { return machine_.held_until(); }

    /// Admits or refuses a call, whose own deadline is given.
    breaker_machine::permission admit(const moment& at, time_point deadline) {
        expire_leases(at);
        auto given = machine_.admit(limits_, at.now, deadline);
        entered(given.change, at, "recovery_timeout");
        return given;
    }

    void succeed(const breaker_permit& permit, const call_timing& timing, const moment& at) {
        history_.count_success(timing);
        expire_leases(at);
        if (!is_current(permit)) {
            history_.count_late();
            return successes_.take_late_locked();
        }
        if (keeps_window()) return succeed_in_window(timing, at);
        successes_.take(generation());
        settle_probe(permit, verdict::success, {}, at, "success_threshold");
    }
    void fail(const breaker_permit& permit, const call_timing& timing, breaker_judgement j,
              const moment& at) {
        const wanted_break wanted = wanted_by(j);
        history_.count_failure(timing);
        expire_leases(at);
        if (!is_current(permit)) return history_.count_late();
        if (state() == circuit_state::disabled) return;
        history_.remember_failure(at.wall, std::move(j.texts));
        if (state() == circuit_state::half_open)
            return settle_probe(permit, verdict::failure, wanted, at, "probe failed");
        const std::uint64_t position = successes_.take_position_locked();
        rules_.record({.failed = true, .slow = timing.is_slow}, at.now, position,
                      successes_.in_generation_locked());
        judge(at, wanted);
    }
    /// Gives a probe's place back. The next one waits for the server's hint.
    void ignore(const breaker_permit& permit, const moment& at, duration hint = {}) {
        expire_leases(at);
        if (!is_current(permit)) return history_.count_late();
        settle_probe(permit, verdict::ignored, {.at_least = std::min(hint, max_break_)}, at, {});
    }

    /// Changes the state by hand.
    void command(breaker_state next, std::string_view reason, const moment& at) {
        if (seen_as(state()) == circuit_state::closed)
            history_.tripped_by(rules_.failures(at.now, window(at.now)));
        history_.commanded(reason);
        const transition change = machine_.command(next);
        if (change.to == circuit_state::closed) history_.tripped_by(0);
        entered(change, at, reason.empty() ? std::string_view("by hand") : reason);
    }
    /// Applies another config: keeps state and counts, and judges them by the new rules.
    void update(const circuit_breaker_config& config, const moment& at) {
        const breaker_rules_config next = rules_of(config);
        prepare(config); // the rules rely on it
        keep_bucket_successes(next, at.now);
        rules_.update(next, successes_.next_position_locked(), at.now);
        limits_ = limits_of(config);
        max_break_ = config.max_break;
        successes_.renumber_locked();
        entered(machine_.rejudge(limits_), at, "success_threshold");
        if (records_results()) judge(at, {});
    }

    /// Sets the circuit's part of the statistics.
    void describe(circuit_breaker_stats& s, time_point now) {
        const auto& rules = rules_.config();
        const tally in_window = window(now);
        s.state = state();
        s.generation = generation();
        s.successes = successes_.successes();
        const bool counts = seen_as(state()) == circuit_state::closed;
        s.failure_count = counts ? rules_.failures(now, in_window) : history_.tripping_failures();
        s.failure_threshold = rules.failure_threshold.value_or(rules.consecutive_failures.value_or(0));
        s.success_count = counts ? successes_.in_generation_locked() : machine_.probes_passed();
        s.success_threshold = limits_.success_threshold;
        if (rules.has_rates()) {
            const auto* of_calls = std::get_if<count_window>(&rules.window);
            s.window = {in_window.total, in_window.failed, in_window.slow, of_calls ? of_calls->size : 0};
        }
        if (rules.failure_rate_threshold) s.failure_rate = in_window.failure_rate();
        if (rules.slow_call_rate_threshold) s.slow_call_rate = in_window.slow_rate();
        if (state() == circuit_state::open) s.retry_after = elapsed_between(now, opens_until());
        if (now < machine_.held_until()) s.retry_after = elapsed_between(now, machine_.held_until());
        history_.describe(s);
    }

private:
    /// The break that a result asks for, bounded by max_break.
    struct wanted_break {
        std::optional<duration> length{}; // trips at once, for that long
        duration at_least{0};             // if it opens or keeps the circuit half-open
    };
    bool is_current(const breaker_permit& permit) const noexcept {
        return permit.admitted.generation() == generation();
    }
    /// True if results enter windows and are judged.
    bool records_results() const noexcept {
        return state() == circuit_state::closed || state() == circuit_state::metrics_only;
    }
    bool keeps_window() const noexcept { return records_results() && rules_.config().has_rates(); }

    /// Fails a probe whose lease is over, also if no call came meanwhile.
    void expire_leases(const moment& at) {
        entered(machine_.expire(limits_, at.now, at.random_share), at, "probe_lease");
    }
    /// Does nothing unless half-open.
    void settle_probe(const breaker_permit& permit, verdict v, const wanted_break& wanted, const moment& at,
                      std::string_view reason) {
        const auto change =
            machine_.settle(v, permit.lease_end, limits_, at.now, wanted.length, at.random_share);
        hold(wanted, at);
        entered(change, at, reason);
    }
    /// Applies the server's hint.
    void hold(const wanted_break& wanted, const moment& at) {
        if (wanted.at_least > duration{0}) machine_.hold_until(saturating_add(at.now, wanted.at_least));
    }
    wanted_break wanted_by(const breaker_judgement& j) const noexcept {
        wanted_break wanted{.length = j.break_for, .at_least = std::min(j.hint, max_break_)};
        if (wanted.length) wanted.length = std::min(*wanted.length, max_break_);
        return wanted;
    }

    void succeed_in_window(const call_timing& timing, const moment& at) {
        if (timing.is_slow || !rules_.config().has_time_window()) {
            successes_.take(generation());
            const std::uint64_t position = successes_.take_position_locked();
            if (timing.is_slow)
                rules_.record({.slow = true}, at.now, position, successes_.in_generation_locked());
        } else if (!successes_.take_bucket(generation(), at.now)) {
            enter_bucket(at.now);
        }
        if (timing.is_slow || fill() == window_fill::below_minimum_calls) judge(at, {});
    }
    /// Runs once per bucket and thread. The window may have lost buckets and be below minimum_calls now.
    void enter_bucket(time_point now) {
        const std::uint32_t bucket = rules_.bucket_at(now);
        successes_.set_fill_locked(rules_.fill_of(window(now)));
        successes_.enter_bucket_locked(bucket, rules_.end_of_bucket(bucket));
    }

    /// The results in the rate window. Reading moves a time window to its current bucket.
    tally window(time_point now) {
        if (!rules_.config().has_rates()) return {};
        if (!rules_.config().has_time_window()) return rules_.last_results(successes_.next_position_locked());
        const std::uint32_t bucket = rules_.bucket_at(now);
        tally all = rules_.results_until(bucket);
        all.total += successes_.in_buckets_locked(rules_.first_bucket(), bucket);
        return all;
    }
    /// The rule that is met; null if none is. Sets `in_window` to the results that were judged.
    const char* met_rule(time_point now, tally& in_window) {
        in_window = window(now);
        const char* rule = rules_.judge(now, in_window);
        if (rule != nullptr || !successes_.set_fill_locked(rules_.fill_of(in_window))) return rule;
        // Successes counted before the fill changed did not check the rules, so check them again.
        in_window = window(now);
        successes_.set_fill_locked(rules_.fill_of(in_window));
        return rules_.judge(now, in_window);
    }
    /// Trips if a rule is met or the failure asks for it. With metrics_only it publishes an event and starts
    /// over.
    void judge(const moment& at, const wanted_break& wanted) {
        tally in_window;
        const char* rule = met_rule(at.now, in_window);
        if (wanted.length) rule = "break_duration_of";
        if (rule == nullptr) return;
        history_.tripped_by(rules_.failures(at.now, in_window));
        if (state() == circuit_state::closed) {
            const auto change = machine_.trip(limits_, at.now, wanted.length, at.random_share);
            hold(wanted, at);
            return entered(change, at, rule);
        }
        events_.put_locked(event_kind::would_have_tripped, at, [&](event& e) {
            e.from = e.to = state();
            e.failure_count = history_.tripping_failures();
            e.reason = rule;
            e.generation = generation();
            history_.describe(e);
        });
        rules_.clear(successes_.clear_windows_locked(), successes_.in_generation_locked());
    }

    /// Does all that goes with a change of state.
    void entered(const std::optional<transition>& change, const moment& at, std::string_view reason) {
        if (!change) return;
        events_.put_locked(event_kind::state_changed, at, [&](event& e) {
            e.from = change->from;
            e.to = change->to;
            e.failure_count = change->from == circuit_state::closed && change->to != circuit_state::open
                                  ? rules_.failures(at.now, window(at.now))
                                  : history_.tripping_failures();
            e.success_count = successes_.in_generation_locked(); // of the generation that ends
            e.reason = reason;
            e.generation = change->generation;
            if (change->to != circuit_state::open) return;
            e.delay = elapsed_between(at.now, opens_until());
            history_.describe(e);
        });
        history_.entered(*change, at.wall);
        // Close positions before clearing: a success counted a moment ago belongs to the window being
        // cleared.
        const std::uint64_t first = successes_.begin_locked(change->generation);
        rules_.clear(first, 0);
    }

    /// Saves the successes that threads counted by bucket before an update numbers the buckets anew.
    void keep_bucket_successes(const breaker_rules_config& next, time_point now) {
        if (!rules_.config().has_rates() || !rules_.config().has_time_window() ||
            !rules_.would_renumber(next))
            return;
        const std::uint32_t last = rules_.bucket_at(now);
        for (std::uint32_t age = 0; age < time_buckets::bucket_count; ++age) {
            const std::uint32_t bucket = last - age;
            rules_.take_over(bucket, successes_.in_buckets_locked(bucket, bucket));
            if (bucket == rules_.first_bucket()) break;
        }
    }
    void prepare(const circuit_breaker_config& config) {
        const breaker_rules_config rules = rules_of(config);
        if (rules.has_rates() && rules.has_time_window()) successes_.keep_time_locked();
        if (config.slow_call_duration) history_.keep_latencies();
    }

    breaker_machine machine_;
    success_counts& successes_;
    breaker_limits limits_;
    duration max_break_;
    breaker_rules rules_;
    circuit_history history_;
    circuit_events& events_;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
