// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/task_traits.hpp>
#include <resilience/call/time_out.hpp>
#include <resilience/path/call_slot.hpp>

#include <exception>
#include <optional>
#include <system_error>
#include <typeinfo>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <class Task>
using value_of_task = typename task_traits<Task>::value_type;

/// The place of the outcome of a call of tasks, and of the task that a fallback gives in its stead.
template <class Task>
class task_slot final : public typed_slot<value_of_task<Task>> {
public:
    using result_type = value_of_task<Task>;
    using task_type = Task;

    task_slot() noexcept : typed_slot<result_type>(out_) {}

    void* as(const std::type_info& type) noexcept override {
        return type == typeid(task_slot) ? this : typed_slot<result_type>::as(type);
    }
    bool has_answer() const noexcept override { return answer_.has_value(); }

    /// Leaves the task that the driver awaits next.
    void answer_with(Task task) { answer_.emplace(std::move(task)); }
    Task take_answer() {
        Task task = std::move(*answer_);
        answer_.reset();
        return task;
    }
    template <class... V>
    void store(V&&... value) {
        this->begin_attempt(); // cleared only now: the answer may have referred to the failing value
        const auto stored = [&]() -> result_type {
            return static_cast<result_type>((std::forward<V>(value), ...));
        };
        out_.store_result(stored);
    }
#if RESILIENCE_EXCEPTIONS
    /// Called in a catch block: makes the exception the outcome. The forced unwinding of a thread that ends
    /// is rethrown.
    void catch_current(const std::exception* known) {
        this->begin_attempt();
        std::exception_ptr exception = std::current_exception();
        if (exception == nullptr) throw;
        failure::code_reader read = nullptr;
        if constexpr (requires { task_traits<Task>::code_of(*known); })
            read = [](const std::exception& e) -> std::error_code { return task_traits<Task>::code_of(e); };
        out_.fail(failure(std::move(exception), known, read));
    }
#endif

private:
    outcome<result_type> out_;
    std::optional<Task> answer_;
};

/// Before an attempt: starts its race if the call has a deadline or can be stopped.
void begin_race(std::optional<task_limit>& limit, call_context& ctx);
/// As settle_limit(), for an attempt that ran in a race: the race knows who asked it to end, and whether a
/// value came in time.
void settle_race(call_slot& slot, const task_limit& limit, const call_context& ctx) noexcept;

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION void begin_race(std::optional<task_limit>& limit, call_context& ctx) {
    if (!ctx.is_limited()) return;
    limit.emplace(ctx.clock(), ctx.fixed_deadline(), ctx.callers_stop_token(), ctx.watch());
    ctx.relay_by(&limit->attempts_stop());
}
RESILIENCE_FUNCTION void settle_race(call_slot& slot, const task_limit& limit,
                                     const call_context& ctx) noexcept {
    const time_point deadline = ctx.deadline(); // not the limit's: the end of a silence moves
    if (deadline == time_point::max()) return;
    const bool caller_first = limit.cancelled_first() || limit.how() == task_limit::end::stopped;
    const bool struck = !caller_first && limit.how() == task_limit::end::deadline;
    const failure* why = slot.why();
    if (why == nullptr) {
        if (struck) slot.lost_against(deadline);
        // If the caller cancelled it, it neither timed out nor finished in time.
        else if (limit.how() == task_limit::end::finished) slot.finished_before(deadline);
        return;
    }
    const bool asked = struck || ctx.stopped_by_deadline();
    // The caller's own request may stand behind a cancellation that the context does not know of.
    if (caller_first && why->is_cancellation()) return;
    if (struck ? !is_refusal(why->judged_code()) : has_timed_out(*why, ctx))
        slot.time_out(ctx, asked ? asked_to_end::yes : asked_to_end::no);
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
