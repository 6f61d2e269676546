// SPDX-License-Identifier: Apache-2.0
// Another answer when a call fails: a fixed value, an older one, or one that depends on why it failed.
#include <resilience/resilience.hpp>

#include <iostream>
#include <stdexcept>
#include <string>

namespace rs = resilience;

int main() {
    bool shop_is_up = true;
    std::string last_known = "nothing yet";
    const auto ask_shop = [&]() -> std::string {
        if (!shop_is_up) throw std::runtime_error("the shop is down");
        return last_known = "19.90";
    };

    // A fixed value.
    const auto or_zero = rs::fallback("0.00");
    std::cout << "the shop is up:      " << or_zero(ask_shop) << '\n';
    shop_is_up = false;
    std::cout << "a fixed value:       " << or_zero(ask_shop) << '\n';

    // A callable runs only when it is needed, and is told why if it wants to know.
    const auto or_older = rs::fallback([&](const rs::failure& why) {
        return last_known + " (an older price, since " + why.message() + ")";
    });
    std::cout << "an older value:      " << or_older(ask_shop) << '\n';

    // Outermost in a pipeline it also answers what the circuit breaker refuses.
    const rs::circuit_breaker circuit({.name = "shop", .failure_threshold = 2});
    const auto guard = or_older | circuit;
    for (int call = 1; call <= 3; ++call)
        std::cout << "with a circuit, " << call << ":   " << guard(ask_shop) << '\n';

    // Only for some failures: the others go out as they are.
    const auto when_open = rs::fallback_if(
        [](const rs::failure& why) { return why.code() == rs::errc::circuit_open; }, "come back later");
    std::cout << "only if it is open:  " << (when_open | circuit)(ask_shop) << '\n';
    circuit.reset("the next call is to reach the shop");
    try {
        (when_open | circuit)(ask_shop);
    } catch (const std::exception& e) {
        std::cout << "any other failure:   " << e.what() << '\n';
    }
    std::cout << "older prices given:  " << or_older.stats().used << " times\n";
}
