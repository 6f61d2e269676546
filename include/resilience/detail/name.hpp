// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>

#include <string>
#include <string_view>
#include <unordered_set>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A policy's name, interned once: copying it copies a pointer, so that a rejection allocates nothing.
/// The characters live as long as the process (a failure may outlive its policy and its registry);
/// equal names share them. Hence: names are for things that are few, never for a user or a URL.
class name {
public:
    name() noexcept = default;
    explicit name(std::string_view text) : text_(text.empty() ? nullptr : &intern(text)) {}

    const std::string& str() const noexcept { return text_ != nullptr ? *text_ : empty(); }

private:
    struct pool {
        struct hash : std::hash<std::string_view> {
            using is_transparent = void;
        };
        detail::mutex mutex;
        std::unordered_set<std::string, hash, std::equal_to<>> names; // guarded by mutex
    };

    static const std::string& empty() noexcept {
        static const auto& none = *new std::string; // leaked, as below
        return none;
    }
    static const std::string& intern(std::string_view text) {
        static pool& names = *new pool; // leaked: usable in static destructors
        const lock_guard lock(names.mutex);
        if (auto found = names.names.find(text); found != names.names.end()) return *found;
        return *names.names.emplace(text).first;
    }

    const std::string* text_ = nullptr; // null for the empty name
};

}}} // namespace resilience::RESILIENCE_ABI::detail
