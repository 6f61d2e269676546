// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error_condition.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/call/time_out.hpp>

#include <string_view>
#include <system_error>

namespace resilience { inline namespace RESILIENCE_ABI {

struct retry_traits {
    /// True if the request of this failure is known not to have reached the other side, so that even an
    /// operation marked idempotency::unsafe may be tried again. The exception or the value decides if it says
    /// so itself. A stale connection carried nothing. Else true for the codes of connections that were never made and for our own policies'
    /// refusals. Time-outs and unknown failures may have been sent. An unreachable host or network may have
    /// been, too: an established connection ends like that when its route dies.
    static bool known_not_sent(const failure& f) noexcept;
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION bool retry_traits::known_not_sent(const failure& f) noexcept {
    if (f.stale_connection()) return true;
    if (const auto said = f.not_sent()) return *said;
    const failure* seen = &f.innermost();
    while (!seen->own_code() || seen->own_code() == errc::retries_exhausted) {
        if (seen->answers() || seen->wrapped() == nullptr) return false;
        seen = seen->wrapped();
    }
    const auto code = seen->own_code();
    if (code.category() == error_category()) return detail::is_refusal(code);
    const std::string_view category = code.category().name();
    if (category == "asio.netdb" || category == "asio.addrinfo") return true; // the name has no address
    const auto condition = detail::condition_of(code);
    return condition == std::errc::connection_refused || condition == std::errc::address_not_available;
}
#endif

}} // namespace resilience::RESILIENCE_ABI
