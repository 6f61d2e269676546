// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_breaker/config.hpp>
#include <resilience/circuit_breaker/events.hpp>
#include <resilience/circuit_breaker/history.hpp>
#include <resilience/circuit_breaker/moment.hpp>
#include <resilience/circuit_breaker/parts_of_config.hpp>
#include <resilience/circuit_breaker/published_state.hpp>
#include <resilience/circuit_breaker/success_counts.hpp>
#include <resilience/circuit_breaker/verdicts.hpp>
#include <resilience/mechanism/breaker_machine.hpp>
#include <resilience/mechanism/breaker_rules.hpp>

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A circuit: applies admissions, results and commands to the machine, the rules, the counts of successes and
/// the history. Guarded by its owner's mutex. Reads no clock and calls no user code.
class circuit {
public:
    /// All three must outlive this, and so must the config of each update().
    circuit(const circuit_breaker_config& config, success_counts& successes, circuit_events& events,
            time_point now)
        : successes_(successes), config_(&config), rules_(rules_of(config)), history_(now), events_(events) {
        successes_.begin_locked(machine_.generation());
        prepare(config);
    }

    circuit_state state() const noexcept { return machine_.state(); }
    std::uint64_t generation() const noexcept { return machine_.generation(); }
    window_fill fill() const noexcept { return successes_.fill_locked(); }
    time_point opens_until() const noexcept { return machine_.opens_until(); }
    time_point next_probe() const noexcept { return machine_.next_probe(); }

    /// Does what is due by now, as if a timer had fired.
    void catch_up(const moment& at) {
        if (state() != circuit_state::half_open) return;
        entered(machine_.expire(limits(), at.now, at.random_share), at, "probe_lease");
        entered(machine_.settle_down(limits(), at.now), at, "half_open_quiet");
    }
    /// Admits or refuses a call, whose own deadline is given.
    breaker_machine::permission admit(const moment& at, time_point deadline) {
        catch_up(at);
        entered(machine_.end_opening(limits(), at.now), at, "recovery_timeout");
        rejudge_probes(at);
        auto given = machine_.admit(limits(), at.now, deadline);
        entered(given.change, at, "recovery_timeout");
        return given;
    }

    // These return false for a result that is late.
    bool succeed(const breaker_permit& permit, const call_timing& timing, const moment& at) {
        history_.count_success(timing);
        if (is_late(permit, at)) {
            successes_.take_late_locked();
            if (!timing.is_slow) take_late_probe(permit, at);
            return false;
        }
        if (keeps_window()) {
            succeed_in_window(timing, at);
            return true;
        }
        successes_.take(generation());
        if (timing.is_slow) settle_probe(permit, verdict::failure, {}, at, "slow probe");
        else settle_probe(permit, verdict::success, {}, at, "success_threshold");
        return true;
    }
    bool fail(const breaker_permit& permit, call_timing timing, breaker_judgement&& j, const moment& at) {
        history_.count_failure(timing);
        if (is_late(permit, at)) return false;
        if (state() == circuit_state::disabled) return true;
        history_.remember_failure(at.now, std::move(j.error));
        if (state() == circuit_state::half_open) {
            settle_probe(permit, verdict::failure, j.break_for, at, "probe failed", j.hint);
            return true;
        }
        const std::uint64_t position = successes_.take_position_locked();
        rules_.record({.failed = true, .slow = timing.is_slow}, at.now, position,
                      successes_.in_generation_locked());
        judge(at, j.break_for, j.hint);
        return true;
    }
    /// Gives a probe's place back. The next one waits for the server's hint.
    bool ignore(const breaker_permit& permit, const moment& at, duration hint = {}) {
        if (is_late(permit, at)) return false;
        settle_probe(permit, verdict::ignored, {}, at, {}, hint);
        return true;
    }
    /// Makes a probe's lease end at `until`, unless it ends later. False if the permit is late.
    bool renew(breaker_permit& permit, time_point until, const moment& at) {
        catch_up(at);
        if (permit.admitted.generation() != generation() || machine_.has_expired(permit.lease_end))
            return false;
        permit.lease_end = machine_.renew(permit.lease_end, until).value_or(permit.lease_end);
        return true;
    }

    void command(const circuit_command& c, std::string_view reason, const moment& at) {
        rules_.end_row(successes_.in_generation_locked());
        if (seen_as(state()) == circuit_state::closed)
            history_.tripped_by(rules_.failures(at.now, window(at.now)));
        history_.commanded(reason);
        const transition change = machine_.command(state_after(c, at));
        if (change.to == circuit_state::closed) history_.tripped_by(0);
        entered(change, at, reason.empty() ? std::string_view("by hand") : reason);
    }
    /// The memory for another config. May throw; changes nothing that is seen.
    breaker_rules::windows windows_for(const circuit_breaker_config& config) {
        prepare(config); // the rules rely on it
        return rules_.windows_for(rules_of(config), successes_.next_position_locked());
    }
    /// Applies another config: keeps state and counts, and judges them by the new rules.
    RESILIENCE_COLD void update(const circuit_breaker_config& config, breaker_rules::windows made,
                                const moment& at) {
        const breaker_rules_config next = rules_of(config);
        keep_bucket_successes(next, at.now);
        rules_.update(next, std::move(made), at.now);
        config_ = &config;
        successes_.renumber_locked();
        rejudge_probes(at);
        rules_.end_row(successes_.in_generation_locked());
        if (records_results()) judge(at, {});
    }

    /// Sets the circuit's part of the statistics but for last_error. Returns the last failure; null for none.
    RESILIENCE_COLD const noted_failure* describe(circuit_breaker_stats& s, time_point now, wall_time wall) {
        rules_.end_row(successes_.in_generation_locked());
        const auto& rules = rules_.config();
        const tally in_window = window(now);
        s.state = state();
        s.generation = generation();
        s.successes = successes_.successes();
        const bool counts = seen_as(state()) == circuit_state::closed;
        s.failure_count = counts ? rules_.failures(now, in_window) : history_.tripping_failures();
        s.failure_threshold = rules.failure_threshold.value_or(rules.consecutive_failures.value_or(0));
        s.success_count = counts ? successes_.in_generation_locked() : machine_.probes_passed();
        s.success_threshold = config_->success_threshold;
        if (rules.has_rates())
            s.window = {in_window.total, in_window.failed, in_window.slow, rules.most_results(),
                        rules.calls_to_judge()};
        if (rules.failure_rate_threshold) s.failure_rate = in_window.failure_rate();
        if (rules.slow_call_rate_threshold) s.slow_call_rate = in_window.slow_rate();
        if (state() == circuit_state::open || now < next_probe())
            s.retry_after = elapsed_between(now, next_probe());
        return history_.describe(s, [&](time_point at) { return wall_at(at, now, wall); });
    }

private:
    breaker_limits limits() const { return limits_of(*config_); }
    /// True if the circuit has moved on since, by now. Such a result counts in totals alone.
    bool is_late(const breaker_permit& permit, const moment& at) {
        catch_up(at);
        const bool is =
            permit.admitted.generation() != generation() || machine_.has_expired(permit.lease_end);
        if (is) history_.count_late();
        return is;
    }
    breaker_state state_after(const circuit_command& c, const moment& at) const noexcept {
        if (c.next == circuit_state::closed) return closed_state{};
        if (c.next != circuit_state::open) return manual_state{c.next};
        if (c.opens_for) return open_state{saturating_add(at.now, *c.opens_for), 1};
        return machine_.opening(limits(), at.now, at.random_share);
    }
    /// True if results enter windows and are judged.
    bool records_results() const noexcept {
        return state() == circuit_state::closed || state() == circuit_state::metrics_only;
    }
    bool keeps_window() const noexcept { return records_results() && rules_.config().has_rates(); }
    RESILIENCE_COLD void rejudge_probes(const moment& at) {
        const auto change = machine_.rejudge(limits(), at.now, at.random_share);
        const bool closes = change && change->to == circuit_state::closed;
        entered(change, at, closes ? "success_threshold" : "half_open_failure_rate");
    }
    /// A probe that outlived its lease and succeeded says that the other side is well, and the lease short.
    RESILIENCE_COLD void take_late_probe(const breaker_permit& permit, const moment& at) {
        if (!machine_.take_late(permit.admitted.generation(), permit.lease_end, at.now)) return;
        events_.put_locked(event_kind::probe_succeeded_late, at, [&](event& e) {
            e.from = e.to = state();
            e.delay = elapsed_between(permit.lease_end, at.now);
            e.reason = "probe_lease";
            e.generation = generation();
            return nullptr;
        });
    }
    /// Does nothing unless half-open.
    void settle_probe(const breaker_permit& permit, verdict v, std::optional<duration> break_for,
                      const moment& at, std::string_view reason, duration hint = {}) {
        entered(machine_.settle(v, permit.lease_end, limits(), at.now, break_for, at.random_share, hint), at,
                reason);
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
        if (!timing.is_slow && fill() != window_fill::below_minimum_calls) return;
        rules_.end_row(successes_.in_generation_locked());
        judge(at, {});
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
    /// Trips if a rule is met or the failure asks for it; in metrics_only tells so and starts over.
    void judge(const moment& at, std::optional<duration> break_for, duration hint = {}) {
        tally in_window;
        const char* rule = met_rule(at.now, in_window);
        if (break_for) rule = "break_duration_of";
        if (rule == nullptr) return;
        history_.tripped_by(rules_.failures(at.now, in_window));
        if (state() == circuit_state::closed)
            return entered(machine_.trip(limits(), at.now, break_for, at.random_share, hint), at, rule);
        events_.put_locked(event_kind::would_have_tripped, at, [&](event& e) {
            e.from = e.to = state();
            e.failure_count = history_.tripping_failures();
            e.reason = rule;
            e.generation = generation();
            return history_.last_failure();
        });
        rules_.clear(successes_.clear_windows_locked(), successes_.in_generation_locked());
    }

    /// Does all that goes with a change of state.
    RESILIENCE_COLD void entered(const std::optional<transition>& change, const moment& at,
                                 std::string_view reason) {
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
            if (change->to == circuit_state::open) e.delay = elapsed_between(at.now, opens_until());
            return change->to == circuit_state::open ? history_.last_failure() : nullptr;
        });
        history_.entered(*change, at.now);
        // Close positions before clearing: a success counted a moment ago belongs to the window being
        // cleared.
        const std::uint64_t first = successes_.begin_locked(change->generation);
        rules_.clear(first, 0);
    }
    /// Saves the successes that threads counted by bucket before an update numbers the buckets anew.
    RESILIENCE_COLD void keep_bucket_successes(const breaker_rules_config& next, time_point now) {
        if (!rules_.would_renumber(next)) return;
        const std::uint32_t last = rules_.bucket_at(now);
        for (std::uint32_t age = 0; age < time_buckets::bucket_count; ++age) {
            const std::uint32_t bucket = last - age;
            rules_.take_over(bucket, successes_.in_buckets_locked(bucket, bucket));
            if (bucket == rules_.first_bucket()) break;
        }
    }
    RESILIENCE_COLD void prepare(const circuit_breaker_config& config) {
        if (breaker_rules::uses_time(rules_of(config))) successes_.keep_time_locked();
        if (config.slow_call_duration) history_.keep_latencies();
    }

    breaker_machine machine_;
    success_counts& successes_;
    const circuit_breaker_config* config_; // kept by its owner
    breaker_rules rules_;
    circuit_history history_;
    circuit_events& events_;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
