// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/attempt_result.hpp>
#include <resilience/call/error.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/call/time_out.hpp>
#include <resilience/call/verdict.hpp>
#include <resilience/circuit_breaker/config.hpp>
#include <resilience/circuit_breaker/noted_failure.hpp>
#include <resilience/circuit_breaker/published_state.hpp>
#include <resilience/detail/returned.hpp>

#include <algorithm>
#include <optional>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The meaning of a result for its circuit. Made without the circuit's mutex, since predicates and what() are
/// user code.
struct breaker_judgement {
    verdict what = verdict::failure;
    std::optional<duration> break_for{}; // a failure that has it trips at once, for that long
    duration hint{0};                    // of the server, at most max_break: no probe before
    noted_failure error{};               // of a failure
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

/// The hint of a server; 0 if it gave none. A policy's refusal is no hint of the server's.
duration hint_of_server(const failure& why) noexcept;
/// True if it is judged as an answer of 429.
bool is_throttle(const failure& why) noexcept;
/// The answer of break_duration_of, which may throw; at most max_break.
std::optional<duration> break_for(const failure& why, const circuit_breaker_config& c);

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
    const bool asks = c.ignore_if.sees(result) || c.record_if.sees(result);
    if (result.succeeded() && !asks) return result.judged();
    const seen_failure seen(result);
    const failure& why = seen.get();
    const bool is_failure = !result.succeeded() || result.is_refused();
    if (is_failure && why.stale_connection()) return verdict::ignored;
    const verdict usual = is_failure ? default_verdict(why) : result.judged();
    if (!asks) return usual;
    if (is_failure && usual == verdict::ignored &&
        (why.is_cancellation() || why.judged_code().category() == resilience::error_category()))
        return usual;

    const bool fails = usual == verdict::failure;
    if (c.ignore_if.sees(result) && c.ignore_if.names(result, fails)) return verdict::ignored;
    if (!c.record_if.sees(result)) return usual;
    if (!is_failure) return c.record_if.names(result, fails) ? verdict::failure : usual;
    if (usual == verdict::ignored && c.record_if.leaves_to_default(why)) return usual;
    return c.record_if.is_for(why, fails) ? verdict::failure : verdict::success;
}
RESILIENCE_FUNCTION duration hint_of_server(const failure& why) noexcept {
    const auto hint = why.retry_after();
    return hint && !is_refusal(why.judged_code()) ? *hint : duration{0};
}
RESILIENCE_FUNCTION bool is_throttle(const failure& why) noexcept {
    const statement stated = why.stated();
    return stated.what == statement::kind::status && stated.by->http_status() == 429;
}
RESILIENCE_FUNCTION std::optional<duration> break_for(const failure& why, const circuit_breaker_config& c) {
    std::optional<duration> asked;
    if (c.break_duration_of) asked = c.break_duration_of(why);
    return asked ? std::min(*asked, c.max_break) : asked;
}
RESILIENCE_COLD RESILIENCE_FUNCTION breaker_judgement judge(const attempt_result& result,
                                                            const circuit_breaker_config& c) {
    breaker_judgement j;
    j.predicate_threw = !returned([&] {
        j.what = verdict_on(result, c);
        if (j.what == verdict::success) return;
        const seen_failure seen(result);
        const failure& why = seen.get();
        j.hint = std::min(hint_of_server(why), c.max_break);
        // A throttle is no failure, unless break_duration_of asks for a pause. What ignore_if names asks for none.
        const auto is_ignored = [&] { return c.ignore_if.sees(result) && c.ignore_if.names(result, false); };
        if (j.what == verdict::failure || (is_throttle(why) && !is_ignored()))
            j.break_for = break_for(why, c);
        if (j.break_for) j.what = verdict::failure;
    });
    if (j.predicate_threw) j.what = verdict::failure; // the attempt must be settled in any case
    if (j.what == verdict::failure) {
        returned(
            [&] { j.error = noted_failure(seen_failure(result).get()); }); // a value's traits are user code
    }
    return j;
}
RESILIENCE_FUNCTION breaker_judgement judge_as_failure(const failure* why, const circuit_breaker_config& c) {
    breaker_judgement j;
    if (why != nullptr && why->stale_connection()) {
        j.what = verdict::ignored;
        return j;
    }
    if (why != nullptr) {
        j.hint = std::min(hint_of_server(*why), c.max_break);
        j.predicate_threw = !returned([&] { j.break_for = break_for(*why, c); });
        j.error = noted_failure(*why);
    }
    return j;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
