// expect: resilience: the callable cannot be called with these arguments as lvalues
// most lines: 14
#include <resilience/retry.hpp>

int main() {
    const resilience::retry retry;
    auto add = retry.wrap([](int a, int b) { return a + b; });
#ifdef CONTROL
    return add(1, 2);
#else
    return add(1);
#endif
}
