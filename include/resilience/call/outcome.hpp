// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/attempt_result.hpp>
#include <resilience/call/carried_rejection.hpp>
#include <resilience/call/outcome_storage.hpp>
#include <resilience/call/outcome_traits.hpp>
#include <resilience/call/result_traits.hpp>

#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The value of a call, or the failure that explains why there is none. It is movable if R is. An outcome of
/// a non-movable R stays where try_call made it.
template <class R>
class [[nodiscard]] outcome : private detail::outcome_storage {
    using stored = typename detail::stored<R>::type;
    static constexpr bool is_object = !std::is_void_v<R> && !std::is_reference_v<R>;
    static constexpr bool is_movable = std::is_move_constructible_v<stored>;
    static constexpr bool can_be_failing = detail::can_be_failing<R>;
    using seen = std::remove_cvref_t<R>; // the type that judges a result and that predicates see

public:
    using value_type = R;

    /// Runs `filler` on the new outcome in place, so that an outcome of an R that cannot move can be
    /// returned.
    template <class Filler>
    outcome(detail::fill_t, Filler&& filler) {
        filler(*this);
    }
    outcome() noexcept {} // NOLINT(modernize-use-equals-default): the union stays empty
    outcome(outcome&& other) noexcept(std::is_nothrow_move_constructible_v<stored>)
        requires is_movable
    {
        take_over(std::move(other));
    }
    outcome& operator=(outcome&& other) noexcept(std::is_nothrow_move_constructible_v<stored>)
        requires is_movable
    {
        if (this != &other) {
            clear();
            take_over(std::move(other));
        }
        return *this;
    }
    ~outcome() { drop_value(); }

    bool has_value() const noexcept { return content_ == content::value; }
    explicit operator bool() const noexcept { return has_value(); }

    /// The value. Throws the failure if there is none.
    std::add_lvalue_reference_t<R> value() & {
        require();
        return access();
    }
    std::add_lvalue_reference_t<std::add_const_t<R>> value() const& {
        require();
        return const_cast<outcome&>(*this).access();
    }
    R value() && {
        require();
        if constexpr (is_object) return std::move(value_);
        else return access();
    }
    /// The value. Precondition: has_value().
    std::add_lvalue_reference_t<R> operator*() & noexcept { return access(); }
    std::add_lvalue_reference_t<std::add_const_t<R>> operator*() const& noexcept {
        return const_cast<outcome&>(*this).access();
    }
    auto* operator->() noexcept
        requires is_object
    {
        return std::addressof(value_);
    }
    auto* operator->() const noexcept
        requires is_object
    {
        return std::addressof(value_);
    }
    /// The reason why there is no accepted value. Precondition: !has_value().
    const failure& error() const noexcept { return has_failure() ? failure_ : detail::no_outcome(); }

    // For drivers and policies.

    using detail::outcome_storage::has_failure;
    using detail::outcome_storage::is_empty;
    using detail::outcome_storage::standing;
    const detail::outcome_storage& storage() const noexcept { return *this; }
    detail::outcome_storage& storage() noexcept { return *this; }
    void clear() noexcept {
        drop_value();
        drop_failure();
    }
    void fail(failure why) noexcept {
        clear();
        keep_failure(std::move(why));
    }
    /// Makes the failure in place: moved, it would be read in wide loads right after it was written.
    void fail(const rejection& why) noexcept {
        clear();
        keep_failure(why);
    }
    /// Runs f(args...) and keeps the result. Precondition: is_empty(). The outcome stays empty if f throws.
    template <class F, class... A>
    RESILIENCE_INLINE void store_result(F&& f, A&... args) {
        if constexpr (std::is_void_v<R>) {
            detail::invoke_as<R>(f, args...);
            content_ = content::value;
        } else if constexpr (std::is_reference_v<R>) {
            value_ = std::addressof(detail::invoke_as<R>(f, args...));
            content_ = content::value;
        } else {
            ::new (static_cast<void*>(std::addressof(value_))) stored(detail::invoke_as<R>(f, args...));
            content_ = content::value;
        }
        if constexpr (can_be_failing) judge();
    }
    /// Runs f(), which stores a result, and keeps any exception that it throws.
    template <class F>
    RESILIENCE_INLINE void catch_from(F&& f) {
#if RESILIENCE_EXCEPTIONS
        try {
            f();
        } catch (const std::exception& e) {
            catch_current(&e);
        } catch (...) {
            catch_current(nullptr);
        }
#else
        f();
#endif
    }
    /// Runs f(args...) and keeps its result or its exception.
    template <class F, class... A>
    RESILIENCE_INLINE void run_and_store(F&& f, A&... args) {
#if RESILIENCE_EXCEPTIONS
        try {
            store_result(f, args...);
        } catch (const std::exception& e) {
            catch_current(&e);
        } catch (...) {
            catch_current(nullptr);
        }
#else
        store_result(f, args...);
#endif
    }
#if RESILIENCE_EXCEPTIONS
    /// Called in a catch block: makes the exception the outcome. `known` is the exception as a
    /// std::exception, or null. The forced unwinding of a thread that ends is rethrown.
    void catch_current(const std::exception* known) {
        if constexpr (can_be_failing) clear(); // the value may be stored already: judge() may have thrown
        keep_current_exception(known);
    }
#endif
    attempt_result result() const {
        if (has_failure() || is_empty()) return attempt_result(error());
        if constexpr (detail::shows_object<R>) {
            return attempt_result(std::addressof(**this), &detail::ops_of<seen>, standing_);
        } else {
            return attempt_result(nullptr, nullptr, detail::standing::success);
        }
    }
    /// True if take() throws.
    bool is_thrown() const noexcept {
        if (content_ != content::failure) return false;
        if constexpr (detail::carries_errors<R>) return !failure_.is_rejection();
        else return true;
    }
    /// Returns the value, accepted or failing. Returns a rejection in an R that can carry one. Throws any
    /// other failure. Precondition: !is_empty().
    R take() {
        if constexpr (detail::carries_errors<R>) {
            if (content_ == content::failure && !is_thrown()) return detail::carry<R>(failure_);
        }
        become_value();
        return take_value();
    }
    /// As take(), but leaves the value here for take_value().
    void become_value() {
        if (content_ != content::failure) [[likely]]
            return;
        if (is_thrown()) failure_.rethrow();
        if constexpr (detail::carries_errors<R>) {
            stored carried(detail::carry<R>(failure_));
            clear();
            ::new (static_cast<void*>(std::addressof(value_))) stored(std::move(carried));
            content_ = content::value;
        }
    }
    /// Returns the value. Precondition: there is one, accepted or failing.
    RESILIENCE_INLINE R take_value() {
        if constexpr (is_object) return static_cast<R&&>(value_);
        else return access();
    }

private:
    using content = detail::outcome_storage::content;

    bool holds_value() const noexcept {
        return content_ == content::value || content_ == content::failing_value;
    }
    void drop_value() noexcept {
        if constexpr (!std::is_trivially_destructible_v<stored>) {
            if (holds_value()) value_.~stored();
        }
    }
    void require() const {
        if (!has_value()) [[unlikely]]
            error().rethrow();
    }
    std::add_lvalue_reference_t<R> access() noexcept {
        if constexpr (std::is_void_v<R>) return;
        else if constexpr (std::is_reference_v<R>) return static_cast<R&>(*value_);
        else return value_;
    }
    /// Asks the value's type for its verdict.
    RESILIENCE_INLINE void judge() {
        standing_ = detail::standing_of_value<seen>(access());
        if (standing_ == detail::standing::failure) [[unlikely]]
            mark_failing();
    }
    RESILIENCE_COLD void mark_failing() {
        ::new (static_cast<void*>(std::addressof(failure_))) failure(detail::describe<seen>(access()));
        content_ = content::failing_value;
    }
    void take_over(outcome&& other) noexcept(std::is_nothrow_move_constructible_v<stored>) {
        if (other.holds_value()) {
            ::new (static_cast<void*>(std::addressof(value_))) stored(std::move(other.value_));
        }
        if (other.has_failure()) {
            ::new (static_cast<void*>(std::addressof(failure_))) failure(other.failure_);
            if constexpr (is_object) failure_.refer_to(std::addressof(value_));
        }
        content_ = other.content_;
        standing_ = other.standing_;
    }

    union {
        stored value_; // alive if content is value or failing_value
    };
};

}} // namespace resilience::RESILIENCE_ABI
