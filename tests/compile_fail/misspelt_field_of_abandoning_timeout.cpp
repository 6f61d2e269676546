// expect: resilience: this is no abandoning_timeout_config
// most lines: 14
#include <resilience/abandoning_timeout.hpp>

#include <chrono>

int main() {
#ifdef CONTROL
    const resilience::abandoning_timeout guard({.limit = std::chrono::seconds(2)});
#else
    const resilience::abandoning_timeout guard({.limt = std::chrono::seconds(2)});
#endif
}
