// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/http/message.hpp>
#include <resilience/monitoring/api.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <httplib.h>

// The monitoring API behind cpp-httplib's server. The server makes the process ignore SIGPIPE, so that a client
// that hangs up does not end the process. A program that restores that signal must handle it itself.

namespace resilience { inline namespace RESILIENCE_ABI {

/// The things that mount() must be told about a server, which cannot be asked.
struct mount_options {
    /// The number of threads that the server's new_task_queue makes: cpp-httplib's own number, unless the program
    /// sets another. Streams of events take at most half of them (and at most monitoring_options::max_streams), so
    /// that the other half answers requests. With one thread there are no streams.
    std::size_t threads = CPPHTTPLIB_THREAD_POOL_COUNT;
    /// A server has one pre-routing handler, and mount() sets it. A program that has one of its own gives it here
    /// instead of calling set_pre_routing_handler: it runs first, for every request, and may handle it. One that was set
    /// before mount() is replaced, and one that is set after it replaces the API.
    httplib::Server::HandlerWithResponse pre_routing{};
    /// Bytes of a path, decoded. The server answers a longer one with 414, also where it is no path of the API's:
    /// cpp-httplib matches the program's own routes by std::regex, too. 512 or more.
    std::size_t longest_path = monitoring_api::longest_path;
};

/// A complaint about the options that names field, value and range; empty if they are valid.
inline std::string validate(const mount_options& o) {
    if (o.threads < 1) return "mount_options.threads is 0; it must be 1 or more";
    if (o.longest_path < monitoring_api::longest_path)
        return "mount_options.longest_path is " + std::to_string(o.longest_path) + "; it must be 512 or more";
    return {};
}

namespace detail {

/// The request for the monitoring API. HEAD becomes GET: cpp-httplib leaves the body out itself and then
/// knows its length. A header given twice becomes one with both values, as in RFC 9110; no header that grants
/// anything is valid then.
inline http_request asked_by(const httplib::Request& request, std::string body) {
    http_request asked{.method = request.method == "HEAD" ? "GET" : request.method,
                       .target = request.target,
                       .body = std::move(body)};
    for (const auto& [name, value] : request.headers) {
        const auto [at, is_new] = asked.headers.emplace(name, value);
        if (!is_new) at->second.append(", ").append(value);
    }
    // Headers that cpp-httplib adds itself and that a client could have sent too.
    asked.headers["REMOTE_ADDR"] = request.remote_addr;
    for (const char* other : {"REMOTE_PORT", "LOCAL_ADDR", "LOCAL_PORT"}) asked.headers.erase(other);
    return asked;
}

inline void answer_with(http_response answer, const httplib::Request& request, httplib::Response& response) {
    response.status = answer.status;
    for (const auto& [name, value] : answer.headers) response.set_header(name.c_str(), value);
    if (answer.pieces) {
        response.set_chunked_content_provider(
            answer.content_type, [write = std::move(answer.pieces)](std::size_t, httplib::DataSink& sink) {
                bool sent = true;
                const auto send = [&](std::string_view piece) {
                    return sent = sink.write(piece.data(), piece.size());
                };
                // cpp-httplib does not catch exceptions here.
                if (!returned([&] { write(send); }) || !sent) return false;
                sink.done();
                return true;
            });
        return;
    }
    if (const auto wish = answer.headers.find("Connection");
        wish != answer.headers.end() && wish->second == "close") {
        // cpp-httplib closes where its provider gives up, here behind the last byte, and else keeps what it can.
        const std::size_t length = answer.body.size();
        response.set_content_provider(
            length, answer.content_type,
            [body = std::move(answer.body)](std::size_t from, std::size_t, httplib::DataSink& sink) {
                sink.write(body.data() + from, body.size() - from);
                return false;
            });
        return;
    }
    if (!answer.stream || request.method == "HEAD") {
        // NOLINTNEXTLINE(performance-move-const-arg): later versions of cpp-httplib take the string over
        response.set_content(std::move(answer.body), answer.content_type);
        return;
    }
    response.set_chunked_content_provider(
        answer.content_type, [stream = std::move(answer.stream)](std::size_t, httplib::DataSink& sink) {
            constexpr std::chrono::milliseconds patience{250};
            std::string piece;
            // cpp-httplib does not catch exceptions here.
            if (!returned([&] { piece = stream->next(patience); })) return false;
            if (!piece.empty() && !sink.write(piece.data(), piece.size())) return false;
            if (stream->ended()) sink.done();
            return true;
        });
}

/// A request's body, up to one byte more than the API ever reads. The rest is received and discarded, so that
/// the connection is ready for the next request.
inline std::string body_of(const httplib::Request& request, const httplib::ContentReader& reader) {
    std::string body;
    const auto keep = [&](const char* data, std::size_t size) {
        body.append(data, std::min(size, longest_body + 1 - body.size()));
        return true;
    };
    if (request.is_multipart_form_data()) // not for us: its parts are discarded
        reader([](const httplib::MultipartFormData&) { return true; },
               [](const char*, std::size_t) { return true; });
    else reader(keep);
    return body;
}

/// True for the paths that the API answers.
inline bool is_monitoring_path(std::string_view path) noexcept {
    if (path == monitoring_api::metrics || path == monitoring_api::dashboard) return true;
    if (!path.starts_with(monitoring_api::root)) return false;
    path.remove_prefix(monitoring_api::root.size());
    return path.empty() || path.front() == '/';
}

/// Handlers of requests that may have a body are found by this path, which no browser sends. A client that does
/// send it is told that there is no such resource.
inline constexpr const char* route_of_bodies = "resilience";

/// cpp-httplib hands a body only to handlers that it finds by path, and finds them by std::regex, which calls
/// itself for every character of the path: a long path would exhaust the thread's stack. So a request with a body
/// gets a short path first; its target stays what it was.
inline void route_by_name(const httplib::Request& request) {
    // The server's own request, which is not const; cpp-httplib only shows it as const.
    const_cast<httplib::Request&>(request).path =
        route_of_bodies; // NOLINT(cppcoreguidelines-pro-type-const-cast)
}
/// Gives the request the path that it came with, for the program's logger.
inline void restore_path(const httplib::Request& request) {
    request_target target;
    (void)read_target(request.target, target);
    auto path = percent_decoded(target.path);
    const_cast<httplib::Request&>(request).path = // NOLINT(cppcoreguidelines-pro-type-const-cast)
        path ? std::move(*path) : std::string(target.path);
}

} // namespace detail

/// Serves the monitoring API, with /metrics and /dashboard. Call it once for a server, before it listens. The api
/// is copied; its registry must outlive the server. The server sets the limits on connections and time, and the
/// address (bind it to 127.0.0.1 unless others may see it). No more than 64 KiB of a body are kept.
///
/// A connection occupies one of the server's threads until it is closed. A stream of events is open until its
/// client is gone, its log is closed or the server stops; it notices that within 250 ms, or, if its client does
/// not read, after the server's write timeout. See mount_options::threads. Idle and slow clients are the server's
/// business: set_keep_alive_timeout, set_read_timeout. Serve liveness from a server of its own.
///
/// The API's paths are matched before cpp-httplib matches any by std::regex, and longer ones are refused, see
/// mount_options::longest_path. For the API's own paths a stack of 128 KiB does. cpp-httplib itself reads a Range header that way: its threads need more than 4 MiB where clients may
/// send one. Throws std::invalid_argument for options that are not valid.
inline void mount(httplib::Server& server, const monitoring_api& api, mount_options options = {}) {
    detail::require_valid(validate(options));
    const auto serve = [api = api.with_streams(options.threads / 2)](
                           const httplib::Request& request, httplib::Response& response, std::string body) {
        // HEAD is told the length, and HTTP/1.0 has no chunks.
        const bool in_pieces = request.method == "GET" && request.version == "HTTP/1.1";
        detail::answer_with(api.handle(detail::asked_by(request, std::move(body)),
                                       in_pieces ? body_form::pieces : body_form::whole),
                            request, response);
    };
    const auto serve_body = [serve](const httplib::Request& request, httplib::Response& response,
                                    const httplib::ContentReader& reader) {
        detail::restore_path(request);
        serve(request, response, detail::body_of(request, reader));
    };
    server.set_pre_routing_handler(
        [serve, first = std::move(options.pre_routing), longest = options.longest_path](
            const httplib::Request& request, httplib::Response& response) {
            using handled = httplib::Server::HandlerResponse;
            if (first && first(request, response) == handled::Handled) return handled::Handled;
            // A path that is too long goes to the API as well, which says so.
            if (!detail::is_monitoring_path(request.path) && request.path.size() <= longest)
                return handled::Unhandled;
            if (request.method == "GET" || request.method == "HEAD" || request.method == "OPTIONS") {
                serve(request, response, {});
                return handled::Handled;
            }
            detail::route_by_name(request);
            return handled::Unhandled;
        });
    const char* const route = detail::route_of_bodies;
    server.Post(route, serve_body);
    server.Put(route, serve_body);
    server.Patch(route, serve_body);
    server.Delete(route, serve_body); // with a body
    server.Delete(route, [serve](const httplib::Request& request, httplib::Response& response) {
        detail::restore_path(request);
        serve(request, response, {});
    });
}

}} // namespace resilience::RESILIENCE_ABI
