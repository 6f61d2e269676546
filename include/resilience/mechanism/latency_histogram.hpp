// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Counts calls by how long they took. Pure; not thread-safe.
class latency_histogram {
public:
    /// The upper bounds of the buckets, inclusive. A last bucket is for calls that took longer.
    static constexpr std::array<duration, 13> bounds{std::chrono::microseconds{1000},
                                                     std::chrono::microseconds{2500},
                                                     std::chrono::microseconds{5000},
                                                     std::chrono::microseconds{10'000},
                                                     std::chrono::microseconds{25'000},
                                                     std::chrono::microseconds{50'000},
                                                     std::chrono::microseconds{100'000},
                                                     std::chrono::microseconds{250'000},
                                                     std::chrono::microseconds{500'000},
                                                     std::chrono::seconds{1},
                                                     std::chrono::microseconds{2'500'000},
                                                     std::chrono::seconds{5},
                                                     std::chrono::seconds{10}};

    constexpr void record(duration took) noexcept {
        std::size_t bucket = 0;
        while (bucket < bounds.size() && bounds[bucket] < took) ++bucket;
        ++buckets_[bucket];
        sum_ = saturating_add(time_point{sum_}, took).time_since_epoch();
    }

    /// The number of calls that took no longer than `bounds[i]`; of all calls for an i past the last bound.
    constexpr std::uint64_t up_to(std::size_t i) const noexcept {
        std::uint64_t calls = 0;
        for (std::size_t b = 0; b <= i && b < buckets_.size(); ++b) calls += buckets_[b];
        return calls;
    }
    constexpr std::uint64_t calls() const noexcept { return up_to(bounds.size()); }
    /// The time of all calls together, held at the end of the range.
    constexpr duration sum() const noexcept { return sum_; }

private:
    std::array<std::uint64_t, bounds.size() + 1> buckets_{};
    duration sum_{0};
};

}} // namespace resilience::RESILIENCE_ABI
