// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/alerts/config.hpp>
#include <resilience/call/error.hpp>
#include <resilience/detail/config_field.hpp>
#include <resilience/event_log.hpp>
#include <resilience/http/message.hpp>
#include <resilience/monitoring/prometheus.hpp>
#include <resilience/settings/fields.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The answer to: may the sender of a request do what it asks for?
class authorization {
public:
    enum kind { granted, unauthenticated, forbidden };

    // NOLINTNEXTLINE(google-explicit-constructor): a lambda answers one of the three words,
    authorization(kind k) noexcept : kind_(k) {}
    /// From a bool: true is granted, false is forbidden. Other types that convert to bool are not taken,
    /// since a 403 would then grant.
    template <std::same_as<bool> Bool>
    // NOLINTNEXTLINE(google-explicit-constructor)
    authorization(Bool may) noexcept : kind_(may ? granted : forbidden) {}

    kind what() const noexcept { return kind_; }

private:
    kind kind_;
};

namespace detail {

/// Compares in a time that depends on the length only, so that the time does not reveal how much of the text
/// was right.
inline bool equal_in_constant_time(std::string_view given, std::string_view secret) noexcept {
    unsigned difference = given.size() == secret.size() ? 0 : 1;
    for (std::size_t i = 0; i < given.size(); ++i) {
        const auto a = static_cast<unsigned char>(given[i]);
        const auto b = static_cast<unsigned char>(secret[i % secret.size()]);
        difference = difference | static_cast<unsigned>(a ^ b);
    }
    return difference == 0;
}

} // namespace detail

/// For monitoring_options::authorize: grants requests with `Authorization: Bearer <token>` and this token;
/// all others are unauthenticated. Compares in constant time. Throws std::invalid_argument for a token of
/// less than 16 characters, which could be guessed, and for characters other than visible ASCII, which no
/// header carries.
inline std::function<authorization(const http_request&)> bearer_token(std::string token) {
    constexpr std::size_t shortest = 16;
    const auto visible = [](char c) { return c > 0x20 && c < 0x7F; };
    if (token.size() < shortest || !std::ranges::all_of(token, visible)) {
        detail::raise(std::invalid_argument("bearer_token: the token has " + std::to_string(token.size()) +
                                            " characters; it must be 16 or more, all of visible ASCII"));
    }
    return [token = std::move(token)](const http_request& request) -> authorization {
        constexpr std::string_view scheme = "bearer ";
        std::string_view given = request.header("Authorization");
        if (!detail::same_word(given.substr(0, scheme.size()), scheme)) return authorization::unauthenticated;
        given.remove_prefix(scheme.size());
        return detail::equal_in_constant_time(given, token) ? authorization::granted
                                                            : authorization::unauthenticated;
    };
}

/// Options of a monitoring_api: the data that it shows and the changes that it allows.
struct monitoring_options {
    prometheus_options prometheus{};
    /// Shows error texts in /policies and /events. Off by default: they may hold addresses, queries and any
    /// other text of a remote service. The types of errors are always shown.
    bool show_errors = false;
    /// Gets each error's text first and returns the text that may be shown. If it throws, the text is left
    /// out.
    detail::config_field<std::function<std::string(std::string_view)>> redact{};
    /// The log that /events shows, of the same registry. Null: there is no /events. A log costs failing and
    /// refused calls a little (see event_log), so the service decides whether it has one.
    std::shared_ptr<event_log> events{};
    /// Statistics of an alert_sink for /metrics: [&] { return sink.stats(); }. It must outlive the API's requests. If it
    /// throws, the alerts' metrics are left out.
    detail::config_field<std::function<alert_stats()>> alerts{};
    /// The number of event streams that may be open at the same time; further ones are refused with 503. 0:
    /// none. Each occupies a thread of a server such as cpp-httplib's, which has eight or more.
    std::size_t max_streams = 4;
    /// The status of /health while more than half of the circuits refuse calls, for load balancers that look at
    /// nothing else; 200 to 599. Circuits that are due for a probe refuse none: without calls they would stay
    /// open. 200 by default: a service whose dependencies are down is not down itself,
    /// and taking all of its instances out at once helps nobody.
    int critical_status = 200;
    /// The page of /dashboard: rs::dashboard_page of <resilience/dashboard_page.hpp>. Empty: there is none. Not copied.
    std::string_view dashboard{};
    /// The Content-Security-Policy of that page. Not copied.
    std::string_view dashboard_policy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    /// Allows requests to command circuits and change configs. Requires authorize.
    bool control = false;
    /// Decides on each such request. If it throws, the request is forbidden. See bearer_token().
    detail::config_field<std::function<authorization(const http_request&)>> authorize{};
    /// Host names, without a port, that a request for a change may be addressed to, besides localhost,
    /// 127.0.0.1 and [::1]. Other hosts are refused: a foreign page can make a browser send requests here by
    /// pointing a name of its own to our address (DNS rebinding). Reading requests are not checked, since
    /// probes and scrapers use any Host. So do not set show_errors if other people's browsers can reach the
    /// service.
    std::vector<std::string> allowed_hosts{};
    /// Origins of pages that may send such requests, as browsers name them (https://ops.example:8443),
    /// besides the address that the request itself goes to. For a proxy in front of the dashboard that sets a
    /// Host of its own.
    std::vector<std::string> allowed_origins{};
    /// Reads the body of PATCH /policies/{name}: returns the members of a flat JSON object, or throws
    /// std::invalid_argument. Set it to rs::read_json_changes of <resilience/nlohmann_json.hpp>. Empty: PATCH
    /// is answered with 501.
    detail::config_field<std::function<std::vector<change>(std::string_view)>> read_changes{};
};

/// A complaint about the options that names field, value and range; empty if they are valid.
inline std::string validate(const monitoring_options& o) {
    if (auto wrong = validate(o.prometheus); !wrong.empty()) return wrong;
    constexpr std::array<int, 3> without_body{204, 205, 304};
    if (o.critical_status < 200 || o.critical_status > 599 ||
        std::ranges::find(without_body, o.critical_status) != without_body.end()) {
        return "monitoring_options.critical_status is " + std::to_string(o.critical_status) +
               "; it must be in 200..599, and one that has a body";
    }
    for (const std::string& host : o.allowed_hosts) {
        const bool is_address = host.starts_with('[') && host.ends_with(']');
        if (host.empty() || host.find('/') != std::string::npos ||
            (!is_address && host.find(':') != std::string::npos))
            return "monitoring_options.allowed_hosts has '" + host +
                   "'; each must be a host's name, without scheme and port ([::1] with its brackets)";
    }
    for (const std::string& origin : o.allowed_origins) {
        const auto name = origin.find("://");
        if (name == std::string::npos || origin.find('/', name + 3) != std::string::npos)
            return "monitoring_options.allowed_origins has '" + origin +
                   "'; each must be like https://ops.example, without a path";
    }
    if (o.control && !o.authorize)
        return "monitoring_options.control is true without authorize; somebody has to say who may";
    return {};
}

}} // namespace resilience::RESILIENCE_ABI
