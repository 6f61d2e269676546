// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/alerts/config.hpp>
#include <resilience/monitoring/prometheus_text.hpp>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The metrics of an alert_sink. The outcomes and the waiting alerts add up to the alerts seen.
inline void expose_alerts(exposition& out, const alert_stats& alerts) {
    out.family("alerts_seen_total", "counter", "Events that were alerts.");
    out.sample({}, alerts.seen);
    out.family("alerts_total", "counter", "Alerts that wait no more, by what became of them.");
    out.sample({{"outcome", "sent"}}, alerts.sent);
    out.sample({{"outcome", "deduplicated"}}, alerts.deduplicated);
    out.sample({{"outcome", "dropped"}}, alerts.dropped);
    out.sample({{"outcome", "failed"}}, alerts.failed);
    out.family("alerts_waiting", "gauge", "Alerts that wait to be sent or tried again.");
    out.sample({}, alerts.waiting);
    out.family("alerts_rate_limited_total", "counter", "Alerts that had to wait for the rate limit.");
    out.sample({}, alerts.rate_limited);
    out.family("alert_failed_sends_total", "counter", "Tries to send an alert that failed.");
    out.sample({}, alerts.failed_sends);
}

}}} // namespace resilience::RESILIENCE_ABI::detail
