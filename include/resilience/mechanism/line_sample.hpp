// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The number of lines seen in the current period. A single word, so that it can be exchanged atomically: the
/// low 32 bits of the period's number above the count. The initial 0 is the beginning of period 0.
using sample_word = std::uint64_t;

struct sample_step {
    sample_word next;
    bool chosen;
};

/// Counts a line at `now` and tells whether it is chosen. The first `first` lines of a period are chosen,
/// then each `then_every`-th (0: none). With 2 and 3 these are the 1st, 2nd, 5th, 8th, ... The count stops at
/// its maximum, which no real period reaches.
constexpr sample_step sampled(sample_word word, time_point now, duration period, std::uint32_t first,
                              std::uint32_t then_every) noexcept {
    constexpr sample_word most = 0xFFFF'FFFFU;
    const auto since = now.time_since_epoch();
    // Rounds down before the epoch too, so that all periods are equally long.
    const auto number = since / period - (since % period < duration{0} ? 1 : 0);
    const sample_word here = static_cast<sample_word>(number) & most;
    const sample_word seen = word >> 32U == here ? word & most : 0;
    const sample_word count = seen < most ? seen + 1 : seen;
    const bool chosen = count <= first || (then_every != 0 && (count - first) % then_every == 0);
    return {here << 32U | count, chosen};
}

}} // namespace resilience::RESILIENCE_ABI
