// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/mechanism/gcra.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

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

    /// The turn of `n` permits, from 1 to `permits`, and no earlier than `earliest`. None: it is too far ahead to be counted.
    rate_turn look(time_point now, time_point earliest, std::uint64_t n) noexcept {
        const time_point at = settle(now);
        time_point moment = std::max({at, earliest, earliest_to_log()});
        std::uint64_t held = held_;
        for (std::size_t i = 0; held > permits_ - n; ++i) {
            if (elapsed_between(time_of(i), time_point::max()) <= per_) return {};
            moment = std::max(moment, time_of(i) + per_);
            held -= permits_of(i);
        }
        if (elapsed_between(moment, time_point::max()) <= longest_ahead()) return {};
        const bool is_now = moment == at;
        return {is_now ? duration{0} : elapsed_between(now, moment), is_now ? now : moment,
                static_cast<std::uint64_t>(moment.time_since_epoch().count()), n};
    }
    void take(const rate_turn& t) { log(moment_of(t.mark), t.permits); }
    void give_back(time_point now, const rate_turn& t) noexcept {
        settle(now);
        const time_point at = end_of_grain(moment_of(t.mark));
        std::size_t first = 0;
        for (std::size_t count = count_; count > 0;) { // the first that is not before `at`
            const std::size_t half = count / 2;
            if (time_of(first + half) < at) first += half + 1, count -= half + 1;
            else count = half;
        }
        if (first < count_ && time_of(first) == at) remove(first, t.permits);
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
        while (n > 0 && count_ > 0) {
            const std::uint64_t some = std::min(n, permits_of(count_ - 1));
            remove(count_ - 1, some);
            n -= some;
        }
    }
    /// Permits that are there now; below 0: a debt.
    std::int64_t available(time_point now) noexcept {
        settle(now);
        return static_cast<std::int64_t>(permits_) - static_cast<std::int64_t>(held_);
    }

private:
    static constexpr std::uint64_t most_exact = 1'024;

    static time_point moment_of(std::uint64_t mark) noexcept {
        return time_point{duration{static_cast<duration::rep>(mark)}};
    }
    duration longest_ahead() const noexcept {
        return duration::max() - per_ > grain_ ? per_ + grain_ : duration::max();
    }
    time_point end_of_grain(time_point at) const noexcept {
        const duration past = at.time_since_epoch() % grain_;
        return past == duration{0} ? at : at - past + (past > duration{0} ? grain_ : duration{0});
    }
    /// Turns are given in the order of their moments.
    time_point earliest_to_log() const noexcept {
        return count_ == 0 ? time_point::min() : time_of(count_ - 1) - (grain_ - duration{1});
    }
    time_point settle(time_point now) noexcept {
        last_ = std::max(last_, now);
        while (count_ > 0 && elapsed_between(time_of(0), last_) >= per_) {
            held_ -= permits_of(0);
            first_ = (first_ + 1) % capacity();
            --count_;
        }
        return last_;
    }

    // The log is a ring of entries, by time, and no two of one time.
    std::size_t capacity() const noexcept { return ring_.size() / 2; }
    std::uint64_t& word(std::size_t entry, std::size_t which) noexcept {
        return ring_[(first_ + entry) % capacity() * 2 + which];
    }
    time_point time_of(std::size_t entry) const noexcept {
        return moment_of(ring_[(first_ + entry) % capacity() * 2]);
    }
    std::uint64_t& permits_of(std::size_t entry) noexcept { return word(entry, 1); }
    void log(time_point moment, std::uint64_t n) {
        const time_point at = end_of_grain(moment);
        if (count_ == 0 || time_of(count_ - 1) < at) {
            if (count_ == capacity()) grow();
            word(count_, 0) = static_cast<std::uint64_t>(at.time_since_epoch().count());
            permits_of(count_++) = 0;
        }
        permits_of(count_ - 1) += n;
        held_ += n;
    }
    void grow() {
        std::vector<std::uint64_t> larger(std::max<std::size_t>(4 * capacity(), 16));
        for (std::size_t i = 0; i < 2 * count_; ++i) larger[i] = word(i / 2, i % 2);
        ring_.swap(larger);
        first_ = 0;
    }
    void remove(std::size_t entry, std::uint64_t n) noexcept {
        const std::uint64_t some = std::min(n, permits_of(entry));
        held_ -= some;
        permits_of(entry) -= some;
        if (permits_of(entry) > 0) return;
        for (--count_; entry < count_; ++entry) {
            word(entry, 0) = word(entry + 1, 0);
            permits_of(entry) = permits_of(entry + 1);
        }
    }

    std::uint64_t permits_;
    duration per_;
    duration grain_;
    std::vector<std::uint64_t> ring_; // a time and permits for each entry
    std::size_t first_ = 0;           // entry, in the ring
    std::size_t count_ = 0;
    std::uint64_t held_ = 0; // permits in it
    time_point last_ = time_point::min();
};

}}} // namespace resilience::RESILIENCE_ABI::detail
