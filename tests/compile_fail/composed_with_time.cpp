// expect: resilience: both sides of this | must be policies
// most lines: 19
// The operand has namespace std, with many operators | in it.
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include <chrono>

int main() {
#ifdef CONTROL
    const auto guard = resilience::retry() | resilience::timeout(std::chrono::seconds{2});
    return guard([] { return 1; });
#else
    const auto guard = resilience::retry() | std::chrono::seconds{2};
    return guard([] { return 1; });
#endif
}
