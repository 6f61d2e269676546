// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/predicate.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/environment/environment.hpp>
#include <resilience/path/composable.hpp>
#include <resilience/path/driver.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

namespace detail {

/// True if a call with that slot is a call of tasks and the fallback gives a task of that type.
template <class Given, class Slot>
inline constexpr bool answered_by_task = false;
template <class Given, class Slot>
    requires std::same_as<Given, typename Slot::task_type>
inline constexpr bool answered_by_task<Given, Slot> = true;

/// True if R, a reference, can refer to the given object without a temporary.
template <class R, class Given>
inline constexpr bool refers_to_given =
    std::is_lvalue_reference_v<Given> &&
    std::is_convertible_v<std::add_pointer_t<Given>, std::add_pointer_t<R>>;
template <class R, class Given>
    requires std::same_as<std::remove_cvref_t<Given>,
                          std::reference_wrapper<typename std::remove_cvref_t<Given>::type>>
inline constexpr bool refers_to_given<R, Given> =
    std::is_convertible_v<typename std::remove_cvref_t<Given>::type*, std::add_pointer_t<R>>;

/// The part of a fallback that does not depend on its source.
struct fallback_core {
    explicit fallback_core(predicate w) : when(std::move(w)) {}

    /// True if the outcome of the call is to be replaced.
    bool is_for(const outcome_storage& out, const attempt_result& result, const call_context& ctx);
    /// Counts an answer to `why`, or that the source failed.
    void count(const outcome_storage& answer, const failure& why, const call_context& ctx);

    const predicate when;
    fallback_counts counts;
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION bool fallback_core::is_for(const outcome_storage& out, const attempt_result& result,
                                               const call_context& ctx) {
    if (ctx.ended_by_caller()) return false; // the caller is not waiting for a replacement
    if (out.has_failure()) {
        if (out.why().is_cancellation()) return false;
        if (!when.has_value()) return true;
    } else if (!when.sees(result)) {
        return false;
    }
    bool is = false;
    if (!returned([&] {
            const failure why = result.as_failure();
            is = when.names(result, is_retried_by_default(why));
        })) {
        if (const auto* env = ctx.env(); env != nullptr)
            env->fallbacks.predicate_errors.fetch_add(1, std::memory_order_relaxed);
        counts.predicate_errors.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    return is;
}
RESILIENCE_FUNCTION void fallback_core::count(const outcome_storage& answer, const failure& why,
                                              const call_context& ctx) {
    if (answer.has_failure() && answer.why().is_cancellation()) return; // neither an answer nor its failure
    // A returned failing value counts as used. A fallback task cut off by the call's deadline counts as
    // failed.
    const bool threw =
        answer.has_failure() && (answer.why().exception() != nullptr || answer.why().is_rejection());
    (threw ? counts.failed : counts.used).fetch_add(1, std::memory_order_relaxed);
    if (const auto* env = ctx.env(); env != nullptr)
        (threw ? env->fallbacks.failed : env->fallbacks.used).fetch_add(1, std::memory_order_relaxed);
    if (threw || ctx.env() == nullptr) return;
    ctx.env()->tell([&] {
        event e{.kind = event_kind::fallback_used,
                .policy_kind = "fallback",
                .operation = std::string(ctx.operation())};
        e.correlation = shown_correlation(ctx);
        describe(e, why);
        return e;
    });
}
#endif

} // namespace detail

/// Replaces the outcome of a failed call by a value, or by the result of a callable that sees the failure.
/// Made by fallback() and fallback_if(). A cancellation is never replaced. A fallback belongs to no registry
/// and can be composed with policies of any. Copies share their statistics. Thread-safe if the callable is.
template <class Source>
class fallback_policy : public composable<fallback_policy<Source>> {
public:
    /// The type that the source gives, for compositions at run time.
    using given_type = typename decltype([] {
        if constexpr (std::is_invocable_v<const Source&, const failure&>)
            return std::type_identity<std::decay_t<std::invoke_result_t<const Source&, const failure&>>>{};
        else if constexpr (std::is_invocable_v<const Source&>)
            return std::type_identity<std::decay_t<std::invoke_result_t<const Source&>>>{};
        else return std::type_identity<Source>{};
    }())::type;

    fallback_policy(predicate when, Source source)
        : shared_(std::make_shared<shared>(std::move(when), std::move(source))) {}

    fallback_stats stats() const noexcept { return shared_->counts.read(); }

    /// True if a result of type R can be made of the source's value. A reference never refers to a stored
    /// value, since the policy may be destroyed before the reference is used.
    template <class R>
    static consteval bool gives() {
        if constexpr (std::is_invocable_v<const Source&, const failure&>)
            return fits<R, std::invoke_result_t<const Source&, const failure&>>();
        else if constexpr (std::is_invocable_v<const Source&>)
            return fits<R, std::invoke_result_t<const Source&>>();
        else return fits<R, std::conditional_t<std::is_reference_v<R>, Source, const Source&>>();
    }

    // For drivers.

    template <class R>
    static constexpr bool takes_result = gives<R>() && detail::is_returnable<R>;
    template <class R>
    static consteval void check_result() {
        static_assert(
            !std::is_reference_v<R> || gives<R>(),
            "resilience: the call returns a reference, and what the fallback gives may be gone before "
            "it: give a reference to an object that lasts, or std::ref of one");
        static_assert(std::is_reference_v<R> || gives<R>(),
                      "resilience: the fallback gives no value that the call's result can be made of (and no "
                      "task of the callable's type)");
        static_assert(detail::is_returnable<R>, "resilience: a fallback needs a result that can move");
    }

    /// The per-call object. `Slot` is the type of the call's slot; in a call of tasks the fallback may leave
    /// a task there.
    template <class Slot>
    class attempt_state {
    public:
        attempt_state(const fallback_policy& policy, Slot& slot) noexcept : policy_(&policy), slot_(&slot) {}

        admission admit(call_context&) { return admission::go(); }
        settlement settle(const attempt_result&, call_context& ctx) {
            auto& out = slot_->out();
            if constexpr (gives_task) {
                if (why_) { // the answer has come
                    policy_->shared_->count(out.storage(), *std::exchange(why_, std::nullopt), ctx);
                    return settlement::finish();
                }
            }
            if (!policy_->shared_->is_for(out.storage(), out.result(), ctx)) return settlement::finish();
            if constexpr (gives_task) {
                // Kept until the answer has come, as is the failing value in the slot.
                why_ = out.result().as_failure();
                outcome<void> asked;
                const auto ask = [&] { slot_->answer_with(policy_->template made<given_type>(*why_)); };
                asked.run_and_store(ask);
                if (!asked.has_failure()) return settlement::finish(); // the driver awaits the answer
                const failure why = *std::exchange(why_, std::nullopt);
                out.fail(asked.error());
                policy_->shared_->count(out.storage(), why, ctx);
            } else {
                policy_->replace(out, ctx);
            }
            slot_->replaced();
            return settlement::finish();
        }
        settlement never_began(const attempt_result& result, call_context& ctx) {
            return settle(result, ctx);
        }

    private:
        static constexpr bool gives_task = detail::answered_by_task<given_type, Slot>;

        const fallback_policy* policy_;
        Slot* slot_;
        struct nothing {};
        // Set while a task answers. In other calls it takes no byte: Asio reuses coroutine frames of up to a
        // kilobyte only.
        RESILIENCE_NO_UNIQUE_ADDRESS std::conditional_t<gives_task, std::optional<failure>, nothing> why_;
    };
    template <class Slot>
    attempt_state<Slot> begin(call_context&, Slot& slot) const noexcept {
        // A call of tasks is checked here, others before.
        if constexpr (!detail::answered_by_task<given_type, Slot>) check_result<typename Slot::result_type>();
        return {*this, slot};
    }

private:
    /// Replaces the outcome by the source's value.
    template <class R>
    void replace(outcome<R>& out, const call_context& ctx) const {
        outcome<R> other;
        const failure why = out.result().as_failure();
        {
            const detail::enclosing_call here(
                ctx); // calls that the source makes inherit this call's deadline
            const auto make = [&]() -> R { return made<R>(why); };
            other.run_and_store(make);
        }
        shared_->count(other.storage(), why, ctx);
        out = std::move(other);
    }
    template <class R, class Given>
    static consteval bool fits() {
        if constexpr (std::is_void_v<R>) return true;
        else if constexpr (std::is_reference_v<R>) return detail::refers_to_given<R, Given>;
        else return std::is_convertible_v<Given, R>;
    }
    template <class R>
    R made(const failure& why) const {
        if constexpr (std::is_invocable_v<const Source&, const failure&>)
            return static_cast<R>(shared_->source(why));
        else if constexpr (std::is_invocable_v<const Source&>) return static_cast<R>(shared_->source());
        else if constexpr (!std::is_void_v<R>) return shared_->source;
    }
    struct shared : detail::fallback_core {
        shared(predicate w, Source s) : fallback_core(std::move(w)), source(std::move(s)) {}

        const Source source;
    };
    std::shared_ptr<shared> shared_; // shared, so that copying the policy into a task's frame is cheap
};

/// `fallback(value)` or `fallback([](const failure& why) { return value; })`; a callable is run only when
/// it is needed. A call without a result takes a callable that returns void.
template <class Source>
auto fallback(Source&& value_or_callable) {
    return fallback_policy<std::decay_t<Source>>(predicate{}, std::forward<Source>(value_or_callable));
}
// clang-format off: compilers show the line with its remark
template <class Source>
    requires(!std::is_constructible_v<std::decay_t<Source>, Source>)
void fallback(Source&&) = delete; // resilience: it is kept, and this one can only be moved: fallback(std::move(x))
// clang-format on
/// A fallback for the failures (and, with on_result, accepted values) for which the predicate is true.
template <class Source>
auto fallback_if(predicate when, Source&& value_or_callable) {
    return fallback_policy<std::decay_t<Source>>(std::move(when), std::forward<Source>(value_or_callable));
}

}} // namespace resilience::RESILIENCE_ABI
