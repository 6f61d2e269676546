// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/event_log.hpp>
#include <resilience/monitoring/event_stream.hpp>
#include <resilience/monitoring/options.hpp>
#include <resilience/monitoring/response.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

// The answers to /events and /events/stream.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The events that a request asks for.
struct wanted_events {
    event_filter filter;
    std::optional<std::uint64_t> since;
    std::optional<std::uint64_t> limit;
};

/// Reads the arguments. Returns a complaint; empty if they are valid.
inline std::string read_wanted(const request_target& target, std::span<const std::string_view> known,
                               std::uint64_t most, wanted_events& into) {
    if (auto wrong = target.unknown_argument(known); !wrong.empty()) return wrong;
    into.filter.policy = target.argument("name");
    if (const std::string kind = target.argument("kind"); !kind.empty()) {
        into.filter.kind = event_kind_of(kind);
        if (!into.filter.kind) return "kind is not a kind of event";
    }
    if (!read_number(target.argument("since"), into.since)) return "since must be the number of an event";
    if (!read_number(target.argument("limit"), into.limit) ||
        (into.limit && (*into.limit < 1 || *into.limit > most)))
        return "limit must be in 1.." + std::to_string(most);
    return {};
}

/// The number to read this log from. A number beyond the newest event comes from an earlier log that no
/// longer exists; to its reader all events of this log are new.
inline std::uint64_t in_this_log(std::uint64_t since, const event_log& log) {
    return since > log.last() + 1 ? 1 : since;
}

inline http_response page_of_events(const request_target& target, const event_log& log,
                                    const shown_errors& errors) {
    constexpr std::array<std::string_view, 4> known{"since", "kind", "name", "limit"};
    constexpr std::uint64_t most = 1000;
    wanted_events wanted;
    if (auto wrong = read_wanted(target, known, most, wanted); !wrong.empty()) return bad_request(wrong);
    const std::size_t limit = wanted.limit.value_or(most);
    auto page = wanted.since ? log.read(in_this_log(*wanted.since, log), wanted.filter, limit)
                             : log.newest(wanted.filter, limit);
    std::string body = R"({"events":[)";
    for (auto& entry : page.entries) {
        if (&entry != &page.entries.front()) body += ',';
        body += numbered_json(std::move(entry), errors);
    }
    body.append(R"(],"next":)").append(std::to_string(page.next));
    body.append(R"(,"missed":)").append(std::to_string(page.missed)).append("}");
    return made(200, std::move(body));
}

inline http_response stream_of_events(const http_request& request, const request_target& target,
                                      const monitoring_options& options, const shown_errors& errors,
                                      const std::shared_ptr<stream_counts>& streams) {
    constexpr std::array<std::string_view, 3> known{"since", "kind", "name"}; // a stream has no end
    wanted_events wanted;
    if (auto wrong = read_wanted(target, known, 0, wanted); !wrong.empty()) return bad_request(wrong);
    // A browser sends Last-Event-ID after its connection broke. It overrides `since` in the address that it
    // began with.
    std::optional<std::uint64_t> last;
    if (read_number(request.header("Last-Event-ID"), last) && last && *last < UINT64_MAX)
        wanted.since = *last + 1;
    const std::uint64_t first =
        wanted.since ? in_this_log(*wanted.since, *options.events) : options.events->last() + 1;
    const std::size_t before = streams->open.fetch_add(1, std::memory_order_relaxed);
    stream_slot slot(streams); // gives the place back, also if the stream is refused
    if (before >= options.max_streams) {
        streams->refused.fetch_add(1, std::memory_order_relaxed);
        http_response response =
            refused(503, "too_many_streams", "no more streams of events may be open; poll /events");
        response.headers["Retry-After"] = "30";
        response.headers["Connection"] =
            "close"; // a connection that is kept would hold a thread of the server
        return response;
    }
    http_response response = made(200, {});
    response.content_type = "text/event-stream";
    response.headers["X-Accel-Buffering"] = "no"; // nginx would hold events back until it has a page of them
    response.stream = std::make_shared<event_stream>(options.events, std::move(wanted.filter), first, errors,
                                                     std::move(slot));
    return response;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
