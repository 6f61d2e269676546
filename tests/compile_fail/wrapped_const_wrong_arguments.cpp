// expect: resilience: the callable cannot be called with these arguments as lvalues
// most lines: 19
#include <resilience/retry.hpp>

int main() {
#ifdef CONTROL
    const resilience::retry retry;
    const auto add = retry.wrap([](int a, int b) { return a + b; });
    return retry(add, 1, 2);
#else
    const resilience::retry retry;
    const auto add = retry.wrap([](int a, int b) { return a + b; });
    return retry(add, 1);
#endif
}
