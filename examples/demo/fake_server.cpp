// SPDX-License-Identifier: Apache-2.0
#include "fake_server.hpp"

#include <chrono>
#include <utility>

namespace demo {

fake_server::fake_server(std::string name, const scenario& numbers, unsigned seed)
    : name_(std::move(name)), numbers_(numbers), random_(seed) {}

fake_server::~fake_server() {
    {
        const std::lock_guard lock(mutex_);
        is_closing_ = true;
    }
    changed_.notify_all(); // slow answers
    listening_.reset();
}

void fake_server::become(condition next) {
    {
        const std::lock_guard lock(mutex_);
        condition_ = next;
    }
    if (next == condition::dead) {
        listening_.reset();
    } else if (!listening_) {
        const auto routes = [this](httplib::Server& server) {
            const auto serve = [this](const httplib::Request&, httplib::Response& response) {
                answer(response);
            };
            server.Get("/rest/api/.*", serve);
            server.Post("/rest/api/.*", serve);
        };
        listening_ = std::make_unique<local_server>(routes, port(), numbers_.capacity);
    }
}

void fake_server::answer(httplib::Response& response) {
    std::unique_lock lock(mutex_);
    const bool refuses = condition_ == condition::flaky && random_() % 100 < refused_while_flaky;
    const auto spread = static_cast<unsigned>((numbers_.slowest - numbers_.quickest).count()) + 1;
    const std::chrono::milliseconds takes =
        condition_ == condition::slow ? numbers_.slow
                                      : numbers_.quickest + std::chrono::milliseconds(random_() % spread);
    changed_.wait_for(lock, takes, [&] { return is_closing_; });
    lock.unlock();

    response.status = refuses ? 503 : 200;
    response.set_content(R"({"server":")" + name_ + "\"}", "application/json");
}

} // namespace demo
