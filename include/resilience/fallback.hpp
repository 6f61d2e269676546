// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/composable.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/predicate.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace resilience::inline RESILIENCE_ABI {

/// How often a fallback was asked; its answers are not the callable's, so they are counted apart.
struct fallback_stats {
    /// Failures whose place it took.
    std::uint64_t used = 0;
    /// Times that the fallback itself threw; its exception is then the call's.
    std::uint64_t failed = 0;
    /// Times that the predicate threw; the failure then goes out as it is.
    std::uint64_t predicate_errors = 0;
};

/// Gives another answer when a call fails: a value, or what a callable makes of the failure. Made by
/// fallback() and fallback_if(). Cancellation is never swallowed. Belongs to no registry: it joins
/// whatever it is composed with. Copies share their statistics; thread-safe if the callable is.
template <class Source>
class fallback_policy : public composable<fallback_policy<Source>> {
public:
    static constexpr bool answers = true;
    /// The type that the source gives, for compositions at run time.
    using given_type = typename decltype([] {
        if constexpr (std::is_invocable_v<const Source&, const failure&>)
            return std::type_identity<std::decay_t<std::invoke_result_t<const Source&, const failure&>>>{};
        else if constexpr (std::is_invocable_v<const Source&>)
            return std::type_identity<std::decay_t<std::invoke_result_t<const Source&>>>{};
        else return std::type_identity<Source>{};
    }())::type;

    fallback_policy(predicate when, Source source)
        : when_(std::move(when)), source_(std::move(source)), counts_(std::make_shared<counts>()) {}

    fallback_stats stats() const noexcept {
        const auto value = [](const auto& a) { return a.load(std::memory_order_relaxed); };
        return {value(counts_->used), value(counts_->failed), value(counts_->predicate_errors)};
    }

    /// Whether a result of type R can be made of what the source gives.
    template <class R>
    static consteval bool gives() {
        if constexpr (std::is_invocable_v<const Source&, const failure&>)
            return fits<R, std::invoke_result_t<const Source&, const failure&>>();
        else if constexpr (std::is_invocable_v<const Source&>)
            return fits<R, std::invoke_result_t<const Source&>>();
        else return fits<R, const Source&>();
    }

    // What follows is for drivers.

    template <class R>
    class attempt_state {
    public:
        attempt_state(const fallback_policy& policy, detail::typed_slot<R>& slot) noexcept
            : policy_(&policy), slot_(&slot) {}

        admission admit(call_context&) { return admission::go(); }
        settlement settle(const attempt_result&, call_context& ctx) {
            return policy_->replace(slot_->out(), ctx) ? settlement::revise() : settlement::finish();
        }
        settlement never_began(const attempt_result& result, call_context& ctx) {
            return settle(result, ctx);
        }

    private:
        const fallback_policy* policy_;
        detail::typed_slot<R>* slot_;
    };
    template <class R>
    attempt_state<R> begin(call_context&, detail::typed_slot<R>& slot) const noexcept {
        static_assert(gives<R>(),
                      "resilience: the fallback gives no value that the call's result can be made of");
        static_assert(std::is_void_v<R> || std::is_reference_v<R> || std::is_move_constructible_v<R>,
                      "resilience: a fallback needs a result that can move");
        return {*this, slot};
    }
    template <class F>
    RESILIENCE_INLINE decltype(auto) with_policies(F&& f) const {
        return f(*this);
    }

private:
    struct counts { // only ever added to; relaxed: a count orders nothing
        detail::atomic<std::uint64_t> used{0};
        detail::atomic<std::uint64_t> failed{0};
        detail::atomic<std::uint64_t> predicate_errors{0};
    };

    /// Takes the failure's place in `out`, if there is one that it is for.
    template <class R>
    bool replace(outcome<R>& out, const call_context& ctx) const {
        if (!out.has_failure() && !when_.examines_values()) return false;
        if (!is_for(out)) return false;

        outcome<R> other;
        const failure why = out.result().as_failure();
        other.capture([&]() -> R { return answer<R>(why); });
        const bool threw = other.has_failure() && other.error().exception() != nullptr;
        (threw ? counts_->failed : counts_->used).fetch_add(1, std::memory_order_relaxed);
        if (!threw && ctx.env() != nullptr && ctx.env()->has_listeners()) {
            event e{.kind = event_kind::fallback_used,
                    .policy_kind = "fallback",
                    .operation = std::string(ctx.operation())};
            e.error_type = why.type_name();
            e.error = why.message();
            ctx.env()->publish(std::move(e));
        }
        out = std::move(other);
        return true;
    }
    template <class R, class Given>
    static consteval bool fits() {
        if constexpr (std::is_void_v<R>) return true;
        else return std::is_convertible_v<Given, R>;
    }
    template <class R>
    R answer(const failure& why) const {
        if constexpr (std::is_invocable_v<const Source&, const failure&>) return static_cast<R>(source_(why));
        else if constexpr (std::is_invocable_v<const Source&>) return static_cast<R>(source_());
        else if constexpr (!std::is_void_v<R>) return source_;
    }
    template <class R>
    bool is_for(const outcome<R>& out) const {
        if (out.has_failure()) {
            const auto code = out.error().code();
            if (code == errc::cancelled || code == std::errc::operation_canceled) return false;
            if (!when_.has_value()) return true;
        }
        bool is = false;
        if (!detail::returned([&] { is = when_(out.result().as_failure()); })) {
            counts_->predicate_errors.fetch_add(1, std::memory_order_relaxed);
            return false;
        }
        return is;
    }

    predicate when_;
    Source source_;
    std::shared_ptr<counts> counts_;
};

/// `fallback(value)` or `fallback([](const failure& why) { return value; })`; a callable is run only when
/// it is needed. For calls without a result: a callable that returns void.
template <class Source>
auto fallback(Source&& value_or_callable) {
    return fallback_policy<std::decay_t<Source>>(predicate{}, std::forward<Source>(value_or_callable));
}
/// The same, for the failures (and, with on_result, values) that the predicate names.
template <class Source>
auto fallback_if(predicate when, Source&& value_or_callable) {
    return fallback_policy<std::decay_t<Source>>(std::move(when), std::forward<Source>(value_or_callable));
}

} // namespace resilience::inline RESILIENCE_ABI
