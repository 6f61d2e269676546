// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/environment/policy_core.hpp>
#include <resilience/path/composable.hpp>
#include <resilience/retry/attempts.hpp>
#include <resilience/retry/config.hpp>
#include <resilience/retry/core.hpp>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Runs a call again while it fails in a way that may pass, after delays that grow and are random, and
/// only as long as its budget pays for it. When attempts run out the last outcome goes out unchanged.
///
/// A handle: copies share budget and statistics. Thread-safe.
class retry : public composable<retry>, public policy_handle<detail::retry_core> {
public:
    static constexpr bool retries = true;

    using policy_handle::policy_handle;
    retry() : retry(retry_config{}) {}

    // What follows is for drivers.

    detail::retry_attempts begin(call_context& ctx) const noexcept {
        return {*core_, core_->rules(), ctx.retry_depth(), 0};
    }

    struct fast_permit {
        const detail::retry_rules* rules; // those that the call began with; null: the full path must be taken
        explicit operator bool() const noexcept { return rules != nullptr; }
    };
    RESILIENCE_INLINE fast_permit try_begin() const noexcept {
        const detail::retry_rules& rules = core_->rules();
        if (rules.needs_full_path) [[unlikely]]
            return {nullptr};
        return {&rules};
    }
    RESILIENCE_INLINE void succeed(const fast_permit&) const noexcept {
        core_->count(detail::retry_core::at_once);
    }
    void abandon(const fast_permit&) const noexcept {}
    detail::retry_attempts resume(const fast_permit& t, call_context& ctx) const noexcept {
        const unsigned depth = ctx.retry_depth();
        ctx.set_retry_depth(depth + 1);
        return {*core_, *t.rules, depth, 1};
    }
};

}} // namespace resilience::RESILIENCE_ABI
