// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/outcome.hpp>
#include <resilience/call/rejection.hpp>
#include <resilience/config.hpp>

#include <exception>
#include <memory>
#include <new>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The rejection or the exception that a call ends with, taken out of its outcome. It is thrown where the call is
/// written, when the outcome is gone: unwinding costs by the frame and by what it destroys.
class thrown_end {
public:
    // The union is empty before take_from() and after raise().
    thrown_end() noexcept {} // NOLINT(modernize-use-equals-default)
    ~thrown_end() {}         // NOLINT(modernize-use-equals-default)
    thrown_end(const thrown_end&) = delete;
    thrown_end& operator=(const thrown_end&) = delete;

    /// False if the call returns, or throws something else.
    template <class R>
    RESILIENCE_INLINE bool take_from(outcome<R>& out) noexcept {
        return out.is_thrown() && take_failure(out.storage());
    }
    /// Precondition: take_from() was true.
    [[noreturn]] RESILIENCE_INLINE void raise() {
#if RESILIENCE_EXCEPTIONS
        std::rethrow_exception(exception_or_throw());
#else
        raise_rejection(refused_);
#endif
    }

private:
    bool take_failure(outcome_storage& out) noexcept;
#if RESILIENCE_EXCEPTIONS
    /// The exception. Throws a rejection as an error of ours.
    std::exception_ptr exception_or_throw();
#endif

    bool is_rejection_;
    union {
        rejection refused_;            // alive if is_rejection_
        std::exception_ptr exception_; // alive otherwise, until raise()
    };
};
#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION bool thrown_end::take_failure(outcome_storage& out) noexcept {
    const rejection* plain = out.why().plain_rejection();
    is_rejection_ = plain != nullptr;
    if (is_rejection_) {
        ::new (static_cast<void*>(std::addressof(refused_))) rejection(*plain);
        return true;
    }
#if RESILIENCE_EXCEPTIONS
    std::exception_ptr thrown = out.take_exception();
    if (thrown == nullptr) return false;
    ::new (static_cast<void*>(std::addressof(exception_))) std::exception_ptr(std::move(thrown));
    return true;
#else
    return false;
#endif
}
#if RESILIENCE_EXCEPTIONS
RESILIENCE_COLD RESILIENCE_FUNCTION std::exception_ptr thrown_end::exception_or_throw() {
    if (is_rejection_) raise_rejection(refused_);
    std::exception_ptr thrown = std::move(exception_);
    exception_.~exception_ptr(); // libc++ has copied it
    return thrown;
}
#endif
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
