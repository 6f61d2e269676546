// SPDX-License-Identifier: Apache-2.0
// How to test a service of your own: hours of outage and recovery, in no time. Any test framework will do;
// here a function has its place.
#include <resilience/resilience.hpp>
#include <resilience/testing/fixed_random.hpp>
#include <resilience/testing/scripted.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <chrono>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rs = resilience;
using namespace std::chrono_literals;

namespace {

int failures = 0;
void expect(bool good, const char* what) {
    if (!good) ++failures;
    std::cout << "  " << (good ? "ok      " : "FAILED  ") << what << '\n';
}

/// The code under test. It takes the registry, so that a test can give it one with another clock.
class rates_service {
public:
    using fetch = std::function<double(const std::string&)>;

    explicit rates_service(fetch f, rs::registry& registry = rs::registry::global())
        : fetch_(std::move(f)),
          guard_(rs::retry({.name = "rates", .base_delay = 1s}, registry) |
                 rs::circuit_breaker({.name = "rates", .failure_threshold = 3, .recovery_timeout = 1h},
                                     registry)) {}

    double dollars(const std::string& currency) { return guard_(fetch_, currency); }

private:
    fetch fetch_;
    rs::pipeline<rs::retry, rs::circuit_breaker> guard_;
};

void a_failed_request_is_repeated() {
    std::cout << "a failed request is repeated after half a second\n";
    rs::testing::virtual_clock clock;
    rs::testing::fixed_random random{0.5}; // jitter is uniform in [0, 1s]: half of it
    rs::registry registry{clock, random};
    const rs::testing::scripted<double> server{rs::testing::throws(std::runtime_error("reset")), 1.25};
    rates_service rates(server, registry);

    const double answer = rates.dollars("EUR");

    expect(answer == 1.25, "the answer is that of the second request");
    expect(server.calls() == 2, "the server was asked twice");
    expect(clock.slept() == std::vector<rs::duration>{500ms},
           "half a second was waited for, in virtual time");
}

void an_outage_is_sat_out() {
    std::cout << "an outage is sat out for an hour\n";
    rs::testing::virtual_clock clock;
    rs::registry registry{clock};
    const auto down = rs::testing::throws(std::runtime_error("down"));
    const rs::testing::scripted<double> server{down, down, down, 1.30};
    rates_service rates(server, registry);
    const auto refused = [&] {
        try {
            rates.dollars("EUR");
            return false;
        } catch (const rs::circuit_open_error&) {
            return true;
        } catch (const std::runtime_error&) {
            return false;
        }
    };

    expect(!refused(), "the first call fails with the server's own error");
    expect(refused(), "the next one is refused");
    clock.advance(1h - 1ns);
    expect(refused(), "so is one a nanosecond before the hour is over");
    clock.advance(1ns);
    expect(rates.dollars("EUR") == 1.30, "then a request goes through again");
    expect(server.calls() == 4, "the server was left alone meanwhile");
}

} // namespace

int main() {
    a_failed_request_is_repeated();
    an_outage_is_sat_out();
    std::cout << (failures == 0 ? "all well\n" : "something failed\n");
    return failures == 0 ? 0 : 1;
}
