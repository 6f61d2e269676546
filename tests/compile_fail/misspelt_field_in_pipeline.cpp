// expect: resilience: this is no retry_config
// most lines: 14
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include <chrono>

int main() {
#ifdef CONTROL
    const auto guard = resilience::retry({.max_attempts = 4}) | resilience::timeout(std::chrono::seconds(2));
#else
    const auto guard = resilience::retry({.max_attempt = 4}) | resilience::timeout(std::chrono::seconds(2));
#endif
}
