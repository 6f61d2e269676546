// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/adapters/httplib.hpp>
#include <resilience/adapters/httplib_socket_limit.hpp>
#include <resilience/alerts/alert.hpp>
#include <resilience/call/call_context.hpp>
#include <resilience/call/system_time.hpp>
#include <resilience/detail/config_field.hpp>
#include <resilience/monitoring/alert_bodies.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/registry.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ratio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <httplib.h>

namespace resilience { inline namespace RESILIENCE_ABI {

enum class webhook_format {
    json,    ///< webhook_body, or `body`
    sentry,  ///< sentry_envelope
    rollbar, ///< rollbar_item
};

/// The address that a webhook_sender posts alerts to, and the limits of its attempts.
struct webhook_config {
    /// http or https, host, port and path. With webhook_format::sentry it is the DSN. With rollbar it may be
    /// empty, which means Rollbar's own address. Credentials belong into `headers` or `token`.
    std::string url{};
    webhook_format format = webhook_format::json;
    /// Rollbar's access token (post_server_item).
    std::string token{};
    /// Headers of every request, for instance {"Authorization", "Bearer ..."}. They replace the sender's own
    /// headers of that name (Content-Type, User-Agent). The headers that frame the message are refused, since
    /// the sender sets them: Content-Length, Transfer-Encoding, Host and Connection.
    std::vector<std::pair<std::string, std::string>> headers{};
    /// With webhook_format::json, makes the JSON that is sent instead of webhook_body: chat systems want
    /// shapes of their own. Called on the thread that sends. If it throws, the alert has failed.
    detail::config_field<std::function<std::string(const alert&)>> body{};
    /// A PEM file of certificate authorities to trust instead of the system's, for receivers of your own.
    std::string ca_file{};
    /// The time that an attempt may take, from the connection to the end of the answer. The system's lookup
    /// of the host's name is not limited. Five seconds, since receivers answer in less than one.
    duration timeout = std::chrono::seconds{5};
    /// Attempts in total. Transport errors, 408, 425, 429 and 5xx are tried again; other statuses are final.
    unsigned max_attempts = 3;
    /// The delay before the second attempt. It doubles from then on, with full jitter.
    duration base_delay = std::chrono::seconds{1};
    /// The longest delay. A receiver that asks for more (Retry-After) is not asked again for this alert.
    duration max_delay = std::chrono::seconds{10};
};

namespace detail {

/// A URL as cpp-httplib wants it: the server to connect to, and the path to ask for.
struct webhook_target {
    std::string origin;
    std::string path;
};
/// Its messages do not repeat the URL, since a chat system's URL is a credential.
inline webhook_target parse_webhook_url(std::string_view url) {
    const auto bad = [](const char* what) {
        raise(std::invalid_argument(std::string("webhook_config.url ") + what +
                                    "; it must be http or https, for instance https://host/path"));
    };
    const auto colon = url.find("://");
    const auto scheme = url.substr(0, colon == std::string_view::npos ? 0 : colon);
    if (scheme != "http" && scheme != "https") bad("has another scheme or none");
    for (const char c : url) {
        if (c <= ' ' || c > '~' || c == '"' || c == '\\') bad("has a character that must be percent-encoded");
    }
    const auto from = colon + 3;
    const auto end = std::min(url.find_first_of("/?", from), url.size());
    const auto host = url.substr(from, end - from);
    if (host.empty() || host.front() == ':') bad("has no host");
    if (host.find('@') != std::string_view::npos) bad("has a user in it");
    if (url.find('#') != std::string_view::npos) bad("has a fragment");
#ifndef CPPHTTPLIB_OPENSSL_SUPPORT
    if (scheme == "https") {
        raise(std::invalid_argument(
            "webhook_config.url is https; this program's cpp-httplib is built without TLS "
            "(CPPHTTPLIB_OPENSSL_SUPPORT)"));
    }
#endif
    std::string path(url.substr(end));
    if (path.empty() || path.front() == '?') path.insert(0, "/");
    return {std::string(url.substr(0, end)), std::move(path)};
}

/// Headers that must not be given twice: a second one could make a second message of the body, or send it
/// elsewhere.
inline bool is_framing_header(std::string_view name) noexcept {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
    for (const std::string_view each : {"content-length", "transfer-encoding", "host", "connection"}) {
        if (std::equal(each.begin(), each.end(), name.begin(), name.end(),
                       [&](char a, char b) { return a == lower(b); }))
            return true;
    }
    return false;
}

} // namespace detail

/// A complaint about a config that names field, value and range; empty if the config is valid. The
/// constructor checks the url.
inline std::string validate(const webhook_config& c) {
    const auto bad = [](std::string_view field, const std::string& value, std::string_view range) {
        return "webhook_config." + std::string(field) + " is " + value + "; it must be " + std::string(range);
    };
    if (c.timeout <= duration{0}) return bad("timeout", detail::duration_text(c.timeout), "more than 0");
    if (c.max_attempts < 1) return bad("max_attempts", "0", "1 or more (1: never retry)");
    if (c.base_delay < duration{0})
        return bad("base_delay", detail::duration_text(c.base_delay), "0 or more");
    if (c.max_delay < duration{0}) return bad("max_delay", detail::duration_text(c.max_delay), "0 or more");
    if (c.format == webhook_format::rollbar && c.token.empty())
        return bad("token", "empty", "Rollbar's access token");
    const auto has_controls = [](std::string_view text) {
        for (const char each : text) {
            if (static_cast<unsigned char>(each) < ' ' || each == '\x7f') return true;
        }
        return false;
    };
    if (has_controls(c.token)) return bad("token", "malformed", "without control characters");
    for (const auto& [name, value] : c.headers) {
        if (name.empty() || name.find_first_of(" \t:") != std::string::npos || has_controls(name))
            return bad("headers", "malformed", "names without blanks and colons");
        if (detail::is_framing_header(name))
            return bad("headers", "malformed",
                       "without Content-Length, Transfer-Encoding, Host and Connection");
        if (has_controls(value)) return bad("headers", "malformed", "values without control characters");
    }
    return {};
}

/// Posts alerts by HTTP with cpp-httplib, for an alert_sink:
///
///     rs::alert_sink sink(registry, {}, rs::webhook_sender({.url = "https://host/alerts"}));
///
/// Each alert uses a connection of its own, since alerts are few. Certificates of https are verified, and
/// redirects are not followed. A retry and a timeout protect the sending; they are in a private registry,
/// whose events nobody sees. The sender is a handle: copies share these policies. Thread-safe.
class webhook_sender {
public:
    /// Throws std::invalid_argument for an invalid config. `clock` times the delays between attempts and must
    /// outlive the sender. The limits of an attempt use the machine's time.
    explicit webhook_sender(webhook_config config, time_source& clock = system_time())
        : shared_(std::make_shared<const shared>(std::move(config), clock)) {}

    /// Sends an alert. Throws the failure of the last attempt: std::runtime_error with the status or the
    /// transport error, or timeout_error. The text holds nothing of the URL, the headers or the answer.
    void operator()(const alert& a) const {
        const std::string body = shared_->body_of(a);
        // A POST, but an alert that arrives twice does no harm.
        const httplib::Result r = shared_->guard.with({.idempotency = idempotency::safe})(
            [&](call_context& ctx) { return shared_->post(body, ctx); });
        if (r && r->status / 100 == 2) return;
        detail::raise(std::runtime_error("webhook_sender: " + result_traits<httplib::Result>::message(r)));
    }

private:
    struct shared {
        shared(webhook_config c, time_source& clock) : config(checked(std::move(c))), own(clock) {
            for (const auto& [name, value] : config.headers) headers.emplace(name, value);
            std::string content_type = "application/json";
            std::string url = config.url;
            switch (config.format) {
            case webhook_format::json: break;
            case webhook_format::sentry:
                dsn = parse_sentry_dsn(url);
                url = dsn.envelope_url();
                add_own("X-Sentry-Auth", sentry_auth(dsn));
                content_type = "application/x-sentry-envelope";
                break;
            case webhook_format::rollbar:
                if (url.empty()) url = "https://api.rollbar.com/api/1/item/";
                add_own("X-Rollbar-Access-Token", config.token);
                break;
            }
            to = detail::parse_webhook_url(url);
            add_own("User-Agent", "resilience/" + detail::library_version());
            add_own("Content-Type", content_type);
        }

        static webhook_config checked(webhook_config c) {
            detail::require_valid(validate(c));
            return c;
        }
        /// Adds a header of our own, unless the user gave a header of that name, in any case.
        void add_own(const char* name, const std::string& value) {
            if (headers.find(name) == headers.end()) headers.emplace(name, value);
        }
        std::string body_of(const alert& a) const {
            switch (config.format) {
            case webhook_format::sentry: return sentry_envelope(a, dsn, own.clock().wall_now());
            case webhook_format::rollbar: return rollbar_item(a);
            case webhook_format::json: break;
            }
            return config.body ? config.body(a) : webhook_body(a);
        }
        /// Makes an attempt that is over by the context's deadline.
        httplib::Result post(const std::string& body, const call_context& ctx) const {
            // Of cpp-httplib, which polls in an int of milliseconds.
            const auto limit = ctx.remaining_as<std::chrono::duration<int, std::milli>>();
            const detail::sigpipe_held_back meanwhile;
            detail::socket_limit until(ctx.remaining());
            httplib::Client client(to.origin);
#ifdef CPPHTTPLIB_OPENSSL_SUPPORT
            if (!config.ca_file.empty()) client.set_ca_cert_path(config.ca_file);
            client.enable_server_certificate_verification(true);
#endif
            client.set_connection_timeout(limit);
            client.set_read_timeout(limit);
            client.set_write_timeout(limit);
            client.set_url_encode(false);
            client.set_follow_location(false);
            client.set_socket_options([&](socket_t s) { until.watch(s); });
            httplib::Request request;
            request.method = "POST";
            request.path = to.path;
            request.headers = headers;
            request.body = body;
            // The answer's body is not needed and may have no end.
            request.content_receiver = [&](const char*, std::size_t, std::uint64_t, std::uint64_t) {
                return !until.passed();
            };
            return client.send(request);
        }

        const webhook_config config;
        registry own;
        const pipeline<retry, resilience::timeout> guard = retry({.max_attempts = config.max_attempts,
                                                                  .base_delay = config.base_delay,
                                                                  .max_delay = config.max_delay,
                                                                  .budget = retry_budget::unlimited()},
                                                                 own) |
                                                           resilience::timeout(config.timeout, own);
        sentry_dsn dsn;
        detail::webhook_target to;
        httplib::Headers headers;
    };

    std::shared_ptr<const shared> shared_;
};

}} // namespace resilience::RESILIENCE_ABI
