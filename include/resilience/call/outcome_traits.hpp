// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/outcome_storage.hpp>
#include <resilience/call/result_traits.hpp>

#include <memory>
#include <optional>
#include <string>
#include <system_error>

namespace resilience { inline namespace RESILIENCE_ABI {

template <class R>
class [[nodiscard]] outcome;

/// A callable may return an outcome, as in `outer([&] { return inner.try_call(f); })`. The outer policies
/// then see its value's verdict, or its failure as if it had been thrown. If an outer policy rejects the
/// call, the rejection is returned whole in an outcome<T>.
template <class T>
struct result_traits<outcome<T>> {
    static constexpr bool can_fail = true;

    static verdict judge(const outcome<T>& o) noexcept { return detail::verdict_of(standing_of(o)); }
    static detail::standing standing_of(const outcome<T>& o) noexcept {
        return o.has_value() ? o.standing() : detail::standing::failure;
    }
    static std::error_code code(const outcome<T>& o) noexcept {
        return o.has_value() ? std::error_code{} : o.error().code();
    }
    static std::string message(const outcome<T>& o) {
        return o.has_value() ? "no failure" : o.error().message();
    }
    /// The failure of an outcome without an accepted value; null if it has one.
    static const failure* failure_in(const outcome<T>& o) noexcept {
        return o.has_value() ? nullptr : std::addressof(o.error());
    }
    static outcome<T> failing(const failure& why) {
        return outcome<T>(detail::fill, [&](outcome<T>& o) { o.fail(why); });
    }
};

/// The HTTP status of the value or the failure in an outcome.
template <class T>
std::optional<int> http_status_of(const outcome<T>& o) {
    if (!o.has_value()) return o.error().http_status();
    int status = 0;
    if constexpr (detail::shows_object<T>) status = detail::status_of(*o);
    return status != 0 ? std::optional(status) : std::nullopt;
}
/// The hint of the value or the failure in an outcome.
template <class T>
std::optional<duration> retry_after_of(const outcome<T>& o) {
    if (!o.has_value()) return o.error().retry_after();
    duration hint{-1};
    if constexpr (detail::shows_object<T>) hint = detail::hint_of(*o);
    return hint >= duration{0} ? std::optional(hint) : std::nullopt;
}
/// True if the value or the failure in an outcome forbids it.
template <class T>
bool forbids_retry(const outcome<T>& o) noexcept {
    if (!o.has_value()) return o.error().forbids_retry();
    if constexpr (detail::shows_object<T>) {
        using detail::forbids_retry; // of a result whose error tells
        if constexpr (detail::says_if_retry_is_forbidden<std::remove_cvref_t<T>>) return forbids_retry(*o);
    }
    return false;
}

}} // namespace resilience::RESILIENCE_ABI
