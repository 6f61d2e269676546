// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error_condition.hpp>
#include <resilience/call/failure.hpp>

#include <cstdint>
#include <new>
#include <optional>
#include <system_error>

namespace resilience { inline namespace RESILIENCE_ABI {

/// An outcome's statement about the health of the thing that was called.
enum class verdict : std::uint8_t {
    success, ///< it works, though it may have refused this call (HTTP 404)
    failure,
    ignored, ///< says nothing: cancelled, refused locally, or asked to come later (HTTP 429)
};

// HTTP by default. No status at all means that no answer came: a transport error. A hint is the server's
// Retry-After.
//
//     status                            retried   to a circuit
//     none, 408, 425, 5xx but 501, 505  yes       failure
//     429; 403, 409, 413 with a hint    yes       ignored: a throttle is no ill health
//     501, 505, other 4xx               no        success: a server that answers is alive
//     any other                         no        success

/// True if a retry repeats the request by default.
constexpr bool is_retried_status(std::optional<int> status, std::optional<duration> hint = {}) noexcept {
    if (!status) return true;
    switch (*status) {
    case 408:
    case 425:
    case 429: return true;
    case 403:
    case 409:
    case 413: return hint && *hint >= duration{0};
    case 501:
    case 505: return false;
    default: return *status >= 500;
    }
}
/// The verdict of a circuit on an answer by default.
constexpr verdict http_verdict(std::optional<int> status, std::optional<duration> hint = {}) noexcept {
    if (!is_retried_status(status, hint)) return verdict::success;
    const bool asks_to_wait =
        status && (*status == 403 || *status == 409 || *status == 413 || *status == 429);
    return asks_to_wait ? verdict::ignored : verdict::failure;
}

/// The meaning of a failure unless a predicate of the user's decides.
struct default_judgement {
    bool is_retried;
    verdict health; ///< to a circuit
};
/// An attempt that came at its limit has timed out. Else the outermost exception that states something decides
/// (detail::statement): by its verdict, else its code, else its HTTP status. Local rejections, cancellation and
/// std::bad_alloc are ignored. A time-out is a failure. Anything else is a failure.
default_judgement judge_by_default(const failure& f) noexcept;

/// The verdict on a failure unless a predicate of the user's decides.
inline verdict default_verdict(const failure& f) noexcept { return judge_by_default(f).health; }
/// True if retries repeat it unless a predicate of the user's decides.
inline bool is_retried_by_default(const failure& f) noexcept { return judge_by_default(f).is_retried; }

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION default_judgement judge_by_default(const failure& f) noexcept {
    using kind = detail::statement::kind;
    constexpr default_judgement failed{true, verdict::failure};
    constexpr default_judgement says_nothing{false, verdict::ignored};
    const auto of_code = [&](const std::error_code& code) noexcept {
        if (code.category() == error_category())
            return code == errc::timed_out || code == errc::retries_exhausted ? failed : says_nothing;
        return detail::is_cancellation(code) ? says_nothing : failed;
    };
    if (f.came_at_limit()) return f.innermost().exception_is<std::bad_alloc>() ? says_nothing : failed;
    if (f.has_code_alone()) return of_code(f.code());
    const auto stated = f.stated();
    switch (stated.what) {
    case kind::verdict: {
        const auto own = stated.by->as<verdict_carrier>()->verdict();
        return {own == verdict::failure, own};
    }
    case kind::code: return of_code(stated.code);
    case kind::status: {
        const auto status = stated.by->http_status();
        const auto hint = f.retry_after();
        return {is_retried_status(status, hint), http_verdict(status, hint)};
    }
    case kind::memory: return says_nothing;
    case kind::none:
    case kind::limit:
    case kind::type: break;
    }
    return failed;
}
#endif

}} // namespace resilience::RESILIENCE_ABI
