// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/mechanism/gcra.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Meters a rate that holds for every window of that length, wherever it begins: a log of the permits that were given in the
/// last window, and of those that are promised. Up to 1,024 permits it is exact. Beyond, permits of one 64th of the window
/// are logged as one, at its end, so that they come back by that much too late; never too early.
///
/// Pure: the time is an argument. A time before the last one counts as that.
class sliding_log {
public:
    sliding_log(std::uint64_t permits, duration per) noexcept
        : permits_(permits), per_(per),
          grain_(permits <= most_exact ? duration{1} : (per - duration{1}) / 64 + duration{1}) {}

    std::uint64_t burst() const noexcept { return permits_; }

    /// The turn of `n` permits, from 1 to burst, and no earlier than `earliest`. Empty: it is too far ahead to be counted.
    std::optional<rate_turn> look(time_point now, time_point earliest, std::uint64_t n) {
        const time_point at = settle(now);
        time_point moment = std::max({at, earliest, earliest_to_log()});
        std::uint64_t held = held_;
        for (auto e = log_.begin(); held > permits_ - n; ++e) {
            if (elapsed_between(e->at, time_point::max()) <= per_) return std::nullopt;
            moment = std::max(moment, e->at + per_);
            held -= e->permits;
        }
        if (elapsed_between(moment, time_point::max()) <= saturated_per()) return std::nullopt;
        const bool is_now = moment == at;
        return rate_turn{is_now ? duration{0} : elapsed_between(now, moment), is_now ? now : moment,
                         static_cast<std::uint64_t>(moment.time_since_epoch().count()), n};
    }
    void take(const rate_turn& t) { log(moment_of(t.mark), t.permits); }
    void give_back(time_point now, const rate_turn& t) noexcept {
        settle(now);
        const time_point at = end_of_grain(moment_of(t.mark));
        const auto e = std::lower_bound(log_.begin(), log_.end(), at,
                                        [](const entry& a, time_point b) { return a.at < b; });
        if (e != log_.end() && e->at == at) remove(e, t.permits);
    }
    /// Takes `n` more permits, whether they are there or not: down to a debt of a burst.
    void charge(time_point now, std::uint64_t n) {
        const time_point at = settle(now);
        const std::uint64_t room = held_ < 2 * permits_ ? 2 * permits_ - held_ : 0;
        if (const std::uint64_t more = std::min(n, room); more > 0)
            log(std::max(at, earliest_to_log()), more);
    }
    void refund(time_point now, std::uint64_t n) noexcept {
        settle(now);
        while (n > 0 && !log_.empty()) {
            const std::uint64_t some = std::min(n, log_.back().permits);
            remove(std::prev(log_.end()), some);
            n -= some;
        }
    }
    /// Permits that are there now; below 0: a debt.
    std::int64_t available(time_point now) noexcept {
        settle(now);
        return static_cast<std::int64_t>(permits_) - static_cast<std::int64_t>(held_);
    }

private:
    duration saturated_per() const noexcept {
        return duration::max() - per_ > grain_ ? per_ + grain_ : duration::max();
    }
    static constexpr std::uint64_t most_exact = 1'024;
    struct entry {
        time_point at;
        std::uint64_t permits;
    };

    static time_point moment_of(std::uint64_t mark) noexcept {
        return time_point{duration{static_cast<duration::rep>(mark)}};
    }
    time_point end_of_grain(time_point at) const noexcept {
        const duration past = at.time_since_epoch() % grain_;
        return past == duration{0} ? at : at - past + (past > duration{0} ? grain_ : duration{0});
    }
    /// Turns are given in the order of their moments.
    time_point earliest_to_log() const noexcept {
        return log_.empty() ? time_point::min() : log_.back().at - (grain_ - duration{1});
    }
    void log(time_point moment, std::uint64_t n) {
        const time_point at = end_of_grain(moment);
        if (log_.empty() || log_.back().at < at) log_.push_back({at, n});
        else log_.back().permits += n;
        held_ += n;
    }
    void remove(std::deque<entry>::iterator e, std::uint64_t n) noexcept {
        const std::uint64_t some = std::min(n, e->permits);
        held_ -= some;
        e->permits -= some;
        if (e->permits == 0) log_.erase(e);
    }
    time_point settle(time_point now) noexcept {
        last_ = std::max(last_, now);
        while (!log_.empty() && elapsed_between(log_.front().at, last_) >= per_) {
            held_ -= log_.front().permits;
            log_.pop_front();
        }
        return last_;
    }

    std::uint64_t permits_;
    duration per_;
    duration grain_;
    std::deque<entry> log_;  // by time, and no two of one time
    std::uint64_t held_ = 0; // permits in it
    time_point last_ = time_point::min();
};

}}} // namespace resilience::RESILIENCE_ABI::detail
