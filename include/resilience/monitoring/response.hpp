// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/http/message.hpp>
#include <resilience/monitoring/event_stream.hpp>
#include <resilience/monitoring/json.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Takes a piece of a body, and returns false if the client has gone.
using piece_sink = std::function<bool(std::string_view)>;

/// The form in which a server takes long bodies. The body of 10,000 policies has some 20 MB.
enum class body_form {
    whole,  ///< in http_response::body
    pieces, ///< in http_response::pieces, if they are long: the server sends them as they come, chunked
};

struct http_response {
    int status = 200;
    std::string content_type{};
    http_headers headers{};
    std::string body{};
    /// For GET /events/stream, instead of a body: the stream to send piece by piece for as long as the client
    /// stays.
    std::shared_ptr<event_stream> stream{};
    /// For body_form::pieces, instead of a long body: gives its pieces to the sink, until that returns false. It is called
    /// once, on the thread that sends. It may throw std::bad_alloc.
    std::function<void(const piece_sink&)> pieces{};
};

namespace detail {

inline constexpr std::size_t piece_size = 65'536; // bytes, about
inline constexpr std::size_t long_list = 100;     // policies: more than that go in pieces

inline http_response made(int status, std::string body) {
    return {status,
            "application/json",
            {{"Cache-Control", "no-store"},
             {"Cross-Origin-Resource-Policy", "same-origin"},
             {"X-Content-Type-Options", "nosniff"}}, // names are others' texts: never HTML
            std::move(body),
            {},
            {}};
}
inline http_response refused(int status, std::string_view code, std::string_view message) {
    return made(status, error_json(code, message));
}
inline http_response bad_request(std::string_view message) { return refused(400, "bad_request", message); }
inline http_response not_allowed(std::string_view message, std::string allowed) {
    http_response response = refused(405, "method_not_allowed", message);
    response.headers["Allow"] = std::move(allowed);
    return response;
}
/// A 404 that quotes the unknown name, which may be any text.
inline http_response unknown_name(std::string_view what, std::string_view name) {
    constexpr std::size_t shown = 100; // bytes
    std::string message = "no " + std::string(what) + " is named '";
    message.append(clipped(name, shown)).append(name.size() > shown ? "...'" : "'");
    return refused(404, "not_found", message);
}

} // namespace detail
}} // namespace resilience::RESILIENCE_ABI
