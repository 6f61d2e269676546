// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/alerts/alert.hpp>
#include <resilience/alerts/config.hpp>
#include <resilience/alerts/queue.hpp>
#include <resilience/call/error.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/worker_pool.hpp>
#include <resilience/registry.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Tells people what a registry's policies do: chooses the events that matter, leaves out repetitions, limits how
/// many go out, and hands each alert to a function of yours, on a thread of its own. A call that causes an event
/// only filters it, copies it and puts it into a bounded queue; it never waits for the sending.
///
/// `send` throws if it failed: the alert is tried again after 30 seconds, then after a minute, two, four and five, 24
/// times in all, unless a newer one of its kind, or a later change of the same circuit, takes its place.
/// It should be bounded in time by itself (webhook_sender is) and may retry: its pipelines inherit a deadline of
/// `send_limit` and are stopped when the sink ends. What happens while it runs, on its thread, is no alert in any
/// sink, so that a sender in trouble does not feed itself; a sender's own policies are best made in a registry
/// of their own.
///
/// Thread-safe. The registry's clock must outlive the sink. A sink is of the process that made it: in a forked child
/// nothing is sent, and the child must neither flush nor end what it inherits; it may have sinks of its own.
class alert_sink {
public:
    /// Throws std::invalid_argument without a `send` or for an invalid config, std::system_error if there can be
    /// no thread.
    alert_sink(registry& where, alert_config config, std::function<void(const alert&)> send)
        : queue_(make(where, std::move(config), std::move(send))),
          subscription_(where.subscribe([queue = queue_](const event& e) { queue->offer(e); })) {
        if (!queue_->is_by_hand()) detail::worker_pool::instance().start(queue_);
    }
    alert_sink(const alert_sink&) = delete;
    alert_sink& operator=(const alert_sink&) = delete;
    /// Waits for the alert that is being sent, if there is one, after asking its policies to stop; not for the others:
    /// what waits is let go. Call flush() before, to send it. Destroyed from inside of `send` it does not wait;
    /// it must not be from inside of `alert_if`.
    ~alert_sink() {
        subscription_.end(); // no thread is inside of offer() from here on
        queue_->stop();
    }

    /// Waits until all that may go out by now has gone out (true), for `at_most` of real time. Not for what the
    /// end of deduplicate_for, the rate limit or a failed try holds. With alert_delivery::by_hand it sends itself.
    bool flush(duration at_most) {
        const auto kept = queue_; // send may destroy the sink
        return kept->flush(at_most);
    }
    /// Sends what may go out by now on this thread and returns how many were tried: none from inside of a sink's `send`.
    /// Throws std::logic_error unless delivery is by_hand.
    std::size_t deliver_due() {
        if (!queue_->is_by_hand()) {
            detail::raise(std::logic_error("alert_sink: deliver_due needs alert_delivery::by_hand"));
        }
        const auto kept = queue_; // send may destroy the sink
        return kept->deliver_due();
    }
    alert_stats stats() const { return queue_->stats(); }

private:
    static std::shared_ptr<detail::alert_queue> make(registry& where, alert_config config,
                                                     std::function<void(const alert&)> send) {
        detail::require_valid(validate(config));
        if (!send) detail::raise(std::invalid_argument("alert_sink: send is empty; it must be a function"));
        return std::make_shared<detail::alert_queue>(where, std::move(config), std::move(send));
    }

    std::shared_ptr<detail::alert_queue> queue_; // of the worker too, which may outlive this
    subscription subscription_;                  // after it: it ends before
};

}} // namespace resilience::RESILIENCE_ABI
