// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The config in force, replaced as a whole. A call in flight keeps the config it began with, so replaced
/// configs are kept until the policy ends: an update costs memory, a call costs one load.
template <class Config>
class config_cell {
public:
    explicit config_cell(Config config);
    config_cell(const config_cell&) = delete;
    config_cell& operator=(const config_cell&) = delete;
    /// Destroys the list entry by entry: recursion over a long list could exhaust the stack.
    ~config_cell();

    /// The config in force. Acquire: pairs with the release in replace(), so that the fields are seen as they
    /// were written.
    const Config& get() const noexcept { return current_.load(std::memory_order_acquire)->config; }
    /// The config in force if it has that version, else null. Loads once, so that no replacement can come
    /// between the comparison and the result.
    const Config* get_if(std::uint16_t version) const noexcept {
        const entry* const now = current_.load(std::memory_order_acquire);
        return now->version == version ? &now->config : nullptr;
    }
    /// Counts the replacements; wraps.
    std::uint16_t version() const noexcept { return current_.load(std::memory_order_acquire)->version; }

    // Callers of the next two functions exclude each other by a lock of their own.

    void replace(Config config);
    /// The config of a version that was in force. If the number has wrapped and several have it, the newest
    /// of them.
    const Config& of_version(std::uint16_t version) const noexcept;

    /// The config that the policy was made with. Needs no lock.
    const Config& declared() const noexcept;

private:
    struct entry {
        Config config;
        std::uint16_t version;
        std::unique_ptr<entry> older; // not written once the entry is current
    };

    // Invariant: owns the newest entry, and each entry the one before it. No entry is destroyed before the cell. A list
    // by hand: including a container would cost more compile time than the rest of this header.
    atomic<entry*> current_{nullptr};
};

template <class Config>
config_cell<Config>::config_cell(Config config) {
    replace(std::move(config));
}
template <class Config>
config_cell<Config>::~config_cell() {
    std::unique_ptr<entry> newest(
        current_.load(std::memory_order_relaxed)); // no other thread knows the cell any more
    while (newest != nullptr) newest = std::move(newest->older);
}
template <class Config>
void config_cell<Config>::replace(Config config) {
    entry* const before = current_.load(std::memory_order_relaxed); // writers exclude each other
    const std::uint16_t version = before != nullptr ? static_cast<std::uint16_t>(before->version + 1) : 0;
    // Linked only once it is there: without memory for it the list must stay as it is.
    auto next = std::make_unique<entry>(entry{std::move(config), version, nullptr});
    next->older.reset(before);
    current_.store(next.release(), std::memory_order_release);
}
template <class Config>
const Config& config_cell<Config>::of_version(std::uint16_t version) const noexcept {
    const entry* found = current_.load(std::memory_order_relaxed); // writers exclude each other
    while (found->version != version && found->older != nullptr) found = found->older.get();
    return found->config;
}
template <class Config>
const Config& config_cell<Config>::declared() const noexcept {
    const entry* oldest = current_.load(std::memory_order_acquire);
    while (oldest->older != nullptr) oldest = oldest->older.get();
    return oldest->config;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
