// SPDX-License-Identifier: Apache-2.0
#include "outage.hpp"

#include <resilience/format.hpp>

#include <fmt/format.h>

namespace demo {

std::vector<phase> outage_script(std::chrono::nanoseconds length, const scenario& numbers) {
    using enum condition;
    namespace rs = resilience;
    const std::string well = fmt::format("both servers answer within {}", rs::readable{numbers.slowest});
    const std::string slowly =
        fmt::format("Jira answers after {}; Confluence is well", rs::readable{numbers.slow});
    struct part {
        const char* name;
        std::string story;
        condition jira;
        condition confluence;
        int weight;
    };
    const part parts[] = {
        {"healthy", well, healthy, healthy, 4},
        {"flaky", fmt::format("both answer 503 to {} % of the requests", refused_while_flaky), flaky, flaky,
         4},
        {"dead", "both have closed their sockets: connections are refused", dead, dead, 5},
        // A circuit finds that out by probes. This has a row of its own: it is no matter of slow servers.
        {"one back", "Confluence is well again; Jira is not", dead, healthy, 1},
        {"slow", slowly, slow, healthy, 4},
        {"well again", well, healthy, healthy, 6},
    };
    int total = 0;
    for (const part& p : parts) total += p.weight;

    std::vector<phase> script;
    int before = 0;
    for (const part& p : parts) {
        const std::chrono::nanoseconds begin = length * before / total;
        before += p.weight;
        script.push_back({p.name, p.story, p.jira, p.confluence, begin, length * before / total});
    }
    return script;
}

} // namespace demo
