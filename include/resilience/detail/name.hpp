// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <string>
#include <string_view>

#if RESILIENCE_BODIES
#include <resilience/detail/immortal.hpp>
#include <resilience/detail/sync.hpp>

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A policy's name, interned once: copying it copies a pointer, so that a rejection allocates nothing.
/// The characters live as long as the process (a failure may outlive its policy and its registry);
/// equal names share them. Use names for few things, never for a user or a URL.
class name {
public:
    name() noexcept = default;
    explicit name(std::string_view text) : text_(text.empty() ? nullptr : &intern(text)) {}

    const std::string& str() const noexcept { return text_ != nullptr ? *text_ : empty(); }

private:
    struct pool;

    static const std::string& empty() noexcept;
    static const std::string& intern(std::string_view text);

    const std::string* text_ = nullptr; // null for the empty name
};

#if RESILIENCE_BODIES
/// All names, in an open-addressed table: <unordered_set> would cost every user's compiler more than this costs us.
struct name::pool {
    detail::mutex mutex;
    std::vector<const std::string*> table{
        std::vector<const std::string*>(64)}; // guarded by mutex, as is count
    std::size_t count = 0;

    /// The slot of the name, or the free slot where it belongs.
    static const std::string*& place(std::vector<const std::string*>& in, std::string_view text) noexcept {
        std::size_t at = std::hash<std::string_view>{}(text) & (in.size() - 1);
        while (in[at] != nullptr && *in[at] != text) at = (at + 1) & (in.size() - 1);
        return in[at];
    }
    void grow() {
        std::vector<const std::string*> larger(table.size() * 2);
        for (const std::string* known : table) {
            if (known != nullptr) place(larger, *known) = known;
        }
        table = std::move(larger);
    }
};

RESILIENCE_FUNCTION const std::string& name::empty() noexcept {
    static constinit immortal<std::string> none;
    return none.get();
}
RESILIENCE_COLD RESILIENCE_FUNCTION const std::string& name::intern(std::string_view text) {
    static constinit immortal<pool> all;
    pool& names = all.get();
    const lock_guard lock(names.mutex);
    if (const std::string* known = pool::place(names.table, text)) return *known;
    if (2 * names.count >= names.table.size()) names.grow();
    const std::string*& place = pool::place(names.table, text);
    place = new const std::string(text);
    ++names.count;
    return *place;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
