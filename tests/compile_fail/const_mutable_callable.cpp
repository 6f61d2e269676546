// expect: resilience: the callable cannot be called with these arguments as lvalues
// most lines: 14
#include <resilience/retry.hpp>

int main() {
    const resilience::retry retry;
#ifdef CONTROL
    auto count = [n = 0]() mutable { return ++n; };
#else
    const auto count = [n = 0]() mutable { return ++n; };
#endif
    return retry(count);
}
