// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/task_traits.hpp>
#include <resilience/path/call_slot.hpp>

#include <exception>
#include <optional>
#include <system_error>
#include <typeinfo>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <class Task>
using value_of_task = typename task_traits<Task>::value_type;

/// Where a call of tasks leaves its outcome, and a fallback the task that answers for it.
template <class Task>
class task_slot final : public typed_slot<value_of_task<Task>> {
public:
    using result_type = value_of_task<Task>;
    using task_type = Task;

    task_slot() noexcept : typed_slot<result_type>(out_) {}

    attempt_result result() const override {
        attempt_result r = out_.result();
        if (raced_until_ != time_point::min()) r.raced(raced_until_, lost_);
        return r;
    }
    void fail(failure why) noexcept override {
        raced_until_ = time_point::min(); // another outcome than that of the race
        typed_slot<result_type>::fail(std::move(why));
    }
    void revised() noexcept override { raced_until_ = time_point::min(); }
    void* as(const std::type_info& type) noexcept override {
        return type == typeid(task_slot) ? this : typed_slot<result_type>::as(type);
    }

    /// The answer that is awaited next.
    void answer_with(Task task) { answer_.emplace(std::move(task)); }
    Task take_answer() {
        Task task = std::move(*answer_);
        answer_.reset();
        return task;
    }
    /// Before an attempt: a failing value that owns something is gone before the next one begins.
    void clear() noexcept {
        out_.clear();
        raced_until_ = time_point::min();
    }
    template <class... V>
    void keep(V&&... value) {
        clear(); // an answer may have been made of the failing value until now
        out_.keep([&]() -> result_type { return static_cast<result_type>((std::forward<V>(value), ...)); });
    }
    /// Keeps the exception that is being handled. To be called in a catch block.
    void keep_exception(const std::exception* known) noexcept {
        clear();
        std::error_code code;
        if constexpr (requires { task_traits<Task>::code_of(*known); }) {
            if (known != nullptr) code = task_traits<Task>::code_of(*known);
        }
        out_.fail(failure(std::current_exception(), known, code));
    }
    /// After an attempt that had a limit: what was asked to end because of its deadline has timed out, by
    /// whichever of the race and the callable's own stop token. Not if the caller had asked before.
    void settle_race(const task_limit& limit, bool stopped_by_deadline) {
        const bool caller_first = limit.cancelled_first();
        const bool struck = !caller_first && limit.how() == task_limit::end::deadline;
        const bool gave_up = (struck || (stopped_by_deadline && !caller_first)) && out_.has_failure() &&
                             out_.error().is_cancellation();
        if (gave_up) out_.fail(rejection{.code = errc::timed_out, .reason = "no result before the deadline"});
        if (limit.deadline() == time_point::max()) return;
        lost_ = struck || gave_up;
        // Asked to end by the caller it has neither lost nor finished in time.
        if (lost_ || limit.how() == task_limit::end::finished) raced_until_ = limit.deadline();
    }

private:
    outcome<result_type> out_;
    std::optional<Task> answer_;
    time_point raced_until_ = time_point::min(); // no race
    bool lost_ = false;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
