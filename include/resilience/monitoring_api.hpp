// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/json.hpp>
#include <resilience/prometheus.hpp>
#include <resilience/registry.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace resilience::inline RESILIENCE_ABI {
namespace detail {

/// Orders names of HTTP headers, whose case means nothing.
struct header_less {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const noexcept {
        const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
        return std::ranges::lexicographical_compare(a, b, {}, lower, lower);
    }
};

/// Undoes percent-encoding; empty for an escape that is none.
inline std::optional<std::string> percent_decoded(std::string_view text) {
    const auto digit = [](char c) {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
    };
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        if (text.size() - i < 3) return std::nullopt;
        const int high = digit(text[i + 1]);
        const int low = digit(text[i + 2]);
        if (high < 0 || low < 0) return std::nullopt;
        out += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return out;
}

} // namespace detail

/// By name, whatever its case.
using http_headers = std::map<std::string, std::string, detail::header_less>;

/// As much of an HTTP request as an answer depends on.
struct http_request {
    std::string method{};
    /// As it came in the request line: still percent-encoded, with its query.
    std::string target{};
    http_headers headers{};
    std::string body{};
};

struct http_response {
    int status = 200;
    std::string content_type{};
    http_headers headers{};
    std::string body{};
};

/// Answers requests for the state of a registry's circuits, whatever serves them:
///
///     GET /api/v1/resilience/circuit-breakers           all, by name
///     GET /api/v1/resilience/circuit-breakers/{name}    one; the name percent-encoded, `/` as %2F
///     GET /api/v1/resilience/health
///     GET /api/v1/resilience/summary
///     GET /metrics                                      what Prometheus scrapes
///
/// HEAD is GET without the body; other methods get 405, other paths 404, broken percent-escapes 400, each
/// with an error object (see error_json). Queries, headers and bodies are ignored. It only reads: nothing
/// that a client sends changes a circuit. Thread-safe; never throws, whatever it is sent.
class monitoring_api {
public:
    static constexpr std::string_view root = "/api/v1/resilience";
    static constexpr std::string_view metrics = "/metrics";

    /// The registry must outlive the API. Throws std::invalid_argument for options that are not valid.
    explicit monitoring_api(registry& where = registry::global(), prometheus_options options = {})
        : registry_(&where), options_(std::move(options)) {
        detail::require_valid(validate(options_));
    }

    http_response handle(const http_request& request) const noexcept {
        try {
            http_response response = answer(request);
            if (request.method == "HEAD") response.body.clear();
            return response;
        } catch (...) { // no memory: then not even a text
            http_response response;
            response.status = 500;
            return response;
        }
    }

private:
    static http_response made(int status, std::string body) {
        return {status,
                "application/json",
                {{"Cache-Control", "no-store"},
                 {"X-Content-Type-Options", "nosniff"}}, // names are others' texts: never HTML
                std::move(body)};
    }
    static http_response only_read() {
        http_response response =
            refused(405, "method_not_allowed", "this resource can only be read: GET or HEAD");
        response.headers["Allow"] = "GET, HEAD";
        return response;
    }
    static http_response refused(int status, std::string_view code, std::string_view message) {
        return made(status, error_json(code, message));
    }

    http_response answer(const http_request& request) const {
        constexpr std::string_view circuits = "/circuit-breakers";
        std::string_view path(request.target);
        path = path.substr(0, path.find_first_of("?#"));
        const bool reads = request.method == "GET" || request.method == "HEAD";
        if (path == metrics) return reads ? exposed() : only_read();
        if (!path.starts_with(root)) return unknown_path();
        path.remove_prefix(root.size());

        const bool one = path.starts_with("/circuit-breakers/") && path.size() > circuits.size() + 1 &&
                         path.find('/', circuits.size() + 1) == std::string_view::npos;
        if (!one && path != circuits && path != "/health" && path != "/summary") return unknown_path();
        if (!reads) return only_read();
        if (one) return circuit(path.substr(circuits.size() + 1));
        if (path == circuits) return made(200, to_json(registry_->circuit_breakers()));
        if (path == "/health") return made(200, to_json(registry_->health()));
        return made(200, to_json(registry_->summary()));
    }
    http_response exposed() const {
        http_response response = made(200, to_prometheus(*registry_, options_));
        response.content_type = "text/plain; version=0.0.4; charset=utf-8";
        return response;
    }
    static http_response unknown_path() {
        return refused(
            404, "not_found",
            "no such resource; there are circuit-breakers, circuit-breakers/{name}, health and summary");
    }
    http_response circuit(std::string_view encoded) const {
        const auto name = detail::percent_decoded(encoded);
        if (!name) return refused(400, "bad_request", "the name's percent-encoding is broken");
        if (const auto stats = registry_->circuit_breaker(*name)) return made(200, to_json(*stats));
        constexpr std::size_t shown = 100; // bytes of a name that may be anything
        std::string message = "no circuit breaker is named '";
        message.append(detail::clipped(*name, shown)).append(name->size() > shown ? "...'" : "'");
        return refused(404, "not_found", message);
    }

    registry* registry_;
    prometheus_options options_;
};

} // namespace resilience::inline RESILIENCE_ABI
