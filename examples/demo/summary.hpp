// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "load.hpp"
#include "outage.hpp"
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
    const std::vector<call_record>& calls;
    request_counts requests;
};

/// What the policies counted during the run.
struct policy_counts {
    std::uint64_t retries = 0;
    std::uint64_t trips = 0;
};

/// The table at the end. Both sides' calls are in the order of the plan.
void print_summary(screen& out, const std::vector<phase>& script, const std::vector<planned_call>& plan,
                   const side& without, const side& with_library, const policy_counts& policies);

} // namespace demo
