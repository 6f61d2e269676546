// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/decimal.hpp>
#include <resilience/environment/fields.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#if !defined(__cpp_lib_to_chars)
#include <clocale>
#include <cmath>
#include <cstdlib>
#endif

// How the fields of configs are read from texts, of variables or of requests.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

inline constexpr std::string_view accepted_durations =
    "a number with a unit (ns, us, ms, s, m or h) such as 500ms or 1.5s";

/// A decimal of any length: the shortest text of a double may have 17 digits.
inline bool parse_number(std::string_view text, double& value) {
    if (parse_decimal(text, 0, value)) return true;
    decimal_text parts;
    if (!split_decimal(text, parts)) return false;
#if defined(__cpp_lib_to_chars)
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size();
#else // libc++ before 20
    std::string own(text);
    if (const auto point = own.find('.'); point != std::string::npos)
        own.replace(point, 1, std::localeconv()->decimal_point); // the one that std::strtod reads
    char* end = nullptr;
    value = std::strtod(own.c_str(), &end);
    return end == own.c_str() + own.size() && std::isfinite(value);
#endif
}
/// As 0.5 or 50%.
inline bool parse_share(std::string_view text, double& value) {
    if (!text.ends_with('%')) return parse_number(text, value);
    text.remove_suffix(1);
    return parse_decimal(text, 2, value);
}
inline bool parse_yes_no(std::string_view text, bool& value) {
    value = text == "true" || text == "1";
    return value || text == "false" || text == "0";
}
inline bool parse_word(std::string_view text, const field& f) {
    for (std::size_t i = 0; i < f.words->count; ++i) {
        if (f.words->words[i].text != text) continue;
        f.words->set(f.value, f.words->words[i].value);
        return true;
    }
    return false;
}

/// Writes a value of type T to a field if `parse` takes the text for one.
template <class T, class Parse>
bool parse_as(const field& f, Parse&& parse) {
    T value{};
    if (!parse(value)) return false;
    if (f.optional) *static_cast<std::optional<T>*>(f.value) = std::move(value);
    else *static_cast<T*>(f.value) = std::move(value);
    return true;
}

/// Reads a text into a field that is neither hidden nor made of parts; false, and the field as it was, if it is not in
/// the form.
inline bool parse(std::string_view text, const field& f) {
    switch (f.type) {
    case field_type::whole:
        return parse_as<unsigned>(f, [&](auto& value) { return parse_whole(text, value); });
    case field_type::long_whole:
        return parse_as<std::uint64_t>(f, [&](auto& value) { return parse_whole(text, value); });
    case field_type::number:
        return parse_as<double>(f, [&](auto& value) { return parse_number(text, value); });
    case field_type::share: return parse_as<double>(f, [&](auto& value) { return parse_share(text, value); });
    case field_type::time:
        return parse_as<duration>(f, [&](auto& value) { return parse_duration(text, value); });
    case field_type::yes_no: return parse_as<bool>(f, [&](auto& value) { return parse_yes_no(text, value); });
    case field_type::text:
        return parse_as<std::string>(f, [&](auto& value) {
            value = text;
            return true;
        });
    case field_type::word: return parse_word(text, f);
    case field_type::other: return f.text->parse(text, f.value);
    case field_type::parts:
    case field_type::hidden: break;
    }
    return false;
}

/// Precondition: the field is optional, and neither hidden nor made of parts.
inline void unset(const field& f) {
    switch (f.type) {
    case field_type::whole: return static_cast<std::optional<unsigned>*>(f.value)->reset();
    case field_type::long_whole: return static_cast<std::optional<std::uint64_t>*>(f.value)->reset();
    case field_type::number:
    case field_type::share: return static_cast<std::optional<double>*>(f.value)->reset();
    case field_type::time: return static_cast<std::optional<duration>*>(f.value)->reset();
    case field_type::yes_no: return static_cast<std::optional<bool>*>(f.value)->reset();
    case field_type::text: return static_cast<std::optional<std::string>*>(f.value)->reset();
    case field_type::word: return f.words->set(f.value, word_methods::unset);
    case field_type::other: return f.text->unset(f.value);
    case field_type::parts:
    case field_type::hidden: break;
    }
}

/// `constant, linear, exponential or decorrelated`; a value's further words in brackets: `(true: full, false: none)`.
inline std::string accepted_words(const word_methods& all) {
    std::string first, also;
    std::size_t last = 0; // where the last of the first words begins
    for (std::size_t i = 0; i < all.count; ++i) {
        std::size_t same = 0;
        while (all.words[same].value != all.words[i].value) ++same;
        if (same == i) {
            if (!first.empty()) first += ", ";
            last = first.size();
            first += all.words[i].text;
        } else {
            also.append(also.empty() ? " (" : ", ").append(all.words[i].text);
            also.append(": ").append(all.words[same].text);
        }
    }
    if (last > 0) first.replace(last - 2, 2, " or ");
    return also.empty() ? first : first + also + ")";
}

/// For complaints: what a field may be.
inline std::string accepted(const field& f) {
    switch (f.type) {
    case field_type::whole: return "a whole number from 0 to 4294967295";
    case field_type::long_whole: return "a whole number from 0 to 18446744073709551615";
    case field_type::number: return "a number such as 2 or 1.5";
    case field_type::share: return "a share such as 0.5 or 50%";
    case field_type::time: return std::string(accepted_durations);
    case field_type::yes_no: return "true, false, 1 or 0";
    case field_type::text: return "a text";
    case field_type::word: return accepted_words(*f.words);
    case field_type::other: return std::string(f.text->accepted);
    case field_type::parts:
    case field_type::hidden: break;
    }
    return {};
}

}}} // namespace resilience::RESILIENCE_ABI::detail
