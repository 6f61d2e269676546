// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>
#include <resilience/circuit_breaker/verdicts.hpp>
#include <resilience/event.hpp>
#include <resilience/mechanism/breaker_machine.hpp>
#include <resilience/stats.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Records when, why and how often a circuit failed and changed its state. For people: no decision depends on
/// it. Guarded by the circuit's mutex.
class circuit_history {
public:
    explicit circuit_history(wall_time now) noexcept : state_since_(now) {}

    void entered(const transition& change, wall_time at) noexcept {
        if (change.from == circuit_state::closed && change.to == circuit_state::open) ++trips_;
        const bool was_out = seen_as(change.from) != circuit_state::closed;
        const bool is_out = seen_as(change.to) != circuit_state::closed;
        if (seen_as(change.to) == circuit_state::open && change.from != change.to) opened_at_ = at;
        if (was_out && !is_out) opened_at_.reset();
        state_since_ = at;
    }
    void commanded(std::string_view reason) { reason_ = reason; }
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
    /// Notes a failure that is not late. Its type's name is still mangled.
    void remember_failure(wall_time at, circuit_breaker_stats::error_text mangled) noexcept {
        last_failure_at_ = at;
        last_error_ = std::move(mangled);
    }
    /// Keeps latencies from here on: calls are timed.
    void keep_latencies() {
        if (!latencies_) latencies_ = std::make_unique<circuit_breaker_stats::latency_counts>();
    }

    std::optional<circuit_breaker_stats::error_text> last_error() const {
        if (!last_error_) return std::nullopt;
        return circuit_breaker_stats::error_text{demangled(last_error_->type.c_str()), last_error_->message};
    }
    /// Sets the texts of the last failure in an event about its consequence.
    void describe(event& e) const {
        auto last = last_error();
        if (!last) return;
        e.error_type = std::move(last->type);
        e.error = std::move(last->message);
    }
    /// Sets the history's part of the statistics.
    void describe(circuit_breaker_stats& s) const {
        s.opened_at = opened_at_;
        s.last_failure_time = last_failure_at_;
        s.state_since = state_since_;
        s.trips = trips_;
        s.failures = failures_;
        s.late_results = late_results_;
        s.slow = slow_;
        if (latencies_) s.latencies = *latencies_;
        s.last_error = last_error();
        s.reason = reason_;
    }

private:
    std::optional<wall_time> opened_at_;
    std::optional<wall_time> last_failure_at_;
    wall_time state_since_;
    std::optional<circuit_breaker_stats::error_text> last_error_; // the type's name is mangled
    std::string reason_;                                          // given with the last command by hand
    std::uint64_t trips_ = 0;
    std::uint64_t failures_ = 0;
    std::uint64_t late_results_ = 0;
    std::uint64_t slow_ = 0;
    std::uint64_t tripping_failures_ = 0;
    std::unique_ptr<circuit_breaker_stats::latency_counts>
        latencies_; // null until calls are timed, then kept
};

}}} // namespace resilience::RESILIENCE_ABI::detail
