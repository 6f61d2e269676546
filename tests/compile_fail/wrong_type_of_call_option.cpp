// expect: resilience: these are no call_options
// most lines: 16
// A deadline is a time, not a length of time.
#include <resilience/retry.hpp>

#include <chrono>

int main() {
    const resilience::retry guard;
#ifdef CONTROL
    guard.named("search").with({.deadline = resilience::time_point{}}).try_call([] {});
#else
    guard.named("search").with({.deadline = std::chrono::seconds(2)}).try_call([] {});
#endif
}
