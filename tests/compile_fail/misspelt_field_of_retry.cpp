// expect: resilience: this is no retry_config
// most lines: 14
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const resilience::retry guard({.max_attempts = 4});
#else
    const resilience::retry guard({.max_attempt = 4});
#endif
}
