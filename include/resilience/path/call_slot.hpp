// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/attempt_result.hpp>
#include <resilience/call/call_context.hpp>
#include <resilience/call/outcome.hpp>
#include <resilience/call/rejection.hpp>
#include <resilience/detail/returned.hpp>

#include <cstdint>
#include <typeinfo>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Tells if an attempt was asked to end by its stop token or its race.
enum class asked_to_end : std::uint8_t { no, yes };

/// The place of a call's outcome. The walk and the drivers work on it without knowing the result's type.
class call_slot {
public:
    /// The outcome as policies see it.
    attempt_result result() const;
    /// Puts a policy's failure in the outcome's place.
    void fail(failure why) noexcept;
    /// Puts the refusal of the next attempt in the outcome's place. The failure of the last attempt, if there
    /// was one, becomes its cause.
    void refuse(failure why) noexcept;
    /// The call keeps the outcome of its last attempt. If it made no attempt, it was cancelled.
    void stand() noexcept;
    /// The failure in the outcome, if there is one, tells of the call's first.
    void tell_first(const failure& first) noexcept;
    /// To be called by a policy that knows the result's type and has put another outcome in the attempt's
    /// place.
    void replaced() noexcept {
        raced_until_ = time_point::min();
        is_replaced_ = true;
        if (judged_ == judged::by_its_limit) judged_ = judged::by_nobody;
    }
    /// True if replaced() was called since the last look.
    bool take_replaced() noexcept { return std::exchange(is_replaced_, false); }

    /// Clears the slot before an attempt, so that a failing value gives back the resources it owns before the
    /// next attempt takes its own.
    void begin_attempt() noexcept {
        clear();
        raced_until_ = time_point::min();
        judged_ = judged::by_its_limit;
    }
    /// The reason why the attempt gave no value; null if it gave one.
    const failure* why() const noexcept { return outcome().has_failure() ? &outcome().why() : nullptr; }
    /// The attempt came to its limit without a value. The client's own error stays. If it is the cancellation
    /// that our stop request asked for, it becomes the cause of a time-out. Precondition: why() is not null.
    void time_out(const call_context& ctx, asked_to_end how) noexcept;
    /// A policy has reported the attempt as timed out. The failure in the outcome, if there is one, says so
    /// from now on.
    void reported_time_out() noexcept {
        raced_until_ = time_point::min();
        judged_ = judged::by_a_policy;
        if (outcome().has_failure()) outcome().mark_timed_out();
    }
    /// Records that the attempt has lost against its deadline.
    void lost_against(time_point deadline) noexcept {
        raced_until_ = deadline;
        lost_ = true;
    }
    /// Records that the attempt has finished before its deadline.
    void finished_before(time_point deadline) noexcept {
        raced_until_ = deadline;
        lost_ = false;
    }

    /// The slot as the given type (a typed_slot<R> or a task_slot); null if it is another.
    virtual void* as(const std::type_info& type) noexcept = 0;
    /// The type of the result, for messages.
    virtual const std::type_info& type() const noexcept = 0;
    /// True if a policy has left a task here whose outcome takes the place of the attempt's.
    virtual bool has_answer() const noexcept { return false; }

protected:
    call_slot() noexcept = default;
    ~call_slot() = default;

private:
    virtual outcome_storage& outcome() const noexcept = 0;
    virtual attempt_result seen() const = 0;
    virtual void put(failure why) noexcept = 0;
    virtual void clear() noexcept = 0;

    time_point raced_until_ = time_point::min(); // the deadline of a decided race; min(): there was none
    bool lost_ = false;
    bool is_replaced_ = false;
    // Names the one that has compared the attempt's end with a limit. A policy that reports the attempt as timed out is
    // the only one that does, also where another failure takes the outcome's place after it.
    enum class judged : std::uint8_t { by_its_limit, by_nobody, by_a_policy };
    judged judged_ = judged::by_its_limit;
};

/// A call_slot for code that knows the result's type.
template <class R>
class typed_slot : public call_slot {
public:
    using result_type = R;

    /// `out` is not looked at yet: it may be a member of a class derived from this one.
    explicit typed_slot(resilience::outcome<R>& out) noexcept : out_(&out) {}

    resilience::outcome<R>& out() noexcept { return *out_; }

    void* as(const std::type_info& type) noexcept override {
        return type == typeid(typed_slot<R>) ? this : nullptr;
    }
    const std::type_info& type() const noexcept override { return typeid(R); }

protected:
    ~typed_slot() = default;

private:
    outcome_storage& outcome() const noexcept override { return out_->storage(); }
    attempt_result seen() const override { return out_->result(); }
    void put(failure why) noexcept override { out_->fail(std::move(why)); }
    void clear() noexcept override { out_->clear(); }

    resilience::outcome<R>* out_;
};

/// The slot of a blocking call.
template <class R>
class blocking_slot final : public typed_slot<R> {
public:
    using typed_slot<R>::typed_slot;
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION attempt_result call_slot::result() const {
    attempt_result r = seen();
    if (judged_ == judged::by_nobody) r.took_attempts_place();
    if (raced_until_ == time_point::min()) return r;
    if (lost_) r.lost_against(raced_until_);
    else r.finished_before(raced_until_);
    return r;
}
RESILIENCE_FUNCTION void call_slot::refuse(failure why) noexcept {
    if (outcome().has_failure()) // if there is no memory for the cause, it is left out
        returned([&] { why.follow(outcome().why()); });
    fail(std::move(why));
}
RESILIENCE_FUNCTION void call_slot::fail(failure why) noexcept {
    if (why.is_rejection() && why.code() == errc::timed_out) judged_ = judged::by_a_policy;
    replaced();
    put(std::move(why));
}
RESILIENCE_FUNCTION void call_slot::stand() noexcept {
    if (outcome().is_empty()) fail(rejection{.code = errc::cancelled});
}
RESILIENCE_FUNCTION void call_slot::tell_first(const failure& first) noexcept { outcome().tell_first(first); }
RESILIENCE_COLD RESILIENCE_FUNCTION void call_slot::time_out(const call_context& ctx,
                                                             asked_to_end how) noexcept {
    if (how == asked_to_end::yes && outcome().why().is_cancellation()) {
        failure late(
            rejection{.code = errc::timed_out, .whose = ctx.owner(), .amount = ctx.remaining_cap().count()});
        returned([&] { late.set_cause(outcome().why()); }); // if there is no memory, it is left out
        put(std::move(late));
    } else {
        outcome().mark_timed_out();
    }
    lost_against(ctx.deadline());
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
