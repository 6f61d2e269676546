// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

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
        kept_.push_back(std::make_unique<const entry>(
            entry{std::move(config), static_cast<std::uint16_t>(kept_.size())}));
        current_.store(kept_.back().get(), std::memory_order_release);
    }
    /// The config of a version that was in force; the youngest if the number has come round.
    const Config& of_version(std::uint16_t version) const noexcept {
        const auto age = static_cast<std::uint16_t>(kept_.back()->version - version);
        return kept_[kept_.size() - 1 - age]->config;
    }

    /// The first one. Needs no lock.
    const Config& declared() const noexcept { return *declared_; }

private:
    struct entry {
        Config config;
        std::uint16_t version;
    };

    // Invariant: points to an element of kept_, of which none is ever removed.
    atomic<const entry*> current_{nullptr};
    std::vector<std::unique_ptr<const entry>> kept_;
    const Config* declared_ = nullptr; // set once, before anybody else knows the cell
};

}}} // namespace resilience::RESILIENCE_ABI::detail
