// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/platform.hpp>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <typeinfo>

#if RESILIENCE_BODIES
#include <resilience/detail/returned.hpp>
#include <resilience/detail/sync.hpp>

#include <array>
#include <cstddef>
#include <functional>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A duration for people: 2.4s, 350ms, 12us, 7ns. From a second on it has one decimal.
std::string duration_text(std::chrono::nanoseconds d);

/// All parts in a row.
std::string joined(std::initializer_list<std::string_view> parts);

/// An exception's what(), which may be null, as a string.
inline std::string said(const char* text) { return text != nullptr ? text : ""; }

/// A type's name as the programmer wrote it, without inline namespaces. The first time takes some 500 ns; most names
/// are remembered.
std::string demangled(const char* name);
inline std::string type_name(const std::type_info& type) { return demangled(type.name()); }

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION std::string joined(std::initializer_list<std::string_view> parts) {
    std::size_t size = 0;
    for (const std::string_view part : parts) size += part.size();
    std::string text(size, '\0');
    char* end = text.data();
    for (const std::string_view part : parts) end += part.copy(end, part.size());
    return text;
}
RESILIENCE_NOINLINE RESILIENCE_FUNCTION std::string duration_text(std::chrono::nanoseconds d) {
    const bool negative = d.count() < 0;
    auto n = negative ? 0 - static_cast<std::uint64_t>(d.count()) : static_cast<std::uint64_t>(d.count());
    std::array<char, 24> text; // written from its end
    auto at = text.end();
    const auto digit = [&] {
        *--at = static_cast<char>('0' + n % 10);
        n /= 10;
    };
    *--at = 's';
    if (n >= 1'000'000'000) {
        n /= 100'000'000;
        const auto seconds = at;
        digit();
        if (*at == '0') at = seconds;
        else *--at = '.';
    } else if (n >= 1'000'000) {
        *--at = 'm';
        n /= 1'000'000;
    } else if (n >= 1'000) {
        *--at = 'u';
        n /= 1'000;
    } else {
        *--at = 'n';
    }
    do digit();
    while (n != 0);
    if (negative) *--at = '-';
    return {at, text.end()};
}
/// Names of types that were read before, found by their characters: another type may lie at the address of one that
/// is gone with its plugin. An entry is made once and lives as long as the process, so that readers need no lock.
class known_names {
public:
    /// Null if the name is not there.
    static const std::string* find(std::string_view name) noexcept {
        for (std::size_t i = 0, first = first_place(name); i < tries; ++i) {
            // Acquire: sees the entry as the thread that published it made it.
            const auto* const known = entry_in(table_[(first + i) % places].load(std::memory_order_acquire));
            if (known == nullptr) break;
            if (known->name == name) return &known->text;
        }
        return nullptr;
    }
    /// Does nothing if the name's places are taken.
    RESILIENCE_COLD static void add(std::string_view name, const std::string& text) {
        if (name.size() > longest) return;
        entry* fresh = nullptr; // made for the first free place
        for (std::size_t i = 0, first = first_place(name); i < tries; ++i) {
            auto& place = table_[(first + i) % places];
            void* there = place.load(std::memory_order_acquire);
            if (there == nullptr) {
                if (fresh == nullptr) fresh = new entry{std::string(name), text};
                if (place.compare_exchange_strong(there, fresh, std::memory_order_acq_rel)) return;
            }
            if (entry_in(there)->name == name) break;
        }
        delete fresh;
    }

private:
    struct entry {
        std::string name, text;
    };
    static constexpr std::size_t places = 256, tries = 8, longest = 512;

    static const entry* entry_in(const void* place) noexcept { return static_cast<const entry*>(place); }
    static std::size_t first_place(std::string_view name) noexcept {
        return std::hash<std::string_view>{}(name);
    }
    static inline constinit remembered<void*> table_[places]{}; // entries; null: free
};

/// Reads a name that is not remembered.
RESILIENCE_COLD RESILIENCE_FUNCTION std::string read_type_name(const char* name) {
    const demangled_name read(name);
    std::string text = read.get();
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
    if (read.is_read())
        returned([&] { known_names::add(name, text); }); // without memory it is not remembered
    return text;
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string demangled(const char* name) {
    const std::string* const known = known_names::find(name);
    return known != nullptr ? *known : read_type_name(name);
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
