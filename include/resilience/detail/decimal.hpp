// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/platform.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The parts of a decimal such as `12.5`: digits, and if there is a point, at least one digit after it. Signs
/// and exponents are not allowed.
struct decimal_text {
    std::string_view whole;
    std::string_view fraction;
};
constexpr bool split_decimal(std::string_view text, decimal_text& parts) noexcept {
    constexpr std::string_view digits = "0123456789";
    const auto point = text.find('.');
    parts.whole = text.substr(0, point);
    parts.fraction = point == std::string_view::npos ? std::string_view{} : text.substr(point + 1);
    const bool complete =
        !parts.whole.empty() && (point == std::string_view::npos || !parts.fraction.empty());
    return complete && parts.whole.find_first_not_of(digits) == std::string_view::npos &&
           parts.fraction.find_first_not_of(digits) == std::string_view::npos;
}

/// Reads a decimal and divides it by 10^shift. It may have at most 15 digits: then the digits and the power
/// of ten are exact doubles, and a single division gives the double that the same text means in a program.
/// Independent of the locale.
constexpr bool parse_decimal(std::string_view text, unsigned shift, double& value) noexcept {
    decimal_text parts;
    if (!split_decimal(text, parts) || parts.whole.size() + parts.fraction.size() > 15) return false;
    std::uint64_t digits = 0;
    for (const char c : parts.whole) digits = digits * 10 + static_cast<unsigned>(c - '0');
    for (const char c : parts.fraction) digits = digits * 10 + static_cast<unsigned>(c - '0');
    double divisor = 1;
    for (std::size_t i = 0; i < parts.fraction.size() + shift; ++i) divisor *= 10;
    value = static_cast<double>(digits) / divisor;
    return true;
}

/// Reads a whole number of an unsigned type; one that does not fit is refused.
template <class Number>
constexpr bool parse_whole(std::string_view text, Number& value) noexcept {
    Number number = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return false;
        const auto digit = static_cast<Number>(c - '0');
        if (number > (static_cast<Number>(-1) - digit) / 10) return false;
        number = static_cast<Number>(number * 10 + digit);
    }
    if (text.empty()) return false;
    value = number;
    return true;
}

/// Reads `500ms` or `1.5s`. A number without a unit is refused, as is a duration that does not fit. The
/// result is exact, cut off below a nanosecond.
constexpr bool parse_duration(std::string_view text, std::chrono::nanoseconds& value) noexcept {
    using rep = std::chrono::nanoseconds::rep;
    constexpr std::array<std::pair<std::string_view, rep>, 6> units{{{"ns", 1},
                                                                     {"us", 1'000},
                                                                     {"ms", 1'000'000},
                                                                     {"s", 1'000'000'000},
                                                                     {"m", 60'000'000'000},
                                                                     {"h", 3'600'000'000'000}}};
    const auto end = text.find_last_of("0123456789.") + 1; // npos + 1 is 0
    rep scale = 0;
    for (const auto& [unit, nanoseconds] : units) {
        if (text.substr(end) == unit) scale = nanoseconds;
    }
    decimal_text parts;
    if (scale == 0 || !split_decimal(text.substr(0, end), parts)) return false;
    rep total = 0;
    for (const char c : parts.whole) {
        if (multiply_overflows(total, 10, total) || add_overflows(total, c - '0', total)) return false;
    }
    if (multiply_overflows(total, scale, total)) return false;
    for (const char c : parts.fraction) {
        scale /= 10;
        if (add_overflows(total, (c - '0') * scale, total)) return false;
    }
    value = std::chrono::nanoseconds{total};
    return true;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
