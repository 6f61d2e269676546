// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/failure.hpp>

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

namespace resilience::inline RESILIENCE_ABI {

/// A question about a failure, put together with on, not_on, on_result and the operators &&, ||, !.
/// Empty by default, which means: the policy's own rule. May be called from several threads at once.
/// One that throws is counted by the policy and never changes the outcome of a call.
class predicate {
public:
    predicate() noexcept = default;
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, predicate> &&
                 std::is_invocable_r_v<bool, const F&, const failure&>)
    predicate(F f) : question_(std::move(f)) {} // NOLINT(google-explicit-constructor): any such callable

    bool has_value() const noexcept { return question_ != nullptr; }
    /// Precondition: has_value().
    bool operator()(const failure& f) const { return question_(f); }
    /// True if it was built with on_result: accepted values are shown to it as well.
    bool examines_values() const noexcept { return examines_values_; }

    friend predicate operator&&(predicate a, predicate b) {
        const bool values = a.examines_values_ || b.examines_values_;
        return {[a = std::move(a), b = std::move(b)](const failure& f) { return a(f) && b(f); }, values};
    }
    friend predicate operator||(predicate a, predicate b) {
        const bool values = a.examines_values_ || b.examines_values_;
        return {[a = std::move(a), b = std::move(b)](const failure& f) { return a(f) || b(f); }, values};
    }
    friend predicate operator!(predicate a) {
        const bool values = a.examines_values_;
        return {[a = std::move(a)](const failure& f) { return !a(f); }, values};
    }
    template <class R, class F>
    friend predicate on_result(F f);

private:
    predicate(std::function<bool(const failure&)> question, bool examines_values)
        : question_(std::move(question)), examines_values_(examines_values) {}

    std::function<bool(const failure&)> question_;
    bool examines_values_ = false;
};

/// The failure is an exception of type E, or derived from it.
template <class E>
predicate on() {
    return predicate([](const failure& f) { return f.as<E>() != nullptr; });
}
/// The failure is an E for which f(const E&) is true.
template <class E, class F>
    requires std::is_invocable_r_v<bool, const F&, const E&>
predicate on(F f) {
    return predicate([f = std::move(f)](const failure& why) {
        const E* e = why.as<E>();
        return e != nullptr && f(*e);
    });
}
/// The failure is no E.
template <class E>
predicate not_on() {
    return predicate([](const failure& f) { return f.as<E>() == nullptr; });
}
/// A value of exactly type R was returned for which f(const R&) is true. Makes values that the result's
/// type calls successes into failures for this policy.
template <class R, class F>
predicate on_result(F f) {
    static_assert(std::is_invocable_r_v<bool, const F&, const R&>, "on_result<R>(f): f must take a const R& and return bool");
    return {[f = std::move(f)](const failure& why) {
                const R* value = why.value<R>();
                return value != nullptr && f(*value);
            },
            true};
}

} // namespace resilience::inline RESILIENCE_ABI
