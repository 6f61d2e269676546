// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <compare>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The product of two numbers in 128 bits, for comparisons. Written by hand, since the standard has no such
/// type.
class wide_product {
public:
    constexpr wide_product(std::uint64_t a, std::uint64_t b) noexcept {
        constexpr std::uint64_t half = 0xFFFFFFFFU;
        const std::uint64_t low = (a & half) * (b & half);
        const std::uint64_t left = (a >> 32U) * (b & half) + (low >> 32U); // at most 2^64 - 2^32
        const std::uint64_t right = (a & half) * (b >> 32U) + (left & half);
        high_ = (a >> 32U) * (b >> 32U) + (left >> 32U) + (right >> 32U);
        low_ = right << 32U | (low & half);
    }
    friend constexpr auto operator<=>(const wide_product&, const wide_product&) = default;

private:
    std::uint64_t high_ = 0; // declared first, so that it is compared first
    std::uint64_t low_ = 0;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
