// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "simulated/confluence.hpp"
#include "simulated/fault_script.hpp"
#include "simulated/jira.hpp"
#include "simulated/mongodb.hpp"

#include <resilience/registry.hpp>
#include <resilience/testing/fixed_random.hpp>
#include <resilience/testing/virtual_clock.hpp>

namespace simulated {

/// A clock, the three servers, and the application's services around them. The random number is always
/// 0.5: Jira's and Confluence's delays are 0.5 s and 1 s, MongoDB's 0.25 s and 0.5 s.
struct world {
    rs::testing::virtual_clock clock;
    rs::testing::fixed_random random{0.5};
    rs::registry registry{clock, random};

    fault_script jira_server{clock};
    fault_script confluence_server{clock};
    fault_script mongodb_server{clock};

    jira_service jira{jira_client(jira_server), registry};
    confluence_service confluence{confluence_client(confluence_server), registry};
    mongodb_session_repository sessions{mongodb_client(mongodb_server), registry};

    rs::circuit_breaker_stats jira_circuit() const { return registry.circuit_breaker("jira_api").value(); }
    rs::circuit_breaker_stats confluence_circuit() const {
        return registry.circuit_breaker("confluence_api").value();
    }
};

} // namespace simulated
