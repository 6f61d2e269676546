// SPDX-License-Identifier: Apache-2.0
#pragma once

// The library's primitives of concurrency, instrumented: what RESILIENCE_SYNC_HEADER names in the program
// schedule_tests. Each operation is a scheduling point of the thread's scheduler; on a thread that has
// none it just happens, which is right as long as no execution runs meanwhile.

#include "schedules/scheduler.hpp"

#include <resilience/config.hpp>

#include <atomic>
#include <concepts>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <thread>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

using schedules::site;

inline schedules::scheduler* scheduler_of_this_thread() noexcept {
    return schedules::this_thread != nullptr ? schedules::this_thread->owner : nullptr;
}

template <class T>
class atomic {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
    using order = std::memory_order;

public:
    constexpr atomic() noexcept = default;
    constexpr atomic(T value) noexcept : value_(value) {}
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;

    T load(order o = order::seq_cst, const site& at = site::current()) const noexcept {
        auto* const s = scheduler_of_this_thread();
        if (s == nullptr) return value_;
        s->point("load", at, true);
        auto& seen = schedules::this_thread->seen;
        const std::size_t readable = s->values().readable(seen, place_, bits(value_));
        const std::size_t age = o == order::seq_cst ? 0 : s->age_of_read(readable);
        return value(s->values().read(seen, place_, bits(value_), age, o));
    }
    void store(T next, order o = order::seq_cst, const site& at = site::current()) noexcept {
        if (auto* const s = scheduler_of_this_thread()) {
            s->point("store", at);
            s->values().write(schedules::this_thread->seen, place_, bits(value_), bits(next), o);
        }
        value_ = next;
    }
    T exchange(T next, order o = order::seq_cst, const site& at = site::current()) noexcept {
        return change([&](T) { return next; }, o, at);
    }
    T fetch_add(T by, order o = order::seq_cst, const site& at = site::current()) noexcept {
        return change([&](T old) { return static_cast<T>(old + by); }, o, at);
    }
    T fetch_sub(T by, order o = order::seq_cst, const site& at = site::current()) noexcept {
        return change([&](T old) { return static_cast<T>(old - by); }, o, at);
    }
    T fetch_or(T with, order o = order::seq_cst, const site& at = site::current()) noexcept {
        return change([&](T old) { return static_cast<T>(old | with); }, o, at);
    }
    T fetch_and(T with, order o = order::seq_cst, const site& at = site::current()) noexcept {
        return change([&](T old) { return static_cast<T>(old & with); }, o, at);
    }
    bool compare_exchange_strong(T& expected, T next, order success, order failure,
                                 const site& at = site::current()) noexcept {
        return compare_exchange(expected, next, success, failure, false, at);
    }
    bool compare_exchange_strong(T& expected, T next, order o = order::seq_cst,
                                 const site& at = site::current()) noexcept {
        return compare_exchange(expected, next, o, on_failure(o), false, at);
    }
    bool compare_exchange_weak(T& expected, T next, order success, order failure,
                               const site& at = site::current()) noexcept {
        return compare_exchange(expected, next, success, failure, true, at);
    }
    bool compare_exchange_weak(T& expected, T next, order o = order::seq_cst,
                               const site& at = site::current()) noexcept {
        return compare_exchange(expected, next, o, on_failure(o), true, at);
    }

private:
    static std::uint64_t bits(T value) noexcept {
        std::uint64_t b = 0;
        std::memcpy(&b, &value, sizeof value);
        return b;
    }
    static T value(std::uint64_t bits) noexcept {
        T v;
        std::memcpy(static_cast<void*>(&v), &bits, sizeof v); // a time_point is copied so, too
        return v;
    }
    static constexpr order on_failure(order o) noexcept {
        return o == order::acq_rel ? order::acquire : o == order::release ? order::relaxed : o;
    }
    template <class Next>
    T change(Next next, order o, const site& at) noexcept {
        auto* const s = scheduler_of_this_thread();
        if (s != nullptr) {
            s->point("modify", at);
            s->values().read(schedules::this_thread->seen, place_, bits(value_), 0, o);
        }
        const T old = value_;
        const T fresh = next(old);
        if (s != nullptr) s->values().modify(schedules::this_thread->seen, place_, bits(old), bits(fresh), o);
        value_ = fresh;
        return old;
    }
    bool compare_exchange(T& expected, T next, order success, order failure, bool weak,
                          const site& at) noexcept {
        auto* const s = scheduler_of_this_thread();
        if (s != nullptr) s->point("compare and exchange", at);
        const T old = value_;
        const bool equal = bits(old) == bits(expected) && !(weak && s != nullptr && s->odd());
        if (s != nullptr) {
            auto& seen = schedules::this_thread->seen;
            s->values().read(seen, place_, bits(old), 0, equal ? success : failure);
            if (equal) s->values().modify(seen, place_, bits(old), bits(next), success);
        }
        if (equal) value_ = next;
        else expected = old;
        return equal;
    }

    T value_{};
    mutable schedules::place place_{};
};

inline void let_others_run(int) {
    if (auto* const s = scheduler_of_this_thread()) s->let_others_run();
}

template <class T>
using remembered = std::atomic<T>;

class mutex {
public:
    constexpr mutex() noexcept = default;
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;

    void lock(const site& at = site::current()) {
        if (auto* const s = scheduler_of_this_thread()) s->lock(state_, at);
    }
    void unlock(const site& at = site::current()) {
        if (auto* const s = scheduler_of_this_thread()) s->unlock(state_, at);
    }

private:
    friend class condition_variable;
    schedules::mutex_state state_{};
};

using waitable_mutex = mutex;

/// Nobody forks here, but a scenario may begin as in a child: without what the process has made so far.
inline std::uint32_t processes = 1;
inline std::uint32_t process_number() noexcept { return processes; }
class number_of_process {
public:
    std::uint32_t get() const noexcept { return processes; }
};

/// The two guards tell where they stand, which std's would not. Templates as std's are, of the one mutex.
template <std::same_as<mutex> = mutex>
class [[nodiscard]] lock_guard {
public:
    explicit lock_guard(mutex& m, const site& at = site::current()) : mutex_(m), at_(at) { m.lock(at); }
    lock_guard(const lock_guard&) = delete;
    lock_guard& operator=(const lock_guard&) = delete;
    ~lock_guard() { mutex_.unlock(at_); }

private:
    mutex& mutex_;
    const site at_;
};

template <std::same_as<mutex> = mutex>
class [[nodiscard]] unique_lock {
public:
    explicit unique_lock(mutex& m, const site& at = site::current()) : mutex_(&m), at_(at) { lock(at); }
    unique_lock(const unique_lock&) = delete;
    unique_lock& operator=(const unique_lock&) = delete;
    ~unique_lock() {
        if (owns_) mutex_->unlock(at_);
    }

    void lock(const site& at = site::current()) {
        mutex_->lock(at);
        owns_ = true;
    }
    void unlock(const site& at = site::current()) {
        owns_ = false;
        mutex_->unlock(at);
    }
    bool owns_lock() const noexcept { return owns_; }

private:
    friend class condition_variable;
    mutex* mutex_;
    const site at_;
    bool owns_ = false;
};

using cv_status = std::cv_status;

/// Time-outs come when nobody else can run, or, as an oddity, before.
class condition_variable {
public:
    condition_variable() noexcept = default;
    condition_variable(const condition_variable&) = delete;
    condition_variable& operator=(const condition_variable&) = delete;

    void notify_one(const site& at = site::current()) noexcept {
        if (auto* const s = scheduler_of_this_thread()) s->notify(this, false, at);
    }
    void notify_all(const site& at = site::current()) noexcept {
        if (auto* const s = scheduler_of_this_thread()) s->notify(this, true, at);
    }
    void wait(unique_lock<mutex>& lock, const site& at = site::current()) { wait_once(lock, false, at); }
    template <class Condition>
        requires std::is_invocable_r_v<bool, Condition&>
    void wait(unique_lock<mutex>& lock, Condition condition, const site& at = site::current()) {
        while (!condition()) wait_once(lock, false, at);
    }
    template <class Moment>
    cv_status wait_until(unique_lock<mutex>& lock, const Moment&, const site& at = site::current()) {
        return wait_once(lock, true, at) == schedules::wake::timeout ? cv_status::timeout
                                                                     : cv_status::no_timeout;
    }

private:
    schedules::wake wait_once(unique_lock<mutex>& lock, bool timed, const site& at) {
        auto* const s = scheduler_of_this_thread();
        if (s == nullptr) std::terminate(); // nobody could wake it
        return s->wait(this, lock.mutex_->state_, timed, at);
    }
};

class thread {
public:
    thread() noexcept = default;
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, thread>)
    explicit thread(F&& f, const site& at = site::current()) {
        auto* const s = scheduler_of_this_thread();
        if (s == nullptr) std::terminate(); // outside of executions no thread is allowed
        auto shared = std::make_shared<std::decay_t<F>>(std::forward<F>(f));
        controlled_ = &s->start([shared]() mutable {
            (*shared)();
            shared.reset();
        });
        s->point("start", at);
    }
    thread(thread&& other) noexcept : controlled_(std::exchange(other.controlled_, nullptr)) {}
    thread& operator=(thread&& other) noexcept {
        if (joinable()) std::terminate();
        controlled_ = std::exchange(other.controlled_, nullptr);
        return *this;
    }
    ~thread() {
        if (joinable()) std::terminate();
    }

    bool joinable() const noexcept { return controlled_ != nullptr; }
    void join(const site& at = site::current()) {
        controlled_->owner->point("join", at);
        controlled_->owner->join({controlled_});
        controlled_ = nullptr;
    }
    void detach() noexcept {
        controlled_->is_daemon = true;
        controlled_ = nullptr;
    }

private:
    schedules::controlled* controlled_ = nullptr;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
