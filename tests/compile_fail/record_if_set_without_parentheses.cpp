// expect: resilience: a predicate is made of what takes a const failure& and returns bool
// most lines: 19
#include <resilience/circuit_breaker.hpp>

int main() {
#ifdef CONTROL
    resilience::circuit_breaker_config config;
    config.record_if = resilience::default_rule();
#else
    resilience::circuit_breaker_config config;
    config.record_if = resilience::default_rule;
#endif
}
