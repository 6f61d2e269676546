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
/// nanosecond). Whole buckets age out, so the window covers between 9/10 of `length` and all of it. A result
/// older than `length` is never counted, however long the pauses are.
///
/// A bucket is identified by its *epoch*, so that callers can count on their own and hand in the counts
/// later. Epochs ascend by 1 per bucket of time and wrap after 2^32 of them (a window of 60 s: 816 years; of
/// 1 ms: 5 days). Compare them with precedes(), not with `<`, and do not keep an epoch for longer than 2^31
/// buckets: at worst it is taken for a current one.
///
/// A clock that goes backwards stays in the newest bucket seen. Pure; not thread-safe.
class time_buckets {
public:
    static constexpr unsigned bucket_count = 10;

    /// `length` is from 1ns (less counts as 1ns).
    explicit time_buckets(duration length) noexcept { set_length(length); }

    /// The bucket of `now`. After this call no earlier bucket is ever current. The first call decides where
    /// buckets begin.
    std::uint32_t epoch_at(time_point now) noexcept {
        if (!begun_) {
            begun_ = true;
            origin_ = now;
            newest_ = first_;
        }
        newest_ = bucket_at(now);
        return static_cast<std::uint32_t>(newest_);
    }

    /// The end of the bucket, which is the first moment of the next; time_point::min() for a cleared bucket.
    /// `epoch` must come from epoch_at().
    time_point end_of(std::uint32_t epoch) const noexcept {
        const std::uint64_t number = widened(epoch);
        return !begun_ || number < first_ ? time_point::min() : start_of(number + 1);
    }

    /// Counts results in the bucket in which they were completed. Results too old for the window, or of a
    /// cleared bucket, are dropped. `slow` of the results, failed or not, were slow. Counts saturate.
    void record(std::uint32_t epoch, std::uint64_t successes, std::uint64_t failed,
                std::uint64_t slow) noexcept {
        const std::uint64_t number = widened(epoch);
        if (!begun_ || number < first_ || number > newest_ || newest_ - number >= bucket_count) return;
        bucket& b = buckets_[number % bucket_count];
        if (b.number != number) b = {.number = number, .counts = {}};
        b.counts += {.total = successes, .failed = 0, .slow = slow};
        b.counts += {.total = failed, .failed = failed, .slow = 0};
    }

    /// The counts of the window that ends with the bucket.
    tally at(std::uint32_t epoch) const noexcept { return ending_with(widened(epoch)); }

    /// The counts of the window that ends with the bucket of `now`, for readers: unlike epoch_at() it does
    /// not make that bucket current. It follows the time without any call to record().
    tally as_of(time_point now) const noexcept { return begun_ ? ending_with(bucket_at(now)) : tally{}; }

    /// Forgets everything. Later epochs are beyond all earlier ones; results recorded with an earlier epoch
    /// are dropped.
    void clear() noexcept {
        if (begun_) first_ = newest_ + 1;
        begun_ = false;
        buckets_ = {};
    }

    /// Sets a new length. Keeps the old window's counts; each bucket becomes as old as its beginning. Later
    /// epochs are beyond all earlier ones.
    void resize(duration length, time_point now) noexcept {
        if (!begun_) return set_length(length);
        newest_ = bucket_at(now);
        const time_buckets before = *this;
        clear();
        set_length(length);
        begun_ = true;
        constexpr duration::rep past_buckets = bucket_count - 1;
        origin_ = saturating_add(now, -past_buckets * width_);
        newest_ = number_at(now);
        for (const bucket& b : before.buckets_) {
            if (b.number + bucket_count <= before.newest_) continue;
            const time_point began = before.start_of(b.number);
            if (began < origin_) continue;
            const std::uint64_t number = std::min(number_at(began), newest_);
            bucket& place = buckets_[number % bucket_count];
            place.number = number;
            place.counts += b.counts;
        }
    }

    /// True if `earlier` was current before `later`, provided that they are within 2^31 buckets of each
    /// other.
    static constexpr bool precedes(std::uint32_t earlier, std::uint32_t later) noexcept {
        return static_cast<std::int32_t>(later - earlier) > 0;
    }

private:
    struct bucket {
        std::uint64_t number = 0; // the epoch in 64 bits, which never wrap
        tally counts;
    };

    void set_length(duration length) noexcept {
        const duration held = std::max(length, duration{1});
        width_ = std::max(held / bucket_count, duration{1});
        // Fewer than ten only if the length is below 10ns.
        reach_ = static_cast<std::uint64_t>(std::min<duration::rep>(held / width_, bucket_count));
    }

    std::uint64_t number_at(time_point at) const noexcept {
        return first_ + static_cast<std::uint64_t>(elapsed_between(origin_, at) / width_);
    }
    std::uint64_t bucket_at(time_point now) const noexcept { return std::max(newest_, number_at(now)); }

    time_point start_of(std::uint64_t number) const noexcept {
        duration::rep since = 0;
        if (detail::multiply_overflows(number - first_, width_.count(), since)) return time_point::max();
        return saturating_add(origin_, duration{since});
    }

    // The 64-bit number nearest to newest_ with these lower 32 bits.
    std::uint64_t widened(std::uint32_t epoch) const noexcept {
        const auto ahead = static_cast<std::int32_t>(epoch - static_cast<std::uint32_t>(newest_));
        return newest_ + static_cast<std::uint64_t>(std::int64_t{ahead});
    }

    tally ending_with(std::uint64_t last) const noexcept {
        tally all;
        for (const bucket& b : buckets_) {
            if (b.number <= last && last - b.number < reach_) all += b.counts;
        }
        return all;
    }

    duration width_{1};
    std::uint64_t reach_ = bucket_count; // the number of buckets in a window
    bool begun_ = false;                 // true once origin_ is known
    time_point origin_{};                // the beginning of the bucket first_
    std::uint64_t first_ = first_number; // buckets before it were cleared
    std::uint64_t newest_ = first_number;
    std::array<bucket, bucket_count> buckets_{};

    // Far enough from 0 that every 32-bit epoch can lie in the past. Its lower 32 bits are 0, so the first
    // epoch is 0.
    static constexpr std::uint64_t first_number = std::uint64_t{1} << 32U;
};

}} // namespace resilience::RESILIENCE_ABI
