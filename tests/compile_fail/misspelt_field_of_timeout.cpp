// expect: resilience: this is no timeout_config
// most lines: 14
#include <resilience/timeout.hpp>

#include <chrono>

int main() {
#ifdef CONTROL
    const resilience::timeout guard({.limit = std::chrono::seconds(2)});
#else
    const resilience::timeout guard({.limt = std::chrono::seconds(2)});
#endif
}
