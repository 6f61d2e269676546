// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>

#include <cstdint>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// An entry of a config_cell, without its config, so that a list of them is compiled once for all configs.
struct config_version {
    std::uint16_t number;
    config_version* older; // not written once the entry is current
};

/// The config in force, replaced as a whole. A call in flight keeps the config it began with, so replaced
/// configs are kept until the policy ends: an update costs memory, a call costs one load.
template <class Config>
class config_cell {
public:
    explicit config_cell(Config config);
    config_cell(const config_cell&) = delete;
    config_cell& operator=(const config_cell&) = delete;
    ~config_cell();

    /// The config in force. Acquire: pairs with the release in replace(), so that the fields are seen as they
    /// were written.
    const Config& get() const noexcept { return config_of(*current_.load(std::memory_order_acquire)); }
    /// The config in force if it has that version, else null. Loads once, so that no replacement can come
    /// between the comparison and the result.
    const Config* get_if(std::uint16_t version) const noexcept {
        const config_version* const now = current_.load(std::memory_order_acquire);
        return now->number == version ? &config_of(*now) : nullptr;
    }
    /// Counts the replacements; wraps.
    std::uint16_t version() const noexcept { return current_.load(std::memory_order_acquire)->number; }

    // Callers of the next two functions exclude each other by a lock of their own.

    void replace(Config config);
    /// The config of a version that was in force. If the number has wrapped and several have it, the newest
    /// of them.
    const Config& of_version(std::uint16_t version) const noexcept;

    /// The config that the policy was made with. Needs no lock.
    const Config& declared() const noexcept;

private:
    struct entry : config_version {
        Config config;
    };
    static const Config& config_of(const config_version& v) noexcept {
        return static_cast<const entry&>(v).config;
    }

    // Invariant: the newest entry, and each has the one before it. No entry is destroyed before the cell. A list by hand:
    // a container of each config would cost more than all the rest in compile time and debug information.
    atomic<config_version*> current_{nullptr};
};

template <class Config>
config_cell<Config>::config_cell(Config config) {
    replace(std::move(config));
}
template <class Config>
RESILIENCE_COLD config_cell<Config>::~config_cell() {
    // Entry by entry: recursion over a long list could exhaust the stack. No other thread knows the cell any more.
    for (config_version* newest = current_.load(std::memory_order_relaxed); newest != nullptr;) {
        config_version* const older = newest->older;
        delete static_cast<entry*>(newest);
        newest = older;
    }
}
template <class Config>
RESILIENCE_COLD void config_cell<Config>::replace(Config config) {
    config_version* const before = current_.load(std::memory_order_relaxed); // writers exclude each other
    const std::uint16_t version = before != nullptr ? static_cast<std::uint16_t>(before->number + 1) : 0;
    // Linked only once it is there: without memory for it the list must stay as it is.
    current_.store(new entry{{version, before}, std::move(config)}, std::memory_order_release);
}
template <class Config>
const Config& config_cell<Config>::of_version(std::uint16_t version) const noexcept {
    const config_version* found = current_.load(std::memory_order_relaxed); // writers exclude each other
    while (found->number != version && found->older != nullptr) found = found->older;
    return config_of(*found);
}
template <class Config>
RESILIENCE_COLD const Config& config_cell<Config>::declared() const noexcept {
    const config_version* oldest = current_.load(std::memory_order_acquire);
    while (oldest->older != nullptr) oldest = oldest->older;
    return config_of(*oldest);
}

}}} // namespace resilience::RESILIENCE_ABI::detail
