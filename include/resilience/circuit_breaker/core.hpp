// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_breaker/config.hpp>
#include <resilience/circuit_breaker/journal.hpp>
#include <resilience/circuit_breaker/success_counts.hpp>
#include <resilience/detail/striped_buckets.hpp>
#include <resilience/detail/striped_counters.hpp>
#include <resilience/policy.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The word that the closed path reads. From the low end: the state, flags, the version of the config,
/// the generation.
struct breaker_word {
    static constexpr std::uint64_t state_mask = 0x07; // circuit_state; closed is 0
    static constexpr std::uint64_t counted = 0x08;    // successes enter a count window
    static constexpr std::uint64_t by_time = 0x10;    // successes enter a time window
    static constexpr std::uint64_t waiting = 0x20;    // the next success may trip: take the mutex
    static constexpr std::uint64_t timed = 0x40;      // calls are timed, to find the slow ones
    static constexpr std::uint64_t examined = 0x80;   // a predicate looks at values: take the long way
    static constexpr unsigned version_shift = 8;
    static constexpr unsigned generation_shift = 24;

    /// A success that sees none of these leaves a count and nothing else.
    static constexpr std::uint64_t busy = state_mask | counted | by_time | waiting | timed;

    static constexpr std::uint64_t generation(std::uint64_t w) noexcept { return w >> generation_shift; }
    static constexpr std::uint16_t version(std::uint64_t w) noexcept {
        return static_cast<std::uint16_t>(w >> version_shift);
    }
};

/// What an admitted attempt carries to its settlement.
struct breaker_permit {
    std::uint64_t word = 0;
    time_point start{};                       // if timed
    time_point lease_end = time_point::max(); // of a probe
};

/// What an admitted attempt's result means for the circuit.
struct breaker_judgement {
    verdict what;
    std::optional<duration> break_for;       // of a failure: trips at once, for that long
    circuit_breaker_stats::error_text texts; // of a failure
};

/// The shared state of a circuit breaker: lock, clock and notification around the pure machine and its
/// rules. Successes while closed are settled by stripes alone; all else takes the mutex.
class breaker_core final : public registered, public std::enable_shared_from_this<breaker_core> {
public:
    static constexpr std::string_view policy_kind = "circuit_breaker";

    breaker_core(circuit_breaker_config config, std::shared_ptr<environment> env)
        : registered(config.name, std::move(env)), tick_(env_->clock().coarse_resolution()),
          label_(config.name), rules_(rules_of(config)), journal_(env_->clock().wall_now()),
          config_(std::move(config)) {
        prepare_counts();
        close_positions();
        publish();
    }

    std::string_view kind() const noexcept override { return policy_kind; }
    policy_snapshot snapshot() const override;
    std::optional<circuit_breaker_stats> circuit() const override { return stats(); }
    circuit_breaker_stats stats() const;
    const config_cell<circuit_breaker_config>& config() const noexcept { return config_; }

    /// Acquire: whoever sees a generation sees the windows as they were cleared for it.
    std::uint64_t word() const noexcept { return word_.load(std::memory_order_acquire); }
    circuit_state state() const noexcept {
        return static_cast<circuit_state>(word() & breaker_word::state_mask);
    }
    RESILIENCE_COLD time_point now() const noexcept { return env_->clock().now(); }

    /// A permit, or why not.
    bool admit(breaker_permit& permit, rejection& why, time_point deadline);
    /// Refuses where the word, and the coarse clock, are enough to be sure that the circuit stays open.
    RESILIENCE_INLINE bool surely_open(rejection& why) noexcept {
        const auto seen = static_cast<circuit_state>(word() & breaker_word::state_mask);
        if (seen == circuit_state::forced_open) {
            why = {.code = errc::circuit_open, .policy = label_, .reason = "is forced open"};
            counts_.add(rejected);
            return true;
        }
        if (seen != circuit_state::open) return false;
        const time_point coarse = env_->clock().coarse_now();
        const time_point reopens{duration{reopens_at_.load(std::memory_order_relaxed)}};
        const duration left = saturating_sub(reopens, coarse);
        if (left <= tick_) return false; // the exact clock has to decide
        why = {.code = errc::circuit_open, .policy = label_, .retry_after = left};
        counts_.add(rejected);
        return true;
    }
    void tell_rejected(const rejection& why, std::string_view operation);

    // Not noexcept, like all that may tell listeners: a thread may end inside of one.
    RESILIENCE_INLINE void succeed(std::uint64_t permitted, time_point start) {
        // Relaxed: a late success is told by the generation alone, and nothing else hangs on it.
        const std::uint64_t word = word_.load(std::memory_order_relaxed);
        if (word == permitted && (word & breaker_word::busy) == 0) [[likely]]
            counts_.add(success_in(breaker_word::generation(word)));
        else succeed_with_care({permitted, start});
    }
    void succeed(const breaker_permit& permit) { succeed_with_care(permit); }
    /// What the result means for the circuit. Runs code of the user's: the permit is still to be settled.
    breaker_judgement judge(const breaker_permit& permit, const attempt_result& result);
    /// A failure, whatever the predicates would say of it.
    breaker_judgement condemn(const breaker_permit& permit, const failure* why);
    /// The moment before which nothing is admitted, if a failure left or found the circuit open; else min().
    time_point settle(const breaker_permit& permit, breaker_judgement j);
    void ignore(const breaker_permit& permit);

    void command(breaker_state next, std::string_view reason);
    void update(circuit_breaker_config config);

private:
    // Successes are counted by generation modulo four: one that was found to be in time, and is added only when
    // the circuit is in another epoch already, must not break that one's row of failures.
    static constexpr std::size_t success_counters = 4;
    enum counter : std::size_t { late_success = success_counters, ignored, rejected, counters };
    static constexpr std::size_t success_in(std::uint64_t generation) noexcept {
        return generation % success_counters;
    }

    static constexpr unsigned position_bits = 48;
    static constexpr std::uint64_t position_mask = (std::uint64_t{1} << position_bits) - 1;
    /// What position_ says above the position: the generation, and below it whether successes are waited for.
    static constexpr std::uint64_t position_epoch(std::uint64_t generation, bool waits) noexcept {
        return (generation << (position_bits + 1)) | (std::uint64_t{waits ? 1U : 0U} << position_bits);
    }

    bool is_current(const breaker_permit& permit) const noexcept { // with mutex_
        return breaker_word::generation(permit.word) == machine_.generation();
    }
    double draw() const noexcept { return config_.get().recovery_backoff ? env_->random().uniform() : 0.0; }
    std::uint64_t next_position() const noexcept {
        return position_.load(std::memory_order_relaxed) & position_mask;
    }
    std::uint64_t successes_in_epoch() const noexcept { // with mutex_
        return counts_.sum(success_in(machine_.generation()));
    }

    const circuit_breaker_config& config_of(const breaker_permit& permit) const noexcept;
    void succeed_with_care(const breaker_permit& permit);
    bool count_in_window(const breaker_permit& permit) noexcept;
    bool count_in_time(const breaker_permit& permit) noexcept;
    void record_success(const breaker_permit& permit, bool slow, time_point now, wall_time wall);
    void take_success(const breaker_permit& permit, bool slow, time_point now, wall_time wall,
                      double uniform);
    time_point record_failure(const breaker_permit& permit, breaker_judgement j);
    time_point take_failure(const breaker_permit& permit, bool slow, breaker_judgement j, time_point now,
                            wall_time wall, double uniform);
    void count_failure(const breaker_permit& permit, bool slow, std::optional<duration> break_for,
                       time_point now, wall_time wall, double uniform);
    void expire_leases(time_point now, wall_time wall, double uniform);
    static verdict verdict_on(const attempt_result& result, const circuit_breaker_config& c);
    tally rates(time_point now) const;
    bool waits(const tally& in_window) const noexcept {
        return rules_.fill_of(in_window) == window_fill::below_minimum_calls;
    }
    void judge_rules(time_point now, wall_time wall, std::optional<duration> break_for, double uniform);
    void moved(const std::optional<transition>& change, time_point now, wall_time wall,
               std::string_view reason);
    event event_of(const transition& change, std::uint64_t successes, time_point now, wall_time wall,
                   std::string_view reason) const;
    void keep_striped_successes(const breaker_rules_config& next, time_point now);
    void prepare_counts();
    std::uint64_t close_positions() noexcept;
    bool wait_for_calls(bool waits) noexcept;
    void publish() noexcept;
    /// Without the mutex. A listener may drop the last handle: the core stays until all is told.
    void deliver() {
        const auto keep = shared_from_this();
        journal_.deliver(mutex_, *env_, config_);
    }

    // Invariant: describes machine_ and config_ as of the last publish(), which alone writes it, under
    // mutex_ and with release.
    alignas(64) atomic<std::uint64_t> word_{0};
    // Invariant: the moment of the next probe, in monotonic nanoseconds, of the last epoch that was open.
    // Written before word_ by the writer of word_ whenever that will say open, and never else; relaxed: who
    // sees word_ open sees the moment of that epoch or of a later one that was open.
    atomic<std::int64_t> reopens_at_{0};
    const duration tick_; // of the coarse clock
    const detail::name label_;
    // Invariant: position_epoch() of what the count window belongs to, and the next position in the sequence
    // of results. Without mutex_ a position is only taken in an epoch that is one's own and does not wait; so
    // close_positions(), a modification too, tells exactly who came before it. Relaxed: the window itself is
    // read under mutex_.
    alignas(64) atomic<std::uint64_t> position_{0};
    striped_counters<counters> counts_;
    std::unique_ptr<striped_buckets<time_buckets::bucket_count>>
        stripes_; // of a time window; set before it is published, then kept

    mutable mutex mutex_;
    breaker_machine machine_;     // guarded by mutex_, like all that follow
    mutable breaker_rules rules_; // reading moves it to the current bucket
    breaker_journal journal_;
    std::uint64_t failures_ = 0;
    std::uint64_t late_results_ = 0;
    std::uint64_t slow_ = 0;
    std::unique_ptr<circuit_breaker_stats::latency_counts> latencies_; // from the first slow_call_duration on
    std::uint64_t tripping_count_ = 0;                                 // the failures that tripped it
    std::uint64_t successes_before_ = 0; // successes_in_epoch() when the epoch began
    bool waits_for_calls_ = false;
    atomic<std::uint64_t> predicate_errors_{0};  // only ever added to; relaxed: a count orders nothing
    config_cell<circuit_breaker_config> config_; // replaced under mutex_
};

}}} // namespace resilience::RESILIENCE_ABI::detail
