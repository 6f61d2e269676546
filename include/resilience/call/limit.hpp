// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Tells whose limit a deadline is.
enum class limit_owner : std::uint8_t {
    policy,         ///< a timeout's
    caller,         ///< given for the call: with({.deadline = ...})
    enclosing_call, ///< inherited from a call around this one
};

namespace detail {

/// The owner of a limit in a message; empty for a policy, which the message names.
constexpr std::string_view owner_in_words(limit_owner owner) noexcept {
    switch (owner) {
    case limit_owner::caller: return "the caller's deadline";
    case limit_owner::enclosing_call: return "the enclosing call's deadline";
    case limit_owner::policy: break;
    }
    return {};
}

/// The last part of a limit. An attempt that ends in it without a value has timed out: clients round their
/// limits to milliseconds, or stop a little early. max(1 % of the limit, 1 ms, one tick of the coarse clock),
/// but at most half of the limit, so that a failure at once is none of a short limit's. `limit` is
/// duration::max() if its length is not known.
constexpr duration grace_of(duration limit, duration tick) noexcept {
    constexpr duration least = std::chrono::milliseconds{1};
    if (limit == duration::max()) return std::max(least, tick);
    return std::min(std::max({limit / 100, least, tick}), limit / 2);
}

} // namespace detail
}} // namespace resilience::RESILIENCE_ABI
