// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// Reads the parts of a text from left to right. After a part that is missing, all later reads fail too.
class text_scanner {
public:
    explicit constexpr text_scanner(std::string_view text) noexcept : rest_(text) {}

    constexpr bool good() const noexcept { return good_ && rest_.empty(); }
    constexpr void literal(std::string_view wanted) noexcept {
        if (!rest_.starts_with(wanted)) return fail();
        rest_.remove_prefix(wanted.size());
    }
    /// Exactly `digits` digits, of which the first may be a space if `padded`.
    constexpr unsigned number(std::size_t digits, bool padded = false) noexcept {
        unsigned value = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            if (rest_.empty()) return fail(), 0;
            const char c = rest_.front();
            if (c >= '0' && c <= '9') value = value * 10 + static_cast<unsigned>(c - '0');
            else if (!(padded && i == 0 && c == ' ')) return fail(), 0;
            rest_.remove_prefix(1);
        }
        return value;
    }
    /// Reads any of the words and returns its index, from 0.
    template <std::size_t N>
    constexpr unsigned word(const std::array<std::string_view, N>& words) noexcept {
        for (unsigned i = 0; i < N; ++i) {
            if (!rest_.starts_with(words[i])) continue;
            rest_.remove_prefix(words[i].size());
            return i;
        }
        fail();
        return 0;
    }

private:
    constexpr void fail() noexcept {
        good_ = false;
        rest_ = {};
    }

    std::string_view rest_;
    bool good_ = true;
};

struct date_parts {
    int year = 0;
    unsigned month = 0, day = 0, hour = 0, minute = 0, second = 0;

    /// The moment; empty if the calendar has none. A leap second counts as the second after it.
    constexpr std::optional<std::chrono::sys_seconds> moment() const noexcept {
        using namespace std::chrono;
        const year_month_day date{std::chrono::year{year}, std::chrono::month{month}, std::chrono::day{day}};
        if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
        return sys_days{date} + hours{hour} + minutes{minute} + seconds{second};
    }
    constexpr void read_time(text_scanner& text) noexcept {
        hour = text.number(2);
        text.literal(":");
        minute = text.number(2);
        text.literal(":");
        second = text.number(2);
    }
};

inline constexpr std::array<std::string_view, 7> weekdays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
inline constexpr std::array<std::string_view, 7> long_weekdays{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                               "Thursday", "Friday", "Saturday"};
inline constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/// `Sun, 06 Nov 1994 08:49:37 GMT`
constexpr std::optional<std::chrono::sys_seconds> imf_fixdate(std::string_view text) noexcept {
    text_scanner scan(text);
    date_parts date;
    scan.word(weekdays);
    scan.literal(", ");
    date.day = scan.number(2);
    scan.literal(" ");
    date.month = scan.word(months) + 1;
    scan.literal(" ");
    date.year = static_cast<int>(scan.number(4));
    scan.literal(" ");
    date.read_time(scan);
    scan.literal(" GMT");
    return scan.good() ? date.moment() : std::nullopt;
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`. The year is the latest year with these two last digits that is no more
/// than 50 years ahead.
constexpr std::optional<std::chrono::sys_seconds> rfc850_date(std::string_view text,
                                                              std::chrono::sys_seconds now) noexcept {
    using namespace std::chrono;
    text_scanner scan(text);
    date_parts date;
    scan.word(long_weekdays);
    scan.literal(", ");
    date.day = scan.number(2);
    scan.literal("-");
    date.month = scan.word(months) + 1;
    scan.literal("-");
    const int of_century = static_cast<int>(scan.number(2));
    scan.literal(" ");
    date.read_time(scan);
    scan.literal(" GMT");
    if (!scan.good()) return std::nullopt;
    const auto today = floor<days>(now);
    const year_month_day this_day{today};
    const sys_seconds latest = sys_days{this_day + years{50}} + (now - today); // 29 February: the day after
    const int this_year = static_cast<int>(this_day.year());
    date.year = this_year - this_year % 100 + 100 + of_century;
    for (int centuries = 0; centuries < 3; ++centuries, date.year -= 100) {
        if (date.year > this_year + 50) continue;
        const auto moment = date.moment();
        if (!moment || *moment <= latest) return moment;
    }
    return std::nullopt;
}

/// `Sun Nov  6 08:49:37 1994`
constexpr std::optional<std::chrono::sys_seconds> asctime_date(std::string_view text) noexcept {
    text_scanner scan(text);
    date_parts date;
    scan.word(weekdays);
    scan.literal(" ");
    date.month = scan.word(months) + 1;
    scan.literal(" ");
    date.day = scan.number(2, true);
    scan.literal(" ");
    date.read_time(scan);
    scan.literal(" ");
    date.year = static_cast<int>(scan.number(4));
    return scan.good() ? date.moment() : std::nullopt;
}

/// Whole seconds since the epoch, rounded down also before it, and the rest.
struct split_wall {
    std::int64_t seconds;
    duration rest;
};
constexpr split_wall split(std::chrono::system_clock::time_point at) noexcept {
    // In the clock's own unit, which not every C++ library has of nanoseconds: the range differs.
    using unit = std::chrono::system_clock::duration;
    constexpr unit::rep second = unit::period::den;
    static_assert(unit::period::num == 1);
    const auto since = at.time_since_epoch().count();
    const auto rest = (since % second + second) % second;
    return {since / second - (since % second < 0 ? 1 : 0), unit{rest}};
}

} // namespace detail

/// Reads the moment of an HTTP-date (RFC 9110, 5.6.7) in any of its three forms. They are case-sensitive. The
/// weekday must be a weekday, but need not be the date's. Empty for anything else. `now` decides the century
/// of two-digit years.
constexpr std::optional<std::chrono::sys_seconds> parse_http_date(
    std::string_view text, std::chrono::system_clock::time_point now) noexcept {
    if (const auto date = detail::imf_fixdate(text)) return date;
    if (const auto date = detail::asctime_date(text)) return date;
    return detail::rfc850_date(text,
                               std::chrono::sys_seconds{std::chrono::seconds{detail::split(now).seconds}});
}

/// Reads the value of a Retry-After header (RFC 9110, 10.2.3): a number of seconds, or an HTTP-date. For a
/// date the result is the time from `now` until then, 0 if it has passed. Blanks around the value are
/// ignored. Empty for all else: signs, fractions, NaN, numbers that do not fit into a duration. Retry decides
/// whether a hint is too long.
constexpr std::optional<duration> parse_retry_after(std::string_view text,
                                                    std::chrono::system_clock::time_point now) noexcept {
    constexpr std::string_view blanks = " \t";
    const auto first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) return std::nullopt;
    text = text.substr(first, text.find_last_not_of(blanks) - first + 1);

    constexpr std::int64_t most = std::numeric_limits<duration::rep>::max() / 1'000'000'000;
    if (text.find_first_not_of("0123456789") == std::string_view::npos) {
        std::int64_t seconds = 0;
        for (const char digit : text) {
            seconds = seconds * 10 + (digit - '0');
            if (seconds > most) return std::nullopt;
        }
        return std::chrono::seconds{seconds};
    }
    const auto date = parse_http_date(text, now);
    if (!date) return std::nullopt;
    const auto [now_seconds, rest] = detail::split(now);
    const std::int64_t ahead = date->time_since_epoch().count() - now_seconds;
    if (ahead <= 0) return duration{0};
    if (ahead > most) return std::nullopt;
    return std::chrono::seconds{ahead} - rest;
}

}} // namespace resilience::RESILIENCE_ABI
