// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/path/callable.hpp>
#include <resilience/path/task_arguments.hpp>

#include <cstddef>
#include <functional>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A callable that returns tasks, with its arguments, as a call keeps them: it owns rvalues and refers to
/// lvalues.
template <class Task, class F, class... A>
class kept_task_call {
    static constexpr bool takes_context =
        context_callable<std::remove_reference_t<F>, std::remove_reference_t<A>...>;

public:
    kept_task_call(F&& f, A&&... args) : f_(std::forward<F>(f)), args_(std::forward<A>(args)...) {}
    // NOLINTNEXTLINE(performance-noexcept-move-constructor): the callable's may throw
    kept_task_call(kept_task_call&& other) : f_(std::forward<F>(other.f_)), args_(std::move(other.args_)) {}
    kept_task_call& operator=(kept_task_call&&) = delete;
    ~kept_task_call() = default;

    Task operator()(call_context& ctx) {
        const auto call = [&](auto&&... a) -> Task {
            if constexpr (takes_context)
                return static_cast<Task>(std::invoke(f_, ctx, std::forward<decltype(a)>(a)...));
            else return static_cast<Task>(std::invoke(f_, std::forward<decltype(a)>(a)...));
        };
        return passed_.pass_to(call, args_);
    }

private:
    F f_;
    std::tuple<A...> args_;
    arguments_of<takes_context, F, A...> passed_; // holds objects during an attempt only, not when moved
};

/// A kept_task_call behind a table of functions, so that drive_task is compiled once for each task type and
/// pipeline. It is stored in place, so that no call allocates for it. `Place` comes in steps, so that most
/// callables share one instantiation.
template <class Task, class Place>
class task_body {
public:
    template <class F, class... A>
    task_body(std::type_identity<kept_task_call<Task, F, A...>>, std::type_identity_t<F>&& f,
              std::type_identity_t<A>&&... args) {
        using call = kept_task_call<Task, F, A...>;
        static_assert(
            alignof(call) <= alignof(std::max_align_t),
            "resilience: a coroutine's callable cannot be aligned more strictly than std::max_align_t");
        ::new (static_cast<void*>(at())) call(std::forward<F>(f), std::forward<A>(args)...);
        functions_ = &functions_of<call>;
    }
    task_body(task_body&& other) { // NOLINT(performance-noexcept-move-constructor): the callable's may throw
        other.functions_->move(other.at(), at());
        functions_ = other.functions_;
    }
    task_body& operator=(task_body&&) = delete;
    ~task_body() { functions_->destroy(at()); }

    Task operator()(call_context& ctx) { return functions_->call(at(), ctx); }

private:
    struct functions {
        Task (*call)(void* at, call_context& ctx);
        void (*move)(void* from, void* to);
        void (*destroy)(void* at) noexcept;
    };
    template <class Call>
    static constexpr functions functions_of{
        [](void* at, call_context& ctx) -> Task { return (*static_cast<Call*>(at))(ctx); },
        [](void* from, void* to) { ::new (to) Call(std::move(*static_cast<Call*>(from))); },
        [](void* at) noexcept { static_cast<Call*>(at)->~Call(); }};

    std::byte* at() noexcept { return place_.bytes; }

    Place place_;
    const functions* functions_;
};

template <std::size_t Size, std::size_t Align>
struct task_place {
    alignas(Align) std::byte bytes[Size];
};
/// Sizes come in steps of 16 bytes. A stricter alignment than a pointer's is rare, and makes a step of its own.
template <class Call>
using place_for = task_place<(sizeof(Call) + 15) / 16 * 16,
                             (alignof(Call) > alignof(void*) ? alignof(Call) : alignof(void*))>;

}}} // namespace resilience::RESILIENCE_ABI::detail
