// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI {

/// How many were seen in the current period, in one word, so that it can be exchanged at once: the number of the
/// period (its low 32 bits) above the count. The start, 0, is the beginning of period 0.
using sample_word = std::uint64_t;

struct sample_step {
    sample_word next;
    bool chosen;
};

/// One more is seen at `now`: the first `first` of a period are chosen, then each `then_every`-th (0: none). So with 2
/// and 3: the 1st, 2nd, 5th, 8th, ... The count stops at its maximum, which takes more in a period than can be.
constexpr sample_step sampled(sample_word word, time_point now, duration period, std::uint32_t first,
                              std::uint32_t then_every) noexcept {
    constexpr sample_word most = 0xFFFF'FFFFU;
    const auto since = now.time_since_epoch();
    // Rounded down before the epoch too: no period is longer than the others.
    const auto number = since / period - (since % period < duration{0} ? 1 : 0);
    const sample_word here = static_cast<sample_word>(number) & most;
    const sample_word seen = word >> 32U == here ? word & most : 0;
    const sample_word count = seen < most ? seen + 1 : seen;
    const bool chosen = count <= first || (then_every != 0 && (count - first) % then_every == 0);
    return {here << 32U | count, chosen};
}

}} // namespace resilience::RESILIENCE_ABI
