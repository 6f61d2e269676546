// SPDX-License-Identifier: Apache-2.0
#pragma once

// The system, the compiler and the C++ library behind names of ours. Of the core, only this header and
// config.hpp name anything beyond standard C++20 (tests/headers/forbidden.py): a port changes these two.

#include <resilience/config.hpp>

#if defined(_WIN32)
#include <process.h>
#include <random>
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <crt_externs.h>
#include <sys/random.h>
#endif
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

// Exceptions and types. `forced_unwind` unwinds a thread that ends inside a call (pthread_exit, cancellation). Handlers must
// rethrow it: if it is swallowed, the program ends. Only libstdc++ has a type for it. Elsewhere it is never thrown, and a
// thread must not end inside a call. exception_type() is null if unknown. exception_as() finds the object that a handler of
// a class would get, or null; it throws nothing, and works where `finds_exceptions`.

#if defined(__GLIBCXX__)
#define RESILIENCE_FORCED_UNWIND 1
using forced_unwind = abi::__forced_unwind;
inline constexpr bool finds_exceptions = true;
inline const std::type_info* exception_type(const std::exception_ptr& e) noexcept {
    return e ? e.__cxa_exception_type() : nullptr;
}
inline const void* exception_as(const std::exception_ptr& e, const std::type_info& wanted) noexcept {
    static_assert(std::is_standard_layout_v<std::exception_ptr>);
    void* object = *reinterpret_cast<void* const*>(&e); // its one member: a pointer to the exception
    return e && wanted.__do_catch(e.__cxa_exception_type(), &object, 1) ? object : nullptr;
}
#else
#define RESILIENCE_FORCED_UNWIND 0
class forced_unwind {};
inline constexpr bool finds_exceptions = false;
inline const std::type_info* exception_type([[maybe_unused]] const std::exception_ptr& e) noexcept {
#if __has_include(<cxxabi.h>) && RESILIENCE_EXCEPTIONS
    try {
        if (e) std::rethrow_exception(e);
    } catch (...) {
        return abi::__cxa_current_exception_type();
    }
#endif
    return nullptr;
}
inline const void* exception_as(const std::exception_ptr&, const std::type_info&) noexcept { return nullptr; }
#endif

/// Stands in the names of the C++ library's types though nobody writes it; empty where that is not known.
#if defined(_LIBCPP_VERSION)
inline constexpr std::string_view namespace_in_std = "__1::";
#else
inline constexpr std::string_view namespace_in_std;
#endif

/// Turns std::type_info::name() into the type's name as the programmer wrote it.
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

    /// False if the given name cannot be read or memory ran out.
    bool is_read() const noexcept { return demangled_ != nullptr; }
    /// The given name if that cannot be read or memory ran out.
    const char* get() const noexcept { return is_read() ? demangled_ : name_; }

private:
    const char* name_;
    char* demangled_ = nullptr;
};

// Integers. Operands may be of any integer type. The functions return true if the result does not fit into T;
// then the T is of no use.

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
    timespec t; // always filled: the clocks that are read here exist
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

/// The step of read_coarse_clock(); 0 if there is no such clock.
inline std::chrono::nanoseconds coarse_clock_tick() noexcept {
#if defined(__linux__)
    timespec tick{};
    if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0) return duration_of(tick);
#endif
    return std::chrono::nanoseconds{0};
}

/// The steady time of the system's last tick, which is cheap to read. Precondition: coarse_clock_tick() is
/// not 0.
inline std::chrono::nanoseconds read_coarse_clock() noexcept {
#if defined(__linux__)
    return read_clock(CLOCK_MONOTONIC_COARSE);
#else
    return read_steady_clock();
#endif
}

/// Sleeps until a future steady time. May return early.
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

/// Sets the name that debuggers and `top` show; at most 15 characters.
inline void name_this_thread([[maybe_unused]] const char* name) noexcept {
#if defined(__linux__)
    pthread_setname_np(pthread_self(), name);
#elif defined(__APPLE__)
    pthread_setname_np(name);
#endif
}

/// Blocks signals in threads that this thread starts meanwhile. The program's handlers must not run on the
/// library's threads, and signals that the program waits for must not arrive there.
class signals_blocked {
public:
#if defined(_WIN32)
    signals_blocked() noexcept {} // NOLINT(modernize-use-equals-default): used for its lifetime
#else
    signals_blocked() noexcept {
        sigset_t blocked;
        sigfillset(&blocked);
        // Faults of the thread itself stay open for crash handlers.
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

// process_id(): the system's number of this process. process_variables(): NAME=value, ended by null.
// system_entropy(): randomness from the system; 0 if it has none to give.

#if defined(_WIN32)

inline std::uint64_t process_id() noexcept { return static_cast<std::uint64_t>(_getpid()); }
inline const char* const* process_variables() noexcept { return _environ; }
inline std::uint64_t system_entropy() noexcept {
    std::random_device device; // asks the system and does not fail
    return (std::uint64_t{device()} << 32U) | device();
}
/// Processes do not fork, so nothing waits here and no handler is called.
inline constexpr bool can_fork = false;
inline bool at_fork(void (*)(), void (*)(), void (*)()) noexcept { return true; }
inline void give_way(int) noexcept { std::this_thread::yield(); }
class fork_lock {
public:
    void lock() noexcept {}
    void unlock() noexcept {}
};

#else

inline std::uint64_t process_id() noexcept { return static_cast<std::uint64_t>(getpid()); }
#if defined(__APPLE__)
inline const char* const* process_variables() noexcept { return *_NSGetEnviron(); }
#else
inline const char* const* process_variables() noexcept { return environ; }
#endif
inline std::uint64_t system_entropy() noexcept {
    std::uint64_t entropy = 0;
    return getentropy(&entropy, sizeof entropy) == 0 ? entropy : 0;
}
inline constexpr bool can_fork = true;
/// Registers handlers of fork(), each of which may be null: `before` runs on the thread that forks,
/// `in_child` on the child's only thread. False if memory ran out.
inline bool at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) noexcept {
    return pthread_atfork(before, in_parent, in_child) == 0;
}
/// Lets other threads run while a thread looks again and again; after 64 looks also those of a lower priority, to which a
/// thread does not yield.
inline void give_way(int looks) {
    if (looks < 64) sched_yield();
    else sleep_once(read_steady_clock() + std::chrono::microseconds{50});
}
/// Held by a thread that forks, and by its copy in the child. Constant-initialised.
class fork_lock {
public:
    void lock() noexcept { pthread_mutex_lock(&lock_); }
    void unlock() noexcept { pthread_mutex_unlock(&lock_); }

private:
    pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
};

#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
