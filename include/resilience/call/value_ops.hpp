// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

class failure;

/// Tells if an operation may be run twice without harm. An `unsafe` one is retried only after failures that
/// are known not to have reached the other side.
enum class idempotency : std::uint8_t { safe, unsafe };
constexpr std::array<std::pair<std::string_view, idempotency>, 2> words_of(idempotency) {
    return {{{"safe", idempotency::safe}, {"unsafe", idempotency::unsafe}}};
}

namespace detail {

/// Functions that read a returned value behind an untyped pointer. A null one: the type does not say.
struct value_ops {
    const std::type_info* type;
    std::string (*message)(const void*);
    failure (*describe)(const void*);
    bool (*not_sent)(const void*) noexcept;
    /// The failure that a failing value holds, as an outcome does.
    const failure* (*inner)(const void*) noexcept = nullptr;
    /// True if the text is that of the value's code.
    bool text_is_of_code = false;
    bool (*stale)(const void*) noexcept = nullptr;
    bool (*forbids_retry)(const void*) noexcept = nullptr;
    std::optional<idempotency> (*idempotency_of)(const void*) noexcept = nullptr;
    /// True if the type's result_traits have a `judge` of their own.
    bool has_own_judge = false;
    /// False if a failing value has a code and a text, and no other question about it has an answer.
    bool says_more = true;
};

} // namespace detail

}} // namespace resilience::RESILIENCE_ABI
