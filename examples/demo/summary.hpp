// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "contest.hpp"
#include "load.hpp"
#include "outage.hpp"
#include "scenario.hpp"
#include "timeline.hpp"

#include <cstdint>
#include <vector>

namespace demo {

/// Requests to both servers by one side.
struct request_counts {
    std::uint64_t all = 0;
    std::uint64_t to_bad_servers = 0; ///< while they were dead or slow
};

/// One side of the comparison.
struct side {
    const call_log& log;
    request_counts requests;
};

/// The table at the end. Both sides' calls are in the order of the plan.
void print_summary(screen& out, const scenario& numbers, const std::vector<phase>& script,
                   const std::vector<planned_call>& plan, const side& with_library, const side& without,
                   const policy_counts& policies);

} // namespace demo
