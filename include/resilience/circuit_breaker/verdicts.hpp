// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/attempt_result.hpp>
#include <resilience/call/error.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/call/verdict.hpp>
#include <resilience/circuit_breaker/config.hpp>
#include <resilience/circuit_breaker/published_state.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/stats.hpp>

#include <cstddef>
#include <optional>
#include <typeinfo>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The meaning of a result for its circuit. Made without the circuit's mutex, since predicates and what() are
/// user code.
struct breaker_judgement {
    verdict what = verdict::failure;
    std::optional<duration> break_for{};       // a failure that has it trips at once, for that long
    circuit_breaker_stats::error_text texts{}; // of a failure; the type's name is mangled: few are ever shown
    bool predicate_threw = false;
};

/// The time that a call took, if it was timed.
struct call_timing {
    std::optional<duration> took{};
    bool is_slow = false;
};
call_timing timing_of(const breaker_permit& permit, const circuit_breaker_config& c, time_point now) noexcept;

/// Judges a result by the config's predicates, which may throw. A stale connection is ignored without asking them:
/// it says nothing of the server as it is now.
verdict verdict_on(const attempt_result& result, const circuit_breaker_config& c);

/// The texts of a failure; empty if memory runs out or what() throws.
circuit_breaker_stats::error_text texts_of(const attempt_result& result);

breaker_judgement judge(const attempt_result& result, const circuit_breaker_config& c);

/// Judges a result as a failure without asking record_if and ignore_if, but ignores a stale connection. `why` is null
/// if nothing is known.
breaker_judgement judge_as_failure(const failure* why, const circuit_breaker_config& c);

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION call_timing timing_of(const breaker_permit& permit, const circuit_breaker_config& c,
                                          time_point now) noexcept {
    if (!permit.admitted.has(published_state::timed)) return {};
    const duration took = elapsed_between(permit.start, now);
    return {took, c.slow_call_duration && took > *c.slow_call_duration};
}
RESILIENCE_FUNCTION verdict verdict_on(const attempt_result& result, const circuit_breaker_config& c) {
    if (result.succeeded()) {
        const bool asks = c.record_if.examines_values() || c.ignore_if.examines_values();
        if (!asks) return result.judged();
        const failure value = result.as_failure();
        if (c.ignore_if.examines_values() && c.ignore_if.of_value(value)) return verdict::ignored;
        return c.record_if.examines_values() && c.record_if.of_value(value) ? verdict::failure
                                                                            : result.judged();
    }
    const failure& why = *result.error();
    if (why.stale_connection()) return verdict::ignored;
    const verdict usual = default_verdict(why);
    const auto code = why.unwrapped().code();
    const bool refused = usual == verdict::ignored &&
                         code.category() == resilience::error_category(); // detail has a class of that name
    if (why.is_cancellation() || refused) return verdict::ignored;
    if (c.ignore_if.has_value() && c.ignore_if(why)) return verdict::ignored;
    if (!c.record_if.has_value()) return usual;
    return c.record_if(why) ? verdict::failure : verdict::success;
}
RESILIENCE_FUNCTION circuit_breaker_stats::error_text texts_of(const attempt_result& result) {
    constexpr std::size_t most = 256;
    circuit_breaker_stats::error_text text;
    returned([&] {
        const failure why = result.as_failure();
        const std::type_info* type = why.type();
        text = {type != nullptr ? type->name() : "unknown", why.message()};
        if (text.message.size() > most) text.message.resize(most);
    });
    return text;
}
RESILIENCE_COLD RESILIENCE_FUNCTION breaker_judgement judge(const attempt_result& result,
                                                            const circuit_breaker_config& c) {
    breaker_judgement j;
    j.predicate_threw = !returned([&] {
        j.what = verdict_on(result, c);
        if (j.what == verdict::failure && c.break_duration_of)
            j.break_for = c.break_duration_of(result.as_failure());
    });
    if (j.predicate_threw) j.what = verdict::failure; // the attempt must be settled in any case
    if (j.what == verdict::failure) j.texts = texts_of(result);
    return j;
}
RESILIENCE_FUNCTION breaker_judgement judge_as_failure(const failure* why, const circuit_breaker_config& c) {
    breaker_judgement j;
    if (why != nullptr && why->stale_connection()) {
        j.what = verdict::ignored;
        return j;
    }
    if (why != nullptr && c.break_duration_of)
        j.predicate_threw = !returned([&] { j.break_for = c.break_duration_of(*why); });
    const failure unknown;
    j.texts = texts_of(attempt_result(why != nullptr ? *why : unknown));
    return j;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
