// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/failure.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/text.hpp>
#include <resilience/event.hpp>
#include <resilience/mechanism/circuit_state.hpp>

#include <fmt/format.h>

#include <string>
#include <string_view>

// fmt formatters, all with the options of strings: fmt::print("{:>10}", breaker.state()).

namespace resilience { inline namespace RESILIENCE_ABI {

/// A duration as our messages write it, 2.4s or 350ms: fmt::print("{}", readable{stats.retry_after}).
/// std::chrono's own formatters (<fmt/chrono.h>) are left alone.
struct readable {
    duration value;
};

namespace detail {

inline std::string_view text_of(circuit_state state) noexcept { return to_string(state); }
inline std::string_view text_of(event_kind kind) noexcept { return to_string(kind); }
inline std::string text_of(readable d) { return duration_text(d.value); }
inline std::string text_of(const failure& f) { return f.message(); }
inline std::string_view text_of(const error& e) noexcept { return e.what(); }

template <class T>
struct text_formatter : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(const T& value, Context& context) const {
        const auto& text = text_of(value);
        return fmt::formatter<std::string_view>::format(std::string_view(text), context);
    }
};

} // namespace detail
}} // namespace resilience::RESILIENCE_ABI

template <>
struct fmt::formatter<resilience::circuit_state>
    : resilience::detail::text_formatter<resilience::circuit_state> {};
template <>
struct fmt::formatter<resilience::event_kind> : resilience::detail::text_formatter<resilience::event_kind> {};
template <>
struct fmt::formatter<resilience::readable> : resilience::detail::text_formatter<resilience::readable> {};
/// The message.
template <>
struct fmt::formatter<resilience::failure> : resilience::detail::text_formatter<resilience::failure> {};
/// The message, for each of our errors: explicit, so that none is taken for a std::exception of <fmt/std.h>.
template <>
struct fmt::formatter<resilience::error> : resilience::detail::text_formatter<resilience::error> {};
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
