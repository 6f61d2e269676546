// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/alerts/alert.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/text.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Who calls an alert_sink's send function.
enum class alert_delivery {
    by_worker, ///< a thread of the sink's own
    by_hand,   ///< whoever calls deliver_due(): for tests, and for programs that have a thread for such work
};

/// Which alerts go out, how many, and what they say.
struct alert_config {
    /// Which events are alerts. Empty: is_alert. Called on the threads that cause events, by several at once, so it
    /// must be quick; if it throws, the event is no alert and the registry counts it in listener_errors().
    std::function<bool(const event&)> alert_if{};
    /// Alerts of the same kind (alert_fingerprint) go out once in this time; those in between go out as one at its
    /// end, with their number. 0: each goes out. Five minutes: a reminder while it lasts, and no flood.
    duration deduplicate_for = std::chrono::minutes{5};
    /// How many go out in a minute in the long run; others wait for their turn. Nobody reads more, and receivers
    /// refuse more.
    unsigned max_per_minute = 20;
    /// How many may go out at once after a quiet time: enough for the circuits of one outage.
    unsigned burst = 10;
    /// How many may wait; more are dropped and counted. Bounds the memory: each keeps up to `longest_text` of its error,
    /// with `redact` up to 64 KiB (16 MiB for 256 of them), since that sees the text before it is clipped.
    std::size_t queue_capacity = 256;
    /// Sees the text of every error before it is clipped and returns what may be sent. If it throws, the text is left
    /// out and the alert says so. Called on the thread that sends, never on one that causes events. Texts
    /// beyond 64 KiB reach it without their end.
    std::function<std::string(std::string_view)> redact{};
    /// Bytes of an error's text that are sent, after redaction. Errors may hold whole pages of HTML.
    std::size_t longest_text = 1024;
    /// What every alert says of its origin.
    alert_labels labels{};
    /// How long one alert may take to be sent, with all its retries: a deadline that policies inside of the send
    /// function inherit. What does not look at it is not cut short.
    duration send_limit = std::chrono::seconds{30};
    alert_delivery delivery = alert_delivery::by_worker;
};

/// What is wrong with a config, naming field, value and range; empty if nothing is.
inline std::string validate(const alert_config& c) {
    const auto bad = [](std::string_view field, const std::string& value, std::string_view range) {
        return "alert_config." + std::string(field) + " is " + value + "; it must be " + std::string(range);
    };
    if (c.deduplicate_for < duration{0})
        return bad("deduplicate_for", detail::duration_text(c.deduplicate_for), "0 or more");
    if (c.max_per_minute < 1 || c.max_per_minute > 60'000)
        return bad("max_per_minute", std::to_string(c.max_per_minute), "in 1..60000");
    if (c.burst < 1 || c.burst > 10'000) return bad("burst", std::to_string(c.burst), "in 1..10000");
    if (c.queue_capacity < 1 || c.queue_capacity > 10'000)
        return bad("queue_capacity", std::to_string(c.queue_capacity), "in 1..10000");
    if (c.longest_text > 65'536) return bad("longest_text", std::to_string(c.longest_text), "in 0..65536");
    if (c.send_limit <= duration{0})
        return bad("send_limit", detail::duration_text(c.send_limit), "more than 0");
    return {};
}

/// Totals of an alert_sink since its creation. Of the events that were alerts (`seen`) each is sent, failed,
/// deduplicated, dropped, or still waiting.
struct alert_stats {
    /// Events that alert_if chose.
    std::uint64_t seen = 0;
    /// Alerts that the send function took.
    std::uint64_t sent = 0;
    /// Held back, and told by another's number.
    std::uint64_t deduplicated = 0;
    /// Of all alerts, those that had to wait for the rate limit.
    std::uint64_t rate_limited = 0;
    /// There was no room in the queue.
    std::uint64_t dropped = 0;
    /// Given up: the send function threw 24 times, or a later change of the same circuit was sent meanwhile.
    std::uint64_t failed = 0;
    /// How often the send function threw. The alert waits and is tried again, so this is no part of the sum.
    std::uint64_t failed_sends = 0;
    /// Waiting now, for their turn, for the end of deduplicate_for or to be tried again, or being sent.
    std::uint64_t waiting = 0;
};

}} // namespace resilience::RESILIENCE_ABI
