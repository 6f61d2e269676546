// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <cstdint>
#include <optional>

namespace resilience { inline namespace RESILIENCE_ABI {

enum class verdict : std::uint8_t; // call/verdict.hpp

/// Mixin for exceptions that know what the other side said about trying again; found by dynamic_cast. Values
/// say it by the free functions retry_after_of and forbids_retry (see call/result_traits.hpp).
class RESILIENCE_VISIBLE hint_carrier {
public:
    virtual ~hint_carrier() = default;
    /// The least time until another attempt makes sense. A negative one is none.
    virtual std::optional<duration> retry_after() const noexcept { return std::nullopt; }
    /// True if the other side asks for no other attempt (a push-back below 0 in gRPC, `Is-Retryable: false`).
    virtual bool forbids_retry() const noexcept { return false; }
};

/// Mixin for exceptions that stand for an HTTP answer; found by dynamic_cast. It lets every policy
/// judge the exception by its status and respect the server's hints.
class RESILIENCE_VISIBLE http_carrier : public hint_carrier {
public:
    virtual int http_status() const noexcept = 0;
};

/// Mixin for exceptions that know whether anything reached the other side; found by dynamic_cast. Values
/// say it by the free function was_not_sent (see call/result_traits.hpp).
class RESILIENCE_VISIBLE not_sent_carrier {
public:
    virtual ~not_sent_carrier() = default;
    /// True if it is certain that nothing was sent.
    virtual bool not_sent() const noexcept = 0;
};

/// Mixin for exceptions that state their own verdict; found by dynamic_cast. It counts more than status and
/// code. Values state theirs by result_traits<R>::judge.
class RESILIENCE_VISIBLE verdict_carrier {
public:
    virtual ~verdict_carrier() = default;
    /// `failure` is retried and recorded. `success` means that the other side works, although this call did
    /// not. `ignored` says nothing. The last two are not retried.
    virtual resilience::verdict verdict() const noexcept = 0;
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
