// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/http/retry_after.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
/// Compares a text with one that is in lower case.
constexpr bool is_word(std::string_view text, std::string_view lower_case) noexcept {
    return std::equal(text.begin(), text.end(), lower_case.begin(), lower_case.end(),
                      [](char a, char b) { return lower(a) == b; });
}
/// The facts in the headers of an answer that other headers depend on.
struct header_facts {
    std::chrono::system_clock::time_point now; // by the server's clock, if its Date can be believed
    bool has_quota_left = false;
};
/// Two clocks that disagree do no harm if a date is measured from the answer's own Date.
constexpr std::chrono::system_clock::time_point servers_now(
    std::string_view date, std::chrono::system_clock::time_point now) noexcept {
    constexpr std::chrono::hours believable{24 * 366}; // beyond that, one of the two is wrong
    const auto sent = parse_http_date(date, now);
    if (!sent) return now;
    const auto skew = std::chrono::floor<std::chrono::seconds>(now) - *sent;
    return skew < believable && skew > -believable ? std::chrono::system_clock::time_point{*sent} : now;
}
constexpr std::optional<duration> hint_in_header(std::string_view name, std::string_view value,
                                                 const header_facts& facts) noexcept {
    if (is_word(name, "retry-after") || is_word(name, "beta-retry-after"))
        return parse_retry_after(value, facts.now);
    if (is_word(name, "retry-after-ms") || is_word(name, "x-ms-retry-after-ms") ||
        is_word(name, "grpc-retry-pushback-ms"))
        return parse_retry_after_ms(value);
    if (is_word(name, "x-ratelimit-reset") && !facts.has_quota_left)
        return parse_retry_after(value, facts.now);
    return std::nullopt;
}

} // namespace detail

/// The server's hint in the headers of an answer, a range of pairs of name and value: Retry-After,
/// Beta-Retry-After, retry-after-ms, x-ms-retry-after-ms, grpc-retry-pushback-ms, and X-RateLimit-Reset, unless
/// X-RateLimit-Remaining says that something is left: many servers send both with every answer. Of several the
/// longest. `now` is the time by our clock.
template <class Headers>
std::optional<duration> retry_after_in(const Headers& headers, std::chrono::system_clock::time_point now) {
    detail::header_facts facts{.now = now};
    for (const auto& [name, value] : headers) {
        if (detail::is_word(name, "date")) facts.now = detail::servers_now(value, now);
        if (detail::is_word(name, "x-ratelimit-remaining"))
            facts.has_quota_left = detail::whole_number(detail::without_blanks(value)).value_or(0) > 0;
    }
    std::optional<duration> longest;
    for (const auto& [name, value] : headers) {
        const auto hint = detail::hint_in_header(name, value, facts);
        if (hint && hint > longest) longest = hint;
    }
    return longest;
}
/// True if the headers of an answer ask for no other attempt: `Is-Retryable: false`, or a grpc-retry-pushback-ms
/// that is no number of milliseconds (gRFC A6: -1, or any other text).
template <class Headers>
bool forbids_retry_in(const Headers& headers) {
    for (const auto& [name, value] : headers) {
        if (detail::is_word(name, "is-retryable") && detail::is_word(detail::without_blanks(value), "false"))
            return true;
        if (detail::is_word(name, "grpc-retry-pushback-ms") && !parse_retry_after_ms(value)) return true;
    }
    return false;
}

}} // namespace resilience::RESILIENCE_ABI
