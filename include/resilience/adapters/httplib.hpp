// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/adapters/httplib_server.hpp>
#include <resilience/call/result_traits.hpp>
#include <resilience/call/system_time.hpp>
#include <resilience/http/rate_limit_headers.hpp>
#include <resilience/http/retry_hints.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <system_error>

#include <httplib.h>

// cpp-httplib (0.11 or later): its results are judged by their HTTP status. Its server serves the monitoring
// API, see httplib_server.hpp.

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
/// The server's limit, for rate_limiter::observe() (see server_limit_in); empty if no answer came.
inline resilience::server_limit server_limit_of(const Response& response) {
    return resilience::server_limit_in(response.headers, resilience::system_time().wall_now());
}
inline resilience::server_limit server_limit_of(const Result& result) {
    return result ? server_limit_of(*result) : resilience::server_limit{};
}
/// True if the server asks for no other attempt (see forbids_retry_in).
inline bool forbids_retry(const Response& response) noexcept {
    return resilience::forbids_retry_in(response.headers);
}
inline bool forbids_retry(const Result& result) noexcept { return result && forbids_retry(*result); }

/// The idempotency of an HTTP method (RFC 9110, 9.2.2): POST, PATCH and CONNECT may do harm when they run twice.
inline resilience::idempotency idempotency_of(const Request& request) noexcept {
    using resilience::idempotency;
    if (request.has_header("Idempotency-Key")) return idempotency::safe;
    const bool harms = request.method == "POST" || request.method == "PATCH" || request.method == "CONNECT";
    return harms ? idempotency::unsafe : idempotency::safe;
}
/// `unsafe` for an answer to a request with a body (POST, PATCH, PUT, a DELETE with one) and without an Idempotency-Key;
/// else empty. A result does not know its method, but it knows the headers of its request. For a PUT or DELETE, which may
/// run twice, and for a POST that may, say so: `with({.idempotency = rs::idempotency::safe})`, or `with({.idempotency =
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

}} // namespace resilience::RESILIENCE_ABI
