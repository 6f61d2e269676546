// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/text.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The words of validate() for a field that is out of its range: `timeout_config.limit is 0ns; it must be
/// more than 0`.
std::string complaint(std::string_view field, const std::string& value, std::string_view range);
std::string complaint(std::string_view field, std::chrono::nanoseconds value, std::string_view range);
std::string complaint(std::string_view field, std::uint64_t value, std::string_view range);
std::string complaint(std::string_view field, double value, std::string_view range);
inline std::string complaint(std::string_view field, unsigned value, std::string_view range) {
    return complaint(field, std::uint64_t{value}, range);
}

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::string complaint(std::string_view field, const std::string& value,
                                                          std::string_view range) {
    std::string text(field);
    return text.append(" is ").append(value).append("; it must be ").append(range);
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string complaint(std::string_view field,
                                                          std::chrono::nanoseconds value,
                                                          std::string_view range) {
    return complaint(field, duration_text(value), range);
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string complaint(std::string_view field, std::uint64_t value,
                                                          std::string_view range) {
    return complaint(field, std::to_string(value), range);
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string complaint(std::string_view field, double value,
                                                          std::string_view range) {
    return complaint(field, std::to_string(value), range);
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
