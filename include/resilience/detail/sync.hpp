// SPDX-License-Identifier: Apache-2.0
#pragma once

// Names the primitives of concurrency for the library; no other header does. A test build defines
// RESILIENCE_SYNC_HEADER to a header with the same names for instrumented types, so that a deterministic
// scheduler can explore the interleavings of the real code.

#include <resilience/config.hpp>

#if defined(RESILIENCE_SYNC_HEADER)
#include RESILIENCE_SYNC_HEADER
#else

#include <resilience/detail/platform.hpp>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Makes fork() wait until no thread holds a mutex of the library, and threads wait until the fork is done. A
/// child thus inherits free mutexes and whole data. There is one gate per process. Entering and leaving it are two
/// atomic operations on a line that few threads share, so that policies which have nothing in common do not slow each
/// other down.
///
/// Constant-initialised and never destroyed, and what it keeps per thread is trivially destructible. Static
/// initialisers, static destructors and destructors of thread_locals may use it.
class RESILIENCE_VISIBLE fork_gate {
public:
    // The count changes before the gate is entered and after it is left, so that a signal handler that forks
    // in between does not wait for its own thread.
    static void enter() noexcept {
        if (!can_fork) return;
        const bool is_first = held_++ == 0;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if (is_first) come_in();
    }
    static void leave() noexcept {
        if (!can_fork) return;
        // Release: the thread that forks sees what was done under the mutex.
        if (held_ == 1) inside_[entrance_].threads.fetch_sub(1, std::memory_order_release);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        --held_;
    }
    static const std::atomic<std::uint32_t>& process() noexcept { return process_; }

private:
    static constexpr unsigned entrances = 64;
    struct alignas(64) entrance {
        std::atomic<unsigned> threads; // inside that came in here
    };

    static void come_in() noexcept {
        if (entrance_ == entrances) entrance_ = next_.fetch_add(1, std::memory_order_relaxed) % entrances;
        auto& inside = inside_[entrance_].threads;
        for (;;) {
            // Sequentially consistent, like their counterparts in before_fork(): this thread sees that one forks, or
            // that one sees this thread.
            inside.fetch_add(1, std::memory_order_seq_cst);
            if (!is_forking_.load(std::memory_order_seq_cst)) [[likely]]
                return;
            inside.fetch_sub(1, std::memory_order_relaxed);
            forking_.lock();
            forking_.unlock();
        }
    }
    // The forking thread counts as one that has entered, so that other fork handlers may use policies. It holds no
    // mutex of the library, since no user code runs under one.
    static void before_fork() noexcept {
        if (held_++ != 0) return;
        forking_.lock();
        is_forking_.store(true, std::memory_order_seq_cst);
        for (const entrance& e : inside_) {
            for (int looks = 0; e.threads.load(std::memory_order_seq_cst) != 0; ++looks) give_way(looks);
        }
    }
    static void after_fork() noexcept {
        if (held_ == 1) {
            is_forking_.store(false, std::memory_order_seq_cst);
            forking_.unlock();
        }
        --held_;
    }
    static void in_child() noexcept {
        // Threads that it does not have may have been about to wait.
        if (held_ == 1) {
            for (entrance& e : inside_) e.threads.store(0, std::memory_order_relaxed);
        }
        process_.store(process_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        after_fork();
    }

    static inline constinit fork_lock forking_{};
    static inline constinit std::atomic<bool> is_forking_{false}; // written by the thread that holds forking_
    static inline constinit std::array<entrance, entrances> inside_{};
    static inline constinit std::atomic<unsigned> next_{0};
    static inline constinit thread_local unsigned entrance_ = entrances; // none yet
    static inline constinit thread_local unsigned held_ = 0; // mutexes that this thread holds or waits for
    static inline constinit std::atomic<std::uint32_t> process_{1}; // written while there is one thread
    // Registered when the program starts: a fork under way at the first use would miss the handlers.
    static inline const bool prepared_ = at_fork(&before_fork, &after_fork, &in_child);
};

/// The number of this process: never 0, and another one in every forked child. An object that keeps the
/// number it was made under knows whether the threads that used it are here.
inline std::uint32_t process_number() noexcept {
    return fork_gate::process().load(std::memory_order_relaxed);
}

/// The number, for an object whose functions may run in several libraries: a plugin that was loaded with local symbols
/// has a gate of its own, and counts the forks since then. All go by the library that made the object.
class number_of_process {
public:
    std::uint32_t get() const noexcept { return number_->load(std::memory_order_relaxed); }

private:
    const std::atomic<std::uint32_t>* number_ = &fork_gate::process();
};

/// The mutex for all but condition variables: a forked child never finds it held. Code under it must not run
/// user code, nor wait for anything but another mutex of this type, or a reader's mark (striped_readers).
class mutex {
public:
    constexpr mutex() noexcept = default;
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;

    void lock() {
        fork_gate::enter();
        mutex_.lock();
    }
    void unlock() noexcept {
        mutex_.unlock();
        fork_gate::leave();
    }

private:
    std::mutex mutex_;
};

/// The mutex for condition variables. A forked child may find it held for ever, so each class that has one
/// says how a child may use the class.
using waitable_mutex = std::mutex;

/// Between two looks at an atomic that another thread is about to change.
inline void let_others_run(int looks) { give_way(looks); }

template <class T>
using atomic = std::atomic<T>;
/// For what all threads remember as long as the process runs. A test build does not schedule it: what one execution
/// does must not depend on earlier ones.
template <class T>
using remembered = std::atomic<T>;
using condition_variable = std::condition_variable;
using cv_status = std::cv_status;
using thread = std::thread;
using std::lock_guard;
using std::unique_lock;

}}} // namespace resilience::RESILIENCE_ABI::detail

#endif
