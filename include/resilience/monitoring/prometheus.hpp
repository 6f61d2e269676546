// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/alerts/config.hpp>
#include <resilience/call/error.hpp>
#include <resilience/detail/quote.hpp>
#include <resilience/monitoring/prometheus_alerts.hpp>
#include <resilience/monitoring/prometheus_families.hpp>
#include <resilience/registry.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

// Statistics as Prometheus reads them. Metrics that resilience4j has, too, have its names and labels, so that
// dashboards made for it show ours.

namespace resilience { inline namespace RESILIENCE_ABI {

/// Configures the text of metrics.
struct prometheus_options {
    /// The beginning of all names: <prefix>_circuitbreaker_state. Letters, digits and underscores, no digit
    /// first. Dashboards made for resilience4j want "resilience4j".
    std::string prefix = "resilience";
};

/// A complaint that names field, value and range; empty if the options are valid.
inline std::string validate(const prometheus_options& o) {
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    const auto inside = [&](char c) { return letter(c) || (c >= '0' && c <= '9'); };
    if (!o.prefix.empty() && letter(o.prefix.front()) && std::ranges::all_of(o.prefix, inside)) return {};
    constexpr std::size_t shown = 100; // bytes: the text may be of any length
    return "prometheus_options.prefix is '" +
           detail::escaped(detail::clipped(o.prefix, shown), '\'', detail::escaping::line) +
           "'; it must be letters, digits and underscores (at least one), and not begin with a digit";
}

namespace detail {

/// The metrics of these policies, each of which is read once.
inline void expose_policies(exposition& out, const policy_page& page, const registry& from) {
    exposed_policies all;
    all.reserve(page.policies.size());
    for (const auto& policy : page.policies) all.emplace_back(policy->snapshot());
    expose_circuits(out, all, from.clock().wall_now());
    described_families(all).expose(out);
    expose_common(out, all);
}

} // namespace detail

/// The metrics of all named policies of a registry, each read once, in the text exposition format 0.0.4.
/// Their order depends on kinds and names alone. Throws std::invalid_argument if the options are not valid.
/// Thread-safe; holds no lock while it writes.
inline std::string to_prometheus(const registry& from, const prometheus_options& options = {}) {
    detail::require_valid(validate(options));
    detail::exposition out(options.prefix);
    detail::expose_policies(out, from.page({}), from);
    detail::expose_registry(out, from);
    return out.take();
}

/// The metrics of an alert_sink in the same format, to be appended to those of a registry.
inline std::string to_prometheus(const alert_stats& alerts, const prometheus_options& options = {}) {
    detail::require_valid(validate(options));
    detail::exposition out(options.prefix);
    detail::expose_alerts(out, alerts);
    return out.take();
}

}} // namespace resilience::RESILIENCE_ABI
