// SPDX-License-Identifier: Apache-2.0
#include "summary.hpp"

#include <resilience/format.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace demo {
namespace {

std::size_t calls_that(const std::vector<call_record>& calls, ending how) {
    return static_cast<std::size_t>(std::ranges::count(calls, how, &call_record::how));
}

/// Calls that were made; fewer than planned only if the run was interrupted.
std::size_t made(const std::vector<call_record>& calls) {
    return calls.size() - calls_that(calls, ending::not_made);
}

std::string share(std::size_t part, std::size_t whole) {
    if (whole == 0) return "-";
    return fmt::format("{} %", (part * 100 + whole / 2) / whole);
}

/// The latency that this share of the calls stayed within (nearest rank), whether they succeeded or not.
std::string percentile(const std::vector<call_record>& calls, double rank) {
    std::vector<nanoseconds> sorted;
    for (const auto& call : calls) {
        if (call.how != ending::not_made) sorted.push_back(call.latency);
    }
    if (sorted.empty()) return "-";
    std::ranges::sort(sorted);
    const auto at = static_cast<std::size_t>(std::ceil(rank * static_cast<double>(sorted.size())));
    const auto value = sorted[std::max<std::size_t>(at, 1) - 1];
    return fmt::format("{} ms", std::chrono::round<std::chrono::milliseconds>(value).count());
}

/// Of the calls that fell due in a phase, those that succeeded.
std::string success_in(const phase& p, const std::vector<planned_call>& plan,
                       const std::vector<call_record>& calls) {
    std::size_t all = 0;
    std::size_t good = 0;
    for (std::size_t i = 0; i < plan.size(); ++i) {
        if (plan[i].due < p.begin || plan[i].due >= p.end || calls[i].how == ending::not_made) continue;
        ++all;
        good += calls[i].how == ending::succeeded ? 1 : 0;
    }
    return share(good, all);
}

} // namespace

void print_summary(screen& out, const scenario& numbers, const std::vector<phase>& script,
                   const std::vector<planned_call>& plan, const side& with_library, const side& without,
                   const policy_counts& policies) {
    const auto& plain_calls = without.log.records();
    const auto& calls = with_library.log.records();
    // The library comes first, as in the timeline.
    const auto row = [&](std::string_view what, const std::string& guarded, const std::string& plain) {
        out.line(fmt::format("  {:54}{:>14}{:>14}", what, guarded, plain));
    };
    const auto counted = [&](std::string_view what, ending how) {
        row(what, std::to_string(calls_that(calls, how)), std::to_string(calls_that(plain_calls, how)));
    };
    const auto succeeded = [](const std::vector<call_record>& records) {
        const std::size_t good = calls_that(records, ending::succeeded);
        return fmt::format("{} ({})", good, share(good, made(records)));
    };

    out.line("");
    out.line(out.paint(
        1, fmt::format("  {:54}{:>14}{:>14}", fmt::format("{} calls, the same for both", plan.size()),
                       "with library", "without")));
    row(fmt::format("succeeded within the caller's deadline ({})", resilience::readable{numbers.patience}),
        succeeded(calls), succeeded(plain_calls));
    for (const phase& p : script) {
        row(fmt::format("    of those due while: {}", p.name), success_in(p, plan, calls),
            success_in(p, plan, plain_calls));
    }
    counted("answered, but after the deadline", ending::late);
    counted("failed", ending::failed);
    counted("rejected at once by an open circuit", ending::rejected);
    if (made(plain_calls) + made(calls) < 2 * plan.size())
        counted("not begun, since interrupted", ending::not_made);
    out.line("");
    row("latency seen by callers, p50", percentile(calls, 0.50), percentile(plain_calls, 0.50));
    row("latency seen by callers, p99", percentile(calls, 0.99), percentile(plain_calls, 0.99));
    row("most calls in flight at once", std::to_string(with_library.log.most_in_flight()),
        std::to_string(without.log.most_in_flight()));
    out.line("");
    row("requests sent to servers that were dead or slow",
        std::to_string(with_library.requests.to_bad_servers),
        std::to_string(without.requests.to_bad_servers));
    row("requests sent in total", std::to_string(with_library.requests.all),
        std::to_string(without.requests.all));
    row("retries", std::to_string(policies.retries), "-");
    row("circuits tripped", std::to_string(policies.trips), "-");
    out.line("");
}

} // namespace demo
