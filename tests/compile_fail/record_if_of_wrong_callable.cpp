// expect: resilience: a predicate is made of what takes a const failure& and returns bool
// most lines: 19
#include <resilience/circuit_breaker.hpp>

int main() {
#ifdef CONTROL
    const resilience::circuit_breaker guard(
        resilience::circuit_breaker_config{.record_if = [](const resilience::failure&) { return true; }});
#else
    const resilience::circuit_breaker guard(
        resilience::circuit_breaker_config{.record_if = [](int) { return true; }});
#endif
}
