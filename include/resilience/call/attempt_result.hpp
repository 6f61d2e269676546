// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/result_traits.hpp>

#include <cstdint>
#include <new>
#include <optional>
#include <variant>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The outcome of an attempt (or of an inner policy) as a policy sees it, the same for every result type.
class attempt_result {
public:
    /// An accepted value: `value` points to what was returned.
    attempt_result(const void* value, const failure::value_ops* ops, detail::standing standing) noexcept
        : value_(value), ops_(ops), standing_(standing) {}
    attempt_result(const void* value, const failure::value_ops* ops, verdict judged) noexcept
        : attempt_result(value, ops, detail::standing_of(judged)) {}
    explicit attempt_result(const failure& why) noexcept : why_(&why), standing_(detail::standing::failure) {}

    bool succeeded() const noexcept { return why_ == nullptr; }
    /// The reason why there is no accepted value; null if there is one.
    const failure* error() const noexcept { return why_; }
    /// The verdict of the result's type: of an accepted value, success or ignored.
    verdict judged() const noexcept { return detail::verdict_of(standing_); }
    /// True for an accepted value that is a failure to predicates, as if it had been thrown: HTTP 4xx.
    bool is_refused() const noexcept { return standing_ == detail::standing::refused; }
    /// A view of an accepted value as if it were a failure, for predicates built with on_result.
    failure as_failure() const {
        if (why_ != nullptr) return *why_;
        return ops_ != nullptr ? ops_->describe(value_)
                               : failure(nullptr, detail::ops_of<std::monostate>, {}, 0, duration{-1});
    }
    /// An inner policy will admit no attempt before this moment; time_point::min() if none said so.
    time_point not_before() const noexcept { return not_before_; }
    void postpone(time_point moment) noexcept {
        if (moment > not_before_) not_before_ = moment;
    }
    /// Tells whether an attempt was late for `deadline`. True: it lost against that deadline; also of an
    /// attempt without a value at its limit. False: it is a task that finished first. Empty: that is not known,
    /// ask the clock.
    std::optional<bool> missed(time_point deadline) const noexcept {
        if (raced_until_ == time_point::min()) return std::nullopt;
        if (race_ == race::won) return false; // every limit further out is at that moment or later
        if (deadline <= raced_until_) return true;
        return std::nullopt; // it ended after raced_until_, and the race does not know how long after
    }
    /// Records that the attempt lost its race against the earliest deadline.
    void lost_against(time_point deadline) noexcept { raced(deadline, race::lost); }
    /// Records that the attempt finished before the earliest deadline.
    void finished_before(time_point deadline) noexcept { raced(deadline, race::won); }
    /// Records that a policy has reported the attempt as timed out: no other does.
    void reported_time_out() noexcept {
        raced_until_ = time_point::min();
        is_unjudged_ = false;
    }
    /// True if a policy has put this outcome in the attempt's place, and nobody has compared its end with a
    /// limit since.
    bool is_unjudged() const noexcept { return is_unjudged_; }
    void took_attempts_place() noexcept { is_unjudged_ = true; }

private:
    enum class race : std::uint8_t { won, lost };
    void raced(time_point deadline, race how) noexcept {
        raced_until_ = deadline;
        race_ = how;
    }

    const failure* why_ = nullptr;
    const void* value_ = nullptr;
    const failure::value_ops* ops_ = nullptr;
    time_point not_before_ = time_point::min();
    time_point raced_until_ = time_point::min(); // no race
    race race_ = race::won;                      // if there was one
    bool is_unjudged_ = false;
    detail::standing standing_;
};

namespace detail {

/// The failure of a result, or its accepted value seen as one. The result must outlive it. No std::optional, which g++
/// clears as a whole first.
class seen_failure {
public:
    explicit seen_failure(const attempt_result& result) : why_(result.error()) {
        if (why_ == nullptr) why_ = ::new (static_cast<void*>(&made_)) failure(result.as_failure());
    }
    seen_failure(const seen_failure&) = delete;
    seen_failure& operator=(const seen_failure&) = delete;
    ~seen_failure() {
        if (why_ == &made_) made_.~failure();
    }
    const failure& get() const noexcept { return *why_; }

private:
    const failure* why_;
    union {
        failure made_; // alive if why_ points to it
    };
};

}
}} // namespace resilience::RESILIENCE_ABI
