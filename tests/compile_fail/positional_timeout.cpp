// expect: timeout
// most lines: 14
// A bare number has no unit.
#include <resilience/timeout.hpp>

#include <chrono>

int main() {
#ifdef CONTROL
    const resilience::timeout timeout(std::chrono::milliseconds(2000));
#else
    const resilience::timeout timeout(2000);
#endif
}
