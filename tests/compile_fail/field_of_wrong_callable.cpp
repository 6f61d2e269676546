// expect: resilience: the field of this config has another type
// most lines: 16
#include <resilience/circuit_breaker.hpp>

namespace rs = resilience;
using namespace std::chrono_literals;

int main() {
    rs::circuit_breaker_config config;
#ifdef CONTROL
    config.on_state_change = [](const rs::event&) {};
#else
    config.on_state_change = [](int) {};
#endif
    return static_cast<int>(config.minimum_calls);
}
