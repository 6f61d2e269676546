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

/// The limits of an alert_filter. The values are valid.
struct alert_limits {
    /// The time after an alert in which no other with its key goes out.
    duration quiet{};
    /// The number of alerts that go out in a minute in the long run, and the number that may go out at once.
    /// Both from 1.
    unsigned per_minute = 1;
    unsigned burst = 1;
    /// The number of alerts that may wait. Further ones are refused.
    std::size_t capacity = 1;
    /// An alert that could not be sent is tried again after a pause. The pause doubles up to `longest_pause`,
    /// which is short enough that a receiver that is back hears of it soon.
    duration first_pause = std::chrono::seconds{30};
    duration longest_pause = std::chrono::minutes{5};
    /// The number of tries after which an alert is given up. With these pauses that is an hour and 42 minutes
    /// after the first.
    unsigned tries = 24;
};

/// Decides which alerts go out and when. Alerts with the same key are merged: the first goes out at once.
/// Alerts that come within the quiet time after it are held, and at its end the newest of them goes out with
/// the number of the others. No held alert is lost, except alerts that come while `capacity` keys wait. An
/// alert that could not be sent waits again, unless a newer one takes its place.
///
/// Alerts of one group describe the same object (a circuit). A newer alert replaces any that is still held,
/// and a merged one moves to the end of the queue, so that the last alert sent is the last state. All alerts
/// share one token bucket, in the order in which they came. Pure; not thread-safe. Each function takes time
/// proportional to `capacity`.
template <class What>
class alert_filter {
public:
    using wall_time = std::chrono::system_clock::time_point;

    explicit alert_filter(const alert_limits& limits) noexcept
        : limits_(limits), interval_(duration{std::chrono::minutes{1}} / limits.per_minute) {}

    enum class answer { waits, merged, refused };

    /// Takes in an alert that came at `now`. An empty `group` means none. The object left in `what` has no
    /// further use and is the caller's to destroy.
    answer offer(std::string_view key, std::string_view group, What& what, time_point now, wall_time wall) {
        auto found = keys_.find(key);
        const bool known = found != keys_.end();
        if (known && found->second.waiting) {
            ++deduplicated_;
            found->second.tries = 0;
            note_one_more(found->second, wall);
            std::swap(*found->second.waiting, what);
            if (!group.empty()) { // the object's present state must be sent last
                replace_held(found->second, group, now);
                found->second.turn = ++last_turn_;
            }
            return answer::merged;
        }
        if (waiting_ == limits_.capacity) {
            ++dropped_;
            if (known) note_one_more(found->second, wall);
            return answer::refused;
        }
        if (!known) {
            if (keys_.size() >= 2 * limits_.capacity) forget_one();
            found = keys_.emplace(std::string(key), key_state{}).first;
        }
        key_state& s = found->second;
        if (s.held_back == 0) s.first = wall;
        if (!group.empty()) replace_held(s, group, now);
        s.group = group;
        s.last = wall;
        s.waiting = std::move(what);
        s.turn = ++last_turn_;
        s.limited = false;
        s.tries = 0;
        ++waiting_;
        return answer::waits;
    }

    struct taken {
        std::string key;
        What what;
        std::uint64_t held_back; // the number of other alerts that this one stands for
        wall_time first;
        wall_time last;
        std::uint64_t turn; // for the filter, as are the members below
        unsigned tries;
        unsigned failures;
    };
    /// Takes the next alert that may go out at `now`, if there is one. The caller must then call sent() or
    /// failed().
    std::optional<taken> take(time_point now) {
        auto next = keys_.end();
        for (auto it = keys_.begin(); it != keys_.end(); ++it) {
            if (!it->second.waiting || it->second.not_before > now) continue;
            if (next == keys_.end() || it->second.turn < next->second.turn) next = it;
        }
        if (next == keys_.end()) return std::nullopt;
        if (token_at() > now) {
            note_limited(now);
            return std::nullopt;
        }
        free_from_ = saturating_add(std::max(free_from_, now), interval_);
        key_state& s = next->second;
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
        if (const auto found = keys_.find(t.key); found != keys_.end()) --found->second.in_flight;
    }
    /// Reports at `now` that sending `t` failed. The alert waits again, unless a newer one of its key or
    /// group has come: then that one counts it. Returns false if the alert is given up; the next one of its
    /// key counts it. Does not allocate.
    bool failed(taken& t, time_point now) noexcept {
        const auto found = keys_.find(t.key);
        if (found == keys_.end()) return false;
        key_state& s = found->second;
        --s.in_flight;
        s.failures = t.failures + 1;
        s.not_before = saturating_add(now, pause_after(s.failures));
        key_state& newest = newest_of_group(s);
        const bool is_newest = newest.turn == t.turn;
        if (!is_newest && newest.waiting) {
            count(t, newest);
            ++deduplicated_;
            if (&newest != &s && s.waiting)
                merge_into(s, newest); // `s` is held now, so the newest replaces it
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
        s.held_back += t.held_back; // added to the alerts refused meanwhile
        s.waiting = std::move(t.what);
        s.tries = t.tries;
        ++waiting_;
        return true;
    }
    /// The moment at which take() may return an alert if none is offered before; time_point::max() if none
    /// waits.
    time_point next_due() const noexcept {
        if (waiting_ == 0) return time_point::max();
        time_point due = time_point::max();
        for (const auto& [key, s] : keys_) {
            if (s.waiting) due = std::min(due, s.not_before);
        }
        return std::max(due, token_at());
    }

    std::size_t waiting() const noexcept { return waiting_; }
    /// Alerts that were held back and are only counted by another one.
    std::uint64_t deduplicated() const noexcept { return deduplicated_; }
    /// Alerts that the token bucket delayed.
    std::uint64_t rate_limited() const noexcept { return rate_limited_; }
    std::uint64_t dropped() const noexcept { return dropped_; }

private:
    /// The state of a key. `held_back` is the number of alerts since the last that went out, without the one
    /// that waits.
    struct key_state {
        std::string group;
        std::optional<What> waiting;
        std::uint64_t held_back = 0;
        wall_time first{};
        wall_time last{};
        time_point not_before = time_point::min(); // the end of the quiet time, or of the pause
        std::uint64_t turn = 0;                    // of the newest alert that was accepted
        unsigned in_flight = 0;
        unsigned tries = 0;    // of the alert that waits
        unsigned failures = 0; // consecutive failures of the key
        bool limited = false;
    };

    static void note_one_more(key_state& s, wall_time wall) noexcept {
        if (s.held_back++ == 0 && !s.waiting) s.first = wall;
        s.last = wall;
    }
    /// Replaces only alerts of the group that would have to wait. An alert that may go out now keeps its
    /// turn.
    void replace_held(key_state& s, std::string_view group, time_point now) {
        for (auto& [key, other] : keys_) {
            if (&other == &s || !other.waiting || other.group != group || other.not_before <= now) continue;
            merge_into(other, s);
        }
    }
    void merge_into(key_state& other, key_state& to) noexcept {
        to.first = std::min(to.first, other.first);
        to.held_back += std::exchange(other.held_back, 0) + 1;
        other.waiting.reset();
        --waiting_;
        ++deduplicated_;
    }
    key_state& newest_of_group(key_state& s) noexcept {
        key_state* newest = &s;
        for (auto& [key, other] : keys_) {
            if (!s.group.empty() && other.group == s.group && other.turn > newest->turn) newest = &other;
        }
        return *newest;
    }
    /// Adds `t` to the number of alerts that `by` stands for.
    static void count(const taken& t, key_state& by) noexcept {
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
    /// Forgets the key without a waiting alert whose quiet time ends first. At least half of the keys have
    /// none waiting.
    void forget_one() {
        auto gone = keys_.end();
        for (auto it = keys_.begin(); it != keys_.end(); ++it) {
            if (it->second.waiting || it->second.in_flight > 0) continue;
            if (gone == keys_.end() || it->second.not_before < gone->second.not_before) gone = it;
        }
        if (gone != keys_.end()) keys_.erase(gone);
    }
    void note_limited(time_point now) noexcept {
        for (auto& [key, s] : keys_) {
            if (!s.waiting || s.not_before > now || s.limited) continue;
            s.limited = true;
            ++rate_limited_;
        }
    }
    /// The moment of the next token. The bucket is kept as a single moment, free_from_ (the generic cell rate
    /// algorithm): each alert that goes out moves it on by an interval, and the next may go `burst` - 1
    /// intervals before it. With 20 a minute and a burst of 10, an alert at 0s that finds the bucket full
    /// moves it to 3s, the tenth moves it to 30s, and the eleventh may go at 30s - 9 * 3s = 3s.
    time_point token_at() const noexcept {
        duration::rep slack = 0;
        if (detail::multiply_overflows(interval_.count(), limits_.burst - 1, slack)) return time_point::min();
        return saturating_add(free_from_, -duration{slack});
    }

    alert_limits limits_;
    duration interval_;
    time_point free_from_ = time_point::min();
    std::map<std::string, key_state, std::less<>>
        keys_;                    // at most twice the capacity, plus the alerts in flight
    std::size_t waiting_ = 0;     // keys with a waiting alert
    std::uint64_t last_turn_ = 0; // alerts are numbered in their order
    std::uint64_t deduplicated_ = 0;
    std::uint64_t rate_limited_ = 0;
    std::uint64_t dropped_ = 0;
};

}} // namespace resilience::RESILIENCE_ABI
