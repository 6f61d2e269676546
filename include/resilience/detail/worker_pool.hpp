// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/per_process.hpp>
#include <resilience/detail/sync.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#if RESILIENCE_BODIES
#include <resilience/detail/platform.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Threads for work that cannot be stopped. Every job gets an idle thread or else a new one at once, so that
/// no job waits behind work that hangs. The pool has no limit of its own; the user bounds the number of
/// threads.
///
/// There is one pool per process. It is never destroyed, so static destructors may use it. Its threads are
/// never joined and end with the process. They block the program's signals, except those that a fault of
/// their own raises. A forked child begins with an empty pool; a child forked inside a job must not return
/// from the job.
class RESILIENCE_VISIBLE worker_pool {
public:
    /// A job owns everything that its work touches. The worker runs and releases it, with no lock held.
    class job {
    public:
        job() = default;
        job(const job&) = delete;
        job& operator=(const job&) = delete;
        virtual ~job() = default;
        /// Must not throw. Only the forced unwinding of a thread that ends (pthread_exit, cancellation) may
        /// leave it.
        virtual void run() = 0;
        /// Called after run(), when the worker is back in the pool, so that a caller notified here reuses it
        /// for its next call. Must be quick and run no code of the user's, since the worker may already have
        /// its next job.
        virtual void tell() noexcept = 0;
    };

    static worker_pool& instance();

    /// Runs the job on a worker. Throws std::system_error if no thread is idle and the system refuses another
    /// one, and std::bad_alloc.
    void start(std::shared_ptr<job> work);

    /// The number of threads that wait for work.
    std::size_t idle() const;

private:
    /// The most idle threads that are kept after a burst of calls. Further threads end after their job.
    static constexpr std::size_t most_idle = 64;

    struct worker;

    worker_pool();

    void serve(worker& me);
    /// Adds the worker to the idle ones; from then on it may be given work. False if enough threads are idle
    /// already.
    bool enlist(worker& me);
    std::shared_ptr<job> wait_for_work(worker& me);

    mutable waitable_mutex mutex_;
    std::vector<std::shared_ptr<worker>> idle_; // guarded by mutex_, a stack
    static inline constinit per_process<worker_pool> pool_;
};

#if RESILIENCE_BODIES
struct worker_pool::worker : std::enable_shared_from_this<worker> {
    condition_variable has_work;
    std::shared_ptr<job> work; // guarded by the pool's mutex_ once the thread runs
};

RESILIENCE_FUNCTION worker_pool& worker_pool::instance() {
    return pool_.get([] { return worker_pool(); });
}
RESILIENCE_FUNCTION void worker_pool::start(std::shared_ptr<job> work) {
    std::shared_ptr<worker> idle;
    {
        const lock_guard lock(mutex_);
        if (!idle_.empty()) {
            idle = std::move(idle_.back()); // the last to have worked: its caches are warm
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
    // The thread may be detached: it refers to the pool, which is never destroyed, and owns everything
    // else.
    // The worker inherits the mask: the program's signals go to the program's own threads.
    const signals_blocked meanwhile;
    thread([this, fresh] { serve(*fresh); }).detach();
}
RESILIENCE_FUNCTION std::size_t worker_pool::idle() const {
    const lock_guard lock(mutex_);
    return idle_.size();
}
RESILIENCE_FUNCTION worker_pool::worker_pool() { idle_.reserve(most_idle); }
RESILIENCE_FUNCTION void worker_pool::serve(worker& me) {
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
RESILIENCE_FUNCTION bool worker_pool::enlist(worker& me) {
    const lock_guard lock(mutex_);
    if (idle_.size() == most_idle) return false;
    idle_.push_back(me.shared_from_this()); // does not allocate
    return true;
}
RESILIENCE_FUNCTION std::shared_ptr<worker_pool::job> worker_pool::wait_for_work(worker& me) {
    unique_lock lock(mutex_);
    while (me.work == nullptr) me.has_work.wait(lock);
    return std::move(me.work);
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
