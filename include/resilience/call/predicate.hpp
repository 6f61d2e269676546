// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>

#include <concepts>
#include <functional>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// A question about a failure, put together with on, not_on, on_result and the operators &&, ||, !.
/// It is empty by default, which means: the policy's own rule. Several threads may call it at once. If it
/// throws, the policy counts that, and the outcome of the call does not change.
///
/// For an accepted value only the parts built with on_result are asked. The parts about exceptions drop out:
/// `not_on<fatal>() || on_result<int>(negative)` does not match every value merely because a value is no
/// exception.
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
    /// True if it has a part built with on_result: policies then show accepted values to it as well.
    bool examines_values() const noexcept { return value_question_ != nullptr; }
    /// Its answer for an accepted value, seen as a failure. Precondition: examines_values().
    bool of_value(const failure& accepted) const { return value_question_(accepted); }

    /// Composing an empty predicate throws std::invalid_argument: it has no question of its own.
    friend predicate operator&&(const predicate& a, const predicate& b) {
        require_set(a);
        require_set(b);
        return {both(a.question_, b.question_), both(a.value_question_, b.value_question_)};
    }
    friend predicate operator||(const predicate& a, const predicate& b) {
        require_set(a);
        require_set(b);
        return {either(a.question_, b.question_), either(a.value_question_, b.value_question_)};
    }
    friend predicate operator!(const predicate& a) {
        require_set(a);
        return {opposite(a.question_), opposite(a.value_question_)};
    }
    template <class R, class F>
    friend predicate on_result(F f);

private:
    static void require_set(const predicate& p) {
        if (!p.has_value())
            detail::raise(std::invalid_argument("predicate: an empty one cannot be part of &&, || or !"));
    }
    using question = std::function<bool(const failure&)>;

    // A null question drops out of the composition.
    static question both(const question& a, const question& b) {
        if (!a || !b) return a ? a : b;
        return [a, b](const failure& f) { return a(f) && b(f); };
    }
    static question either(const question& a, const question& b) {
        if (!a || !b) return a ? a : b;
        return [a, b](const failure& f) { return a(f) || b(f); };
    }
    static question opposite(const question& a) {
        if (!a) return a;
        return [a](const failure& f) { return !a(f); };
    }
    predicate(question of_failures, question of_values)
        : question_(std::move(of_failures)), value_question_(std::move(of_values)) {}

    question question_;
    question value_question_; // null: no part was built with on_result
};

namespace detail {

/// Asks `f` about the failure's exception; false if it is no E. If E is one of our error types, a rejection
/// that would be thrown as an E is asked about too. on<std::exception>() does not match rejections.
template <class E, class F>
bool ask_of_exception(const failure& seen, const F& f) {
    const failure& why = seen.innermost();
    if (const E* e = why.as<E>()) return f(*e);
#if RESILIENCE_EXCEPTIONS
    if constexpr (std::is_base_of_v<error, E>) {
        if (!why.is_rejection() || why.exception() != nullptr) return false;
        try {
            why.rethrow();
        } catch (const E& e) {
            return f(e);
        } catch (...) { // NOLINT(bugprone-empty-catch): another error type of ours
        }
    }
#endif
    return false;
}

} // namespace detail

/// The failure is an exception of type E, or derived from it; or a rejection, if E is its error type.
template <class E>
predicate on() {
    return predicate(
        [](const failure& why) { return detail::ask_of_exception<E>(why, [](const E&) { return true; }); });
}
/// The failure is an E for which f(const E&) is true.
template <class E, class F>
    requires std::is_invocable_r_v<bool, const F&, const E&>
predicate on(F f) {
    return predicate([f = std::move(f)](const failure& why) { return detail::ask_of_exception<E>(why, f); });
}
/// The failure is no E.
template <class E>
predicate not_on() {
    return !on<E>();
}
/// The callable returned a value of exactly type R for which f(const R&) is true. This policy then treats it
/// as a failure even if the result's type calls it a success.
template <class R, class F>
predicate on_result(F f) {
    constexpr bool fits = std::is_invocable_r_v<bool, const F&, const R&>;
    static_assert(fits, "on_result<R>(f): f must take a const R& and return bool");
    if constexpr (fits) {
        const auto asks = [f = std::move(f)](const failure& why) {
            const R* value = why.value<R>();
            return value != nullptr && f(*value);
        };
        return {asks, asks};
    }
}

}} // namespace resilience::RESILIENCE_ABI
