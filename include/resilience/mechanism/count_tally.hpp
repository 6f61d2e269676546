// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/mechanism/tally.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The last `size` results. Every result takes a position from one ascending sequence, handed out
/// elsewhere; good ones (neither failed nor slow) take only that, so that they never come here.
///
/// Two bits per position in words of 64, each word tagged with the stretch of the sequence it stands
/// for: old results need no clearing, they are simply not what is asked for. Pure; not thread-safe.
class count_tally {
public:
    /// `size` from 1 (0 counts as 1). Allocates all it will ever need: 24 bytes for 64 results.
    explicit count_tally(std::uint32_t size) : size_(std::max(size, 1U)), words_(words_for(size_)) {}

    /// Positions may come in any order; those too old for the window are dropped.
    void record(std::uint64_t position, bad_result result) noexcept {
        const std::uint64_t bit = std::uint64_t{1} << (position % 64);
        merge({.number = position / 64, .failed = result.failed ? bit : 0, .slow = result.slow ? bit : 0});
    }

    /// The results in [next_position - size, next_position), none of before the last clear(). Exact while
    /// all recorded positions are below next_position + 64. O(size / 64); changes nothing.
    tally at(std::uint64_t next_position) const noexcept {
        const std::uint64_t first =
            std::max(start_, next_position > size_ ? next_position - size_ : std::uint64_t{0});
        if (first >= next_position) return {};

        tally sum{.total = next_position - first};
        const std::uint64_t last = next_position - 1;
        for (const word& w : words_) {
            if (w.number < first / 64 || w.number > last / 64) continue;
            std::uint64_t asked = ~std::uint64_t{0};
            if (w.number == first / 64) asked &= ~std::uint64_t{0} << (first % 64);
            if (w.number == last / 64) asked &= ~std::uint64_t{0} >> (63 - last % 64);
            sum.failed += static_cast<std::uint64_t>(std::popcount(w.failed & asked));
            sum.slow += static_cast<std::uint64_t>(std::popcount(w.slow & asked));
        }
        return sum;
    }

    /// Forgets all results before `next_position`, those that are still to be recorded included.
    void clear(std::uint64_t next_position) noexcept { start_ = std::max(start_, next_position); }

    /// With a new size from now on. A larger window fills up with new results: what the smaller one had
    /// forgotten is not taken for successes.
    count_tally resized(std::uint32_t size, std::uint64_t next_position) const {
        count_tally other(size);
        const std::uint64_t known = next_position > size_ ? next_position - size_ : std::uint64_t{0};
        other.start_ = std::max(start_, known);
        for (const word& w : words_) other.merge(w);
        return other;
    }
    void resize(std::uint32_t size, std::uint64_t next_position) { *this = resized(size, next_position); }

private:
    struct word {
        std::uint64_t number = 0; // stands for the positions from 64 * number on
        std::uint64_t failed = 0;
        std::uint64_t slow = 0;
    };

    void merge(const word& more) noexcept {
        word& place = words_[more.number % words_.size()];
        if (more.number < place.number) return;
        if (more.number > place.number) place = {.number = more.number};
        place.failed |= more.failed;
        place.slow |= more.slow;
    }

    // A window that is not aligned touches one word more than its length; another one is for positions
    // recorded ahead of the one that at() is asked for.
    static std::size_t words_for(std::uint64_t size) noexcept { return size / 64 + 3; }

    std::uint64_t size_;
    std::uint64_t start_ = 0; // positions before it are forgotten
    std::vector<word> words_; // a ring: number n is at n % size
};

}} // namespace resilience::RESILIENCE_ABI
