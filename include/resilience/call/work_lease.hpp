// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

class work_leases;

/// A time that a policy gave the work inside of it, such as the lease of a circuit's probe. While it is held,
/// policies further in tell it how long the work goes on. Used by the thread of the call, or by one that the call
/// waits for.
class work_lease {
public:
    work_lease() noexcept = default;
    work_lease(const work_lease&) = delete;
    work_lease& operator=(const work_lease&) = delete;

    /// The work goes on: another attempt of it begins at `from`, or is under way with the limit `until`.
    /// Either may be time_point::min(), which says nothing. It runs no listener: a caller may wait for it.
    virtual void extend(time_point from, time_point until) noexcept = 0;
    /// Says that the work is over.
    void let_go() noexcept;

protected:
    ~work_lease() { let_go(); }

private:
    friend work_leases;
    work_leases* held_by_ = nullptr; // null while it is not held
    work_lease* next_ = nullptr;
};

/// The leases that a call holds; most calls hold none.
class work_leases {
public:
    bool empty() const noexcept { return first_ == nullptr; }
    void hold(work_lease& lease) noexcept {
        lease.held_by_ = this;
        lease.next_ = first_;
        first_ = &lease;
    }
    void extend(time_point from, time_point until) const noexcept {
        for (work_lease* each = first_; each != nullptr; each = each->next_) each->extend(from, until);
    }

private:
    friend work_lease;
    work_lease* first_ = nullptr;
};

inline void work_lease::let_go() noexcept {
    if (held_by_ == nullptr) return;
    work_lease** place = &held_by_->first_;
    while (*place != this) place = &(*place)->next_;
    *place = next_;
    held_by_ = nullptr;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
