// expect: circuit_breaker_config
// most lines: 19
#include <resilience/circuit_breaker.hpp>
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const resilience::retry_config config;
#else
    const resilience::circuit_breaker_config config;
#endif
    const resilience::retry retry(config);
}
