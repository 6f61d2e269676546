// expect: resilience: this is no circuit_breaker_config
// most lines: 14
// A bare number has no unit.
#include <resilience/circuit_breaker.hpp>

#include <chrono>

int main() {
#ifdef CONTROL
    const resilience::circuit_breaker circuit({.recovery_timeout = std::chrono::seconds(30)});
#else
    const resilience::circuit_breaker circuit({.recovery_timeout = 30});
#endif
}
