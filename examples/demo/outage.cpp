// SPDX-License-Identifier: Apache-2.0
#include "outage.hpp"

#include <utility>

namespace demo {
namespace {

using namespace std::chrono_literals;

constexpr unsigned refused_while_flaky = 40; // of 100 requests
constexpr auto slow_answer = 2s;

/// More than the callers' threads: requests whose callers have gone away go on for a while.
constexpr std::size_t server_threads = 40;

} // namespace

std::vector<phase> outage_script(std::chrono::nanoseconds length) {
    using enum condition;
    struct part {
        const char* name;
        const char* story;
        condition jira;
        condition confluence;
        int weight;
    };
    const part parts[] = {
        {"healthy", "both servers answer within 15 ms", healthy, healthy, 4},
        {"flaky", "both answer 503 to 40 % of the requests", flaky, flaky, 4},
        {"dead", "both have closed their sockets: connections are refused", dead, dead, 6},
        {"slow", "Jira answers after 2 s; Confluence is well again", slow, healthy, 4},
        {"well again", "both servers answer within 15 ms", healthy, healthy, 6},
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

fake_server::fake_server(std::string name, unsigned seed) : name_(std::move(name)), random_(seed) {}

fake_server::~fake_server() {
    {
        const std::lock_guard lock(mutex_);
        is_closing_ = true;
    }
    changed_.notify_all(); // slow answers
    listening_.reset();
}

void fake_server::become(condition next) {
    {
        const std::lock_guard lock(mutex_);
        condition_ = next;
    }
    if (next == condition::dead) {
        listening_.reset();
    } else if (!listening_) {
        const auto routes = [this](httplib::Server& server) {
            const auto serve = [this](const httplib::Request&, httplib::Response& response) {
                answer(response);
            };
            server.Get("/rest/api/.*", serve);
            server.Post("/rest/api/.*", serve);
        };
        listening_ = std::make_unique<local_server>(routes, port(), server_threads);
    }
}

void fake_server::answer(httplib::Response& response) {
    std::unique_lock lock(mutex_);
    const bool refuses = condition_ == condition::flaky && random_() % 100 < refused_while_flaky;
    const std::chrono::milliseconds takes =
        condition_ == condition::slow ? slow_answer : 5ms + 1ms * (random_() % 11);
    changed_.wait_for(lock, takes, [&] { return is_closing_; });
    lock.unlock();

    response.status = refuses ? 503 : 200;
    response.set_content(R"({"server":")" + name_ + "\"}", "application/json");
}

} // namespace demo
