// expect: resilience: this is no retry_config
// most lines: 14
#include <resilience/registry.hpp>
#include <resilience/retry.hpp>

int main() {
    resilience::registry registry;
#ifdef CONTROL
    const resilience::retry guard({.max_attempts = 4}, registry);
#else
    const resilience::retry guard({.max_attempt = 4}, registry);
#endif
}
