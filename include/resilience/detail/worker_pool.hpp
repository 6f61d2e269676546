// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/per_process.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/detail/sync.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Threads for work that nobody can stop. Every job gets a thread at once: one that is idle, else a new
/// one, so that nothing ever waits behind work that hangs; how many there may be is the user's to bound.
///
/// One pool per process, never destroyed, usable in static destructors. Its threads are never joined: the
/// process ends with them. The program's signals are blocked on them, but for those that a fault of their
/// own raises. A forked child begins with an empty pool; one forked inside a job must not return from it.
class RESILIENCE_VISIBLE worker_pool {
public:
    /// Owns all that its work touches. Runs, and is let go of, on the worker, with no lock held.
    class job {
    public:
        job() = default;
        job(const job&) = delete;
        job& operator=(const job&) = delete;
        virtual ~job() = default;
        /// Lets nothing through but the unwinding of a thread that ends (pthread_exit, cancellation).
        virtual void run() = 0;
        /// After run(), once the worker is among the idle ones: whoever learns of the end here finds it there.
        /// Must be quick, and run no code of the user's: work given to the worker meanwhile waits for it.
        virtual void tell() noexcept = 0;
    };

    static worker_pool& instance() {
        return pool_.get([] { return worker_pool(); });
    }

    /// Throws std::system_error if there is no idle thread and the system refuses another, std::bad_alloc.
    void start(std::shared_ptr<job> work) {
        std::shared_ptr<worker> idle;
        {
            const lock_guard lock(mutex_);
            if (!idle_.empty()) {
                idle = std::move(idle_.back()); // the last one to have worked: its caches are warm
                idle_.pop_back();
                idle->work = std::move(work);
            }
        }
        if (idle != nullptr) {
            idle->has_work.notify_one();
            return;
        }
        auto fresh = std::make_shared<worker>();
        fresh->work = std::move(work);
        // The one place where a thread of ours is let go: it refers to the pool, which is never destroyed,
        // and owns the rest.
        const signals_blocked meanwhile; // the program's signals are for the program's own threads
        thread([this, fresh] { serve(*fresh); }).detach();
    }

    /// Threads that wait for work.
    std::size_t idle() const {
        const lock_guard lock(mutex_);
        return idle_.size();
    }

private:
    /// After a burst of calls so many threads are kept; others end with their job.
    static constexpr std::size_t most_idle = 64;

    struct worker : std::enable_shared_from_this<worker> {
        condition_variable has_work;
        std::shared_ptr<job> work; // guarded by the pool's mutex_ once the thread runs
    };

    worker_pool() { idle_.reserve(most_idle); }

    void serve(worker& me) {
        name_this_thread("resilience-work");
        auto work = std::move(me.work);
        for (;;) {
            work->run();
            const bool stays = enlist(me);
            work->tell();
            work.reset();
            if (!stays) return;
            work = wait_for_work(me);
        }
    }
    /// Work may come from now on. False if enough threads wait already.
    bool enlist(worker& me) {
        const lock_guard lock(mutex_);
        if (idle_.size() == most_idle) return false;
        idle_.push_back(me.shared_from_this()); // does not allocate
        return true;
    }
    std::shared_ptr<job> wait_for_work(worker& me) {
        unique_lock lock(mutex_);
        while (me.work == nullptr) me.has_work.wait(lock);
        return std::move(me.work);
    }

    mutable waitable_mutex mutex_;
    std::vector<std::shared_ptr<worker>> idle_; // guarded by mutex_, a stack
    static inline per_process<worker_pool> pool_;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
