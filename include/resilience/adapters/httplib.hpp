// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/adapters/httplib_server.hpp>
#include <resilience/call/result_traits.hpp>
#include <resilience/call/system_time.hpp>
#include <resilience/http/retry_after.hpp>

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

/// The server's Retry-After. A date is measured from the answer's own Date, if it has one, so that two clocks
/// that disagree do no harm.
inline std::optional<resilience::duration> retry_after_of(const Response& response) {
    if (!response.has_header("Retry-After")) return std::nullopt;
    auto now = resilience::system_time().wall_now();
    if (const auto sent = resilience::parse_http_date(response.get_header_value("Date"), now)) {
        constexpr std::chrono::hours believable{24 * 366}; // beyond that, one of the two is wrong
        const auto skew = std::chrono::floor<std::chrono::seconds>(now) - *sent;
        if (skew < believable && skew > -believable) now = *sent;
    }
    return resilience::parse_retry_after(response.get_header_value("Retry-After"), now);
}
inline std::optional<resilience::duration> retry_after_of(const Result& result) {
    return result ? retry_after_of(*result) : std::nullopt;
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

/// 408, 425, 429, 5xx and transport errors are failures, other 4xx are ignored (see http_verdict).
template <>
struct result_traits<httplib::Result> {
    static constexpr bool can_fail = true;

    static verdict judge(const httplib::Result& r) noexcept { return http_verdict(http_status_of(r)); }
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
