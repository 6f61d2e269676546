// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the snippets of docs/from-python.md call.
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

struct http_error : std::runtime_error {
    using std::runtime_error::runtime_error;
    int status_code = 0;
};
struct remote_api {
    std::string get_data();
    std::string get_data(std::chrono::milliseconds limit);
    std::string search_issues(const std::string& jql, int limit);
};
inline remote_api api;
