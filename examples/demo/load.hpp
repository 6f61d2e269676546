// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace demo {

using clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

/// Calls a second, to both services together.
inline constexpr int arrival_rate = 80;
/// How long a caller waits for an answer.
inline constexpr std::chrono::seconds patience{1};
/// Threads that make calls; when all are busy, calls wait.
inline constexpr unsigned worker_threads = 8;

enum class operation { search_issues, get_issue, create_issue, get_page_content, search_content };

/// A call that a user will make.
struct planned_call {
    nanoseconds due; ///< since the start
    operation what;
    unsigned number; ///< of the issue or page it is about
};

/// Arrivals of independent users: random gaps (Poisson), half of the calls to each service. The same seed
/// gives the same plan everywhere.
std::vector<planned_call> plan_calls(nanoseconds length, std::uint64_t seed);

enum class ending : std::uint8_t {
    not_made,  ///< the run was interrupted first
    succeeded, ///< within the caller's patience
    late,      ///< a good answer, when the caller had given up
    rejected,  ///< refused at once by an open circuit
    failed,
};

/// How a call went for the one who waited for it.
struct call_record {
    ending how = ending::not_made;
    nanoseconds latency{0}; ///< from the moment it was due, waiting for a thread included
};

/// Makes one call; returns or throws. The time is the caller's deadline.
using call_function = std::function<void(const planned_call&, clock::time_point)>;

/// Makes planned calls when they are due, however slow the former ones are: an open loop, as users are.
class load_run {
public:
    struct tally {
        std::uint64_t succeeded = 0;
        std::uint64_t rejected = 0;
        std::uint64_t failed = 0; ///< or late
    };

    /// Begins at `start`. The plan must outlive it.
    load_run(const std::vector<planned_call>& plan, clock::time_point start, call_function make_call);

    /// Of the calls ended by now.
    tally counts() const noexcept;
    /// Waits for the calls in flight; those not begun by then are not made.
    void stop();
    /// Waits for all calls. In the order of the plan.
    const std::vector<call_record>& finish();

private:
    void work(const std::stop_token& stop);
    bool wait_until(clock::time_point due, const std::stop_token& stop);
    ending make(const planned_call& call);

    const std::vector<planned_call>& plan_;
    const clock::time_point start_;
    const call_function make_call_;
    std::vector<call_record> records_; // each written by the one thread that made the call
    std::atomic<std::size_t> next_{0}; // hands out calls, each once; relaxed: the plan never changes
    std::mutex mutex_;
    std::condition_variable_any waiting_; // for the time, or the end
    // Only ever added to; relaxed: a count orders nothing.
    std::atomic<std::uint64_t> succeeded_{0};
    std::atomic<std::uint64_t> rejected_{0};
    std::atomic<std::uint64_t> failed_{0};
    std::vector<std::jthread> workers_; // last: they end before the rest goes
};

/// Makes a planned call with a pair of clients.
template <class Jira, class Confluence>
void make_call_with(const Jira& jira, const Confluence& confluence, const planned_call& call,
                    clock::time_point deadline) {
    const std::string number = std::to_string(call.number);
    switch (call.what) {
    case operation::search_issues:
        jira.search_issues("project = DEMO AND sprint = " + number, deadline);
        break;
    case operation::get_issue: jira.get_issue("DEMO-" + number, deadline); break;
    case operation::create_issue: jira.create_issue("Printer " + number + " is on fire", deadline); break;
    case operation::get_page_content: confluence.get_page_content(number, deadline); break;
    case operation::search_content: confluence.search_content("title ~ " + number, deadline); break;
    }
}

} // namespace demo
