// expect: resilience: the field of this config has another type
// most lines: 16
#include <resilience/timeout.hpp>

namespace rs = resilience;
using namespace std::chrono_literals;

int main() {
#ifdef CONTROL
    const rs::timeout_config config{.idle = 5s};
#else
    const rs::timeout_config config{.idle = 5};
#endif
    return config.idle ? 0 : 1;
}
