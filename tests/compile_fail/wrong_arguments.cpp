// expect: resilience: the callable cannot be called with these arguments as lvalues
// most lines: 14
#include <resilience/circuit_breaker.hpp>

int main() {
    const resilience::circuit_breaker breaker;
    const auto add = [](int a, int b) { return a + b; };
#ifdef CONTROL
    breaker(add, 1, 2);
#else
    breaker(add, 1);
#endif
}
