// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/detail/function_ref.hpp>
#include <resilience/detail/name.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/environment/environment.hpp>
#include <resilience/environment/field_values.hpp>
#include <resilience/environment/fields.hpp>
#include <resilience/environment/labels.hpp>
#include <resilience/event.hpp>
#include <resilience/stats.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Edits a config, given as a list of fields.
class config_editor {
public:
    /// May throw std::invalid_argument; the policy then keeps its config.
    virtual void edit(field_list& fields) = 0;

protected:
    ~config_editor() = default;
};

/// The answer of a look at a policy without a lock.
enum class glance : std::uint8_t {
    no_circuit,
    closed_circuit, ///< as callers see it
    other,          ///< ask circuit()
};

namespace detail {

/// True for handles to a core; see policy_handle.
template <class Policy>
constexpr bool has_core = requires { typename Policy::core_type; };

} // namespace detail

/// The interface of a policy's shared state for its registry and all views; see policy_core.
class RESILIENCE_VISIBLE registered_policy {
public:
    registered_policy(const registered_policy&) = delete;
    registered_policy& operator=(const registered_policy&) = delete;
    RESILIENCE_FUNCTION virtual ~registered_policy();

    virtual std::string_view kind() const noexcept = 0;
    virtual policy_snapshot snapshot() const = 0;
    RESILIENCE_FUNCTION virtual std::optional<circuit_breaker_stats> circuit() const;
    /// Called with the registry's lock held: takes no lock and runs no code of the user's.
    virtual glance look() const noexcept { return glance::other; }
    /// Lists the fields of the config in force. They must not be written to.
    virtual void list_fields(field_list&) const {}
    /// Lets the editor change a copy of the config and updates the policy to it. False if there is no config.
    virtual bool edit(config_editor&) { return false; }

    const std::string& name() const noexcept { return label_.str(); }
    /// The name for rejections. Copying it copies a pointer.
    const detail::name& label() const noexcept { return label_; }
    const shared_labels& labels() const noexcept { return labels_; }
    const std::shared_ptr<detail::environment>& env() const noexcept { return env_; }

    /// An event of this policy. The caller sets the other members.
    event event_of(event_kind what) const;

protected:
    registered_policy(std::string_view name, labels_type labels, std::shared_ptr<detail::environment> env);

    /// Called after a config was replaced, with no lock held.
    void publish_updated() const;
    /// See policy_core::publish().
    void publish_all(std::initializer_list<event_kind> what, const call_context& ctx, const failure* why,
                     detail::function_ref<void(event&)> describe) const;
    /// See policy_core::publish_refused().
    void publish_refusal(event_kind what, const rejection& why, const call_context* ctx) const;

    /// For an update: throws std::invalid_argument if the name or the labels differ.
    void require_own(std::string_view other_name, const labels_type& other_labels) const;
    /// For a name that exists: throws std::invalid_argument if a field or the labels differ.
    void require_equal(const field_list& own, const labels_type& other_labels, const field_list& other) const;

    std::shared_ptr<detail::environment> env_;

private:
    const detail::name label_;
    const shared_labels labels_;
};

/// Selects policies of a registry, in the order of kinds and names. An empty text selects all.
struct policy_query {
    std::string kind{};
    std::string name{};
    /// Only policies that are listed after this kind and name: the last ones of an earlier page, see policy_page.
    std::string after_kind{};
    std::string after_name{};
    /// Policies at most; 0: none.
    std::size_t limit = SIZE_MAX;
};

/// The policies that a query selects.
struct policy_page {
    std::vector<std::shared_ptr<registered_policy>> policies{};
    /// Kind and name of the last one, for the next query. Empty if there is none.
    std::string last_kind{};
    std::string last_name{};
    /// True if the limit left some out.
    bool has_more = false;
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION registered_policy::registered_policy(
    std::string_view name, labels_type labels, std::shared_ptr<detail::environment> env)
    : env_(std::move(env)), label_(name), labels_(std::move(labels)) {}
RESILIENCE_FUNCTION registered_policy::~registered_policy() = default;
RESILIENCE_FUNCTION std::optional<circuit_breaker_stats> registered_policy::circuit() const {
    return std::nullopt;
}
RESILIENCE_FUNCTION event registered_policy::event_of(event_kind what) const {
    event e{.kind = what, .policy_kind = kind(), .policy = name()};
    e.labels = labels_;
    if (const call_context* of = call_context::current()) e.correlation = detail::shown_correlation(*of);
    return e;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void registered_policy::publish_all(
    std::initializer_list<event_kind> what, const call_context& ctx, const failure* why,
    detail::function_ref<void(event&)> describe) const {
    const event_kind* next = what.begin();
    detail::returned([&] {
        event e = event_of(*next);
        e.operation = ctx.operation();
        e.correlation = detail::shown_correlation(ctx);
        if (why != nullptr) detail::describe(e, *why);
        for (; next != what.end(); ++next) {
            e.kind = *next;
            e.attempt = ctx.attempt();
            describe(e);
            env_->deliver(e);
        }
    });
    for (; next != what.end(); ++next) env_->hub.count_error(); // no memory: they are lost
}
RESILIENCE_COLD RESILIENCE_FUNCTION void registered_policy::publish_refusal(event_kind what,
                                                                            const rejection& why,
                                                                            const call_context* ctx) const {
    const failure told(why);
    const auto describe_more = [&](event& e) {
        e.delay = why.retry_after >= duration{0} ? std::optional(why.retry_after) : std::nullopt;
        if (why.reason != nullptr) e.reason = why.reason;
    };
    if (ctx != nullptr) return publish_all({what}, *ctx, &told, describe_more);
    env_->tell([&] {
        event e = event_of(what);
        detail::describe(e, told);
        describe_more(e);
        return e;
    });
}
RESILIENCE_COLD RESILIENCE_FUNCTION void registered_policy::publish_updated() const {
    env_->tell([&] { return event_of(event_kind::policy_updated); });
}

RESILIENCE_COLD RESILIENCE_FUNCTION void registered_policy::require_own(
    std::string_view other_name, const labels_type& other_labels) const {
    const std::string kind_text(kind());
    if (other_name != name()) {
        detail::raise(std::invalid_argument(kind_text + "_config.name is '" + std::string(other_name) +
                                            "'; the name of " + kind_text + " '" + name() + "' is fixed"));
    }
    if (labels_ != other_labels) {
        detail::raise(std::invalid_argument(
            kind_text + "_config.labels is " + detail::labels_text(other_labels) + "; the labels of " +
            kind_text + " '" + name() + "' are fixed: " + detail::labels_text(labels_)));
    }
}
RESILIENCE_COLD RESILIENCE_FUNCTION void registered_policy::require_equal(const field_list& own,
                                                                          const labels_type& other_labels,
                                                                          const field_list& other) const {
    if (labels_ != other_labels) {
        detail::raise(std::invalid_argument(
            std::string(kind()) + " '" + name() + "' exists already with other labels (" +
            detail::labels_text(labels_) + ", not " + detail::labels_text(other_labels) + ")"));
    }
    const detail::field* const mine = detail::difference(own, other);
    if (mine == nullptr) return;
    std::string text(kind());
    text.append(" '").append(name()).append("' exists already with another ").append(mine->name);
    text.append(detail::both_texts(*mine, other[static_cast<std::size_t>(mine - own.begin())]));
    detail::raise(std::invalid_argument(text));
}
#endif

}} // namespace resilience::RESILIENCE_ABI
