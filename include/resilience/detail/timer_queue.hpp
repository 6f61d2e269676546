// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/sync.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Functions that wait for their moment. The queue reads no clock: its driver passes the time, to run() on a
/// thread of its own or to run_due(). Every function runs, and is destroyed, with no lock held. Any thread
/// may call any member at any time.
class timer_queue {
public:
    using moment = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

    /// Identifies an added function. Numbers are never used twice.
    struct ticket {
        moment at;
        std::uint64_t number = 0;
        friend bool operator<(const ticket& a, const ticket& b) {
            return a.at != b.at ? a.at < b.at : a.number < b.number;
        }
    };

    timer_queue() = default;
    /// `start_runner` must make a thread that calls run(). It is called once, by the first add(), with
    /// the lock held; if it throws, so does that add(), and the next one calls it again.
    /// Tickets are numbered after `last_number`: those of queues that are taken for one another must differ.
    explicit timer_queue(void (*start_runner)(timer_queue&), std::uint64_t last_number = 0)
        : start_runner_(start_runner), last_number_(last_number) {}

    /// Adds `f`, which runs once, at `at` or when the queue is next driven after it. moment::max() never
    /// comes.
    ticket add(moment at, std::function<void()> f) {
        bool sooner = false;
        ticket added;
        {
            const lock_guard lock(mutex_);
            if (start_runner_ != nullptr) {
                start_runner_(*this);
                start_runner_ = nullptr;
            }
            added = {at, ++last_number_};
            waiting_.emplace(added, std::move(f));
            sooner = at < runner_wakes_at_;
        }
        if (sooner) changed_.notify_one();
        return added;
    }

    /// Cancels a function: after the return it is not running and will not run. If it is running on another
    /// thread, this waits for it. From inside the function itself it returns at once.
    void cancel(const ticket& t) {
        decltype(waiting_)::node_type cancelled; // destroyed after the lock is released
        unique_lock lock(mutex_);
        cancelled = waiting_.extract(t);
        if (!cancelled.empty()) return;
        finished_.wait(lock, [&] { return !runs_elsewhere(t.number); });
    }

    /// Runs the earliest function if its moment is not after `now`. False if no function is due.
    bool run_due(moment now) {
        unique_lock lock(mutex_);
        const auto first = waiting_.begin();
        if (first == waiting_.end() || first->first.at > now || first->first.at == moment::max())
            return false;
        const run_record me(*this, first->first.number);
        auto due = waiting_.extract(first);
        lock.unlock();
        due.mapped()();
        return true;
    }

    /// Runs every function at its moment, for ever.
    template <class Now>
    [[noreturn]] void run(Now now) {
        for (;;) {
            while (run_due(now())) {}
            unique_lock lock(mutex_);
            runner_wakes_at_ = first_moment();
            // Both waits may return early; the loop then looks at the clock again.
            if (runner_wakes_at_ == moment::max()) {
                changed_.wait(lock);
            } else {
                changed_.wait_until(lock, runner_wakes_at_);
            }
            runner_wakes_at_ = moment::min();
        }
    }

    /// The moment of the earliest waiting function; moment::max() if none has one.
    moment next() const {
        const lock_guard lock(mutex_);
        return first_moment();
    }

    /// The number of functions that wait for their moment, those at moment::max() included.
    std::size_t size() const {
        const lock_guard lock(mutex_);
        return waiting_.size();
    }

private:
    /// The record of a running function, on the stack of the thread that runs it. It lives until the function
    /// has been destroyed, also if the function threw.
    struct run_record {
        run_record(timer_queue& of, std::uint64_t number_of) noexcept // mutex_ is held
            : queue(of), number(number_of), next(std::exchange(of.running_, this)) {}
        run_record(const run_record&) = delete;
        run_record& operator=(const run_record&) = delete;
        ~run_record() { // mutex_ is not held
            {
                const lock_guard lock(queue.mutex_);
                run_record** link = &queue.running_;
                while (*link != this) link = &(*link)->next;
                *link = next;
            }
            queue.finished_.notify_all();
        }

        timer_queue& queue;
        const std::uint64_t number;
        const decltype(std::this_thread::get_id()) by = std::this_thread::get_id();
        run_record* next;
    };

    bool runs_elsewhere(std::uint64_t number) const noexcept {
        const auto me = std::this_thread::get_id();
        for (const run_record* r = running_; r != nullptr; r = r->next) {
            if (r->number == number && r->by != me) return true;
        }
        return false;
    }
    moment first_moment() const { return waiting_.empty() ? moment::max() : waiting_.begin()->first.at; }

    mutable waitable_mutex mutex_;
    condition_variable changed_;  // wakes the runner
    condition_variable finished_; // wakes cancel() when a running function has ended
    std::map<ticket, std::function<void()>> waiting_;
    run_record* running_ = nullptr;                // guarded by mutex_, as is the whole list
    void (*start_runner_)(timer_queue&) = nullptr; // guarded by mutex_; null once there is a runner
    std::uint64_t last_number_ = 0;                // guarded by mutex_
    moment runner_wakes_at_ = moment::min();       // guarded by mutex_; min while it is not waiting
};

}}} // namespace resilience::RESILIENCE_ABI::detail
