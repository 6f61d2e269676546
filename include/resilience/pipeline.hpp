// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/path/composable.hpp>

#include <concepts>
#include <cstddef>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

namespace detail {

// A value, not the concept: a compiler explains at length why a concept does not hold.
template <class T>
constexpr bool is_policy = policy<T>;

/// Stands for what a pipeline cannot be made of. Its calls compile, so that one message is the only one. Never defined.
struct refused_policy {
    struct call {
        admission admit(call_context&);
        settlement settle(const attempt_result&, call_context&);
    };
    call begin(call_context&) const;
};

} // namespace detail

/// Policies around one another; the first listed is the outermost, as decorators read. Made with `a | b`,
/// which flattens pipelines on either side, or with `pipeline{a, b}`. Cheap to copy, thread-safe. All
/// policies must belong to one registry; the constructor throws std::invalid_argument otherwise.
template <class... P>
    requires(detail::is_policy<P> && ...)
class pipeline : public composable<pipeline<P...>> {
    static_assert(sizeof...(P) > 0, "resilience: a pipeline needs a policy");

public:
    explicit pipeline(P... policies) : policies_(std::move(policies)...) {
        const detail::environment* one = nullptr;
        std::apply([&](const auto&... p) { (agree(one, detail::environment_of(p)), ...); }, policies_);
    }
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    explicit pipeline(...) = delete; // resilience: a pipeline is made of policies (see the concept resilience::policy), as in pipeline{retry(), timeout(2s)}
    // clang-format on

    /// The I-th policy, 0 the outermost.
    template <std::size_t I>
    const auto& get() const noexcept {
        return std::get<I>(policies_);
    }

    template <class F>
    RESILIENCE_INLINE decltype(auto) with_policies(const F& f) const {
        return apply(f, std::index_sequence_for<P...>{});
    }

private:
    // Not std::apply: compilers do not inline it where it is called twice with the same function.
    template <class F, std::size_t... I>
    RESILIENCE_INLINE decltype(auto) apply(const F& f, std::index_sequence<I...>) const {
        return f(std::get<I>(policies_)...);
    }
    static void agree(const detail::environment*& one, const detail::environment* next) {
        if (next == nullptr) return;
        if (one != nullptr && one != next) {
            detail::raise(std::invalid_argument(
                "pipeline: its policies belong to different registries; make them all in one"));
        }
        one = next;
    }

    std::tuple<P...> policies_;
};
template <class... T>
    requires(!(detail::is_policy<T> && ...))
pipeline(T...) -> pipeline<detail::refused_policy>;

namespace detail {

template <class... P>
struct path_of<pipeline<P...>> : path_through<pipeline<P...>, P...> {};

template <class T>
inline constexpr bool is_pipeline = false;
template <class... P>
inline constexpr bool is_pipeline<pipeline<P...>> = true;

template <class T>
constexpr bool is_composable = is_policy<T> || is_pipeline<T>;

template <class P>
std::tuple<P> policies_in(P policy) {
    return {std::move(policy)};
}
template <class... P>
std::tuple<P...> policies_in(const pipeline<P...>& p) {
    return p.with_policies([](const auto&... each) { return std::tuple<P...>(each...); });
}

} // namespace detail

/// A pipeline of the policies of `outer` around those of `inner`.
template <class A, class B>
    requires detail::beside_a_policy<A, B> && detail::is_composable<A> && detail::is_composable<B>
auto operator|(const A& outer, const B& inner) {
    return std::apply([](auto... p) { return pipeline<decltype(p)...>(std::move(p)...); },
                      std::tuple_cat(detail::policies_in(outer), detail::policies_in(inner)));
}

}} // namespace resilience::RESILIENCE_ABI
