// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>

namespace demo {

struct options {
    std::chrono::seconds length{24}; ///< of the outage script
    bool async = false;              ///< coroutines instead of threads
    bool serve = false;              ///< go on until the user has had enough
};

/// What the command line asks for. Empty if the program is to end at once, with `exit_code`: after
/// --help, or a message about what is wrong.
std::optional<options> parse_options(int argc, const char* const* argv, int& exit_code);

} // namespace demo
