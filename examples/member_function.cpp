// SPDX-License-Identifier: Apache-2.0
// A member function with its protection around it: called as before, with the same arguments.
#include <resilience/resilience.hpp>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>

namespace rs = resilience;
using namespace std::chrono_literals;

/// A client that knows nothing of the library. Every second request fails.
class ticket_client {
public:
    std::string find(const std::string& key) {
        if (++requests_ % 2 == 1) throw std::runtime_error("connection lost");
        return key + ": printer on fire";
    }
    int requests() const { return requests_; }

private:
    int requests_ = 0;
};

/// The same for one's own classes: a pipeline as a member, a name for each operation.
class ticket_service {
public:
    std::string find(const std::string& key) {
        return guard_.named("find_ticket")([&] { return client_.find(key); });
    }

private:
    ticket_client client_;
    rs::pipeline<rs::retry, rs::circuit_breaker> guard_ =
        rs::retry({.name = "tickets", .base_delay = 5ms}) | rs::circuit_breaker({.name = "tickets"});
};

int main() {
    const auto guard = rs::retry({.base_delay = 5ms}) | rs::circuit_breaker();

    // The object is the first argument, as for std::invoke: a reference, a pointer, a smart pointer.
    const auto find = guard.wrap(&ticket_client::find);
    ticket_client client;
    std::cout << find(client, "HELP-1") << " (after " << client.requests() << " requests)\n";
    std::cout << find(&client, "HELP-2") << " (after " << client.requests() << " requests)\n";

    // Without a wrapper: the call itself.
    std::cout << guard(&ticket_client::find, client, "HELP-3") << " (after " << client.requests()
              << " requests)\n";

    ticket_service service;
    const auto watching = rs::registry::global().subscribe([](const rs::event& e) {
        std::cout << "  " << to_string(e.kind) << " in '" << e.operation << "': " << e.error << '\n';
    });
    std::cout << service.find("HELP-4") << '\n';
}
