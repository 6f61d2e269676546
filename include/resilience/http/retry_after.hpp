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
    /// Exactly `digits` digits.
    constexpr unsigned number(std::size_t digits) noexcept {
        unsigned value = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            if (rest_.empty() || rest_.front() < '0' || rest_.front() > '9') return fail(), 0;
            value = value * 10 + static_cast<unsigned>(rest_.front() - '0');
            rest_.remove_prefix(1);
        }
        return value;
    }
    /// Two digits, or a space and one digit.
    constexpr unsigned padded_number() noexcept {
        if (!rest_.starts_with(' ')) return number(2);
        rest_.remove_prefix(1);
        return number(1);
    }
    /// True if the character comes next, which is then read.
    constexpr bool take(char wanted) noexcept {
        if (!rest_.starts_with(wanted)) return false;
        rest_.remove_prefix(1);
        return true;
    }
    /// Reads all digits that come next; at least one. The result is 0 if they all are.
    constexpr unsigned digits() noexcept {
        unsigned any = number(1);
        while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') any |= number(1);
        return any;
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
    date.day = scan.padded_number();
    scan.literal(" ");
    date.read_time(scan);
    scan.literal(" ");
    date.year = static_cast<int>(scan.number(4));
    return scan.good() ? date.moment() : std::nullopt;
}

/// `2024-01-08T20:02:00Z`, with fractions of a second (rounded up), an offset such as `+01:00`, or none (UTC).
constexpr std::optional<std::chrono::sys_seconds> iso_date(std::string_view text) noexcept {
    constexpr std::array<std::string_view, 3> separators{"T", "t", " "};
    text_scanner scan(text);
    date_parts date;
    date.year = static_cast<int>(scan.number(4));
    scan.literal("-");
    date.month = scan.number(2);
    scan.literal("-");
    date.day = scan.number(2);
    scan.word(separators);
    date.read_time(scan);
    const bool has_fraction = scan.take('.') && scan.digits() > 0;
    std::chrono::minutes offset{0};
    const bool behind = scan.take('-');
    if (behind || scan.take('+')) {
        offset = std::chrono::hours{scan.number(2)};
        scan.take(':');
        offset += std::chrono::minutes{scan.number(2)};
    } else if (!scan.take('Z')) {
        scan.take('z');
    }
    const auto moment = scan.good() ? date.moment() : std::nullopt;
    if (!moment) return std::nullopt;
    return *moment - (behind ? -offset : offset) + std::chrono::seconds{has_fraction ? 1 : 0};
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

namespace detail {

/// A number as in `120` or `1.5`, rounded up to a whole one. Empty for all else, and for what does not fit.
constexpr std::optional<std::int64_t> whole_number(std::string_view text) noexcept {
    const auto dot = text.find('.');
    const std::string_view whole = text.substr(0, dot);
    const std::string_view part = dot == std::string_view::npos ? "0" : text.substr(dot + 1);
    constexpr std::string_view digits = "0123456789";
    if (whole.empty() || part.empty()) return std::nullopt;
    if (whole.find_first_not_of(digits) != std::string_view::npos) return std::nullopt;
    if (part.find_first_not_of(digits) != std::string_view::npos) return std::nullopt;
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 10 - 1;
    std::int64_t number = 0;
    for (const char digit : whole) {
        number = number * 10 + (digit - '0');
        if (number > most) return std::nullopt;
    }
    return part.find_first_not_of('0') == std::string_view::npos ? number : number + 1;
}
constexpr std::string_view without_blanks(std::string_view text) noexcept {
    constexpr std::string_view blanks = " \t";
    const auto first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}
/// `number` of `unit`, if a duration holds it.
template <class Unit>
constexpr std::optional<duration> duration_of(std::int64_t number, Unit unit) noexcept {
    if (number > duration::max() / unit) return std::nullopt;
    return number * duration{unit};
}
constexpr std::optional<duration> time_until(std::int64_t second,
                                             std::chrono::system_clock::time_point now) noexcept {
    const auto [now_seconds, rest] = split(now);
    const std::int64_t ahead = second - now_seconds;
    if (ahead <= 0) return duration{0};
    const auto whole = duration_of(ahead, std::chrono::seconds{1});
    return whole ? std::optional(*whole - rest) : std::nullopt;
}

} // namespace detail

/// Reads the value of a Retry-After header (RFC 9110, 10.2.3), or of a header in its manner: a number of
/// seconds, of which fractions are rounded up, an HTTP-date, a date of ISO 8601, or a number of seconds (or
/// milliseconds) since 1970. A number is the latter if that moment is less than a year ago or less than ten
/// years away: nobody asks for a pause of 50 years. For a date the result is the time from `now` until then, 0 if
/// it has passed. Blanks around the value are ignored. Empty for all else: signs, NaN, numbers that do not fit
/// into a duration. Retry decides whether a hint is too long.
constexpr std::optional<duration> parse_retry_after(std::string_view text,
                                                    std::chrono::system_clock::time_point now) noexcept {
    text = detail::without_blanks(text);
    if (const auto number = detail::whole_number(text)) {
        constexpr std::int64_t year = std::int64_t{366} * 24 * 3600;
        const std::int64_t today = detail::split(now).seconds;
        for (const std::int64_t since_1970 : {*number, *number / 1000 + (*number % 1000 != 0 ? 1 : 0)})
            if (since_1970 > year && since_1970 > today - year && since_1970 < today + 10 * year)
                return detail::time_until(since_1970, now);
        return detail::duration_of(*number, std::chrono::seconds{1});
    }
    auto date = parse_http_date(text, now);
    if (!date) date = detail::iso_date(text);
    return date ? detail::time_until(date->time_since_epoch().count(), now) : std::nullopt;
}
/// Reads a number of milliseconds, as in `retry-after-ms`. Fractions are rounded up.
constexpr std::optional<duration> parse_retry_after_ms(std::string_view text) noexcept {
    const auto number = detail::whole_number(detail::without_blanks(text));
    return number ? detail::duration_of(*number, std::chrono::milliseconds{1}) : std::nullopt;
}

}} // namespace resilience::RESILIENCE_ABI
