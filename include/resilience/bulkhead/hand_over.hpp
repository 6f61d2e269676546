// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A hand-over of places that this thread is doing. It wakes calls, and a coroutine that is woken may run on in here, end,
/// and begin the next hand-over. So they nest, though not without bound: the stack would end.
class hand_over {
public:
    /// By that owner of places.
    explicit hand_over(const void* owner) noexcept : owner_(owner), outer_(innermost_) {
        innermost_ = this;
        ++nested_;
    }
    hand_over(const hand_over&) = delete;
    hand_over& operator=(const hand_over&) = delete;
    ~hand_over() {
        innermost_ = outer_;
        --nested_;
    }

    /// True if the owner has to leave a place that comes back to its hand-over further out on the stack: that is waking a
    /// call, and looks for the next one afterwards.
    static bool is_deep(const void* owner) noexcept {
        const hand_over* busy = nested_ < most_nested ? nullptr : innermost_;
        while (busy != nullptr && busy->owner_ != owner) busy = busy->outer_;
        return busy != nullptr;
    }

private:
    static constexpr unsigned most_nested = 16;
    static inline constinit thread_local hand_over* innermost_ = nullptr;
    static inline constinit thread_local unsigned nested_ = 0;

    const void* const owner_;
    hand_over* const outer_;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
