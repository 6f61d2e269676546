// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

// If a coroutine takes a reference and the argument has another type, the reference would refer to a
// temporary that is destroyed before the task is awaited. Such a temporary is therefore made in the frame of
// the call, where it lives as long as the attempt.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <class... P>
struct parameter_list {
    /// The I-th parameter, counted without the first `Skipped`; void if it is not known.
    template <std::size_t I, std::size_t Skipped>
    static auto nth() {
        if constexpr (I + Skipped < sizeof...(P))
            return std::type_identity<std::tuple_element_t<I + Skipped, std::tuple<P...>>>{};
        else return std::type_identity<void>{};
    }
};

// Never defined. Pointers to noexcept functions convert to these.
template <class R, class... P>
parameter_list<P...> parameters_in(R (*)(P...));
template <class R, class C, class... P>
parameter_list<P...> parameters_in(R (C::*)(P...));
template <class R, class C, class... P>
parameter_list<P...> parameters_in(R (C::*)(P...) const);
template <class R, class C, class... P>
parameter_list<P...> parameters_in(R (C::*)(P...) &);
template <class R, class C, class... P>
parameter_list<P...> parameters_in(R (C::*)(P...) const&);
/// A member function's first argument is the object.
template <class... P>
parameter_list<void, P...> after_object(parameter_list<P...>);

template <class T>
struct unwrapped {
    using type = T;
};
template <class T>
struct unwrapped<std::reference_wrapper<T>> {
    using type = T;
};

/// The parameters that F declares. The list is empty if they cannot be seen: overloads, and templates
/// (generic lambdas).
template <class F>
auto parameters_of() {
    using callable = std::decay_t<typename unwrapped<std::remove_cvref_t<F>>::type>;
    if constexpr (std::is_member_function_pointer_v<callable>) {
        if constexpr (requires(callable f) { parameters_in(f); })
            return decltype(after_object(parameters_in(std::declval<callable>()))){};
        else return parameter_list<>{};
    } else if constexpr (requires(callable f) { parameters_in(f); }) {
        return decltype(parameters_in(std::declval<callable>())){};
    } else if constexpr (requires { parameters_in(&callable::operator()); }) {
        return decltype(parameters_in(&callable::operator())){};
    } else {
        return parameter_list<>{};
    }
}

template <class A, class T>
concept converts_by_itself_to = requires(A& a) { a.operator T(); };

/// True if passing an A& to a parameter P, a reference, would make a temporary.
template <class P, class A>
inline constexpr bool makes_temporary = [] {
    using object = std::remove_reference_t<P>;
    using given = typename unwrapped<std::remove_cv_t<A>>::type;
    if constexpr (!std::is_reference_v<P> || std::is_function_v<object>) return false;
    else if constexpr (std::is_rvalue_reference_v<P>) return !converts_by_itself_to<A, P>;
    else if constexpr (!std::is_const_v<object>) return false;
    else if constexpr (std::is_convertible_v<given*, object*>) return false; // the same type, or a base
    else // a conversion operator of the argument may give a reference instead
        return !std::is_convertible_v<A&, std::remove_const_t<object>&> && !converts_by_itself_to<A, P>;
}();

/// Passes an argument to a parameter P. The argument itself is passed if that makes no temporary, or if P is
/// unknown (void). Otherwise an object converted from it is passed, made anew for each attempt.
template <class P, class A>
class passed_argument {
public:
    A& pass(A& a) noexcept { return a; }
};
template <class P, class A>
    requires makes_temporary<P, A>
class passed_argument<P, A> {
    using object = std::remove_cvref_t<P>;

public:
    passed_argument() noexcept {} // NOLINT(modernize-use-equals-default): the union stays empty
    passed_argument(const passed_argument&) = delete;
    passed_argument& operator=(const passed_argument&) = delete;
    ~passed_argument() { clear(); }

    P&& pass(A& a) {
        clear();
        ::new (static_cast<void*>(std::addressof(object_))) object(converted(a));
        full_ = true;
        return static_cast<P&&>(object_);
    }

private:
    /// Converts as the call itself would: implicitly.
    static object converted(A& a) { return a; }
    void clear() noexcept {
        if (std::exchange(full_, false)) object_.~object();
    }

    union {
        object object_; // alive if full_
    };
    bool full_ = false;
};

template <class Indices, bool TakesContext, class F, class... A>
class argument_list;
/// The arguments of a task's attempts. Lives in the frame of the call, longer than each of them.
template <std::size_t... I, bool TakesContext, class F, class... A>
class argument_list<std::index_sequence<I...>, TakesContext, F, A...> {
    static constexpr std::size_t skipped = TakesContext ? 1 : 0;
    template <std::size_t N>
    using parameter = typename decltype(decltype(parameters_of<F>())::template nth<N, skipped>())::type;

public:
    /// Calls f(arguments...).
    template <class G>
    decltype(auto) pass_to(const G& f, std::tuple<A...>& args) {
        return f(std::get<I>(passed_).pass(std::get<I>(args))...);
    }

private:
    std::tuple<passed_argument<parameter<I>, std::remove_reference_t<A>>...> passed_;
};
template <bool TakesContext, class F, class... A>
using arguments_of = argument_list<std::index_sequence_for<A...>, TakesContext, F, A...>;

}}} // namespace resilience::RESILIENCE_ABI::detail
