// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_state.hpp>
#include <resilience/detail/text.hpp>
#include <resilience/error.hpp>
#include <resilience/event.hpp>
#include <resilience/failure.hpp>
#include <resilience/time.hpp>

#include <fmt/format.h>

#include <string>
#include <string_view>

// fmt formatters, all with the options of strings: fmt::print("{:>10}", breaker.state()).

namespace resilience::inline RESILIENCE_ABI {

/// A duration as our messages write it, 2.4s or 350ms: fmt::print("{}", readable{stats.retry_after}).
/// std::chrono's own formatters (<fmt/chrono.h>) are left alone.
struct readable {
    duration value;
};

namespace detail {

/// A formatter for T through a text: Text is a function of T that gives what a string_view can be made of.
template <class T, auto Text>
struct text_formatter : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(const T& value, Context& context) const {
        const auto& text = Text(value);
        return fmt::formatter<std::string_view>::format(std::string_view(text), context);
    }
};

} // namespace detail
} // namespace resilience::inline RESILIENCE_ABI

template <>
struct fmt::formatter<resilience::circuit_state>
    : resilience::detail::text_formatter<resilience::circuit_state,
                                         [](resilience::circuit_state s) { return resilience::to_string(s); }> {};
template <>
struct fmt::formatter<resilience::event_kind>
    : resilience::detail::text_formatter<resilience::event_kind,
                                         [](resilience::event_kind k) { return resilience::to_string(k); }> {};
template <>
struct fmt::formatter<resilience::readable>
    : resilience::detail::text_formatter<
          resilience::readable, [](resilience::readable d) { return resilience::detail::duration_text(d.value); }> {};
/// The message.
template <>
struct fmt::formatter<resilience::failure>
    : resilience::detail::text_formatter<resilience::failure, [](const resilience::failure& f) { return f.message(); }> {};
/// The message, for each of our errors: explicit, so that none is taken for a std::exception of <fmt/std.h>.
template <>
struct fmt::formatter<resilience::error>
    : resilience::detail::text_formatter<resilience::error,
                                         [](const resilience::error& e) { return std::string_view(e.what()); }> {};
template <>
struct fmt::formatter<resilience::circuit_open_error> : fmt::formatter<resilience::error> {};
template <>
struct fmt::formatter<resilience::timeout_error> : fmt::formatter<resilience::error> {};
template <>
struct fmt::formatter<resilience::bulkhead_full_error> : fmt::formatter<resilience::error> {};
template <>
struct fmt::formatter<resilience::rate_limited_error> : fmt::formatter<resilience::error> {};
template <>
struct fmt::formatter<resilience::throttled_error> : fmt::formatter<resilience::error> {};
template <>
struct fmt::formatter<resilience::limit_exceeded_error> : fmt::formatter<resilience::error> {};
template <>
struct fmt::formatter<resilience::cancelled_error> : fmt::formatter<resilience::error> {};
template <>
struct fmt::formatter<resilience::workers_exhausted_error> : fmt::formatter<resilience::error> {};
template <>
struct fmt::formatter<resilience::retries_exhausted_error> : fmt::formatter<resilience::error> {};
