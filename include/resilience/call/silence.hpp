// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/sync.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/detail/returned.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The end of an attempt's silence, which each progress puts off. Thread-safe. A policy that bounds silence makes one for
/// an attempt.
class silence_watch : public std::enable_shared_from_this<silence_watch> {
public:
    /// Silence begins at `now`. `outer` is the watch of a policy further out: progress is progress for both.
    silence_watch(time_point now, duration idle, silence_watch* outer)
        : idle_(idle), outer_(outer != nullptr ? outer->shared_from_this() : nullptr),
          until_(saturating_add(now, idle)) {}

    void progress(time_point now) noexcept;
    /// The moment at which this watch's silence is too long.
    time_point until() const noexcept { return until_.load(std::memory_order_relaxed); }
    /// The watch, of this and those further out, whose silence is too long first.
    const silence_watch& first() const noexcept;
    duration idle() const noexcept { return idle_; }
    silence_watch* outer() const noexcept { return outer_.get(); }

private:
    const duration idle_;
    const std::shared_ptr<silence_watch> outer_;
    // Only grows, and not any more once it has passed. Relaxed: the moment orders nothing else.
    atomic<time_point> until_;
};

/// A stop token that is requested when an attempt has been silent for too long, and when the caller's token is.
/// Progress does not touch its timer: a timer that comes too early is set anew.
class silence_stop {
public:
    silence_stop(time_source& clock, const silence_watch& watch, const std::stop_token& callers);
    silence_stop(const silence_stop&) = delete;
    silence_stop& operator=(const silence_stop&) = delete;
    ~silence_stop();

    std::stop_token get_token() const noexcept { return source_.get_token(); }
    /// True if silence requested the stop, not the caller.
    bool struck() const noexcept { return first_.load(std::memory_order_acquire) == cause::silence; }
    /// True if the silence is too long by now.
    bool is_due() const noexcept { return clock_->now() >= watch_->first().until(); }

private:
    enum class cause : std::uint8_t { none, silence, caller };
    struct callers_request {
        silence_stop* self;
        void operator()() const { self->request(cause::caller); }
    };

    /// The number-th look at the watch: requests the stop, or sets the next timer. May destroy this object.
    void look(unsigned number);
    void request(cause why);

    time_source* clock_;
    const std::shared_ptr<const silence_watch> watch_;
    std::stop_source source_;
    atomic<cause> first_{cause::none}; // set once
    mutex mutex_;
    timer next_;          // guarded by mutex_, like the next two
    unsigned number_ = 0; // of next_
    bool ended_ = false;
    std::stop_callback<callers_request> on_callers_; // last: it may run at once
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION const silence_watch& silence_watch::first() const noexcept {
    if (outer_ == nullptr) return *this;
    const silence_watch& outer = outer_->first();
    return outer.until() < until() ? outer : *this;
}
RESILIENCE_FUNCTION void silence_watch::progress(time_point now) noexcept {
    const time_point next = saturating_add(now, idle_);
    for (time_point until = until_.load(std::memory_order_relaxed); now <= until && until < next;) {
        if (until_.compare_exchange_weak(until, next, std::memory_order_relaxed)) break;
    }
    if (outer_ != nullptr) outer_->progress(now);
}
RESILIENCE_FUNCTION silence_stop::silence_stop(time_source& clock, const silence_watch& watch,
                                               const std::stop_token& callers)
    : clock_(&clock), watch_(watch.shared_from_this()), on_callers_(callers, callers_request{this}) {
    look(1);
}
RESILIENCE_FUNCTION silence_stop::~silence_stop() {
    timer last; // ends with no lock held: it waits for look()
    const lock_guard lock(mutex_);
    ended_ = true;
    last.swap(next_);
}
RESILIENCE_FUNCTION void silence_stop::look(unsigned number) {
    const time_point at = watch_->first().until();
    if (clock_->now() >= at) return request(cause::silence);
    timer next;
    // If there is no memory for a timer, the attempt is only judged late.
    returned([&] { next = clock_->call_at(at, [this, number] { look(number + 1); }); });
    const lock_guard lock(mutex_);
    // The next timer may have fired already, and have set the one after it.
    if (ended_ || number <= number_) return;
    number_ = number;
    next_.swap(next); // `next` is now the timer that fired, and ends with no lock held
}
RESILIENCE_FUNCTION void silence_stop::request(cause why) {
    cause none = cause::none;
    first_.compare_exchange_strong(none, why, std::memory_order_acq_rel, std::memory_order_acquire);
    std::stop_source(source_).request_stop(); // a copy: the request may end the attempt, and this object
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
