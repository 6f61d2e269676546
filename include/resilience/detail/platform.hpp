// SPDX-License-Identifier: Apache-2.0
#pragma once

// The system, the compiler and the C++ library behind names of ours. This header and config.hpp are the only ones of the
// core that name anything beyond standard C++20 (tests/headers/forbidden.py): a port changes these two.

#include <resilience/config.hpp>

#if defined(_WIN32)
#include <process.h>
#else
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#endif
#if __has_include(<cxxabi.h>)
#include <cxxabi.h>
#endif
#include <chrono>
#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <initializer_list>
#include <limits>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>
#if !defined(__linux__)
#include <thread>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

// Exceptions and types.

/// The exception that unwinds a thread which ends inside a call (pthread_exit, cancellation). It must be thrown on:
/// swallowed, it ends the program. Only libstdc++ has a type for it; elsewhere nobody throws this one, and a thread must not
/// end inside a call.
#if defined(__GLIBCXX__)
#define RESILIENCE_FORCED_UNWIND 1
using forced_unwind = abi::__forced_unwind;
#else
#define RESILIENCE_FORCED_UNWIND 0
class forced_unwind {};
#endif

/// The type of an exception; null where that is not known.
inline const std::type_info* exception_type(const std::exception_ptr& e) noexcept {
    if (!e) return nullptr;
#if defined(__GLIBCXX__)
    return e.__cxa_exception_type();
#elif __has_include(<cxxabi.h>) && RESILIENCE_EXCEPTIONS
    try {
        std::rethrow_exception(e);
    } catch (...) {
        return abi::__cxa_current_exception_type();
    }
#else
    return nullptr;
#endif
}

/// Stands in the names of the C++ library's types though nobody writes it; empty where that is not known.
#if defined(_LIBCPP_VERSION)
inline constexpr std::string_view namespace_in_std = "__1::";
#else
inline constexpr std::string_view namespace_in_std;
#endif

/// A type's name as the programmer wrote it, of std::type_info::name().
class demangled_name {
public:
#if __has_include(<cxxabi.h>)
    explicit demangled_name(const char* name) noexcept
        : name_(name), demangled_(abi::__cxa_demangle(name, nullptr, nullptr, nullptr)) {}
#else
    explicit demangled_name(const char* name) noexcept : name_(name) {}
#endif
    demangled_name(const demangled_name&) = delete;
    demangled_name& operator=(const demangled_name&) = delete;
    ~demangled_name() { std::free(demangled_); }

    /// As it was given if it cannot be read, or there is no memory for it.
    const char* get() const noexcept { return demangled_ != nullptr ? demangled_ : name_; }

private:
    const char* name_;
    char* demangled_ = nullptr;
};

// Integers. Operands may be of any integer type; true if the result does not fit into T, which then holds no use.

template <std::integral T, std::integral A, std::integral B>
constexpr bool add_overflows(A a, B b, T& sum) noexcept {
#if RESILIENCE_MSVC
    using modulo = std::make_unsigned_t<T>;
    if (!std::in_range<T>(a) || !std::in_range<T>(b)) return true;
    sum = static_cast<T>(static_cast<modulo>(a) + static_cast<modulo>(b));
    return (b < 0) != (sum < static_cast<T>(a));
#else
    return __builtin_add_overflow(a, b, &sum);
#endif
}
template <std::integral T, std::integral A, std::integral B>
constexpr bool subtract_overflows(A a, B b, T& difference) noexcept {
#if RESILIENCE_MSVC
    using modulo = std::make_unsigned_t<T>;
    if (!std::in_range<T>(a) || !std::in_range<T>(b)) return true;
    difference = static_cast<T>(static_cast<modulo>(a) - static_cast<modulo>(b));
    return (b > 0) != (difference < static_cast<T>(a));
#else
    return __builtin_sub_overflow(a, b, &difference);
#endif
}
template <std::integral T, std::integral A, std::integral B>
constexpr bool multiply_overflows(A a, B b, T& product) noexcept {
#if RESILIENCE_MSVC
    using modulo = std::make_unsigned_t<T>;
    product = 0;
    if (a == 0 || b == 0) return false;
    if (!std::in_range<T>(a) || !std::in_range<T>(b)) return true;
    constexpr T least = std::numeric_limits<T>::min();
    const T x = static_cast<T>(a), y = static_cast<T>(b);
    if (std::is_signed_v<T> && x == static_cast<T>(-1) && y == least) return true;
    product = static_cast<T>(static_cast<modulo>(x) * static_cast<modulo>(y));
    return product / x != y;
#else
    return __builtin_mul_overflow(a, b, &product);
#endif
}

// Time, since the epoch of std::chrono::steady_clock.

#if defined(__linux__)
inline std::chrono::nanoseconds duration_of(const timespec& t) noexcept {
    return std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec};
}
inline std::chrono::nanoseconds read_clock(clockid_t clock) noexcept {
    timespec t; // filled for every clock that exists, and only such are read
    clock_gettime(clock, &t);
    return duration_of(t);
}
#endif

/// std::chrono::steady_clock; on Linux without the detour through the C++ library.
inline std::chrono::nanoseconds read_steady_clock() noexcept {
#if defined(__linux__)
    return read_clock(CLOCK_MONOTONIC);
#else
    return std::chrono::steady_clock::now().time_since_epoch();
#endif
}

/// How far read_coarse_clock() moves at once; 0 where there is no such clock.
inline std::chrono::nanoseconds coarse_clock_tick() noexcept {
#if defined(__linux__)
    timespec tick{};
    if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0) return duration_of(tick);
#endif
    return std::chrono::nanoseconds{0};
}

/// The steady time of the system's last tick, which is cheap to read; only where coarse_clock_tick() is not 0.
inline std::chrono::nanoseconds read_coarse_clock() noexcept {
#if defined(__linux__)
    return read_clock(CLOCK_MONOTONIC_COARSE);
#else
    return read_steady_clock();
#endif
}

/// Sleeps until that steady time, which is to come. May return early, for instance because a signal was handled.
inline void sleep_once(std::chrono::nanoseconds until) {
#if defined(__linux__)
    constexpr std::int64_t second = 1'000'000'000, furthest = std::numeric_limits<std::time_t>::max();
    const std::int64_t seconds = until.count() / second;
    const timespec moment{static_cast<std::time_t>(seconds < furthest ? seconds : furthest),
                          static_cast<long>(until.count() % second)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, nullptr);
#else
    using clock = std::chrono::steady_clock;
    std::this_thread::sleep_until(clock::time_point(std::chrono::duration_cast<clock::duration>(until)));
#endif
}

// Threads and processes.

/// What debuggers and `top` call this thread; at most 15 characters.
inline void name_this_thread([[maybe_unused]] const char* name) noexcept {
#if defined(__linux__)
    pthread_setname_np(pthread_self(), name);
#elif defined(__APPLE__)
    pthread_setname_np(name);
#endif
}

/// While it lives, threads that this one starts inherit no signals: the program's handlers must not be run on threads of
/// ours, nor signals that it waits for end there.
class signals_blocked {
public:
#if defined(_WIN32)
    signals_blocked() noexcept {} // NOLINT(modernize-use-equals-default): used for its lifetime
#else
    signals_blocked() noexcept {
        sigset_t blocked;
        sigfillset(&blocked);
        // What a fault of the thread itself raises stays open, so that crash handlers still see it.
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
            sigdelset(&blocked, fault);
        }
        pthread_sigmask(SIG_SETMASK, &blocked, &before_);
    }
    ~signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
#endif
    signals_blocked(const signals_blocked&) = delete;
    signals_blocked& operator=(const signals_blocked&) = delete;

#if !defined(_WIN32)
private:
    sigset_t before_;
#endif
};

/// The system's number of this process.
inline std::uint64_t process_id() noexcept {
#if defined(_WIN32)
    return static_cast<std::uint64_t>(_getpid());
#else
    return static_cast<std::uint64_t>(getpid());
#endif
}

#if defined(_WIN32)

/// Processes do not fork: nobody ever waits here, and no handler is called.
inline constexpr bool can_fork = false;
inline bool at_fork(void (*)(), void (*)(), void (*)()) noexcept { return true; }
class fork_lock {
public:
    void lock_shared() noexcept {}
    void lock() noexcept {}
    void unlock() noexcept {}
    void renew() noexcept {}
};

#else

inline constexpr bool can_fork = true;
/// Handlers of fork(), each null or a function: before it, on the thread that forks; then in the parent; then in the child,
/// on its only thread. False without memory for them.
inline bool at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) noexcept {
    return pthread_atfork(before, in_parent, in_child) == 0;
}
/// Shared by threads that must not be forked, taken alone by one that forks. Constant-initialised.
class fork_lock {
public:
    void lock_shared() noexcept { pthread_rwlock_rdlock(&lock_); }
    void lock() noexcept { pthread_rwlock_wrlock(&lock_); }
    void unlock() noexcept { pthread_rwlock_unlock(&lock_); }
    /// In a child: the parent's lock counts threads that wait for it, and are not there.
    void renew() noexcept { lock_ = fresh; }

private:
#if defined(PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP)
    // glibc's usual one lets no writer in while readers keep coming.
    static constexpr pthread_rwlock_t fresh = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
#else
    static constexpr pthread_rwlock_t fresh = PTHREAD_RWLOCK_INITIALIZER;
#endif
    pthread_rwlock_t lock_ = fresh;
};

#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
