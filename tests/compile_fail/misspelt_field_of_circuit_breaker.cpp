// expect: resilience: this is no circuit_breaker_config
// most lines: 14
#include <resilience/circuit_breaker.hpp>

int main() {
#ifdef CONTROL
    const resilience::circuit_breaker guard({.name = "jira_api"});
#else
    const resilience::circuit_breaker guard({.nme = "jira_api"});
#endif
}
