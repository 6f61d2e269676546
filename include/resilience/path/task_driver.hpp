// SPDX-License-Identifier: Apache-2.0
#pragma once

// The driver of coroutines: the loop of path/driver.hpp, awaiting instead of blocking.

#include <resilience/call/task_traits.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/path/callable.hpp>
#include <resilience/path/driver.hpp>
#include <resilience/path/fast_path.hpp>
#include <resilience/path/task_arguments.hpp>
#include <resilience/path/task_slot.hpp>

#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Everything that a call keeps in its coroutine's frame: handles and rvalues by value, lvalues by reference.
template <class Task, class F, class Arguments, class... P>
struct task_job;
template <class Task, class F, class... A, class... P>
struct task_job<Task, F, std::tuple<A...>, P...> {
    static_assert(!(surrounding<P> || ...),
                  "resilience: an abandoning timeout is for callables that block; a coroutine can be "
                  "cancelled: use timeout");
    static constexpr bool is_quick = ((quick<P> && !narrowing<P>) && ...);

    static constexpr bool takes_context = context_callable<F, A...>;
    using arguments = arguments_of<takes_context, F, A...>;
    using slot_type = task_slot<Task>;
    using steps_type = steps_of<slot_type, P...>;

    std::tuple<P...> policies;
    F f;
    std::tuple<A...> args;
    std::string operation;
    std::optional<call_options> options;
    const call_context* parent;

    const environment& env() const {
        return std::apply([](const auto&... p) -> const environment& { return environment_around(p...); },
                          policies);
    }
    void prepare(call_context& ctx) const {
        ctx.set_operation(operation);
        if (parent != nullptr) ctx.inherit(*parent);
        if (options) ctx.apply(*options);
    }
    Task call(call_context& ctx, arguments& passed) {
        return passed.pass_to(
            [&](auto&&... a) -> Task {
                if constexpr (takes_context)
                    return static_cast<Task>(std::invoke(f, ctx, std::forward<decltype(a)>(a)...));
                else return static_cast<Task>(std::invoke(f, std::forward<decltype(a)>(a)...));
            },
            args);
    }
};

/// The walk of a call of tasks. First attempts pass with tickets where every policy gives one.
template <class Job, class... P>
class task_steps {
public:
    using slot_type = typename Job::slot_type;

    task_steps(const Job& job, const std::tuple<P...>& policies, slot_type& slot, call_context& ctx) noexcept
        : policies_(&policies), slot_(&slot), ctx_(&ctx) {
        if constexpr (Job::is_quick) {
            if (ctx.is_limited() || job.options || job.parent != nullptr) return;
            std::apply([&](const auto&... p) { tickets_.emplace(tickets_of<P...>{{p.try_begin()}...}); },
                       policies);
            if (!all_given(std::index_sequence_for<P...>{})) tickets_.reset();
            else depth_before_ = ctx.retry_depth(), ctx.set_retry_depth(depth_before_ + retries);
        }
    }
    task_steps(const task_steps&) = delete;
    task_steps& operator=(const task_steps&) = delete;
    ~task_steps() {
        if constexpr (Job::is_quick) {
            if (tickets_) each_ticket([](const auto& policy, const auto& t) { policy.abandon(t); });
        }
    }

    step begin() {
        if (has_tickets()) return step::attempt;
        make_steps();
        return over_before_it_began(*slot_, *ctx_) ? steps_->never_began(*slot_, *ctx_)
                                                   : steps_->begin(*slot_, *ctx_);
    }
    step settle() {
        if constexpr (Job::is_quick) {
            if (tickets_) {
                if (healthy(slot_->out())) {
                    const tickets given = *std::exchange(tickets_, std::nullopt);
                    std::apply([&](const auto&... p) { succeed_all<P...>(given, p...); }, *policies_);
                    return step::done;
                }
                ctx_->set_retry_depth(depth_before_);
                resume_steps(std::index_sequence_for<P...>{});
                tickets_.reset();
            }
        }
        return steps_->settle(*slot_, *ctx_);
    }
    step resume() { return steps_->resume(*slot_, *ctx_); }
    step answered() { return steps_->answered(*slot_, *ctx_); }
    duration delay() const noexcept { return steps_->delay(); }

private:
    static constexpr unsigned retries = (0U + ... + (repeating<P> ? 1U : 0U));
    struct no_tickets {};
    using tickets = typename decltype([] {
        if constexpr (Job::is_quick) return std::type_identity<tickets_of<P...>>{};
        else return std::type_identity<no_tickets>{};
    }())::type;

    bool has_tickets() const noexcept { return Job::is_quick && tickets_.has_value(); }
    template <std::size_t... I>
    bool all_given(std::index_sequence<I...>) const noexcept {
        return (static_cast<bool>(ticket<I>(*tickets_)) && ...);
    }
    template <class F>
    void each_ticket(F f) const {
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (f(std::get<I>(*policies_), ticket<I>(*tickets_)), ...);
        }(std::index_sequence_for<P...>{});
    }
    void make_steps() {
        std::apply([&](const auto&... p) { steps_.emplace([&] { return begin_call(p, *ctx_, *slot_); }...); },
                   *policies_);
    }
    template <std::size_t... I>
    void resume_steps(std::index_sequence<I...>) {
        steps_.emplace([&] { return std::get<I>(*policies_).resume(ticket<I>(*tickets_), *ctx_); }...);
    }

    const std::tuple<P...>* policies_;
    slot_type* slot_;
    call_context* ctx_;
    unsigned depth_before_ = 0;
    std::optional<tickets> tickets_;                // until the first attempt is settled
    std::optional<typename Job::steps_type> steps_; // from then on, or from the start
};

/// What p(f) gives, and what p.try_call(f) does.
template <class Task>
struct as_value {
    using task_type = Task;
    static decltype(auto) take(outcome<value_of_task<Task>>& out) { return out.take(); }
};
template <class Task>
struct as_outcome {
    using task_type = typename task_traits<Task>::template rebind<outcome<value_of_task<Task>>>;
    static auto take(outcome<value_of_task<Task>>& out) { return std::move(out); }
};

RESILIENCE_COROUTINES_BEGIN

/// The coroutine driver: one frame for the whole pipeline. Begins when it is awaited; destroyed while it
/// is suspended it settles what was admitted as ignored.
template <class As, class Task, class F, class Arguments, class... P>
typename As::task_type drive_task(task_job<Task, F, Arguments, P...> job) {
    using traits = task_traits<Task>;
    using job_type = task_job<Task, F, Arguments, P...>;
    constexpr bool gives_value = !std::is_void_v<value_of_task<Task>>;
    constexpr bool can_be_cancelled = requires { traits::cancellation(); };

    const environment& env = job.env();
    call_context ctx(env.clock(), &env);
    job.prepare(ctx);
    task_slot<Task> slot;
    task_steps<job_type, P...> steps(job, job.policies, slot, ctx);
    typename job_type::arguments arguments;

    step next = steps.begin();
    while (next != step::done) {
        const step now = next;
        if (now == step::wait) {
            std::exception_ptr no_sleep;
            if (steps.delay() > duration{0}) {
                const time_point until = saturating_add(ctx.clock().now(), steps.delay());
#if RESILIENCE_EXCEPTIONS
                try {
#else
                {
#endif
                    // Each awaited object has a name: g++ 12 may destroy a temporary of such an expression twice.
                    auto sleep = traits::sleep_until(ctx.clock(), until, ctx.outer_stop());
                    co_await std::move(sleep);
#if RESILIENCE_EXCEPTIONS
                } catch (forced_unwind&) {
                    throw;
                } catch (...) {
                    no_sleep = std::current_exception();
                }
#else
                }
#endif
            }
            if constexpr (can_be_cancelled) {
                auto asked = traits::cancellation();
                if (traits::is_cancelled(co_await std::move(asked))) {
                    ctx.cancel();
                    no_sleep = nullptr;
                }
            }
            if (no_sleep) std::rethrow_exception(no_sleep);
            next = steps.resume();
            continue;
        }
        if (now == step::attempt) slot.clear();
        std::optional<task_limit> limit;
        if (ctx.is_limited()) {
            limit.emplace(ctx.clock(), ctx.deadline(), ctx.outer_stop());
            ctx.relay_by(&limit->attempts_stop());
        }
#if RESILIENCE_EXCEPTIONS
        try {
#else
        {
#endif
            Task attempt = now == step::attempt ? job.call(ctx, arguments) : slot.take_answer();
            if (limit) {
                auto race = traits::race(std::move(attempt), *limit);
                if constexpr (gives_value) {
                    decltype(auto) value = co_await std::move(race);
                    slot.keep(std::forward<decltype(value)>(value));
                } else {
                    co_await std::move(race);
                    slot.keep();
                }
            } else if constexpr (gives_value) {
                decltype(auto) value = co_await std::move(attempt);
                slot.keep(std::forward<decltype(value)>(value));
            } else {
                co_await std::move(attempt);
                slot.keep();
            }
#if RESILIENCE_EXCEPTIONS
        } catch (forced_unwind&) { // a cancelled thread: never swallowed
            throw;
        } catch (const std::exception& e) {
            slot.keep_exception(&e);
        } catch (...) {
            slot.keep_exception(nullptr);
        }
#else
        }
#endif
        if (limit) limit->finish(), ctx.relay_by(nullptr);
        if constexpr (can_be_cancelled) {
            if (slot.out().has_failure()) {
                auto asked = traits::cancellation();
                if (traits::is_cancelled(co_await std::move(asked))) ctx.cancel();
            }
        }
        if (limit) slot.settle_race(*limit, ctx.stopped_by_deadline());
        next = now == step::attempt ? steps.settle() : steps.answered();
    }
    if constexpr (std::is_void_v<typename task_traits<typename As::task_type>::value_type>) {
        As::take(slot.out());
        co_return;
    } else {
        co_return As::take(slot.out());
    }
}

RESILIENCE_COROUTINES_END

/// The task of a call: copies handles and takes rvalues over, refers to lvalues.
template <class As, class F, class... A, class... P>
typename As::task_type make_task(const call_request& request, std::type_identity_t<F>& f,
                                 std::tuple<std::remove_reference_t<A>&...> args, const P&... policies) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
        using job = task_job<call_result<F, A...>, F, std::tuple<A...>, P...>;
        return drive_task<As>(
            job{std::tuple<P...>(policies...), std::forward<F>(f),
                std::tuple<A...>(std::forward<A>(std::get<I>(args))...), std::string(request.operation),
                request.options != nullptr ? std::optional(*request.options) : std::nullopt, request.parent});
    }(std::index_sequence_for<A...>{});
}

}}} // namespace resilience::RESILIENCE_ABI::detail
