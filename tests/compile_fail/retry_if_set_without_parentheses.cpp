// expect: resilience: a predicate is made of what takes a const failure& and returns bool
// most lines: 19
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    resilience::retry_config config;
    config.retry_if = resilience::default_rule();
#else
    resilience::retry_config config;
    config.retry_if = resilience::default_rule;
#endif
}
