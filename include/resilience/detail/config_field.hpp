// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <concepts>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <class V, class T>
inline constexpr bool suits_field = std::is_convertible_v<V, T>;
template <class V, class R, class... A>
inline constexpr bool suits_field<V, std::function<R(A...)>> =
    std::is_convertible_v<V, std::function<R(A...)>> && std::is_copy_constructible_v<std::decay_t<V>>;

/// The type of a value in braces, as in `recovery_backoff = {.factor = 3}`.
template <class T>
struct braced_value {
    using type = T;
};
template <class T>
    requires std::is_class_v<T>
struct braced_value<std::optional<T>> {
    using type = T;
};

/// A field of a config: a T (std::function, std::optional, std::variant) that refuses a wrong value in one sentence.
/// T's own assignment would list all of its overloads, some fifty lines of the standard library.
template <class T>
class config_field : public T {
public:
    constexpr config_field() = default;
    template <class V = typename braced_value<T>::type>
        requires(!std::same_as<std::remove_cvref_t<V>, config_field> && suits_field<V, T>)
    constexpr config_field(V&& value) : T(std::forward<V>(value)) {} // NOLINT: a T takes it, too
    template <class V = typename braced_value<T>::type>
        requires(!std::same_as<std::remove_cvref_t<V>, config_field> && suits_field<V, T>)
    constexpr config_field& operator=(V&& value) { // NOLINT: as that of T
        T::operator=(std::forward<V>(value));
        return *this;
    }
    // clang-format off: compilers show the line with its remark
    template <class V>
        requires(!std::same_as<std::remove_cvref_t<V>, config_field> && !suits_field<V, T>)
    config_field(V&&) = delete; // resilience: the field of this config has another type (a time is written as 5s, a callable takes and returns what the field's type says)
    // clang-format on
};

// The templates of std::optional would take one side for an optional and the other for a value.
template <class T>
constexpr bool operator==(const config_field<T>& a, const config_field<T>& b) {
    return static_cast<const T&>(a) == static_cast<const T&>(b);
}
template <class T, class V>
constexpr bool operator==(const config_field<std::optional<T>>& a, const std::optional<V>& b) {
    return static_cast<const std::optional<T>&>(a) == b;
}
template <class V, class T>
constexpr bool operator==(const std::optional<V>& a, const config_field<std::optional<T>>& b) {
    return b == a;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
