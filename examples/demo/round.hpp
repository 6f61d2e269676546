// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "contest.hpp"
#include "timeline.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace demo {

/// Lines about circuits that opened or closed, from any thread to the one that prints.
class notes {
public:
    void add(std::string text);
    std::vector<std::string> take();

private:
    std::mutex mutex_;
    std::vector<std::string> texts_; // guarded by mutex_
};

/// What a round needs of the program around it.
struct surroundings {
    screen& out;
    notes& news;
    /// Asked many times a second: whether to end early.
    std::function<bool()> is_over;
    /// Called once, when the servers have been dead for a while; gives a line to print.
    std::function<std::string()> look_from_outside;
};

/// The whole outage once: both sides side by side, the timeline, the summary.
void run_round(world& place, std::chrono::seconds length, std::uint64_t seed, const surroundings& around);

} // namespace demo
