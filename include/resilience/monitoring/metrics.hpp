// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/alerts/config.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/monitoring/event_stream.hpp>
#include <resilience/monitoring/options.hpp>
#include <resilience/monitoring/policies.hpp>
#include <resilience/monitoring/prometheus.hpp>
#include <resilience/monitoring/response.hpp>
#include <resilience/registry.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>

// The answer to /metrics: the policies' metrics, and those of the monitoring itself.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

inline void expose_streams(exposition& out, const stream_counts& streams) {
    out.family("event_streams_open", "gauge", "Clients of /events/stream now.");
    out.sample({}, streams.open.load(std::memory_order_relaxed));
    out.family("event_streams_refused_total", "counter", "Clients of /events/stream beyond max_streams.");
    out.sample({}, streams.refused.load(std::memory_order_relaxed));
    out.family("event_stream_missed_total", "counter",
               "Events that clients of /events/stream were too slow for.");
    out.sample({}, streams.missed.load(std::memory_order_relaxed));
}

/// The metrics of a page of policies. Those that are no policy's come with the first page of all policies, so that a scrape
/// in several parts has them once.
inline void expose_metrics(exposition& out, const policy_page& page, const policy_query& asked,
                           const registry& where, const monitoring_options& options,
                           const stream_counts& streams) {
    expose_policies(out, page, where);
    if (!asked.kind.empty() || !asked.name.empty() || !asked.after_kind.empty()) return;
    expose_registry(out, where);
    if (options.events) expose_streams(out, streams);
    std::optional<alert_stats> alerts; // none if the user's function throws
    if (options.alerts && returned([&] { alerts = options.alerts(); })) expose_alerts(out, *alerts);
}

/// GET /metrics. The registry must outlive the answer.
inline http_response metrics_of(const request_target& target, body_form form, const registry& where,
                                const std::shared_ptr<const monitoring_options>& options,
                                std::shared_ptr<const stream_counts> streams) {
    policy_query asked;
    if (auto wrong = read_query(target, asked); !wrong.empty()) return bad_request(wrong);
    policy_page page = where.page(asked);
    http_response response = made(200, {});
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    if (page.has_more) response.headers["Link"] = link_to_next(asked, page);
    const bool is_long = page.policies.size() > long_list;
    const auto expose = [&where, options, streams = std::move(streams), asked, page = std::move(page)](
                            exposition& out) { expose_metrics(out, page, asked, where, *options, *streams); };
    if (form == body_form::pieces && is_long) {
        response.pieces = [expose, options](const piece_sink& sink) {
            exposition out(options->prometheus.prefix, sink);
            expose(out);
            out.finish();
        };
        return response;
    }
    exposition out(options->prometheus.prefix);
    expose(out);
    response.body = out.take();
    return response;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
