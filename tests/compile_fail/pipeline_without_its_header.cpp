// expect: <resilience/pipeline.hpp> has the | for them
// most lines: 16
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>
#ifdef CONTROL
#include <resilience/pipeline.hpp>
#endif

namespace rs = resilience;
using namespace std::chrono_literals;

int main() {
    return (rs::retry() | rs::timeout(5s))([] { return 0; });
}
