// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/system_time.hpp>
#include <resilience/detail/config_field.hpp>
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

/// Decides how error texts are shown.
struct shown_errors {
    bool shown = false;
    detail::config_field<std::function<std::string(std::string_view)>> redact{};

    /// The text to show; empty if texts are hidden. Runs the user's `redact`.
    std::string operator()(std::string text) const {
        if (!shown) return {};
        return redacted(redact, std::move(text));
    }
};

/// {number, and the members of to_json(event)}
inline std::string numbered_json(event_log::entry entry, const shown_errors& errors) {
    for (std::string* text : {&entry.what.error, &entry.what.first_error}) *text = errors(std::move(*text));
    json_writer json;
    json.object([&] {
        json.member("number", entry.number);
        write_members(json, entry.what);
    });
    return json.take();
}

/// Counts that the streams of an API share.
struct stream_counts {
    // Invariant: the number of live event_streams. Relaxed: it bounds their number, and no other data depends
    // on it.
    atomic<std::size_t> open{0};
    // Only grows. Relaxed: no other data depends on a count.
    atomic<std::uint64_t> missed{0};
    atomic<std::uint64_t> refused{0}; // likewise
};

/// A place for a stream, counted in `open`. The destructor gives it back.
class stream_slot {
public:
    /// Takes over a place that is already counted.
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

/// The events of a log as server-sent events (HTML Living Standard, section 9.2), for one client. The server
/// asks for the next piece of text and sends it, until ended(). The log does not wait for a slow client:
/// events that were replaced before they were sent are reported to it as an event `missed`, and counted.
///
/// Movable only. Used by one thread at a time. Destroy it when the client is gone.
class event_stream {
public:
    /// After this time without an event a comment is sent, so that proxies keep the connection and a client
    /// that has gone is noticed.
    static constexpr std::chrono::seconds heartbeat{15};

    event_stream(std::shared_ptr<const event_log> log, event_filter filter, std::uint64_t since,
                 detail::shown_errors errors, detail::stream_slot slot)
        : log_(std::move(log)), filter_(std::move(filter)), errors_(std::move(errors)), next_(since),
          slot_(std::move(slot)) {}

    /// The next piece to send. Waits for it up to `at_most` of real time; empty if there was none. The first
    /// piece comes at once. A server that must not block calls it with 0, from a timer.
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
    /// True if the log was closed. The server should then end the stream.
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
