// SPDX-License-Identifier: Apache-2.0
// The bodies of class failure, included by call/failure.hpp alone.

namespace resilience { inline namespace RESILIENCE_ABI {

namespace detail {

/// The words of a failing value that is gone.
struct gone_value {
    failure::value_ops ops; // they read this
    const std::type_info* type;
    std::string text;
    bool not_sent;
    bool stale;
    bool forbids_retry;
    std::optional<idempotency> operation;

    gone_value(const failure::value_ops& of, std::string said, bool unsent, bool dead, bool forbids = false,
               std::optional<idempotency> of_operation = {})
        : ops{&typeid(gone_value), [](const void* v) { return read(v).text; },
              [](const void*) { return failure(); }, nullptr},
          type(of.type), text(std::move(said)), not_sent(unsent), stale(dead), forbids_retry(forbids),
          operation(of_operation) {
        ops.has_own_judge = of.has_own_judge;
        ops.forbids_retry = [](const void* v) noexcept { return read(v).forbids_retry; };
        ops.idempotency_of = [](const void* v) noexcept { return read(v).operation; };
        if (of.not_sent != nullptr) ops.not_sent = [](const void* v) noexcept { return read(v).not_sent; };
        if (of.stale != nullptr) ops.stale = [](const void* v) noexcept { return read(v).stale; };
    }
    static const gone_value& read(const void* value) noexcept {
        return *static_cast<const gone_value*>(value);
    }
};

/// Stands for a failing value where an exception is needed. A failure made of it tells what the value told.
class RESILIENCE_VISIBLE failing_value_error final : public std::system_error {
public:
    failing_value_error(std::error_code code, std::shared_ptr<const gone_value> gone,
                        std::optional<int> status, std::optional<duration> hint)
        : std::system_error(code_of(code)), value(std::move(gone)), http_status(status), retry_after(hint) {}
    failing_value_error(std::error_code code, const std::string& text, std::shared_ptr<const gone_value> gone,
                        std::optional<int> status, std::optional<duration> hint)
        : std::system_error(code_of(code), text), value(std::move(gone)), http_status(status),
          retry_after(hint) {}

    std::shared_ptr<const gone_value> value;
    std::optional<int> http_status;
    std::optional<duration> retry_after;
    bool came_at_limit = false;

private:
    static std::error_code code_of(std::error_code code) noexcept {
        return code ? code : std::make_error_code(std::errc::io_error);
    }
};

} // namespace detail

RESILIENCE_FUNCTION failure::failure(std::exception_ptr exception) noexcept
    : exception_(std::move(exception)), seen_{} { // NOLINT(bugprone-throw-keyword-missing): a member
    seen_.object = own<std::exception>();
    look_inside(nullptr, deepest);
}
RESILIENCE_FUNCTION failure::failure(std::exception_ptr exception, const std::exception* known,
                                     code_reader read) noexcept
    : exception_(std::move(exception)), seen_{} { // NOLINT(bugprone-throw-keyword-missing): a member
    seen_.object = known;
    look_inside(read, deepest);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void failure::hold(std::exception_ptr error) noexcept {
    detail::returned([&] {
        const auto held = std::make_shared<const failure>(std::move(error));
        seen_.code = held->code();
        seen_.retry_after = held->retry_after().value_or(duration{-1});
        http_status_ = held->http_status().value_or(0);
        cause_ = held;
    });
}
RESILIENCE_FUNCTION void failure::look_inside(code_reader read, unsigned depth) noexcept {
    if (const auto* known = known_exception(); known != nullptr && read != nullptr)
        detail::returned([&] { seen_.code = read(*known); });
    if (const auto* value = thrown_value()) {
        http_status_ = value->http_status.value_or(0);
        seen_.retry_after = value->retry_after.value_or(duration{-1});
        timed_out_ = value->came_at_limit;
        return;
    }
    const std::nested_exception* nest = depth > 0 ? own<std::nested_exception>() : nullptr;
    if (nest == nullptr || nest->nested_ptr() == nullptr) return;
    detail::returned([&] { // if there is no memory for it, it is not seen
        auto inside = std::make_shared<failure>();
        inside->exception_ = nest->nested_ptr();
        inside->seen_.object = inside->own<std::exception>();
        inside->look_inside(read, depth - 1);
        cause_ = std::move(inside);
        const auto* exhausted = dynamic_cast<const retries_exhausted_error*>(nest);
        if (exhausted == nullptr) return;
        timed_out_ = exhausted->came_at_limit;
        if (exhausted->first != nullptr) first_ = std::make_shared<const failure>(exhausted->first);
    });
}
RESILIENCE_FUNCTION bool failure::is_cancellation() const noexcept {
    if (came_at_limit()) return false;
    if (is_plain_value()) return detail::is_cancellation(seen_.code);
    const auto s = stated();
    return s.what != detail::statement::kind::limit && detail::is_cancellation(s.code);
}
RESILIENCE_FUNCTION detail::statement failure::stated() const noexcept {
    detail::statement s;
    for (const failure* seen = &innermost(); seen != nullptr; seen = seen->wrapped()) {
        if (!seen->states_something(s)) continue;
        s.by = seen;
        break;
    }
    return s;
}
/// Asks this failure alone, after those that wrap it.
RESILIENCE_FUNCTION bool failure::states_something(detail::statement& s) const noexcept {
    using kind = detail::statement::kind;
    const auto states = [&s](kind what) {
        s.what = what;
        return true;
    };
    const bool is_first_code = !s.code;
    if (const auto code = own_code(); is_first_code && code != errc::retries_exhausted) s.code = code;
    if (timed_out_) return states(kind::limit);
    if (carrier<verdict_carrier>() != nullptr) return states(kind::verdict);
    if (is_first_code && (s.code.category() == error_category() || detail::is_cancellation(s.code)))
        return states(kind::code);
    if (is_judged_by_its_type()) return states(kind::type);
    if (answers() && !s.no_answer) return states(kind::status);
    if (carrier<http_carrier>() != nullptr) s.no_answer = true;
    return carrier<std::bad_alloc>() != nullptr && states(kind::memory);
}

RESILIENCE_FUNCTION std::optional<duration> failure::hint_inside() const noexcept {
    if (const auto* said = carrier<hint_carrier>()) {
        if (const auto hint = said->retry_after(); hint && *hint >= duration{0}) return hint;
    } else if (const auto* ours = dynamic_cast<const error*>(known_exception())) {
        if (const auto hint = ours->retry_after()) return hint;
    }
    if (const duration own = is_rejection() ? refused_.retry_after : seen_.retry_after; own >= duration{0})
        return own;
    const failure* inside = wrapped();
    return inside != nullptr ? inside->retry_after() : std::nullopt;
}

RESILIENCE_FUNCTION bool failure::forbids_inside() const noexcept {
    if (const failure* held = held_failure()) return held->forbids_retry();
    if (source_ == source::value)
        return seen_.ops->forbids_retry != nullptr && seen_.ops->forbids_retry(seen_.object);
    if (const auto* value = thrown_value()) return value->value->forbids_retry;
    if (const auto* said = carrier<hint_carrier>()) {
        if (said->forbids_retry()) return true;
        if (said->retry_after().value_or(duration{-1}) >= duration{0}) return false; // it says when
    }
    const failure* inside = wrapped();
    return inside != nullptr && inside->forbids_retry();
}

RESILIENCE_FUNCTION std::optional<idempotency> failure::idempotency_inside() const noexcept {
    if (const failure* held = held_failure()) return held->idempotency();
    if (source_ == source::value)
        return seen_.ops->idempotency_of != nullptr ? seen_.ops->idempotency_of(seen_.object) : std::nullopt;
    if (const auto* value = thrown_value()) return value->value->operation;
    const failure* inside = wrapped();
    return inside != nullptr ? inside->idempotency() : std::nullopt;
}

RESILIENCE_FUNCTION bool failure::is_judged_by_its_type() const noexcept {
    if (source_ == source::value) return seen_.ops->has_own_judge;
    const auto* value = thrown_value();
    return value != nullptr && value->value->ops.has_own_judge;
}

RESILIENCE_FUNCTION bool failure::answers() const noexcept {
    const auto* http = carrier<http_carrier>();
    return (http != nullptr ? http->http_status() : http_status_) > 0;
}
RESILIENCE_FUNCTION std::optional<int> failure::http_status() const noexcept {
    if (const auto* http = carrier<http_carrier>()) return http->http_status();
    if (http_status_ != 0) return http_status_;
    const failure* inside = wrapped();
    return inside != nullptr ? inside->http_status() : std::nullopt;
}

RESILIENCE_FUNCTION std::optional<bool> failure::not_sent() const noexcept {
    if (const failure* held = held_failure()) return held->not_sent();
    if (source_ == source::value)
        return seen_.ops->not_sent != nullptr ? std::optional(seen_.ops->not_sent(seen_.object))
                                              : std::nullopt;
    if (const auto* value = thrown_value())
        return value->value->ops.not_sent != nullptr ? std::optional(value->value->not_sent) : std::nullopt;
    if (const auto* carrier = own<not_sent_carrier>()) return carrier->not_sent();
    const failure* inside = answers() ? nullptr : wrapped(); // an answer is one to something that was sent
    return inside != nullptr ? inside->not_sent() : std::nullopt;
}

RESILIENCE_FUNCTION bool failure::stale_inside() const noexcept {
    if (const failure* held = held_failure()) return held->stale_connection();
    if (source_ == source::value) return seen_.ops->stale != nullptr && seen_.ops->stale(seen_.object);
    if (const auto* value = thrown_value()) return value->value->stale;
    if (const auto* carrier = own<stale_connection_carrier>()) return carrier->stale_connection();
    const failure* inside = wrapped();
    detail::statement own; // of this one alone: it counts more than the connection
    return inside != nullptr && inside->stale_connection() && !states_something(own);
}

RESILIENCE_FUNCTION std::error_code failure::own_code() const noexcept {
    if (const auto* system = dynamic_cast<const std::system_error*>(known_exception())) {
        if (system->code()) return system->code();
    }
    return is_rejection() ? make_error_code(refused_.code) : seen_.code;
}
RESILIENCE_FUNCTION std::error_code failure::code_inside() const noexcept {
    if (const auto code = own_code()) return code;
    const failure* inside = wrapped();
    return inside != nullptr ? inside->code() : std::error_code{};
}

RESILIENCE_FUNCTION void failure::stay_as(detail::gone_value value) {
    const auto gone = std::make_shared<const detail::gone_value>(std::move(value));
    seen_.object = gone.get();
    seen_.ops = &gone->ops;
    cause_ = {gone, nullptr};
}
RESILIENCE_FUNCTION failure failure::kept() const {
    failure copy = innermost();
    copy.timed_out_ = came_at_limit();
    copy.first_.reset();
    if (copy.source_ == source::value && *copy.seen_.ops->type != typeid(detail::gone_value))
        copy.stay_as({*copy.seen_.ops, copy.message(), copy.not_sent().value_or(false),
                      copy.stale_connection(), copy.forbids_retry(), copy.idempotency()});
    return copy;
}
RESILIENCE_FUNCTION failure failure::kept_code(const value_ops& ops, std::error_code code) {
    failure made(nullptr, ops, code, 0, duration{-1});
    made.stay_as({ops, code.message(), false, false});
    return made;
}
RESILIENCE_FUNCTION void failure::set_cause(const failure& cause) {
    cause_ = std::make_shared<const failure>(cause.kept());
}
RESILIENCE_FUNCTION void failure::follow(const failure& before) {
    if (before.is_real()) set_cause(before);
    else if (before.cause_) cause_ = before.cause_;
    first_ = before.first_;
}
RESILIENCE_FUNCTION void failure::wrap(const failure& last) {
    set_cause(last);
    first_ = last.first_;
    timed_out_ = last.came_at_limit();
}
RESILIENCE_FUNCTION void failure::set_first(const failure& first) {
    const std::type_info* own_type = type();
    const std::type_info* its_type = first.type();
    const bool same_type =
        own_type == its_type || (own_type != nullptr && its_type != nullptr && *own_type == *its_type);
    first_ =
        same_type && message() == first.message() ? nullptr : std::make_shared<const failure>(first.kept());
}
RESILIENCE_COLD RESILIENCE_FUNCTION detail::failing_value_error failure::value_error() const {
    const failure own = kept();
    const std::shared_ptr<const detail::gone_value> gone(
        own.cause_, static_cast<const detail::gone_value*>(own.seen_.object));
    const auto code = seen_.code ? seen_.code : std::make_error_code(std::errc::io_error);
    auto made = gone->text == code.message()
                    ? detail::failing_value_error(code, gone, http_status(), retry_after())
                    : detail::failing_value_error(code, gone->text, gone, http_status(), retry_after());
    made.came_at_limit = came_at_limit();
    return made;
}
RESILIENCE_FUNCTION const detail::failing_value_error* failure::thrown_value() const noexcept {
    const auto* known = known_exception();
    return known != nullptr && typeid(*known) == typeid(detail::failing_value_error)
               ? static_cast<const detail::failing_value_error*>(known)
               : nullptr;
}

RESILIENCE_COLD RESILIENCE_FUNCTION std::string failure::message() const {
    if (source_ == source::rejection) return refused_.message() + ends_of_the_call();
    if (const auto* known = known_exception()) return detail::said(known->what());
    if (const failure* held = held_failure()) return held->message();
    if (source_ == source::value) return seen_.ops->message(seen_.object);
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
    if (source_ == source::value)
        return *seen_.ops->type == typeid(detail::gone_value) ? detail::gone_value::read(seen_.object).type
                                                              : seen_.ops->type;
    if (const auto* value = thrown_value()) return value->value->type;
    if (const auto* known = known_exception()) return &typeid(*known);
    if (source_ == source::rejection) {
        switch (refused_.code) {
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

/// The first failure and the last of a call whose attempts ran out, if they differ; else empty.
RESILIENCE_COLD RESILIENCE_FUNCTION std::string failure::ends_of_the_call() const {
    const failure* last = wrapped();
    if (last == nullptr || !first_) return {};
    const auto told = [](const failure& f) { return f.type_name() + ": " + f.message(); };
    return "; first " + told(*first_) + "; last " + told(*last);
}
#if RESILIENCE_EXCEPTIONS
RESILIENCE_COLD RESILIENCE_FUNCTION void failure::raise_exhausted() const {
    retries_exhausted_error error(refused_.code, refused_.policy, message(), std::nullopt);
    error.came_at_limit = came_at_limit();
    if (first_) {
        try {
            first_->rethrow();
        } catch (...) {
            error.first = std::current_exception();
        }
    }
    throw error;
}
#endif
RESILIENCE_COLD RESILIENCE_FUNCTION void failure::rethrow() const {
#if RESILIENCE_EXCEPTIONS
    if (exception_) std::rethrow_exception(exception_);
#endif
    if (const failure* held = held_failure()) held->rethrow();
    if (source_ == source::value) detail::raise(value_error());
    if (source_ == source::exception) detail::raise(std::logic_error("resilience: no failure to rethrow"));
#if RESILIENCE_EXCEPTIONS
    if (cause_ && refused_.code == errc::retries_exhausted) {
        try {
            cause_->rethrow();
        } catch (...) { // retries_exhausted_error nests what is being handled
            raise_exhausted();
        }
    }
#endif
    detail::raise_rejection(refused_);
}

}} // namespace resilience::RESILIENCE_ABI
