// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/mechanism/tally.hpp>

#include <algorithm>
#include <array>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The results of the last `length` of time, in ten buckets of a tenth of it (rounded down, at least a
/// nanosecond). Results age by the bucket, so the window covers between 9/10 of `length` and all of it;
/// nothing older than `length` is ever counted, whatever the pauses.
///
/// Buckets are known by their *number*, so that callers can count on their own and hand in later what they
/// counted. Numbers ascend by one per bucket of time, and wrap after 2^32 of them (a window of 60 s:
/// 816 years; of 1 ms: 5 days). Compare them with precedes(), not with `<`, and do not keep one for
/// longer than 2^31 buckets; one that old is, at the worst, taken for a bucket of now.
///
/// A clock that goes backwards stays in the newest bucket seen. `Counts` are zero by default, and are added by +=. Pure;
/// not thread-safe.
template <class Counts>
class buckets_of_time {
public:
    static constexpr unsigned bucket_count = 10;

    /// `length` from 1ns (less counts as that).
    explicit buckets_of_time(duration length) noexcept { set_length(length); }

    /// The number of the bucket of `now`; from here on no earlier one is ever current. The first use decides
    /// where buckets begin.
    std::uint32_t number_at(time_point now) noexcept {
        if (!begun_) {
            begun_ = true;
            origin_ = now;
            newest_ = first_;
        }
        const std::uint64_t next = current_at(now);
        for (std::uint64_t n = std::max(newest_ + 1, oldest_with(next)); n <= next; ++n) place(n) = {};
        newest_ = next;
        return static_cast<std::uint32_t>(newest_);
    }

    /// When the bucket ends, the first moment of the next; time_point::min() for one that was cleared.
    /// `number` is one that number_at() returned.
    time_point end_of(std::uint32_t number) const noexcept {
        const std::uint64_t wide = widened(number);
        return !begun_ || wide < first_ ? time_point::min() : start_of(wide + 1);
    }

    /// Counts results in the bucket in which they were completed. What is too old for the window, or was
    /// cleared, is dropped. `slow` of the results, failed or not, were slow. Counts saturate.
    void record(std::uint32_t number, std::uint64_t successes, std::uint64_t failed,
                std::uint64_t slow) noexcept {
        add(number, {.total = successes, .failed = 0, .slow = slow});
        add(number, {.total = failed, .failed = failed, .slow = 0});
    }
    void add(std::uint32_t number, const Counts& more) noexcept {
        const std::uint64_t wide = widened(number);
        if (begun_ && wide >= first_ && wide <= newest_ && wide >= oldest_with(newest_)) place(wide) += more;
    }

    /// The window that ends with the bucket. Changes nothing.
    Counts at(std::uint32_t number) const noexcept { return ending_with(widened(number)); }

    /// The window that ends with the bucket of `now`, without making it current: for readers that
    /// only look. Time that passed without any call is seen here.
    Counts as_of(time_point now) const noexcept { return begun_ ? ending_with(current_at(now)) : Counts{}; }

    /// Forgets everything; the numbers that follow are beyond all earlier ones, and what comes later
    /// with an earlier one is dropped.
    void clear() noexcept {
        if (begun_) first_ = newest_ + 1;
        begun_ = false;
        places_ = {};
    }

    /// A new length from now on. Keeps what the old window counted, each bucket as old as its beginning;
    /// the numbers that follow are beyond all earlier ones.
    RESILIENCE_COLD void resize(duration length, time_point now) noexcept {
        if (!begun_) return set_length(length);
        number_at(now);
        const buckets_of_time before = *this;
        clear();
        set_length(length);
        begun_ = true;
        constexpr duration::rep past_buckets = bucket_count - 1;
        origin_ = saturating_add(now, -past_buckets * width_);
        newest_ = wide_number_at(now);
        for (std::uint64_t n = std::max(before.first_, oldest_with(before.newest_)); n <= before.newest_;
             ++n) {
            const time_point began = before.start_of(n);
            if (began >= origin_) place(std::min(wide_number_at(began), newest_)) += before.place(n);
        }
    }

    /// True if `earlier` was current before `later` was, both seen within 2^31 buckets.
    static constexpr bool precedes(std::uint32_t earlier, std::uint32_t later) noexcept {
        return static_cast<std::int32_t>(later - earlier) > 0;
    }

private:
    /// The oldest bucket that is kept while `newest` is the newest.
    static constexpr std::uint64_t oldest_with(std::uint64_t newest) noexcept {
        return newest - bucket_count + 1;
    }
    Counts& place(std::uint64_t number) noexcept { return places_[number % bucket_count]; }
    const Counts& place(std::uint64_t number) const noexcept { return places_[number % bucket_count]; }

    void set_length(duration length) noexcept {
        const duration held = std::max(length, duration{1});
        width_ = std::max(held / bucket_count, duration{1});
        // Fewer than ten only where the length is below 10ns.
        reach_ = static_cast<std::uint8_t>(std::min<duration::rep>(held / width_, bucket_count));
    }

    std::uint64_t wide_number_at(time_point at) const noexcept {
        return first_ + static_cast<std::uint64_t>(elapsed_between(origin_, at) / width_);
    }
    std::uint64_t current_at(time_point now) const noexcept { return std::max(newest_, wide_number_at(now)); }

    time_point start_of(std::uint64_t number) const noexcept {
        duration::rep since = 0;
        if (detail::multiply_overflows(number - first_, width_.count(), since)) return time_point::max();
        return saturating_add(origin_, duration{since});
    }

    // The number nearest to newest_ that ends in these 32 bits.
    std::uint64_t widened(std::uint32_t number) const noexcept {
        const auto ahead = static_cast<std::int32_t>(number - static_cast<std::uint32_t>(newest_));
        return newest_ + static_cast<std::uint64_t>(std::int64_t{ahead});
    }

    Counts ending_with(std::uint64_t last) const noexcept {
        Counts all{};
        for (std::uint64_t n = std::max(first_, oldest_with(newest_)); n <= newest_; ++n) {
            if (n <= last && last - n < reach_) all += place(n);
        }
        return all;
    }

    // Far enough from 0 for every 32-bit number to have a past; the first bucket's number is 0 all the same.
    static constexpr std::uint64_t first_number = std::uint64_t{1} << 32U;

    std::array<Counts, bucket_count> places_{}; // of the buckets up to newest_; zero if there is none
    duration width_{1};
    time_point origin_{};                // where the bucket first_ begins
    std::uint64_t first_ = first_number; // buckets before it were cleared; in 64 bits, which never wrap
    std::uint64_t newest_ = first_number;
    std::uint8_t reach_ = bucket_count; // how many buckets make a window
    bool begun_ = false;                // whether origin_ is known
};

/// Results of a circuit.
using time_buckets = buckets_of_time<tally>;

}} // namespace resilience::RESILIENCE_ABI
