// expect: resilience: the field of this config has another type
// most lines: 16
#include <resilience/circuit_breaker.hpp>

#include <memory>
#include <utility>

namespace rs = resilience;
using namespace std::chrono_literals;

int main() {
    rs::circuit_breaker_config config;
    auto state = std::make_unique<int>(1);
#ifdef CONTROL
    config.on_state_change = [&state](const rs::event&) { ++*state; };
#else
    config.on_state_change = [state = std::move(state)](const rs::event&) { ++*state; };
#endif
    return static_cast<int>(config.minimum_calls);
}
