// SPDX-License-Identifier: Apache-2.0
#pragma once

// The one place that names the primitives of concurrency for the library. A test build defines
// RESILIENCE_SYNC_HEADER to a header that provides the same names in the same namespace, made of
// instrumented types, so that a deterministic scheduler can explore the interleavings of the real code.

#include <resilience/config.hpp>

#if defined(RESILIENCE_SYNC_HEADER)
#include RESILIENCE_SYNC_HEADER
#else

#include <resilience/detail/platform.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// fork() waits here until no thread holds a mutex of the library's, and lets none take another before it is done: a
/// child inherits them all free, and what they guard whole. One gate per process; entering and leaving it are two
/// atomic operations on a line that all threads share, on paths that take a lock anyway.
///
/// Constant-initialised and never destroyed, its count per thread trivially destructible: usable from static
/// initialisers, static destructors and destructors of thread_locals.
class RESILIENCE_VISIBLE fork_gate {
public:
    // The count changes before the gate is entered and after it is left: a signal handler that forks in between must
    // not wait for its own thread.
    static void enter() noexcept {
        if (can_fork && held_++ == 0) gate_.lock_shared();
    }
    static void leave() noexcept {
        if (!can_fork) return;
        if (held_ == 1) gate_.unlock();
        --held_;
    }
    static std::uint32_t process() noexcept { return process_.load(std::memory_order_relaxed); }

private:
    // The thread that forks holds the gate meanwhile as if by enter(): handlers of others may use policies. No code of
    // the user's runs under our mutexes, so it holds none itself.
    static void before_fork() noexcept {
        if (held_++ == 0) gate_.lock();
    }
    static void in_child() noexcept {
        if (held_ == 1) gate_.renew();
        --held_;
        process_.store(process_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    static inline constinit fork_lock gate_{};
    static inline constinit thread_local unsigned held_ = 0; // mutexes that this thread holds or waits for
    static inline constinit std::atomic<std::uint32_t> process_{1}; // written while there is one thread
    // When the program starts, not at first use: a fork that is under way then would miss the handlers.
    static inline const bool prepared_ = at_fork(&before_fork, &leave, &in_child);
};

/// The number of this process: never 0, and another one in every forked child. An object that keeps the number it was made
/// under knows whether the threads that used it are here.
inline std::uint32_t process_number() noexcept { return fork_gate::process(); }

/// The mutex to take unless a condition variable waits on it: a forked child never finds it held.
///
/// Under it run no code of the user's and nothing that waits for anything but another one of these.
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

/// One that a condition variable may wait on. A forked child may find it held for ever: whoever has one says what a
/// child may do with it.
using waitable_mutex = std::mutex;

template <class T>
using atomic = std::atomic<T>;
using condition_variable = std::condition_variable;
using cv_status = std::cv_status;
using thread = std::thread;
using std::lock_guard;
using std::unique_lock;

}}} // namespace resilience::RESILIENCE_ABI::detail

#endif
