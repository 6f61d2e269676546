// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/call_context.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/call/time.hpp>

#include <system_error>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// True if the code is that of one of our policies' refusals: no attempt was made.
bool is_refusal(const std::error_code& code) noexcept;

/// The one rule of attempts that end without a value: such an attempt has timed out if it ends at its limit,
/// after it, or within the last part of it (grace_of). It does not matter how the client calls its own
/// time-out; it may call it a cancellation. Two failures are none: a refusal, and a cancellation that the
/// caller, an enclosing call or the coroutine's owner has asked for.
bool has_timed_out(const failure& why, const call_context& ctx) noexcept;
/// For an attempt whose limit is not the context's deadline.
bool has_timed_out(const failure& why, const call_context& ctx, time_point strikes_from) noexcept;

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION bool is_refusal(const std::error_code& code) noexcept {
    if (code.category() != resilience::error_category()) return false;
    const auto ours = static_cast<errc>(code.value());
    return ours != errc::timed_out && ours != errc::retries_exhausted && ours != errc::cancelled;
}
RESILIENCE_FUNCTION bool has_timed_out(const failure& why, const call_context& ctx) noexcept {
    return has_timed_out(why, ctx, ctx.strikes_from());
}
RESILIENCE_FUNCTION bool has_timed_out(const failure& why, const call_context& ctx,
                                       time_point strikes_from) noexcept {
    if (strikes_from == time_point::max() || ctx.clock().now() < strikes_from) return false;
    return !is_refusal(why.judged_code()) && !(ctx.stop_requested() && why.is_cancellation());
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
