// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace demo {
namespace {

constexpr int shortest = 10;
constexpr int longest = 3600;

constexpr std::string_view usage = R"(resilience_demo [--async] [--serve] [--seconds N]

Fake Jira and Confluence servers have an outage. Two programs call them, with the same calls at the same
times: one through this library (retry | circuit_breaker | timeout), one with plain sockets.

  --async       the calls are coroutines, 2,000 of them in flight on each side, and one thread makes them all;
                otherwise they block, and a few threads make a few
  --serve       begin the outage again and again, until Ctrl-C; the page, the API and the metrics that it serves
                take commands too, from those who send the token that is printed
  --seconds N   how long the outage script takes, 10 to 3600; 24 if not given (the servers then are well
                again for no longer than the circuits need to notice, if N is small)
  --help        this text

On a machine that is slow or busy there are fewer calls: a trial of half a second tells how many it bears.

Exit codes: 0 done, 1 it could not run, 2 wrong arguments, 130 interrupted.
)";

} // namespace

std::optional<options> parse_options(int argc, const char* const* argv, int& exit_code) {
    const auto wrong = [&](const std::string& message) {
        std::fputs((message + "\n(--help tells what there is)\n").c_str(), stderr);
        exit_code = 2;
        return std::nullopt;
    };
    options asked;
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument == "--help" || argument == "-h") {
            std::fputs(std::string(usage).c_str(), stdout);
            exit_code = 0;
            return std::nullopt;
        }
        if (argument == "--async") {
            asked.async = true;
        } else if (argument == "--serve") {
            asked.serve = true;
        } else if (argument == "--seconds" || argument.starts_with("--seconds=")) {
            std::string_view number;
            if (argument != "--seconds") number = argument.substr(std::string_view("--seconds=").size());
            else if (++i < argc) number = argv[i];
            int seconds = 0;
            const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), seconds);
            const bool whole = error == std::errc{} && end == number.data() + number.size();
            if (!whole || seconds < shortest || seconds > longest) {
                return wrong(fmt::format("--seconds needs a whole number from {} to {}, not '{}'", shortest,
                                         longest, number));
            }
            asked.length = std::chrono::seconds{seconds};
        } else {
            return wrong(fmt::format("unknown argument '{}'", argument));
        }
    }
    return asked;
}

} // namespace demo
