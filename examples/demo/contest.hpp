// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "load.hpp"
#include "outage.hpp"
#include "protection.hpp"
#include "scenario.hpp"

#include <resilience/mechanism/circuit_state.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace demo {

/// What the policies counted during an outage.
struct policy_counts {
    std::uint64_t retries = 0;
    std::uint64_t trips = 0;
};

/// Requests of one side.
struct request_totals {
    std::uint64_t jira = 0;
    std::uint64_t confluence = 0;
};

/// What one moment shows; counts are totals since the outage began.
struct glance {
    resilience::circuit_state jira;
    resilience::circuit_state confluence;
    policy_counts policies;
    tally with_library;
    tally without;
    request_totals requests_with_library;
    request_totals requests_without;
};

/// The calls of one outage: both sides at once, each with clients and servers of its own.
class contest {
public:
    virtual ~contest() = default;
    virtual glance look() const = 0;
    /// Calls not begun by then are not made.
    virtual void stop() = 0;
    /// Waits for those that are.
    virtual void finish() = 0;
    virtual const call_log& with_library() const = 0;
    virtual const call_log& without() const = 0;
};

/// Where it takes place: the servers, and the way in which calls are made.
class world {
public:
    virtual ~world() = default;
    /// With the load that this machine bears.
    virtual const scenario& numbers() const = 0;
    /// Calls a second where the machine has nothing else to do.
    virtual int usual_rate() const = 0;
    /// Of the calls to Jira, on the side with the library; Confluence's is the same.
    virtual protection jira_protection() const = 0;
    /// All servers. Returns when it is so.
    virtual void enter(const phase& next) = 0;
    /// The plan, and the world, must outlive the contest.
    virtual std::unique_ptr<contest> begin(const std::vector<planned_call>& plan,
                                           clock::time_point start) = 0;
};

/// What the policies of a pair of clients have counted since `before`: they outlive a contest.
template <class Jira, class Confluence>
policy_counts policies_of(const Jira& jira, const Confluence& confluence, const policy_counts& before = {}) {
    return {jira.retries().retries + confluence.retries().retries - before.retries,
            jira.circuit().trips + confluence.circuit().trips - before.trips};
}

} // namespace demo
