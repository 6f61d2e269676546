// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/platform.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <typeinfo>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A duration for people: 2.4s, 350ms, 12us, 7ns. From a second on it has one decimal.
inline std::string duration_text(std::chrono::nanoseconds d) {
    const bool negative = d.count() < 0;
    auto n = negative ? 0 - static_cast<std::uint64_t>(d.count()) : static_cast<std::uint64_t>(d.count());
    std::string text = negative ? "-" : "";
    if (n >= 1'000'000'000) {
        const auto tenths = n / 100'000'000;
        text += std::to_string(tenths / 10);
        if (tenths % 10 != 0) text.append(".").append(std::to_string(tenths % 10));
        return text.append("s");
    }
    if (n >= 1'000'000) return text.append(std::to_string(n / 1'000'000)).append("ms");
    if (n >= 1'000) return text.append(std::to_string(n / 1'000)).append("us");
    return text.append(std::to_string(n)).append("ns");
}

/// An exception's what(), which may be null, as a string.
inline std::string said(const char* text) { return text != nullptr ? text : ""; }

/// A type's name as the programmer wrote it, without inline namespaces. Takes some 300 ns.
inline std::string demangled(const char* name) {
    std::string text = demangled_name(name).get();
#define RESILIENCE_TEXT_(x) #x "::"
#define RESILIENCE_TEXT(x) RESILIENCE_TEXT_(x)
    constexpr std::string_view own = RESILIENCE_TEXT(RESILIENCE_ABI);
#undef RESILIENCE_TEXT
#undef RESILIENCE_TEXT_
    for (const std::string_view inner : {own, namespace_in_std}) {
        if (inner.empty()) continue;
        for (auto at = text.find(inner); at != std::string::npos; at = text.find(inner, at)) {
            text.erase(at, inner.size());
        }
    }
    return text;
}
inline std::string type_name(const std::type_info& type) { return demangled(type.name()); }

}}} // namespace resilience::RESILIENCE_ABI::detail
