// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/result_traits.hpp>
#include <resilience/call/system_time.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/http/retry_hints.hpp>
#include <resilience/monitoring/api.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <httplib.h>

// cpp-httplib (0.11 or later): its results are judged by their HTTP status, and its server serves the
// monitoring API. Its server makes the process ignore SIGPIPE, so that a client that hangs up does not end
// the process. A program that restores that signal must handle it itself.

// These functions are in httplib's namespace, so that argument-dependent lookup finds them.
namespace httplib {

/// The HTTP status; empty if no answer came.
inline std::optional<int> http_status_of(const Response& response) noexcept {
    return response.status > 0 ? std::optional<int>(response.status) : std::nullopt;
}
inline std::optional<int> http_status_of(const Result& result) noexcept {
    return result ? http_status_of(*result) : std::nullopt;
}

/// The server's hint (see retry_after_in).
inline std::optional<resilience::duration> retry_after_of(const Response& response) {
    return resilience::retry_after_in(response.headers, resilience::system_time().wall_now());
}
inline std::optional<resilience::duration> retry_after_of(const Result& result) {
    return result ? retry_after_of(*result) : std::nullopt;
}
/// True if the server asks for no other attempt (see forbids_retry_in).
inline bool forbids_retry(const Response& response) noexcept {
    return resilience::forbids_retry_in(response.headers);
}
inline bool forbids_retry(const Result& result) noexcept { return result && forbids_retry(*result); }

/// The idempotency of an HTTP method (RFC 9110, 9.2.2): POST, PATCH and CONNECT may do harm when they run twice.
inline resilience::idempotency idempotency_of(const Request& request) {
    using resilience::idempotency;
    if (request.has_header("Idempotency-Key")) return idempotency::safe;
    const bool harms = request.method == "POST" || request.method == "PATCH" || request.method == "CONNECT";
    return harms ? idempotency::unsafe : idempotency::safe;
}
/// `unsafe` for an answer to a request with a body (POST, PATCH, PUT) and without an Idempotency-Key. A result does
/// not know its method, but it knows the headers of its request. For a PUT, which may run twice, and for a POST
/// that may, say so: `with({.idempotency = rs::idempotency::safe})`, or `with({.idempotency =
/// idempotency_of(request)})` where the request is at hand.
inline std::optional<resilience::idempotency> idempotency_of(const Result& result) noexcept {
    using resilience::idempotency;
    if (result.has_request_header("Idempotency-Key")) return idempotency::safe;
    if (result.has_request_header("Content-Length") || result.has_request_header("Transfer-Encoding"))
        return idempotency::unsafe;
    return std::nullopt;
}

/// True if the request is known not to have reached the server: no connection was made, or TLS failed before
/// the request. A request that failed while it was written or answered may have arrived.
///
/// A client that follows redirects (set_follow_location) reports a failed connection to the second server as
/// if the first had failed, which has had the request by then. Do not combine that with requests that must
/// not run twice.
inline bool was_not_sent(const Result& result) noexcept {
    switch (result.error()) {
    case Error::Connection:
    case Error::ConnectionTimeout:
    case Error::BindIPAddress:
    case Error::SSLConnection:
    case Error::SSLLoadingCerts:
    case Error::SSLServerVerification: return true;
    default: return false;
    }
}

} // namespace httplib

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// The standard error code for a transport error of cpp-httplib.
inline std::error_code transport_code(httplib::Error e) noexcept {
    switch (e) {
    case httplib::Error::Success: return {};
    case httplib::Error::Connection: return std::make_error_code(std::errc::connection_refused);
    case httplib::Error::ConnectionTimeout: return std::make_error_code(std::errc::host_unreachable);
    case httplib::Error::BindIPAddress: return std::make_error_code(std::errc::address_not_available);
    case httplib::Error::Canceled: return std::make_error_code(std::errc::operation_canceled);
    default: return std::make_error_code(std::errc::io_error);
    }
}

} // namespace detail

/// Judged by the HTTP status (see http_verdict).
template <>
struct result_traits<httplib::Result> : default_result_traits<httplib::Result> {
    static std::error_code code(const httplib::Result& r) noexcept {
        return r ? std::error_code{} : detail::transport_code(r.error());
    }
    /// `HTTP 503`, or `no HTTP answer (Connection)` with cpp-httplib's name of the error.
    static std::string message(const httplib::Result& r) {
        if (r) return "HTTP " + std::to_string(r->status);
        return "no HTTP answer (" + httplib::to_string(r.error()) + ")";
    }
};

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

} // namespace detail

/// Serves the monitoring API, with /metrics and /dashboard. Call it before the server listens. The api is
/// copied; its registry must outlive the server. The server sets the limits on connections and time, and the
/// address (bind it to 127.0.0.1 unless others may see it). No more than 64 KiB of a body are kept. A stream
/// of events occupies one of the server's threads until its client is gone, its log is closed or the server
/// stops. It notices that within 250 ms, or, if its client does not read, after the server's write timeout.
///
/// cpp-httplib matches paths by std::regex, which recurses for each character. Its threads need 4 MiB of
/// stack for the longest path that it accepts, 8 KiB. That is less than the usual 8 MiB, but more than musl
/// and macOS give.
inline void mount(httplib::Server& server, const monitoring_api& api) {
    const auto serve = [api](const httplib::Request& request, httplib::Response& response) {
        detail::answer_with(api.handle(detail::asked_by(request, {})), request, response);
    };
    const auto serve_body = [api](const httplib::Request& request, httplib::Response& response,
                                  const httplib::ContentReader& reader) {
        std::string body = detail::body_of(request, reader);
        detail::answer_with(api.handle(detail::asked_by(request, std::move(body))), request, response);
    };
    // The path that is matched is already decoded and may hold any character, line ends included.
    const std::string all = std::string(monitoring_api::root) + R"((?:/[\s\S]*)?)";
    for (const auto& path :
         {all, std::string(monitoring_api::metrics), std::string(monitoring_api::dashboard)}) {
        server.Get(path, serve);
        server.Post(path, serve_body);
        server.Put(path, serve_body);
        server.Patch(path, serve_body);
        server.Delete(path, serve_body); // with a body
        server.Delete(path, serve);      // without a body
        server.Options(path, serve);
    }
}

}} // namespace resilience::RESILIENCE_ABI
