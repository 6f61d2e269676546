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

/// Alerts people to events of a registry's policies. It selects the events that matter, leaves out
/// repetitions, limits how many go out, and passes each alert to a function of yours, on a thread of its own.
/// A call that causes an event only filters and copies it into a bounded queue; it never waits for the
/// sending.
///
/// `send` must throw if it failed. The alert is then tried again after 30 seconds, then after a minute, two,
/// four and five, 24 times in all, unless a newer alert of its kind, or a later change of the same circuit,
/// takes its place. It should bound its own time (webhook_sender does) and may retry: its pipelines inherit a
/// deadline of `send_limit` and are stopped when the sink is destroyed. Events that it causes on its thread
/// are alerts in no sink, so that a failing sender does not feed itself. Best make a sender's own policies in
/// a registry of their own.
///
/// Thread-safe. The registry's clock must outlive the sink. A sink belongs to the process that made it: a forked
/// child sends nothing by it, and must neither flush nor end it; it may have sinks of its own.
class alert_sink {
public:
    /// Throws std::invalid_argument if `send` is empty or the config is invalid, std::system_error if no
    /// thread can be started.
    alert_sink(registry& where, alert_config config, std::function<void(const alert&)> send)
        : queue_(make(where, std::move(config), std::move(send))),
          subscription_(where.subscribe([queue = queue_](const event& e) { queue->offer(e); })) {
        if (!queue_->is_by_hand()) detail::worker_pool::instance().start(queue_);
    }
    alert_sink(const alert_sink&) = delete;
    alert_sink& operator=(const alert_sink&) = delete;
    /// Asks the policies of an alert that is being sent to stop and waits for its end. Alerts that still wait
    /// are dropped; call flush() before to send them. Inside of `send` the destructor does not wait. It must
    /// not run inside of `alert_if`.
    ~alert_sink() {
        subscription_.end(); // after this no thread is inside of offer()
        queue_->stop();
    }

    /// Waits, for `at_most` of real time, until all alerts that may go out by now have gone out; true if they
    /// have. It does not wait for alerts that deduplicate_for, the rate limit or a failed try holds. With
    /// alert_delivery::by_hand it sends them itself.
    bool flush(duration at_most) {
        const auto kept = queue_; // send may destroy the sink
        return kept->flush(at_most);
    }
    /// Sends the alerts that may go out by now, on this thread, and returns how many it tried. Inside of a
    /// sink's `send` it tries none. Throws std::logic_error unless delivery is by_hand.
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

    std::shared_ptr<detail::alert_queue> queue_; // shared with the worker, which may outlive the sink
    subscription subscription_;                  // declared last: it ends first
};

}} // namespace resilience::RESILIENCE_ABI
