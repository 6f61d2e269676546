// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/path/callable.hpp>
#include <resilience/path/fast_path.hpp>
#include <resilience/path/task_driver.hpp>

#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// A view of a policy that adds a name, a deadline or a stop token to one call, or, if `Within`, places it
/// inside of another call. It borrows the policy and can be called as a temporary only.
template <class Policy, bool Within = false>
class call_view;
template <class Policy, class F>
class wrapped;

} // namespace detail

/// The call forms that every policy and pipeline has.
template <class Derived>
class composable {
public:
    /// Runs f(args...) or f(call_context&, args...) under the policy. The arguments are passed as
    /// lvalues to every attempt. Throws the user's exception unchanged, or our error; a result type that
    /// can carry an error gets ours without a throw.
    template <class F, class... A>
    RESILIENCE_INLINE detail::call_result<F, A...> operator()(F&& f, A&&... args) const {
        detail::check_types<detail::call_form::returns, F, A...>();
        return run<F, A...>(detail::plain_request, f, args...);
    }
    template <class F, class... A>
    RESILIENCE_INLINE detail::call_result<F, A...> call(F&& f, A&&... args) const {
        detail::check_types<detail::call_form::returns, F, A...>();
        return run<F, A...>(detail::plain_request, f, args...);
    }
    /// Like call(), but returns an outcome instead of throwing a failure or a rejection.
    template <class F, class... A>
    RESILIENCE_INLINE detail::try_result<F, A...> try_call(F&& f, A&&... args) const {
        detail::check_types<detail::call_form::tries, F, A...>();
        return try_run<F, A...>(detail::plain_request, f, args...);
    }
    /// A callable with f's call syntax that owns a copy of f and a handle of this policy.
    template <class F>
    detail::wrapped<Derived, std::decay_t<F>> wrap(F&& f) const {
        return {self(), std::forward<F>(f), {}, nullptr};
    }
    /// This policy for a call with a name, which events, logs and the context show.
    detail::call_view<Derived> named(std::string_view operation) const noexcept {
        return detail::call_view<Derived>(self(), operation);
    }
    /// This policy for a call with a deadline, a stop token, a priority, ... Throws std::invalid_argument if an option is
    /// out of its range.
    detail::call_view<Derived> with(call_options options) const {
        return detail::call_view<Derived>(self(), {}).with(std::move(options));
    }
    /// This policy for a call inside of another: it inherits deadline, stop token and retry depth.
    detail::call_view<Derived, true> with(const call_context& outer) const {
        return detail::call_view<Derived>(self(), {}).with(outer);
    }
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    detail::call_view<Derived> with(...) const = delete; // resilience: these are no call_options: a field is misspelt or of another type; with(call_options{...}) makes the compiler name it
    // clang-format on

private:
    template <class, bool>
    friend class detail::call_view;
    template <class, class>
    friend class detail::wrapped;
    friend Derived;

    composable() = default; // private: only Derived can derive from composable<Derived>
    const Derived& self() const noexcept { return static_cast<const Derived&>(*this); }

    // F and A are given explicitly, not deduced, so that they tell lvalues from rvalues.
    template <class F, class... A>
    RESILIENCE_INLINE auto run(const detail::call_request& request, std::type_identity_t<F>& f,
                               std::type_identity_t<A>&... args) const -> detail::call_result<F, A...> {
        using R = detail::call_result<F, A...>;
        using path = detail::path_of<Derived>;
        if constexpr (detail::is_refused<R> || !detail::has_good_types<F, A...>) {
            return detail::result_of_refused_call<R>();
        } else if constexpr (task<R>) {
            return run_as_task<detail::as_value<R>, F, A...>(request, f, args...);
        } else if constexpr (!path::template can_run<R, F, A...>) {
            path::template refuse<R, F, A...>();
            return detail::result_of_refused_call<R>();
        } else {
            detail::thrown_end thrown;
            {
                outcome<R> out;
                if (run_to_value<R, F, A...>(request, out, thrown, f, args...)) return out.take_value();
            }
            thrown.raise();
        }
    }
    /// True if the call leaves a value to be returned; else it ends with `thrown`.
    template <class R, class F, class... A>
    RESILIENCE_INLINE bool run_to_value(const detail::call_request& request, outcome<R>& out,
                                        detail::thrown_end& thrown, std::type_identity_t<F>& f,
                                        std::type_identity_t<A>&... args) const {
        using path = detail::path_of<Derived>;
        auto bound = path::template bind<F, A...>(f, args...);
        if constexpr (path::template is_inlined<F, A...>) {
            if (detail::is_unlimited(request)) [[likely]] {
                if (const auto permits = path::begin(self()); permits.all_given()) [[likely]] {
                    path::attempt(self(), permits, out, f, args...);
                    if (detail::succeeded(out)) [[likely]] {
                        path::succeed(self(), permits);
                        return true;
                    }
                    return path::resume_to_value(self(), out, path::template body_of<R, F, A...>(bound),
                                                 request, permits, thrown);
                }
            }
        }
        return path::fill_to_value(self(), out, path::template body_of<R, F, A...>(bound), request, thrown);
    }
    template <class F, class... A>
    RESILIENCE_INLINE auto try_run(const detail::call_request& request, std::type_identity_t<F>& f,
                                   std::type_identity_t<A>&... args) const -> detail::try_result<F, A...> {
        using R = detail::attempt_type<F, A...>;
        using path = detail::path_of<Derived>;
        if constexpr (!detail::has_good_types<F, A...>) {
            return detail::result_of_refused_call<detail::try_result<F, A...>>();
        } else if constexpr (task<R>) {
            return run_as_task<detail::as_outcome<R>, F, A...>(request, f, args...);
        } else if constexpr (!path::template can_run<R, F, A...>) {
            path::template refuse<R, F, A...>();
            return detail::result_of_refused_call<outcome<R>>();
        } else {
            auto bound = path::template bind<F, A...>(f, args...);
            return outcome<R>(detail::fill, [&](outcome<R>& out) RESILIENCE_INLINE_LAMBDA {
                if constexpr (path::template is_inlined<F, A...>) {
                    if (detail::is_unlimited(request)) [[likely]] {
                        if (const auto permits = path::begin(self()); permits.all_given()) [[likely]] {
                            path::attempt(self(), permits, out, f, args...);
                            if (detail::succeeded(out)) [[likely]]
                                return path::succeed(self(), permits);
                            return path::resume(self(), out, path::template body_of<R, F, A...>(bound),
                                                request, permits);
                        }
                    }
                }
                path::fill(self(), out, path::template body_of<R, F, A...>(bound), request);
            });
        }
    }
    template <class As, class F, class... A>
    auto run_as_task(const detail::call_request& request, std::type_identity_t<F>& f,
                     std::type_identity_t<A>&... args) const {
        return detail::path_of<Derived>::with(self(), [&](const auto&... p) {
            return detail::make_task<As, F, A...>(request, f, std::tie(args...), p...);
        });
    }
};

namespace detail {

template <class Policy, bool Within>
class [[nodiscard]] call_view {
public:
    call_view(const Policy& policy, std::string_view operation, std::optional<call_options> options = {},
              const call_context* parent = nullptr) noexcept
        : policy_(&policy), operation_(operation), options_(std::move(options)), parent_(parent) {}

    call_view named(std::string_view operation) && {
        operation_ = operation;
        return std::move(*this);
    }
    call_view with(call_options options) && {
        require_valid(options);
        options_ = std::move(options);
        return std::move(*this);
    }
    call_view<Policy, true> with(const call_context& outer) && {
        return {*policy_, operation_, std::move(options_), &outer};
    }
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    call_view with(...) && = delete; // resilience: these are no call_options: a field is misspelt or of another type; with(call_options{...}) makes the compiler name it
    // clang-format on

    template <class F, class... A>
    RESILIENCE_INLINE call_result<F, A...> operator()(F&& f, A&&... args) && {
        check_types<call_form::returns, F, A...>();
        return policy_->composable<Policy>::template run<F, A...>(request(), f, args...);
    }
    template <class F, class... A>
    RESILIENCE_INLINE call_result<F, A...> call(F&& f, A&&... args) && {
        check_types<call_form::returns, F, A...>();
        return policy_->composable<Policy>::template run<F, A...>(request(), f, args...);
    }
    template <class F, class... A>
    RESILIENCE_INLINE try_result<F, A...> try_call(F&& f, A&&... args) && {
        check_types<call_form::tries, F, A...>();
        return policy_->composable<Policy>::template try_run<F, A...>(request(), f, args...);
    }
    template <class F>
    wrapped<Policy, std::decay_t<F>> wrap(F&& f) && {
        static_assert(
            !Within,
            "resilience: a callable made by with(context).wrap() may outlive the context; wrap first, and "
            "let the callable take a call_context& where it needs one");
        return {*policy_, std::forward<F>(f), operation_, &options_};
    }

private:
    call_request request() const noexcept { return {operation_, options_ ? &*options_ : nullptr, parent_}; }

    const Policy* policy_;
    std::string_view operation_;
    std::optional<call_options> options_;
    const call_context* parent_;
};

template <class F, class... A>
constexpr bool gives_task = task<attempt_type<F, A...>>;

template <class F, class... A>
constexpr bool is_mutable_call = is_callable_again<F, A...> && !is_callable_again<const F, A...>;
template <class Policy, class F, class... A>
inline constexpr bool is_refused_callable<wrapped<Policy, F>, A...> = !is_callable_again<F, A...>;
template <class Policy, class F, class... A>
inline constexpr bool is_refused_callable<const wrapped<Policy, F>, A...> = !is_callable_again<const F, A...>;

/// The part of a `wrapped` that does not know the callable: compiled once for a policy.
template <class Policy>
struct wrapping {
    RESILIENCE_NOINLINE wrapping(const Policy& p, std::string_view name,
                                 const std::optional<call_options>* with)
        : policy(p), operation(name) {
        if (with != nullptr) options = *with;
    }
    wrapping(const wrapping&) = default;
    wrapping(wrapping&&) noexcept = default;
    wrapping& operator=(const wrapping&) = default;
    wrapping& operator=(wrapping&&) noexcept = default;
    RESILIENCE_NOINLINE ~wrapping() {} // NOLINT(modernize-use-equals-default): not inlined

    call_request request() const noexcept { return {operation, options ? &*options : nullptr, nullptr}; }

    Policy policy;
    std::string operation;
    std::optional<call_options> options;
};

template <class Policy, class F>
class wrapped {
public:
    template <class G>
    wrapped(const Policy& policy, G&& f, std::string_view operation,
            const std::optional<call_options>* options)
        : call_(policy, operation, options), f_(std::forward<G>(f)) {}

    template <class... A>
    decltype(auto) operator()(A&&... args)
        const& { // deduced return type: a named one would be instantiated while overloads are considered
        constexpr bool is_mutable = is_mutable_call<F, A...>;
        static_assert(!is_mutable, "resilience: the callable is mutable, so what wraps it cannot be const");
        if constexpr (!is_mutable) {
            check_types<call_form::returns, const F&, A...>();
            return call_.policy.composable<Policy>::template run<const F&, A...>(call_.request(), f_,
                                                                                 args...);
        } else {
            return result_of_refused_call<refused_call>();
        }
    }

    template <class... A>
        requires is_mutable_call<F, A...>
    decltype(auto) operator()(A&&... args) & {
        check_types<call_form::returns, F&, A...>();
        return call_.policy.composable<Policy>::template run<F&, A...>(call_.request(), f_, args...);
    }

    /// For a temporary `wrapped`: a task outlives it, so the task takes the callable along.
    template <class... A>
        requires is_callable_again<F, A...>
    decltype(auto) operator()(A&&... args) && {
        using used = std::conditional_t<gives_task<F, A...>, F, F&>;
        check_types<call_form::returns, used, A...>();
        return call_.policy.composable<Policy>::template run<used, A...>(call_.request(), f_, args...);
    }

private:
    wrapping<Policy> call_;
    F f_;
};

} // namespace detail
}} // namespace resilience::RESILIENCE_ABI
