// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/error_condition.hpp>
#include <resilience/call/exception_mixins.hpp>
#include <resilience/call/rejection.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/detail/text.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <typeinfo>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The reason why a call gave no accepted value: the user's exception, a returned value that stands for a
/// failure, or a rejection by a policy. Looking at it is cheap: nothing is rethrown to find its type.
///
/// A failure made of a value refers to it: the value lives in the outcome (or the call) it came with.
class failure {
public:
    failure() noexcept = default;
    /// From any exception. It rethrows once to look for the std::exception inside.
    explicit failure(std::exception_ptr exception) noexcept : failure(std::move(exception), nullptr) {
        object_ = as<std::exception>();
    }
    /// From an exception whose std::exception is at hand: `known` is that, or null if the exception is none.
    /// `code` is the error code of an exception that carries one without being a std::system_error.
    failure(std::exception_ptr exception, const std::exception* known, std::error_code code = {}) noexcept
        : source_(source::exception), object_(known), exception_(std::move(exception)), code_(code) {}
    // Inlined, so that the rejection is not read in wide loads right after it was written field by field,
    // which would stall.
    RESILIENCE_INLINE failure(
        const rejection& r) noexcept // NOLINT(google-explicit-constructor): a rejection is a failure
        : source_(source::rejection), rejection_(r), code_(make_error_code(r.code)) {}

    /// Null for failing values and rejections (unless a timeout's make_exception provided one).
    std::exception_ptr exception() const noexcept { return exception_; }
    /// The exception as an E, or null if it is none. If a failing outcome was returned, this looks at the
    /// exception in it. If the attempt was asked to end at its limit, it looks at the error that the callable
    /// then gave.
    template <class E>
    const E* as() const noexcept;
    /// The failing (or, for predicates built by on_result, any) returned value, if it is exactly a V.
    template <class V>
    const V* value() const noexcept {
        return ops_ != nullptr && *ops_->type == typeid(V) ? static_cast<const V*>(object_) : nullptr;
    }
    /// Our errc for rejections; the code inside a std::system_error or a failing error code; else empty.
    std::error_code code() const noexcept;
    /// True if it is an exception that an E handler would catch.
    template <class E>
    bool exception_is() const noexcept {
        return (exception_ != nullptr || source_ == source::value) && as<E>() != nullptr;
    }
    /// True if a policy made the failure, not the callable.
    bool is_rejection() const noexcept { return source_ == source::rejection; }
    /// True if an attempt was made and failed. A refusal to make one is not real, nor is our own
    /// cancellation.
    bool is_real() const noexcept {
        return !is_rejection() || rejection_.code == errc::timed_out ||
               rejection_.code == errc::retries_exhausted;
    }
    /// True if it reports a cancellation: our errc::cancelled, any code that means
    /// std::errc::operation_canceled, or Asio's operation_aborted. A client's own time-out is none, whatever
    /// its code.
    bool is_cancellation() const noexcept { return !came_at_limit() && detail::is_cancellation(code()); }
    /// True if it is the client's own error, and the attempt had come to its limit.
    bool came_at_limit() const noexcept {
        const failure* held = held_failure();
        return timed_out_ || (held != nullptr && held->came_at_limit());
    }
    /// True if the attempt came to its limit without a value: our errc::timed_out, or the client's own error.
    bool has_timed_out() const noexcept {
        return came_at_limit() || code() == make_error_code(errc::timed_out);
    }
    /// The HTTP status that the exception or the value carries.
    std::optional<int> http_status() const noexcept;
    /// True if the exception or the value itself says that nothing was sent, false if it says that something
    /// may have been, empty if it does not say. retry_traits::known_not_sent() also judges codes and
    /// refusals.
    std::optional<bool> not_sent() const noexcept;
    /// A server's hint, or for rejections the time until it makes sense to come back.
    std::optional<duration> retry_after() const noexcept;
    /// A text for an operator. There always is one, if only to say that none is known.
    std::string message() const;
    /// The type of the exception, of our error, or of the failing value.
    std::string type_name() const;
    /// The type that type_name() names; null if the compiler does not tell.
    const std::type_info* type() const noexcept;
    /// The last real failure before a rejection that ended the call. Null if there was none.
    const failure* cause() const noexcept { return cause_.get(); }
    /// The policy that rejected; empty for the user's own failures.
    const std::string& policy() const noexcept { return rejection_.policy.str(); }
    /// Throws the user's exception unchanged, the error of a rejection, or for a value a std::system_error.
    [[noreturn]] void rethrow() const;

    /// Functions that read a failing value behind an untyped pointer.
    struct value_ops {
        const std::type_info* type;
        std::string (*message)(const void*);
        failure (*describe)(const void*);
        bool (*not_sent)(const void*) noexcept; ///< null if the type does not say
        /// Null if failing values of the type hold no failure of ours.
        const failure* (*inner)(const void*) noexcept = nullptr;
    };
    /// The failure inside a failing value that holds one, as an outcome does; else this one.
    const failure& innermost() const noexcept {
        const failure* held = held_failure();
        return held != nullptr ? held->innermost() : *this;
    }
    /// The rejection, if the failure is nothing else: it has no cause, and no exception stands in for it.
    /// Else null.
    const rejection* plain_rejection() const noexcept {
        return source_ == source::rejection && !exception_ && !cause_ ? &rejection_ : nullptr;
    }
    /// For result_traits: a failure that refers to `object`. A negative `hint` and a status of 0 mean that
    /// there is none.
    failure(const void* object, const value_ops& ops, std::error_code code, int http_status,
            duration hint) noexcept
        : source_(source::value), http_status_(http_status), object_(object), ops_(&ops), code_(code) {
        rejection_.retry_after = hint;
    }
    void refer_to(const void* object) noexcept {
        if (source_ == source::value) object_ = object;
    }
    void set_cause(const failure& cause);
    /// For drivers: the attempt came to its limit. The failure stays what it is, and is judged as a time-out.
    void mark_timed_out() noexcept { timed_out_ = true; }
    /// Makes the last real failure in `before` the cause of this refusal.
    void follow(const failure& before) {
        if (before.is_real()) set_cause(before);
        else if (before.cause_) cause_ = before.cause_;
    }
    void share_cause(const failure& other) noexcept { cause_ = other.cause_; }
    /// Sets the exception that is thrown for this rejection instead of our own error.
    void set_exception(std::exception_ptr exception) noexcept { exception_ = std::move(exception); }

private:
    enum class source : std::uint8_t { exception, value, rejection };

    const std::exception* known_exception() const noexcept {
        return source_ == source::exception ? static_cast<const std::exception*>(object_) : nullptr;
    }
    const failure* held_failure() const noexcept {
        return source_ == source::value && ops_->inner != nullptr ? ops_->inner(object_) : nullptr;
    }
    /// Of a time-out: the error that the callable gave when it was asked to end. Null if it gave none.
    const failure* error_at_limit() const noexcept {
        return source_ == source::rejection && rejection_.code == errc::timed_out ? cause_.get() : nullptr;
    }
    std::system_error value_error() const;
    const http_carrier* carrier() const noexcept {
        return source_ == source::exception ? as<http_carrier>() : nullptr;
    }

    source source_ = source::exception;
    bool timed_out_ = false; // marked by a driver
    int http_status_ = 0;
    const void* object_ = nullptr; // the std::exception inside exception_, or the value
    const value_ops* ops_ = nullptr;
    std::exception_ptr exception_;
    rejection rejection_{.code = errc{}};
    std::error_code code_;
    std::shared_ptr<const failure> cause_;
};

template <class E>
const E* failure::as() const noexcept {
    if (const auto* known = known_exception()) {
        if constexpr (std::is_base_of_v<std::exception, E>) {
            if (const auto* found = dynamic_cast<const E*>(known)) return found;
            return nullptr;
        } else if constexpr (std::is_polymorphic_v<E>) {
            return dynamic_cast<const E*>(known);
        }
    }
    if (const failure* held = held_failure()) return held->as<E>();
#if RESILIENCE_EXCEPTIONS
    if (exception_) {
        try {
            std::rethrow_exception(exception_);
        } catch (const E& e) {
            return std::addressof(e); // alive as long as exception_ is
        } catch (...) {               // NOLINT(bugprone-empty-catch): it is no E
        }
    }
#endif
    const failure* ended = error_at_limit();
    return ended != nullptr ? ended->as<E>() : nullptr;
}

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION std::optional<duration> failure::retry_after() const noexcept {
    if (const auto* http = carrier()) return http->retry_after();
    if (const auto* ours = dynamic_cast<const error*>(known_exception())) return ours->retry_after();
    if (rejection_.retry_after >= duration{0}) return rejection_.retry_after;
    return std::nullopt;
}

RESILIENCE_FUNCTION std::optional<int> failure::http_status() const noexcept {
    if (const auto* http = carrier()) return http->http_status();
    return http_status_ != 0 ? std::optional(http_status_) : std::nullopt;
}

RESILIENCE_FUNCTION std::optional<bool> failure::not_sent() const noexcept {
    if (const failure* held = held_failure()) return held->not_sent();
    if (source_ == source::value)
        return ops_->not_sent != nullptr ? std::optional(ops_->not_sent(object_)) : std::nullopt;
    if (const auto* carrier = as<not_sent_carrier>()) return carrier->not_sent();
    return std::nullopt;
}

RESILIENCE_FUNCTION std::error_code failure::code() const noexcept {
    if (const auto* known = known_exception()) {
        if (const auto* system = dynamic_cast<const std::system_error*>(known)) return system->code();
    }
    return code_;
}

/// An exception that stands for a failing value. It keeps only text, so the value may be destroyed.
RESILIENCE_FUNCTION std::system_error failure::value_error() const {
    const auto code = code_ ? code_ : std::make_error_code(std::errc::io_error);
    const auto text = message();
    return text == code.message() ? std::system_error(code) : std::system_error(code, text);
}

RESILIENCE_FUNCTION void failure::set_cause(const failure& cause) {
    auto kept = std::make_shared<failure>(cause.innermost());
    if (kept->source_ == source::value) { // the next attempt destroys the value: keep its text
        kept->exception_ = std::make_exception_ptr(kept->value_error());
        kept->source_ = source::exception;
        kept->object_ = nullptr;
        kept->ops_ = nullptr;
    }
    cause_ = std::move(kept);
}

RESILIENCE_COLD RESILIENCE_FUNCTION std::string failure::message() const {
    if (source_ == source::rejection) return rejection_.message();
    if (const auto* known = known_exception()) return detail::said(known->what());
    if (source_ == source::value) return ops_->message(object_);
    if (const auto* e = as<std::exception>()) return detail::said(e->what());
    if (const auto* text = as<std::string>()) return *text;
    return exception_ ? "an exception that is no std::exception" : "no outcome";
}

RESILIENCE_FUNCTION std::string failure::type_name() const {
    const std::type_info* known = type();
    return known != nullptr ? detail::type_name(*known) : "unknown";
}

RESILIENCE_COLD RESILIENCE_FUNCTION const std::type_info* failure::type() const noexcept {
    if (const failure* held = held_failure()) return held->type();
    if (source_ == source::value) return ops_->type;
    if (const auto* known = known_exception()) return &typeid(*known);
    if (source_ == source::rejection) {
        switch (rejection_.code) {
        case errc::circuit_open: return &typeid(circuit_open_error);
        case errc::timed_out: return &typeid(timeout_error);
        case errc::bulkhead_full: return &typeid(bulkhead_full_error);
        case errc::rate_limited: return &typeid(rate_limited_error);
        case errc::throttled: return &typeid(throttled_error);
        case errc::limit_exceeded: return &typeid(limit_exceeded_error);
        case errc::cancelled: return &typeid(cancelled_error);
        case errc::retries_exhausted: return &typeid(retries_exhausted_error);
        case errc::workers_exhausted: return &typeid(workers_exhausted_error);
        }
    }
    return detail::exception_type(exception_);
}

RESILIENCE_COLD RESILIENCE_FUNCTION void failure::rethrow() const {
#if RESILIENCE_EXCEPTIONS
    if (exception_) std::rethrow_exception(exception_);
#endif
    if (const failure* held = held_failure()) held->rethrow();
    if (source_ == source::value) detail::raise(value_error());
    if (source_ == source::exception) detail::raise(std::logic_error("resilience: no failure to rethrow"));
#if RESILIENCE_EXCEPTIONS
    if (cause_ && rejection_.code == errc::retries_exhausted) {
        try {
            cause_->rethrow();
        } catch (...) { // retries_exhausted_error nests what is being handled
            detail::raise_rejection(rejection_);
        }
    }
#endif
    detail::raise_rejection(rejection_);
}
#endif

}} // namespace resilience::RESILIENCE_ABI
