// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/random.hpp>
#include <resilience/detail/platform.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Makes the ids of alerts: UUIDs (RFC 9562, version 4) of two random numbers, a count and the process. The
/// process is part of them because a forked child's generator may give the numbers that its parent's gives.
class alert_ids {
public:
    explicit alert_ids(random_source& random) noexcept : high_(draw(random)), low_(draw(random)) {}

    std::string next() {
        const std::uint64_t process = mixed(process_id());
        const std::uint64_t one = mixed(high_ + process + ++count_);
        const std::uint64_t two = mixed(low_ ^ one);
        constexpr std::string_view digits = "0123456789abcdef";
        std::string text;
        for (const std::uint64_t part : {one, two}) {
            for (unsigned shift = 64; shift != 0;) text += digits[(part >> (shift -= 4U)) & 0xFU];
        }
        text[12] = '4';
        text[16] = digits[8 + ((two >> 60U) & 3U)];
        return text;
    }

private:
    static std::uint64_t draw(random_source& random) noexcept {
        return static_cast<std::uint64_t>(random.uniform() * 0x1p53);
    }
    /// The last step of SplitMix64 (Steele, Lea, Flood 2014), which makes neighbouring numbers unlike.
    static constexpr std::uint64_t mixed(std::uint64_t x) noexcept {
        x *= 0x9E3779B97F4A7C15U;
        x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
        x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
        return x ^ (x >> 31U);
    }

    std::uint64_t high_;
    std::uint64_t low_;
    std::uint64_t count_ = 0;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
