// expect: resilience: these are no call_options
// most lines: 19
#include <resilience/retry.hpp>

#include <chrono>

int main() {
#ifdef CONTROL
    const resilience::retry guard;
    guard.with({.deadline = resilience::time_point{}})([] {});
#else
    const resilience::retry guard;
    guard.with(std::chrono::seconds{5})([] {});
#endif
}
