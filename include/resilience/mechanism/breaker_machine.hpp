// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/call/verdict.hpp>
#include <resilience/mechanism/breaker_states.hpp>
#include <resilience/mechanism/circuit_state.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {

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
    /// The moment before which no probe is admitted: of an open circuit, or of a half-open one that a server
    /// told to wait; else time_point::min().
    time_point next_probe() const noexcept {
        if (const auto* open = std::get_if<open_state>(&state_)) return open->until;
        const auto* half = std::get_if<half_open_state>(&state_);
        return half != nullptr ? half->not_before : time_point::min();
    }
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

    /// Fails the probes whose lease is over, each as of its lease's end, as if a timer had fired then. Must be
    /// called before admit and settle.
    std::optional<transition> expire(const breaker_limits& limits, time_point now, double random_share) {
        while (auto* half = std::get_if<half_open_state>(&state_)) {
            const auto first = std::min_element(leases_.begin(), leases_.end());
            if (first == leases_.end() || now < *first) break;
            const time_point end = *first;
            leases_.erase(first);
            half_open_state s = *half;
            --s.in_flight;
            s.idle_since = end;
            breaker_state next = after_bad_probe(s, limits, end, std::nullopt, random_share);
            if (auto* open = std::get_if<open_state>(&next)) open->late = s.late;
            if (auto change = move_to(next)) return change;
        }
        return std::nullopt;
    }
    /// Closes a half-open circuit that has seen no probe for half_open_quiet.
    std::optional<transition> settle_down(const breaker_limits& limits, time_point now) {
        const auto* half = std::get_if<half_open_state>(&state_);
        if (half == nullptr || half->in_flight > 0 || !limits.half_open_quiet ||
            saturating_sub(now, half->idle_since) < *limits.half_open_quiet)
            return std::nullopt;
        return move_to(closed_state{});
    }
    /// Makes an open circuit half-open without a call, if more probes than are enough have succeeded after
    /// their lease: calls last longer than that by nature. It is to be judged then: see rejudge().
    std::optional<transition> end_opening(const breaker_limits& limits, time_point now) {
        const auto* open = std::get_if<open_state>(&state_);
        if (open == nullptr || now < open->until || open->late == 0 || !limits.are_enough(open->late - 1))
            return std::nullopt;
        return move_to(half_open_state{0, open->late, open->openings, 0, open->late, now});
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
    /// True if a permit of this generation is a probe whose lease is over.
    bool has_expired(time_point lease_end) const noexcept {
        return std::holds_alternative<half_open_state>(state_) &&
               std::find(leases_.begin(), leases_.end(), lease_end) == leases_.end();
    }
    /// Makes a lease end at `until`, unless it ends later. Returns its end; empty if there is no such lease.
    std::optional<time_point> renew(time_point lease_end, time_point until) noexcept {
        const auto lease = std::find(leases_.begin(), leases_.end(), lease_end);
        if (lease == leases_.end()) return std::nullopt;
        return *lease = std::max(lease_end, until);
    }
    /// Takes the verdict on a probe of this generation.
    std::optional<transition> settle(verdict v, time_point lease_end, const breaker_limits& limits,
                                     time_point now, std::optional<duration> break_for, double random_share,
                                     duration hint = {}) {
        const auto* half = std::get_if<half_open_state>(&state_);
        if (half == nullptr) return std::nullopt;
        if (const auto lease = std::find(leases_.begin(), leases_.end(), lease_end); lease != leases_.end()) {
            leases_.erase(lease); // equal ends are interchangeable
        }
        return held(move_to(after_probe(*half, v, limits, now, break_for, random_share)), now, hint);
    }
    /// True if a success of that generation, settled after the end of its lease, is one of a probe since the
    /// circuit was last closed: the other side is well. It counts for the next half-open.
    bool take_late(std::uint64_t generation, time_point lease_end, time_point now) noexcept {
        if (generation < first_of_outage_ || lease_end > now) return false;
        if (auto* open = std::get_if<open_state>(&state_)) return ++open->late > 0;
        auto* half = std::get_if<half_open_state>(&state_);
        return half != nullptr && ++half->late > 0;
    }
    /// Opens a closed circuit that met a rule.
    std::optional<transition> trip(const breaker_limits& limits, time_point now,
                                   std::optional<duration> break_for, double random_share,
                                   duration hint = {}) {
        return held(move_to(next_opening(0, limits, now, break_for, random_share)), now, hint);
    }
    /// Applies new limits. The probes so far may now be enough, or too bad. Otherwise a circuit with no probe
    /// in flight and no place for another would be half-open for ever.
    std::optional<transition> rejudge(const breaker_limits& limits, time_point now, double random_share) {
        const auto* half = std::get_if<half_open_state>(&state_);
        if (half == nullptr) return std::nullopt;
        if (limits.are_enough(half->passed)) return move_to(closed_state{});
        if (half->bad < limits.bad_probes) return std::nullopt;
        return move_to(next_opening(half->openings, limits, now, std::nullopt, random_share));
    }
    /// The state of a circuit that opens by hand as if it tripped, or as if a probe failed.
    open_state opening(const breaker_limits& limits, time_point now, double random_share) const noexcept {
        unsigned openings = 0;
        if (const auto* open = std::get_if<open_state>(&state_)) openings = open->openings;
        if (const auto* half = std::get_if<half_open_state>(&state_)) openings = half->openings;
        return next_opening(openings, limits, now, std::nullopt, random_share);
    }
    /// A change by hand. It always begins a new generation, so that no call in flight counts any more.
    transition command(breaker_state next) {
        first_of_outage_ = generation_ + 1;
        return start_generation(next);
    }

private:
    /// Admits no probe before the server's hint has passed: an open circuit stays open, a half-open one keeps
    /// its places, and is not quiet meanwhile.
    std::optional<transition> held(std::optional<transition> change, time_point now, duration hint) noexcept {
        if (hint <= duration{0}) return change;
        const time_point until = saturating_add(now, hint);
        if (auto* open = std::get_if<open_state>(&state_)) open->until = std::max(open->until, until);
        if (auto* half = std::get_if<half_open_state>(&state_)) {
            half->not_before = std::max(half->not_before, until);
            half->idle_since = std::max(half->idle_since, until);
        }
        return change;
    }
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
        ++generation_;
        if (from == circuit_state::closed) first_of_outage_ = generation_;
        return {from, state(), generation_};
    }

    breaker_state state_ = closed_state{};
    std::uint64_t generation_ = 1;
    std::uint64_t first_of_outage_ = 1; // the generation that followed the last closed one, or a command
    std::vector<time_point> leases_;    // of the probes in flight
};

}} // namespace resilience::RESILIENCE_ABI
