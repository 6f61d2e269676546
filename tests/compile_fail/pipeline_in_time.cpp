// expect: resilience: both sides of this | must be policies, as in retry() | timeout(2s)
// most lines: 16
#include <resilience/pipeline.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

namespace rs = resilience;
using namespace std::chrono_literals;

int main() {
#ifdef CONTROL
    return (rs::timeout(5s) | rs::retry())([] { return 0; });
#else
    return (5s | rs::retry())([] { return 0; });
#endif
}
