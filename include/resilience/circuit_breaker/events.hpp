// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>
#include <resilience/call/outside_of_calls.hpp>
#include <resilience/call/rejection.hpp>
#include <resilience/circuit_breaker/config.hpp>
#include <resilience/circuit_breaker/moment.hpp>
#include <resilience/circuit_breaker/noted_failure.hpp>
#include <resilience/detail/config_cell.hpp>
#include <resilience/detail/event_outbox.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/environment/environment.hpp>
#include <resilience/environment/registered_policy.hpp>
#include <resilience/event.hpp>

#include <optional>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The events of a circuit: ordered under its mutex, delivered outside of it.
class circuit_events {
public:
    /// Both must outlive this.
    circuit_events(const registered_policy& policy,
                   const config_cell<circuit_breaker_config>& config) noexcept
        : policy_(policy), config_(config) {}

    /// Adds an event if anybody listens; `describe(event&)` sets its other members and returns the failure whose texts
    /// it gets, or null. If memory runs out, the event is lost and counted.
    template <class Describe>
    void put_locked(event_kind kind, const moment& at, Describe&& describe) noexcept {
        const bool calls_back = kind == event_kind::state_changed && config_.get().on_state_change;
        if (!calls_back && !env().has_listeners()) return;
        const bool kept = outbox_.put_locked([&] {
            waiting next{policy_.event_of(kind), {}};
            next.what.at = at.now;
            if (const noted_failure* error = describe(next.what)) next.error = error->copy();
            return next;
        });
        if (!kept) env().hub.count_error();
    }
    bool are_waiting_locked() const noexcept { return !outbox_.is_empty_locked(); }
    /// Called without the mutex, which is `owners`.
    void deliver(mutex& owners) noexcept {
        outbox_.deliver(owners, [this](waiting& next) {
            event& e = next.what;
            e.wall = wall_at(e.at, env().clock().now(), env().clock().wall_now());
            if (next.error) {
                auto texts = next.error->texts();
                e.timed_out = next.error->has_timed_out();
                e.error_type = std::move(texts.type);
                e.error = std::move(texts.message);
            }
            publish(e);
        });
    }

    /// Publishes at once, since rejections have no place in the order of changes. Called without the mutex.
    void publish_rejected(const rejection& why, std::string_view operation, circuit_state state) const {
        env().tell([&] {
            event e = policy_.event_of(event_kind::call_rejected);
            e.operation = operation;
            e.error_type = "resilience::circuit_open_error"; // as failure(why).type_name() is
            e.error = why.message();
            e.to = e.from = state;
            if (why.retry_after >= duration{0}) e.delay = why.retry_after;
            return e;
        });
    }

private:
    /// An event that waits for its delivery, and the failure whose texts it gets then.
    struct waiting {
        event what;
        std::optional<noted_failure> error;
    };
    void publish(const event& e) const {
        const outside_of_calls listeners; // the event may be another call's
        const auto& callback = config_.get().on_state_change;
        if (callback && e.kind == event_kind::state_changed && !returned([&] { callback(e); }))
            env().hub.count_error();
        if (env().has_listeners()) env().hub.deliver(e);
    }

    environment& env() const noexcept { return *policy_.env(); }

    const registered_policy& policy_;
    const config_cell<circuit_breaker_config>& config_;
    event_outbox<waiting> outbox_; // guarded by the circuit's mutex
};

}}} // namespace resilience::RESILIENCE_ABI::detail
