// expect: resilience: these are no call_options
// most lines: 14
#include <resilience/retry.hpp>

int main() {
    const resilience::retry guard;
#ifdef CONTROL
    guard.with({.idempotency = resilience::idempotency::unsafe})([] {});
#else
    guard.with({.idempotent = resilience::idempotency::unsafe})([] {});
#endif
}
