// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/environment/fields.hpp>
#include <resilience/environment/labels.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

// Shows the values of a config's fields, compares two configs, and validates one.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A duration in the largest unit that leaves a whole number, up to seconds: 90s, 1500ms.
std::string exact_duration(duration d);
/// The value of a field that is no struct of parts; empty if unset.
setting_value show(const field& f);
/// The text of a value in messages.
std::string text_of(const setting_value& value);
/// Compares a field of two configs. Two callables are the same unless they are known not to be: see
/// may_be_same().
bool same(const field& a, const field& b);
/// The values of a field in two configs, in brackets: ` (3, not 4)`. Empty if it has no text.
std::string both_texts(const field& a, const field& b);
/// The first field of `a` that differs in `b`, the same config's; null if none does.
const field* difference(const field_list& a, const field_list& b);

/// The fields of a config. They must not be written to: there is no list of const fields.
template <class Config>
field_list fields_of(const Config& config) {
    field_list list;
    fields(const_cast<Config&>(config), list);
    return list;
}

/// The first field in which two configs differ; empty if none. Names and labels are no fields.
template <class Config>
std::string_view difference(const Config& a, const Config& b) {
    const field_list as = fields_of(a), bs = fields_of(b);
    const field* other = difference(as, bs);
    return other != nullptr ? other->name : std::string_view{};
}

/// A complaint that names field, value and range; empty if the config is valid.
template <class Config>
std::string complaint_about(const Config& config) {
    std::string complaint;
    if constexpr (requires { validate(config); }) complaint = validate(config);
    if constexpr (requires { config.labels; }) {
        if (complaint.empty() && !config.labels.empty())
            complaint = labels_complaint(std::string(Config::policy_kind) + "_config", config.labels);
    }
    if constexpr (requires {
                      config.name;
                      Config::policy_kind;
                  }) {
        if (!complaint.empty() && !config.name.empty())
            complaint.insert(0, std::string(Config::policy_kind) + " '" + std::string(config.name) + "': ");
    }
    return complaint;
}
template <class Config>
labels_type labels_of(const Config& config) {
    if constexpr (requires { config.labels; }) return config.labels;
    else return {};
}

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::string exact_duration(duration d) {
    constexpr std::pair<duration::rep, const char*> units[] = {
        {1'000'000'000, "s"}, {1'000'000, "ms"}, {1'000, "us"}};
    for (const auto& [unit, name] : units) {
        if (d.count() % unit == 0) return std::to_string(d.count() / unit) + name;
    }
    return std::to_string(d.count()) + "ns";
}

RESILIENCE_COLD RESILIENCE_FUNCTION setting_value show(const field& f) {
    const auto plain = [&]<class T>(const T* value) {
        return value != nullptr ? setting_value(*value) : setting_value{};
    };
    switch (f.type) {
    case field_type::whole:
        if (const auto* value = f.get<unsigned>()) return std::uint64_t{*value};
        return {};
    case field_type::long_whole: return plain(f.get<std::uint64_t>());
    case field_type::number:
    case field_type::share: return plain(f.get<double>());
    case field_type::time:
        if (const auto* value = f.get<duration>()) return exact_duration(*value);
        return {};
    case field_type::yes_no: return plain(f.get<bool>());
    case field_type::text: return plain(f.get<std::string>());
    case field_type::word:
        for (std::size_t i = 0; i < f.words->count; ++i) {
            if (f.words->words[i].value == f.words->get(f.value)) return std::string(f.words->words[i].text);
        }
        return {};
    case field_type::other: return f.text->show(f.value);
    case field_type::parts:
    case field_type::hidden: break;
    }
    return {};
}

RESILIENCE_COLD RESILIENCE_FUNCTION bool same(const field& a, const field& b) {
    const auto equal = [](const auto* x, const auto* y) {
        return x == nullptr || y == nullptr ? x == y : *x == *y;
    };
    switch (a.type) {
    case field_type::whole: return equal(a.get<unsigned>(), b.get<unsigned>());
    case field_type::long_whole: return equal(a.get<std::uint64_t>(), b.get<std::uint64_t>());
    case field_type::number:
    case field_type::share: return equal(a.get<double>(), b.get<double>());
    case field_type::time: return equal(a.get<duration>(), b.get<duration>());
    case field_type::yes_no: return equal(a.get<bool>(), b.get<bool>());
    case field_type::text: return equal(a.get<std::string>(), b.get<std::string>());
    case field_type::word: return a.words->get(a.value) == b.words->get(b.value);
    case field_type::other: return a.text->same(a.value, b.value);
    case field_type::hidden: return a.same(a.value, b.value);
    case field_type::parts: break;
    }
    const void* const x = a.parts->get(a.value);
    const void* const y = b.parts->get(b.value);
    if (x == nullptr || y == nullptr) return x == y;
    field_list xs, ys;
    a.parts->list(const_cast<void*>(x), xs);
    b.parts->list(const_cast<void*>(y), ys);
    return difference(xs, ys) == nullptr;
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string both_texts(const field& a, const field& b) {
    if (a.type == field_type::hidden) return {};
    if (a.type != field_type::parts) return " (" + text_of(show(a)) + ", not " + text_of(show(b)) + ")";
    const void* const x = a.parts->get(a.value);
    const void* const y = b.parts->get(b.value);
    if (x == nullptr || y == nullptr) return x == nullptr ? " (unset, not set)" : " (set, not unset)";
    field_list xs, ys;
    a.parts->list(const_cast<void*>(x), xs);
    b.parts->list(const_cast<void*>(y), ys);
    const field* const part = difference(xs, ys);
    return "." + std::string(part->name) + both_texts(*part, ys[static_cast<std::size_t>(part - xs.begin())]);
}
RESILIENCE_COLD RESILIENCE_FUNCTION const field* difference(const field_list& a, const field_list& b) {
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (!same(a[i], b[i])) return &a[i];
    }
    return nullptr;
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string text_of(const setting_value& value) {
    if (const auto* text = std::get_if<std::string>(&value)) return text->substr(0, 64);
    if (const auto* whole = std::get_if<std::uint64_t>(&value)) return std::to_string(*whole);
    if (const auto* yes = std::get_if<bool>(&value)) return *yes ? "true" : "false";
    if (const auto* number = std::get_if<double>(&value)) {
        char text[32];
        std::snprintf(text, sizeof text, "%g", *number);
        if (std::strtod(text, nullptr) != *number) std::snprintf(text, sizeof text, "%.17g", *number);
        return text;
    }
    return "unset";
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
