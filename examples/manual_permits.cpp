// SPDX-License-Identifier: Apache-2.0
// A circuit breaker around something that is no callable: a message that is answered later, by a callback.
#include <resilience/resilience.hpp>

#include <chrono>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;

/// Sends now, learns later. The permit travels with the message: settled by the answer, or, when the
/// message is dropped without one, given back by its destructor.
class outbox {
public:
    explicit outbox(rs::circuit_breaker circuit) : circuit_(std::move(circuit)) {}

    bool send(std::string text) {
        std::optional<rs::permit> permit = circuit_.try_acquire();
        if (!permit) return false;
        waiting_.push_back({std::move(text), std::move(*permit)});
        return true;
    }
    void answered(bool well) {
        message first = std::move(waiting_.front());
        waiting_.erase(waiting_.begin());
        if (well) first.permit.success();
        else first.permit.failure();
    }
    void drop_all() { waiting_.clear(); }

private:
    struct message {
        std::string text;
        rs::permit permit;
    };
    rs::circuit_breaker circuit_;
    std::vector<message> waiting_;
};

int main() {
    const rs::circuit_breaker circuit({.name = "outbox", .failure_threshold = 2, .recovery_timeout = 0s});
    outbox messages(circuit);
    const auto show = [&](const char* what) {
        const auto stats = circuit.stats();
        std::cout << what << ": " << to_string(stats.state) << ", " << stats.successes << " well, "
                  << stats.failures << " failed, " << stats.ignored << " dropped, " << stats.rejected
                  << " refused\n";
    };

    messages.send("one");
    messages.send("two");
    messages.answered(true);
    messages.answered(false);
    show("one good answer, one bad  ");

    messages.send("three");
    messages.drop_all();
    show("a message without answer  ");

    messages.send("four");
    messages.answered(false);
    show("the second bad answer     ");

    // Open for no time at all: the next two are probes, and nothing else passes until they are answered.
    messages.send("five");
    messages.send("six");
    std::cout << "a third beside two probes : " << (messages.send("seven") ? "sent\n" : "refused\n");
    messages.answered(true);
    messages.answered(true);
    show("both probes answered well ");
}
