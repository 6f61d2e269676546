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
    success,
    failure,
    ignored, ///< says nothing: cancelled, refused locally, or the caller's own mistake (HTTP 4xx)
};

/// HTTP by default: 408, 425, 429 and 5xx speak of the server's health and are retried; other 4xx are
/// the caller's mistake. No status at all means that no answer came: a transport error.
constexpr verdict http_verdict(std::optional<int> status) noexcept {
    if (!status || *status == 408 || *status == 425 || *status == 429 || *status >= 500)
        return verdict::failure;
    return *status >= 400 ? verdict::ignored : verdict::success;
}

namespace detail {

RESILIENCE_INLINE verdict default_verdict(const std::error_code& code, std::optional<int> status) noexcept {
    if (code) {
        if (code.category() == resilience::error_category()) {
            const auto ours = static_cast<errc>(code.value());
            return ours == errc::timed_out || ours == errc::retries_exhausted ? verdict::failure
                                                                              : verdict::ignored;
        }
        if (is_cancellation(code)) return verdict::ignored;
    }
    // A carrier may stand for a transport error too: its status is then 0 or less.
    return status && *status > 0 ? http_verdict(status) : verdict::failure;
}

} // namespace detail

/// The verdict on a failure unless a predicate of the user's decides. Local rejections, cancellation and
/// std::bad_alloc are ignored. A time-out is a failure, also a client's own. An HTTP status is judged by http_verdict(). Anything
/// else is a failure. Breakers record failures, and retries retry them.
verdict default_verdict(const failure& f) noexcept;

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION verdict default_verdict(const failure& f) noexcept {
    const verdict judged =
        f.came_at_limit() ? verdict::failure : detail::default_verdict(f.code(), f.http_status());
    return judged == verdict::failure && f.exception_is<std::bad_alloc>() ? verdict::ignored : judged;
}
#endif

}} // namespace resilience::RESILIENCE_ABI
