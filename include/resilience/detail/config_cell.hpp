// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/sync.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace resilience::inline RESILIENCE_ABI::detail {

/// The config in force, replaced as a whole. Calls in flight go on under the one they began with, so
/// that replaced ones are kept until the policy ends: an update costs memory, a call costs one load.
template <class Config>
class config_cell {
public:
    explicit config_cell(Config config) {
        kept_.push_back(std::make_unique<const Config>(std::move(config)));
        current_.store(kept_.back().get(), std::memory_order_release);
    }

    /// Acquire: pairs with the release in replace(), so that the fields are seen as they were written.
    const Config& get() const noexcept { return *current_.load(std::memory_order_acquire); }

    /// Callers hold a lock of their own against each other.
    void replace(Config config) {
        kept_.push_back(std::make_unique<const Config>(std::move(config)));
        current_.store(kept_.back().get(), std::memory_order_release);
    }
    const Config& declared() const noexcept { return *kept_.front(); }

private:
    // Invariant: points to an element of kept_, of which none is ever removed.
    atomic<const Config*> current_{nullptr};
    std::vector<std::unique_ptr<const Config>> kept_;
};

} // namespace resilience::inline RESILIENCE_ABI::detail
