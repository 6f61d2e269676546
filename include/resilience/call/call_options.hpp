// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/call/value_ops.hpp>

#include <cstdint>
#include <optional>
#include <stop_token>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The limits of the calls around a call that hold for it too: of the blocking call that it is made in, or of
/// the context that it is given by `with(ctx)`.
enum class inherit : std::uint8_t {
    all,           ///< deadline, stop token and retry depth
    deadline_only, ///< the deadline: a stop request does not end the call
    nothing,       ///< the call has its own limits alone
};

/// The caller's wishes for one call; see `with`.
struct call_options {
    /// The call must be over by then: no attempt starts later, no delay runs past it, and the callable
    /// sees it as ctx.deadline(). Unset: the call has only the deadline of an enclosing call, if there is
    /// one.
    std::optional<time_point> deadline{};
    /// A stop request ends waits at once. The callable sees it through ctx.stop_token().
    std::stop_token stop_token{};
    /// Unset: as the retry's config says, or the result (see idempotency_of in call/result_traits.hpp).
    std::optional<resilience::idempotency> idempotency{};
    /// A clean-up opts out: it must run although the limit of the call around it has struck, or its caller has
    /// cancelled it. Calls inside of this one inherit from this one alone.
    resilience::inherit inherit = resilience::inherit::all;
};

namespace detail {

constexpr resilience::inherit inherited_with(const call_options* options) noexcept {
    return options != nullptr ? options->inherit : resilience::inherit::all;
}

} // namespace detail

}} // namespace resilience::RESILIENCE_ABI
