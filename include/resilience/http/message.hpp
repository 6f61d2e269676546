// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/quote.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// Lower case for HTTP's own words: ASCII only, whatever the locale.
constexpr char lower_ascii(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

constexpr bool same_word(std::string_view a, std::string_view b) noexcept {
    return std::ranges::equal(a, b, {}, lower_ascii, lower_ascii);
}

/// Orders names of HTTP headers, ignoring case.
struct header_less {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const noexcept {
        return std::ranges::lexicographical_compare(a, b, {}, lower_ascii, lower_ascii);
    }
};

/// Decodes percent-encoding. Empty if an escape is malformed.
inline std::optional<std::string> percent_decoded(std::string_view text) {
    const auto digit = [](char c) {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
    };
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        if (text.size() - i < 3) return std::nullopt;
        const int high = digit(text[i + 1]);
        const int low = digit(text[i + 2]);
        if (high < 0 || low < 0) return std::nullopt;
        out += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return out;
}

/// Encodes what is neither a letter, a digit nor one of -._~/ (RFC 3986), for a query's values.
inline std::string percent_encoded(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           std::string_view("-._~/").find(c) != std::string_view::npos;
        const auto byte = static_cast<unsigned char>(c);
        if (plain) out += c;
        else (out += '%').append({digits[byte >> 4U], digits[byte & 15U]});
    }
    return out;
}

} // namespace detail

/// Headers by name, ignoring case.
using http_headers = std::map<std::string, std::string, detail::header_less>;

/// The parts of an HTTP request that an answer depends on.
struct http_request {
    std::string method{};
    /// The target as it came in the request line, percent-encoded and with its query.
    std::string target{};
    http_headers headers{};
    std::string body{};

    /// A header's value; empty if it is not there.
    std::string_view header(std::string_view name) const {
        const auto found = headers.find(name);
        return found == headers.end() ? std::string_view{} : std::string_view(found->second);
    }
};

namespace detail {

/// The parts of a target: its path, still encoded, and the arguments of its query, decoded.
struct request_target {
    std::string_view path;
    /// In the order of the query. A name without `=` has an empty value.
    std::vector<std::pair<std::string, std::string>> arguments;

    /// The value of the first argument of that name; empty if there is none.
    std::string argument(std::string_view name) const {
        for (const auto& [key, value] : arguments) {
            if (key == name) return value;
        }
        return {};
    }
    /// A complaint about the first argument that is not in `known` or is given twice. Empty if there is none. `_`
    /// is ignored: clients add it to get past caches.
    std::string unknown_argument(std::span<const std::string_view> known) const {
        for (auto it = arguments.begin(); it != arguments.end(); ++it) {
            if (it->first == "_") continue;
            const auto same = [&](const auto& other) { return other.first == it->first; };
            const bool is_known = std::ranges::find(known, std::string_view(it->first)) != known.end();
            if (is_known && std::none_of(arguments.begin(), it, same)) continue;
            std::string message = "argument '" + std::string(clipped(it->first, 64)) +
                                  "' is unknown or given twice; there are ";
            if (known.empty()) message += "none";
            for (const auto& each : known) message.append(&each == known.data() ? "" : ", ").append(each);
            return message;
        }
        return {};
    }
};

/// Reads a number of digits. An empty text leaves the value alone. False for anything else.
inline bool read_number(std::string_view text, std::optional<std::uint64_t>& value) {
    if (text.empty()) return true;
    std::uint64_t read = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read);
    if (error != std::errc{} || end != text.data() + text.size()) return false;
    value = read;
    return true;
}

/// Splits a target into its parts. Arguments are joined by `&`, and `+` is a blank. Returns a complaint about
/// the query's encoding, empty if there is none.
inline std::string read_target(std::string_view target, request_target& parts) {
    target = target.substr(0, target.find('#'));
    const auto question = target.find('?');
    parts.path = target.substr(0, question);
    if (question == std::string_view::npos) return {};
    std::string query(target.substr(question + 1));
    std::ranges::replace(query, '+', ' ');
    std::string_view left = query;
    while (!left.empty()) {
        const std::string_view argument = left.substr(0, left.find('&'));
        left.remove_prefix(std::min(left.size(), argument.size() + 1));
        if (argument.empty()) continue;
        const auto equals = argument.find('=');
        auto name = percent_decoded(argument.substr(0, equals));
        auto value = percent_decoded(equals == std::string_view::npos ? std::string_view{}
                                                                      : argument.substr(equals + 1));
        if (!name || !value) return "the query's percent-encoding is broken";
        parts.arguments.emplace_back(std::move(*name), std::move(*value));
    }
    return {};
}

} // namespace detail
}} // namespace resilience::RESILIENCE_ABI
