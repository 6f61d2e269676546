// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/policy.hpp>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

namespace resilience::inline RESILIENCE_ABI::detail {

/// One run of the callable and its outcome, whatever their types: what a driver works on.
class attempt_slot {
public:
    /// Drops the outcome before and runs the callable; exceptions become the outcome.
    virtual void run(call_context& ctx) = 0;
    virtual attempt_result result() const = 0;
    virtual void fail(failure why) noexcept = 0;
    /// The next attempt was refused: the failure of the one before, if there was one, is the cause.
    virtual void refuse(failure why) noexcept = 0;
    /// The call keeps the outcome of the attempt before; one that never had any was cancelled.
    virtual void stand() noexcept = 0;

protected:
    ~attempt_slot() = default;
};

/// `Run` is called with (outcome<R>&, call_context&).
template <class R, class Run>
class typed_attempt final : public attempt_slot {
public:
    typed_attempt(outcome<R>& out, Run& run) noexcept : out_(&out), run_(&run) {}

    void run(call_context& ctx) override {
        out_->clear(); // a failing value that owns something is gone before the next attempt begins
        (*run_)(*out_, ctx);
    }
    void stand() noexcept override {
        if (out_->is_empty()) out_->fail(rejection{.code = errc::cancelled});
    }
    attempt_result result() const override { return out_->result(); }
    void fail(failure why) noexcept override { out_->fail(std::move(why)); }
    void refuse(failure why) noexcept override {
        if (out_->has_failure()) why.follow(out_->error());
        out_->fail(std::move(why));
    }

private:
    outcome<R>* out_;
    Run* run_;
};

template <std::size_t I, class Call>
struct kept_call {
    Call call;
};
template <class Indices, class... Call>
struct call_list;
/// A tuple whose elements are made in place, so that a per-call object need not be movable.
template <std::size_t... I, class... Call>
struct call_list<std::index_sequence<I...>, Call...> : kept_call<I, Call>... {
    template <class... Make>
    explicit call_list(Make&... make) : kept_call<I, Call>{make()}... {}
};

template <class Indices, class... T>
struct ticket_list;
/// A tuple of tickets: an aggregate, so that they are made in place and never copied.
template <std::size_t... I, class... T>
struct ticket_list<std::index_sequence<I...>, T...> : kept_call<I, T>... {};
template <class... P>
using tickets_of = ticket_list<std::index_sequence_for<P...>, typename P::ticket...>;
template <std::size_t I, class T>
RESILIENCE_INLINE const T& ticket(const kept_call<I, T>& list) noexcept {
    return list.call;
}

/// What a driver has to do next.
enum class step : std::uint8_t { attempt, wait, done };

/// The per-call objects of a pipeline, asked inwards and settled outwards. It decides what comes next
/// and never waits: how to wait is the driver's, so that one set of policies serves every driver.
template <class... Call>
class call_steps {
public:
    template <class... Make>
    explicit call_steps(Make&&... make) : calls_(make...) {}

    step begin(attempt_slot& attempt, call_context& ctx) { return admit_from<0>(attempt, ctx); }
    /// After the attempt has run.
    step settle(attempt_slot& attempt, call_context& ctx) {
        return settle_from<count>(attempt.result(), attempt, ctx);
    }
    /// After the wait: whoever asked for it is asked again.
    step resume(attempt_slot& attempt, call_context& ctx) { return resume_at<0>(attempt, ctx); }
    duration delay() const noexcept { return delay_; }

private:
    static constexpr std::size_t count = sizeof...(Call);

    template <std::size_t I>
    auto& at() noexcept {
        using call = std::tuple_element_t<I, std::tuple<Call...>>;
        return static_cast<kept_call<I, call>&>(calls_).call;
    }

    template <std::size_t I>
    step admit_from(attempt_slot& attempt, call_context& ctx) {
        if constexpr (I == count) {
            return step::attempt;
        } else {
            admission a = at<I>().admit(ctx);
            switch (a.what()) {
            case admission::kind::go: return admit_from<I + 1>(attempt, ctx);
            case admission::kind::wait: return wait_at<I>(a.delay());
            case admission::kind::reject: attempt.refuse(std::move(a.why())); break;
            case admission::kind::stand: attempt.stand(); break;
            }
            return settle_from<I>(attempt.result(), attempt, ctx);
        }
    }
    /// Settles the calls before I, from the inside outwards.
    template <std::size_t I>
    step settle_from(attempt_result result, attempt_slot& attempt, call_context& ctx) {
        if constexpr (I == 0) {
            return step::done;
        } else {
            settlement s = at<I - 1>().settle(result, ctx);
            switch (s.what()) {
            case settlement::kind::finish: result.postpone(s.not_before()); break;
            case settlement::kind::retry: return wait_at<I - 1>(s.delay());
            case settlement::kind::replace: {
                const time_point not_before = result.not_before();
                attempt.fail(std::move(s.why()));
                result = attempt.result();
                result.postpone(not_before);
                break;
            }
            }
            return settle_from<I - 1>(result, attempt, ctx);
        }
    }
    template <std::size_t I>
    step wait_at(duration delay) noexcept {
        delay_ = delay; // none: asked again all the same, from the driver's loop, so that no stack grows
        waiting_ = I;
        return step::wait;
    }
    template <std::size_t I>
    step resume_at(attempt_slot& attempt, call_context& ctx) {
        if constexpr (I == count) return step::done;
        else return waiting_ == I ? admit_from<I>(attempt, ctx) : resume_at<I + 1>(attempt, ctx);
    }

    call_list<std::index_sequence_for<Call...>, Call...> calls_;
    duration delay_{0};
    std::size_t waiting_ = 0;
};

} // namespace resilience::inline RESILIENCE_ABI::detail
