// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/bulkhead/config.hpp>
#include <resilience/bulkhead/core.hpp>
#include <resilience/path/composable.hpp>

#include <memory>
#include <optional>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Bounds the attempts that run at once, so that a dependency that has become slow takes no more than its share of threads
/// and connections (Nygard, "Release It!"). Calls beyond that are refused with bulkhead_full, or wait in a bounded queue.
///
/// A place is handed from who leaves to who waits in one step: newcomers never overtake, and who gives up in that instant
/// hands it on. A full queue makes way for calls of higher priority; a call gains a priority every half of max_wait. Calls
/// that cannot get a place before their deadline are refused at once. A call that waits inside of a place of the same
/// bulkhead may wait for itself: until max_wait.
///
/// A handle: copies share the places. Thread-safe.
class bulkhead : public composable<bulkhead>, public policy_handle<detail::bulkhead_core> {
public:
    using policy_handle::policy_handle;
    bulkhead() : bulkhead(bulkhead_config{}) {}
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    explicit bulkhead(...) = delete; // resilience: this is no bulkhead_config: a field is misspelt or of another type; bulkhead(bulkhead_config{...}) makes the compiler name it
    // clang-format on

    /// A place, for code that cannot be a callable; the destructor gives it back. It keeps the bulkhead alive.
    class [[nodiscard]] permit {
    public:
        permit(permit&& other) noexcept = default;
        permit& operator=(permit&& other) noexcept {
            permit(std::move(other)).swap(*this);
            return *this;
        }
        ~permit() {
            if (core_) core_->give(place_);
        }

    private:
        friend class bulkhead;
        permit(std::shared_ptr<detail::bulkhead_core> core, const detail::bulkhead_place& place) noexcept
            : core_(std::move(core)), place_(place) {}
        void swap(permit& other) noexcept {
            core_.swap(other.core_);
            std::swap(place_, other.place_);
        }

        std::shared_ptr<detail::bulkhead_core> core_; // null: moved from
        detail::bulkhead_place place_;
    };
    /// Empty if no place is free, or others wait for one; that counts as a rejection. Never waits.
    std::optional<permit> try_acquire() const {
        auto core = core_; // a listener may destroy this handle
        const detail::bulkhead_place place = core->try_take();
        if (!place) return std::nullopt;
        return permit(std::move(core), place);
    }

    // For drivers.

    class attempt_state final : detail::bulkhead_entry {
    public:
        explicit attempt_state(std::shared_ptr<detail::bulkhead_core> core) noexcept
            : core_(std::move(core)) {}
        attempt_state(std::shared_ptr<detail::bulkhead_core> core,
                      const detail::bulkhead_place& place) noexcept
            : core_(std::move(core)) {
            since = place.since;
            process = place.process;
            now = part::passes;
        }
        attempt_state(const attempt_state&) = delete;
        attempt_state& operator=(const attempt_state&) = delete;
        ~attempt_state() { core_->leave(*this); }

        admission admit(call_context& ctx) { return core_->admit(*this, ctx); }
        settlement settle(const attempt_result&, call_context&) {
            core_->leave(*this);
            return settlement::finish();
        }

    private:
        std::shared_ptr<detail::bulkhead_core> core_;
    };
    attempt_state begin(call_context&) const noexcept { return attempt_state(core_); }

    /// Its permit takes a place, which has to be given back.
    static constexpr bool reserves = true;
    using fast_permit = detail::bulkhead_place;
    RESILIENCE_INLINE fast_permit try_begin() const noexcept { return core_->take(); }
    RESILIENCE_INLINE void succeed(const fast_permit& p) const noexcept { core_->give(p); }
    RESILIENCE_INLINE void settle_alone(const fast_permit& p, const attempt_result&) const noexcept {
        core_->give(p);
    }
    void abandon(const fast_permit& p) const noexcept { core_->give(p); }
    attempt_state resume(const fast_permit& p, call_context&) const noexcept {
        return attempt_state(core_, p);
    }
};

}} // namespace resilience::RESILIENCE_ABI
