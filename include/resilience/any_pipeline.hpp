// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/function_ref.hpp>
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

namespace resilience::inline RESILIENCE_ABI {
namespace detail {

/// A per-call object behind a table of functions.
class erased_call {
public:
    virtual admission admit(call_context& ctx) = 0;
    virtual settlement settle(const attempt_result& result, call_context& ctx) = 0;
    virtual ~erased_call() = default;
};

/// A policy whose type is not known at compile time. Stepping ones make calls; surrounding ones enclose
/// a call whose result type they know by its type_info.
class erased_policy {
public:
    virtual ~erased_policy() = default;
    virtual const environment* env() const noexcept = 0;
    virtual bool is_surrounding() const noexcept { return false; }

    virtual erased_call* begin(void*, call_context&) const { return nullptr; }

    virtual const std::type_info* given() const noexcept { return nullptr; }
    virtual void around(void*, call_context&, function_ref<void(call_context&)>) const {}
    /// Takes a failure's place in a call that may not begin.
    virtual void replace(void*, call_context&) const {}
};

inline constexpr std::size_t erased_call_size = 160;

template <class P>
class erased_stepping final : public erased_policy {
    struct call final : erased_call {
        call(const P& policy, call_context& ctx) : inner(policy.begin(ctx)) {}
        admission admit(call_context& ctx) override { return inner.admit(ctx); }
        settlement settle(const attempt_result& result, call_context& ctx) override {
            return inner.settle(result, ctx);
        }
        decltype(std::declval<const P&>().begin(std::declval<call_context&>())) inner;
    };
    static_assert(sizeof(call) <= erased_call_size && alignof(call) <= alignof(std::max_align_t),
                  "resilience: the per-call object of this policy is too large for any_pipeline; keep it "
                  "within 150 bytes");

public:
    explicit erased_stepping(P policy) : policy_(std::move(policy)) {}
    const environment* env() const noexcept override { return environment_of(policy_); }
    erased_call* begin(void* where, call_context& ctx) const override {
        return ::new (where) call(policy_, ctx);
    }

private:
    P policy_;
};

template <class R, class P>
class erased_surrounding final : public erased_policy {
public:
    explicit erased_surrounding(P policy) : policy_(std::move(policy)) {}
    const environment* env() const noexcept override { return nullptr; }
    bool is_surrounding() const noexcept override { return true; }
    const std::type_info* given() const noexcept override { return &typeid(R); }
    void around(void* out, call_context& ctx, function_ref<void(call_context&)> rest) const override {
        policy_.around(*static_cast<outcome<R>*>(out), ctx, [&](outcome<R>&, call_context& c) { rest(c); });
    }

    void replace(void* out, call_context& ctx) const override {
        if constexpr (requires(outcome<R>& o) { policy_.replace(o, ctx); })
            policy_.replace(*static_cast<outcome<R>*>(out), ctx);
    }

private:
    P policy_;
};

/// The per-call objects of a run of stepping policies, seen from outside as one. What they decide is
/// what call_steps would let them decide: asked inwards, settled outwards.
class erased_calls {
public:
    static constexpr std::size_t most = 12;

    erased_calls(const std::shared_ptr<const erased_policy>* first, std::size_t count, call_context& ctx) {
        for (; count_ < count; ++count_) calls_[count_] = first[count_]->begin(places_[count_].bytes, ctx);
    }
    erased_calls(const erased_calls&) = delete;
    erased_calls& operator=(const erased_calls&) = delete;
    ~erased_calls() {
        while (count_ > 0) calls_[--count_]->~erased_call();
    }

    admission admit(call_context& ctx) {
        while (next_ < count_) {
            admission a = calls_[next_]->admit(ctx);
            if (a.what() == admission::kind::go) {
                ++next_;
                continue;
            }
            if (a.what() == admission::kind::wait) return a;
            if (a.what() == admission::kind::reject) {
                if (last_) a.why().follow(*last_);
                last_ = std::move(a.why());
                replaced_ = true;
            }
            const settlement s = settle_before(
                next_, last_ ? attempt_result(*last_) : attempt_result(nullptr, nullptr, verdict::success),
                ctx);
            if (s.what() != settlement::kind::retry)
                return replaced_ ? admission::reject(std::move(*last_)) : admission::stand();
            if (s.delay() > duration{0}) return admission::wait(s.delay());
        }
        return admission::go();
    }
    settlement settle(const attempt_result& result, call_context& ctx) {
        replaced_ = false;
        return settle_before(count_, result, ctx);
    }

private:
    /// Settles the calls before `end`, outwards. On `retry`, next_ is where to go on asking.
    settlement settle_before(std::size_t end, attempt_result result, call_context& ctx) {
        for (std::size_t i = end; i > 0; --i) {
            settlement s = calls_[i - 1]->settle(result, ctx);
            switch (s.what()) {
            case settlement::kind::finish: result.postpone(s.not_before()); break;
            case settlement::kind::retry:
                next_ = i - 1;
                if (!replaced_) last_.reset();
                if (const failure* why = result.error(); why != nullptr && !replaced_) last_ = *why;
                return s;
            case settlement::kind::replace: {
                const time_point not_before = result.not_before();
                last_ = std::move(s.why());
                replaced_ = true;
                result = attempt_result(*last_);
                result.postpone(not_before);
                break;
            }
            }
        }
        next_ = 0;
        if (replaced_) return settlement::replace(*last_);
        return settlement::finish_until(result.not_before());
    }

    struct place {
        alignas(std::max_align_t) std::byte bytes[erased_call_size];
    };
    place places_[most];
    erased_call* calls_[most];
    std::size_t count_ = 0;
    std::size_t next_ = 0;        // the one to ask next
    std::optional<failure> last_; // the failure that policies further out see, once it is not the slot's
    bool replaced_ = false;
};

struct erased_run {
    const std::shared_ptr<const erased_policy>* first;
    std::size_t count;
    erased_calls begin(call_context& ctx) const { return {first, count, ctx}; }
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
    static constexpr bool surrounds = true;

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
    std::size_t size() const noexcept { return policies_.size(); }

    // What follows is for drivers.

    const detail::environment* env() const noexcept { return env_; }
    template <class R, class Rest>
    void around(outcome<R>& out, call_context& ctx, Rest&& rest) const {
        require_given<R>();
        run_from(0, out, ctx, rest);
    }
    template <class R>
    void replace(outcome<R>& out, call_context& ctx) const {
        require_given<R>();
        for (auto p = policies_.rbegin(); p != policies_.rend(); ++p) (*p)->replace(&out, ctx);
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
                "at "
                "compile time. Use pipeline<...>.");
            return std::make_shared<detail::erased_surrounding<typename P::given_type, P>>(std::move(policy));
        }
    }
    void append(std::shared_ptr<const detail::erased_policy> p) {
        if (policies_.size() == detail::erased_calls::most)
            detail::raise(std::length_error("any_pipeline: no more than twelve policies"));
        if (const auto* next = p->env(); next != nullptr) {
            if (env_ != nullptr && env_ != next) {
                detail::raise(std::invalid_argument(
                    "any_pipeline: its policies belong to different registries; make them all in one"));
            }
            env_ = next;
        }
        policies_.push_back(std::move(p));
    }
    template <class R>
    void require_given() const {
        for (const auto& p : policies_) {
            if (const auto* given = p->given(); given != nullptr && *given != typeid(R)) {
                detail::raise(std::invalid_argument("any_pipeline: its fallback gives " +
                                                    detail::type_name(*given) + ", the call returns " +
                                                    detail::type_name(typeid(R))));
            }
        }
    }
    template <class R, class Rest>
    void run_from(std::size_t begin, outcome<R>& out, call_context& ctx, Rest& rest) const {
        std::size_t end = begin;
        while (end < policies_.size() && !policies_[end]->is_surrounding()) ++end;
        auto inside = [&](outcome<R>& o, call_context& c) {
            if (end == policies_.size()) {
                rest(o, c);
                return;
            }
            auto further = [&](call_context& cc) { run_from(end + 1, o, cc, rest); };
            policies_[end]->around(&o, c, further);
        };
        if (end == begin) {
            inside(out, ctx);
            return;
        }
        detail::typed_attempt<R, decltype(inside)> attempt(out, inside);
        detail::run_steps(attempt, ctx, detail::erased_run{policies_.data() + begin, end - begin});
    }

    std::vector<std::shared_ptr<const detail::erased_policy>> policies_;
    const detail::environment* env_ = nullptr;
};

} // namespace resilience::inline RESILIENCE_ABI
