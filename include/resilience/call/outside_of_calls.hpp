// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>

#include <cstdint>
#include <optional>

namespace resilience { inline namespace RESILIENCE_ABI {
namespace detail {

/// Makes a call's context the current one on this thread while it lives: calls inside inherit from it.
class enclosing_call {
public:
    explicit enclosing_call(const call_context& ctx) noexcept : enclosing_call(&ctx, ctx.retry_depth()) {}
    enclosing_call(const enclosing_call&) = delete;
    enclosing_call& operator=(const enclosing_call&) = delete;
    ~enclosing_call() {
        this_threads_calls.around = outer_;
        this_threads_calls.retry_depth = outer_depth_;
    }

protected:
    enclosing_call(const call_context* ctx, unsigned depth) noexcept
        : outer_(this_threads_calls.around), outer_depth_(this_threads_calls.retry_depth) {
        this_threads_calls.around = reinterpret_cast<std::uintptr_t>(ctx);
        this_threads_calls.retry_depth = depth;
    }

private:
    // Two members, not one struct copy: copying both with one wide load would stall on the two stores just made
    // (store forwarding).
    std::uintptr_t outer_;
    unsigned outer_depth_;
};

/// While it lives, events that policies make without a context have the correlation of this call.
class correlated_call {
public:
    explicit correlated_call(const call_context& ctx) noexcept {
        if (!ctx.shares_correlation(call_context::current())) here_.emplace(ctx);
    }

private:
    std::optional<enclosing_call> here_;
};

} // namespace detail

/// While it lives, this thread is outside of all calls: what is called here inherits no deadline, no stop
/// request and no retry depth of a call that is running further up. For work that is not the call's own: jobs
/// of others that a thread runs while it waits (a nested event loop, an executor that lets the caller run
/// them), listeners, and clean-up that must run although the call's time is over.
///
///     void run_one_job() {
///         const rs::outside_of_calls scope;
///         queue.pop()();
///     }
///
/// It is for a block of one thread, and ends there: not across a co_await, which may resume on another thread. For
/// a single call there is `with({.inherit = inherit::nothing})`.
class [[nodiscard]] outside_of_calls : detail::enclosing_call {
public:
    outside_of_calls() noexcept : enclosing_call(nullptr, 0) {}
    ~outside_of_calls() { detail::this_threads_calls.repeats = outer_repeats_; }

private:
    unsigned outer_repeats_ = detail::this_threads_calls.repeats; // calls in here may count theirs
};

}} // namespace resilience::RESILIENCE_ABI
