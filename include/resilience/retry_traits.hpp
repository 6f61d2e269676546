// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/failure.hpp>

#include <functional>
#include <system_error>

namespace resilience::inline RESILIENCE_ABI {

/// Whether a failure is known not to have reached the other side, so that even an operation marked
/// idempotency::unsafe may be tried again: connections that were never made, and refusals by our own
/// policies. A time-out may have been sent. An exception of yours says so with `bool not_sent() const`
/// through this mixin.
class RESILIENCE_VISIBLE not_sent_carrier {
public:
    virtual ~not_sent_carrier() = default;
    virtual bool not_sent() const noexcept = 0;
};

struct retry_traits {
    static bool known_not_sent(const failure& f) noexcept {
        if (const auto* carrier = f.as<not_sent_carrier>()) return carrier->not_sent();
        const auto code = f.code();
        if (code.category() == error_category()) {
            const auto ours = static_cast<errc>(code.value());
            return ours != errc::timed_out && ours != errc::cancelled && ours != errc::retries_exhausted;
        }
        return code == std::errc::connection_refused || code == std::errc::host_unreachable ||
               code == std::errc::network_unreachable || code == std::errc::network_down ||
               code == std::errc::address_not_available;
    }
};

} // namespace resilience::inline RESILIENCE_ABI
