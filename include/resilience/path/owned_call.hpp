// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <cstddef>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A copy of the object that a T& refers to, accessed as a T& again. Arrays are copied whole (a pointer into
/// the caller's frame would dangle), functions are referred to, objects are copied by their static type.
template <class T>
class held {
public:
    template <class From>
        requires(!std::is_same_v<std::remove_cvref_t<From>, held>)
    explicit held(From&& from) : value_(std::forward<From>(from)) {}
    T& get() noexcept { return value_; }

private:
    std::remove_cv_t<T> value_;
};
template <class T>
    requires std::is_function_v<T>
class held<T> {
public:
    explicit held(T& function) noexcept : function_(&function) {}
    T& get() noexcept { return *function_; }

private:
    T* function_;
};
template <class T, std::size_t N>
class held<T[N]> {
public:
    explicit held(T (&from)[N]) : held(from, std::make_index_sequence<N>{}) {}
    auto get() noexcept -> T (&)[N] { return values_; }

private:
    template <std::size_t... I>
    held(T (&from)[N], std::index_sequence<I...>) : values_{from[I]...} {}

    std::remove_cv_t<T> values_[N];
};

/// True if a held<> can be made of a T (an rvalue) or T& (an lvalue): by moving if `Once`, else by copying.
template <bool Once, class T>
inline constexpr bool can_be_held = [] {
    using object = std::remove_reference_t<T>;
    if constexpr (std::is_function_v<object>) return true;
    else if constexpr (std::is_array_v<object>)
        return std::is_copy_constructible_v<std::remove_extent_t<object>>;
    else if constexpr (Once && !std::is_lvalue_reference_v<T>)
        return std::is_move_constructible_v<std::remove_cv_t<object>>;
    else return std::is_copy_constructible_v<std::remove_cv_t<object>>;
}();

template <bool Once, class F, class... A>
inline constexpr bool can_be_owned = can_be_held<Once, F> && (can_be_held<Once, A> && ...);
/// Owns a callable and its arguments, for a thread that may go on after the caller has left. F and A are as a
/// forwarding reference deduces them. `Once` promises that it is made at most once for a call, so rvalues are
/// moved. Otherwise everything is copied, since another attempt may need it while this one still runs.
template <bool Once, class F, class... A>
class owned_call {
    static_assert(can_be_owned<Once, F, A...>); // the call form has said so, in words

public:
    owned_call(std::remove_reference_t<F>& f, std::tuple<std::remove_reference_t<A>&...> args)
        : f_(handed_over<F>(f)), args_(held_of(args)) {}

    std::remove_reference_t<F>& callable() noexcept { return f_.get(); }
    std::tuple<std::remove_reference_t<A>&...> arguments() noexcept {
        if constexpr (sizeof...(A) == 0) return {};
        else
            return std::apply(
                [](auto&... a) { return std::tuple<std::remove_reference_t<A>&...>(a.get()...); }, args_);
    }

private:
    using held_arguments = std::tuple<held<std::remove_reference_t<A>>...>;

    static held_arguments held_of([[maybe_unused]] const std::tuple<std::remove_reference_t<A>&...>& args) {
        if constexpr (sizeof...(A) == 0) return {};
        else return std::apply([](auto&... a) { return held_arguments(handed_over<A>(a)...); }, args);
    }
    template <class T>
    static decltype(auto) handed_over(std::remove_reference_t<T>& t) noexcept {
        using object = std::remove_reference_t<T>;
        if constexpr (Once && !std::is_lvalue_reference_v<T> && !std::is_array_v<object> &&
                      !std::is_function_v<object>)
            return std::move(t);
        else return (t);
    }

    held<std::remove_reference_t<F>> f_;
    held_arguments args_;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
