// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/config.hpp>
#include <resilience/detail/immortal.hpp>
#include <resilience/detail/name.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The reason why a policy ended a call itself.
enum class errc {
    circuit_open = 1,  ///< a circuit breaker refused the attempt
    timed_out,         ///< no result within a timeout's limit
    bulkhead_full,     ///< a bulkhead had no place
    rate_limited,      ///< a rate limiter had no permit
    throttled,         ///< an adaptive throttle refused the attempt
    limit_exceeded,    ///< an adaptive limiter had no place
    cancelled,         ///< a stop was requested before the call had an outcome
    retries_exhausted, ///< every attempt failed and the config asked for this wrapper
    workers_exhausted, ///< too many abandoned calls are still running
};

/// The category of our codes, named "resilience". Never destroyed.
RESILIENCE_VISIBLE const std::error_category& error_category() noexcept;

inline std::error_code make_error_code(errc code) noexcept {
    return {static_cast<int>(code), error_category()};
}

/// The exception that a policy throws when it ends a call itself. Copying it never throws. Every rejection
/// makes a fresh object, so two threads never share one.
class RESILIENCE_VISIBLE error : public std::system_error {
public:
    /// what() returns `message` without additions.
    error(errc code, std::string_view policy, std::string message, std::optional<duration> retry_after = {})
        : error(code, detail::name(policy), std::move(message), retry_after) {}
    error(errc code, detail::name policy, std::string message, std::optional<duration> retry_after);

    /// The name of the policy that ended the call; empty if it has none.
    const std::string& policy() const noexcept { return policy_.str(); }
    /// The time after which trying again makes sense, counted from the moment of the rejection.
    std::optional<duration> retry_after() const noexcept { return retry_after_; }
    RESILIENCE_FUNCTION const char* what() const noexcept override;

private:
    detail::name policy_;
    std::optional<duration> retry_after_;
    std::shared_ptr<const std::string> message_;
};

#if RESILIENCE_BODIES
namespace detail {

class RESILIENCE_VISIBLE error_category final : public std::error_category {
public:
    const char* name() const noexcept override { return "resilience"; }
    std::string message(int code) const override {
        switch (static_cast<errc>(code)) {
        case errc::circuit_open: return "circuit is open";
        case errc::timed_out: return "timed out";
        case errc::bulkhead_full: return "bulkhead is full";
        case errc::rate_limited: return "rate limited";
        case errc::throttled: return "throttled";
        case errc::limit_exceeded: return "concurrency limit exceeded";
        case errc::cancelled: return "cancelled";
        case errc::retries_exhausted: return "retries exhausted";
        case errc::workers_exhausted: return "workers exhausted";
        }
        return "unknown resilience error";
    }
    std::error_condition default_error_condition(int code) const noexcept override {
        switch (static_cast<errc>(code)) {
        case errc::timed_out: return std::errc::timed_out;
        case errc::cancelled: return std::errc::operation_canceled;
        case errc::retries_exhausted: return {code, *this};
        default: return std::errc::resource_unavailable_try_again;
        }
    }
};

} // namespace detail

RESILIENCE_VISIBLE RESILIENCE_FUNCTION const std::error_category& error_category() noexcept {
    static constinit detail::immortal<detail::error_category> category;
    return category.get();
}

RESILIENCE_FUNCTION error::error(errc code, detail::name policy, std::string message,
                                 std::optional<duration> retry_after)
    : std::system_error(make_error_code(code)), policy_(policy), retry_after_(retry_after),
      message_(std::make_shared<const std::string>(std::move(message))) {}
RESILIENCE_FUNCTION const char* error::what() const noexcept { return message_->c_str(); }
#endif

// Each code has its own exception type, for `catch`.
struct RESILIENCE_VISIBLE circuit_open_error : error {
    using error::error;
};
struct RESILIENCE_VISIBLE timeout_error : error {
    using error::error;
};
struct RESILIENCE_VISIBLE bulkhead_full_error : error {
    using error::error;
};
struct RESILIENCE_VISIBLE rate_limited_error : error {
    using error::error;
};
struct RESILIENCE_VISIBLE throttled_error : error {
    using error::error;
};
struct RESILIENCE_VISIBLE limit_exceeded_error : error {
    using error::error;
};
struct RESILIENCE_VISIBLE cancelled_error : error {
    using error::error;
};
struct RESILIENCE_VISIBLE workers_exhausted_error : error {
    using error::error;
};
/// The cause is nested: std::rethrow_if_nested gives the last attempt's exception. what() tells the first failure
/// and the last, if they differ.
struct RESILIENCE_VISIBLE retries_exhausted_error : error, std::nested_exception {
    using error::error;

    /// The first attempt's exception, if it differs from the last one's in type or text; else null.
    std::exception_ptr first{};
    /// True if the last attempt came to its limit. It has timed out, however its exception calls that.
    bool came_at_limit = false;
};

namespace detail {

/// Throws `e`. A build without exceptions prints its message to stderr and aborts.
template <class E>
[[noreturn]] RESILIENCE_COLD void raise(const E& e) {
#if RESILIENCE_EXCEPTIONS
    throw e;
#else
    std::fputs(e.what(), stderr);
    std::fputc('\n', stderr);
    std::abort();
#endif
}

/// Throws std::invalid_argument with a config's complaint. An empty complaint means that the config is valid.
void require_valid(const std::string& complaint);

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION void require_valid(const std::string& complaint) {
    if (!complaint.empty()) raise(std::invalid_argument(complaint));
}
#endif

} // namespace detail
}} // namespace resilience::RESILIENCE_ABI

template <>
struct std::is_error_code_enum<resilience::errc> : std::true_type {};
