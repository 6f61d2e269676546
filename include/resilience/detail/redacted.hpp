// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/returned.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// An error's text as `redact`, a function of the user's, lets it be shown. If `redact` throws, the text is
/// withheld: showing nothing is better than showing a secret.
inline std::string redacted(const std::function<std::string(std::string_view)>& redact, std::string text) {
    if (!redact || text.empty()) return text;
    std::string shown;
    return returned([&] { shown = redact(text); }) ? shown : "[the redaction failed]";
}

}}} // namespace resilience::RESILIENCE_ABI::detail
