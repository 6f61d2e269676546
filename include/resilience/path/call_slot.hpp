// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/outcome.hpp>
#include <resilience/call/rejection.hpp>
#include <resilience/detail/returned.hpp>

#include <typeinfo>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Where a call leaves its outcome, whatever its type.
class call_slot {
public:
    virtual attempt_result result() const = 0;
    virtual void fail(failure why) noexcept = 0;
    /// The next attempt was refused: the failure of the one before, if there was one, is the cause.
    virtual void refuse(failure why) noexcept = 0;
    /// The call keeps the outcome of the attempt before; one that never had any was cancelled.
    virtual void stand() noexcept = 0;
    /// Another outcome than that of the attempt has been left in the slot, by other means than these.
    virtual void revised() noexcept = 0;
    /// The slot as the type of that name (a typed_slot<R>, or what a task's driver adds), if it is one.
    virtual void* as(const std::type_info& type) noexcept = 0;
    /// The result's type, for messages.
    virtual const std::type_info& type() const noexcept = 0;

protected:
    ~call_slot() = default;
};

/// The same for those who know the result's type.
template <class R>
class typed_slot : public call_slot {
public:
    using result_type = R;

    explicit typed_slot(outcome<R>& out) noexcept : out_(&out) {}

    outcome<R>& out() noexcept { return *out_; }

    attempt_result result() const override { return out_->result(); }
    void fail(failure why) noexcept override { out_->fail(std::move(why)); }
    void refuse(failure why) noexcept override {
        if (out_->has_failure()) // where there is no memory for the cause, without
            returned([&] { why.follow(out_->error()); });
        out_->fail(std::move(why));
    }
    void stand() noexcept override {
        if (out_->is_empty()) out_->fail(rejection{.code = errc::cancelled});
    }
    void revised() noexcept override {}
    void* as(const std::type_info& type) noexcept override {
        return type == typeid(typed_slot<R>) ? this : nullptr;
    }
    const std::type_info& type() const noexcept override { return typeid(R); }

protected:
    ~typed_slot() = default;

private:
    outcome<R>* out_;
};

/// What a blocking driver works on. `Run` is called with (outcome<R>&, call_context&).
template <class R, class Run>
class typed_attempt final : public typed_slot<R> {
public:
    typed_attempt(outcome<R>& out, Run& run) noexcept : typed_slot<R>(out), run_(&run) {}

    /// Drops the outcome before and runs the callable; exceptions become the outcome.
    void run(call_context& ctx) {
        this->out().clear(); // a failing value that owns something is gone before the next attempt begins
        (*run_)(this->out(), ctx);
        has_run(ctx);
    }
    /// What was asked to end by its deadline, and says that it was cancelled, has timed out.
    void has_run(const call_context& ctx) noexcept {
        stopped_at_ = time_point::min();
        if (this->out().has_failure() && ctx.stopped_by_deadline()) time_out(ctx.deadline());
    }

    attempt_result result() const override {
        attempt_result r = typed_slot<R>::result();
        if (stopped_at_ != time_point::min() && !r.succeeded()) r.raced(stopped_at_, true);
        return r;
    }
    void fail(failure why) noexcept override {
        stopped_at_ = time_point::min(); // another outcome than that of the attempt
        typed_slot<R>::fail(std::move(why));
    }
    void revised() noexcept override { stopped_at_ = time_point::min(); }

private:
    RESILIENCE_COLD void time_out(time_point deadline) noexcept {
        if (!this->out().error().is_cancellation()) return;
        this->out().fail(rejection{.code = errc::timed_out, .reason = "no result before the deadline"});
        stopped_at_ = deadline;
    }

    Run* run_;
    time_point stopped_at_ = time_point::min(); // not by its deadline
};

}}} // namespace resilience::RESILIENCE_ABI::detail
