// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "contest.hpp"
#include "plain_service.hpp"

namespace demo {

/// A pair of servers for each side: what one does to its servers must not help or hurt the other.
template <class Server>
struct server_pairs {
    /// `loop`: what else the servers need, if anything.
    template <class... Loop>
    explicit server_pairs(const scenario& numbers, Loop&... loop)
        : jira("jira", numbers, 1, loop...), confluence("confluence", numbers, 2, loop...),
          plain_jira("jira", numbers, 1, loop...), plain_confluence("confluence", numbers, 2, loop...) {}

    void become(condition of_jira, condition of_confluence) {
        for (auto* server : {&jira, &plain_jira}) server->become(of_jira);
        for (auto* server : {&confluence, &plain_confluence}) server->become(of_confluence);
    }

    Server jira;
    Server confluence;
    Server plain_jira;
    Server plain_confluence;
};

/// A contest between pairs of clients, but for how their calls are made.
template <class Jira, class Confluence, class PlainConnection>
class contest_of_pairs : public contest {
public:
    glance look() const override {
        return {jira_.circuit().state,
                confluence_.circuit().state,
                policies_of(jira_, confluence_, before_),
                log_.counts(),
                plain_log_.counts(),
                {jira_.requests(), confluence_.requests()},
                {plain_jira_.requests(), plain_confluence_.requests()}};
    }
    const call_log& with_library() const override { return log_; }
    const call_log& without() const override { return plain_log_; }

protected:
    template <class Server>
    contest_of_pairs(const server_pairs<Server>& servers, const std::vector<planned_call>& plan,
                     clock::time_point start, nanoseconds patience)
        : jira_(servers.jira.port()), confluence_(servers.confluence.port()),
          plain_jira_(servers.plain_jira.port()), plain_confluence_(servers.plain_confluence.port()),
          before_(policies_of(jira_, confluence_)), log_(plan, start, patience),
          plain_log_(plan, start, patience) {}

    call_log& log() noexcept { return log_; }
    call_log& plain_log() noexcept { return plain_log_; }
    /// Functions that make a call, of the side with the library and the one without.
    auto caller() {
        return [this](const planned_call& call, clock::time_point deadline) {
            return make_call_with(jira_, confluence_, call, deadline);
        };
    }
    auto plain_caller() {
        return [this](const planned_call& call, clock::time_point deadline) {
            return make_call_with(plain_jira_, plain_confluence_, call, deadline);
        };
    }

private:
    Jira jira_;
    Confluence confluence_;
    plain_jira_client<PlainConnection> plain_jira_;
    plain_confluence_client<PlainConnection> plain_confluence_;
    policy_counts before_;
    call_log log_;
    call_log plain_log_;
};

} // namespace demo
