// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string_view>

namespace demo {

/// The numbers of a demo.
struct scenario {
    int arrival_rate;                   ///< calls a second, to both services together, at most
    int least_rate;                     ///< with fewer a circuit has too little to judge by
    std::string_view callers;           ///< who makes them
    std::chrono::milliseconds patience; ///< how long a caller waits for an answer
    std::chrono::milliseconds quickest; ///< answer of a healthy server
    std::chrono::milliseconds slowest;  ///< answer of a healthy server
    std::chrono::milliseconds slow;     ///< answer of a slow one, when nobody waits any more
    std::size_t capacity;               ///< requests that one server works on at once; others wait in line
    bool shows_in_flight;               ///< in the timeline; worth its room where they are many
};

} // namespace demo
