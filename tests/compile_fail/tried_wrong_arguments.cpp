// expect: resilience: the callable cannot be called with these arguments as lvalues
// most lines: 14
#include <resilience/retry.hpp>

int main() {
    const resilience::retry retry;
    const auto twice = [](int n) { return 2 * n; };
#ifdef CONTROL
    const auto out = retry.named("twice").try_call(twice, 1);
#else
    const auto out = retry.named("twice").try_call(twice);
#endif
    return out.has_value() ? out.value() : 1;
}
