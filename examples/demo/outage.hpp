// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "scenario.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace demo {

/// What can be wrong with a server.
enum class condition {
    healthy, ///< answers after a while that callers bear
    flaky,   ///< answers 503 to some requests
    dead,    ///< its socket is closed: connections are refused
    slow,    ///< answers when nobody waits any more
};

inline constexpr unsigned refused_while_flaky = 40; // of 100 requests

/// A part of the outage.
struct phase {
    std::string name;
    std::string story;
    condition jira;
    condition confluence;
    std::chrono::nanoseconds begin; ///< since the start
    std::chrono::nanoseconds end;
};

/// What happens to the servers, stretched or pressed to `length`.
std::vector<phase> outage_script(std::chrono::nanoseconds length, const scenario& numbers);

} // namespace demo
