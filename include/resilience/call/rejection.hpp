// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/limit.hpp>
#include <resilience/detail/name.hpp>
#include <resilience/detail/text.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The reason why a policy refuses or ends a call. Making one does not allocate; message() makes the text.
struct rejection {
    errc code;
    /// Of a time-out: whose limit passed. The message tells if it is not the policy's own.
    limit_owner whose = limit_owner::policy;
    /// The policy that refuses.
    detail::name policy{};
    /// The time after which trying again makes sense; negative if not known.
    duration retry_after{-1};
    /// The number that belongs to the code: a timeout's limit, the attempts made.
    std::int64_t amount = 0;
    /// The policy's own words in place of the usual ones. Static storage; null means the usual words.
    const char* reason = nullptr;

    std::string message() const;
};

namespace detail {

/// The words of a time-out: "no result within 900us (the caller's deadline)".
std::string no_result_within(duration limit, limit_owner whose);

} // namespace detail

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::string detail::no_result_within(duration limit, limit_owner whose) {
    if (whose == limit_owner::silence) return "silence for " + duration_text(limit);
    std::string text = "no result";
    // The length of a deadline of a user's policy may be unknown.
    if (limit != duration::max()) text.append(" within ").append(duration_text(limit));
    if (const auto owner = owner_in_words(whose); !owner.empty()) text.append(" (").append(owner).append(")");
    return text;
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string rejection::message() const {
    std::string_view kind, space = " ", usual, come_back;
    std::string number; // what the code's words need of it
    switch (code) {
    case errc::circuit_open: kind = "circuit", usual = "is open", come_back = "; next probe in "; break;
    case errc::timed_out:
        kind = "timeout", space = ": ";
        usual = number = detail::no_result_within(duration{amount}, whose);
        break;
    case errc::bulkhead_full: kind = "bulkhead", usual = "is full", come_back = "; try again in "; break;
    case errc::rate_limited:
        kind = "rate limiter", usual = "has no permit", come_back = "; next permit in ";
        break;
    case errc::throttled:
        kind = "throttle", usual = "refuses this attempt", come_back = "; try again in ";
        break;
    case errc::limit_exceeded: kind = "limiter", usual = "has no place", come_back = "; try again in "; break;
    case errc::cancelled: return reason != nullptr ? reason : "call cancelled before it had an outcome";
    case errc::retries_exhausted:
        kind = "retry", space = ": all ";
        usual = number = std::to_string(amount) + " attempts failed";
        break;
    case errc::workers_exhausted:
        kind = "timeout";
        usual = number =
            "has too many abandoned calls still running (" + std::to_string(amount) + " at most)";
        break;
    default: return make_error_code(code).message();
    }
    if (reason != nullptr && code != errc::retries_exhausted) usual = reason;
    const std::string_view name = policy.str(), quote = name.empty() ? "" : "'";
    std::string when;
    if (!come_back.empty() && retry_after >= duration{0}) when = detail::duration_text(retry_after);
    else come_back = {};
    return detail::joined({kind, name.empty() ? "" : " ", quote, name, quote, space, usual, come_back, when});
}
#endif

namespace detail {

/// Throws the error type of the code. Takes `why` by value, since the throw unwinds the frame that holds the
/// original.
[[noreturn]] void raise_rejection(rejection why);

#if RESILIENCE_BODIES

/// Makes the error directly in the throw expression, so that unwinding has nothing to clean up here.
template <class E>
E make_error(const rejection& why) {
    return E(why.code, why.policy, why.message(),
             why.retry_after >= duration{0} ? std::optional(why.retry_after) : std::nullopt);
}
template <class E>
[[noreturn]] RESILIENCE_COLD void raise_as(const rejection& why) {
#if RESILIENCE_EXCEPTIONS
    throw make_error<E>(why);
#else
    raise(make_error<E>(why));
#endif
}
RESILIENCE_COLD RESILIENCE_FUNCTION void raise_rejection(rejection why) {
    switch (why.code) {
    case errc::circuit_open: raise_as<circuit_open_error>(why);
    case errc::timed_out: raise_as<timeout_error>(why);
    case errc::bulkhead_full: raise_as<bulkhead_full_error>(why);
    case errc::rate_limited: raise_as<rate_limited_error>(why);
    case errc::throttled: raise_as<throttled_error>(why);
    case errc::limit_exceeded: raise_as<limit_exceeded_error>(why);
    case errc::cancelled: raise_as<cancelled_error>(why);
    case errc::workers_exhausted: raise_as<workers_exhausted_error>(why);
    case errc::retries_exhausted: break;
    }
    raise_as<retries_exhausted_error>(why);
}
#endif

} // namespace detail
}} // namespace resilience::RESILIENCE_ABI
