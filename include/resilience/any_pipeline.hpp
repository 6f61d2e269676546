// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/path/task_slot.hpp>
#include <resilience/pipeline.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// A per-call object behind a table of functions.
class erased_call {
public:
    virtual admission admit(call_context& ctx) = 0;
    virtual settlement settle(const attempt_result& result, call_context& ctx) = 0;
    virtual settlement never_began(const attempt_result& result, call_context& ctx) = 0;
    virtual ~erased_call() = default;
};

inline constexpr std::size_t erased_call_size = 160;

template <class Call>
class kept_erased final : public erased_call {
    static_assert(sizeof(Call) <= erased_call_size - sizeof(void*) &&
                      alignof(Call) <= alignof(std::max_align_t),
                  "resilience: the per-call object of this policy is too large for any_pipeline; keep it "
                  "within 150 bytes");

public:
    template <class Make>
    explicit kept_erased(const Make& make) : inner_(make()) {}
    admission admit(call_context& ctx) override { return inner_.admit(ctx); }
    settlement settle(const attempt_result& result, call_context& ctx) override {
        return inner_.settle(result, ctx);
    }
    settlement never_began(const attempt_result& result, call_context& ctx) override {
        return call_never_began(inner_, result, ctx);
    }

private:
    Call inner_;
};

/// A policy whose type is not known at compile time.
class erased_policy {
public:
    virtual ~erased_policy() = default;
    virtual const environment* env() const noexcept = 0;
    /// Makes the per-call object at `where`. Throws std::invalid_argument if this policy is for calls
    /// with another result.
    virtual erased_call* begin(void* where, call_context& ctx, call_slot& slot) const = 0;
};

using erased_policies = std::vector<std::shared_ptr<const erased_policy>>;

template <class P>
class erased_stepping final : public erased_policy {
public:
    explicit erased_stepping(P policy) : policy_(std::move(policy)) {}
    const environment* env() const noexcept override { return environment_of(policy_); }
    erased_call* begin(void* where, call_context& ctx, call_slot&) const override {
        return ::new (where) kept_erased<decltype(policy_.begin(ctx))>([&] { return policy_.begin(ctx); });
    }

private:
    P policy_;
};

/// A policy that gives answers of type Given: for calls with that result, or that return that task.
template <class Given, class P>
class erased_answering final : public erased_policy {
    using slot_type = typename decltype([] {
        if constexpr (task<Given>) return std::type_identity<task_slot<Given>>{};
        else return std::type_identity<typed_slot<Given>>{};
    }())::type;

public:
    explicit erased_answering(P policy) : policy_(std::move(policy)) {}
    const environment* env() const noexcept override { return environment_of(policy_); }
    erased_call* begin(void* where, call_context& ctx, call_slot& slot) const override {
        auto* const typed = static_cast<slot_type*>(slot.as(typeid(slot_type)));
        if (typed == nullptr) {
            raise(std::invalid_argument("any_pipeline: its fallback gives " + type_name(typeid(Given)) +
                                        ", the call returns " + type_name(slot.type())));
        }
        return ::new (where)
            kept_erased<decltype(policy_.begin(ctx, *typed))>([&] { return policy_.begin(ctx, *typed); });
    }

private:
    P policy_;
};

/// The per-call objects of policies that are known at run time only.
class erased_calls {
public:
    static constexpr std::size_t most = 12;

    erased_calls(const erased_policies& policies, call_context& ctx,
                 call_slot& slot)
        : erased_calls() { // whole from here on: the destructor ends those that were made if one throws
        for (const auto& p : policies) {
            calls_[count_] = p->begin(places_[count_].bytes, ctx, slot);
            ++count_;
        }
    }
    erased_calls(const erased_calls&) = delete;
    erased_calls& operator=(const erased_calls&) = delete;
    ~erased_calls() {
        while (count_ > 0) calls_[--count_]->~erased_call();
    }

    std::size_t size() const noexcept { return count_; }
    admission admit(std::size_t i, call_context& ctx) { return calls_[i]->admit(ctx); }
    settlement settle(std::size_t i, const attempt_result& result, call_context& ctx) {
        return calls_[i]->settle(result, ctx);
    }
    settlement never_began(std::size_t i, const attempt_result& result, call_context& ctx) {
        return calls_[i]->never_began(result, ctx);
    }

private:
    struct place {
        alignas(std::max_align_t) std::byte bytes[erased_call_size];
    };
    erased_calls() noexcept {} // NOLINT(modernize-use-equals-default): the places stay as they are

    place places_[most];
    erased_call* calls_[most];
    std::size_t count_ = 0;
};

/// A whole walk, seen from outside as one policy's per-call object.
class walk_as_call {
public:
    walk_as_call(const erased_policies& policies, call_context& ctx, call_slot& slot)
        : slot_(&slot), steps_(policies, ctx, slot) {}

    admission admit(call_context& ctx) {
        const step next =
            std::exchange(waits_, false) ? steps_.resume(*slot_, ctx) : steps_.begin(*slot_, ctx);
        switch (next) {
        case step::wait: waits_ = true; return admission::wait(steps_.delay());
        case step::done: return admission::stand(); // the slot says why
        case step::answer: answers_ = true; return admission::answer();
        case step::attempt: break;
        }
        return admission::go();
    }
    settlement settle(const attempt_result&, call_context& ctx) {
        return seen_outside(std::exchange(answers_, false) ? steps_.answered(*slot_, ctx)
                                                           : steps_.settle(*slot_, ctx));
    }
    settlement never_began(const attempt_result&, call_context& ctx) {
        return seen_outside(std::exchange(answers_, false) ? steps_.answered(*slot_, ctx)
                                                           : steps_.never_began(*slot_, ctx));
    }

private:
    settlement seen_outside(step next) {
        if (next == step::answer) {
            answers_ = true;
            return settlement::answer();
        }
        if (next == step::wait) {
            waits_ = true;
            return settlement::retry_after(steps_.delay());
        }
        return settlement::revise_until(steps_.not_before());
    }

    call_slot* slot_;
    call_steps<erased_calls> steps_;
    bool waits_ = false;   // for a delay: then the walk goes on where it stopped
    bool answers_ = false; // a task of a policy further in is awaited
};

} // namespace detail

/// A pipeline put together at run time, one type for all of them, for calls with any result. Made of
/// policies and pipelines, the first listed outermost; `add` puts one inside of all others. Costs a few
/// virtual calls more than a pipeline and allocates nothing per call.
///
/// A fallback must give exactly the result type of the call: `any_pipeline{fallback(std::string("none"))}`
/// is for calls that return std::string; another call throws std::invalid_argument before it runs.
class any_pipeline : public composable<any_pipeline> {
public:
    static constexpr bool answers = true;

    template <class... P>
        requires(sizeof...(P) > 0 &&
                 !(std::same_as<P, any_pipeline> && ...) && // asked first: copying is not this
                 ((policy<P> || detail::is_pipeline<P>) && ...))
    explicit any_pipeline(P... policies) {
        (add(std::move(policies)), ...);
    }

    /// Throws std::invalid_argument if it belongs to another registry, std::length_error beyond twelve.
    /// Not for a pipeline in use by another thread.
    template <class P>
        requires(policy<P> || detail::is_pipeline<P>)
    any_pipeline& add(P inner) {
        if constexpr (detail::is_pipeline<P>) {
            inner.with_policies([&](const auto&... p) { (add(p), ...); });
        } else {
            append(erase(std::move(inner)));
        }
        return *this;
    }
    std::size_t size() const noexcept { return policies_->size(); }

    // What follows is for drivers.

    const detail::environment* env() const noexcept { return env_; }
    detail::walk_as_call begin(call_context& ctx, detail::call_slot& slot) const {
        return {*policies_, ctx, slot};
    }
    template <class F>
    RESILIENCE_INLINE decltype(auto) with_policies(F&& f) const {
        return f(*this);
    }

private:
    template <class P>
    static std::shared_ptr<const detail::erased_policy> erase(P policy) {
        if constexpr (detail::stepping<P>) {
            return std::make_shared<detail::erased_stepping<P>>(std::move(policy));
        } else {
            static_assert(
                requires { typename P::given_type; },
                "resilience: any_pipeline cannot hold this policy: it needs the callable or the result type "
                "at compile time. Use pipeline<...>.");
            return std::make_shared<detail::erased_answering<typename P::given_type, P>>(std::move(policy));
        }
    }
    void append(std::shared_ptr<const detail::erased_policy> p) {
        if (policies_->size() == detail::erased_calls::most)
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
    // Replaced as a whole, never changed: copies share it.
    std::shared_ptr<const detail::erased_policies> policies_ = std::make_shared<detail::erased_policies>();
    const detail::environment* env_ = nullptr;
};

}} // namespace resilience::RESILIENCE_ABI
