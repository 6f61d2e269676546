// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/path/task_slot.hpp>
#include <resilience/pipeline.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// The largest size of a per-call object, in bytes.
inline constexpr std::size_t erased_call_size = 160;
/// True if a per-call object has room there, behind its table of functions.
template <class Call>
inline constexpr bool has_place =
    sizeof(Call) + sizeof(void*) <= erased_call_size && alignof(Call) <= alignof(std::max_align_t);

/// A policy whose type is not known at compile time.
class erased_policy {
public:
    virtual ~erased_policy() = default;
    virtual const environment* env() const noexcept = 0;
    /// Makes the per-call object at `where`. Throws std::invalid_argument if this policy is for calls
    /// with another result.
    virtual erased_call* begin(void* where, call_context& ctx, call_slot& slot) const = 0;
};

template <class Make>
erased_call* place_call(void* where, const Make& make) {
    using call = std::invoke_result_t<const Make&>;
    if constexpr (has_place<call>) return ::new (where) erased_call_of<call>(make);
    else return nullptr; // any_pipeline::erase() refuses it
}

/// Throws the complaint about a fallback whose value is no result of the call.
[[noreturn]] void refuse_result(const std::type_info& given, const std::type_info& wanted);

using erased_policies = std::vector<std::shared_ptr<const erased_policy>>;

template <class P>
class erased_step_policy final : public erased_policy {
public:
    explicit erased_step_policy(P policy) : policy_(std::move(policy)) {}
    const environment* env() const noexcept override { return environment_of(policy_); }
    erased_call* begin(void* where, call_context& ctx, call_slot&) const override {
        return place_call(where, [&] { return policy_.begin(ctx); });
    }

private:
    P policy_;
};

/// A policy that replaces outcomes by a Given, for calls whose result or task is a Given.
template <class Given, class P>
class erased_fallback final : public erased_policy {
    using slot_type = typename decltype([] {
        if constexpr (task<Given>) return std::type_identity<task_slot<Given>>{};
        else return std::type_identity<typed_slot<Given>>{};
    }())::type;

public:
    explicit erased_fallback(P policy) : policy_(std::move(policy)) {}
    const environment* env() const noexcept override { return environment_of(policy_); }
    erased_call* begin(void* where, call_context& ctx, call_slot& slot) const override {
        auto* const typed = static_cast<slot_type*>(slot.as(typeid(slot_type)));
        if (typed == nullptr) {
            refuse_result(typeid(Given), slot.type());
        }
        return place_call(where, [&] { return policy_.begin(ctx, *typed); });
    }

private:
    P policy_;
};

/// The most policies of an any_pipeline.
inline constexpr std::size_t most_erased_calls = 12;
struct erased_place {
    alignas(std::max_align_t) std::byte bytes[erased_call_size];
};
/// Places on the stack of a blocking call, for as many as there may be.
struct places_on_stack {
    explicit places_on_stack(std::size_t) noexcept {} // they stay as they are
    erased_place all[most_erased_calls];
};
/// Places for as many as there are: a coroutine's frame would keep those of the others too.
struct places_of_task {
    explicit places_of_task(std::size_t count) : all(new erased_place[count]) {}
    std::unique_ptr<erased_place[]> all;
};

/// The per-call objects of policies that are known at run time only.
template <class Places>
class erased_calls {
public:
    erased_calls(const erased_policies& policies, call_context& ctx,
                 call_slot& slot)
        : erased_calls(policies.size()) { // complete from here on: if a begin() throws, the destructor runs
        for (const auto& p : policies) {
            calls_[count_] = p->begin(places_.all[count_].bytes, ctx, slot);
            ++count_;
        }
    }
    erased_calls(const erased_calls&) = delete;
    erased_calls& operator=(const erased_calls&) = delete;
    ~erased_calls() {
        while (count_ > 0) calls_[--count_]->~erased_call();
    }

    std::size_t size() const noexcept { return count_; }
    erased_call& operator[](std::size_t i) noexcept { return *calls_[i]; }

private:
    explicit erased_calls(std::size_t count) : places_(count) {}

    Places places_;
    erased_call* calls_[most_erased_calls];
    std::size_t count_ = 0;
};

} // namespace detail

/// A pipeline put together at run time, of one type whatever its policies are, for calls with any result. It
/// is made of policies and pipelines, the first listed outermost, or begins empty; `add` puts a policy inside of
/// all others. Without a policy a call runs its callable, in the environment of the global registry. A
/// call costs a few virtual calls more than with a pipeline and allocates nothing; as a task it makes one allocation for
/// what its policies keep of it.
///
/// A fallback must give exactly the result type of the call: `any_pipeline{fallback(std::string("none"))}`
/// is for calls that return std::string; another call throws std::invalid_argument before it runs.
class any_pipeline : public composable<any_pipeline> {
public:
    static constexpr std::size_t most_policies = detail::most_erased_calls;
    using calls = detail::erased_calls<detail::places_on_stack>;
    class for_tasks;

    any_pipeline() = default;
    template <class... P>
        requires(sizeof...(P) > 0 &&
                 !(std::same_as<P, any_pipeline> && ...) && // checked first: copying is not this
                 (detail::is_composable<P> && ...))
    explicit any_pipeline(P... policies) {
        (add(std::move(policies)), ...);
    }
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    explicit any_pipeline(...) = delete; // resilience: an any_pipeline is made of policies and pipelines, as in any_pipeline{retry(), timeout(2s)}
    // clang-format on

    /// Throws std::invalid_argument if the policy belongs to another registry, std::length_error beyond
    /// twelve policies. The pipeline must not be in use by another thread.
    template <class P>
        requires detail::is_composable<P>
    any_pipeline& add(P inner) {
        if constexpr (detail::is_pipeline<P>) {
            inner.with_policies([&](const auto&... p) { (add(p), ...); });
        } else {
            append(erase(std::move(inner)));
        }
        return *this;
    }
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    detail::refused_call add(...) = delete; // resilience: an any_pipeline is made of policies and pipelines, as in add(retry()).add(timeout(2s))
    // clang-format on
    std::size_t size() const noexcept { return policies_->size(); }

    // For drivers.

    const detail::environment* env() const noexcept { return env_; }
    calls begin(call_context& ctx, detail::call_slot& slot) const { return {*policies_, ctx, slot}; }

private:
    template <class P>
    static std::shared_ptr<const detail::erased_policy> erase(P policy) {
        if constexpr (detail::step_policy<P>) {
            static_assert(
                detail::has_place<decltype(policy.begin(std::declval<call_context&>()))>,
                "resilience: the per-call object of this policy is too large for any_pipeline; keep "
                "it within 150 bytes");
            return std::make_shared<detail::erased_step_policy<P>>(std::move(policy));
        } else {
            constexpr bool is_fallback = detail::replaces_outcome<P>;
            static_assert(
                is_fallback,
                "resilience: any_pipeline cannot hold this policy: it needs the callable or the result type "
                "at compile time. Use pipeline<...>.");
            if constexpr (is_fallback)
                return std::make_shared<detail::erased_fallback<typename P::given_type, P>>(
                    std::move(policy));
            else return nullptr;
        }
    }
    void append(std::shared_ptr<const detail::erased_policy> p);
    static std::shared_ptr<const detail::erased_policies> none();

    // Replaced as a whole, never changed: copies share it.
    std::shared_ptr<const detail::erased_policies> policies_ = none();
    const detail::environment* env_ = nullptr;
};

/// The policies, as the driver of coroutines keeps them.
class any_pipeline::for_tasks {
public:
    static constexpr std::size_t most_policies = any_pipeline::most_policies;
    using calls = detail::erased_calls<detail::places_of_task>;

    explicit for_tasks(const any_pipeline& of) : policies_(of.policies_), env_(of.env_) {}
    const detail::environment* env() const noexcept { return env_; }
    calls begin(call_context& ctx, detail::call_slot& slot) const { return {*policies_, ctx, slot}; }

private:
    std::shared_ptr<const detail::erased_policies> policies_;
    const detail::environment* env_;
};

#if RESILIENCE_BODIES
namespace detail {

RESILIENCE_COLD RESILIENCE_FUNCTION void refuse_result(const std::type_info& given,
                                                       const std::type_info& wanted) {
    raise(std::invalid_argument("any_pipeline: its fallback gives " + type_name(given) +
                                ", the call returns " + type_name(wanted)));
}

} // namespace detail

RESILIENCE_FUNCTION std::shared_ptr<const detail::erased_policies> any_pipeline::none() {
    return std::make_shared<detail::erased_policies>();
}
RESILIENCE_FUNCTION void any_pipeline::append(std::shared_ptr<const detail::erased_policy> p) {
    if (policies_->size() == most_policies)
        detail::raise(std::length_error("any_pipeline: no more than twelve policies"));
    if (const auto* next = p->env(); next != nullptr) {
        if (env_ != nullptr && env_ != next) {
            detail::raise(std::invalid_argument(
                "any_pipeline: its policies belong to different registries; make them all in one"));
        }
        env_ = next;
    }
    auto more = std::make_shared<detail::erased_policies>(*policies_);
    more->push_back(std::move(p));
    policies_ = std::move(more);
}
#endif

}} // namespace resilience::RESILIENCE_ABI
