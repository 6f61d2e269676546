// SPDX-License-Identifier: Apache-2.0
// An outage, with and without the library: servers that really fail, calls that are really made.
//
//   service.*         the service as one would write it: start here
//   plain_service.hpp the same without protection
//   outage.*          what happens to the servers;  fake_server.*, local_server.*  the servers themselves
//   load.*            who calls, and when
//   contest.hpp       both sides at once;  thread_world.*  with calls that block
//   async_*           with coroutines: async_service.* is the service, async_world.* puts the rest together
//   pace.hpp          as much load as the machine bears
//   round.*           one outage from start to end;  timeline.*, summary.*  what is seen of it
#include "async_world.hpp"
#include "local_server.hpp"
#include "options.hpp"
#include "pace.hpp"
#include "round.hpp"
#include "thread_world.hpp"
#include "timeline.hpp"

#include <resilience/dashboard_page.hpp>
#include <resilience/event_log.hpp>
#include <resilience/format.hpp>
#include <resilience/httplib.hpp>
#include <resilience/resilience.hpp>
#include <resilience/spdlog.hpp>
#if __has_include(<nlohmann/json.hpp>)
#include <resilience/nlohmann_json.hpp>
#endif

#include <chrono>
#include <csignal>
#include <exception>
#include <filesystem>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

namespace demo { namespace {

namespace rs = resilience;
using namespace std::chrono_literals;

constexpr std::uint64_t seed = 42;

volatile std::sig_atomic_t interrupted = 0;

void prepare_process() {
    std::signal(SIGPIPE, SIG_IGN);
    for (const int end : {SIGINT, SIGTERM}) std::signal(end, [](int) { interrupted = 1; });
    // A socket must never get the number of a standard stream that was closed before we came.
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::fcntl(fd, F_GETFD) == -1 && ::open("/dev/null", O_RDWR) == -1) return;
    }
}

/// Beside the program, else where temporary files go; the log is not worth failing for.
std::shared_ptr<spdlog::logger> make_logger(std::string& where) {
    std::error_code unknown;
    for (const auto& folder : {std::filesystem::read_symlink("/proc/self/exe", unknown).parent_path(),
                               std::filesystem::temp_directory_path(unknown)}) {
        if (folder.empty()) continue;
        where = (folder / "demo.log").string();
        try {
            auto logger = spdlog::basic_logger_mt("demo", where, true);
            logger->flush_on(spdlog::level::warn);
            return logger;
        } catch (const spdlog::spdlog_ex&) { // the next, if there is one
            where = "nowhere: neither here nor among temporary files can one be written";
        }
    }
    return spdlog::null_logger_mt("demo");
}

/// The line for a circuit that tripped or recovered; empty for other events. Probes that fail are for the log.
std::string news_of(const rs::event& e) {
    if (e.kind != rs::event_kind::state_changed) return {};
    if (e.reason == "failure_rate_threshold")
        return fmt::format("{} opened after {} failures, the last: {}", e.policy, e.failure_count, e.error);
    if (e.reason == "success_threshold")
        return fmt::format("{} closed: {} probes in a row went well", e.policy, e.success_count);
    if (e.reason == "recovery_timeout" || e.reason == "probe failed" || e.reason == "probe_lease") return {};
    return fmt::format("{} is {}: {}", e.policy, e.to, e.reason); // by hand
}

std::unique_ptr<world> make_world(const options& asked) {
    if (!asked.async) return make_thread_world();
#if defined(RESILIENCE_DEMO_WITHOUT_ASIO)
    throw std::runtime_error("it was built without Asio (libasio-dev), which --async needs");
#else
    return make_async_world();
#endif
}

/// A secret of this run: 128 random bits.
std::string make_token() {
    std::random_device random;
    std::string token;
    for (int i = 0; i < 4; ++i) token += fmt::format("{:08x}", random());
    return token;
}

/// Everything that there is to see. With a token also commands and changes, for those who know it.
rs::monitoring_options shown(const std::string& token) {
    rs::monitoring_options all{.show_errors = true, // our own servers' errors, on the loopback interface
                               .events = std::make_shared<rs::event_log>(),
                               .dashboard = rs::dashboard_page,
                               .dashboard_policy = rs::dashboard_policy};
    if (token.empty()) return all;
    all.control = true;
    all.authorize = rs::bearer_token(token);
#if __has_include(<nlohmann/json.hpp>)
    all.read_changes = rs::read_json_changes;
#endif
    return all;
}

/// Where to look, and what to send to command a circuit.
void introduce_monitoring(screen& out, const std::string& site, const std::string& token) {
    const auto root = rs::monitoring_api::root;
    out.line(fmt::format("  page      {}{}", site, rs::monitoring_api::dashboard));
    out.line(fmt::format("  metrics   {}{}", site, rs::monitoring_api::metrics));
    out.line(fmt::format("  API       {}{}/{{health,summary,circuit-breakers,policies,events}}", site, root));
    if (token.empty()) return;
    out.line(fmt::format("  token     {}", token));
    out.line(fmt::format(
        "  control   curl -X POST -H 'X-Resilience-Control: 1' -H 'Authorization: Bearer {}' \\", token));
    out.line(fmt::format("              {}{}/circuit-breakers/jira_api/open-for?duration=5s", site, root));
}

void introduce(screen& out, const options& asked, const world& place, const std::string& log) {
    const scenario& numbers = place.numbers();
    out.line(out.paint(1, "An outage of Jira and Confluence, with and without the library"));
    out.line("");
    for (const phase& p : outage_script(asked.length, numbers)) {
        const auto at = [](nanoseconds t) { return std::chrono::duration<double>(t).count(); };
        out.line(fmt::format("  {:>4.3g} to {:>4.3g} s  {:11} {}", at(p.begin), at(p.end), p.name, p.story));
    }
    out.line("");
    out.line(fmt::format("  load      {} calls a second, half to each service; {}; a caller waits {}",
                         numbers.arrival_rate, numbers.callers, rs::readable{numbers.patience}));
    if (numbers.arrival_rate < place.usual_rate()) {
        out.line(fmt::format(
            "            ({} where the machine is less busy: a trial of {} told what it bears now)",
            place.usual_rate(), rs::readable{trial_time}));
    }
    out.line(
        fmt::format("  servers   each works on {} requests at once, whether their callers still wait or not",
                    numbers.capacity));
    const protection guard = place.jira_protection();
    out.line(fmt::format(
        "  with      retry ({} attempts) | circuit_breaker ({:.0f} % failed: open for {}) | timeout ({})",
        guard.get<0>().config().max_attempts, *guard.get<1>().config().failure_rate_threshold * 100,
        rs::readable{guard.get<1>().config().recovery_timeout}, rs::readable{guard.get<2>().config().limit}));
    out.line(fmt::format("  without   one attempt, given up after {}", rs::readable{numbers.patience}));
    out.line(fmt::format("  log       {}", log));
}

int run(const options& asked) {
    const auto place = make_world(asked);
    rs::registry& registry = rs::registry::global();
    screen out;
    notes news;

    std::string log;
    const auto logging = rs::log_events(registry, make_logger(log));
    const auto watching = registry.subscribe([&](const rs::event& e) {
        if (auto text = news_of(e); !text.empty()) news.add(std::move(text));
    });

    const std::string token = asked.serve ? make_token() : std::string();
    const rs::monitoring_api api(registry, shown(token));
    // A page that is open keeps two threads busy, one of them for as long as it is open.
    const local_server monitoring([&](httplib::Server& server) { rs::mount(server, api); }, 0, 16);
    const std::string site = fmt::format("http://{}:{}", loopback, monitoring.port());
    const auto ask_health = [&]() -> std::string {
        httplib::Client client(loopback, monitoring.port());
        client.set_read_timeout(1s);
        const std::string path = std::string(rs::monitoring_api::root) + "/health";
        const auto answer = client.Get(path);
        if (!answer) return "the monitoring API did not answer";
        return fmt::format("GET {} {:.60} ...", path, answer->body);
    };

    introduce(out, asked, *place, log);
    introduce_monitoring(out, site, token);
    out.line("");
    const auto is_over = [&] { return interrupted != 0 || !out.is_open(); };
    std::uint64_t round = 0;
    do {
        run_round(*place, asked.length, seed + round, {out, news, is_over, ask_health});
        if (!asked.serve || is_over()) break;
        out.line(fmt::format("Again, with other calls (round {}); Ctrl-C ends it. {}{}", ++round + 1, site,
                             rs::monitoring_api::dashboard));
        out.line("");
    } while (true);

    out.line(fmt::format("Failed attempts, trips and recoveries, a line each: {}", log));
    return interrupted != 0 && !asked.serve ? 130 : 0;
}

} // namespace
} // namespace demo

int main(int argc, char** argv) {
    demo::prepare_process();
    int exit_code = 0;
    const auto asked = demo::parse_options(argc, argv, exit_code);
    if (!asked) return exit_code;
    try {
        return demo::run(*asked);
    } catch (const std::exception& e) {
        std::fputs(fmt::format("the demo cannot run: {}\n", e.what()).c_str(), stderr);
        return 1;
    }
}
