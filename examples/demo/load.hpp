// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace demo {

using clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

/// Threads that make calls; when all are busy, calls wait.
inline constexpr unsigned worker_threads = 8;

enum class operation { search_issues, get_issue, create_issue, get_page_content, search_content };

/// A call that a user will make.
struct planned_call {
    nanoseconds due; ///< since the start
    operation what;
    unsigned number; ///< of the issue or page it is about
};

/// Arrivals of independent users, `rate` a second: random gaps (Poisson), half of the calls to each service.
/// The same seed gives the same plan everywhere.
std::vector<planned_call> plan_calls(nanoseconds length, int rate, std::uint64_t seed);

enum class ending : std::uint8_t {
    not_made,  ///< the run was interrupted first
    succeeded, ///< within the caller's patience
    late,      ///< a good answer, when the caller had given up
    rejected,  ///< refused at once by an open circuit
    failed,
};

/// Of a call that ended by this exception, if by any.
ending ending_by(const std::exception_ptr& e) noexcept;

/// How a call went for the one who waited for it.
struct call_record {
    ending how = ending::not_made;
    nanoseconds latency{0}; ///< from the moment it was due, waiting for a thread included
};

struct tally {
    std::uint64_t succeeded = 0;
    std::uint64_t rejected = 0;
    std::uint64_t failed = 0; ///< or late
    std::uint64_t in_flight = 0;
};

/// What became of the planned calls of one side. Thread-safe, but for records(): only when all have ended.
class call_log {
public:
    /// The plan must outlive it.
    call_log(const std::vector<planned_call>& plan, clock::time_point start, nanoseconds patience)
        : plan_(plan), start_(start), patience_(patience), records_(plan.size()) {}

    const std::vector<planned_call>& plan() const noexcept { return plan_; }
    clock::time_point due(std::size_t i) const { return start_ + plan_[i].due; }
    /// When the caller has had enough.
    clock::time_point deadline(std::size_t i) const { return due(i) + patience_; }

    void began() noexcept;
    /// Once for each call that began. One that succeeded may yet have been late.
    void ended(std::size_t i, ending how) noexcept;

    /// Of the calls ended by now.
    tally counts() const noexcept;
    std::uint64_t most_in_flight() const noexcept { return most_.load(std::memory_order_relaxed); }
    /// In the order of the plan.
    const std::vector<call_record>& records() const noexcept { return records_; }

private:
    const std::vector<planned_call>& plan_;
    const clock::time_point start_;
    const nanoseconds patience_;
    std::vector<call_record> records_; // each written once, where its call ended
    // Relaxed: a count orders nothing.
    std::atomic<std::uint64_t> succeeded_{0};
    std::atomic<std::uint64_t> rejected_{0};
    std::atomic<std::uint64_t> failed_{0};
    std::atomic<std::uint64_t> in_flight_{0};
    std::atomic<std::uint64_t> most_{0}; // in flight at once
};

/// Makes one call; returns or throws. The time is the caller's deadline.
using call_function = std::function<void(const planned_call&, clock::time_point)>;

/// Makes planned calls when they are due, however slow the former ones are: an open loop, as users are.
class load_run {
public:
    /// Begins at once. The log must outlive it.
    load_run(call_log& log, call_function make_call);

    /// Calls not begun by then are not made.
    void stop();
    /// Waits for those that are.
    void finish();

private:
    void work(const std::stop_token& stop);
    bool wait_until(clock::time_point due, const std::stop_token& stop);

    call_log& log_;
    const call_function make_call_;
    std::atomic<std::size_t> next_{0}; // hands out calls, each once; relaxed: the plan never changes
    std::mutex mutex_;
    std::condition_variable_any waiting_; // for the time, or the end
    std::vector<std::jthread> workers_;   // last: they end before the rest goes
};

/// Makes a planned call with a pair of clients; what that gives is the clients' affair.
template <class Jira, class Confluence>
auto make_call_with(const Jira& jira, const Confluence& confluence, const planned_call& call,
                    clock::time_point deadline) {
    const std::string number = std::to_string(call.number);
    switch (call.what) {
    case operation::search_issues:
        return jira.search_issues("project = DEMO AND sprint = " + number, deadline);
    case operation::get_issue: return jira.get_issue("DEMO-" + number, deadline);
    case operation::create_issue: return jira.create_issue("Printer " + number + " is on fire", deadline);
    case operation::get_page_content: return confluence.get_page_content(number, deadline);
    case operation::search_content: break;
    }
    return confluence.search_content("title ~ " + number, deadline);
}

} // namespace demo
