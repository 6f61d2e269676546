// expect: resilience: the field of this config has another type
// most lines: 16
#include <resilience/alert_sink.hpp>

namespace rs = resilience;
using namespace std::chrono_literals;

int main() {
    rs::alert_config config;
#ifdef CONTROL
    config.alert_if = [](const rs::event&) { return true; };
#else
    config.alert_if = [](const rs::alert&) { return true; };
#endif
    return config.alert_if ? 0 : 1;
}
