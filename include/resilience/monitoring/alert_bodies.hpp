// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/alerts/alert.hpp>
#include <resilience/call/error.hpp>
#include <resilience/config.hpp>
#include <resilience/monitoring/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

// Formats alerts for receivers: a plain JSON object for webhooks of your own, an envelope for Sentry, an item
// for Rollbar. Texts may hold any bytes: they are escaped, and bytes that are no UTF-8 become U+FFFD.

namespace resilience { inline namespace RESILIENCE_ABI {

/// The address at which a Sentry project takes events, as its settings page shows it: `https://key@host/42`.
struct sentry_dsn {
    std::string text;       ///< as it was given
    std::string scheme;     ///< http or https
    std::string host;       ///< with a port, if there is one
    std::string path;       ///< before the project, "" or for instance "/sentry"
    std::string public_key; ///< identifies the sender to the receiver
    std::string project_id;

    /// The URL that envelopes are posted to.
    std::string envelope_url() const {
        return scheme + "://" + host + path + "/api/" + project_id + "/envelope/";
    }
};

/// Parses `scheme://public_key[:secret]@host[:port][/path]/project_id`. The secret is obsolete and ignored.
/// Throws std::invalid_argument, which names the missing part and repeats nothing of the text, since that is
/// a credential.
inline sentry_dsn parse_sentry_dsn(std::string_view text) {
    const auto bad = [](const char* what) {
        detail::raise(std::invalid_argument(std::string("sentry_dsn: ") + what +
                                            "; it must be https://public_key@host/project_id"));
    };
    sentry_dsn dsn;
    dsn.text = text;
    const auto colon = text.find("://");
    dsn.scheme = colon == std::string_view::npos ? "" : text.substr(0, colon);
    if (dsn.scheme != "http" && dsn.scheme != "https") bad("the scheme is neither http nor https");
    text.remove_prefix(colon + 3);
    const auto at = text.find('@');
    dsn.public_key = at == std::string_view::npos ? "" : text.substr(0, std::min(at, text.find(':')));
    constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
    const auto is_word = [&](const std::string& s) {
        return !s.empty() && s.find_first_not_of(letters) == std::string::npos;
    };
    if (!is_word(dsn.public_key)) bad("there is no public key before an @");
    text.remove_prefix(at + 1);
    const auto slash = text.rfind('/');
    dsn.project_id = slash == std::string_view::npos ? "" : text.substr(slash + 1);
    if (!is_word(dsn.project_id)) bad("there is no project id at the end");
    text = text.substr(0, slash);
    const auto path = std::min(text.find('/'), text.size());
    dsn.host = text.substr(0, path);
    dsn.path = text.substr(path);
    if (dsn.host.empty()) bad("there is no host");
    if (text.find_first_of(" \t\r\n\"\\?#@") != std::string_view::npos) bad("the host or path is malformed");
    return dsn;
}

namespace detail {

inline constexpr std::string_view alert_client = "resilience";

inline void member_if_any(json_writer& json, std::string_view name, std::string_view value) {
    if (!value.empty()) json.member(name, value);
}
/// The numbers and texts of an alert that its receiver has no fields for.
inline void write_details(json_writer& json, const alert& a) {
    const event& e = a.what;
    json.member("kind", to_string(e.kind)).member("policy_kind", e.policy_kind);
    member_if_any(json, "policy", e.policy);
    member_if_any(json, "operation", e.operation);
    member_if_any(json, "correlation", e.correlation);
    if (e.kind == event_kind::state_changed) {
        json.member("from", e.from).member("to", e.to);
        json.member("failure_count", e.failure_count).member("generation", e.generation);
    } else if (e.max_attempts > 0) {
        json.member("attempt", e.attempt).member("max_attempts", e.max_attempts);
    }
    if (e.delay) json.member("delay", seconds_of(e.delay));
    member_if_any(json, "error_type", e.error_type);
    member_if_any(json, "error", e.error);
    member_if_any(json, "first_error_type", e.first_error_type);
    member_if_any(json, "first_error", e.first_error);
    member_if_any(json, "reason", e.reason);
    json.member("held_back", a.held_back).member("first_seen", a.first_seen).member("last_seen", a.last_seen);
}
/// An id with dashes: 8-4-4-4-12.
inline std::string dashed(std::string id) {
    for (const std::size_t at : {20U, 16U, 12U, 8U}) {
        if (id.size() > at) id.insert(at, "-");
    }
    return id;
}
/// Whole seconds since 1970; 0 before.
inline std::uint64_t unix_seconds(wall_time at) {
    const auto since = std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count();
    return since > 0 ? static_cast<std::uint64_t>(since) : 0;
}

} // namespace detail

/// {id, level, title, message, fingerprint, service, environment, release, host, held_back, first_seen,
/// last_seen, event {as to_json(event) has it}}: labels that are empty are null. For receivers of your own.
inline std::string webhook_body(const alert& a) {
    detail::json_writer json;
    json.object([&] {
        json.member("id", a.id).member("level", to_string(a.level)).member("title", alert_title(a.what));
        json.member("message", alert_message(a)).member("fingerprint", a.fingerprint);
        json.key("service").value_or_null(a.labels.service);
        json.key("environment").value_or_null(a.labels.environment);
        json.key("release").value_or_null(a.labels.release);
        json.key("host").value_or_null(a.labels.host);
        json.member("held_back", a.held_back)
            .member("first_seen", a.first_seen)
            .member("last_seen", a.last_seen);
        json.key("event");
        detail::write(json, a.what);
    });
    return json.take();
}

/// Three lines: the envelope's header, the item's header, and the event, of the platform `native`. Every
/// event has the message. If the alert is no recovery and has an error's type, the event has an exception
/// too, without a stack. Sentry groups it by the alert's fingerprint. Post it to dsn.envelope_url() as
/// application/x-sentry-envelope; the envelope's header carries the key. `sent_at` is the present time, from
/// which the receiver sees how far the sender's clock is off.
inline std::string sentry_envelope(const alert& a, const sentry_dsn& dsn, wall_time sent_at) {
    detail::json_writer event_json;
    event_json.object([&] {
        detail::json_writer& json = event_json;
        json.member("event_id", a.id).member("timestamp", a.last_seen).member("platform", "native");
        json.member("level", to_string(a.level)).member("logger", detail::alert_client);
        detail::member_if_any(json, "release", a.labels.release);
        detail::member_if_any(json, "environment", a.labels.environment);
        detail::member_if_any(json, "server_name", a.labels.host);
        json.key("logentry").object([&] { json.member("formatted", alert_message(a)); });
        if (!a.what.error_type.empty() && a.level != alert_level::info) {
            json.key("exception").object([&] {
                json.key("values").array([&] {
                    json.object(
                        [&] { json.member("type", a.what.error_type).member("value", alert_message(a)); });
                });
            });
        }
        json.key("tags").object([&] {
            json.member("kind", to_string(a.what.kind)).member("policy_kind", a.what.policy_kind);
            detail::member_if_any(json, "policy",
                                  detail::clipped(a.what.policy, 200)); // longer ones are refused
            detail::member_if_any(json, "operation", detail::clipped(a.what.operation, 200));
            detail::member_if_any(json, "correlation", detail::clipped(a.what.correlation, 200));
            detail::member_if_any(json, "service", detail::clipped(a.labels.service, 200));
        });
        json.key("extra").object([&] { detail::write_details(json, a); });
        json.key("fingerprint").array([&] { json.value(detail::alert_client).value(a.fingerprint); });
        json.key("sdk").object(
            [&] { json.member("name", detail::alert_client).member("version", detail::library_version()); });
    });
    const std::string payload = event_json.take();

    detail::json_writer header;
    header.object(
        [&] { header.member("event_id", a.id).member("sent_at", sent_at).member("dsn", dsn.text); });
    detail::json_writer item;
    item.object([&] {
        item.member("type", "event").member("length", payload.size());
        item.member("content_type", "application/json");
    });
    return header.take() + "\n" + item.take() + "\n" + payload + "\n";
}

/// The value of the header X-Sentry-Auth, for receivers that look for the key there.
inline std::string sentry_auth(const sentry_dsn& dsn) {
    return "Sentry sentry_version=7, sentry_client=" + std::string(detail::alert_client) + "/" +
           detail::library_version() + ", sentry_key=" + dsn.public_key;
}

/// An item of the kind `message`, grouped by the alert's fingerprint. Post it to
/// https://api.rollbar.com/api/1/item/ as application/json with the header X-Rollbar-Access-Token.
/// Rollbar requires an environment: without a label it is `unknown`.
inline std::string rollbar_item(const alert& a) {
    detail::json_writer json;
    json.object([&] {
        json.key("data").object([&] {
            json.member("environment", a.labels.environment.empty() ? std::string_view("unknown")
                                                                    : std::string_view(a.labels.environment));
            json.key("body").object(
                [&] { json.key("message").object([&] { json.member("body", alert_message(a)); }); });
            json.member("level", to_string(a.level));
            json.member("timestamp", detail::unix_seconds(a.last_seen));
            detail::member_if_any(json, "code_version", a.labels.release);
            json.member("platform", "linux").member("language", "c++");
            json.member("framework", detail::alert_client);
            if (!a.labels.host.empty())
                json.key("server").object([&] { json.member("host", a.labels.host); });
            json.key("custom").object([&] {
                detail::member_if_any(json, "service", a.labels.service);
                detail::write_details(json, a);
            });
            json.member("fingerprint", a.fingerprint); // longer than 40: Rollbar takes its hash
            json.member("title", detail::clipped(alert_title(a.what), 255));
            json.member("uuid", detail::dashed(a.id));
            json.key("notifier").object([&] {
                json.member("name", detail::alert_client).member("version", detail::library_version());
            });
        });
    });
    return json.take();
}

}} // namespace resilience::RESILIENCE_ABI
