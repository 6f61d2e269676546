// expect: retry_config
// most lines: 19
#include <resilience/retry.hpp>

int main() {
    const resilience::retry guard;
#ifdef CONTROL
    guard.update({.max_attempts = 4});
#else
    guard.update({.max_attempt = 4});
#endif
}
