// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/environment/policy_core.hpp>
#include <resilience/path/composable.hpp>
#include <resilience/retry/attempts.hpp>
#include <resilience/retry/config.hpp>
#include <resilience/retry/core.hpp>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Runs a call again while it fails in a way that may pass, after delays that grow and are random, and only
/// as long as its budget pays. When the attempts run out, the last outcome goes out unchanged.
///
/// A handle: copies share budget and statistics. Thread-safe.
class retry : public composable<retry>, public policy_handle<detail::retry_core> {
public:
    static constexpr bool retries = true;

    using policy_handle::policy_handle;
    retry() : retry(retry_config{}) {}
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    explicit retry(...) = delete; // resilience: this is no retry_config: a field is misspelt or of another type; retry(retry_config{...}) makes the compiler name it
    // clang-format on

    // For drivers.

    detail::retry_attempts begin(call_context& ctx) const noexcept {
        return {*core_, core_->rules(), ctx, 0};
    }

    struct fast_permit {
        const detail::retry_rules* rules; // in force when the call began; null: take the full path
        explicit operator bool() const noexcept { return rules != nullptr; }
    };
    RESILIENCE_INLINE fast_permit try_begin() const noexcept {
        const detail::retry_rules& rules = core_->rules();
        if (rules.needs_full_path) [[unlikely]]
            return {nullptr};
        return {&rules};
    }
    RESILIENCE_INLINE void succeed(const fast_permit&) const noexcept {
        core_->count(detail::retry_core::succeeded_first_time);
    }
    void abandon(const fast_permit&) const noexcept {}
    detail::retry_attempts resume(const fast_permit& permit, call_context& ctx) const noexcept {
        return {*core_, *permit.rules, ctx, 1};
    }
};

}} // namespace resilience::RESILIENCE_ABI
