// SPDX-License-Identifier: Apache-2.0
#include "round.hpp"

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
class request_meter {
public:
    void end_of(const phase& p, const request_totals& now) {
        counts_.all = now.jira + now.confluence;
        if (is_bad(p.jira)) counts_.to_bad_servers += now.jira - before_.jira;
        if (is_bad(p.confluence)) counts_.to_bad_servers += now.confluence - before_.confluence;
        before_ = now;
    }
    request_counts counts() const { return counts_; }

private:
    request_totals before_;
    request_counts counts_;
};

} // namespace

void notes::add(std::string text) {
    const std::lock_guard lock(mutex_);
    texts_.push_back(std::move(text));
}

std::vector<std::string> notes::take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(texts_, {});
}

void run_round(world& place, std::chrono::seconds length, std::uint64_t seed, const surroundings& around) {
    const auto script = outage_script(length, place.numbers());
    const auto plan = plan_calls(length, place.numbers().arrival_rate, seed);

    place.enter(script.front());
    const auto start = clock::now();
    const auto sides = place.begin(plan, start);

    request_meter meter;
    request_meter plain_meter;
    const auto end_of = [&](const phase& p) {
        const glance seen = sides->look();
        meter.end_of(p, seen.requests_with_library);
        plain_meter.end_of(p, seen.requests_without);
    };
    timeline table(around.out, place.numbers());
    table.header();
    bool has_looked = false;
    std::size_t at = 0; // the phase
    for (std::chrono::seconds next_row = 1s; !around.is_over();) {
        const nanoseconds now = clock::now() - start;
        for (const auto& text : around.news.take()) table.note(now, text);
        if (now >= next_row) {
            table.row(next_row, script[at], sides->look());
            next_row = std::chrono::floor<std::chrono::seconds>(now) + 1s;
        } else {
            table.draft(next_row, script[at], sides->look());
        }
        if (now >= script[at].end) {
            if (at + 1 == script.size()) break;
            end_of(script[at]);
            place.enter(script[++at]);
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
    if (around.is_over()) sides->stop();
    sides->finish();
    end_of(script[at]);
    print_summary(around.out, place.numbers(), script, plan, {sides->with_library(), meter.counts()},
                  {sides->without(), plain_meter.counts()}, sides->look().policies);
}

} // namespace demo
