// SPDX-License-Identifier: Apache-2.0
#include "async_world.hpp"

#include "async_load.hpp"
#include "async_plain_service.hpp"
#include "async_server.hpp"
#include "async_service.hpp"
#include "pace.hpp"
#include "pairs.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/resource.h>
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

namespace demo {
namespace {

using namespace std::chrono_literals;

constexpr scenario numbers_of_coroutines{
    .arrival_rate = 2000,
    .least_rate = 200,
    .callers = "one thread makes those of both sides",
    .patience = 3s,
    .quickest = 200ms, // some 600 calls in flight on each side, 3,000 once servers are slow
    .slowest = 400ms, // a quarter of an attempt's limit: a machine that is busy for a moment trips no circuit
    .slow = 5s,
    .capacity = 450, // half more than it needs in good health
    .shows_in_flight = true,
};

/// Both ends of a connection are ours: two files for each call in flight. On a machine that keeps up,
/// 11,000 are in use at most.
constexpr rlim_t needed_files = 16'000;
constexpr rlim_t wanted_files = 65'000; // for one that does not

void raise_file_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted_files) return;
    if (limit.rlim_max < needed_files)
        throw std::runtime_error(
            fmt::format("--async needs {} open files, this process may have {} (ulimit -Hn)", needed_files,
                        limit.rlim_max));
    limit.rlim_cur = std::min(limit.rlim_max, wanted_files);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
        throw std::runtime_error(fmt::format("--async needs {} open files (ulimit -n)", needed_files));
}

/// How many calls a second this machine makes and answers now: one thread makes them, another answers.
double answered_per_second() {
    asio::io_context serving{1};
    async_server server("trial", numbers_of_trial(numbers_of_coroutines), 1, serving);
    server.become(condition::healthy); // nobody runs the loop yet
    const std::jthread thread([&] { serving.run(); });

    const plain_jira_client<async_plain_connection> client(server.port());
    trial_count answered;
    const auto caller = [&]() -> asio::awaitable<void> {
        while (answered.goes_on()) {
            try {
                auto call = client.get_issue("DEMO-1", {});
                (void)co_await std::move(call);
                answered.add_one();
            } catch (const std::exception&) { // not answered
            }
        }
    };
    asio::io_context calling{1};
    for (int i = 0; i < 50; ++i) asio::co_spawn(calling, caller, asio::detached);
    calling.run();
    const double rate = answered.per_second();
    asio::post(serving, [&] { server.become(condition::dead); }); // the loop has no more work then
    return rate;
}

/// The servers, and the thread that they share.
class async_servers {
public:
    explicit async_servers(const scenario& numbers)
        : pairs_(numbers, loop_), thread_([this] { loop_.run(); }) {}
    ~async_servers() {
        become(condition::dead, condition::dead);
        work_.reset(); // the thread ends when the last session has
    }
    async_servers(const async_servers&) = delete;
    async_servers& operator=(const async_servers&) = delete;

    const server_pairs<async_server>& pairs() const noexcept { return pairs_; }
    void become(condition of_jira, condition of_confluence) {
        std::packaged_task<void()> change([&] { pairs_.become(of_jira, of_confluence); });
        auto done = change.get_future();
        asio::post(loop_, std::move(change));
        done.get();
    }

private:
    asio::io_context loop_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_{loop_.get_executor()};
    server_pairs<async_server> pairs_;
    std::jthread thread_; // last: it ends before the rest goes
};

class async_contest final
    : public contest_of_pairs<async_jira_client, async_confluence_client, async_plain_connection> {
public:
    async_contest(const server_pairs<async_server>& servers, const std::vector<planned_call>& plan,
                  clock::time_point start)
        : contest_of_pairs(servers, plan, start, numbers_of_coroutines.patience),
          thread_([this] { loop_.run(); }) {}
    ~async_contest() override { async_contest::stop(); }
    async_contest(const async_contest&) = delete;
    async_contest& operator=(const async_contest&) = delete;

    void stop() override {
        run_.stop();
        plain_run_.stop();
    }
    void finish() override {
        if (thread_.joinable()) thread_.join();
    }

private:
    asio::io_context loop_{1};
    async_load_run run_{loop_, log(), caller()};
    async_load_run plain_run_{loop_, plain_log(), plain_caller()};
    std::jthread thread_; // last: it ends before the rest goes
};

class async_world final : public world {
public:
    const scenario& numbers() const override { return numbers_; }
    int usual_rate() const override { return numbers_of_coroutines.arrival_rate; }
    protection jira_protection() const override { return make_async_protection("jira_api"); }
    void enter(const phase& next) override { servers_.become(next.jira, next.confluence); }
    std::unique_ptr<contest> begin(const std::vector<planned_call>& plan, clock::time_point start) override {
        return std::make_unique<async_contest>(servers_.pairs(), plan, start);
    }

private:
    const scenario numbers_ = at_the_pace_of(answered_per_second(), numbers_of_coroutines);
    async_servers servers_{numbers_};
};

} // namespace

std::unique_ptr<world> make_async_world() {
    raise_file_limit();
    return std::make_unique<async_world>();
}

} // namespace demo
