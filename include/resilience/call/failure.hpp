// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/error_condition.hpp>
#include <resilience/call/exception_mixins.hpp>
#include <resilience/call/rejection.hpp>
#include <resilience/call/statement.hpp>
#include <resilience/call/value_ops.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/detail/text.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <typeinfo>

namespace resilience { inline namespace RESILIENCE_ABI {

namespace detail {
struct gone_value;
class failing_value_error;
} // namespace detail

/// The reason why a call gave no accepted value: the user's exception, a returned value that stands for a
/// failure, or a rejection by a policy. Looking at it is cheap: nothing is rethrown to find its type.
///
/// A failure made of a value refers to it: the value lives in the outcome (or the call) it came with.
class failure {
public:
    failure() noexcept : seen_{} {}
    /// Reads the error code of an exception that carries one without being a std::system_error. May be null.
    using code_reader = std::error_code (*)(const std::exception&);

    /// From any exception. Where the C++ library does not show what is inside of one, it rethrows once.
    explicit failure(std::exception_ptr exception) noexcept;
    /// From an exception whose std::exception is at hand: `known` is that, or null if the exception is none.
    failure(std::exception_ptr exception, const std::exception* known, code_reader read = nullptr) noexcept;
    // Inlined, so that the rejection is not read in wide loads right after it was written field by field,
    // which would stall.
    RESILIENCE_INLINE failure(
        const rejection& r) noexcept // NOLINT(google-explicit-constructor): a rejection is a failure
        : source_(source::rejection), refused_(r) {}

    /// Null for failing values and rejections (unless a timeout's make_exception provided one).
    std::exception_ptr exception() const noexcept { return exception_; }
    /// The exception as an E, else the first of the exceptions nested in it that is one, from the outside inwards; null if
    /// none is. Of a failing outcome, or a value whose error is a std::exception_ptr, this looks at the exception in it. If
    /// the attempt was asked to end at its limit, it looks at the error that the callable then gave.
    template <class E>
    const E* as() const noexcept;
    /// The failing (or, for predicates built by on_result, any) returned value, if it is exactly a V.
    template <class V>
    const V* value() const noexcept {
        return source_ == source::value && *seen_.ops->type == typeid(V) ? static_cast<const V*>(seen_.object)
                                                                         : nullptr;
    }
    /// Our errc for rejections; the code inside a std::system_error or a failing error code; else empty. This and the
    /// questions below are answered by the outermost exception that has an answer, nested ones included: whoever
    /// wraps an exception adds to it, and overrides only what the wrapper says itself.
    std::error_code code() const noexcept { return is_plain_value() ? seen_.code : code_inside(); }
    /// True if it is an exception that an E handler would catch, or one is nested in it.
    template <class E>
    bool exception_is() const noexcept {
        const bool has_exception =
            source_ != source::rejection || exception_ != nullptr || wrapped() != nullptr;
        return has_exception && as<E>() != nullptr;
    }
    /// True if a policy made the failure, not the callable.
    bool is_rejection() const noexcept { return source_ == source::rejection; }
    /// True if an attempt was made and failed. A refusal to make one is not real, nor is our own cancellation.
    bool is_real() const noexcept {
        return !is_rejection() || refused_.code == errc::timed_out || is_wrapper();
    }
    /// True if it reports a cancellation: our errc::cancelled, any code that means std::errc::operation_canceled, or
    /// Asio's operation_aborted. A client's own time-out is none, whatever its code.
    bool is_cancellation() const noexcept;
    /// True if it is the client's own error, and the attempt had come to its limit.
    bool came_at_limit() const noexcept {
        const failure* held = held_failure();
        return timed_out_ || (held != nullptr && held->came_at_limit());
    }
    /// True if it came to its limit without a value: our errc::timed_out, or the client's own error.
    bool has_timed_out() const noexcept {
        return came_at_limit() || code() == make_error_code(errc::timed_out);
    }
    /// The HTTP status that the exception or the value carries.
    std::optional<int> http_status() const noexcept;
    /// True if the exception or the value itself says that nothing was sent, false if it says that something may have
    /// been, empty if it does not say. retry_traits::known_not_sent() also judges codes and refusals.
    std::optional<bool> not_sent() const noexcept;
    /// True if the exception or the value says that its connection was dead before anything was sent.
    RESILIENCE_INLINE bool stale_connection() const noexcept { return !has_code_alone() && stale_inside(); }
    /// A server's hint, or for rejections the time until it makes sense to come back. Never negative.
    RESILIENCE_INLINE std::optional<duration> retry_after() const noexcept {
        return has_code_alone() ? std::nullopt : hint_inside();
    }
    /// True if the exception or the value says that the other side asks for no other attempt.
    RESILIENCE_INLINE bool forbids_retry() const noexcept { return !has_code_alone() && forbids_inside(); }
    /// True for a failing value whose type has a `judge` of its own in result_traits.
    bool is_judged_by_its_type() const noexcept;
    /// The idempotency of the operation, if the value tells.
    RESILIENCE_INLINE std::optional<resilience::idempotency> idempotency() const noexcept {
        return has_code_alone() ? std::nullopt : idempotency_inside();
    }
    /// A text for an operator. There always is one, if only to say that none is known.
    std::string message() const;
    /// The type of the exception, of our error, or of the failing value.
    std::string type_name() const;
    /// The type that type_name() names; null if the compiler does not tell.
    const std::type_info* type() const noexcept;
    /// The last real failure before a rejection that ended the call. Of an exception: the one nested in it; of a value
    /// whose error is a std::exception_ptr: that exception. Null if there is none.
    const failure* cause() const noexcept { return cause_.get(); }
    /// The first real failure of the call, where it differs from this one in type or text; else null. Later
    /// attempts may fail only since the first one did: it is the one to look into.
    const failure* first() const noexcept { return first_.get(); }
    /// The policy that rejected; empty for the user's own failures.
    const std::string& policy() const noexcept {
        return is_rejection() ? refused_.policy.str() : detail::name().str();
    }
    /// Throws the user's exception unchanged, the error of a rejection, or for a value a std::system_error.
    [[noreturn]] void rethrow() const;

    using value_ops = detail::value_ops;
    /// The failure inside a failing value that holds one, as an outcome does; else this one.
    const failure& innermost() const noexcept {
        const failure* held = held_failure();
        return held != nullptr ? held->innermost() : *this;
    }
    /// The failure that this one wraps: of an exception the nested one, of retries_exhausted the last attempt's. Null
    /// if it wraps none. A refusal wraps none: its cause is another attempt's.
    const failure* wrapped() const noexcept {
        return source_ == source::exception || is_wrapper() ? cause_.get() : nullptr;
    }
    /// The statement by which it is judged. Our own wrapper says only that attempts ran out, so it is passed by.
    detail::statement stated() const noexcept;
    /// Its code and whether it has a status of HTTP, without what is nested in it.
    std::error_code own_code() const noexcept;
    bool answers() const noexcept;
    /// The code by which it is judged; empty if an exception outside of the one with a code states something else.
    std::error_code judged_code() const noexcept { return is_plain_value() ? seen_.code : stated().code; }
    /// True for a failing value whose type answers no question but that for its code.
    bool has_code_alone() const noexcept { return source_ == source::value && !seen_.ops->says_more; }
    /// True for a failing value that holds no other failure: it has no exception to be looked through.
    bool is_plain_value() const noexcept {
        return source_ == source::value && seen_.ops->inner == nullptr && !exception_ && !cause_;
    }
    /// The rejection, if the failure is nothing else: it has no cause, and no exception stands in for it.
    /// Else null.
    const rejection* plain_rejection() const noexcept {
        return source_ == source::rejection && !exception_ && !cause_ ? &refused_ : nullptr;
    }
    /// For result_traits: a failure that refers to `object`. A negative `hint` and a status of 0 mean that
    /// there is none.
    failure(const void* object, const value_ops& ops, std::error_code code, int http_status,
            duration hint) noexcept
        : source_(source::value), http_status_(http_status), seen_{object, &ops, code, hint} {}
    /// For result_traits: judges the value by the exception that is its error. Without memory it is not seen.
    void hold(std::exception_ptr error) noexcept;
    void refer_to(const void* object) noexcept {
        if (source_ == source::value) seen_.object = object;
    }
    void set_cause(const failure& cause);
    /// For drivers: the attempt came to its limit. The failure stays what it is, and is judged as a time-out.
    void mark_timed_out() noexcept { timed_out_ = true; }
    /// Makes the last real failure in `before` the cause of this refusal.
    void follow(const failure& before);
    /// Makes the last failure of a call whose attempts ran out the cause; the first is that of `last`.
    void wrap(const failure& last);
    /// Keeps the call's first real failure, if it differs from this one in type or text.
    void set_first(const failure& first);
    /// A copy that needs neither the value nor the outcome that this failure refers to: it has their text.
    failure kept() const;
    /// The failing value's functions, if they and the code are enough to keep it; else null.
    const value_ops* plain_ops() const noexcept {
        return source_ == source::value && seen_.ops->text_is_of_code ? seen_.ops : nullptr;
    }
    /// True if the exception tells all: it nests none, and nobody had to read its code.
    bool is_exception_alone() const noexcept {
        return source_ == source::exception && exception_ != nullptr && !cause_ && !seen_.code && !timed_out_;
    }
    /// The copy that kept() makes of a value of a type with plain_ops().
    static failure kept_code(const value_ops& ops, std::error_code code);
    /// The std::exception inside the exception, if this failure is one; else null.
    const std::exception* known_exception() const noexcept {
        return source_ == source::exception ? static_cast<const std::exception*>(seen_.object) : nullptr;
    }
    void share_cause(const failure& other) noexcept {
        cause_ = other.cause_;
        first_ = other.first_;
    }
    /// Sets what is thrown for this rejection instead of our own error.
    void set_exception(std::exception_ptr exception) noexcept { exception_ = std::move(exception); }
    std::exception_ptr take_exception() noexcept { return std::move(exception_); }

private:
    enum class source : std::uint8_t { exception, value, rejection };
    static constexpr unsigned deepest = 32; // nested exceptions that are looked at
    /// An exception or a value, and what it says.
    struct reported {
        const void* object = nullptr;   // the std::exception inside exception_, or the value
        const value_ops* ops = nullptr; // of a value
        std::error_code code{};
        duration retry_after{-1}; // negative if it says nothing
    };

    /// True if it only says that attempts ran out.
    bool is_wrapper() const noexcept { return is_rejection() && refused_.code == errc::retries_exhausted; }
    std::error_code code_inside() const noexcept;
    bool stale_inside() const noexcept;
    bool forbids_inside() const noexcept;
    std::optional<duration> hint_inside() const noexcept;
    std::optional<resilience::idempotency> idempotency_inside() const noexcept;
    bool states_something(detail::statement& s) const noexcept;
    const failure* held_failure() const noexcept {
        if (source_ != source::value) return nullptr;
        return seen_.ops->inner != nullptr ? seen_.ops->inner(seen_.object) : cause_.get();
    }
    /// An exception that stands for a failing value, which may be destroyed then.
    detail::failing_value_error value_error() const;
    /// The exception that stood for a failing value of another call; null if it is none.
    const detail::failing_value_error* thrown_value() const noexcept;
    void stay_as(detail::gone_value value);
    std::string ends_of_the_call() const;
    [[noreturn]] void raise_exhausted() const;
    /// Of a time-out: the error that the callable gave when it was asked to end. Null if it gave none.
    const failure* error_at_limit() const noexcept {
        return is_rejection() && refused_.code == errc::timed_out ? cause_.get() : nullptr;
    }
    /// The exception itself as a mixin of ours; null if it has none.
    template <class Mixin>
    const Mixin* carrier() const noexcept {
        return source_ == source::exception ? own<Mixin>() : nullptr;
    }
    /// The exception itself as an E, without the nested ones.
    template <class E>
    const E* own() const noexcept;
    /// Looks for a nested exception, at most `depth` deep: a chain may be long, or bite its own tail.
    void look_inside(code_reader read, unsigned depth) noexcept;

    source source_ = source::exception;
    bool timed_out_ = false; // marked by a driver
    int http_status_ = 0;
    std::exception_ptr exception_;
    union { // small: it lies in the frame of every coroutine
        reported seen_;
        rejection refused_; // if source_ says so
    };
    // Of a value: the failure that it holds. Of a kept value: null, but it owns the object.
    std::shared_ptr<const failure> cause_;
    std::shared_ptr<const failure> first_;
};

template <class E>
const E* failure::as() const noexcept {
    if (source_ == source::rejection && exception_) { // what is found in it is alive as long as exception_ is
        if (const E* found = failure(exception_).as<E>()) return found;
    } else if (const E* found = own<E>()) {
        return found;
    }
    for (const failure* inside : {held_failure(), wrapped(), error_at_limit()}) {
        if (inside != nullptr) return inside->as<E>();
    }
    return nullptr;
}

template <class E>
const E* failure::own() const noexcept {
    if constexpr (detail::finds_exceptions && std::is_class_v<E>)
        return static_cast<const E*>(detail::exception_as(exception_, typeid(E)));
    if (const auto* known = known_exception()) {
        if constexpr (std::is_base_of_v<std::exception, E>) return dynamic_cast<const E*>(known);
        else if constexpr (std::is_polymorphic_v<E>) return dynamic_cast<const E*>(known);
    }
#if RESILIENCE_EXCEPTIONS
    if (!exception_) return nullptr;
    try {
        std::rethrow_exception(exception_);
    } catch (const E& e) {
        return std::addressof(e); // alive as long as exception_ is
    } catch (...) {
        return nullptr;
    }
#else
    return nullptr;
#endif
}

}} // namespace resilience::RESILIENCE_ABI

#if RESILIENCE_BODIES
#include <resilience/call/failure.ipp>
#endif
