// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

namespace demo {

/// A text as it may stand in a URL's query or path.
inline std::string url_encoded(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           c == '-' || c == '_';
        if (plain) out += c;
        else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

inline constexpr const char* new_issue_path = "/rest/api/2/issue";
inline std::string search_path(std::string_view jql) { return "/rest/api/2/search?jql=" + url_encoded(jql); }
inline std::string issue_path(std::string_view key) { return "/rest/api/2/issue/" + url_encoded(key); }
inline std::string page_path(std::string_view id) { return "/rest/api/content/" + url_encoded(id); }
inline std::string content_search_path(std::string_view cql) {
    return "/rest/api/content/search?cql=" + url_encoded(cql);
}
/// The title must need no escaping in JSON.
inline std::string new_issue(std::string_view title) {
    return fmt::format(R"({{"fields":{{"summary":"{}"}}}})", title);
}

} // namespace demo
