// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/monitoring/control.hpp>
#include <resilience/monitoring/events.hpp>
#include <resilience/monitoring/metrics.hpp>
#include <resilience/monitoring/options.hpp>
#include <resilience/monitoring/policies.hpp>
#include <resilience/monitoring/response.hpp>
#include <resilience/registry.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Answers requests for the state of a registry's policies, independent of the HTTP server. Under
/// /api/v1/resilience:
///
///     GET  /                                        what there is here
///     GET  /circuit-breakers                        all circuits, by name
///     GET  /circuit-breakers/{name}                 one; the name percent-encoded, `/` as %2F
///     GET  /health   /summary                       all circuits in a word, in a line each
///     GET  /health?details=true                     the same, and which open circuits are due for a probe
///     GET  /live                                    that the service answers, whatever its circuits do
///     GET  /policies?kind=&name=&after=&limit=      policies of all kinds: configs and statistics
///     GET  /policies/{name}?kind=                   those of a name
///     GET  /events?since=&kind=&name=&limit=        with monitoring_options::events: what happened since an event,
///                                                   or the newest
///     GET  /events/stream?since=&kind=&name=        the same as server-sent events
///     POST /circuit-breakers/{name}/{reset|force-open|disable|metrics-only|open|open-for}?reason=&duration=
///     PATCH /policies/{name}?kind=                  with monitoring_options::control: changes
///
/// and at the root GET /metrics?kind=&name=&after=&limit=, for Prometheus, and GET /dashboard, with
/// monitoring_options::dashboard.
///
/// A list with more policies than `limit` has a header `Link: <?after=...>; rel="next"` (RFC 8288). `after` is the last
/// policy of a page, {kind}/{name}, or its name alone where `kind` is given.
///
/// HEAD is GET without the body; other methods get 405, other paths 404, broken percent-escapes and unknown or
/// repeated arguments 400, each with an error object (see error_json). /live and /dashboard answer whatever the query is.
/// The argument `_`, which clients add to get past caches, is ignored.
/// Without `control` no request changes anything. Thread-safe. It never throws, whatever a client sends.
/// Copies share their streams' counts.
class monitoring_api {
public:
    static constexpr std::string_view root = "/api/v1/resilience";
    static constexpr std::string_view metrics = "/metrics";
    static constexpr std::string_view dashboard = "/dashboard";
    /// Bytes of a path, percent-encoded. A longer one is answered with 414: no resource has one, and servers and proxies
    /// differ in what they make of it. A policy with a longer name is asked for by the argument `name`.
    static constexpr std::size_t longest_path = 512;

    /// The registry must outlive the API. Throws std::invalid_argument for options that are not valid.
    explicit monitoring_api(registry& where = registry::global(), monitoring_options options = {})
        : registry_(&where), streams_(std::make_shared<detail::stream_counts>()) {
        detail::require_valid(validate(options));
        errors_ = {options.show_errors, options.redact};
        options_ = std::make_shared<const monitoring_options>(std::move(options));
    }

    /// `form` says whether long bodies may come in pieces, which the server must be able to send (HTTP/1.1, chunked).
    http_response handle(const http_request& request, body_form form = body_form::whole) const noexcept {
        try {
            http_response response = answer(request, request.method == "HEAD" ? body_form::whole : form);
            if (request.method == "HEAD") {
                response.body.clear();
                response.stream.reset();
            }
            return response;
        } catch (...) { // no memory, or the user's code threw: answer without a text
            http_response response;
            response.status = 500;
            return response;
        }
    }
    const monitoring_options& options() const noexcept { return *options_; }

    /// A copy that lets at most that many streams be open at the same time, counted together with the original's.
    /// No more than the original does. For servers whose threads streams occupy.
    monitoring_api with_streams(std::size_t most) const {
        monitoring_api copy = *this;
        if (most < options_->max_streams) {
            monitoring_options fewer = *options_;
            fewer.max_streams = most;
            copy.options_ = std::make_shared<const monitoring_options>(std::move(fewer));
        }
        return copy;
    }

private:
    static bool reads(const http_request& request) noexcept {
        return request.method == "GET" || request.method == "HEAD";
    }
    static http_response only_read() {
        return detail::not_allowed("this resource can only be read: GET or HEAD", "GET, HEAD");
    }
    static http_response unknown_path() {
        return detail::refused(404, "not_found",
                               "no such resource; GET /api/v1/resilience tells what there is");
    }

    http_response answer(const http_request& request, body_form form) const {
        detail::request_target target;
        const std::string broken = detail::read_target(request.target, target);
        std::string_view path = target.path;
        if (path.size() > longest_path) {
            return detail::refused(
                414, "path_too_long",
                "the path has more than 512 bytes; ask for a long name by /policies?name=");
        }
        if (path == metrics) {
            return read_only(request, target, broken, detail::page_arguments, [&] {
                return detail::metrics_of(target, form, *registry_, options_, streams_);
            });
        }
        if (path == dashboard && !options_->dashboard.empty()) return reads(request) ? page() : only_read();
        if (!path.starts_with(root)) return unknown_path();
        path.remove_prefix(root.size());
        if (path.empty()) return read_only(request, target, broken, {}, [&] { return index(); });
        if (!path.starts_with('/')) return unknown_path();
        path.remove_prefix(1);

        // {first}, {first}/{second} or {first}/{second}/{third}; none of them empty.
        std::array<std::string_view, 3> parts;
        std::size_t count = 0;
        for (bool more = true; more; ++count) {
            if (count == parts.size()) return unknown_path();
            const auto slash = path.find('/');
            parts[count] = path.substr(0, slash);
            if (parts[count].empty()) return unknown_path();
            more = slash != std::string_view::npos;
            if (more) path.remove_prefix(slash + 1);
        }
        if (parts[0] == "circuit-breakers") return circuits(request, target, parts, count, broken);
        if (parts[0] == "policies" && count <= 2) return policies(request, target, parts[1], broken, form);
        if (parts[0] == "events" && (count == 1 || (count == 2 && parts[1] == "stream")))
            return events(request, target, count == 2 ? events_as::stream : events_as::page, broken);
        if (count != 1) return unknown_path();
        if (parts[0] == "health") {
            constexpr std::array<std::string_view, 1> known{"details"};
            return read_only(request, target, broken, known, [&] { return health(target); });
        }
        if (parts[0] == "summary")
            return read_only(request, target, broken, {},
                             [&] { return detail::made(200, to_json(registry_->summary())); });
        if (parts[0] == "live")
            return reads(request) ? detail::made(200, R"({"status":"alive"})") : only_read();
        return unknown_path();
    }

    /// The answer of a resource that can only be read and has these arguments.
    template <class Answer>
    static http_response read_only(const http_request& request, const detail::request_target& target,
                                   const std::string& broken, std::span<const std::string_view> known,
                                   const Answer& answer) {
        if (!reads(request)) return only_read();
        if (!broken.empty()) return detail::bad_request(broken);
        if (auto wrong = target.unknown_argument(known); !wrong.empty()) return detail::bad_request(wrong);
        return answer();
    }
    http_response page() const {
        http_response response = detail::made(200, std::string(options_->dashboard));
        response.content_type = "text/html; charset=utf-8";
        response.headers["Content-Security-Policy"] = options_->dashboard_policy;
        response.headers["Referrer-Policy"] = "no-referrer";
        return response;
    }
    http_response index() const {
        detail::json_writer json;
        json.object([&] {
            json.member("version", detail::library_version());
            json.member("control", options_->control).member("events", options_->events != nullptr);
            json.key("routes").array([&] {
                for (const std::string_view route :
                     {"GET /circuit-breakers", "GET /circuit-breakers/{name}", "GET /health", "GET /summary",
                      "GET /live", "GET /policies", "GET /policies/{name}"})
                    json.value(route);
                if (options_->events) json.value("GET /events").value("GET /events/stream");
                if (!options_->control) return;
                for (const std::string_view command : detail::circuit_commands)
                    json.value("POST /circuit-breakers/{name}/" + std::string(command));
                if (options_->read_changes) json.value("PATCH /policies/{name}");
            });
        });
        return detail::made(200, json.take());
    }
    http_response health(const detail::request_target& target) const {
        const health_report report = registry_->health();
        // An instance that gets no calls because of this status would never send the probes that are due.
        const std::size_t refusing = report.open - report.due_for_probe.size();
        const int status = refusing * 2 > report.total_circuits ? options_->critical_status : 200;
        if (target.argument("details") != "true") return detail::made(status, to_json(report));
        detail::json_writer json;
        json.object([&] {
            detail::write_members(json, report);
            json.key("due_for_probe").array([&] {
                for (const auto& name : report.due_for_probe) json.value(name);
            });
        });
        return detail::made(status, json.take());
    }

    http_response circuits(const http_request& request, const detail::request_target& target,
                           const std::array<std::string_view, 3>& parts, std::size_t count,
                           const std::string& broken) const {
        const bool commands =
            count == 3 && options_->control &&
            std::ranges::find(detail::circuit_commands, parts[2]) != detail::circuit_commands.end();
        if (count == 3 && !commands) return unknown_path();
        if (commands && request.method != "POST")
            return detail::not_allowed("this is a command: POST", "POST");
        if (commands) {
            if (auto refusal = detail::control_refusal(request, *options_)) return std::move(*refusal);
        } else if (!reads(request)) return only_read();
        const auto name = detail::percent_decoded(parts[1]);
        if (!name) return detail::bad_request("the name's percent-encoding is broken");
        if (commands) {
            if (!broken.empty()) return detail::bad_request(broken);
            return detail::command_circuit(*registry_, *name, parts[2], target);
        }
        return read_only(request, target, broken, {}, [&] {
            if (count == 1) return detail::made(200, to_json(registry_->circuit_breakers()));
            if (const auto stats = registry_->circuit_breaker(*name))
                return detail::made(200, to_json(*stats));
            return detail::unknown_name("circuit breaker", *name);
        });
    }

    http_response policies(const http_request& request, const detail::request_target& target,
                           std::string_view encoded, const std::string& broken, body_form form) const {
        const bool one = !encoded.empty();
        const bool changes = one && options_->control && request.method == "PATCH";
        if (changes) {
            if (auto refusal = detail::control_refusal(request, *options_)) return std::move(*refusal);
        } else if (!reads(request)) {
            return one && options_->control
                       ? detail::not_allowed("this resource is read or changed: GET, HEAD or PATCH",
                                             "GET, HEAD, PATCH")
                       : only_read();
        }
        if (!broken.empty()) return detail::bad_request(broken);
        const auto known = std::span(detail::page_arguments).first(one ? 1 : detail::page_arguments.size());
        if (auto wrong = target.unknown_argument(known); !wrong.empty()) return detail::bad_request(wrong);
        policy_query which;
        if (auto wrong = detail::read_query(target, which); !wrong.empty()) return detail::bad_request(wrong);
        if (one) {
            auto name = detail::percent_decoded(encoded);
            if (!name) return detail::bad_request("the name's percent-encoding is broken");
            which.name = std::move(*name);
        }
        if (changes) return detail::patch_policy(*registry_, which, request.body, *options_, errors_);
        policy_page page = registry_->page(which);
        if (one && page.policies.empty()) return detail::unknown_name("policy", which.name);
        http_response response = detail::made(200, {});
        if (page.has_more) response.headers["Link"] = detail::link_to_next(which, page);
        if (form == body_form::pieces && page.policies.size() > detail::long_list) {
            response.pieces = [page = std::move(page), errors = errors_](const piece_sink& sink) {
                detail::write_policies(page, errors, sink);
            };
        } else response.body = detail::policies_json(page, errors_);
        return response;
    }

    enum class events_as { page, stream };
    http_response events(const http_request& request, const detail::request_target& target, events_as form,
                         const std::string& broken) const {
        if (!options_->events) {
            return detail::refused(404, "not_found",
                                   "this service keeps no events (monitoring_options.events is not set)");
        }
        if (!reads(request)) return only_read();
        if (!broken.empty()) return detail::bad_request(broken);
        return form == events_as::stream
                   ? detail::stream_of_events(request, target, *options_, errors_, streams_)
                   : detail::page_of_events(target, *options_->events, errors_);
    }

    registry* registry_;
    std::shared_ptr<const monitoring_options> options_;
    detail::shown_errors errors_;
    std::shared_ptr<detail::stream_counts> streams_;
};

}} // namespace resilience::RESILIENCE_ABI
