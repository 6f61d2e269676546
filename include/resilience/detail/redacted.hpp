// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/returned.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// An error's text as it may be shown: what `redact` makes of it. Runs code of the user's; if that throws, no text is
/// better than one that was to be hidden.
inline std::string redacted(const std::function<std::string(std::string_view)>& redact, std::string text) {
    if (!redact || text.empty()) return text;
    std::string shown;
    return returned([&] { shown = redact(text); }) ? shown : "[the redaction failed]";
}

}}} // namespace resilience::RESILIENCE_ABI::detail
