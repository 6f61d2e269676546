// SPDX-License-Identifier: Apache-2.0
#pragma once

// How a circuit moves from one epoch to the next: judging its rules, changing state, commands, updates.

#include <resilience/circuit_breaker/core.hpp>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// With mutex_. The results in the rate window now.
inline tally breaker_core::rates(time_point at) const {
    if (!rules_.config().has_rates()) return {};
    if (!rules_.config().has_time_window()) return rules_.last_results(next_position());
    const std::uint32_t bucket = rules_.bucket_at(at);
    tally all = rules_.results_until(bucket);
    all.total += stripes_->sum(rules_.first_bucket(), bucket);
    return all;
}

/// With mutex_. Trips if a rule is met; a circuit that only measures says so and starts over.
inline void breaker_core::judge_rules(time_point at, wall_time wall, std::optional<duration> break_for,
                                      double uniform) {
    tally now_in_window = rates(at);
    const char* rule = break_for ? "break_duration_of" : rules_.judge(at, now_in_window);
    if (rule == nullptr && wait_for_calls(waits(now_in_window))) {
        // Successes that took a position meanwhile did not know that they were waited for.
        now_in_window = rates(at);
        rule = rules_.judge(at, now_in_window);
        if (rule == nullptr) {
            wait_for_calls(waits(now_in_window));
            publish();
        }
    }
    if (rule == nullptr) return;
    tripping_count_ = rules_.failures(at, now_in_window);
    if (machine_.state() == circuit_state::closed) {
        moved(machine_.trip(limits_of(config_.get()), at, break_for, uniform), at, wall, rule);
        return;
    }
    if (env_->has_listeners()) {
        journal_.queue(*env_, [&] {
            event e{.kind = event_kind::would_have_tripped, .policy_kind = policy_kind, .policy = name()};
            e.from = e.to = machine_.state();
            e.failure_count = tripping_count_;
            e.reason = rule;
            if (auto last = journal_.last_error()) {
                e.error_type = std::move(last->type);
                e.error = std::move(last->message);
            }
            e.at = at;
            e.wall = wall;
            e.generation = machine_.generation();
            return e;
        });
    }
    waits_for_calls_ = false;
    rules_.clear(close_positions(), successes_in_epoch());
    if (stripes_) stripes_->renumber();
    publish();
}

/// With mutex_. All that goes with a change of state, but for telling of it.
inline void breaker_core::moved(const std::optional<transition>& change, time_point at, wall_time wall,
                                std::string_view reason) {
    if (!change) return;
    if (env_->has_listeners() || config_.get().on_state_change) {
        const std::uint64_t successes = counts_.sum(success_in(change->generation - 1)) - successes_before_;
        journal_.queue(*env_, [&] { return event_of(*change, successes, at, wall, reason); });
    }
    journal_.note(*change, wall);
    successes_before_ = successes_in_epoch();
    waits_for_calls_ = false;
    // The positions first: a success that still got one is in the window that is cleared now.
    const std::uint64_t first = close_positions();
    rules_.clear(first, successes_before_);
    if (stripes_) stripes_->renumber();
    publish();
}

/// With mutex_, before the counts of the epoch that ends are cleared.
inline event breaker_core::event_of(const transition& change, std::uint64_t successes, time_point at,
                                    wall_time wall, std::string_view reason) const {
    event e{.kind = event_kind::state_changed, .policy_kind = policy_kind, .policy = name()};
    e.from = change.from;
    e.to = change.to;
    e.failure_count = change.from == circuit_state::closed && change.to != circuit_state::open
                          ? rules_.failures(at, rates(at))
                          : tripping_count_;
    e.success_count = successes;
    if (change.to == circuit_state::open) {
        e.delay = elapsed_between(at, machine_.opens_until());
        if (auto last = journal_.last_error()) {
            e.error_type = std::move(last->type);
            e.error = std::move(last->message);
        }
    }
    e.reason = reason;
    e.at = at;
    e.wall = wall;
    e.generation = change.generation;
    return e;
}

/// With mutex_. Before the time buckets get new numbers: stripes keep the old ones.
inline void breaker_core::keep_striped_successes(const breaker_rules_config& next, time_point at) {
    if (!stripes_ || !rules_.config().has_time_window() || !rules_.would_renumber(next)) return;
    const std::uint32_t last = rules_.bucket_at(at);
    for (std::uint32_t age = 0; age < time_buckets::bucket_count; ++age) {
        const std::uint32_t bucket = last - age;
        rules_.take_over(bucket, stripes_->sum(bucket, bucket));
        if (bucket == rules_.first_bucket()) break;
    }
}

inline void breaker_core::prepare_counts() {
    if (!stripes_ && rules_.config().has_rates() && rules_.config().has_time_window()) {
        stripes_ = std::make_unique<striped_buckets<time_buckets::bucket_count>>();
    }
    if (!latencies_ && rules_.config().slow_call_rate_threshold)
        latencies_ = std::make_unique<circuit_breaker_stats::latency_counts>();
}

/// With mutex_. From here on nobody takes a position for an earlier epoch, or without knowing of a wait.
/// Returns the first position after that.
inline std::uint64_t breaker_core::close_positions() noexcept {
    const std::uint64_t epoch = position_epoch(machine_.generation(), waits_for_calls_);
    std::uint64_t position = position_.load(std::memory_order_relaxed);
    while (!position_.compare_exchange_weak(position, epoch | (position & position_mask),
                                            std::memory_order_relaxed)) {}
    return position & position_mask;
}
/// With mutex_. Whether that is new; if so, publish() has to follow.
inline bool breaker_core::wait_for_calls(bool waits) noexcept {
    if (waits == std::exchange(waits_for_calls_, waits)) return false;
    close_positions();
    return true;
}

/// With mutex_ (or before anybody else knows the core).
inline void breaker_core::publish() noexcept {
    const auto& c = config_.get();
    const auto& rules = rules_.config();
    std::uint64_t word = machine_.generation() << breaker_word::generation_shift;
    word |= std::uint64_t{config_.version()} << breaker_word::version_shift;
    word |= static_cast<std::uint64_t>(machine_.state());
    if (rules.has_rates()) word |= rules.has_time_window() ? breaker_word::by_time : breaker_word::counted;
    if (waits_for_calls_) word |= breaker_word::waiting;
    if (c.slow_call_duration) word |= breaker_word::timed;
    if (c.record_if.examines_values() || c.ignore_if.examines_values()) word |= breaker_word::examined;
    if (machine_.state() == circuit_state::open)
        reopens_at_.store(machine_.opens_until().time_since_epoch().count(), std::memory_order_relaxed);
    word_.store(word, std::memory_order_release);
}

RESILIENCE_COLD inline void breaker_core::command(breaker_state next, std::string_view reason) {
    const time_point at = now();
    const wall_time wall = env_->clock().wall_now();
    {
        const lock_guard lock(mutex_);
        if (const auto* open = std::get_if<open_state>(&next))
            next = open_state{saturating_add(at, open->until.time_since_epoch()), open->openings};
        if (seen_as(machine_.state()) == circuit_state::closed)
            tripping_count_ = rules_.failures(at, rates(at));
        journal_.reason = reason;
        const transition change = machine_.command(next);
        if (change.to == circuit_state::closed) tripping_count_ = 0;
        moved(change, at, wall, reason.empty() ? std::string_view("by hand") : reason);
    }
    deliver();
}

RESILIENCE_COLD inline void breaker_core::update(circuit_breaker_config config) {
    require_valid(validate(config));
    if (config.name != name()) {
        raise(std::invalid_argument("circuit_breaker_config.name is '" + config.name +
                                    "'; the name of a circuit is fixed: '" + name() + "'"));
    }
    const time_point at = now();
    const wall_time wall = env_->clock().wall_now();
    const double uniform = draw();
    {
        const lock_guard lock(mutex_);
        const breaker_rules_config next = rules_of(config);
        keep_striped_successes(next, at);
        rules_.update(next, next_position(), at);
        prepare_counts();
        config_.replace(std::move(config));
        if (stripes_) stripes_->renumber();
        publish();
        moved(machine_.rejudge(limits_of(config_.get())), at, wall, "success_threshold");
        const bool counts =
            machine_.state() == circuit_state::closed || machine_.state() == circuit_state::metrics_only;
        if (counts) judge_rules(at, wall, {}, uniform);
    }
    deliver();
    tell_updated();
}

}}} // namespace resilience::RESILIENCE_ABI::detail
