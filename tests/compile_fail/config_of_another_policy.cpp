// expect: resilience: a policy is made of its config
// most lines: 19
#include <resilience/circuit_breaker.hpp>
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const resilience::retry guard({.max_attempts = 3});
#else
    const resilience::retry guard(3);
#endif
    return guard([] { return 1; });
}
