// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/rejection.hpp>
#include <resilience/call/time.hpp>
#include <resilience/circuit_breaker/config.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/mechanism/circuit_state.hpp>
#include <resilience/mechanism/rate_window.hpp>

#include <cstdint>
#include <variant>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The word of a circuit that calls read without a lock. From the low end: state, flags, the config's
/// version, the generation.
class published_state {
public:
    /// They fit into a byte.
    enum flag : std::uint64_t {
        counts_results = 0x08,      ///< a success takes a position in the sequence of results (count window)
        counts_by_time = 0x10,      ///< a success enters a bucket (time window)
        below_minimum_calls = 0x20, ///< the next success may trip: it takes the mutex
        timed = 0x40,               ///< calls are timed, to find slow ones
        looks_at_values = 0x80,     ///< a predicate looks at values, which the fast path does not
    };

    constexpr published_state() noexcept = default;
    constexpr published_state(circuit_state state, std::uint64_t flags, std::uint16_t config_version,
                              std::uint64_t generation) noexcept
        : word_(code_of(state) | flags | (std::uint64_t{config_version} << version_shift) |
                (generation << generation_shift)) {}
    explicit constexpr published_state(std::uint64_t word) noexcept : word_(word) {}
    constexpr std::uint64_t word() const noexcept { return word_; }
    friend constexpr bool operator==(const published_state&, const published_state&) noexcept = default;

    constexpr circuit_state state() const noexcept {
        return static_cast<circuit_state>((states >> (4 * (word_ & state_mask))) & 0x0f);
    }
    constexpr bool has(flag f) const noexcept { return (word_ & f) != 0; }
    constexpr std::uint16_t config_version() const noexcept {
        return static_cast<std::uint16_t>(word_ >> version_shift);
    }
    constexpr std::uint64_t generation() const noexcept { return word_ >> generation_shift; }

    /// True if every call is admitted, and none is a probe.
    constexpr bool admits_all() const noexcept { return (word_ & may_refuse) == 0; }
    /// True if this word is enough to admit a call, and its success is settled without a look at its value.
    constexpr bool allows_fast_path() const noexcept { return (word_ & (may_refuse | looks_at_values)) == 0; }
    /// True if a success only leaves a count.
    constexpr bool needs_count_only() const noexcept {
        return (word_ & (needs_mutex_mask | counts_results | counts_by_time)) == 0;
    }
    /// True if a success is settled under the mutex.
    constexpr bool needs_mutex() const noexcept { return (word_ & needs_mutex_mask) != 0; }

private:
    // A state's code: 0 closed, 1 disabled, 2 metrics_only; with the bit may_refuse: 4 open, 5 half_open, 6 forced_open.
    // Each constant has a digit for each: the states by their codes, and the codes by the states.
    static constexpr std::uint64_t state_mask = 0x07, may_refuse = 0x04;
    static constexpr std::uint64_t states = 0x4210530, codes = 0x261540;
    static constexpr std::uint64_t code_of(circuit_state state) noexcept {
        return (codes >> (4 * static_cast<unsigned>(state))) & 0x0f;
    }
    static constexpr std::uint64_t needs_mutex_mask = state_mask | below_minimum_calls | timed;
    static constexpr unsigned version_shift = 8;
    static constexpr unsigned generation_shift = 24;

    std::uint64_t word_ = 0;
};

/// The flags of a circuit with that config.
std::uint64_t flags_of(const circuit_breaker_config& c);
constexpr std::uint64_t flags_of(window_fill filled) noexcept {
    return filled == window_fill::below_minimum_calls ? std::uint64_t{published_state::below_minimum_calls}
                                                      : 0;
}

/// The reason why a circuit in that state refuses a call, in static storage; null for the usual words. `retry_after` is the
/// time to the next probe, negative if not known: a half-open circuit knows it only while a server's hint holds it back.
constexpr const char* reason_to_refuse(circuit_state state, duration retry_after) noexcept {
    switch (state) {
    case circuit_state::half_open:
        return retry_after >= duration{0} ? "is half-open and waits for as long as the server asked"
                                          : "is half-open and all its probe places are taken";
    case circuit_state::forced_open: return "is forced open";
    default: return nullptr;
    }
}

/// Publishes a circuit's state for calls.
class state_publisher {
public:
    /// Acquire: a call that reads a generation sees the windows cleared for it.
    published_state get() const noexcept { return published_state(word_.load(std::memory_order_acquire)); }
    /// Relaxed: for a caller that compares it with the word that admitted it. The generation in it identifies
    /// late results, and nothing else depends on it.
    published_state peek() const noexcept { return published_state(word_.load(std::memory_order_relaxed)); }

    /// Called under the owner's mutex, by one writer. An open circuit admits its next probe at `reopens_at`.
    void publish_locked(published_state next, time_point reopens_at) noexcept {
        if (next.state() == circuit_state::open)
            reopens_at_.store(reopens_at.time_since_epoch().count(), std::memory_order_relaxed);
        word_.store(next.word(), std::memory_order_release);
    }

    /// True if state and coarse clock, which is late by at most `tick`, are enough to be sure that a call is
    /// rejected now. Then sets all of `why` but the policy's name.
    RESILIENCE_INLINE bool surely_open(const time_source& clock, duration tick,
                                       rejection& why) const noexcept {
        const circuit_state seen = get().state();
        if (seen == circuit_state::forced_open) {
            why = {.code = errc::circuit_open, .reason = reason_to_refuse(seen, duration{-1})};
            return true;
        }
        if (seen != circuit_state::open) return false;
        const time_point reopens_at{duration{reopens_at_.load(std::memory_order_relaxed)}};
        const duration left = saturating_sub(reopens_at, clock.coarse_now());
        if (left <= tick) return false; // the exact clock must decide
        why = {.code = errc::circuit_open, .retry_after = left};
        return true;
    }

private:
    // Invariant: describes the circuit as of the last publish_locked(), which alone writes it. Release pairs
    // with get().
    atomic<std::uint64_t> word_{0};
    // Invariant: the time of the next probe, in monotonic nanoseconds, as of the last generation that was
    // open. It is stored only before word_ says open, so a call that reads `open` reads this time or a later
    // one. Relaxed: word_ orders it.
    atomic<std::int64_t> reopens_at_{0};
};

/// An admitted call carries it to its settlement.
struct breaker_permit {
    published_state admitted{};               // the state published at admission
    time_point start{};                       // set if the call is timed
    time_point lease_end = time_point::max(); // set if the call is a probe

    bool is_probe() const noexcept { return admitted.state() == circuit_state::half_open; }
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::uint64_t flags_of(const circuit_breaker_config& c) {
    std::uint64_t flags = 0;
    if (c.failure_rate_threshold || c.slow_call_rate_threshold)
        flags |= std::holds_alternative<time_window>(c.window) ? published_state::counts_by_time
                                                               : published_state::counts_results;
    if (c.slow_call_duration) flags |= published_state::timed;
    if (c.record_if.examines_values() || c.ignore_if.examines_values())
        flags |= published_state::looks_at_values;
    return flags;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
