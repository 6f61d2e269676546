// SPDX-License-Identifier: Apache-2.0
#include "round.hpp"

#include "load.hpp"
#include "summary.hpp"

#include <algorithm>
#include <cstddef>
#include <thread>
#include <utility>

namespace demo {
namespace {

using namespace std::chrono_literals;

bool is_bad(condition c) { return c == condition::dead || c == condition::slow; }

/// Adds up the requests of one side, phase by phase.
template <class Jira, class Confluence>
class request_meter {
public:
    request_meter(const Jira& jira, const Confluence& confluence) : jira_(jira), confluence_(confluence) {}

    void end_of(const phase& p) {
        const std::uint64_t jira = jira_.requests() - jira_before_;
        const std::uint64_t confluence = confluence_.requests() - confluence_before_;
        jira_before_ += jira;
        confluence_before_ += confluence;
        counts_.all += jira + confluence;
        if (is_bad(p.jira)) counts_.to_bad_servers += jira;
        if (is_bad(p.confluence)) counts_.to_bad_servers += confluence;
    }
    request_counts counts() const { return counts_; }

private:
    const Jira& jira_;
    const Confluence& confluence_;
    std::uint64_t jira_before_ = 0;
    std::uint64_t confluence_before_ = 0;
    request_counts counts_;
};

} // namespace

void world::enter(const phase& next) {
    for (auto* server : {&jira, &plain_jira}) server->become(next.jira);
    for (auto* server : {&confluence, &plain_confluence}) server->become(next.confluence);
}

void notes::add(std::string text) {
    const std::lock_guard lock(mutex_);
    texts_.push_back(std::move(text));
}

std::vector<std::string> notes::take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(texts_, {});
}

void run_round(world& servers, std::chrono::seconds length, std::uint64_t seed, const surroundings& around) {
    const auto script = outage_script(length);
    const auto plan = plan_calls(length, seed);
    const jira_client jira(servers.jira.port());
    const confluence_client confluence(servers.confluence.port());
    const plain_jira_client plain_jira(servers.plain_jira.port());
    const plain_confluence_client plain_confluence(servers.plain_confluence.port());
    const auto policies = [&] {
        return policy_counts{jira.retries().retries + confluence.retries().retries,
                             jira.circuit().trips + confluence.circuit().trips};
    };
    const policy_counts before = policies(); // of former rounds: the policies outlive them

    servers.enter(script.front());
    const auto start = clock::now();
    load_run with_library(plan, start, [&](const planned_call& call, clock::time_point deadline) {
        make_call_with(jira, confluence, call, deadline);
    });
    load_run without(plan, start, [&](const planned_call& call, clock::time_point deadline) {
        make_call_with(plain_jira, plain_confluence, call, deadline);
    });
    const auto look = [&] {
        return glance{jira.circuit().state, confluence.circuit().state, with_library.counts(),
                      policies().retries - before.retries, without.counts()};
    };

    request_meter meter(jira, confluence);
    request_meter plain_meter(plain_jira, plain_confluence);
    timeline table(around.out);
    table.header();
    bool has_looked = false;
    std::size_t at = 0; // the phase
    for (std::chrono::seconds next_row = 1s; !around.is_over();) {
        const nanoseconds now = clock::now() - start;
        for (const auto& text : around.news.take()) table.note(now, text);
        if (now >= next_row) {
            table.row(next_row, script[at], look());
            next_row = std::chrono::floor<std::chrono::seconds>(now) + 1s;
        } else {
            table.draft(next_row, script[at], look());
        }
        if (now >= script[at].end) {
            meter.end_of(script[at]);
            plain_meter.end_of(script[at]);
            if (++at == script.size()) break;
            servers.enter(script[at]);
        }
        if (!has_looked && script[at].jira == condition::dead &&
            now >= (script[at].begin + script[at].end) / 2) {
            has_looked = true;
            table.note(now, around.look_from_outside());
        }
        std::this_thread::sleep_for(
            std::clamp(std::min<nanoseconds>(next_row, script[at].end) - (clock::now() - start),
                       nanoseconds(1ms), nanoseconds(100ms)));
    }
    if (at < script.size()) { // interrupted
        with_library.stop();
        without.stop();
        meter.end_of(script[at]);
        plain_meter.end_of(script[at]);
    }
    const auto& calls = with_library.finish();
    const auto& plain_calls = without.finish();
    const policy_counts after = policies();
    print_summary(around.out, script, plan, {plain_calls, plain_meter.counts()}, {calls, meter.counts()},
                  {after.retries - before.retries, after.trips - before.trips});
}

} // namespace demo
