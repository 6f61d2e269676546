// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The first character of a text. A `length` of 0 means that the text does not begin with well-formed UTF-8;
/// overlong forms, surrogates and codes beyond U+10FFFF are not well-formed.
struct utf8_character {
    std::uint32_t code = 0;
    std::size_t length = 0;
};

constexpr utf8_character first_character(std::string_view text) noexcept {
    if (text.empty()) return {};
    const auto byte = [&](std::size_t i) {
        return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i]));
    };
    const std::uint32_t lead = byte(0);
    if (lead < 0x80) return {lead, 1};
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return {};
    std::uint32_t code = lead & (0x7FU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0U) != 0x80U) return {};
        code = (code << 6U) | (byte(i) & 0x3FU);
    }
    constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return {};
    return {code, length};
}

/// The characters that are escaped besides the quotes and the backslash.
enum class escaping {
    json, ///< as RFC 8259 demands: the controls below U+0020
    line, ///< also all that can break, overwrite or reorder a line on a terminal: DEL, C1, separators, bidi controls
};

constexpr bool must_escape(std::uint32_t code, escaping how) noexcept {
    if (code < 0x20) return true;
    if (how == escaping::json) return false;
    return (code >= 0x7F && code <= 0x9F) || (code >= 0x200E && code <= 0x200F) ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

/// Appends `text`, escaped as in JSON, so that it can stand between two `quote`s. Each byte that belongs to
/// no well-formed UTF-8 becomes U+FFFD, so that the result is always valid.
inline void append_escaped(std::string& out, std::string_view text, char quote, escaping how) {
    constexpr std::string_view digits = "0123456789abcdef";
    const auto special = [&](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte >= 0x7F || c == quote || c == '\\';
    };
    for (;;) {
        // Copies the longest run of plain characters at once: most texts are one such run.
        const auto plain = static_cast<std::size_t>(std::ranges::find_if(text, special) - text.begin());
        out += text.substr(0, plain);
        text.remove_prefix(plain);
        if (text.empty()) return;

        const auto [code, length] = first_character(text);
        if (length == 0) {
            out += "\xEF\xBF\xBD";
            text.remove_prefix(1);
            continue;
        }
        const char c = text.front();
        if (length == 1 && (c == quote || c == '\\')) {
            (out += '\\') += c;
        } else if (!must_escape(code, how)) {
            out += text.substr(0, length);
        } else if (c == '\n' || c == '\r' || c == '\t') {
            (out += '\\') += c == '\n' ? 'n' : c == '\r' ? 'r' : 't';
        } else if (c == '\b' || c == '\f') {
            (out += '\\') += c == '\b' ? 'b' : 'f';
        } else {
            out += "\\u";
            for (unsigned shift = 16; shift != 0;) out += digits[(code >> (shift -= 4U)) & 0xFU];
        }
        text.remove_prefix(length);
    }
}

inline std::string escaped(std::string_view text, char quote, escaping how) {
    std::string out;
    append_escaped(out, text, quote, how);
    return out;
}

/// `text`, or as much of its beginning as fits into `most` bytes without cutting a character.
constexpr std::string_view clipped(std::string_view text, std::size_t most) noexcept {
    if (text.size() <= most) return text;
    std::size_t end = most;
    for (unsigned back = 0; back < 3 && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U;
         ++back)
        --end;
    return text.substr(0, end);
}

}}} // namespace resilience::RESILIENCE_ABI::detail
