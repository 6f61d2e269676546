// expect: resilience: the fallback gives no value that the call
// most lines: 19
#include <resilience/fallback.hpp>
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const auto guard = resilience::fallback([] { return 7; }) | resilience::retry();
#else
    const auto guard = resilience::fallback([] {}) | resilience::retry();
#endif
    return guard([] { return 1; });
}
