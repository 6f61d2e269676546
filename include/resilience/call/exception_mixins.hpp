// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <optional>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Mixin for exceptions that stand for an HTTP answer; found by dynamic_cast. It lets every policy
/// judge the exception by its status and respect the server's Retry-After.
class RESILIENCE_VISIBLE http_carrier {
public:
    virtual ~http_carrier() = default;
    virtual int http_status() const noexcept = 0;
    virtual std::optional<duration> retry_after() const noexcept { return std::nullopt; }
};

/// Mixin for exceptions that know whether anything reached the other side; found by dynamic_cast. Values
/// say it by the free function was_not_sent (see call/result_traits.hpp).
class RESILIENCE_VISIBLE not_sent_carrier {
public:
    virtual ~not_sent_carrier() = default;
    /// True if it is certain that nothing was sent.
    virtual bool not_sent() const noexcept = 0;
};

/// Mixin for exceptions that know whether a pooled connection was dead before anything was sent on it; found by
/// dynamic_cast. Such a failure tells of the past, not of the server: a retry repeats it at once, without counting
/// it, and no circuit breaker counts it. Values say it by the free function was_stale (see
/// call/result_traits.hpp).
class RESILIENCE_VISIBLE stale_connection_carrier {
public:
    virtual ~stale_connection_carrier() = default;
    /// True if it is certain that nothing was sent, since the connection had ended before.
    virtual bool stale_connection() const noexcept = 0;
};

}} // namespace resilience::RESILIENCE_ABI
