// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/result_traits.hpp>
#include <resilience/detail/immortal.hpp>
#include <resilience/detail/returned.hpp>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <variant>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The failure of an outcome that was never filled.
const failure& no_outcome() noexcept;

/// The part of an outcome that does not depend on R.
class outcome_storage {
public:
    outcome_storage(const outcome_storage&) = delete;
    outcome_storage& operator=(const outcome_storage&) = delete;

    bool has_failure() const noexcept { return content_ >= content::failing_value; }
    bool is_empty() const noexcept { return content_ == content::nothing; }
    /// The meaning of the stored value, as far as its type tells.
    detail::standing standing() const noexcept { return standing_; }
    /// The reason why there is no accepted value.
    const failure& why() const noexcept { return has_failure() ? failure_ : no_outcome(); }
    /// Makes the failure, if there is one, tell of the first of its call.
    void tell_first(const failure& first) noexcept;

    /// The exception of the failure, if it is one that was thrown; null otherwise. The outcome is good for nothing
    /// more than clear().
    std::exception_ptr take_exception() noexcept {
        return has_failure() ? failure_.take_exception() : nullptr;
    }

    /// The failure came at the limit of its attempt. Precondition: has_failure().
    void mark_timed_out() noexcept { failure_.mark_timed_out(); }

protected:
    enum class content : std::uint8_t { nothing, value, failing_value, failure };

    outcome_storage() noexcept {} // NOLINT(modernize-use-equals-default): the union stays empty
    ~outcome_storage() {
        if (has_failure()) [[unlikely]]
            destroy_failure();
    }
    /// Precondition of this and the two functions below: the value, if there was one, is destroyed.
    void drop_failure() noexcept {
        if (has_failure()) [[unlikely]]
            destroy_failure();
        content_ = content::nothing;
        standing_ = detail::standing::success;
    }
    /// Of a failure or a rejection.
    template <class Why>
    void keep_failure(Why&& why) noexcept {
        ::new (static_cast<void*>(std::addressof(failure_))) resilience::failure(std::forward<Why>(why));
        content_ = content::failure;
    }
#if RESILIENCE_EXCEPTIONS
    /// Keeps the exception that is being handled. The forced unwinding of a thread cannot be kept and is
    /// rethrown.
    void keep_current_exception(const std::exception* known);
#endif

    union {
        resilience::failure failure_; // alive if has_failure()
    };
    content content_ = content::nothing;
    detail::standing standing_ = detail::standing::success; // of the value; its type is asked once

private:
    void destroy_failure() noexcept;
};

struct fill_t {};
inline constexpr fill_t fill{};

/// Calls f(args...), or std::invoke for a pointer to member, and converts the result to R.
template <class R, class F, class... A>
RESILIENCE_INLINE R invoke_as(F& f, A&... args) {
    if constexpr (std::is_member_pointer_v<std::remove_cv_t<F>>)
        return static_cast<R>(std::invoke(f, args...));
    else return static_cast<R>(f(args...));
}

template <class R>
struct stored {
    using type = R;
};
template <class R>
struct stored<R&> {
    using type = R*;
};
template <>
struct stored<void> {
    using type = std::monostate;
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION const failure& no_outcome() noexcept {
    static constinit immortal<failure> none;
    return none.get();
}
#if RESILIENCE_EXCEPTIONS
RESILIENCE_COLD RESILIENCE_FUNCTION void outcome_storage::keep_current_exception(
    const std::exception* known) {
    auto exception = std::current_exception();
    if (exception == nullptr) throw;
    keep_failure(resilience::failure(std::move(exception), known));
}
#endif
RESILIENCE_COLD RESILIENCE_FUNCTION void outcome_storage::tell_first(
    const resilience::failure& first) noexcept {
    if (has_failure()) returned([&] { failure_.set_first(first); }); // without memory it is not told
}
RESILIENCE_COLD RESILIENCE_FUNCTION void outcome_storage::destroy_failure() noexcept { failure_.~failure(); }
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
