// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "local_server.hpp"
#include "outage.hpp"
#include "scenario.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <string>

#include <httplib.h>

namespace demo {

/// A Jira or Confluence that is in whatever condition it is told to be in.
class fake_server {
public:
    /// `seed` decides which requests a flaky server refuses.
    fake_server(std::string name, const scenario& numbers, unsigned seed);
    ~fake_server();
    fake_server(const fake_server&) = delete;
    fake_server& operator=(const fake_server&) = delete;

    int port() const noexcept { return port_.number(); }
    /// Not for two threads at once. Returns when it is so.
    void become(condition next);

private:
    void answer(httplib::Response& response);

    const std::string name_;
    const scenario numbers_;
    const reserved_port port_;
    std::mutex mutex_;
    std::condition_variable changed_;
    condition condition_ = condition::dead;   // guarded by mutex_
    bool is_closing_ = false;                 // guarded by mutex_
    std::mt19937 random_;                     // guarded by mutex_
    std::unique_ptr<local_server> listening_; // empty while dead
};

} // namespace demo
