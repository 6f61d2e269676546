// SPDX-License-Identifier: Apache-2.0
#pragma once

// The driver of coroutines: the loop of driver.hpp, awaiting instead of blocking.

#include <resilience/call/task_traits.hpp>
#include <resilience/path/fast_path.hpp>
#include <resilience/path/task_body.hpp>
#include <resilience/path/task_slot.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The name, options and parent that a view adds to a call, kept for its coroutine. The first two do not lie in the
/// frame: most calls have none.
class task_request {
public:
    explicit task_request(const call_request& request)
        : kept_(request.operation.empty() && request.options == nullptr ? nullptr
                                                                        : std::make_unique<kept>(request)),
          parent_(request.parent) {}

    /// Without the parent.
    const call_request& get() const noexcept { return kept_ != nullptr ? kept_->request : plain_request; }
    const call_context* parent() const noexcept { return parent_; }

private:
    struct kept {
        explicit kept(const call_request& from)
            : operation(from.operation),
              options(from.options != nullptr ? std::optional(*from.options) : std::nullopt),
              request{operation, options ? &*options : nullptr, nullptr} {}

        const std::string operation;
        const std::optional<call_options> options;
        const call_request request; // refers to the two
    };

    std::unique_ptr<const kept> kept_;
    const call_context* parent_;
};

/// The context of a call of tasks.
class task_context : public call_context {
public:
    task_context(const environment& env, const task_request& kept) : call_context(env.clock(), &env) {
        const call_request& request = kept.get();
        may_change_thread();
        set_request(request);
        if (kept.parent() != nullptr) inherit(*kept.parent(), inherited_with(request.options));
        if (request.options != nullptr) apply(*request.options);
    }
};

/// The walk of a call of tasks. A first attempt takes the fast path if every policy gives a permit without a context.
/// Permits and per-call objects share their place in the frame.
template <class Task, class... P>
class task_walk {
    using slot_type = task_slot<Task>;
    using calls_type = walk_through<slot_for<slot_type, P...>, P...>;
    static constexpr bool is_fast = have_fast_path<P...> && (!sets_deadline<P> && ...);

public:
    task_walk(const std::tuple<P...>& policies, call_context& ctx, const task_request& request) noexcept
        : policies_(&policies), depth_before_(ctx.retry_depth()) {
        if constexpr (is_fast) {
            if (ctx.is_limited() || request.parent() != nullptr || !ctx.correlation().empty()) return;
            const auto permits =
                std::apply([](const P&... p) { return fast_permits<P...>(nullptr, p...); }, policies);
            if (!permits.all_given()) return;
            ::new (static_cast<void*>(place_)) fast_permits<P...>(permits);
            holds_ = holds::permits;
            ctx.set_retry_depth(depth_before_ + retries_in<P...>);
        }
    }
    task_walk(const task_walk&) = delete;
    task_walk& operator=(const task_walk&) = delete;
    ~task_walk() {
        if (holds_ == holds::calls) calls().~calls_type();
        if constexpr (is_fast) {
            if (holds_ == holds::permits)
                std::apply([&](const P&... p) { permits().abandon(p...); }, *policies_);
        }
    }

    step begin(slot_type& slot, call_context& ctx) {
        if (holds_ == holds::permits) return step::attempt;
        std::apply([&](const P&... p) { ::new (static_cast<void*>(place_)) calls_type(ctx, slot, p...); },
                   *policies_);
        holds_ = holds::calls;
        return over_before_it_began(slot, ctx) ? calls().walk.never_began(slot, ctx)
                                               : calls().walk.begin(slot, ctx);
    }
    step settle(slot_type& slot, call_context& ctx) {
        if constexpr (is_fast) {
            if (holds_ == holds::permits) {
                const auto given = permits();
                holds_ = holds::nothing;
                if (succeeded(slot.out())) {
                    std::apply([&](const P&... p) { given.succeed(p...); }, *policies_);
                    return step::done;
                }
                ctx.set_retry_depth(depth_before_);
                std::apply(
                    [&](const P&... p) { ::new (static_cast<void*>(place_)) calls_type(given, ctx, p...); },
                    *policies_);
                holds_ = holds::calls;
            }
        }
        return calls().walk.settle(slot, ctx);
    }
    /// The step after `done`.
    step next(step done, slot_type& slot, call_context& ctx) {
        if (done == step::attempt) return settle(slot, ctx);
        return done == step::wait ? calls().walk.resume(slot, ctx) : calls().walk.answered(slot, ctx);
    }
    const call_walk& waiting() noexcept { return calls().walk; }

private:
    enum class holds : std::uint8_t { nothing, permits, calls };

    template <class T>
    T& at_place() noexcept {
        return *std::launder(reinterpret_cast<T*>(place_));
    }
    calls_type& calls() noexcept { return at_place<calls_type>(); }
    auto& permits() noexcept { return at_place<fast_permits<P...>>(); }

    const std::tuple<P...>* policies_;
    unsigned depth_before_;
    holds holds_ = holds::nothing;
    // Permits until the first attempt is settled; calls from then on, or from the start. Permits are smaller.
    alignas(calls_type) std::byte place_[sizeof(calls_type)];
};

/// The result of p(f): a task of the value. as_outcome is the result of p.try_call(f): a task of the outcome.
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

template <class R>
struct tried {
    using type = outcome<R>;
};
template <task R>
struct tried<R> {
    using type = typename as_outcome<R>::task_type;
};
template <>
struct tried<refused_call> {
    using type = outcome<int>; // has the members that a user may name
};
/// The return type of try_call: an outcome, or a task of an outcome.
template <class F, class... A>
using try_result = typename tried<attempt_type<F, A...>>::type;

RESILIENCE_COROUTINES_BEGIN

/// The coroutine driver. One frame serves the whole pipeline. It begins when it is awaited. If it is
/// destroyed while suspended, admitted attempts are settled as `ignored`.
template <class As, class Task, class Place, class... P>
typename As::task_type drive_task(task_body<Task, Place> body, task_request request,
                                  std::tuple<P...> policies) {
    static_assert(!(may_outlive_call<P> || ...),
                  "resilience: an abandoning timeout is for callables that block; a coroutine can be "
                  "cancelled: use timeout");
    using traits = task_traits<Task>;
    constexpr bool gives_value = !std::is_void_v<value_of_task<Task>>;
    constexpr bool can_be_cancelled = requires { traits::cancellation(); };

    task_context ctx(
        std::apply([](const auto&... p) -> const environment& { return environment_around(p...); }, policies),
        request);
    task_slot<Task> slot;
    task_walk<Task, P...> walk(policies, ctx, request);

    step next = walk.begin(slot, ctx);
    while (next != step::done) {
        const step now = next;
        std::exception_ptr no_sleep;
        std::optional<task_limit> limit;
        if (now == step::wait) {
            if (walk.waiting().has_to_wait()) {
#if RESILIENCE_EXCEPTIONS
                try {
#else
                {
#endif
                    // Each awaited object has a name: g++ 12 may destroy a temporary of such an expression twice.
                    auto sleep = traits::sleep_until(ctx.clock(), walk.waiting().ends_at(ctx),
                                                     walk.waiting().ends_by(ctx));
                    co_await std::move(sleep);
#if RESILIENCE_EXCEPTIONS
                } catch (...) {
                    no_sleep = std::current_exception();
                    if (no_sleep == nullptr) throw; // the unwinding of a thread that ends
                }
#else
                }
#endif
            }
        } else {
            if (now == step::attempt) slot.begin_attempt();
            begin_race(limit, ctx);
#if RESILIENCE_EXCEPTIONS
            try {
#else
            {
#endif
                Task attempt = now == step::attempt ? body(ctx) : slot.take_answer();
                if (limit) {
                    auto race = traits::race(std::move(attempt), *limit);
                    if constexpr (gives_value) {
                        decltype(auto) value = co_await std::move(race);
                        slot.store(std::forward<decltype(value)>(value));
                    } else {
                        co_await std::move(race);
                        slot.store();
                    }
                } else if constexpr (gives_value) {
                    decltype(auto) value = co_await std::move(attempt);
                    slot.store(std::forward<decltype(value)>(value));
                } else {
                    co_await std::move(attempt);
                    slot.store();
                }
#if RESILIENCE_EXCEPTIONS
            } catch (const std::exception& e) {
                slot.catch_current(&e);
            } catch (...) {
                slot.catch_current(nullptr);
            }
#else
            }
#endif
            if (limit) limit->finish(), ctx.relay_by(nullptr);
        }
        if constexpr (can_be_cancelled) {
            if (now == step::wait || slot.out().has_failure()) {
                auto asked = traits::cancellation();
                if (traits::is_cancelled(co_await std::move(asked))) {
                    ctx.cancel();
                    no_sleep = nullptr;
                }
            }
        }
        if (no_sleep) std::rethrow_exception(no_sleep);
        if (limit) settle_race(slot, *limit, ctx);
        next = walk.next(now, slot, ctx);
    }
    if constexpr (std::is_void_v<typename task_traits<typename As::task_type>::value_type>) {
        As::take(slot.out());
        co_return;
    } else {
        co_return As::take(slot.out());
    }
}

RESILIENCE_COROUTINES_END

/// Makes the task of a call. It copies the policies' handles, moves rvalues in, and refers to lvalues.
template <class As, class F, class... A, class... P>
typename As::task_type make_task(const call_request& request, std::remove_reference_t<F>& f,
                                 std::tuple<std::remove_reference_t<A>&...> args, const P&... policies) {
    using task_type = call_result<F, A...>;
    using call = kept_task_call<task_type, F, A...>;
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
        return drive_task<As>(
            task_body<task_type, place_for<call>>(std::type_identity<call>{}, std::forward<F>(f),
                                                  std::forward<A>(std::get<I>(args))...),
            task_request(request), std::tuple<typename kept_for_tasks<P>::type...>(policies...));
    }(std::index_sequence_for<A...>{});
}

}}} // namespace resilience::RESILIENCE_ABI::detail
