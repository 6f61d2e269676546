// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/rounded.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/config_field.hpp>
#include <resilience/detail/same_callable.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

// The description of a config is a function beside its struct, found by argument-dependent lookup:
//
//     void fields(retry_config& c, auto&& visit) {
//         visit("max_attempts", c.max_attempts);
//         visit("jitter_ratio", c.jitter_ratio, field_form::share);
//         ...
//     }
//
// It lists all fields in their order, except `name` and `labels`, which every policy has. The comparison of
// two configs, environment variables, JSON, the dashboard and the check of the docs read it. All of them see
// one type, field_list, so that a config costs a user's file one function, however many views there are.

namespace resilience { inline namespace RESILIENCE_ABI {

/// The value of a config's field for views: empty if unset, a number, yes or no, or a text. Durations are
/// texts with a unit, such as 1500ms.
using setting_value = std::variant<std::monostate, bool, std::uint64_t, double, std::string>;

/// The meaning of a number.
enum class field_form {
    plain,
    share, ///< part of a whole, from 0 to 1; 0.5 can also be written as 50%
};

/// Reads and writes values of a user's type as text. Specialise it for the type of a config's field:
///
///     static constexpr std::string_view accepted = "...";    // for complaints: "it must be ..."
///     static bool parse(std::string_view text, T& value);    // false if malformed; the value is then unchanged
///     static setting_value show(const T& value);             // parse() reads it back
///
/// An enum needs only a function beside it: `constexpr auto words_of(my_enum)`, which returns a std::array of
/// std::pair<std::string_view, my_enum>. The first word of a value is shown.
template <class T>
struct text_form;

class field_list;

/// A struct whose fields are described.
template <class T>
concept described = requires(T& config, field_list& visit) { fields(config, visit); };

namespace detail {

enum class field_type : std::uint8_t {
    whole,      ///< unsigned
    long_whole, ///< std::uint64_t
    number,     ///< double
    share,      ///< double
    time,       ///< duration
    yes_no,     ///< bool
    text,       ///< std::string
    word,       ///< an enum, see word_methods
    other,      ///< see text_methods
    parts,      ///< a struct with fields of its own, see part_methods
    hidden,     ///< callables, predicates, budgets, which have no text
};

/// For an enum or an optional enum. `unset` stands for an empty optional.
struct word_methods {
    static constexpr int unset = -1;
    struct word {
        std::string_view text;
        int value;
    };
    const word* words;
    std::size_t count;
    int (*get)(const void*);
    void (*set)(void*, int);
};
struct text_methods {
    std::string_view accepted;
    setting_value (*show)(const void*);
    bool (*parse)(std::string_view, void*);
    void (*unset)(void*);
    bool (*same)(const void*, const void*);
};
struct part_methods {
    const void* (*get)(const void*); ///< null if the optional is unset
    void* (*make)(void*);            ///< sets it, if it is unset
    void (*unset)(void*);
    void (*list)(void*, field_list&); ///< the fields of get()'s result; of null: their names and types
};
using same_method = bool (*)(const void*, const void*);

/// A field of a config, which must outlive this.
struct field {
    std::string_view name;
    field_type type;
    bool optional; ///< `value` is a std::optional of the type
    void* value;
    union {
        const word_methods* words;
        const text_methods* text;
        const part_methods* parts;
        same_method same; ///< of a hidden field
    };

    bool is_setting() const noexcept { return type != field_type::hidden; }
    /// The value; null if unset. T is the one that field_type names.
    template <class T>
    const T* get() const noexcept {
        if (!optional) return static_cast<const T*>(value);
        const auto& maybe = *static_cast<const std::optional<T>*>(value);
        return maybe ? &*maybe : nullptr;
    }
};

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
struct value_of {
    using type = T;
};
template <class T>
struct value_of<std::optional<T>> {
    using type = T;
};

template <class E>
concept has_words = requires(E value) { words_of(value); };
template <class T>
concept has_text_form = requires(const T& value) { text_form<T>::show(value); };

template <class E>
constexpr auto erased_words() {
    constexpr auto words = words_of(E{});
    std::array<word_methods::word, words.size()> erased{};
    for (std::size_t i = 0; i < words.size(); ++i)
        erased[i] = {words[i].first, static_cast<int>(words[i].second)};
    return erased;
}
template <class E>
inline constexpr auto words_table = erased_words<E>();

template <class T, class E = typename value_of<T>::type>
inline constexpr word_methods words_for{words_table<E>.data(), words_table<E>.size(),
                                        [](const void* p) {
                                            const T& value = *static_cast<const T*>(p);
                                            if constexpr (is_optional<T>)
                                                return value ? static_cast<int>(*value) : word_methods::unset;
                                            else return static_cast<int>(value);
                                        },
                                        [](void* p, int word) {
                                            if constexpr (is_optional<T>) {
                                                if (word == word_methods::unset)
                                                    return static_cast<T*>(p)->reset();
                                            }
                                            *static_cast<T*>(p) = static_cast<E>(word);
                                        }};
template <class T, class V = typename value_of<T>::type>
inline constexpr text_methods text_for{
    text_form<V>::accepted,
    [](const void* p) -> setting_value {
        const T& value = *static_cast<const T*>(p);
        if constexpr (is_optional<T>) return value ? text_form<V>::show(*value) : setting_value{};
        else return text_form<V>::show(value);
    },
    [](std::string_view text, void* p) {
        if constexpr (is_optional<T>) {
            V value{};
            if (!text_form<V>::parse(text, value)) return false;
            *static_cast<T*>(p) = std::move(value);
            return true;
        } else return text_form<V>::parse(text, *static_cast<T*>(p));
    },
    [](void* p) { *static_cast<T*>(p) = T{}; },
    [](const void* a, const void* b) { return *static_cast<const T*>(a) == *static_cast<const T*>(b); }};
template <class T, class V = typename value_of<T>::type, class List = field_list>
inline constexpr part_methods parts_for{[](const void* p) -> const void* {
                                            if constexpr (is_optional<T>) {
                                                const T& maybe = *static_cast<const T*>(p);
                                                return maybe ? &*maybe : nullptr;
                                            } else return p;
                                        },
                                        [](void* p) -> void* {
                                            if constexpr (is_optional<T>) {
                                                T& maybe = *static_cast<T*>(p);
                                                return maybe ? &*maybe : &maybe.emplace();
                                            } else return p;
                                        },
                                        [](void* p) { *static_cast<T*>(p) = T{}; },
                                        [](void* p, List& into) {
                                            if (p != nullptr) return fields(*static_cast<V*>(p), into);
                                            V none{};
                                            fields(none, into);
                                        }};
/// Compares with may_be_same() or == if the type has it, else by being set or not.
template <class T>
RESILIENCE_COLD bool same_hidden(const void* a, const void* b) {
    const T& x = *static_cast<const T*>(a);
    const T& y = *static_cast<const T*>(b);
    if constexpr (requires { may_be_same(x, y); }) return may_be_same(x, y);
    else if constexpr (requires {
                           { x == y } -> std::same_as<bool>;
                       })
        return x == y;
    else return static_cast<bool>(x) == static_cast<bool>(y);
}

} // namespace detail

/// The fields of one config, collected as a visitor of fields(). The config must outlive it.
class field_list {
public:
    static constexpr std::size_t most = 64;

    template <class T>
    void operator()(std::string_view name, detail::config_field<T>& value,
                    field_form form = field_form::plain) {
        (*this)(name, static_cast<T&>(value), form);
    }
    template <class T>
    void operator()(std::string_view name, T& value, field_form form = field_form::plain) {
        using detail::field_type;
        using V = typename detail::value_of<T>::type;
        detail::field& f = add(name, &value);
        f.optional = detail::is_optional<T>;
        if constexpr (std::same_as<V, unsigned>) f.type = field_type::whole;
        else if constexpr (std::same_as<V, std::uint64_t>) f.type = field_type::long_whole;
        else if constexpr (std::same_as<V, double>)
            f.type = form == field_form::share ? field_type::share : field_type::number;
        else if constexpr (std::same_as<V, duration>) f.type = field_type::time;
        else if constexpr (std::same_as<V, bool>) f.type = field_type::yes_no;
        else if constexpr (std::same_as<V, std::string>) f.type = field_type::text;
        else if constexpr (detail::has_text_form<V>) {
            f.type = field_type::other;
            f.text = &detail::text_for<T>;
        } else if constexpr (std::is_enum_v<V>) {
            static_assert(detail::has_words<V>,
                          "resilience: give the enum of this field a words_of() beside it");
            f.type = field_type::word;
            f.words = &detail::words_for<T>;
        } else if constexpr (described<V>) {
            f.type = field_type::parts;
            f.parts = &detail::parts_for<T>;
        } else {
            static_assert(
                !std::is_arithmetic_v<V> && !detail::is_duration<V>,
                "resilience: a number in a config is an unsigned, a std::uint64_t or a double, a time a "
                "resilience::duration; or give its type a text_form");
            f.type = field_type::hidden;
            f.optional = false;
            f.same = &detail::same_hidden<T>;
        }
    }

    const detail::field* begin() const noexcept { return all_.data(); }
    const detail::field* end() const noexcept { return all_.data() + count_; }
    const detail::field& operator[](std::size_t i) const noexcept { return all_[i]; }
    std::size_t size() const noexcept { return count_; }

private:
    detail::field& add(std::string_view name, void* value) {
        if (count_ == most) detail::raise(std::length_error("fields: a config has more than 64 of them"));
        all_[count_] = {name, detail::field_type::hidden, false, value, {}};
        return all_[count_++];
    }

    std::array<detail::field, most> all_;
    std::size_t count_ = 0;
};

}} // namespace resilience::RESILIENCE_ABI
