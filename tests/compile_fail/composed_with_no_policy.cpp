// expect: resilience: both sides of this | must be policies
// most lines: 19
// The pipeline is called as well: the one mistake is told once.
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

#include <chrono>

int main() {
    using namespace std::chrono_literals;
#ifdef CONTROL
    const auto guard = resilience::retry() | resilience::timeout(2s);
#else
    const auto guard = resilience::retry() | [] { return 2; };
#endif
    return guard([] { return 1; });
}
