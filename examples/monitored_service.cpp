// SPDX-License-Identifier: Apache-2.0
// A service that calls three others, one of which is down now and then and one of which allows fewer requests than come, and
// shows its policies: to Prometheus, on a
// page, as JSON.
//
//     example_monitored_service [port [seconds [prefix]]]      (any free port, 1 s, resilience)
//     curl http://127.0.0.1:<port>/metrics
//     curl http://127.0.0.1:<port>/api/v1/resilience
//     curl http://127.0.0.1:<second port>/api/v1/resilience/live
//
// Liveness has a server of its own: open pages, slow clients and idle connections can take every thread of the other one,
// and a service that is restarted for that helps nobody.
//
// With a token in RESILIENCE_CONTROL_TOKEN (16 characters or more) its circuits can be commanded and its configs be
// changed.
#include <resilience/dashboard_page.hpp>
#include <resilience/event_log.hpp>
#include <resilience/httplib.hpp>
#include <resilience/nlohmann_json.hpp>
#include <resilience/resilience.hpp>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

namespace rs = resilience;
using namespace std::chrono_literals;

/// Stands for a remote service that fails every fifth request.
static std::string jira() {
    static int requests = 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(requests % 7));
    if (++requests % 5 == 0) throw std::runtime_error("HTTP 503");
    return "issues";
}
/// Stands for one that is down for the last second of every three.
static std::string confluence() {
    static const auto begun = std::chrono::steady_clock::now();
    if ((std::chrono::steady_clock::now() - begun) % 3s >= 2s) throw std::runtime_error("HTTP 503");
    return "pages";
}

static void work(const std::stop_token& stop) {
    const rs::circuit_breaker_config by_rate{.failure_rate_threshold = 0.5, .window = rs::count_window{20}};
    auto jira_circuit = by_rate, confluence_circuit = by_rate;
    jira_circuit.name = "jira_api";
    jira_circuit.slow_call_duration = 500ms; // from here on its calls are timed
    jira_circuit.slow_call_rate_threshold = 0.9;
    confluence_circuit.name = "confluence_api";
    confluence_circuit.recovery_timeout = 300ms;
    const auto guard_jira = rs::retry({.name = "jira_api", .base_delay = 5ms}) |
                            rs::circuit_breaker(jira_circuit) |
                            rs::timeout({.name = "jira_api", .limit = 1s});
    const auto guard_confluence =
        rs::fallback(std::string("from the cache")) |
        rs::retry({.name = "confluence_api", .max_attempts = 2, .base_delay = 5ms}) |
        rs::circuit_breaker(confluence_circuit) |
        rs::abandoning_timeout({.name = "confluence_api", .limit = 1s});
    const auto guard_search = rs::rate_limiter({.name = "search_api", .permits = 50, .burst = 10}) |
                              rs::bulkhead({.name = "search_api", .max_concurrent = 4, .max_queue = 4});

    while (!stop.stop_requested()) {
        (void)guard_jira.try_call([] { return jira(); }); // its budget may run out
        guard_confluence([] { return confluence(); });
        (void)guard_search.try_call([] { return "found"; }); // every now and then there is no permit
        std::this_thread::sleep_for(10ms);
    }
}

/// A connection occupies a thread. One that is idle, or sends half a request, gives it back after a second.
static void limit(httplib::Server& server) {
    server.set_keep_alive_timeout(1);
    server.set_read_timeout(1s);
    server.set_write_timeout(5s);
}
/// The port that the server got; 0 asks for any that is free. Negative if it is not to be had.
static int bound(httplib::Server& server, int wanted) {
    if (wanted == 0) return server.bind_to_any_port("127.0.0.1");
    return server.bind_to_port("127.0.0.1", wanted) ? wanted : -1;
}

int main(int argc, char** argv) {
    const int wanted = argc > 1 ? std::atoi(argv[1]) : 0;
    const std::chrono::seconds lifetime{argc > 2 ? std::atoi(argv[2]) : 1};
    const std::string prefix = argc > 3 ? argv[3] : "resilience";

    const auto log = std::make_shared<rs::event_log>();
    rs::monitoring_options options{.prometheus = {.prefix = prefix},
                                   .events = log,
                                   .dashboard = rs::dashboard_page,
                                   .dashboard_policy = rs::dashboard_policy,
                                   .read_changes = rs::read_json_changes};
    // NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet
    if (const char* token = std::getenv("RESILIENCE_CONTROL_TOKEN"); token != nullptr) {
        options.control = true;
        try {
            options.authorize = rs::bearer_token(token);
        } catch (const std::invalid_argument& e) {
            std::cerr << "RESILIENCE_CONTROL_TOKEN: " << e.what() << '\n';
            return 1;
        }
    }
    // A page that is open keeps two connections busy, one of them for as long as it is open.
    constexpr std::size_t threads = 16;
    httplib::Server server;
    server.new_task_queue = [] { return new httplib::ThreadPool(threads); };
    limit(server);
    rs::mount(server, rs::monitoring_api(rs::registry::global(), std::move(options)), {.threads = threads});
    const int port = bound(server, wanted);

    httplib::Server alive;
    limit(alive);
    alive.Get("/api/v1/resilience/live", [](const httplib::Request&, httplib::Response& response) {
        response.set_content(R"({"status":"alive"})", "application/json");
    });
    const int live_port = bound(alive, 0);

    if (port < 0 || live_port < 0) {
        std::cerr << "port " << wanted << " is not to be had\n";
        return 1;
    }
    std::cout << "http://127.0.0.1:" << port << " serves /dashboard, /metrics and /api/v1/resilience for "
              << lifetime.count() << " s\n"
              << "http://127.0.0.1:" << live_port << " serves /api/v1/resilience/live\n"
              << std::flush;

    const std::jthread worker(work);
    const std::jthread closing([&] {
        std::this_thread::sleep_for(lifetime);
        server.stop();
        alive.stop();
    });
    const std::jthread answering([&] { alive.listen_after_bind(); });
    return server.listen_after_bind() ? 0 : 1;
}
