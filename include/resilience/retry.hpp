// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/path/composable.hpp>
#include <resilience/retry/attempts.hpp>
#include <resilience/retry/config.hpp>
#include <resilience/retry/core.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Runs a call again while it fails in a way that may pass, after delays that grow and are random, and
/// only as long as its budget pays for it. When attempts run out the last outcome goes out unchanged.
///
/// A handle: copies share budget and statistics. Thread-safe.
class retry : public composable<retry> {
public:
    static constexpr std::string_view kind = detail::retry_core::policy_kind;
    static constexpr bool retries = true;

    explicit retry(retry_config config = {}) : retry(std::move(config), registry::global()) {}
    /// A name that the registry knows gives a handle to that policy, if the configs agree; otherwise
    /// std::invalid_argument names the field. An invalid config is a std::invalid_argument too.
    retry(retry_config config, registry& where) {
        detail::require_valid(validate(config));
        core_ = where.enroll<detail::retry_core>(
            config.name, [&] { return std::make_shared<detail::retry_core>(config, where.env()); });
        if (const auto field = detail::difference(core_->declared().config, config); !field.empty()) {
            detail::raise(std::invalid_argument("retry '" + config.name + "' exists already with another " +
                                                std::string(field)));
        }
    }

    retry_stats stats() const { return core_->stats(); }
    const std::string& name() const noexcept { return core_->name(); }
    /// The config in force; valid as long as the policy lives, whatever updates follow.
    const retry_config& config() const noexcept { return core_->rules().config; }
    /// New rules for calls that begin from now on. Invalid: throws std::invalid_argument, changes nothing.
    void update(retry_config config) const { core_->update(std::move(config)); }

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
    const detail::environment* env() const noexcept { return core_->env().get(); }
    static retry from_registered(std::shared_ptr<detail::registered> found) {
        return retry(std::static_pointer_cast<detail::retry_core>(std::move(found)));
    }

private:
    explicit retry(std::shared_ptr<detail::retry_core> core) noexcept : core_(std::move(core)) {}

    std::shared_ptr<detail::retry_core> core_;
};

}} // namespace resilience::RESILIENCE_ABI
