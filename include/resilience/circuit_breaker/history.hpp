// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/circuit_breaker/noted_failure.hpp>
#include <resilience/circuit_breaker/verdicts.hpp>
#include <resilience/mechanism/breaker_machine.hpp>
#include <resilience/stats.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Records when, why and how often a circuit failed and changed its state. For people: no decision depends on
/// it. Guarded by the circuit's mutex.
class circuit_history {
public:
    explicit circuit_history(time_point now) noexcept : state_since_(now) {}

    void entered(const transition& change, time_point at) noexcept {
        if (change.from == circuit_state::closed && change.to == circuit_state::open) ++trips_;
        const bool was_out = seen_as(change.from) != circuit_state::closed;
        const bool is_out = seen_as(change.to) != circuit_state::closed;
        if (seen_as(change.to) == circuit_state::open && change.from != change.to)
            opened_at_ = shown_moment(at);
        if (was_out && !is_out) opened_at_ = {};
        state_since_ = shown_moment(at);
    }
    void commanded(std::string_view reason) {
        reason_ = reason.empty() ? nullptr : std::make_shared<const std::string>(reason);
    }
    /// Notes the failures in the window when a rule was met or a closed circuit was set by hand.
    void tripped_by(std::uint64_t failures) noexcept { tripping_failures_ = failures; }
    std::uint64_t tripping_failures() const noexcept { return tripping_failures_; }

    void count_success(const call_timing& timing) noexcept {
        slow_ += timing.is_slow ? 1 : 0;
        if (timing.took && latencies_) latencies_->successes.record(*timing.took);
    }
    void count_failure(const call_timing& timing) noexcept {
        ++failures_;
        slow_ += timing.is_slow ? 1 : 0;
        if (timing.took && latencies_) latencies_->failures.record(*timing.took);
    }
    /// Counts a result of a call that began in an earlier generation.
    void count_late() noexcept { ++late_results_; }
    /// Notes a failure that is not late.
    void remember_failure(time_point at, noted_failure what) noexcept {
        last_failure_at_ = shown_moment(at);
        what.keep_type(last_failure_);
        last_failure_ = std::move(what);
    }
    /// Keeps latencies from here on: calls are timed.
    void keep_latencies() {
        if (!latencies_) latencies_ = std::make_unique<circuit_breaker_stats::latency_counts>();
    }

    /// The last failure, for an event about its consequence; null if there was none.
    const noted_failure* last_failure() const noexcept {
        return last_failure_at_.has_been() ? &last_failure_ : nullptr;
    }
    /// Sets the history's part of the statistics but for last_error. Returns last_failure(). `wall(time)` gives the time
    /// on the wall; it is asked once about each.
    template <class Wall>
    const noted_failure* describe(circuit_breaker_stats& s, const Wall& wall) {
        if (opened_at_.has_been()) s.opened_at = opened_at_.on(wall);
        if (last_failure_at_.has_been()) s.last_failure_time = last_failure_at_.on(wall);
        s.state_since = state_since_.on(wall);
        s.trips = trips_;
        s.failures = failures_;
        s.late_results = late_results_;
        s.slow = slow_;
        if (latencies_) s.latencies = *latencies_;
        if (reason_) s.reason = *reason_;
        return last_failure();
    }

private:
    /// A moment, and the time on the wall by which it was shown first: it is shown by no other.
    class shown_moment {
    public:
        /// None.
        shown_moment() noexcept = default;
        explicit shown_moment(time_point at) noexcept : at_(at) {}

        bool has_been() const noexcept { return at_ != time_point::min(); }
        template <class Wall>
        wall_time on(const Wall& wall) {
            if (shown_ == wall_time::min()) shown_ = wall(at_);
            return shown_;
        }

    private:
        time_point at_ = time_point::min();
        wall_time shown_ = wall_time::min(); // until it is shown
    };

    shown_moment opened_at_;
    shown_moment last_failure_at_;
    shown_moment state_since_;
    noted_failure last_failure_;                // if there is last_failure_at_
    std::shared_ptr<const std::string> reason_; // given with the last command by hand; null for none
    std::uint64_t trips_ = 0;
    std::uint64_t failures_ = 0;
    std::uint64_t late_results_ = 0;
    std::uint64_t slow_ = 0;
    std::uint64_t tripping_failures_ = 0;
    std::unique_ptr<circuit_breaker_stats::latency_counts>
        latencies_; // null until calls are timed, then kept
};

}}} // namespace resilience::RESILIENCE_ABI::detail
