// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/error.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/detail/config_cell.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/environment/field_values.hpp>
#include <resilience/environment/registered_policy.hpp>
#include <resilience/registry.hpp>

#include <concepts>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

// The common part of policies with a config. Such a policy consists of a config described by fields(),
// statistics described by statistics(), a core that derives from policy_core, and a handle that derives from
// policy_handle.

namespace resilience { inline namespace RESILIENCE_ABI {

/// The shared state of a policy: name, labels, config, statistics, events. `Core` derives from it and is
/// final. Its `stats()` returns a struct described by statistics().
///
///     struct Config {
///         static constexpr std::string_view policy_kind = "cap"; // names the kind in the registry and in all views
///         std::string name{};
///         ...                                                    // described by fields(config, visitor)
///         labels_type labels{};                                  // may be left out
///     };
///
/// `validate(config)` beside the config returns a complaint, or an empty text; it may be left out. `Rules` is
/// a struct with a member `config` and values computed from it, for policies whose calls need more than the
/// config.
template <class Core, class Config, class Rules = Config>
class policy_core : public registered_policy, public std::enable_shared_from_this<Core> {
public:
    using config_type = Config;
    static constexpr std::string_view policy_kind = Config::policy_kind;

    // NOLINTNEXTLINE(bugprone-crtp-constructor-accessibility): a core inherits it
    policy_core(Rules rules, const registry& where);

    /// The rules in force. The reference stays valid until the policy ends, also after updates.
    const Rules& rules() const noexcept { return rules_.get(); }
    const Config& config() const noexcept { return config_in(rules()); }
    /// The config that the policy was made with.
    const Config& declared() const noexcept { return config_in(rules_.declared()); }
    time_source& clock() const noexcept { return env_->clock(); }
    bool has_listeners() const noexcept { return env_->has_listeners(); }

    /// Replaces the config for calls that begin later. Throws std::invalid_argument, and changes nothing, if
    /// it is not valid or has another name or other labels.
    void update(Config config);

    /// Publishes events about a call, if anybody listens. They are of the same moment and failure, so that time and
    /// texts are made once. `why` may be null; describe(event&) sets the other members of each. Called with no lock held.
    template <class Describe>
    void publish(std::initializer_list<event_kind> what, const call_context& ctx, const failure* why,
                 Describe&& describe) const {
        if (!has_listeners()) return;
        const auto keep = this->shared_from_this(); // a listener may destroy the last handle
        publish_all(what, ctx, why, describe);
    }
    template <class Describe>
    void publish(event_kind what, const call_context& ctx, const failure* why, Describe&& describe) const {
        publish({what}, ctx, why, describe);
    }

    /// Publishes a refusal, or one that dry_run left out, if anybody listens. `ctx` is null for permits by hand. Called with
    /// no lock held.
    void publish_refused(event_kind what, const rejection& why, const call_context* ctx) const {
        if (!has_listeners()) return;
        const auto keep = this->shared_from_this();
        publish_refusal(what, why, ctx);
    }

    // For policies.

    std::string_view kind() const noexcept final { return policy_kind; }
    policy_snapshot snapshot() const final;
    std::optional<circuit_breaker_stats> circuit() const final;
    glance look() const noexcept final;
    void list_fields(field_list& into) const final;
    bool edit(config_editor& editor) final;
    /// Throws std::invalid_argument if the config differs from the one that the policy was made with.
    void require_same(const Config& other) const;

protected:
    /// Applies an update. A core that has more to do hides this by a function of its own, which calls
    /// replace() with mutex_ held.
    void apply(Config config)
        requires std::same_as<Rules, Config>
    {
        const detail::lock_guard lock(mutex_);
        replace(std::move(config));
    }
    /// Called with mutex_ held.
    void replace(Rules rules);
    detail::config_cell<Rules>& rules_cell() noexcept { return rules_; }
    const detail::config_cell<Rules>& rules_cell() const noexcept { return rules_; }

    mutable detail::mutex mutex_; // orders updates; a core may guard its own members by it

private:
    static const Config& config_in(const Rules& rules) noexcept {
        if constexpr (std::same_as<Rules, Config>)
            return rules; // NOLINT(bugprone-return-const-ref-from-parameter)
        else return rules.config;
    }

    detail::config_cell<Rules> rules_;
};

template <class Core, class Config, class Rules>
RESILIENCE_COLD policy_core<Core, Config, Rules>::policy_core(Rules rules, const registry& where)
    : registered_policy(config_in(rules).name, detail::labels_of(config_in(rules)), where.env()),
      rules_(std::move(rules)) {}

template <class Core, class Config, class Rules>
RESILIENCE_COLD void policy_core<Core, Config, Rules>::update(Config config) {
    detail::require_valid(detail::complaint_about(config));
    require_own(config.name, detail::labels_of(config));
    const auto keep = this->shared_from_this(); // who is let in by it may destroy the last handle
    static_cast<Core&>(*this).apply(std::move(config));
    publish_updated();
}

template <class Core, class Config, class Rules>
RESILIENCE_COLD void policy_core<Core, Config, Rules>::replace(Rules rules) {
    rules_.replace(std::move(rules));
}

template <class Core, class Config, class Rules>
RESILIENCE_COLD policy_snapshot policy_core<Core, Config, Rules>::snapshot() const {
    policy_snapshot all{std::string(policy_kind), name(), {}, {}, labels()};
    if constexpr (requires(const Core& core) { core.stats(); }) {
        auto stats = static_cast<const Core&>(*this).stats();
        statistics(std::as_const(stats), detail::statistic_list(all.statistics));
        if constexpr (std::same_as<decltype(stats), circuit_breaker_stats>) all.circuit = std::move(stats);
    }
    return all;
}

template <class Core, class Config, class Rules>
RESILIENCE_COLD std::optional<circuit_breaker_stats> policy_core<Core, Config, Rules>::circuit() const {
    if constexpr (requires(const Core& core, circuit_breaker_stats s) { s = core.stats(); })
        return static_cast<const Core&>(*this).stats();
    else return std::nullopt;
}

template <class Core, class Config, class Rules>
glance policy_core<Core, Config, Rules>::look() const noexcept {
    if constexpr (!requires(const Core& core, circuit_breaker_stats s) { s = core.stats(); })
        return glance::no_circuit;
    else if constexpr (requires(const Core& core) { core.published(); })
        return seen_as(static_cast<const Core&>(*this).published().state()) == circuit_state::closed
                   ? glance::closed_circuit
                   : glance::other;
    else return glance::other;
}

template <class Core, class Config, class Rules>
RESILIENCE_COLD void policy_core<Core, Config, Rules>::list_fields(field_list& into) const {
    fields(const_cast<Config&>(config()), into);
}

template <class Core, class Config, class Rules>
RESILIENCE_COLD bool policy_core<Core, Config, Rules>::edit(config_editor& editor) {
    Config changed = config();
    field_list list;
    fields(changed, list);
    editor.edit(list);
    update(std::move(changed));
    return true;
}

template <class Core, class Config, class Rules>
RESILIENCE_COLD void policy_core<Core, Config, Rules>::require_same(const Config& other) const {
    require_equal(detail::fields_of(declared()), detail::labels_of(other), detail::fields_of(other));
}

/// Numbers, texts and the configs of others, which some take for the config of a policy.
template <class T, class Config>
concept is_no_config =
    (std::is_arithmetic_v<T> || std::is_aggregate_v<T>) && !std::is_convertible_v<const T&, const Config&>;

/// Makes a policy, or finds the one of the config's name. All policies are made here. Throws
/// std::invalid_argument if the config is not valid or differs from the existing policy's; the message names
/// the field.
template <class Core>
RESILIENCE_COLD std::shared_ptr<Core> enrolled(registry& where, const typename Core::config_type& config) {
    detail::require_valid(detail::complaint_about(config));
    std::shared_ptr<Core> made;
    auto core = where.enroll<Core>(config.name, [&] { return made = std::make_shared<Core>(config, where); });
    if (core != made) core->require_same(config);
    return core;
}

/// A handle to a core; copies share it. Policies derive from it with `using policy_handle::policy_handle`.
template <class Core>
class policy_handle {
public:
    using core_type = Core;
    using config_type = typename Core::config_type;
    static constexpr std::string_view kind = Core::policy_kind;

    template <std::convertible_to<config_type> T = config_type>
    explicit policy_handle(const T& config) : policy_handle(config, registry::global()) {}
    /// If the registry has a policy of that name, this is a handle to it. Throws std::invalid_argument if the
    /// configs differ, naming the field, or if the config is not valid.
    policy_handle(const config_type& config, registry& where) : core_(enrolled<Core>(where, config)) {}

    // clang-format off: compilers show the line with its remark
    template <class T>
        requires is_no_config<T, config_type>
    explicit policy_handle(const T&) = delete; // resilience: a policy is made of its config, as in retry({.max_attempts = 3}); a timeout also of a time, as in timeout(5s)
    template <int = 0>
    explicit policy_handle(...) = delete; // resilience: this is no config of the policy: a field is misspelt or of another type; with the config's name before the brace the compiler names it
    // clang-format on

    auto stats() const { return core_->stats(); }
    const std::string& name() const noexcept { return core_->name(); }
    /// The config in force. The reference stays valid as long as the policy lives, also after updates.
    const config_type& config() const noexcept { return core_->config(); }
    /// Replaces the config for calls, or attempts, that begin later. Throws std::invalid_argument, and
    /// changes nothing, if it is not valid or has another name or other labels.
    void update(config_type config) const { core_->update(std::move(config)); }

    // For drivers.

    const detail::environment* env() const noexcept { return core_->env().get(); }

protected:
    friend class registry;
    explicit policy_handle(std::shared_ptr<Core> core) noexcept : core_(std::move(core)) {}

    std::shared_ptr<Core> core_;
};

}} // namespace resilience::RESILIENCE_ABI
