// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/platform.hpp>

#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI {

namespace detail {

constexpr std::uint64_t saturating_sum(std::uint64_t a, std::uint64_t b) noexcept {
    std::uint64_t both = 0;
    return add_overflows(a, b, both) ? ~std::uint64_t{0} : both;
}

} // namespace detail

/// A result that counts against the thing that was called; it may be both.
struct bad_result {
    bool failed = false;
    bool slow = false;
};

/// The counts of a window. `failed` and `slow` are parts of `total`; one call may be in both.
struct tally {
    std::uint64_t total = 0;
    std::uint64_t failed = 0;
    std::uint64_t slow = 0;

    /// Shares of the total in [0, 1]; -1 (unknown, rather than 0 or NaN) while there is none.
    constexpr double failure_rate() const noexcept { return share(failed); }
    constexpr double slow_rate() const noexcept { return share(slow); }

    /// Sums are held at the end of the range.
    constexpr tally& operator+=(const tally& more) noexcept {
        total = detail::saturating_sum(total, more.total);
        failed = detail::saturating_sum(failed, more.failed);
        slow = detail::saturating_sum(slow, more.slow);
        return *this;
    }
    friend constexpr bool operator==(const tally&, const tally&) = default;

private:
    constexpr double share(std::uint64_t part) const noexcept {
        return total == 0 ? -1.0 : static_cast<double>(part) / static_cast<double>(total);
    }
};

}} // namespace resilience::RESILIENCE_ABI
