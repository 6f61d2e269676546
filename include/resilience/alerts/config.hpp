// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/alerts/alert.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/config_field.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#if RESILIENCE_BODIES
#include <resilience/detail/complaint.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// The thread that calls an alert_sink's send function.
enum class alert_delivery {
    by_worker, ///< a thread of the sink's own
    by_hand,   ///< the caller of deliver_due(): for tests, and for programs that have a thread for such work
};

/// Configures which alerts go out, how many, and their contents.
struct alert_config {
    /// Selects the events that are alerts. Empty: is_alert. The threads that cause events call it, several at
    /// once, so it must be quick. If it throws, the event is no alert and the registry counts it in
    /// listener_errors().
    detail::config_field<std::function<bool(const event&)>> alert_if{};
    /// Alerts of the same kind (alert_fingerprint) go out once in this time; further ones go out as a single
    /// alert at its end, with their number. 0: each goes out. Five minutes remind people while a problem
    /// lasts and do not flood them.
    duration deduplicate_for = std::chrono::minutes{5};
    /// The number of alerts that go out in a minute in the long run; others wait for their turn. Nobody reads
    /// more than that, and receivers refuse more.
    unsigned max_per_minute = 20;
    /// The number of alerts that may go out at once after a quiet time: enough for the circuits of one
    /// outage.
    unsigned burst = 10;
    /// The number of alerts that may wait; further ones are dropped and counted. This bounds the memory: each
    /// alert keeps up to `longest_text` bytes of its error. With `redact` it keeps up to 64 KiB (16 MiB for
    /// 256 alerts), since `redact` sees the text before it is clipped.
    std::size_t queue_capacity = 256;
    /// Gets the text of every error before it is clipped and returns the text that may be sent. If it throws,
    /// the text is left out and the alert says so. Called on the thread that sends, never on one that causes
    /// events. Longer texts are cut to 64 KiB before.
    detail::config_field<std::function<std::string(std::string_view)>> redact{};
    /// The most bytes of an error's text that are sent, after redaction. Errors may hold whole pages of HTML.
    std::size_t longest_text = 1024;
    /// The origin that every alert names.
    alert_labels labels{};
    /// The time that sending an alert may take, with all retries: a deadline that policies inside of the send
    /// function inherit. Code that does not look at the deadline is not cut short.
    duration send_limit = std::chrono::seconds{30};
    alert_delivery delivery = alert_delivery::by_worker;
};

/// A complaint about a config that names field, value and range; empty if the config is valid.
std::string validate(const alert_config& c);
#if RESILIENCE_BODIES
RESILIENCE_FUNCTION std::string validate(const alert_config& c) {
    using detail::complaint;
    if (c.deduplicate_for < duration{0})
        return complaint("alert_config.deduplicate_for", c.deduplicate_for, "0 or more");
    if (c.max_per_minute < 1 || c.max_per_minute > 60'000)
        return complaint("alert_config.max_per_minute", c.max_per_minute, "in 1..60000");
    if (c.burst < 1 || c.burst > 10'000) return complaint("alert_config.burst", c.burst, "in 1..10000");
    if (c.queue_capacity < 1 || c.queue_capacity > 10'000)
        return complaint("alert_config.queue_capacity", std::uint64_t{c.queue_capacity}, "in 1..10000");
    if (c.longest_text > 65'536)
        return complaint("alert_config.longest_text", std::uint64_t{c.longest_text}, "in 0..65536");
    if (c.send_limit <= duration{0}) return complaint("alert_config.send_limit", c.send_limit, "more than 0");
    return {};
}
#endif

/// Totals of an alert_sink since its creation. Each event that was an alert (`seen`) is sent, failed,
/// deduplicated, dropped, or still waiting.
struct alert_stats {
    /// Events that alert_if chose.
    std::uint64_t seen = 0;
    /// Alerts that the send function took.
    std::uint64_t sent = 0;
    /// Alerts held back and only counted by another one.
    std::uint64_t deduplicated = 0;
    /// Alerts that had to wait for the rate limit.
    std::uint64_t rate_limited = 0;
    /// Alerts for which there was no room in the queue.
    std::uint64_t dropped = 0;
    /// Alerts given up: the send function threw 24 times, or a later change of the same circuit was sent
    /// meanwhile.
    std::uint64_t failed = 0;
    /// The number of times that the send function threw. The alert waits and is tried again, so this is no
    /// part of the sum.
    std::uint64_t failed_sends = 0;
    /// Alerts that wait for their turn, for the end of deduplicate_for or for another try, and alerts being
    /// sent.
    std::uint64_t waiting = 0;
};

}} // namespace resilience::RESILIENCE_ABI
