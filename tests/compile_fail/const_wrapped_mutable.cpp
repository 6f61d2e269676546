// expect: resilience: the callable is mutable
// most lines: 19
#include <resilience/retry.hpp>

int main() {
    const resilience::retry retry;
#ifdef CONTROL
    auto count = retry.wrap([n = 0]() mutable { return ++n; });
#else
    const auto count = retry.wrap([n = 0]() mutable { return ++n; });
#endif
    return count();
}
