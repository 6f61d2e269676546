// SPDX-License-Identifier: Apache-2.0
#pragma once

// A thread of an execution, and what it waits for.

#include "schedules/memory.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <source_location>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace schedules {

using site = std::source_location;
class scheduler;

/// A binary semaphore that sleeps at once: std's yields first, to whatever else the machine has to do.
class baton {
public:
    void release() {
        {
            const std::lock_guard lock(mutex_);
            is_here_ = true;
        }
        came_.notify_one();
    }
    void acquire() { (void)acquire_within(std::chrono::hours{1000}); }
    bool acquire_within(std::chrono::nanoseconds most) {
        std::unique_lock lock(mutex_);
        return came_.wait_for(lock, most, [&] { return is_here_; }) && std::exchange(is_here_, false);
    }

private:
    std::mutex mutex_;
    std::condition_variable came_;
    bool is_here_ = false;
};

/// A mutex, as the scheduler sees it. One that an earlier execution left locked is free.
struct mutex_state {
    place where;
    std::uint32_t locked_in = 0; // the execution
    unsigned by = 0;
};

enum class wake : std::uint8_t { notified, spurious, timeout };

/// A thread of an execution. Only the running one touches any of them.
struct controlled {
    enum class state : std::uint8_t { ready, locking, waiting, joining, resting, looking, finished };

    scheduler* owner = nullptr;
    unsigned id = 0;
    baton turn{};
    std::thread system_thread{};
    view seen{};
    state is = state::ready;
    mutex_state* mutex = nullptr;            // locking, or to be locked after waiting
    const void* condition = nullptr;         // waiting
    std::uint64_t since = 0;                 // waiting; orders those that wait; looking: the steps so far
    bool timed = false;                      // waiting
    std::vector<const controlled*> others{}; // joining
    wake woken = wake::notified;
    bool is_daemon = false; // detached: the execution does not wait for it
    unsigned undivided = 0;
};

/// The thread of an execution that this one is; null for others, whose operations just happen.
inline thread_local constinit controlled* this_thread = nullptr;

/// Unwinds what still waits when its execution is over.
struct execution_is_over {};

/// One step of an execution, for people.
struct happening {
    unsigned thread;
    const char* what;
    site at;
    bool is_load;

    bool is_same_as(const happening& other) const noexcept {
        return thread == other.thread && std::string_view(what) == other.what &&
               at.line() == other.at.line() && at.column() == other.at.column();
    }
};

/// Line by line; a step that is done over and over is one line.
inline std::string text_of(const std::vector<happening>& story) {
    constexpr std::size_t most = 300;
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < story.size();) {
        const happening& h = story[i];
        std::size_t times = 1;
        while (i + times < story.size() && story[i + times].is_same_as(h)) ++times;
        std::ostringstream line;
        const std::string_view file = h.at.file_name();
        line << (i > 0 && story[i - 1].thread != h.thread ? "> T" : "  T") << h.thread << "  " << h.what;
        if (h.at.line() != 0) line << "  " << file.substr(file.rfind('/') + 1) << ':' << h.at.line();
        if (times > 1) line << "  (" << times << " times)";
        lines.push_back(line.str() + '\n');
        i += times;
    }
    std::string all;
    if (lines.size() > most) all = "  ... " + std::to_string(lines.size() - most) + " lines before\n";
    for (std::size_t i = lines.size() - std::min(lines.size(), most); i < lines.size(); ++i) all += lines[i];
    return all;
}

} // namespace schedules
