// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/decimal.hpp>
#include <resilience/mechanism/backoff.hpp>
#include <resilience/mechanism/breaker_rules.hpp>
#include <resilience/retry/config.hpp>

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#if !defined(__cpp_lib_to_chars)
#include <clocale>
#include <cmath>
#include <cstdlib>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// The value of a config's field for views: nothing where an optional field is unset, a number, yes or no, or
/// a word. Durations are texts with a unit, such as 1500ms.
using setting_value = std::variant<std::monostate, bool, std::uint64_t, double, std::string>;

namespace detail {

/// How a value of type T is written where it comes as text, in a variable or a request: parse(), what is
/// `accepted` for the complaint, and what views show() of it, which parse() reads back the same.
template <class T>
struct text_form;

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

/// A share in [0, 1], as 0.5 or 50%.
struct share {
    double value = 0;
};

template <>
struct text_form<unsigned> {
    static constexpr std::string_view accepted = "a whole number from 0 to 4294967295";
    static bool parse(std::string_view text, unsigned& value) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        return error == std::errc{} && end == text.data() + text.size();
    }
    static setting_value show(unsigned value) { return std::uint64_t{value}; }
};
template <>
struct text_form<double> {
    static constexpr std::string_view accepted = "a number such as 2 or 1.5";
    static bool parse(std::string_view text, double& value) { return parse_number(text, value); }
    static setting_value show(double value) { return value; }
};
template <>
struct text_form<share> {
    static constexpr std::string_view accepted = "a share such as 0.5 or 50%";
    static bool parse(std::string_view text, share& share) {
        const bool percent = text.ends_with('%');
        if (!percent) return parse_number(text, share.value);
        text.remove_suffix(1);
        return parse_decimal(text, 2, share.value);
    }
    static setting_value show(double value) { return value; }
};
template <>
struct text_form<duration> {
    static constexpr std::string_view accepted =
        "a number with a unit (ns, us, ms, s, m or h) such as 500ms or 1.5s";
    static bool parse(std::string_view text, duration& value) { return parse_duration(text, value); }
    /// In the largest unit that leaves a whole number, up to seconds.
    static setting_value show(duration value) {
        constexpr std::array<std::pair<duration, const char*>, 3> units{
            {{std::chrono::seconds{1}, "s"},
             {std::chrono::milliseconds{1}, "ms"},
             {std::chrono::microseconds{1}, "us"}}};
        for (const auto& [unit, name] : units) {
            if (value % unit == duration{0}) return std::to_string(value / unit) + name;
        }
        return std::to_string(value.count()) + "ns";
    }
};

/// The form of what is one of a few words; the first word for a value is the one that is shown.
template <class T, std::size_t N>
bool parse_word(std::string_view text, const std::array<std::pair<std::string_view, T>, N>& words, T& value) {
    for (const auto& [word, meaning] : words) {
        if (text != word) continue;
        value = meaning;
        return true;
    }
    return false;
}
template <class T, std::size_t N>
setting_value shown_word(const std::array<std::pair<std::string_view, T>, N>& words, T value) {
    for (const auto& [word, meaning] : words) {
        if (meaning == value) return std::string(word);
    }
    return std::monostate{};
}

template <>
struct text_form<bool> {
    static constexpr std::string_view accepted = "true, false, 1 or 0";
    static bool parse(std::string_view text, bool& value) {
        constexpr std::array<std::pair<std::string_view, bool>, 4> words{
            {{"true", true}, {"false", false}, {"1", true}, {"0", false}}};
        return parse_word(text, words, value);
    }
    static setting_value show(bool value) { return value; }
};
template <>
struct text_form<backoff> {
    static constexpr std::string_view accepted = "constant, linear, exponential or decorrelated";
    static constexpr std::array<std::pair<std::string_view, backoff>, 4> words{
        {{"constant", backoff::constant},
         {"linear", backoff::linear},
         {"exponential", backoff::exponential},
         {"decorrelated", backoff::decorrelated}}};
    static bool parse(std::string_view text, backoff& value) { return parse_word(text, words, value); }
    static setting_value show(backoff value) { return shown_word(words, value); }
};
template <>
struct text_form<jitter> { // where it used to be a boolean, true is full
    static constexpr std::string_view accepted =
        "none, full, equal or proportional (true: full, false: none)";
    static constexpr std::array<std::pair<std::string_view, jitter>, 6> words{
        {{"none", jitter::none},
         {"full", jitter::full},
         {"equal", jitter::equal},
         {"proportional", jitter::proportional},
         {"true", jitter::full},
         {"false", jitter::none}}};
    static bool parse(std::string_view text, jitter& value) { return parse_word(text, words, value); }
    static setting_value show(jitter value) { return shown_word(words, value); }
};
template <>
struct text_form<nested_retry> {
    static constexpr std::string_view accepted = "multiply or outermost_only";
    static constexpr std::array<std::pair<std::string_view, nested_retry>, 2> words{
        {{"multiply", nested_retry::multiply}, {"outermost_only", nested_retry::outermost_only}}};
    static bool parse(std::string_view text, nested_retry& value) { return parse_word(text, words, value); }
    static setting_value show(nested_retry value) { return shown_word(words, value); }
};
template <>
struct text_form<std::variant<count_window, time_window>> {
    static constexpr std::string_view accepted = "a number of calls such as 100, or a time such as 60s";
    static bool parse(std::string_view text, std::variant<count_window, time_window>& value) {
        if (unsigned calls = 0; text_form<unsigned>::parse(text, calls)) {
            value = count_window{calls};
            return true;
        }
        duration length{};
        if (!parse_duration(text, length)) return false;
        value = time_window{length};
        return true;
    }
    static setting_value show(const std::variant<count_window, time_window>& value) {
        if (const auto* calls = std::get_if<count_window>(&value)) return std::uint64_t{calls->size};
        return text_form<duration>::show(std::get<time_window>(value).length);
    }
};

} // namespace detail
}} // namespace resilience::RESILIENCE_ABI
