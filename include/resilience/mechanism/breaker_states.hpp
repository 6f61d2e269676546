// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/call/verdict.hpp>
#include <resilience/mechanism/backoff.hpp>
#include <resilience/mechanism/circuit_state.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <variant>

// The states of a circuit, and the pure functions from a state and an event to the next state.

namespace resilience { inline namespace RESILIENCE_ABI {

/// The numbers of the config that the machine uses.
struct breaker_limits {
    unsigned success_threshold;
    unsigned half_open_max_calls;
    duration recovery_timeout;
    duration probe_lease;
    std::optional<recovery_backoff> backoff;
    unsigned bad_probes = 1;                   ///< so many of success_threshold probes reopen it
    std::optional<duration> half_open_quiet{}; ///< closes a half-open circuit that sees no probe for so long

    /// True if even with bad probes in all places that are left, the share that reopens is out of reach.
    constexpr bool are_enough(unsigned passed) const noexcept {
        return std::uint64_t{passed} + bad_probes > success_threshold;
    }
    /// The passed probes that a half-open begins with: one in time is needed in any case.
    constexpr unsigned passed_at_first(unsigned late) const noexcept {
        return std::min(late, success_threshold - bad_probes);
    }
};

// Each state is a struct with the members that exist in that state only.

struct closed_state {};
struct open_state {
    time_point until;
    unsigned openings; ///< in a row, this one included
    unsigned late = 0; ///< probes that succeeded after their lease: the next half-open begins with them
};
struct half_open_state {
    unsigned in_flight;
    unsigned passed;
    unsigned openings;       ///< of the open state before
    unsigned bad = 0;        ///< probes that failed, were slow, or outlived their lease
    unsigned late = 0;       ///< as in the open state; for the next, if a lease that ends opens this one
    time_point idle_since{}; ///< the last admission or settlement of a probe
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
constexpr admission_answer admit(open_state s, const breaker_limits& limits, time_point now) noexcept {
    if (now < s.until) return {s, admission_kind::refused, elapsed_between(now, s.until)};
    return {half_open_state{1, limits.passed_at_first(s.late), s.openings, 0, s.late, now},
            admission_kind::probe}; // this call is the first probe
}
constexpr admission_answer admit(half_open_state s, const breaker_limits& limits, time_point now) noexcept {
    if (s.not_before > now) return {s, admission_kind::refused, elapsed_between(now, s.not_before)};
    if (s.in_flight >= limits.half_open_max_calls ||
        s.in_flight + s.passed + s.bad >= limits.success_threshold) {
        return {s, admission_kind::refused};
    }
    ++s.in_flight;
    s.idle_since = now;
    return {s, admission_kind::probe};
}
constexpr admission_answer admit(manual_state s) noexcept {
    return {s, s.which == circuit_state::forced_open ? admission_kind::refused : admission_kind::normal};
}

constexpr admission_answer admit(const breaker_state& s, const breaker_limits& limits,
                                 time_point now) noexcept {
    if (const auto* open = std::get_if<open_state>(&s)) return admit(*open, limits, now);
    if (const auto* half = std::get_if<half_open_state>(&s)) return admit(*half, limits, now);
    if (const auto* manual = std::get_if<manual_state>(&s)) return admit(*manual);
    return admit(closed_state{});
}

/// The state after a bad probe. A failure that asks for a break reopens at once.
constexpr breaker_state after_bad_probe(half_open_state s, const breaker_limits& limits, time_point now,
                                        std::optional<duration> break_for, double random_share) noexcept {
    if (++s.bad < limits.bad_probes && !break_for) return s;
    return next_opening(s.openings, limits, now, break_for, random_share);
}
/// The state after a probe's verdict. An ignored probe only gives its place back.
constexpr breaker_state after_probe(half_open_state s, verdict v, const breaker_limits& limits,
                                    time_point now, std::optional<duration> break_for,
                                    double random_share) noexcept {
    if (s.in_flight > 0) --s.in_flight;
    s.idle_since = now;
    switch (v) {
    case verdict::ignored: return s;
    case verdict::failure: return after_bad_probe(s, limits, now, break_for, random_share);
    case verdict::success: break;
    }
    if (!limits.are_enough(++s.passed)) return s;
    return closed_state{};
}

}} // namespace resilience::RESILIENCE_ABI
