// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>
#include <type_traits>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <class T>
concept is_duration = requires {
    typename T::rep;
    typename T::period;
};

/// `left` in units of D: rounded up, at least one unit, at most `most`. duration::max() is `most`. Nothing
/// overflows: a count that does not fit is `most` too. If D counts in fractions, nothing is rounded, and the
/// least is a nanosecond. `left` is not negative.
template <class D>
constexpr D rounded_up(duration left, D most) noexcept {
    using rep = typename D::rep;
    if constexpr (std::chrono::treat_as_floating_point_v<rep>) {
        const D least = std::chrono::duration_cast<D>(duration{1});
        if (left == duration::max()) return std::max(most, least);
        return std::max(std::min(std::chrono::duration_cast<D>(left), most), least);
    } else {
        // A unit of D is unit::num / unit::den nanoseconds. The remainder is less than a unit, so only the
        // product of the whole part can overflow.
        using unit = std::ratio_divide<typename D::period, duration::period>;
        using wide = std::common_type_t<rep, std::int64_t>;
        constexpr std::int64_t end = std::numeric_limits<std::int64_t>::max();
        static_assert(unit::num <= end / (unit::den + 1),
                      "resilience: this unit of time is too fine or too odd");
        const wide limit = std::max(static_cast<wide>(most.count()), wide{1});
        const std::int64_t whole = left.count() / unit::num;
        const std::int64_t part = (left.count() % unit::num * unit::den + unit::num - 1) / unit::num;
        if (left == duration::max() || whole > (end - part) / unit::den) return D(static_cast<rep>(limit));
        const std::int64_t units = std::max(whole * unit::den + part, std::int64_t{1});
        return D(static_cast<rep>(std::min(static_cast<wide>(units), limit)));
    }
}

/// `now + left` on the system's clock, rounded up to its units. If that is beyond its range, the end of the range, as
/// for duration::max().
constexpr std::chrono::system_clock::time_point later_by(std::chrono::system_clock::time_point now,
                                                         duration left) noexcept {
    using wall = std::chrono::system_clock;
    const auto by = std::chrono::ceil<wall::duration>(left);
    wall::rep sum = 0;
    if (left == duration::max() || add_overflows(now.time_since_epoch().count(), by.count(), sum))
        return wall::time_point::max();
    return wall::time_point(wall::duration(sum));
}

}}} // namespace resilience::RESILIENCE_ABI::detail
