// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/platform.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// What an alert_filter goes by; the values are valid.
struct alert_limits {
    /// After one went out, the next with the same key does not before this.
    duration quiet{};
    /// So many go out in a minute in the long run, and so many at once; both from 1.
    unsigned per_minute = 1;
    unsigned burst = 1;
    /// So many may wait; the next one is refused.
    std::size_t capacity = 1;
    /// What could not be sent is tried again after a pause, which doubles up to a bound: short enough that a receiver
    /// that is back hears of it soon.
    duration first_pause = std::chrono::seconds{30};
    duration longest_pause = std::chrono::minutes{5};
    /// In total; after these it is given up. With these pauses: an hour and 42 minutes after the first.
    unsigned tries = 24;
};

/// Decides which alerts go out and when. Those with the same key are one: the first goes out at once, what
/// comes within the quiet time after it is held and goes out as one at its end, the newest of them, with the
/// number of the others. Nothing that is held is lost, but for what comes while `capacity` keys wait. What could
/// not be sent waits again, unless something newer takes its place.
///
/// Those of a group tell of one thing, each what it is now: a new one takes the place of any that is held,
/// so that the last one that goes out is the last one that came, and one that merges takes its turn anew. All go
/// through one token bucket, in the order in which they came. Pure; not thread-safe. Each function costs time in
/// proportion to `capacity`.
template <class What>
class alert_filter {
public:
    using wall_time = std::chrono::system_clock::time_point;

    explicit alert_filter(const alert_limits& limits) noexcept
        : limits_(limits), interval_(duration{std::chrono::minutes{1}} / limits.per_minute) {}

    enum class answer { waits, merged, refused };

    /// Takes in what came at `now`. `group` may be empty: none. What is left in `what` has no further use; it is
    /// the caller's to destroy.
    answer offer(std::string_view key, std::string_view group, What& what, time_point now, wall_time wall) {
        auto found = slots_.find(key);
        const bool known = found != slots_.end();
        if (known && found->second.waiting) {
            ++deduplicated_;
            found->second.tries = 0;
            note_one_more(found->second, wall);
            std::swap(*found->second.waiting, what);
            if (!group.empty()) { // what it is now is told last
                overtake_held(found->second, group, now);
                found->second.turn = ++turns_;
            }
            return answer::merged;
        }
        if (waiting_ == limits_.capacity) {
            ++dropped_;
            if (known) note_one_more(found->second, wall);
            return answer::refused;
        }
        if (!known) {
            if (slots_.size() >= 2 * limits_.capacity) forget_one();
            found = slots_.emplace(std::string(key), slot{}).first;
        }
        slot& s = found->second;
        if (s.held_back == 0) s.first = wall;
        if (!group.empty()) overtake_held(s, group, now);
        s.group = group;
        s.last = wall;
        s.waiting = std::move(what);
        s.turn = ++turns_;
        s.limited = false;
        s.tries = 0;
        ++waiting_;
        return answer::waits;
    }

    struct taken {
        std::string key;
        What what;
        std::uint64_t held_back; // others that this one stands for
        wall_time first;
        wall_time last;
        std::uint64_t turn; // for the filter, like those that follow
        unsigned tries;
        unsigned failures;
    };
    /// The next one that may go out at `now`, if there is one. Followed by sent() or failed().
    std::optional<taken> take(time_point now) {
        auto next = slots_.end();
        for (auto it = slots_.begin(); it != slots_.end(); ++it) {
            if (!it->second.waiting || it->second.not_before > now) continue;
            if (next == slots_.end() || it->second.turn < next->second.turn) next = it;
        }
        if (next == slots_.end()) return std::nullopt;
        if (token_at() > now) {
            note_limited(now);
            return std::nullopt;
        }
        free_from_ = saturating_add(std::max(free_from_, now), interval_);
        slot& s = next->second;
        taken t{next->first, std::move(*s.waiting), s.held_back, s.first, s.last,
                s.turn,      s.tries + 1,           s.failures};
        s.waiting.reset();
        --waiting_;
        ++s.in_flight;
        s.held_back = 0;
        s.failures = 0;
        s.not_before = saturating_add(now, limits_.quiet);
        return t;
    }
    void sent(const taken& t) noexcept {
        if (const auto found = slots_.find(t.key); found != slots_.end()) --found->second.in_flight;
    }
    /// What was taken reached nobody, as is known at `now`. It waits again, unless a newer one of its key or group came
    /// meanwhile: that one counts it. False: it is given up; the next of its key counts it. Does not allocate.
    bool failed(taken& t, time_point now) noexcept {
        const auto found = slots_.find(t.key);
        if (found == slots_.end()) return false;
        slot& s = found->second;
        --s.in_flight;
        s.failures = t.failures + 1;
        s.not_before = saturating_add(now, pause_after(s.failures));
        slot& newest = newest_beside(s);
        const bool is_newest = newest.turn == t.turn;
        if (!is_newest && newest.waiting) {
            count(t, newest);
            ++deduplicated_;
            if (&newest != &s && s.waiting) give_way(s, newest); // held from now on
            return true;
        }
        if (!is_newest || t.tries >= limits_.tries) {
            count(t, s);
            return false;
        }
        if (waiting_ == limits_.capacity) {
            count(t, s);
            ++dropped_;
            return true;
        }
        s.first = t.first;
        s.held_back += t.held_back; // and those that were refused meanwhile
        s.waiting = std::move(t.what);
        s.tries = t.tries;
        ++waiting_;
        return true;
    }
    /// When take() may give something, if nothing more comes; time_point::max() if nothing waits.
    time_point next_due() const noexcept {
        if (waiting_ == 0) return time_point::max();
        time_point due = time_point::max();
        for (const auto& [key, s] : slots_) {
            if (s.waiting) due = std::min(due, s.not_before);
        }
        return std::max(due, token_at());
    }

    std::size_t waiting() const noexcept { return waiting_; }
    /// Held back, to be told by another's number.
    std::uint64_t deduplicated() const noexcept { return deduplicated_; }
    /// Went out later than they would have, or will, since there was no token.
    std::uint64_t rate_limited() const noexcept { return rate_limited_; }
    std::uint64_t dropped() const noexcept { return dropped_; }

private:
    /// What is known of a key. `held_back`: how many came since one went out, beside the one that waits.
    struct slot {
        std::string group;
        std::optional<What> waiting;
        std::uint64_t held_back = 0;
        wall_time first{};
        wall_time last{};
        time_point not_before = time_point::min(); // the end of the quiet time, or of the pause
        std::uint64_t turn = 0;                    // of the newest that was let in
        unsigned in_flight = 0;
        unsigned tries = 0;    // of the one that waits
        unsigned failures = 0; // of the key, one after another
        bool limited = false;
    };

    static void note_one_more(slot& s, wall_time wall) noexcept {
        if (s.held_back++ == 0 && !s.waiting) s.first = wall;
        s.last = wall;
    }
    /// Only those that would have to wait: what may go out goes out, in its turn.
    void overtake_held(slot& s, std::string_view group, time_point now) {
        for (auto& [key, other] : slots_) {
            if (&other == &s || !other.waiting || other.group != group || other.not_before <= now) continue;
            give_way(other, s);
        }
    }
    void give_way(slot& other, slot& to) noexcept {
        to.first = std::min(to.first, other.first);
        to.held_back += std::exchange(other.held_back, 0) + 1;
        other.waiting.reset();
        --waiting_;
        ++deduplicated_;
    }
    slot& newest_beside(slot& s) noexcept {
        slot* newest = &s;
        for (auto& [key, other] : slots_) {
            if (!s.group.empty() && other.group == s.group && other.turn > newest->turn) newest = &other;
        }
        return *newest;
    }
    /// `by` tells of it by its number.
    static void count(const taken& t, slot& by) noexcept {
        if (by.held_back == 0 && !by.waiting) by.last = t.last;
        by.first = by.held_back == 0 && !by.waiting ? t.first : std::min(by.first, t.first);
        by.held_back += t.held_back + 1;
    }
    /// 30s, 1min, 2min, 4min, 5min, 5min ...
    duration pause_after(unsigned failures) const noexcept {
        duration pause = limits_.first_pause;
        while (--failures != 0 && pause < limits_.longest_pause) pause *= 2;
        return std::min(pause, limits_.longest_pause);
    }
    /// At least half of the slots have nothing waiting; of these the one whose quiet time ends first.
    void forget_one() {
        auto gone = slots_.end();
        for (auto it = slots_.begin(); it != slots_.end(); ++it) {
            if (it->second.waiting || it->second.in_flight > 0) continue;
            if (gone == slots_.end() || it->second.not_before < gone->second.not_before) gone = it;
        }
        if (gone != slots_.end()) slots_.erase(gone);
    }
    void note_limited(time_point now) noexcept {
        for (auto& [key, s] : slots_) {
            if (!s.waiting || s.not_before > now || s.limited) continue;
            s.limited = true;
            ++rate_limited_;
        }
    }
    /// The bucket as one moment (the generic cell rate algorithm): with all tokens there it is in the past by
    /// `burst` intervals; each one that goes out moves it on by one. 20 a minute, burst 10: one at 0s that finds
    /// the bucket full moves it to 3s, the tenth to 30s; the eleventh may go at 30s - 9 * 3s = 3s.
    time_point token_at() const noexcept {
        duration::rep slack = 0;
        if (detail::multiply_overflows(interval_.count(), limits_.burst - 1, slack)) return time_point::min();
        return saturating_add(free_from_, -duration{slack});
    }

    alert_limits limits_;
    duration interval_;
    time_point free_from_ = time_point::min();
    std::map<std::string, slot, std::less<>> slots_; // at most twice the capacity, and those in flight
    std::size_t waiting_ = 0;                        // slots with something waiting
    std::uint64_t turns_ = 0;
    std::uint64_t deduplicated_ = 0;
    std::uint64_t rate_limited_ = 0;
    std::uint64_t dropped_ = 0;
};

}} // namespace resilience::RESILIENCE_ABI
