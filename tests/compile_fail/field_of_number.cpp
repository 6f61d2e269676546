// expect: resilience: the field of this config has another type
// most lines: 16
#include <resilience/retry.hpp>

namespace rs = resilience;
using namespace std::chrono_literals;

int main() {
    rs::retry_config config;
#ifdef CONTROL
    config.max_elapsed = 5s;
#else
    config.max_elapsed = 5;
#endif
    return static_cast<int>(rs::retry(config).stats().calls);
}
