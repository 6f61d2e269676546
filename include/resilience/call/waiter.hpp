// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/armed_stop.hpp>
#include <resilience/config.hpp>

#include <optional>
#include <stop_token>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// A wake-up that is due. A policy takes it from a waiter under its lock, and does it without the lock, by now() or by
/// its destructor: the waiter may be gone by then. Declare it before the lock, and it is destroyed after the unlocking.
class [[nodiscard]] wake_up {
public:
    /// Wakes nobody.
    wake_up() noexcept = default;
    wake_up(wake_up&& other) noexcept : parked_(std::exchange(other.parked_, none())) {}
    /// Does the one that it holds first.
    wake_up& operator=(wake_up&& other) noexcept {
        if (this != &other) {
            now();
            parked_ = std::exchange(other.parked_, none());
        }
        return *this;
    }
    ~wake_up() { now(); }

    /// Wakes, once. A task whose sleep resumes it inside of a stop request runs on in here.
    void now() noexcept;

private:
    friend class waiter;
    static std::stop_source none() noexcept { return std::stop_source(std::nostopstate); }
    explicit wake_up(std::stop_source parked) noexcept : parked_(std::move(parked)) {}

    std::stop_source parked_{std::nostopstate};
};

/// A call that waits for a policy, as a node of the policy's queue. It lies in the policy's per-call object; see
/// admission::park(). Everything here is done under the policy's lock, but for what drivers do.
///
/// A per-call object that is destroyed must not be in the queue any more, and gives back what was handed to it.
class waiter {
public:
    waiter() noexcept = default;
    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;
    ~waiter() = default;

    bool is_queued() const noexcept { return next_ != nullptr; }
    /// Makes the waiter ready to be woken, before each park. waiter_queue does it for those that it takes. Allocates, unless
    /// it is ready.
    void arm() {
        if (is_armed_ && !parked_.stop_requested()) return;
        parked_ = std::stop_source();
        is_armed_ = true;
    }
    /// The end of the park, to be done without the lock. A call that is not asleep yet will not fall asleep.
    wake_up wake() noexcept {
        is_armed_ = false; // a wake-up that comes late must not end a park of later
        return wake_up(parked_);
    }

    // For drivers, without the lock.

    /// The token that ends the park: at a wake-up, and when `callers` is requested.
    std::stop_token park(const std::stop_token& callers);
    void unpark() noexcept { callers_link_.reset(); }

private:
    friend class waiter_queue;

    waiter* previous_ = nullptr;
    waiter* next_ = nullptr; // both null: not queued
    std::stop_source parked_{std::nostopstate};
    bool is_armed_ = false;
    std::optional<detail::stop_link> callers_link_; // the driver's
};

/// A policy's queue of waiters, guarded by the policy's lock. It owns none of them.
class waiter_queue {
public:
    waiter_queue() noexcept { ends_.previous_ = ends_.next_ = &ends_; }
    waiter_queue(const waiter_queue&) = delete;
    waiter_queue& operator=(const waiter_queue&) = delete;
    ~waiter_queue() = default;

    bool empty() const noexcept { return ends_.next_ == &ends_; }
    /// The first and the last; null if there is none.
    waiter* front() noexcept { return empty() ? nullptr : ends_.next_; }
    waiter* back() noexcept { return empty() ? nullptr : ends_.previous_; }
    /// The one behind `w`; null behind the last.
    waiter* after(const waiter& w) noexcept { return w.next_ == &ends_ ? nullptr : w.next_; }

    /// `w` must not be queued. If there is no memory to arm it, this throws, and nothing has changed.
    void push_back(waiter& w) { link(w, ends_); }
    void push_front(waiter& w) { link(w, *ends_.next_); }
    /// Takes a call in without arming it: one that does not wait, or is armed already.
    void list(waiter& w) noexcept { join(w, ends_); }
    /// Empties the queue without touching its waiters, which lie on stacks of the process that forked.
    void forget() noexcept { ends_.previous_ = ends_.next_ = &ends_; }
    /// Takes the first out; null if there is none.
    waiter* pop_front() noexcept {
        waiter* const first = front();
        if (first != nullptr) remove(*first);
        return first;
    }
    /// Does nothing if `w` is not queued.
    void remove(waiter& w) noexcept {
        if (!w.is_queued()) return;
        w.previous_->next_ = w.next_;
        w.next_->previous_ = w.previous_;
        w.previous_ = w.next_ = nullptr;
    }

private:
    static void link(waiter& w, waiter& before) {
        w.arm();
        join(w, before);
    }
    static void join(waiter& w, waiter& before) noexcept {
        w.previous_ = before.previous_;
        w.next_ = &before;
        w.previous_->next_ = before.previous_ = &w;
    }

    waiter ends_; // the links to the first and the last
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION void wake_up::now() noexcept {
    if (!parked_.stop_possible()) return;
    // Not a member while it is asked: a task that it resumes may come back here.
    // NOLINTNEXTLINE(misc-const-correctness): libc++ requests nothing of a constant one
    std::stop_source asleep = std::exchange(parked_, none());
    asleep.request_stop();
}
RESILIENCE_FUNCTION std::stop_token waiter::park(const std::stop_token& callers) {
    if (callers.stop_possible()) callers_link_.emplace(callers, parked_);
    return parked_.get_token();
}
#endif

}} // namespace resilience::RESILIENCE_ABI
