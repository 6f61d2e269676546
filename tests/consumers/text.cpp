// SPDX-License-Identifier: Apache-2.0
// The program of a user: with resilience::resilience and resilience::httplib.
#include <resilience/dashboard_page.hpp>
#include <resilience/httplib.hpp>
#include <resilience/json.hpp>
#include <resilience/monitoring_api.hpp>
#include <resilience/resilience.hpp>
#include <resilience/spdlog.hpp>

int main() {
    namespace rs = resilience;

    rs::registry registry;
    const rs::circuit_breaker breaker({.name = "consumer"}, registry);
    breaker([] {});

    const rs::monitoring_api api(registry);
    if (!rs::dashboard_page.ends_with("</html>\n") || rs::dashboard_policy.empty()) return 1;
    return api.handle({.method = "GET", .target = "/api/v1/resilience/health"}).status == 200 ? 0 : 1;
}
