// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/armed_stop.hpp>
#include <resilience/call/call_options.hpp>
#include <resilience/call/limit.hpp>
#include <resilience/call/rounded.hpp>
#include <resilience/call/silence.hpp>
#include <resilience/call/stop_relay.hpp>
#include <resilience/call/thread_calls.hpp>
#include <resilience/call/time.hpp>
#include <resilience/call/work_lease.hpp>
#include <resilience/detail/sync.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

namespace detail {

class environment;

} // namespace detail

/// The call as its callable sees it: deadline, stop token, attempt number. Policies narrow it. It lives in
/// the driver, is valid during the attempt only, and is used by one thread at a time.
class call_context {
public:
    /// `env` receives the events of policies without a registry of their own; it may be null.
    explicit call_context(time_source& clock, const detail::environment* env = nullptr) noexcept
        : clock_(&clock), env_(env) {}
    call_context(const call_context&) = delete;
    call_context& operator=(const call_context&) = delete;
    ~call_context();

    /// The number of this attempt, from 1.
    unsigned attempt() const noexcept { return attempt_; }
    /// When the call must be over; time_point::max() if there is no limit. Of an attempt whose silence is bounded
    /// (timeout_config::idle) it may be the end of its silence, which progress() puts off.
    time_point deadline() const noexcept {
        return watch_ == nullptr ? deadline_ : std::min(deadline_, watch_->first().until());
    }
    /// Time left until the deadline, never negative; duration::max() without one.
    duration remaining() const noexcept {
        const time_point at = deadline();
        if (at == time_point::max()) return duration::max();
        return std::min(elapsed_between(clock_->now(), at), remaining_cap_);
    }
    /// Tells that something has come: a chunk, a row, a heartbeat. Timeouts that bound the silence of this attempt, or of
    /// one around it, wait anew. Silence that was too long stays too long. Without such a timeout it does nothing.
    void progress() noexcept;
    /// remaining() in a client's units: rounded up, at least 1 (0 means "for ever" to many), at most `cap`, and `cap` without
    /// a deadline. For a client that counts in int: `duration<int, std::milli>`. Fractions are at least a nanosecond.
    template <class D>
        requires detail::is_duration<D>
    D remaining_as(std::type_identity_t<D> cap = D::max()) const noexcept {
        return detail::rounded_up<D>(remaining(), cap);
    }
    /// Refuses any other D and cap. Not deleted: the lambda around such a call would have no result type then.
    template <class D, class... Cap>
        requires(!detail::is_duration<D> || !(std::is_convertible_v<Cap, D> && ...))
    D remaining_as(Cap&&...) const {
        constexpr bool counts_time = detail::is_duration<D> && (std::is_convertible_v<Cap, D> && ...);
        static_assert(counts_time,
                      "resilience: remaining_as<D>(cap) takes a unit and a cap of std::chrono, as in "
                      "remaining_as<std::chrono::seconds>(std::chrono::seconds{5})");
        std::terminate();
    }
    /// The deadline on the system's clock: that clock's maximum without one, or if it is beyond the range.
    std::chrono::system_clock::time_point system_deadline() const noexcept {
        return detail::later_by(clock_->wall_now(), remaining());
    }
    /// The token is requested at the deadline, when the caller asks for it, and when the enclosing call is
    /// stopped. For an attempt that is a task with a limit, it is also requested when its coroutine is
    /// cancelled or destroyed. The first use under a deadline arms a timer, which may allocate.
    std::stop_token stop_token();
    /// True if the caller or an enclosing call requested a stop. A passed deadline does not count.
    bool stop_requested() const noexcept {
        return cancelled_ || (stop_ != nullptr && stop_->stop_requested() && !is_stopped_at_deadline());
    }
    /// True if the callable took its stop token and only the deadline has requested a stop on it.
    bool stopped_by_deadline() const noexcept {
        return armed_ != nullptr && armed_->source.stop_requested() && !stop_requested();
    }
    /// True if the call has a deadline or can be stopped by a token.
    bool is_limited() const noexcept {
        return deadline_ != time_point::max() || stop_ != nullptr || watch_ != nullptr;
    }
    /// The name given with `named`; empty if none.
    std::string_view operation() const noexcept { return request_->operation; }
    /// `safe` unless the caller says otherwise.
    resilience::idempotency idempotency() const noexcept {
        return stated_idempotency().value_or(resilience::idempotency::safe);
    }
    /// The caller's, else that of the call around, else `normal`.
    resilience::priority priority() const noexcept { return priority_; }
    /// The units that this call takes of policies that weigh calls; 1 unless the caller says otherwise.
    std::uint32_t cost() const noexcept { return request_->options != nullptr ? request_->options->cost : 1; }
    /// The caller's id of a trace or request, else that of the call around; empty if none.
    std::string_view correlation() const noexcept {
        return correlation_ != nullptr ? std::string_view(*correlation_) : std::string_view{};
    }
    /// The number of retries that this call runs inside of, those of its own pipeline included.
    unsigned retry_depth() const noexcept { return retry_depth_; }
    time_source& clock() const noexcept { return *clock_; }
    const detail::environment* env() const noexcept { return env_; }

    /// The context of the narrowed call that runs on this thread; null if none, or within outside_of_calls.
    static const call_context* current() noexcept { return detail::this_threads_calls.current(); }

    // For drivers and policies.

    /// The end of the work that this call is part of, if a worker runs it; else null. It outlives the context.
    const detail::stop_at_deadline* covered_by() const noexcept { return covered_by_; }
    /// The caller's word on idempotency; empty if there is none.
    std::optional<resilience::idempotency> stated_idempotency() const noexcept {
        return states_idempotency_ ? std::optional(idempotency_) : std::nullopt;
    }
    /// True if events of the two calls show one correlation.
    bool shares_correlation(const call_context* other) const noexcept {
        return correlation_ == (other != nullptr ? other->correlation_ : nullptr);
    }
    /// The leases that policies gave the work of this call.
    detail::work_leases& leases() noexcept { return leases_; }
    bool has_leases() const noexcept { return !leases_.empty() || around() != nullptr; }
    /// The work of this call goes on, which is told its leases (see work_lease), and so does that of the calls around it
    /// on this thread, as far as their silence is bounded by the same watch.
    void extend_leases(time_point from, time_point until) const noexcept;
    /// Progress of this blocking call is progress of `outer`, whose attempt it runs in, on the same thread.
    void extends_leases_of(const call_context& outer) noexcept {
        if (watch_ != nullptr && watch_ == outer.watch_ && outer.has_leases()) around_ = &outer;
    }
    /// The length of the limit that ends at deadline(), the most that remaining() returns; duration::max(): not known.
    duration remaining_cap() const noexcept {
        return silence_ends_first() ? watch_->first().idle() : remaining_cap_;
    }
    /// The deadline that no progress moves.
    time_point fixed_deadline() const noexcept { return deadline_; }
    /// The watch over the silence of this attempt; null if nothing bounds it.
    detail::silence_watch* watch() const noexcept { return watch_; }
    /// The length of the limit that no progress moves.
    duration fixed_cap() const noexcept { return remaining_cap_; }
    limit_owner fixed_owner() const noexcept { return owner_; }
    /// Whose limit ends at deadline().
    limit_owner owner() const noexcept { return silence_ends_first() ? limit_owner::silence : owner_; }
    /// The moment from which an attempt that ends without a value has timed out; time_point::max() for none.
    time_point strikes_from() const noexcept;
    /// Records the time that the whole call has until its fixed deadline.
    void set_allowance(duration left) noexcept { remaining_cap_ = std::min(remaining_cap_, left); }
    void set_attempt(unsigned attempt) noexcept { attempt_ = attempt; }
    /// The repeats after stale connections, by all retries of this call, of those around it and inside of it.
    unsigned transparent_repeats() const noexcept { return repeats().load(std::memory_order_relaxed); }
    void count_transparent_repeats(unsigned n) noexcept { repeats().fetch_add(n, std::memory_order_relaxed); }
    /// True if this call is an attempt of a retry, or runs inside of one.
    bool is_in_attempt() const noexcept { return retry_depth_ > 0 || repeats_ != nullptr; }
    /// Counts repeats in `counter`, which is that of a call around this one.
    void count_repeats_in(detail::atomic<unsigned>& counter) noexcept { repeats_ = &counter; }
    void share_repeats(const call_context& outer) noexcept {
        if (outer.is_in_attempt()) repeats_ = &outer.repeats();
    }
    bool shares_repeats() const noexcept { return repeats_ != nullptr; }
    /// Goes on with the repeats that were counted in an attempt on this thread. If an attempt runs there, it gets the
    /// count back at the end of this call. Precondition: no call around on this thread shares its repeats.
    void take_repeats(const detail::thread_calls& from) noexcept;
    /// Names the call, and tells its cost. `request` must outlive the context; it is not applied.
    void set_request(const detail::call_request& request) noexcept { request_ = &request; }
    void set_retry_depth(unsigned depth) noexcept { retry_depth_ = depth; }
    /// True if only the caller's stop request ended the call. Outer policies neither replace its outcome nor count it.
    bool ended_by_caller() const noexcept { return ended_by_caller_; }
    void mark_ended_by_caller() noexcept { ended_by_caller_ = true; }
    /// True if a retry further out in this call publishes each failure of an attempt.
    bool is_told_by_retry() const noexcept { return told_by_retry_; }
    void set_told_by_retry(bool is) noexcept { told_by_retry_ = is; }
    /// For a policy that publishes the failure of the call: true if another event tells of it too, which one further in
    /// has published, or a retry further out will. Else the failure counts as told from now on.
    bool tells_again() noexcept {
        if (told_by_retry_) return true;
        const bool again = was_told_;
        was_told_ = true;
        return again;
    }
    bool was_told() const noexcept { return was_told_; }
    void set_told(bool was) noexcept { was_told_ = was; }
    /// True if each attempt ends on the thread where it began: of a blocking call.
    bool stays_on_thread() const noexcept { return stays_on_thread_; }
    /// Says that this is the context of a task. Called first.
    void may_change_thread() noexcept {
        stays_on_thread_ = false;
        relay_ = nullptr;
    }
    /// Marks the coroutine of this call as cancelled.
    void cancel() noexcept { cancelled_ = true; }
    /// While a race runs, its end also requests this context's stop token. Null means no race.
    void relay_by(detail::stop_relay* relay);
    /// Applies the caller's wishes, last. `options` must outlive the context.
    void apply(const call_options& options);
    /// Inherits the limits of an enclosing call. Most calls have none around them.
    void inherit(const call_context& outer, resilience::inherit which);
    /// The token's owner will request it at the deadline, so we need no timer of our own.
    void stop_token_covers_deadline(detail::stop_at_deadline& by) noexcept {
        by.clock = clock_;
        by.deadline = deadline_;
        covered_by_ = &by;
        covers_silence_ = true;
    }
    /// The token that ends a driver's waits. If nobody can request a stop, it is an empty token.
    std::stop_token callers_stop_token() const noexcept {
        return stop_ != nullptr ? *stop_ : std::stop_token{};
    }

    using stop_request = detail::stop_request;
    /// The limits that `narrow` replaced. The narrowing policy puts them back when it settles.
    struct scope {
        time_point deadline;
        duration remaining_cap;
        std::unique_ptr<detail::armed_stop> armed;
        limit_owner owner = limit_owner::policy;
        bool covers_silence = false;
        bool is_watched = false; // by a watch inside of which the old one lies
    };
    /// `watch` must have the context's present watch as its outer one.
    scope narrow(time_point deadline, duration limit = duration::max(),
                 detail::silence_watch* watch = nullptr) noexcept;
    /// Like `narrow`, for a context whose stop token nobody has taken yet. A deadline taken from the coarse clock may be up
    /// to a tick later than now + `limit`; remaining() never shows more than `limit` all the same.
    void tighten(time_point deadline, duration limit, limit_owner owner = limit_owner::policy) noexcept {
        if (deadline >= deadline_) return;
        deadline_ = deadline;
        remaining_cap_ = limit;
        owner_ = owner;
    }
    void restore(scope&& outer) noexcept;

private:
    const call_context* around() const noexcept { return stays_on_thread_ ? around_ : nullptr; }
    detail::stop_relay* relay() const noexcept { return stays_on_thread_ ? nullptr : relay_; }
    void join(const std::stop_token& another);
    void arm();
    time_point covered_deadline() const noexcept;
    detail::atomic<unsigned>& repeats() const noexcept {
        return repeats_ != nullptr ? *repeats_ : own_repeats_;
    }
    bool silence_ends_first() const noexcept {
        return watch_ != nullptr && watch_->first().until() < deadline_;
    }
    bool is_stopped_at_deadline() const noexcept {
        return covered_by_ != nullptr && covered_by_->struck.load(std::memory_order_acquire);
    }

    time_source* clock_;
    const detail::environment* env_;
    time_point deadline_ = time_point::max();
    duration remaining_cap_ = duration::max(); // the most that remaining() returns
    detail::silence_watch* watch_ = nullptr;   // kept by the policy that bounds silence
    const detail::call_request* request_ = &detail::plain_request;
    const std::string* correlation_ = nullptr; // of the options of this call, or of one around it
    detail::work_leases leases_;
    const std::stop_token* stop_ = nullptr;                // the caller's, or the enclosing call's
    const detail::stop_at_deadline* covered_by_ = nullptr; // requests stop_ without a timer of ours
    std::unique_ptr<detail::joined_stop> joined_;          // stop_ points into it if two tokens are joined
    std::unique_ptr<detail::armed_stop> armed_; // made when the callable first takes the stop token
    // A union, since this lies in the frames of coroutines. Of a blocking call: the call around it whose leases its progress
    // extends. Of a task: the race that its attempt runs in. Null if there is none.
    union {
        const call_context* around_ = nullptr;
        detail::stop_relay* relay_;
    };
    // Where calls inside count repeats too: null while only this call does, own_repeats_ if the thread gets them back.
    detail::atomic<unsigned>* repeats_ = nullptr;
    mutable detail::atomic<unsigned> own_repeats_{0}; // relaxed, as all uses: it orders nothing
    unsigned attempt_ = 1;
    unsigned retry_depth_ = 0;
    limit_owner owner_ = limit_owner::policy; // of deadline_
    resilience::idempotency idempotency_ : 1 = resilience::idempotency::safe;
    bool states_idempotency_ : 1 = false;
    resilience::priority priority_ : 3 = resilience::priority::normal;
    bool has_priority_ : 1 = false; // of its own, or of a call around
    bool cancelled_ : 1 = false;
    bool ended_by_caller_ : 1 = false;
    bool covers_silence_ : 1 = false; // stop_ is requested at the end of the silence too
    bool stays_on_thread_ : 1 = true;
    bool told_by_retry_ : 1 = false;
    bool was_told_ : 1 = false; // the failure that the call has now
};

}} // namespace resilience::RESILIENCE_ABI

#if RESILIENCE_BODIES
#include <resilience/call/call_context.ipp>
#endif
