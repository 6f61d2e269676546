// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/exception_mixins.hpp>
#include <resilience/http/retry_hints.hpp>
#include <resilience/rate_limiter/config.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

// A server's limit in the headers of its answers, for rate_limiter::observe().

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// Calls f(part) for each part of a header's value between separators that stand in no quoted string (RFC 9651).
template <class F>
constexpr void each_part(std::string_view text, char separator, F f) {
    bool is_quoted = false;
    std::size_t begin = 0;
    for (std::size_t i = 0; i <= text.size(); ++i) {
        if (i < text.size() && is_quoted && text[i] == '\\') ++i;
        else if (i < text.size() && text[i] == '"') is_quoted = !is_quoted;
        else if (i == text.size() || (!is_quoted && text[i] == separator)) {
            f(without_blanks(text.substr(begin, std::min(i, text.size()) - begin)));
            begin = i + 1;
        }
    }
}
/// The number in a part like `r=50`; empty if the part has another name, or no number.
constexpr std::optional<std::uint64_t> number_of(std::string_view part, std::string_view name) noexcept {
    const auto equals = part.find('=');
    if (equals == std::string_view::npos || !is_word(without_blanks(part.substr(0, equals)), name))
        return std::nullopt;
    const auto number = whole_number(without_blanks(part.substr(equals + 1)));
    return number && *number >= 0 ? std::optional(static_cast<std::uint64_t>(*number)) : std::nullopt;
}
constexpr std::optional<duration> seconds_of(std::optional<std::uint64_t> number) noexcept {
    if (!number) return std::nullopt;
    return duration_of(static_cast<std::int64_t>(*number), std::chrono::seconds{1});
}
/// The one that leaves fewer; of two that leave none, the one that lasts longer.
constexpr void keep_narrower(server_limit& limit, const server_limit& other) noexcept {
    if (!other.remaining) return;
    const bool is_narrower = !limit.remaining || *other.remaining < *limit.remaining ||
                             (other.remaining == limit.remaining && other.reset_after > limit.reset_after);
    if (is_narrower) limit.remaining = other.remaining, limit.reset_after = other.reset_after;
}
/// `"burst";r=0;t=5, "day";r=100;t=3600`, or of the drafts before: `limit=100, remaining=50, reset=5`.
constexpr server_limit limit_in(std::string_view value) {
    server_limit narrowest, old;
    each_part(value, ',', [&](std::string_view item) {
        server_limit one;
        each_part(item, ';', [&](std::string_view part) {
            if (const auto r = number_of(part, "r")) one.remaining = r;
            if (const auto t = number_of(part, "t")) one.reset_after = seconds_of(t);
            if (const auto r = number_of(part, "remaining")) old.remaining = r;
            if (const auto t = number_of(part, "reset")) old.reset_after = seconds_of(t);
        });
        keep_narrower(narrowest, one);
    });
    keep_narrower(narrowest, old);
    return narrowest;
}
/// The longest window of a RateLimit-Policy: `"burst";q=100;w=60`.
constexpr std::optional<duration> window_in(std::string_view value) {
    std::optional<duration> longest;
    each_part(value, ',', [&](std::string_view item) {
        each_part(item, ';', [&](std::string_view part) {
            longest = std::max(longest, seconds_of(number_of(part, "w")));
        });
    });
    return longest;
}

} // namespace detail

/// A server's limit in the headers of an answer, a range of pairs of name and value: `RateLimit` and `RateLimit-Policy` (IETF
/// draft-ietf-httpapi-ratelimit-headers, and the drafts with RateLimit-Remaining and RateLimit-Reset), X-RateLimit-Remaining
/// and X-RateLimit-Reset, and the server's hints as retry_after_in() has them. Of several limits the one that leaves fewest. A
/// reset may be in seconds from now or since 1970. What cannot be read is left out. `now` is the time by our clock.
template <class Headers>
server_limit server_limit_in(const Headers& headers, std::chrono::system_clock::time_point now) {
    server_limit limit, separate;
    std::optional<duration> window;
    for (const auto& [name, value] : headers) {
        const std::string_view text(value);
        if (detail::is_word(name, "ratelimit")) detail::keep_narrower(limit, detail::limit_in(text));
        if (detail::is_word(name, "ratelimit-policy")) window = std::max(window, detail::window_in(text));
        if (detail::is_word(name, "ratelimit-remaining") || detail::is_word(name, "x-ratelimit-remaining")) {
            const auto left = detail::whole_number(detail::without_blanks(text));
            if (left && *left >= 0) separate.remaining = static_cast<std::uint64_t>(*left);
        }
        if (detail::is_word(name, "ratelimit-reset") || detail::is_word(name, "x-ratelimit-reset")) {
            if (const auto reset = parse_retry_after(text, now)) separate.reset_after = *reset;
        }
    }
    detail::keep_narrower(limit, separate);
    if (limit.remaining && !limit.reset_after) limit.reset_after = window; // it is no longer than that
    limit.retry_after = retry_after_in(headers, now);
    return limit;
}
/// The hint of an exception that carries an HTTP answer.
inline server_limit server_limit_of(const hint_carrier& answer) {
    return {.retry_after = answer.retry_after()};
}

}} // namespace resilience::RESILIENCE_ABI
