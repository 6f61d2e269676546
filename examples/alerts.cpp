// SPDX-License-Identifier: Apache-2.0
// Tells whoever is on call what the circuits do: here by a line on the terminal, in production by a
// rs::webhook_sender of <resilience/httplib_sender.hpp>, which posts it to Sentry, Rollbar or a chat.
#include <resilience/alert_sink.hpp>
#include <resilience/monitoring/alert_bodies.hpp>
#include <resilience/prometheus.hpp>
#include <resilience/resilience.hpp>

#include <chrono>
#include <iostream>
#include <stdexcept>

namespace rs = resilience;
using namespace std::chrono_literals;

int main() {
    const rs::retry retry({.name = "jira_api", .max_attempts = 2, .base_delay = 1ms});
    const rs::circuit_breaker circuit({.name = "jira_api", .failure_threshold = 4, .recovery_timeout = 0s});
    const auto guard = retry | circuit;

    rs::alert_sink on_call(rs::registry::global(),
                           {.labels = {.service = "tickets", .environment = "production"}},
                           [](const rs::alert& a) { std::cout << rs::alert_message(a) << '\n'; });

    for (int call = 0; call < 2; ++call) (void)guard.try_call([] { throw std::runtime_error("HTTP 503"); });
    on_call.flush(1s);
    for (int call = 0; call < 2; ++call) guard([] { return "issues"; });

    // At the end of the program: what waits is sent, and how the sink itself is doing stands in /metrics
    // (monitoring_options::alerts) or, without the API, in this text.
    on_call.flush(1s);
    std::cout << rs::to_prometheus(on_call.stats());
}
