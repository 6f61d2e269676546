// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The config in force, replaced as a whole. Calls in flight go on under the one they began with, so
/// that replaced ones are kept until the policy ends: an update costs memory, a call costs one load.
template <class Config>
class config_cell {
public:
    explicit config_cell(Config config) {
        replace(std::move(config));
        declared_ = &get();
    }
    config_cell(const config_cell&) = delete;
    config_cell& operator=(const config_cell&) = delete;
    /// One by one: the list may be longer than a stack is deep.
    ~config_cell() {
        while (newest_ != nullptr) newest_ = std::move(newest_->older);
    }

    /// Acquire: pairs with the release in replace(), so that the fields are seen as they were written.
    const Config& get() const noexcept { return current_.load(std::memory_order_acquire)->config; }
    /// The same, if it is of that version; else null. One look, so that it cannot be replaced in between.
    const Config* get_if(std::uint16_t version) const noexcept {
        const entry* const now = current_.load(std::memory_order_acquire);
        return now->version == version ? &now->config : nullptr;
    }
    /// Counts the replacements; wraps.
    std::uint16_t version() const noexcept { return current_.load(std::memory_order_acquire)->version; }

    // Callers of these two hold a lock of their own against each other.

    void replace(Config config) {
        const std::uint16_t version =
            newest_ != nullptr ? static_cast<std::uint16_t>(newest_->version + 1) : 0;
        newest_ = std::make_unique<entry>(entry{std::move(config), version, std::move(newest_)});
        current_.store(newest_.get(), std::memory_order_release);
    }
    /// The config of a version that was in force; the youngest if the number has come round.
    const Config& of_version(std::uint16_t version) const noexcept {
        const entry* found = newest_.get();
        while (found->version != version && found->older != nullptr) found = found->older.get();
        return found->config;
    }

    /// The first one. Needs no lock.
    const Config& declared() const noexcept { return *declared_; }

private:
    struct entry {
        Config config;
        std::uint16_t version;
        std::unique_ptr<entry> older;
    };

    // Invariant: points to newest_, or to one that it has been; none is destroyed before the cell is.
    atomic<const entry*> current_{nullptr};
    std::unique_ptr<entry> newest_;    // a list: a container would cost the compiler more than all the rest
    const Config* declared_ = nullptr; // set once, before anybody else knows the cell
};

}}} // namespace resilience::RESILIENCE_ABI::detail
