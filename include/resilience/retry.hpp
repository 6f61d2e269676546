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
    static constexpr bool repeats = true;

    using policy_handle::policy_handle;
    retry() : retry(retry_config{}) {}

    // What follows is for drivers.

    detail::retry_attempts begin(call_context& ctx) const noexcept {
        return {*core_, core_->rules(), ctx.retry_depth(), 0};
    }

    struct ticket {
        unsigned attempts;
        const detail::retry_rules* rules; // those that the call began with; null: the long way must be taken
        explicit operator bool() const noexcept { return rules != nullptr; }
    };
    RESILIENCE_INLINE ticket try_begin() const noexcept {
        const detail::retry_rules& rules = core_->rules();
        if (rules.takes_long_way) [[unlikely]]
            return {1, nullptr};
        return {1, &rules};
    }
    RESILIENCE_INLINE void succeed(const ticket&) const noexcept {
        core_->count(detail::retry_core::at_once);
    }
    void abandon(const ticket&) const noexcept {}
    detail::retry_attempts resume(const ticket& t, call_context& ctx) const noexcept {
        const unsigned depth = ctx.retry_depth();
        ctx.set_retry_depth(depth + 1);
        return {*core_, *t.rules, depth, t.attempts};
    }
    /// Whether another attempt is due at once and nobody needs to hear or to limit it. `judge()` gives the
    /// failure in short; it is asked last, and only where the rest allows an attempt.
    template <class Judge>
    bool again(ticket& t, Judge&& judge) const {
        const detail::retry_rules& rules = *t.rules;
        if (!rules.repeats_at_once || t.attempts >= rules.config.max_attempts) return false;
        if (core_->env()->has_listeners() || detail::this_threads_calls.current != nullptr) return false;
        const detail::failure_in_short why = judge();
        if (why.judged != verdict::failure || why.has_hint) return false;
        core_->count(detail::retry_core::failed_attempts, detail::retry_core::retries);
        ++t.attempts;
        return true;
    }
    void succeed_again(const ticket&) const noexcept { core_->count(detail::retry_core::after_retry); }

    template <class F>
    RESILIENCE_INLINE decltype(auto) with_policies(F&& f) const {
        return f(*this);
    }
};

}} // namespace resilience::RESILIENCE_ABI
