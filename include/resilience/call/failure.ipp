// SPDX-License-Identifier: Apache-2.0
// The bodies of class failure, included by call/failure.hpp alone.

namespace resilience { inline namespace RESILIENCE_ABI {

RESILIENCE_FUNCTION failure::failure(std::exception_ptr exception) noexcept
    : source_(source::exception), exception_(std::move(exception)) {
    object_ = own<std::exception>();
    look_inside(nullptr, deepest);
}
RESILIENCE_FUNCTION failure::failure(std::exception_ptr exception, const std::exception* known,
                                     code_reader read) noexcept
    : source_(source::exception), object_(known), exception_(std::move(exception)) {
    look_inside(read, deepest);
}
RESILIENCE_FUNCTION void failure::look_inside(code_reader read, unsigned depth) noexcept {
    if (const auto* known = known_exception(); known != nullptr && read != nullptr)
        detail::returned([&] { code_ = read(*known); });
    const std::nested_exception* nest = depth > 0 ? own<std::nested_exception>() : nullptr;
    if (nest == nullptr || nest->nested_ptr() == nullptr) return;
    detail::returned([&] { // if there is no memory for it, it is not seen
        auto inside = std::make_shared<failure>();
        inside->exception_ = nest->nested_ptr();
        inside->object_ = inside->own<std::exception>();
        inside->look_inside(read, depth - 1);
        cause_ = std::move(inside);
    });
}
RESILIENCE_FUNCTION const failure& failure::unwrapped() const noexcept {
    const failure* seen = &innermost();
    while (seen->code() == errc::retries_exhausted) {
        const failure* inside = seen->wrapped();
        if (inside == nullptr) break;
        seen = inside;
    }
    return *seen;
}

RESILIENCE_FUNCTION std::optional<duration> failure::retry_after() const noexcept {
    if (const auto* http = carrier()) {
        if (const auto hint = http->retry_after()) return hint;
    } else if (const auto* ours = dynamic_cast<const error*>(known_exception())) {
        if (const auto hint = ours->retry_after()) return hint;
    }
    if (rejection_.retry_after >= duration{0}) return rejection_.retry_after;
    const failure* inside = wrapped();
    return inside != nullptr ? inside->retry_after() : std::nullopt;
}

RESILIENCE_FUNCTION std::optional<int> failure::http_status() const noexcept {
    if (const auto* http = carrier()) return http->http_status();
    if (http_status_ != 0) return http_status_;
    const failure* inside = wrapped();
    return inside != nullptr ? inside->http_status() : std::nullopt;
}

RESILIENCE_FUNCTION std::optional<bool> failure::not_sent() const noexcept {
    if (const failure* held = held_failure()) return held->not_sent();
    if (source_ == source::value)
        return ops_->not_sent != nullptr ? std::optional(ops_->not_sent(object_)) : std::nullopt;
    if (const auto* carrier = as<not_sent_carrier>()) return carrier->not_sent();
    const failure* inside = wrapped();
    return inside != nullptr ? inside->not_sent() : std::nullopt;
}

RESILIENCE_FUNCTION std::error_code failure::code() const noexcept {
    if (const auto* system = dynamic_cast<const std::system_error*>(known_exception())) {
        if (system->code()) return system->code();
    }
    if (code_) return code_;
    const failure* inside = wrapped();
    return inside != nullptr ? inside->code() : std::error_code{};
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

}} // namespace resilience::RESILIENCE_ABI
