// SPDX-License-Identifier: Apache-2.0
#include "thread_world.hpp"

#include "fake_server.hpp"
#include "pace.hpp"
#include "pairs.hpp"
#include "plain_service.hpp"
#include "service.hpp"

#include <chrono>
#include <exception>
#include <thread>
#include <vector>

namespace demo {
namespace {

using namespace std::chrono_literals;

constexpr scenario numbers_of_threads{
    .arrival_rate = 80,
    .least_rate = 30,
    .callers = "8 threads make them",
    .patience = 1s,
    .quickest = 5ms,
    .slowest = 15ms,
    .slow = 2s,
    // More than the callers' threads: requests whose callers have gone away go on for a while.
    .capacity = 40,
    .shows_in_flight = false,
};
static_assert(worker_threads == 8);

/// How many calls a second this machine makes and answers now, with all threads that make them.
double answered_per_second() {
    fake_server server("trial", numbers_of_trial(numbers_of_threads), 1);
    server.become(condition::healthy);
    const plain_jira_client<plain_connection> client(server.port());
    trial_count answered;
    {
        std::vector<std::jthread> callers;
        for (unsigned i = 0; i < worker_threads; ++i) {
            callers.emplace_back([&] {
                while (answered.goes_on()) {
                    try {
                        (void)client.get_issue("DEMO-1", {});
                        answered.add_one();
                    } catch (const std::exception&) { // not answered
                    }
                }
            });
        }
    }
    return answered.per_second();
}

class thread_contest final : public contest_of_pairs<jira_client, confluence_client, plain_connection> {
public:
    thread_contest(const server_pairs<fake_server>& servers, const std::vector<planned_call>& plan,
                   clock::time_point start)
        : contest_of_pairs(servers, plan, start, numbers_of_threads.patience) {}

    void stop() override {
        run_.stop();
        plain_run_.stop();
    }
    void finish() override {
        run_.finish();
        plain_run_.finish();
    }

private:
    load_run run_{log(), caller()};
    load_run plain_run_{plain_log(), plain_caller()};
};

class thread_world final : public world {
public:
    const scenario& numbers() const override { return numbers_; }
    int usual_rate() const override { return numbers_of_threads.arrival_rate; }
    protection jira_protection() const override { return make_protection("jira_api"); }

    void enter(const phase& next) override { servers_.become(next.jira, next.confluence); }
    std::unique_ptr<contest> begin(const std::vector<planned_call>& plan, clock::time_point start) override {
        return std::make_unique<thread_contest>(servers_, plan, start);
    }

private:
    const scenario numbers_ = at_the_pace_of(answered_per_second(), numbers_of_threads);
    server_pairs<fake_server> servers_{numbers_};
};

} // namespace

std::unique_ptr<world> make_thread_world() { return std::make_unique<thread_world>(); }

} // namespace demo
