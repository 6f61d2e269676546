// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>

#include <functional>
#include <string_view>
#include <system_error>

namespace resilience { inline namespace RESILIENCE_ABI {

struct retry_traits {
    /// Whether a failure is known not to have reached the other side, so that even an operation marked
    /// idempotency::unsafe may be tried again. What the exception or the value says itself counts alone;
    /// else it is so for codes of connections that were never made, and for refusals by our own policies.
    /// A time-out may have been sent, and so may whatever nothing is known of: an unreachable host or network, too, is
    /// what a connection that has been open for long ends with when its route dies.
    static bool known_not_sent(const failure& f) noexcept {
        if (const auto said = f.not_sent()) return *said;
        const auto code = f.code();
        if (code.category() == error_category()) {
            const auto ours = static_cast<errc>(code.value());
            return ours != errc::timed_out && ours != errc::cancelled && ours != errc::retries_exhausted;
        }
        const std::string_view category = code.category().name();
        if (category == "asio.netdb" || category == "asio.addrinfo") return true; // the name has no address
        const auto condition = detail::condition_of(code);
        return condition == std::errc::connection_refused || condition == std::errc::address_not_available;
    }
};

}} // namespace resilience::RESILIENCE_ABI
