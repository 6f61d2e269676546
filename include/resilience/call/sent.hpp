// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/expected_like.hpp>
#include <resilience/config.hpp>

#include <concepts>
#include <utility>

// The words of a failing value about what it sent. Exceptions have mixins for them (call/exception_mixins.hpp).

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A value for which the free function `was_not_sent(v)`, found by argument-dependent lookup, tells whether
/// it is certain that nothing reached the other side. Its answer overrides the value's code. It must be
/// noexcept.
template <class R>
concept says_if_sent = requires(const R& r) {
    { was_not_sent(r) } noexcept -> truth;
};

/// A value for which the free function `was_stale(v)`, found by argument-dependent lookup, tells whether its
/// connection was dead before anything was sent. It must be noexcept. A stale value is a failing value.
template <class R>
concept says_if_stale = requires(const R& r) {
    { was_stale(r) } noexcept -> truth;
};

template <class R>
constexpr auto not_sent_op() noexcept -> bool (*)(const void*) noexcept {
    if constexpr (says_if_sent<R>) {
        return [](const void* value) noexcept -> bool { return was_not_sent(*static_cast<const R*>(value)); };
    } else {
        return nullptr;
    }
}

template <class R>
constexpr auto stale_op() noexcept -> bool (*)(const void*) noexcept {
    if constexpr (says_if_stale<R>) {
        return [](const void* value) noexcept -> bool { return was_stale(*static_cast<const R*>(value)); };
    } else {
        return nullptr;
    }
}

}}} // namespace resilience::RESILIENCE_ABI::detail
