// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/attempt_result.hpp>
#include <resilience/call/outcome_storage.hpp>
#include <resilience/call/outcome_traits.hpp>
#include <resilience/call/result_traits.hpp>
#include <resilience/detail/platform.hpp>

#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The value of a call, or why there is none. Movable if R is; one that holds a non-movable R stays
/// where try_call made it.
template <class R>
class [[nodiscard]] outcome : private detail::outcome_slot {
    using stored = typename detail::stored<R>::type;
    static constexpr bool is_object = !std::is_void_v<R> && !std::is_reference_v<R>;
    static constexpr bool is_movable = std::is_move_constructible_v<stored>;
    static constexpr bool can_be_failing = detail::can_be_failing<R>;
    using seen = std::remove_cvref_t<R>; // what a result is judged by, and shown as

public:
    using value_type = R;

    /// Made in place, so that an R that cannot move can be returned.
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

    /// The value; without one, throws what error() holds.
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
    /// Why there is no accepted value. Precondition: !has_value().
    const failure& error() const noexcept { return has_failure() ? failure_ : detail::no_outcome(); }

    // What follows is for drivers and policies.

    using detail::outcome_slot::has_failure;
    /// What the type says of the value that is there.
    verdict judged() const noexcept { return judged_; }
    bool is_empty() const noexcept { return content_ == content::nothing; }
    void clear() noexcept {
        drop_value();
        if (has_failure()) failure_.~failure();
        content_ = content::nothing;
        judged_ = verdict::success;
    }
    /// The same, made in place.
    RESILIENCE_INLINE void fail(const rejection& why) noexcept {
        clear();
        ::new (static_cast<void*>(std::addressof(failure_))) failure(why);
        content_ = content::failure;
    }
    void fail(failure why) noexcept {
        clear();
        ::new (static_cast<void*>(std::addressof(failure_))) failure(std::move(why));
        content_ = content::failure;
    }
    /// Runs f() and keeps what it returns; what it throws goes through.
    template <class F>
    RESILIENCE_INLINE void keep(F&& f) {
        keep_undescribed(f);
        describe();
    }
    /// The same, but a failing value is neither a value nor a failure until describe() is called.
    template <class F>
    RESILIENCE_INLINE void keep_undescribed(F&& f) {
        if constexpr (std::is_void_v<R>) {
            f();
            content_ = content::value;
        } else if constexpr (std::is_reference_v<R>) {
            value_ = std::addressof(static_cast<R&>(f()));
            content_ = content::value;
        } else {
            ::new (static_cast<void*>(std::addressof(value_))) stored(f());
            content_ = content::value;
        }
        if constexpr (can_be_failing) {
            judged_ = result_traits<seen>::judge(access());
            if (judged_ == verdict::failure) content_ = content::undescribed;
        }
    }
    /// What keep_undescribed() left to do.
    RESILIENCE_INLINE void describe() {
        if constexpr (can_be_failing) {
            if (is_undescribed()) mark_failing();
        }
    }
    bool is_undescribed() const noexcept { return content_ == content::undescribed; }
    /// Runs f() and keeps what it returns or throws.
    template <class F>
    RESILIENCE_INLINE void capture(F&& f) {
        capture_failure_of([&]() RESILIENCE_INLINE_LAMBDA { keep(f); });
    }
    template <class F>
    RESILIENCE_INLINE void capture_undescribed(F&& f) {
        capture_failure_of([&]() RESILIENCE_INLINE_LAMBDA { keep_undescribed(f); });
    }
    /// Runs f() and keeps what it throws, if it does.
    template <class F>
    RESILIENCE_INLINE void capture_failure_of(F&& f) {
#if RESILIENCE_EXCEPTIONS
        try {
            f();
        } catch (detail::forced_unwind&) { // a cancelled thread: never swallowed
            throw;
        } catch (const std::exception& e) {
            fail(failure(std::current_exception(), &e));
        } catch (...) {
            fail(failure(std::current_exception(), nullptr));
        }
#else
        f();
#endif
    }
    attempt_result result() const {
        if (has_failure() || is_empty()) return attempt_result(error());
        if constexpr (detail::shows_object<R>) {
            return attempt_result(std::addressof(**this), &detail::ops_of<seen>, judged_);
        } else {
            return attempt_result(nullptr, nullptr, verdict::success);
        }
    }
    /// The value, accepted or failing; a rejection in an R that can carry it; else throws. Precondition: !is_empty().
    R take() {
        if (has_failure()) [[unlikely]] {
            if (content_ != content::failing_value) {
                if constexpr (detail::carries_errors<R>) {
                    if (failure_.is_rejection()) return detail::carry<R>(failure_);
                }
                failure_.rethrow();
            }
        }
        if constexpr (is_object) return static_cast<R&&>(value_);
        else return access();
    }

private:
    using content = detail::outcome_slot::content;

    bool holds_value() const noexcept {
        return content_ >= content::value && content_ <= content::failing_value;
    }
    void drop_value() noexcept {
        if (holds_value()) value_.~stored();
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
    void mark_failing() {
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
        judged_ = other.judged_;
    }

    union {
        stored value_; // alive if content is value or failing_value
    };
};

}} // namespace resilience::RESILIENCE_ABI
