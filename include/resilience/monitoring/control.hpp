// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_breaker.hpp>
#include <resilience/detail/decimal.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/monitoring/options.hpp>
#include <resilience/monitoring/policies.hpp>
#include <resilience/monitoring/response.hpp>
#include <resilience/settings/text.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

// The requests that change something: who may send them, and what they do.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Bytes of a body: every field of every config fits into a tenth of it.
inline constexpr std::size_t longest_body = 65'536;

/// A header that no HTML form, image or link can send, and that a script of another origin can send only after a
/// preflight request, which is answered with 405: it keeps other people's pages from acting in a visitor's name.
inline constexpr std::string_view control_header = "X-Resilience-Control";

/// The host of a Host header, or of an origin, without its port.
constexpr std::string_view without_port(std::string_view host) noexcept {
    const auto colon = host.rfind(':');
    const auto bracket = host.rfind(']'); // of an IPv6 address, which has colons of its own
    if (colon == std::string_view::npos || (bracket != std::string_view::npos && colon < bracket))
        return host;
    return host.substr(0, colon);
}

/// Why a request to change something is refused; empty if it is not. The cheap checks first; authorize runs code of
/// the user's.
inline std::optional<http_response> control_refusal(const http_request& request,
                                                    const monitoring_options& options) {
    const auto forbidden = [](std::string_view message) { return refused(403, "forbidden", message); };
    const std::string_view host = request.header("Host");
    const std::string_view name = without_port(host);
    const auto is_host = [&](std::string_view allowed) { return same_word(name, allowed); };
    constexpr std::array<std::string_view, 3> own{"localhost", "127.0.0.1", "[::1]"};
    if (!std::ranges::any_of(own, is_host) && !std::ranges::any_of(options.allowed_hosts, is_host))
        return forbidden("the request's Host is none of this service (monitoring_options.allowed_hosts)");
    if (request.header(control_header).empty())
        return forbidden(
            "requests that change something carry a header X-Resilience-Control, with any value");
    const std::string_view origin = request.header("Origin");
    const auto is_origin = [&](std::string_view allowed) { return same_word(origin, allowed); };
    const bool allowed_origin = std::ranges::any_of(options.allowed_origins, is_origin);
    if (!origin.empty() && !allowed_origin && !is_origin("http://" + std::string(host)) &&
        !is_origin("https://" + std::string(host)))
        return forbidden(
            "the request comes from a page of another origin (monitoring_options.allowed_origins)");
    const std::string_view site = request.header("Sec-Fetch-Site");
    if (!allowed_origin && (same_word(site, "cross-site") || same_word(site, "same-site")))
        return forbidden("the request comes from a page of another origin");

    authorization answer = authorization::forbidden; // if it throws: who cannot be asked grants nothing
    (void)returned([&] { answer = options.authorize(request); });
    if (answer.what() == authorization::granted) return std::nullopt;
    if (answer.what() == authorization::forbidden) return forbidden("not allowed");
    http_response response = refused(401, "unauthorized", "this needs an Authorization");
    response.headers["WWW-Authenticate"] = "Bearer";
    return response;
}

/// The arguments of a command. read_arguments() returns a complaint about them, empty if there is none.
struct command_arguments {
    std::string reason;
    std::optional<duration> length;
};
inline std::string read_arguments(const request_target& target, std::string_view command,
                                  command_arguments& into) {
    const bool takes_duration = command == "open-for";
    bool has_reason = false;
    for (const auto& [name, value] : target.arguments) {
        constexpr std::size_t longest = 1024; // bytes: it goes into events, logs and statistics
        if (name == "reason" && !std::exchange(has_reason, true)) {
            if (value.size() > longest) return "reason is longer than 1024 bytes";
            into.reason = value;
        } else if (name == "duration" && takes_duration && !into.length) {
            duration length{};
            if (!parse_duration(value, length)) {
                return "duration is '" + std::string(clipped(value, 64)) + "'; it must be " +
                       std::string(accepted_durations);
            }
            into.length = length;
        } else {
            return "argument '" + std::string(clipped(name, 64)) +
                   "' is unknown or given twice; there are reason" + (takes_duration ? " and duration" : "");
        }
    }
    if (takes_duration && !into.length) return "duration is missing; it must be a time such as 30s";
    return {};
}

constexpr std::array<std::string_view, 6> circuit_commands{"reset",        "force-open", "disable",
                                                           "metrics-only", "open",       "open-for"};

/// POST /circuit-breakers/{name}/{command}, after control_refusal().
inline http_response command_circuit(const registry& where, const std::string& name, std::string_view command,
                                     const request_target& target) {
    const auto circuit = where.find<circuit_breaker>(name);
    if (!circuit) return unknown_name("circuit breaker", name);
    command_arguments arguments;
    if (auto wrong = read_arguments(target, command, arguments); !wrong.empty()) return bad_request(wrong);
    const std::string_view reason =
        arguments.reason.empty() ? std::string_view("by the monitoring API") : arguments.reason;
    if (command == "reset") circuit->reset(reason);
    else if (command == "force-open") circuit->force_open(reason);
    else if (command == "disable") circuit->disable(reason);
    else if (command == "metrics-only") circuit->metrics_only(reason);
    else if (command == "open") circuit->open(reason);
    else circuit->open_for(*arguments.length, reason);
    return made(200, to_json(circuit->stats()));
}

/// PATCH /policies/{name}, after control_refusal(). Of two at the same time that read the same config the later one
/// decides.
inline http_response patch_policy(const registry& where, const policy_query& which, const std::string& body,
                                  const monitoring_options& options, const shown_errors& errors) {
    if (!options.read_changes) {
        return refused(501, "not_implemented",
                       "this service reads no JSON (monitoring_options.read_changes is not set)");
    }
    if (body.size() > longest_body) return refused(413, "too_large", "the body is longer than 65536 bytes");
    const auto found = where.listed(which.kind, which.name);
    if (found.empty()) return unknown_name("policy", which.name);
    if (found.size() > 1) {
        std::string message = "policies of several kinds have that name; say which by ?kind=";
        for (std::size_t i = 0; i < found.size(); ++i)
            message.append(i == 0 ? "" : ", ").append(found[i]->kind());
        return refused(409, "ambiguous", message);
    }
    registered_policy& policy = *found.front();
    std::string wrong;
    bool changed = false;
    try {
        changes_editor editor(options.read_changes(body));
        changed = policy.edit(editor);
    } catch (const std::invalid_argument& e) {
        wrong = e.what();
    }
    if (!wrong.empty()) return bad_request(wrong);
    if (!changed) return not_allowed("policies of this kind cannot be changed", "GET, HEAD");
    return made(200,
                policies_json(where.page({.kind = std::string(policy.kind()), .name = which.name}), errors));
}

}}} // namespace resilience::RESILIENCE_ABI::detail
