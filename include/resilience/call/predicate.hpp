// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/attempt_result.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/call/verdict.hpp>
#include <resilience/detail/same_callable.hpp>

#include <concepts>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// True if a Predicate cannot be made of an F, by its constructors or by a conversion of F's.
template <class F, class Predicate>
inline constexpr bool is_no_question =
    !(std::is_convertible_v<F, std::function<bool(const failure&)>> && std::is_copy_constructible_v<F>) &&
    !requires(const F& f) { f.operator Predicate(); };
template <class Predicate>
inline constexpr bool is_no_question<Predicate, Predicate> = false;

} // namespace detail

/// A question about a failure, put together with on, not_on, on_result, default_rule and the operators &&, ||,
/// !. It is empty by default, which means: the policy's own rule. Several threads may call it at once. If it
/// throws, the policy counts that, and the outcome of the call does not change.
///
/// A part that has nothing to say of an outcome drops out of the composition. on_result<R> speaks of values
/// of type R alone, default_rule() of everything, all other parts of failures alone: of exceptions, of
/// rejections and of values that stand for a failure (HTTP 4xx too). So `not_on<fatal>() ||
/// on_result<int>(negative)` does not match every value merely because a value is no exception.
///
/// A predicate of on_result parts alone adds to the default rule, for retry_if and record_if.
class predicate {
    enum class answer : std::uint8_t { silent, no, yes };
    /// The outcome that a predicate is asked about.
    struct subject {
        const failure& why;
        bool is_failure; // false: an accepted value
        bool usual;      // the answer of the default rule
    };
    using question = std::function<answer(const subject&)>;
    struct plain_question {
        std::function<bool(const failure&)> asks;
        answer operator()(const subject& s) const {
            return s.is_failure ? answer_of(asks(s.why)) : answer::silent;
        }
    };

public:
    predicate() noexcept = default;
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, predicate> &&
                 std::is_invocable_r_v<bool, const F&, const failure&> && std::copy_constructible<F>)
    predicate(F f) // NOLINT(google-explicit-constructor): any such callable
        : predicate(std::function<bool(const failure&)>(std::move(f))) {}
    predicate(std::function<bool(const failure&)> f); // NOLINT(google-explicit-constructor): likewise
    // clang-format off: compilers show the line with its remark
    template <class F>
        requires detail::is_no_question<F, predicate>
    predicate(F) = delete; // resilience: a predicate is made of what takes a const failure& and returns bool, and can be copied, or of on<E>(), on_result<R>(f), default_rule() with its parentheses
    // clang-format on

    bool has_value() const noexcept { return question_ != nullptr; }
    /// True if a part of it says yes; default_rule() answers as for a retry. Precondition: has_value().
    bool operator()(const failure& f) const { return names(attempt_result(f), is_retried_by_default(f)); }
    /// True if it has a part built with on_result: policies then show accepted values to it as well.
    bool examines_values() const noexcept { return (parts_ & of_values) != 0; }
    /// Its answer for an accepted value, seen as a failure. Precondition: has_value().
    bool of_value(const failure& accepted) const;

    // For policies.

    /// True if a policy must ask it about that result.
    bool sees(const attempt_result& r) const noexcept {
        return r.succeeded() && !r.is_refused() ? examines_values() : has_value();
    }
    /// Its answer for a result, as a retry takes it. Precondition: sees(r).
    bool selects(const attempt_result& r) const;
    /// Its answer for a failure where the default rule answers `usual`. Precondition: has_value().
    bool is_for(const failure& f, bool usual) const;
    /// True if it says yes itself: where it is silent, the default rule does not answer in its stead.
    bool names(const attempt_result& r, bool usual) const;
    /// True if the default rule decides on this failure.
    bool leaves_to_default(const failure& f) const { return is_for(f, false) != is_for(f, true); }

    /// Composing an empty predicate throws std::invalid_argument: it has no question of its own.
    // Templates, so that types that merely mention this class, such as std::optional<predicate>, keep their own ! && and ||.
    template <class A, class B>
        requires(std::is_base_of_v<predicate, A> || std::is_base_of_v<predicate, B>)
    friend predicate operator&&(const A& a, const B& b) {
        return joined(a, b, answer::no);
    }
    template <class A, class B>
        requires(std::is_base_of_v<predicate, A> || std::is_base_of_v<predicate, B>)
    friend predicate operator||(const A& a, const B& b) {
        return joined(a, b, answer::yes);
    }
    template <class A>
        requires std::is_base_of_v<predicate, A>
    friend predicate operator!(const A& a) {
        return opposite(a);
    }
    template <class R, class F>
    friend predicate on_result(F f);
    friend predicate default_rule();
    friend bool may_be_same(const predicate& a, const predicate& b) {
        const auto* const x = a.question_.target<plain_question>();
        const auto* const y = b.question_.target<plain_question>();
        if (x != nullptr && y != nullptr) return detail::may_be_same(x->asks, y->asks);
        return a.parts_ == b.parts_ && detail::may_be_same(a.question_, b.question_);
    }

private:
    enum : std::uint8_t { of_values = 1, of_failures = 2, by_default = 4 }; // kinds of parts

    predicate(question q, std::uint8_t parts) : question_(std::move(q)), parts_(parts) {}
    /// Both, where an answer of the first that is `decisive` is the answer.
    static predicate joined(const predicate& one, const predicate& other, answer decisive);
    static predicate opposite(const predicate& of);
    static answer answer_of(bool yes) noexcept { return yes ? answer::yes : answer::no; }

    question question_;
    std::uint8_t parts_ = 0;
};

/// The rule of policies without a predicate: true for the failures that are retried, or recorded, by default.
predicate default_rule();

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION predicate::predicate(std::function<bool(const failure&)> f) {
    if (!f) return;
    question_ = plain_question{std::move(f)};
    parts_ = of_failures;
}
RESILIENCE_FUNCTION bool predicate::of_value(const failure& accepted) const {
    return question_({accepted, false, false}) == answer::yes;
}
RESILIENCE_FUNCTION bool predicate::selects(const attempt_result& r) const {
    if (!r.succeeded()) return is_for(*r.error(), is_retried_by_default(*r.error()));
    return r.is_refused() ? is_for(r.as_failure(), false) : of_value(r.as_failure());
}
RESILIENCE_FUNCTION bool predicate::is_for(const failure& f, bool usual) const {
    const answer said = question_({f, true, usual});
    if (said == answer::yes) return true;
    return (said == answer::silent || parts_ == of_values) && usual;
}
RESILIENCE_FUNCTION bool predicate::names(const attempt_result& r, bool usual) const {
    if (!r.succeeded()) return question_({*r.error(), true, usual}) == answer::yes;
    return question_({r.as_failure(), r.is_refused(), usual}) == answer::yes;
}
RESILIENCE_FUNCTION predicate predicate::joined(const predicate& one, const predicate& other,
                                                answer decisive) {
    if (!one.has_value() || !other.has_value())
        detail::raise(std::invalid_argument("predicate: an empty one cannot be part of &&, || or !"));
    return {[a = one.question_, b = other.question_, decisive](const subject& s) {
                const answer first = a(s);
                if (first == decisive) return first;
                const answer second = b(s);
                return second == answer::silent ? first : second;
            },
            static_cast<std::uint8_t>(one.parts_ | other.parts_)};
}
RESILIENCE_FUNCTION predicate predicate::opposite(const predicate& of) {
    if (!of.has_value())
        detail::raise(std::invalid_argument("predicate: an empty one cannot be part of &&, || or !"));
    return {[a = of.question_](const subject& s) {
                const answer said = a(s);
                if (said == answer::silent) return said;
                return answer_of(said == answer::no);
            },
            of.parts_};
}
RESILIENCE_FUNCTION predicate default_rule() {
    return {[](const predicate::subject& s) { return predicate::answer_of(s.is_failure && s.usual); },
            predicate::by_default};
}
#endif

namespace detail {

/// Asks `f` about the failure's exception, or the outermost of those nested in it that is an E; false if none is. If E is
/// one of our error types, a rejection that would be thrown as an E is asked about too. on<std::exception>() does
/// not match rejections.
template <class E, class F>
bool ask_of_exception(const failure& seen, const F& f) {
    const failure& why = seen.innermost();
#if RESILIENCE_EXCEPTIONS
    if constexpr (std::is_base_of_v<error, E>) {
        if (why.is_rejection() && why.exception() == nullptr) {
            try {
                why.rethrow();
            } catch (const E& e) {
                return f(e);
            } catch (...) { // NOLINT(bugprone-empty-catch): another error type of ours
            }
            if (const failure* inside = why.wrapped()) return ask_of_exception<E>(*inside, f);
        }
    }
#endif
    const E* e = why.as<E>();
    return e != nullptr && f(*e);
}

} // namespace detail

/// The failure is an exception of type E, or derived from it; or a rejection, if E is its error type.
template <class E>
predicate on() {
    return predicate(
        [](const failure& why) { return detail::ask_of_exception<E>(why, [](const E&) { return true; }); });
}
/// The failure is an E for which f(const E&) is true.
template <int = 0>
predicate on(...) = delete; // resilience: on<E>() and on<E>(f) need the type of an exception
template <class E, class F>
predicate on(F f) {
    constexpr bool fits = std::is_invocable_r_v<bool, const F&, const E&> && std::is_copy_constructible_v<F>;
    static_assert(fits, "resilience: on<E>(f): f must take a const E& and return bool, and can be copied");
    if constexpr (fits)
        return predicate(
            [f = std::move(f)](const failure& why) { return detail::ask_of_exception<E>(why, f); });
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
    constexpr bool fits = std::is_invocable_r_v<bool, const F&, const R&> && std::is_copy_constructible_v<F>;
    static_assert(fits,
                  "resilience: on_result<R>(f): f must take a const R& and return bool, and can be copied");
    if constexpr (fits) {
        return {[f = std::move(f)](const predicate::subject& s) {
                    const R* value = s.why.template value<R>();
                    return value != nullptr ? predicate::answer_of(f(*value)) : predicate::answer::silent;
                },
                predicate::of_values};
    }
}

}} // namespace resilience::RESILIENCE_ABI
