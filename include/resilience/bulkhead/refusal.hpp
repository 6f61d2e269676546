// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/bulkhead/config.hpp>

#include <algorithm>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Why a bulkhead lets an attempt not run.
enum class bulkhead_refusal : std::uint8_t { none, full, too_late, evicted, expired, stopped };

/// As in "bulkhead 'db' is full"; of a stop request there is nothing to say.
constexpr const char* reason_of(bulkhead_refusal why) noexcept {
    constexpr const char* reasons[] = {nullptr,
                                       "is full",
                                       "has no place before the call's deadline",
                                       "gave the call's place in its queue to one of higher priority",
                                       "had no place for the call in time",
                                       nullptr};
    return reasons[static_cast<std::uint8_t>(why)];
}

inline void count_admitted(bulkhead_stats& totals, duration waited) noexcept {
    ++totals.admitted;
    totals.total_wait += std::min(waited, duration::max() - totals.total_wait);
}
inline void count_refused(bulkhead_stats& totals, bulkhead_refusal why) noexcept {
    using enum bulkhead_refusal;
    if (why == stopped) ++totals.cancelled;
    else ++totals.rejected;
    if (why == full) ++totals.rejected_full;
    if (why == too_late) ++totals.rejected_late;
    if (why == evicted) ++totals.evicted;
    if (why == expired) ++totals.expired;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
