// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/outcome.hpp>
#include <resilience/path/callable.hpp>
#include <resilience/path/owned_call.hpp>

#include <memory>
#include <tuple>
#include <type_traits>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The callable of a call behind two pointers, so that the code that runs it is compiled once for each result
/// type. Valid while the call runs.
template <class R>
struct call_body {
    void* call; // the callable, or the bound_call, on the caller's stack
    void (*store)(void* call, outcome<R>& out, call_context& ctx);

    /// Runs the callable. Its result or its exception becomes the outcome.
    void run(outcome<R>& out, call_context& ctx) const {
        const auto run_and_store = [&] { store(call, out, ctx); };
        out.catch_from(run_and_store);
    }
};

template <class R, unsigned Copies>
class owned_body;
/// A call_body that can be copied, for pipelines with `Copies` policies that may outlive the call. Each of
/// them copies the callable for the work that it starts.
template <class R, unsigned Copies>
struct copyable_body : call_body<R> {
    std::unique_ptr<owned_body<R, Copies - 1>> (*copy)(void* call);
};
template <class R, unsigned Copies>
using body_for = std::conditional_t<Copies == 0, call_body<R>, copyable_body<R, Copies>>;

/// A callable with its arguments, owned.
template <class R, unsigned Copies>
class owned_body {
public:
    owned_body() noexcept = default;
    owned_body(const owned_body&) = delete;
    owned_body& operator=(const owned_body&) = delete;
    virtual ~owned_body() = default;
    virtual body_for<R, Copies> body() noexcept = 0;
};

/// The type as which F, F& and const F& share one store_call(): const F if F has a single call operator that can be
/// called so, else F. A const F may also be callable by a conversion to a function pointer: that is another function.
template <class F>
struct shared_callable {
    using type = F;
};
template <class F>
    requires requires(const F& f, call_context& ctx) {
        &F::operator();
        requires requires { f.operator()(); } || requires { f.operator()(ctx); };
    }
struct shared_callable<F> {
    using type = const F;
};

/// Runs the callable behind `call` and stores its result. Of all that a call compiles for one callable, only
/// this function and the inlined fast path know its type.
template <class R, class F>
void store_call(void* call, outcome<R>& out, call_context& ctx) {
    auto& f = *static_cast<F*>(call);
    if constexpr (context_callable<F>) out.store_result(f, ctx);
    else out.store_result(f);
}
template <class R, class F, class... A>
void store_bound_call(void* call, outcome<R>& out, call_context& ctx) {
    const auto& bound = *static_cast<bound_call<F, A...>*>(call);
    if constexpr (sizeof...(A) == 0) {
        if constexpr (context_callable<F>) out.store_result(bound.f, ctx);
        else out.store_result(bound.f);
    } else {
        std::apply(
            [&](A&... a) {
                if constexpr (context_callable<F, A...>) out.store_result(bound.f, ctx, a...);
                else out.store_result(bound.f, a...);
            },
            bound.args);
    }
}

/// The body of a callable without arguments.
template <class R, is_object_call F>
RESILIENCE_INLINE call_body<R> body_of(F& f) noexcept {
    using shared = typename shared_callable<F>::type;
    return {const_cast<std::remove_cv_t<F>*>(std::addressof(f)), &store_call<R, shared>};
}
template <class R, class F, class... A>
RESILIENCE_INLINE call_body<R> body_of(bound_call<F, A...>& bound) noexcept {
    return {&bound, &store_bound_call<R, F, A...>};
}

/// Tells if a call is copied once at most, or more often. A copy that is the only one moves the arguments
/// that were passed as rvalues.
struct copied_once : std::true_type {};
struct copied_again : std::false_type {};
template <class R, unsigned Copies, class Once, class F, class... A>
std::unique_ptr<owned_body<R, Copies - 1>> copy_call(void* call);

/// A body that can also be copied, if Copies is not 0. F and A are as a forwarding reference deduces them.
template <class R, unsigned Copies, class Once, class F, class... A>
body_for<R, Copies> body_to_copy(
    bound_call<std::remove_reference_t<F>, std::remove_reference_t<A>...>& bound) noexcept {
    if constexpr (Copies == 0) return body_of<R>(bound);
    else return {body_of<R>(bound), &copy_call<R, Copies, Once, F, A...>};
}

template <class R, unsigned Copies, class Once, class F, class... A>
class owned_body_of final : public owned_body<R, Copies> {
    using bound_type = bound_call<std::remove_reference_t<F>, std::remove_reference_t<A>...>;

public:
    explicit owned_body_of(const bound_type& bound)
        : owned_(bound.f, bound.args), bound_{owned_.callable(), owned_.arguments()} {}

    body_for<R, Copies> body() noexcept override {
        return body_to_copy<R, Copies, copied_again, std::remove_reference_t<F>&,
                            std::remove_reference_t<A>&...>(bound_);
    }

private:
    owned_call<Once::value, F, A...> owned_;
    bound_type bound_;
};

template <class R, unsigned Copies, class Once, class F, class... A>
std::unique_ptr<owned_body<R, Copies - 1>> copy_call(void* call) {
    using bound_type = bound_call<std::remove_reference_t<F>, std::remove_reference_t<A>...>;
    // A std::unique_ptr to the derived class would be one more type for each callable.
    return std::unique_ptr<owned_body<R, Copies - 1>>(
        new owned_body_of<R, Copies - 1, Once, F, A...>(*static_cast<bound_type*>(call)));
}

}}} // namespace resilience::RESILIENCE_ABI::detail
