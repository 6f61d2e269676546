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
    const Config& declared() const noexcept { return *declared_; }

private:
    struct entry {
        Config config;
        std::uint16_t version;
        std::unique_ptr<entry> older;
    };

    // Invariant: points to the newest entry or to an older one. No entry is destroyed before the cell.
    atomic<const entry*> current_{nullptr};
    // A list by hand: including a container would cost more compile time than the rest of this header.
    std::unique_ptr<entry> newest_;
    const Config* declared_ = nullptr; // set in the constructor, before other threads can see the cell
};

template <class Config>
config_cell<Config>::config_cell(Config config) {
    replace(std::move(config));
    declared_ = &get();
}
template <class Config>
config_cell<Config>::~config_cell() {
    while (newest_ != nullptr) newest_ = std::move(newest_->older);
}
template <class Config>
void config_cell<Config>::replace(Config config) {
    const std::uint16_t version = newest_ != nullptr ? static_cast<std::uint16_t>(newest_->version + 1) : 0;
    // Linked only once it is there: without memory for it the list must stay as it is.
    auto next = std::make_unique<entry>(entry{std::move(config), version, nullptr});
    next->older = std::move(newest_);
    newest_ = std::move(next);
    current_.store(newest_.get(), std::memory_order_release);
}
template <class Config>
const Config& config_cell<Config>::of_version(std::uint16_t version) const noexcept {
    const entry* found = newest_.get();
    while (found->version != version && found->older != nullptr) found = found->older.get();
    return found->config;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
