// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/system_time.hpp>
#include <resilience/detail/redacted.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/event_log.hpp>
#include <resilience/monitoring/json.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// An error's text as it may be shown.
struct shown_errors {
    bool shown = false;
    std::function<std::string(std::string_view)> redact{};

    /// Empty if it may not. Runs code of the user's.
    std::string operator()(std::string text) const {
        if (!shown) return {};
        return redacted(redact, std::move(text));
    }
};

/// {number, and the members of to_json(event)}
inline std::string numbered_json(event_log::entry entry, const shown_errors& errors) {
    entry.what.error = errors(std::move(entry.what.error));
    json_writer json;
    json.object([&] {
        json.member("number", entry.number);
        write_members(json, entry.what);
    });
    return json.take();
}

/// What the streams of one API have in common.
struct stream_counts {
    // Invariant: the event_streams that live. Relaxed: it bounds their number, and orders nothing.
    atomic<std::size_t> open{0};
    // Only ever added to; relaxed: a count orders nothing.
    atomic<std::uint64_t> missed{0};
    atomic<std::uint64_t> refused{0}; // likewise
};

/// One of the places that streams may take; given back at its end.
class stream_slot {
public:
    /// Of a place that is counted already.
    explicit stream_slot(std::shared_ptr<stream_counts> counts) noexcept : counts_(std::move(counts)) {}
    stream_slot(stream_slot&&) noexcept = default;
    stream_slot& operator=(stream_slot&&) = delete;
    ~stream_slot() {
        if (counts_) counts_->open.fetch_sub(1, std::memory_order_relaxed);
    }
    void count_missed(std::uint64_t events) const noexcept {
        counts_->missed.fetch_add(events, std::memory_order_relaxed);
    }

private:
    std::shared_ptr<stream_counts> counts_; // null once moved from
};

} // namespace detail

/// The events of a log as server-sent events (HTML Living Standard, section 9.2), for one client: whoever serves it
/// asks for the next piece of text and sends it, again and again until ended(). A client that is slow is not waited
/// for: what made room for newer events meanwhile is told to it as an event `missed`, and counted.
///
/// Moves only. One thread at a time. Ends with the server's work: destroy it when the client is gone.
class event_stream {
public:
    /// Silence after which a comment is sent, so that whoever is between keeps the connection and a client that has
    /// gone is noticed.
    static constexpr std::chrono::seconds heartbeat{15};

    event_stream(std::shared_ptr<const event_log> log, event_filter filter, std::uint64_t since,
                 detail::shown_errors errors, detail::stream_slot slot)
        : log_(std::move(log)), filter_(std::move(filter)), errors_(std::move(errors)), next_(since),
          slot_(std::move(slot)) {}

    /// What to send next; waits for it up to `at_most` of real time, and is empty if there was nothing. The first
    /// piece comes at once. A server that does not block asks with 0, from a timer.
    std::string next(duration at_most) {
        const time_point asked = system_time().now();
        if (std::exchange(begun_, true)) {
            log_->wait(next_, at_most);
        } else {
            spoken_at_ = asked;
            return "retry: 2000\n\n"; // milliseconds until a client that lost its connection comes back
        }
        std::string text;
        constexpr std::size_t most = 100; // events in a piece
        event_log::page page = log_->read(next_, filter_, most);
        if (page.missed > 0) {
            slot_.count_missed(page.missed);
            text.append("event: missed\ndata: {\"missed\":")
                .append(std::to_string(page.missed))
                .append("}\n\n");
        }
        for (auto& entry : page.entries) {
            text.append("id: ").append(std::to_string(entry.number)).append("\nevent: ");
            text.append(to_string(entry.what.kind)).append("\ndata: ");
            text.append(detail::numbered_json(std::move(entry), errors_)).append("\n\n");
        }
        next_ = page.next;
        const time_point now = system_time().now();
        if (text.empty() && now - spoken_at_ >= heartbeat) text = ":\n\n";
        if (!text.empty()) spoken_at_ = now;
        return text;
    }
    /// Whether the log was closed: the stream should be ended.
    bool ended() const { return log_->closed(); }

private:
    std::shared_ptr<const event_log> log_;
    event_filter filter_;
    detail::shown_errors errors_;
    std::uint64_t next_;
    detail::stream_slot slot_;
    bool begun_ = false;
    time_point spoken_at_{};
};

}} // namespace resilience::RESILIENCE_ABI
