// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/call/verdict.hpp>
#include <resilience/mechanism/backoff.hpp>
#include <resilience/mechanism/circuit_state.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The numbers of the config that the machine uses.
struct breaker_limits {
    unsigned success_threshold;
    unsigned half_open_max_calls;
    duration recovery_timeout;
    duration probe_lease;
    std::optional<recovery_backoff> backoff;
};

// Each state is a struct with the members that exist in that state only.

struct closed_state {};
struct open_state {
    time_point until;
    unsigned openings; ///< in a row, this one included
};
struct half_open_state {
    unsigned in_flight;
    unsigned passed;
    unsigned openings;                        ///< of the open state before
    time_point not_before{time_point::min()}; ///< a server asked for no probe before
};
/// disabled, forced_open or metrics_only; entered and left by hand only.
struct manual_state {
    circuit_state which;
};
using breaker_state = std::variant<closed_state, open_state, half_open_state, manual_state>;

constexpr circuit_state name_of(const breaker_state& s) noexcept {
    if (const auto* manual = std::get_if<manual_state>(&s)) return manual->which;
    if (std::holds_alternative<open_state>(s)) return circuit_state::open;
    return std::holds_alternative<half_open_state>(s) ? circuit_state::half_open : circuit_state::closed;
}

/// The open state after `openings` in a row. `break_for` is the length that the failure asked for, if any.
/// `random_share` in [0, 1) feeds the jitter.
constexpr open_state next_opening(unsigned openings, const breaker_limits& limits, time_point now,
                                  std::optional<duration> break_for, double random_share) noexcept {
    const unsigned next = openings == ~0U ? openings : openings + 1;
    duration lasts = limits.recovery_timeout;
    if (break_for) {
        lasts = *break_for > duration{0} ? *break_for : duration{0};
    } else if (limits.backoff) {
        const backoff_schedule growth{backoff::exponential,
                                      limits.recovery_timeout,
                                      std::max(limits.backoff->cap, limits.recovery_timeout),
                                      limits.backoff->multiplier,
                                      limits.backoff->jitter,
                                      0.5};
        lasts = delay_of(growth, next, duration{0}, random_share);
    }
    return {saturating_add(now, lasts), next};
}

/// The answer to a call: admitted as usual or as a probe, or refused.
enum class admission_kind : std::uint8_t { normal, probe, refused };
struct admission_answer {
    breaker_state next;
    admission_kind how;
    duration retry_after{-1}; ///< time to the next probe; negative if not known
};

constexpr admission_answer admit(closed_state s) noexcept { return {s, admission_kind::normal}; }
constexpr admission_answer admit(open_state s, time_point now) noexcept {
    if (now < s.until) return {s, admission_kind::refused, elapsed_between(now, s.until)};
    return {half_open_state{1, 0, s.openings}, admission_kind::probe}; // this call is the first probe
}
constexpr admission_answer admit(half_open_state s, const breaker_limits& limits) noexcept {
    if (s.in_flight >= limits.half_open_max_calls || s.in_flight + s.passed >= limits.success_threshold) {
        return {s, admission_kind::refused};
    }
    ++s.in_flight;
    return {s, admission_kind::probe};
}
constexpr admission_answer admit(manual_state s) noexcept {
    return {s, s.which == circuit_state::forced_open ? admission_kind::refused : admission_kind::normal};
}

constexpr admission_answer admit(const breaker_state& s, const breaker_limits& limits,
                                 time_point now) noexcept {
    if (const auto* open = std::get_if<open_state>(&s)) return admit(*open, now);
    if (const auto* half = std::get_if<half_open_state>(&s)) {
        if (now < half->not_before)
            return {s, admission_kind::refused, elapsed_between(now, half->not_before)};
        return admit(*half, limits);
    }
    if (const auto* manual = std::get_if<manual_state>(&s)) return admit(*manual);
    return admit(closed_state{});
}

/// The state after a probe's verdict. An ignored probe only gives its place back.
constexpr breaker_state after_probe(half_open_state s, verdict v, const breaker_limits& limits,
                                    time_point now, std::optional<duration> break_for,
                                    double random_share) noexcept {
    if (s.in_flight > 0) --s.in_flight;
    switch (v) {
    case verdict::ignored: return s;
    case verdict::failure: return next_opening(s.openings, limits, now, break_for, random_share);
    case verdict::success: break;
    }
    if (++s.passed < limits.success_threshold) return s;
    return closed_state{};
}

/// A change of state. It begins a generation; generations are numbered without gaps.
struct transition {
    circuit_state from;
    circuit_state to;
    std::uint64_t generation; ///< the new one
};

/// The only writer of a circuit's state: applies the pure functions above and numbers the generations. It has
/// no lock, clock or callback. Not thread-safe.
class breaker_machine {
public:
    struct permission {
        admission_kind how;
        duration retry_after{-1};
        time_point lease_end = time_point::max(); ///< of a probe; settle() wants it back
        std::optional<transition> change;
    };

    circuit_state state() const noexcept { return name_of(state_); }
    std::uint64_t generation() const noexcept { return generation_; }
    /// When an open circuit admits its first probe; time_point::max() in every other state.
    time_point opens_until() const noexcept {
        const auto* open = std::get_if<open_state>(&state_);
        return open != nullptr ? open->until : time_point::max();
    }
    unsigned probes_passed() const noexcept {
        const auto* half = std::get_if<half_open_state>(&state_);
        return half != nullptr ? half->passed : 0;
    }
    unsigned probes_in_flight() const noexcept {
        const auto* half = std::get_if<half_open_state>(&state_);
        return half != nullptr ? half->in_flight : 0;
    }

    /// Fails a probe whose lease is over, as of the lease's end, as if a timer had fired then. Must be called
    /// before admit and settle.
    std::optional<transition> expire(const breaker_limits& limits, time_point now, double random_share) {
        const auto* half = std::get_if<half_open_state>(&state_);
        if (half == nullptr || leases_.empty()) return std::nullopt;
        const time_point first = *std::min_element(leases_.begin(), leases_.end());
        if (now < first) return std::nullopt;
        return move_to(next_opening(half->openings, limits, first, std::nullopt, random_share));
    }
    /// Admits or refuses a call. A probe's lease never ends before the call's own `deadline`.
    permission admit(const breaker_limits& limits, time_point now, time_point deadline) {
        const admission_answer answer = resilience::admit(state_, limits, now);
        if (answer.how == admission_kind::probe)
            leases_.reserve(leases_.size() + 1); // may throw, so it comes before any change
        permission given{answer.how, answer.retry_after, time_point::max(), move_to(answer.next)};
        if (answer.how == admission_kind::probe) {
            given.lease_end = saturating_add(now, limits.probe_lease);
            if (deadline != time_point::max()) given.lease_end = std::max(given.lease_end, deadline);
            leases_.push_back(given.lease_end);
        }
        return given;
    }
    /// Takes the verdict on a probe of this generation.
    std::optional<transition> settle(verdict v, time_point lease_end, const breaker_limits& limits,
                                     time_point now, std::optional<duration> break_for, double random_share) {
        const auto* half = std::get_if<half_open_state>(&state_);
        if (half == nullptr) return std::nullopt;
        if (const auto lease = std::find(leases_.begin(), leases_.end(), lease_end); lease != leases_.end()) {
            leases_.erase(lease); // equal ends are interchangeable
        }
        return move_to(after_probe(*half, v, limits, now, break_for, random_share));
    }
    /// The moment until which a half-open circuit refuses probes; time_point::min() if it does not.
    time_point held_until() const noexcept {
        const auto* half = std::get_if<half_open_state>(&state_);
        return half != nullptr ? half->not_before : time_point::min();
    }
    /// Opens a closed circuit that met a rule.
    std::optional<transition> trip(const breaker_limits& limits, time_point now,
                                   std::optional<duration> break_for, double random_share) {
        return move_to(next_opening(0, limits, now, break_for, random_share));
    }
    /// Admits no probe before `moment`: an open circuit stays open until then, a half-open one keeps its place.
    void hold_until(time_point moment) noexcept {
        if (auto* open = std::get_if<open_state>(&state_)) open->until = std::max(open->until, moment);
        if (auto* half = std::get_if<half_open_state>(&state_))
            half->not_before = std::max(half->not_before, moment);
    }
    /// Applies new limits. The passed probes may now be enough. Otherwise a circuit with no probe in flight
    /// and no place for another would be half-open for ever.
    std::optional<transition> rejudge(const breaker_limits& limits) {
        const auto* half = std::get_if<half_open_state>(&state_);
        if (half == nullptr || half->passed < limits.success_threshold) return std::nullopt;
        return move_to(closed_state{});
    }
    /// A change by hand. It always begins a new generation, so that no call in flight counts any more.
    transition command(breaker_state next) { return start_generation(next); }

private:
    std::optional<transition> move_to(breaker_state next) {
        if (next.index() == state_.index()) {
            state_ = next;
            return std::nullopt;
        }
        return start_generation(next);
    }
    transition start_generation(breaker_state next) {
        const circuit_state from = state();
        state_ = next;
        leases_.clear();
        return {from, state(), ++generation_};
    }

    breaker_state state_ = closed_state{};
    std::uint64_t generation_ = 1;
    std::vector<time_point> leases_; // of the probes in flight
};

}} // namespace resilience::RESILIENCE_ABI
